use super::*;

#[test]
fn expressions_are_read_as_re2_does() {
    for (good, groups) in [
        ("/a.*", 0),
        ("^/(v1|v2)/(.*)$", 2),
        ("/users/{id}", 0),
        (r"a{2,3}\p{Greek}\x{41}", 0),
        (r"\{x", 0),
        ("a{01}{", 0),
        ("(?i)[[:alpha:]_-]+", 0),
        ("[[]", 0),
        ("[]a]", 0),
        ("[^]a]", 0),
        ("[a&&b]", 0),
        (r"[\d-z\pN-]", 0),
        (r"\Q(a\E*", 0),
        ("(?P<n>a)(?:b)(?<m>c)", 2),
        (r"\012\C\_", 0),
        ("(?i-s:a)(?-i)|()*", 1),
        ("^*", 0),
        ("a{1000000000}", 0),
        (r"\p{^Lu}[^é-語]é{2}\xff\377", 0),
    ] {
        assert_eq!(check(good), Ok(groups), "{good}");
    }
    for bad in [
        "",
        "*",
        "(a",
        "a(?=b)",
        "[",
        "[]",
        "[^]",
        r"\1",
        r"\p{Klingon}",
        r"\p",
        "[z-a]",
        "a)",
        "(?P<n>a)(?P<n>b)",
        "a**",
        "a++",
        "a*?+",
        "a{2}{3}",
        "(?x)a",
        "(?u)a",
        "(?R)a",
        "(?i-)a",
        "(?",
        "(?P<a.b>x)",
        "(?P<>x)",
        r"\u0041",
        r"\U00000041",
        r"\u{41}",
        r"\x{100}",
        r"\400",
        "[ü-a]",
        "(?P<ä>x)",
        r"\x{}",
        r"\x4",
        r"\8",
        r"\Z",
        r"\é",
        "\\",
        "[[:foo:]]",
        r"\p{sc=Greek}",
        r"[\b]",
        r"[a-\d]",
        "(*)",
        "|+",
    ] {
        assert_eq!(check(bad).map_err(|flaw| flaw.code), Err(Code::RegexInvalid), "{bad}");
    }
}

#[test]
fn programs_are_bounded() {
    for good in ["(a{30}){33}", r"\pL{900}", "[a-z]{1000}", "(?:.{1000}|a{1000}){1}", "(a{0}){1000}"] {
        assert!(check(good).is_ok(), "{good}");
    }
    let large = ["(a{1000})".repeat(40), "a".repeat(1025)];
    for bad in ["a{1001}", "a{999999999}", "(a{50}){50}", "a{3,2}"].into_iter().chain(large.iter().map(String::as_str))
    {
        assert_eq!(check(bad).map_err(|flaw| flaw.code), Err(Code::RegexTooLong), "{bad}");
    }
}
