use rcgen::{BasicConstraints, CertificateSigningRequestParams, IsCa, Issuer};

use super::*;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn sign(&self, csr: &str) -> String {
        let params = CertificateSigningRequestParams::from_pem(csr).expect("a request");
        params.signed_by(&self.issuer).expect("a certificate").pem()
    }
}

const NAME: &str = "spiffe://cluster.local/ns/shop/sa/web";

#[test]
fn an_answer_is_taken_when_it_is_for_the_key() {
    let authority = Authority::new();
    let key = KeyPair::generate().expect("a key");
    let leaf = authority.sign(&request(NAME, &key).expect("a request"));
    let identity = accept(&key, &[leaf.clone(), authority.pem.clone()]).expect("an identity");
    assert_eq!((identity.chain.trim(), identity.roots.as_str()), (leaf.trim(), authority.pem.as_str()));
    assert!(!format!("{identity:?}").contains("KEY"));
    let other = KeyPair::generate().expect("a key");
    assert!(matches!(accept(&other, &[leaf.clone(), authority.pem.clone()]), Err(IdentityError::OtherKey)));
    assert!(matches!(accept(&key, std::slice::from_ref(&leaf)), Err(IdentityError::Short(1))));
    assert!(matches!(accept(&key, &[]), Err(IdentityError::Short(0))));
    assert!(matches!(accept(&key, &[leaf, "no root".to_owned()]), Err(IdentityError::Unreadable(_))));
    let garbage = ["-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(), authority.pem];
    assert!(matches!(accept(&key, &garbage), Err(IdentityError::Unreadable(_))));
}

#[test]
fn a_certificate_is_renewed_at_half_of_its_life() {
    let begins = UNIX_EPOCH + Duration::from_secs(1_000_000);
    let day = Duration::from_secs(86_400);
    let identity = |key: &str| Identity {
        key: key.to_owned(),
        chain: String::new(),
        roots: String::new(),
        begins,
        ends: begins + day,
    };
    let delays: Vec<f64> =
        (0..50).map(|n| renewal(&identity(&format!("key {n}")), begins, 0.5).as_secs_f64()).collect();
    for delay in &delays {
        assert!((0.489..=0.511).contains(&(delay / day.as_secs_f64())), "{delay}");
    }
    assert!(delays.iter().any(|delay| (delay - delays[0]).abs() > 1.0), "all at once");
    let dated_back = renewal(&identity("a day old"), begins + day - Duration::from_secs(60), 0.5).as_secs_f64();
    assert!((29.0..=31.0).contains(&dated_back), "{dated_back}");
    assert_eq!(renewal(&identity("late"), begins + day * 2, 0.5), SHORTEST_LIFE);
}
