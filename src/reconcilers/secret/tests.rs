use std::collections::BTreeMap;

use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use rcgen::{CertificateParams, KeyPair as Generated, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};

use super::*;
use crate::model::SecretState;
use crate::model::code::without_code;

fn generated(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
    let key = Generated::generate_for(algorithm).expect("a key");
    let certificate =
        CertificateParams::new(vec!["a.com".to_owned()]).expect("names").self_signed(&key).expect("signed");
    (certificate.pem(), key.serialize_pem())
}

fn pair() -> (String, String) {
    generated(&PKCS_ECDSA_P256_SHA256)
}

fn meta() -> ObjectMeta {
    ObjectMeta { name: Some("s".to_owned()), namespace: Some("ns".to_owned()), ..ObjectMeta::default() }
}

fn read(data: &[(&str, &[u8])]) -> (Option<TlsSecret>, Vec<String>) {
    let data: BTreeMap<_, _> = data.iter().map(|(k, v)| ((*k).to_owned(), ByteString(v.to_vec()))).collect();
    let (made, problems) = convert(&Secret { metadata: meta(), data: Some(data), ..Secret::default() });
    (made, problems.iter().map(without_code).collect())
}

fn broken(data: &[(&str, &[u8])]) -> String {
    let (made, mut problems) = read(data);
    let made = made.expect("a secret");
    assert!(matches!(made.certificate.state(), SecretState::Broken(_)) || made.certificate == Material::Absent);
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0).trim_start_matches("Secret ns/s: data: ").to_owned()
}

#[test]
fn both_forms_are_read_and_istios_wins() {
    let ((chain, key), (other_chain, other_key)) = (pair(), pair());
    let (made, problems) =
        read(&[("tls.crt", chain.as_bytes()), ("tls.key", key.as_bytes()), ("tls.ocsp-staple", b"x")]);
    let made = made.expect("a secret");
    let ready = made.certificate.ready().expect("usable");
    assert_eq!(
        (&*ready.chain, ready.key.expose(), ready.ocsp_staple.as_deref()),
        (chain.as_bytes(), key.as_bytes(), Some(&b"x"[..]))
    );
    assert_eq!((made.authorities, problems.len()), (Material::Absent, 0));
    let (made, _) = read(&[
        ("tls.crt", chain.as_bytes()),
        ("tls.key", key.as_bytes()),
        ("cert", other_chain.as_bytes()),
        ("key", other_key.as_bytes()),
        ("ca.crt", chain.as_bytes()),
    ]);
    let made = made.expect("a secret");
    assert_eq!(&*made.certificate.ready().expect("usable").chain, other_chain.as_bytes());
    assert_eq!(&*made.authorities.ready().expect("usable").certificates, chain.as_bytes());
}

#[test]
fn text_of_files_is_data() {
    let (chain, key) = pair();
    let text = BTreeMap::from([("tls.crt".to_owned(), chain), ("tls.key".to_owned(), key)]);
    let (made, problems) = convert(&Secret { metadata: meta(), string_data: Some(text), ..Secret::default() });
    assert!(made.expect("a secret").certificate.ready().is_some());
    assert!(problems.is_empty());
}

#[test]
fn other_secrets_are_nothing() {
    assert_eq!(read(&[("password", b"x")]), (None, Vec::new()));
    assert_eq!(read(&[]), (None, Vec::new()));
    assert_eq!(read(&[("tls.crt", b""), ("tls.key", b"")]), (None, Vec::new()));
}

#[test]
fn broken_material_says_what_is_wrong() {
    let ((chain, key), (_, other_key)) = (pair(), pair());
    let (chain, key) = (chain.as_bytes(), key.as_bytes());
    let cut = &key[..key.len() / 2];
    let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let no_key = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let no_certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let with = |c: &[u8], k: &[u8]| broken(&[("tls.crt", c), ("tls.key", k)]);
    assert_eq!(broken(&[("tls.crt", chain)]), "tls.crt is there, but tls.key is not");
    assert_eq!(broken(&[("key", key)]), "key is there, but cert is not");
    assert_eq!(with(b"hello", key), "tls.crt: no certificate in PEM");
    assert_eq!(with(no_certificate, key), "tls.crt: certificate 1 is not X.509");
    assert_eq!(with(&[chain, no_certificate].concat(), key), "tls.crt: certificate 2 is not X.509");
    assert_eq!(with(chain, b"\xff\xfe"), "tls.key: no private key in PEM (encrypted keys cannot be used)");
    assert_eq!(with(chain, encrypted), "tls.key: no private key in PEM (encrypted keys cannot be used)");
    assert_eq!(with(chain, cut), "tls.key: the private key is not PEM");
    assert_eq!(with(chain, no_key), "tls.key: not a usable private key");
    assert_eq!(with(chain, other_key.as_bytes()), "tls.key: the private key does not belong to the first certificate");
    assert_eq!(broken(&[("ca.crt", b"x")]), "ca.crt: no certificate in PEM");
    assert_eq!(broken(&[("cacert", chain), ("crl", b"x")]), "crl: no revocation list in PEM");
}

