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

fn pem(der: &[u8]) -> String {
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{text}\n-----END CERTIFICATE REQUEST-----\n")
}

fn der(key: &KeyPair) -> Vec<u8> {
    CertificateSigningRequestDer::from_pem_slice(request(key, WISH).as_bytes()).expect("PEM").to_vec()
}

#[test]
fn whoever_asks_must_have_the_key() {
    let mut forged = der(&KeyPair::generate().expect("a key"));
    // A name within: what was signed is something else.
    let at = forged.windows(5).position(|w| w == b"other").expect("the wish");
    forged[at] = b'a';
    assert_eq!(public_key(&pem(&forged)).expect_err("refused"), CsrError::Signature);
}

/// The envelope around what is signed is not signed itself: there a change may go unnoticed, and changes nothing.
#[test]
fn no_changed_bit_gives_another_key() {
    let key = KeyPair::generate().expect("a key");
    let right = der(&key);
    let (_, parsed) = X509CertificationRequest::from_der(&right).expect("a request");
    let signed = parsed.certification_request_info.raw;
    let begin = right.windows(signed.len()).position(|part| part == signed).expect("a part of it");
    for (at, bit) in (0..right.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut changed = right.clone();
        changed[at] ^= 1 << bit;
        if let Ok(public) = public_key(&pem(&changed)) {
            assert_eq!(public.subject_public_key_info(), key.subject_public_key_info(), "bit {bit} of byte {at}");
            assert!(!(begin..begin + signed.len()).contains(&at), "bit {bit} of byte {at} is signed");
        }
    }
}

proptest! {
    #[test]
    fn whatever_comes_in_is_answered(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..400, to: u8) {
        prop_assert!(public_key(&pem(&bytes)).is_err());
        let key = KeyPair::generate().expect("a key");
        let mut changed = der(&key);
        let at = at % changed.len();
        changed[at] ^= to;
        if let Ok(public) = public_key(&pem(&changed)) {
            prop_assert_eq!(public.subject_public_key_info(), key.subject_public_key_info(), "byte {}", at);
        }
    }
}
