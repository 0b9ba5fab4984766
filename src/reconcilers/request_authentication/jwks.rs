//! Sets of JSON web keys (RFC 7517, 7518, 8037).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

/// What a key of a type is made of.
struct KeyType {
    name: &'static str,
    /// What it has to have.
    public: &'static [&'static str],
    /// What shows that it can sign.
    private: &'static str,
    /// Curves, where it is on one.
    curves: &'static [&'static str],
}

const TYPES: [KeyType; 4] = [
    KeyType { name: "RSA", public: &["n", "e"], private: "d", curves: &[] },
    KeyType { name: "EC", public: &["x", "y"], private: "d", curves: &["P-256", "P-384", "P-521", "secp256k1"] },
    KeyType { name: "OKP", public: &["x"], private: "d", curves: &["Ed25519", "Ed448", "X25519", "X448"] },
    KeyType { name: "oct", public: &["k"], private: "k", curves: &[] },
];

/// Reads a set, or one key alone; returns the places of keys that can sign.
pub(super) fn check(text: &str) -> Result<Vec<usize>, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    let object = value.as_object().ok_or("is not a JSON object with keys")?;
    let one = [value.clone()];
    let keys = match object.get("keys") {
        Some(Value::Array(keys)) => keys.as_slice(),
        Some(_) => return Err("keys is not a list".to_owned()),
        None if object.contains_key("kty") => &one,
        None => return Err("has no keys".to_owned()),
    };
    let mut private = Vec::new();
    for (i, key) in keys.iter().enumerate() {
        if check_key(key).map_err(|why| format!("key {i} {why}"))? {
            private.push(i);
        }
    }
    Ok(private)
}

/// Returns whether the key can sign.
fn check_key(key: &Value) -> Result<bool, String> {
    let key = key.as_object().ok_or("is not a JSON object")?;
    let kty = key.get("kty").and_then(Value::as_str).ok_or("has no kty")?;
    let Some(known) = TYPES.iter().find(|known| known.name == kty) else {
        return Err(format!("has kty {kty:?}: use RSA, EC or OKP"));
    };
    if !known.curves.is_empty() {
        let curve = key.get("crv").and_then(Value::as_str).unwrap_or_default();
        if !known.curves.contains(&curve) {
            return Err(format!("has crv {curve:?}, which is none of {}", known.curves.join(", ")));
        }
    }
    known.public.iter().try_for_each(|member| check_number(key, member))?;
    match key.contains_key(known.private) {
        true => check_number(key, known.private).map(|()| true),
        false => Ok(false),
    }
}

/// A number in base64url.
fn check_number(key: &Map<String, Value>, member: &str) -> Result<(), String> {
    let text = key.get(member).and_then(Value::as_str).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| format!("has no {member}"))?;
    match URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')) {
        Ok(_) => Ok(()),
        Err(_) => Err(format!("has an {member} that is not base64url")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_their_parts() {
        let rsa = r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#;
        let ec = r#"{"kty":"EC","crv":"P-256","x":"AQAB","y":"AQAB","d":"AQAB"}"#;
        assert_eq!(check(&format!(r#"{{"keys":[{rsa},{ec}]}}"#)), Ok(vec![1]));
        assert_eq!(check(rsa), Ok(vec![]));
        assert_eq!(check(r#"{"kty":"oct","k":"AQAB"}"#), Ok(vec![0]));
        assert_eq!(check(r#"{"keys":[]}"#), Ok(vec![]));
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"keys":{}}"#,
            r#"{"keys":[1]}"#,
            r#"{"keys":[{}]}"#,
            r#"{"kty":"RSA","n":"AQAB"}"#,
            r#"{"kty":"RSA","n":"!","e":"AQAB"}"#,
            r#"{"kty":"EC","crv":"P-1","x":"AQAB","y":"AQAB"}"#,
            r#"{"kty":"DSA"}"#,
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }
}
