//! Roots and their renewal.

use rcgen::KeyPair;

use super::*;
use crate::ca::{
    key::KeyKind,
    signer::{Leaf, Names, SignerPem},
    testing::{DAY, HOUR, noon, own_root},
};

#[test]
fn a_root_is_an_authority_of_its_trust_domain() {
    let signer = own_root(DAY);
    let parsed = signer.certificate().parsed();
    assert_eq!(parsed.subject().to_string(), "O=cluster.local");
    assert!(parsed.is_ca() && parsed.key_usage().expect("readable").expect("there").value.key_cert_sign());
    assert!(signer.intermediates().is_empty());
    assert_eq!(signer.roots(), [signer.certificate().clone()]);
    assert_eq!(signer.not_after(), noon() + DAY);
}

#[test]
fn a_lifetime_without_measure_ends_with_what_can_be_written() {
    let signer = own_root(DAY * 365 * 100_000);
    assert_eq!(signer.certificate().parsed().validity().not_after.to_datetime().year(), 9999);
}

#[test]
fn a_renewed_root_and_the_old_one_vouch_for_the_same_leaves() {
    let old = own_root(DAY);
    let later = noon() + HOUR * 20;
    let new = renew(&old, DAY, later).expect("renewed");
    assert_ne!(old.certificate(), new.certificate());
    assert_eq!(new.not_after(), later + DAY);
    let key = KeyPair::generate().expect("a key");
    let leaf = Leaf { public_key: &key, names: &Names::default(), validity: HOUR };
    for signer in [&old, &new] {
        let made = signer.sign(&leaf, later).expect("signed");
        assert!(made.is_signed_by(old.certificate()) && made.is_signed_by(new.certificate()));
    }
}

/// Go writes `cluster.local` as a PrintableString, and compares names byte by byte.
#[test]
fn the_subject_of_a_root_of_istiod_stays_as_it_is() {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let text = DnValue::PrintableString("cluster.local".try_into().expect("printable"));
    params.distinguished_name.push(DnType::OrganizationName, text);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    set_validity(&mut params, noon(), noon() + DAY);
    let pem = params.self_signed(&key).expect("signed").pem();
    let (pem, key) = (pem.as_bytes(), key.serialize_pem());
    let old = Signer::new(SignerPem { certificate: pem, key: key.as_bytes(), chain: b"", roots: pem }, noon());
    let old = old.expect("an authority");
    let new = renew(&old, DAY, noon()).expect("renewed");
    let raw = |s: &Signer| s.certificate().parsed().subject().as_raw().to_vec();
    assert_eq!(raw(&old), raw(&new));
}

#[test]
fn a_root_is_renewed_in_its_last_fifth() {
    let signer = own_root(HOUR * 10 - CLOCK_SKEW);
    let due = |hours: u32, grace| is_due(signer.certificate(), grace, noon() + HOUR * hours - CLOCK_SKEW);
    assert_eq!([7, 8, 9, 10, 11].map(|hours| due(hours, 20)), [false, true, true, true, true]);
    assert!(!due(9, 0) && due(0, 100));
}

#[test]
fn a_root_may_have_an_rsa_key() {
    let key = PrivateKey::generate(KeyKind::Rsa(2048)).expect("a key");
    let signer = create(key, "cluster.local", DAY, noon()).expect("a root");
    assert!(
        signer.certificate().parsed().public_key().algorithm.algorithm.to_id_string().starts_with("1.2.840.113549")
    );
    let key = KeyPair::generate().expect("a key");
    let leaf = Leaf { public_key: &key, names: &Names::default(), validity: HOUR };
    assert!(signer.sign(&leaf, noon()).expect("signed").is_signed_by(signer.certificate()));
    for bits in [0, 1024, 16384] {
        assert!(PrivateKey::generate(KeyKind::Rsa(bits)).is_err(), "{bits}");
    }
}
