//! What is taken as a request.

use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PublicKeyData};

use super::*;
use crate::ca::testing::request;

const WISH: &str = "spiffe://cluster.local/ns/other/sa/admin";

#[test]
fn a_request_gives_its_key_and_nothing_else() {
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let public = public_key(&request(&key, WISH)).expect("a key");
        assert_eq!(public.subject_public_key_info(), key.subject_public_key_info());
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let key = KeyPair::generate().expect("a key");
    let right = request(&key, WISH);
    let large = "x".repeat(LARGEST + 1);
    let body: String = right.lines().filter(|line| !line.starts_with("--")).collect();
    let wrap = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    for (text, wrong) in [
        (large.as_str(), CsrError::TooLarge(LARGEST + 1)),
        ("", CsrError::Pem),
        ("hello", CsrError::Pem),
        (&wrap("CERTIFICATE", &body), CsrError::Pem),
        (&wrap("CERTIFICATE REQUEST", "AAAA"), CsrError::Broken),
    ] {
        assert_eq!(public_key(text).expect_err("refused"), wrong, "{text:.40}");
    }
}

#[test]
fn whoever_asks_must_have_the_key() {
    let key = KeyPair::generate().expect("a key");
    let der = CertificateSigningRequestDer::from_pem_slice(request(&key, WISH).as_bytes()).expect("PEM");
    let mut forged = der.to_vec();
    // A name within: what was signed is something else.
    let at = forged.windows(5).position(|w| w == b"other").expect("the wish");
    forged[at] = b'a';
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, forged);
    let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n");
    assert_eq!(public_key(&pem).expect_err("refused"), CsrError::Signature);
}

proptest! {
    #[test]
    fn whatever_comes_in_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..200, to: u8) {
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &bytes);
        let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n");
        prop_assert!(public_key(&pem).is_err());
        // One byte of a request is another one.
        let key = KeyPair::generate().expect("a key");
        let der = CertificateSigningRequestDer::from_pem_slice(request(&key, WISH).as_bytes()).expect("PEM");
        let mut changed = der.to_vec();
        let at = at % changed.len();
        changed[at] ^= to;
        let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &changed);
        let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n");
        prop_assert_eq!(public_key(&pem).is_ok(), to == 0, "byte {}", at);
    }
}
