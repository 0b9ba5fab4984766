//! Templates of paths: `/users/{*}/files/{**}`.

/// One segment.
const ONE: &str = "{*}";
/// Any number of segments.
const ANY: &str = "{**}";

/// A path, which may be a template; the error says what is wrong.
pub(super) fn check(path: &str) -> Result<(), &'static str> {
    let is_template = path.contains(ONE) || path.contains(ANY);
    let mut any = false;
    for segment in path.trim_matches('/').split('/') {
        match segment {
            ONE | ANY if any => return Err("{**} must be the last of the templates"),
            ANY => any = true,
            ONE => {}
            _ if segment.contains(['{', '}']) => {
                return Err("a brace stands only in {*} and {**}, which are whole segments");
            }
            _ if is_template && !is_literal(segment) => {
                return Err("beside templates a segment is not empty, and has only characters of paths, without \"*\"");
            }
            _ => {}
        }
    }
    Ok(())
}

/// The characters of a segment that Envoy's template knows.
fn is_literal(segment: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&b);
    !segment.is_empty() && segment.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_whole_segments() {
        for good in ["/a", "*", "/a*", "", "/{*}", "/a/{*}/b/{**}", "/{**}/a", "/{*}/{**}", "//a"] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in ["/{**}/{*}", "/{**}/{**}", "/a{*}", "/{x}", "/{*}/a*", "/{*}//b", "/}", "/{*}/ä"] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
