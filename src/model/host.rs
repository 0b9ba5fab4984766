//! Host names with wildcards (translation §2, §7.4).

/// Whether every name that `narrow` stands for is one that `wide` stands for. Both in lower case; `*` alone, or a
/// leading `*.`, is a wildcard.
#[must_use]
pub fn is_subset(narrow: &str, wide: &str) -> bool {
    if wide == "*" || narrow == wide {
        return true;
    }
    match wide.strip_prefix('*') {
        Some(suffix) => narrow.strip_prefix('*').unwrap_or(narrow).ends_with(suffix) && narrow != &suffix[1..],
        None => false,
    }
}

/// The narrower of two hosts when one contains the other.
#[must_use]
pub fn intersection<'a>(a: &'a str, b: &'a str) -> Option<&'a str> {
    if is_subset(a, b) {
        Some(a)
    } else if is_subset(b, a) {
        Some(b)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_contain_what_ends_like_them() {
        assert!(is_subset("a.b.c", "*.b.c") && is_subset("*.a.b.c", "*.b.c") && is_subset("x", "*"));
        assert!(is_subset("*.b.c", "*.b.c") && !is_subset("b.c", "*.b.c") && !is_subset("*.c", "*.b.c"));
        assert!(!is_subset("*", "a.b") && !is_subset("xb.c", "*.b.c"));
        assert_eq!(intersection("*.a.com", "x.a.com"), Some("x.a.com"));
        assert_eq!(intersection("a.com", "b.com"), None);
    }
}
