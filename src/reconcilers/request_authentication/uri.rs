//! Where keys are fetched from.

use crate::{model::Code, reconcilers::Flaw};

/// As long as the CRD allows.
const MAX_LENGTH: usize = 2048;

/// An `http://` or `https://` URI with a host and, perhaps, a port.
pub(super) fn check(text: &str) -> Result<(), Flaw> {
    if text.len() > MAX_LENGTH {
        return Err(Flaw::new(Code::TextTooLong, format!("has {} bytes: use at most {MAX_LENGTH}", text.len())));
    }
    let wrong = |why: &str| Err(Flaw::new(Code::UriInvalid, format!("{text:?} {why}")));
    let Ok(uri) = text.parse::<http::Uri>() else {
        return wrong("is not a URI");
    };
    if !uri.scheme_str().is_some_and(|scheme| matches!(scheme, "http" | "https")) {
        return wrong("has neither scheme http nor https");
    }
    match uri.authority() {
        Some(authority) if !authority.host().is_empty() => {
            let rest = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, host)| host);
            match rest.strip_prefix(authority.host()).map(|port| port.strip_prefix(':')) {
                Some(Some(port)) if port.parse::<u16>().ok().is_none_or(|port| port == 0) => {
                    wrong("has a port that is none")
                }
                _ => Ok(()),
            }
        }
        _ => wrong("names no host"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_over_http() {
        for good in ["https://a.b/keys", "http://a:8080", "https://[::1]:443/x?y=z", "https://u@a.b:1/"] {
            assert!(check(good).is_ok(), "{good}");
        }
        let long = format!("https://a/{}", "x".repeat(MAX_LENGTH));
        for bad in ["", "a.b", "ftp://a/", "https://", "https:///x", "https://a:0/", "https://a:x/", "file:///a", &long]
        {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
