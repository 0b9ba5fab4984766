//! Names of ciphers and curves.

use std::sync::Arc;

/// The ciphers of TLS 1.2 that Envoy knows; it refuses what names another.
pub(super) const CIPHERS: [&str; 21] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-PSK-AES128-CBC-SHA",
    "ECDHE-PSK-AES256-CBC-SHA",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-PSK-CHACHA20-POLY1305",
    "PSK-AES128-CBC-SHA",
    "PSK-AES256-CBC-SHA",
    "DES-CBC3-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
];

/// The curves that Envoy knows.
pub(super) const CURVES: [&str; 5] = ["P-256", "P-384", "P-521", "X25519", "X25519MLKEM768"];

/// The names of a list that are known, each once; others are told with their place.
pub(super) fn known(list: &[String], names: &[&str], mut tell: impl FnMut(usize, String)) -> Vec<Arc<str>> {
    let mut made: Vec<Arc<str>> = Vec::with_capacity(list.len());
    for (i, name) in list.iter().enumerate() {
        if !names.contains(&name.as_str()) {
            tell(i, format!("{name:?} is not known; it is left out"));
        } else if !made.iter().any(|k| **k == **name) {
            made.push(name.as_str().into());
        }
    }
    made
}
