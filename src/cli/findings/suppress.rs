//! `--suppress CODE=KIND/NAMESPACE/NAME`.

use std::str::FromStr;

use crate::model::{Code, ObjectRef};

/// What is not to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suppression {
    code: String,
    /// Kind, namespace and name; `None` is every object.
    object: Option<[String; 3]>,
}

impl FromStr for Suppression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (code, object) = text.split_once('=').map_or((text, None), |(code, object)| (code, Some(object)));
        if !Code::ALL.iter().any(|known| fits_code(code, *known)) {
            return Err(format!("there is no code {code:?}: expected one such as {}", Code::ALL[0].id()));
        }
        let wrong = || format!("{:?} is not KIND/NAMESPACE/NAME", object.unwrap_or_default());
        let parts = |object: &str| -> Result<[String; 3], String> {
            let all: Vec<String> = object.split('/').map(str::to_owned).collect();
            match all.len() {
                // Without a namespace it is one of the cluster, or in any namespace.
                2 => Ok([all[0].clone(), "*".to_owned(), all[1].clone()]),
                _ => all.try_into().map_err(|_| wrong()),
            }
        };
        Ok(Self { code: code.to_owned(), object: object.map(parts).transpose()? })
    }
}

impl Suppression {
    /// Whether it is about what a code says of an object.
    pub(super) fn covers(&self, code: Code, object: Option<&ObjectRef>) -> bool {
        let of = |[kind, namespace, name]: &[String; 3]| {
            object.is_some_and(|o| {
                fits(&kind.to_ascii_lowercase(), &o.kind.to_ascii_lowercase())
                    && fits(namespace, &o.namespace)
                    && fits(name, &o.name)
            })
        };
        fits_code(&self.code, code) && self.object.as_ref().is_none_or(of)
    }
}

fn fits_code(pattern: &str, code: Code) -> bool {
    fits(&pattern.to_ascii_uppercase(), code.id()) || fits(&pattern.to_ascii_lowercase(), code.name())
}

/// Whether a text is of a pattern, in which `*` is any characters and `?` is one. The time is the product of both
/// lengths at most.
fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last star is, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(b'?') => (p, t) = (p + 1, t + 1),
            Some(c) if *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((at, taken)) = star else { return false };
                star = Some((at, taken + 1));
                (p, t) = (at + 1, taken + 1);
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stand_for_texts() {
        for (pattern, text) in
            [("*", ""), ("a*c", "abbc"), ("a*c", "ac"), ("?b*", "abc"), ("*a*b", "xaayab"), ("a", "a")]
        {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a*c", "abcd"), ("?", ""), ("", "a"), ("a?", "a"), ("*a", "b")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
        assert!(!fits(&"*a".repeat(500), &"a".repeat(400)));
    }

    #[test]
    fn codes_go_by_id_name_and_pattern() {
        let web = ObjectRef::new("VirtualService", "default", "web");
        let covers = |text: &str| text.parse::<Suppression>().unwrap().covers(Code::GatewayUnknown, Some(&web));
        let id = Code::GatewayUnknown.id();
        assert!(covers(id) && covers(&id.to_lowercase()) && covers("gateway-unknown") && covers("MZ1*"));
        assert!(covers(&format!("{id}=VirtualService/default/web")) && covers(&format!("{id}=virtualservice/*/w?b")));
        assert!(covers(&format!("{id}=VirtualService/web")));
        assert!(!covers(&format!("{id}=VirtualService/other/web")) && !covers("MZ01*"));
        assert!("MZ9999".parse::<Suppression>().is_err() && format!("{id}=web").parse::<Suppression>().is_err());
        let everywhere: Suppression = id.parse().unwrap();
        let one: Suppression = format!("{id}=*/*/*").parse().unwrap();
        assert!(everywhere.covers(Code::GatewayUnknown, None) && !one.covers(Code::GatewayUnknown, None));
    }
}
