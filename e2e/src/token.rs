//! Tokens that an API server takes for its own.

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{KeyPair, SigningKey as _};
use serde_json::{Value, json};

/// Signs claims with a key on P-256 (PKCS#8, PEM).
///
/// # Errors
/// When the key cannot be read.
pub(crate) fn sign_token(key: &str, claims: &Value) -> Result<String> {
    let key = KeyPair::from_pem(key)?;
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let text = format!("{}.{}", part(&json!({"alg": "ES256", "typ": "JWT"})), part(claims));
    // Two numbers: DER has a length before each, and a zero before one whose first bit is set.
    let der = key.sign(text.as_bytes())?;
    let (r, s) = der.get(4..).and_then(|rest| rest.split_at_checked(der[3].into())).context("a signature")?;
    let number = |bytes: &[u8]| {
        let bytes = &bytes[bytes.len().saturating_sub(32)..];
        [vec![0; 32 - bytes.len()], bytes.to_vec()].concat()
    };
    let s = s.get(2..).context("a signature")?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode([number(r), number(s)].concat())))
}
