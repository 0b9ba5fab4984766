//! Claims of a request's token, matched like headers (translation §6.3).

/// The names in `@request.auth.claims.a.b` or `@request.auth.claims[a][b]`; `None` for a header.
#[must_use]
pub fn claim_path(name: &str) -> Option<Vec<&str>> {
    const CLAIMS: &str = "@request.auth.claims";
    let (start, rest) = name.split_at_checked(CLAIMS.len())?;
    if !start.eq_ignore_ascii_case(CLAIMS) {
        return None;
    }
    let square = rest.strip_prefix('[').and_then(|r| r.strip_suffix(']'));
    let names: Vec<&str> = match (rest.strip_prefix('.'), square) {
        (Some(dotted), _) => dotted.split('.').collect(),
        (None, Some(square)) => square.split("][").collect(),
        (None, None) => return None,
    };
    names.iter().all(|n| !n.is_empty()).then_some(names)
}

/// Whether the name of a header match is about a claim.
#[must_use]
pub fn is_claim(name: &str) -> bool {
    claim_path(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::claim_path;

    #[test]
    fn claims_are_written_with_dots_or_brackets() {
        let cases = [
            ("@request.auth.claims.a.b", Some(vec!["a", "b"])),
            ("@Request.auth.claims[a.b][c]", Some(vec!["a.b", "c"])),
            ("@request.auth.claims", None),
            ("@request.auth.claims.", None),
            ("@request.auth.claims[]", None),
            ("@request.auth.claims[a]b", None),
            ("x-header", None),
            ("ü@request.auth.claims.a", None),
        ];
        for (name, path) in cases {
            assert_eq!(claim_path(name), path, "{name}");
        }
    }
}
