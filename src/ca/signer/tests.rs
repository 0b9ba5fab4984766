//! The rules of leaves, and what makes an authority.

use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use x509_parser::extensions::GeneralName;

use super::*;
use crate::ca::testing::{DAY, HOUR, Pair, noon, own_root, signer_pem};

fn leaf(signer: &Signer, validity: Duration, now: SystemTime) -> Certificate {
    let key = KeyPair::generate().expect("a key");
    let names = Names::uris(["spiffe://cluster.local/ns/shop/sa/web"]).expect("ASCII");
    signer.sign(&Leaf { public_key: &key, names: &names, validity }, now).expect("signed")
}

#[test]
fn a_leaf_says_whose_it_is_and_nothing_else() {
    let signer = own_root(DAY * 365);
    let made = leaf(&signer, DAY, noon());
    let parsed = made.parsed();
    assert_eq!(made.not_before(), noon() - CLOCK_SKEW);
    assert_eq!(made.not_after(), noon() + DAY);
    assert_eq!(parsed.subject().iter().count(), 0);
    let names = parsed.subject_alternative_name().expect("readable").expect("there");
    assert!(names.critical);
    assert_eq!(names.value.general_names, [GeneralName::URI("spiffe://cluster.local/ns/shop/sa/web")]);
    let usage = parsed.key_usage().expect("readable").expect("there");
    assert!(usage.critical && usage.value.digital_signature() && usage.value.key_encipherment());
    assert!(!usage.value.key_cert_sign() && !parsed.is_ca());
    let extended = parsed.extended_key_usage().expect("readable").expect("there").value;
    assert!(extended.server_auth && extended.client_auth && !extended.any && !extended.code_signing);
    assert!(made.is_signed_by(signer.certificate()));
}

#[test]
fn serial_numbers_are_random_and_long() {
    let signer = own_root(DAY);
    let key = KeyPair::generate().expect("a key");
    let serials: std::collections::HashSet<Vec<u8>> = (0..50)
        .map(|_| {
            let leaf = Leaf { public_key: &key, names: &Names::default(), validity: HOUR };
            signer.sign(&leaf, noon()).expect("signed").parsed().raw_serial().to_vec()
        })
        .collect();
    assert_eq!(serials.len(), 50);
    assert!(serials.iter().all(|s| s.len() <= 17 && s[0] < 128), "they are positive");
    assert!(serials.iter().filter(|s| s.len() >= 16).count() > 40, "of 128 bits");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_leaf_never_outlives_its_signer(validity in 0u64..20_000_000, age in 0u64..86_400) {
        let signer = own_root(DAY);
        let now = noon() + Duration::from_secs(age.min(86_399));
        let validity = Duration::from_secs(validity);
        let made = leaf(&signer, validity, now);
        prop_assert_eq!(made.not_after(), (now + validity).min(signer.not_after()));
        prop_assert!(made.not_after() <= signer.certificate().not_after());
    }
}

#[test]
fn nothing_is_signed_after_the_end() {
    let signer = own_root(HOUR);
    let key = KeyPair::generate().expect("a key");
    let leaf = Leaf { public_key: &key, names: &Names::default(), validity: HOUR };
    assert!(matches!(signer.sign(&leaf, noon() + HOUR), Err(SignerError::NotValidNow)));
}

#[test]
fn the_shortest_certificate_on_the_way_counts() {
    let root = Pair::new("root", None, DAY);
    let middle = Pair::new("middle", Some(&root), HOUR);
    let own = Pair::new("own", Some(&middle), DAY * 9);
    let key = own.key_pem();
    let signer = Signer::new(signer_pem(&own, &key, &middle.pem, &root.pem), noon()).expect("an authority");
    assert_eq!(signer.not_after(), noon() + HOUR);
    assert_eq!(leaf(&signer, DAY, noon()).not_after(), noon() + HOUR);
    assert_eq!(signer.intermediates().len(), 2, "itself and the one above, and not the root");
    // The same when the chain holds all of them, in any order.
    let all = [root.pem.as_str(), &own.pem, &middle.pem].concat();
    let same = Signer::new(signer_pem(&own, &key, &all, &root.pem), noon()).expect("an authority");
    assert_eq!(same.intermediates(), signer.intermediates());
}

#[test]
fn what_does_not_fit_together_is_no_authority() {
    let (root, other) = (Pair::new("root", None, DAY), Pair::new("other", None, DAY));
    let middle = Pair::new("middle", Some(&root), DAY);
    let own = Pair::new("own", Some(&middle), DAY);
    let (key, other_key) = (own.key_pem(), other.key_pem());
    let fail = |pem: SignerPem<'_>, now| Signer::new(pem, now).expect_err("refused");
    let right = signer_pem(&own, &key, &middle.pem, &root.pem);
    Signer::new(right, noon()).expect("an authority");
    assert!(matches!(fail(SignerPem { key: other_key.as_bytes(), ..right }, noon()), SignerError::KeyMismatch));
    assert!(matches!(fail(SignerPem { chain: b" \n", ..right }, noon()), SignerError::NoPath));
    assert!(matches!(fail(SignerPem { roots: other.pem.as_bytes(), ..right }, noon()), SignerError::NoPath));
    assert!(matches!(fail(right, noon() + DAY), SignerError::NotValidNow));
    assert!(matches!(fail(right, noon() - DAY), SignerError::NotValidNow));
    assert!(matches!(fail(SignerPem { key: b"none", ..right }, noon()), SignerError::Key(_)));
    assert!(matches!(fail(SignerPem { roots: b"", ..right }, noon()), SignerError::Certificate { .. }));
    let workload = {
        let signer = Signer::new(right, noon()).expect("an authority");
        let key = PrivateKey::generate(key::KeyKind::EcdsaP256).expect("a key");
        let leaf = Leaf { public_key: &key, names: &Names::default(), validity: HOUR };
        (signer.sign(&leaf, noon()).expect("signed").pem(), key)
    };
    let (certificate, key) = (workload.0.as_bytes(), workload.1.pem().as_bytes());
    let chain = [own.pem.as_str(), &middle.pem].concat();
    let leaf = SignerPem { certificate, key, chain: chain.as_bytes(), ..right };
    assert!(matches!(fail(leaf, noon()), SignerError::NoAuthority));
}

#[test]
fn keys_of_every_kind_are_read_and_signed() {
    // As istiod writes it: `EC PRIVATE KEY`, and `RSA PRIVATE KEY` (see the tests of keys).
    let signer = own_root(DAY);
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let leaf = Leaf { public_key: &key, names: &Names::default(), validity: HOUR };
        let made = signer.sign(&leaf, noon()).expect("signed");
        assert_eq!(made.parsed().public_key().raw, key.subject_public_key_info());
    }
}
