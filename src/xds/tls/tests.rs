//! What clients must speak, with a real client.

use rcgen::{CertificateParams, KeyPair};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

/// A server that vouches for itself, and the certificate to trust.
fn server(demands: &Demands) -> (Arc<ServerConfig>, CertificateDer<'static>) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["istiod".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("signed");
    let (pem, key) = (certificate.pem(), key.serialize_pem());
    let config = server_config(pem.as_bytes(), key.as_bytes(), None, None, demands).expect("usable");
    (config, certificate.der().clone())
}

/// The cipher suite that a client of one version gets; `None` when it is turned away.
async fn suite(demands: Demands, version: &'static SupportedProtocolVersion) -> Option<&'static str> {
    let (server, certificate) = server(&demands);
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("usable");
    let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("usable")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let connect = TlsConnector::from(Arc::new(client)).connect("istiod".try_into().expect("a name"), theirs);
    let (accepted, _client) = tokio::join!(TlsAcceptor::from(server).accept(ours), connect);
    accepted.ok()?.get_ref().1.negotiated_cipher_suite().map(suite_name)
}

#[tokio::test]
async fn only_what_is_demanded_is_spoken() {
    let one = "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384";
    let demands = |min: &str, suites: &[&str]| {
        let suites: Vec<String> = suites.iter().map(|&s| s.to_owned()).collect();
        Demands::new(min, &suites)
    };
    assert_eq!(suite(demands("1.2", &[one]).expect("known"), &TLS12).await, Some(one));
    assert!(suite(demands("1.2", &[]).expect("known"), &TLS12).await.is_some());
    assert_eq!(suite(demands("1.3", &[]).expect("known"), &TLS12).await, None);
    assert!(suite(demands("1.3", &[one]).expect("known"), &TLS13).await.is_some());
    let wrong = demands("1.1", &[]).expect_err("too old").to_string();
    assert_eq!(wrong, "TLS version \"1.1\" is not served: the minimum is 1.2 or 1.3");
    let wrong = demands("1.2", &["TLS_RSA"]).expect_err("none").to_string();
    assert!(wrong.starts_with("cipher suite \"TLS_RSA\" is not served: there are TLS_ECDHE_"), "{wrong}");
}