#[test]
fn keys_of_other_kinds_that_envoy_takes_are_good() {
    let (chain, key) = generated(&PKCS_ED25519);
    assert_eq!(read(&[("tls.crt", chain.as_bytes()), ("tls.key", key.as_bytes())]).1, Vec::<String>::new());
}

/// A self-signed certificate of a 1024 bit RSA key, made for this test.
const SHORT_RSA: &str = "-----BEGIN CERTIFICATE-----
MIIB9DCCAV2gAwIBAgIUckCz2s34NRT9i1pVOYvE/gLWz/YwDQYJKoZIhvcNAQEL
BQAwDDEKMAgGA1UEAwwBYTAeFw0yNjExMjMwNTMzMzRaFw0yNjExMjYwNTMzMzRa
MAwxCjAIBgNVBAMMAWEwgZ8wDQYJKoZIhvcNAQEBBQADgY0AMIGJAoGBAOJqmr7u
S1Mcwc8OuYOXzTa8xKMnG1mlFMyvXZzSy/omZC2ePjS00Tlev5SlJ96qP1CBcUjh
TGvuX+wIi7KbdIlsrRpkPNJjWRJHGL8rZru4CdpHImUoj9UnUykUYA8OWc9+dQkO
UfSAIWOzmdx+tIQS1YwdajmI+YBXl3YgrlI1AgMBAAGjUzBRMB0GA1UdDgQWBBTa
jDbmgrmAFfWtyAljCpx4q4zFnTAfBgNVHSMEGDAWgBTajDbmgrmAFfWtyAljCpx4
q4zFnTAPBgNVHRMBAf8EBTADAQH/MA0GCSqGSIb3DQEBCwUAA4GBAJ/haEUUWEo8
KwenJteklIaiFE7SjakY/7t0hjsbeTblluvJw0V1j3MyUNe7cFUWHF5ZQYn6PuZJ
xj496frgG3/+STgQ0XPv+cmpA/ckg8MiaCwS6SDsd86h1xlDoq4lp28JSHZsIRl6
kASvJ2dOXE4Nqe1dKOBTb55a+Nk3Bn5S
-----END CERTIFICATE-----
";

#[test]
fn short_rsa_keys_are_refused() {
    let (_, key) = pair();
    let data = [("tls.crt", SHORT_RSA.as_bytes()), ("tls.key", key.as_bytes())];
    assert_eq!(broken(&data), "tls.crt: Envoy takes no RSA keys below 2048 bits, this one has 1024");
}

#[test]
fn a_chain_may_have_text_around_it() {
    let (chain, key) = pair();
    let commented = format!("# leaf\n{chain}\nsubject=x\n{chain}");
    assert!(read(&[("tls.crt", commented.as_bytes()), ("tls.key", key.as_bytes())]).1.is_empty());
}

#[test]
fn broken_authorities_leave_the_certificate_alone() {
    let (chain, key) = pair();
    let (made, problems) = read(&[("tls.crt", chain.as_bytes()), ("tls.key", key.as_bytes()), ("ca.crt", b"x")]);
    let made = made.expect("a secret");
    assert!(made.certificate.ready().is_some());
    assert_eq!(made.authorities.state(), SecretState::Broken("ca.crt: no certificate in PEM".into()));
    assert_eq!(problems.len(), 1);
}

#[test]
fn config_maps_hold_authorities() {
    let (chain, _) = pair();
    let map = |text: &str| ConfigMap {
        metadata: meta(),
        data: Some(BTreeMap::from([("ca.crt".to_owned(), text.to_owned())])),
        ..ConfigMap::default()
    };
    let (made, problems) = convert_config_map(&map(&chain));
    assert!(made.expect("one").authorities.ready().is_some() && problems.is_empty());
    assert_eq!(convert_config_map(&ConfigMap { metadata: meta(), ..ConfigMap::default() }), (None, Vec::new()));
    assert_eq!(convert_config_map(&map("x")).1.len(), 1);
}

#[test]
fn keys_are_never_shown() {
    let (chain, key) = pair();
    let (made, _) = read(&[("tls.crt", chain.as_bytes()), ("tls.key", key.as_bytes())]);
    let shown = format!("{made:?}");
    assert!(shown.contains("[redacted]"));
    assert!(!shown.contains(&format!("{:?}", key.as_bytes())) && !shown.contains("PRIVATE KEY-"));
}
