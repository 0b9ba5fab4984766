//! URLs as CEL's `isURL()` and `url()` read them in an API server: an absolute URI, or a path that begins with `/`.

/// The scheme of a URL in lower case, empty for a path alone; the error says what is wrong.
pub(super) fn scheme(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("URL parse error during conversion from string: parse {text:?}: {why}"));
    if text.is_empty() {
        return wrong("empty url");
    }
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return wrong("net/url: invalid control character in URL");
    }
    let Some((scheme, rest)) = text.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) else {
        return match text.as_bytes()[0] {
            b'/' => check(text, text).map(|()| String::new()),
            b':' => wrong("missing protocol scheme"),
            _ => wrong("invalid URI for request"),
        };
    };
    if !rest.starts_with('/') {
        return wrong("invalid URI for request");
    }
    check(text, rest)?;
    Ok(scheme.to_ascii_lowercase())
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
}

/// Host, port and escapes of what is behind the scheme.
fn check(text: &str, rest: &str) -> Result<(), String> {
    let wrong = |why: String| Err(format!("URL parse error during conversion from string: parse {text:?}: {why}"));
    let rest = &rest[..rest.find('?').unwrap_or(rest.len())];
    if let Some(escape) = bad_escape(rest) {
        return wrong(format!("invalid URL escape {escape:?}"));
    }
    let Some(behind) = rest.strip_prefix("//") else { return Ok(()) };
    let authority = &behind[..behind.find('/').unwrap_or(behind.len())];
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if let Some(bad) = host.chars().find(|c| matches!(c, ' ' | '<' | '>' | '"' | '\\' | '^' | '`' | '{' | '|' | '}')) {
        return wrong(format!("invalid character {bad:?} in host name"));
    }
    let port = match host.rsplit_once(']') {
        Some((_, behind)) => behind.strip_prefix(':').or((!behind.is_empty()).then_some("?")),
        None if host.starts_with('[') => return wrong("missing ']' in host".to_owned()),
        None => host.split_once(':').map(|(_, port)| port),
    };
    match port.filter(|port| !port.bytes().all(|b| b.is_ascii_digit())) {
        Some(port) => wrong(format!("invalid port \":{port}\" after host")),
        None => Ok(()),
    }
}

fn bad_escape(text: &str) -> Option<&str> {
    text.match_indices('%').find_map(|(at, _)| {
        let escape = text.get(at..at + 3).unwrap_or(&text[at..]);
        let hex = escape.len() == 3 && escape.bytes().skip(1).all(|b| b.is_ascii_hexdigit());
        (!hex).then_some(escape)
    })
}

#[cfg(test)]
mod tests {
    use super::scheme;

    #[test]
    fn urls_are_those_of_an_api_server() {
        for (text, expected) in [
            ("https://a", "https"),
            ("HTTP://a.b:80/c?d=e f", "http"),
            ("file:///a", "file"),
            ("oci://ghcr.example/x@sha256:1", "oci"),
            ("http://[::1]:80/", "http"),
            ("/a/b", ""),
        ] {
            assert_eq!(scheme(text).as_deref(), Ok(expected), "{text}");
        }
        for text in
            ["", "a b", "a/b", "a.b:80", ":a", "http://a b/", "http://a:x/", "http://[::1/", "http://a/%zz", "mailto:x"]
        {
            assert!(scheme(text).is_err(), "{text}");
        }
    }
}
