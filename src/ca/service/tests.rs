//! What callers of the service get.

use rcgen::KeyPair;
use tokio::sync::watch;
use tonic::Code;
use x509_parser::extensions::GeneralName;

use super::*;
use crate::{
    ca::{
        authority::Current,
        certificate::Certificate,
        key::{KeyKind, PrivateKey},
        root,
        testing::{DAY, request},
    },
    pb::certificate::istio_certificate_service_server::IstioCertificateService,
};

const OWN: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// Everyone is the same, or nobody.
struct Everyone(Option<&'static str>);

impl Callers for Everyone {
    fn identify<'a>(
        &'a self,
        _: &'a Extensions,
        _: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Caller, AuthError>> {
        let caller = self.0.map(|identity| Caller { identities: vec![identity.into()], pod: None });
        Box::pin(async move { caller.ok_or(AuthError::NoCredentials) })
    }
}

fn service(caller: Option<&'static str>, is_ready: bool) -> CertificateService<Everyone> {
    let key = PrivateKey::generate(KeyKind::EcdsaP256).expect("a key");
    let signer = root::create(key, "cluster.local", DAY * 365, time_of_day()).expect("a root");
    let current = Current { signer: Arc::new(signer), crl: None };
    let unreachable = tower::service_fn(|_: http::Request<kube::client::Body>| async {
        Err::<http::Response<kube::client::Body>, _>(tower::BoxError::from("there is no API server"))
    });
    CertificateService {
        authority: watch::Sender::new(is_ready.then_some(current)).subscribe(),
        callers: Everyone(caller),
        impersonation: Impersonation::new(kube::Client::new(unreachable, "default"), Vec::new()),
        lifetimes: Lifetimes { default: DAY, longest: DAY * 90 },
        metrics: Arc::new(Metrics::new("test")),
    }
}

fn ask() -> IstioCertificateRequest {
    let key = KeyPair::generate().expect("a key");
    let csr = request(&key, "spiffe://cluster.local/ns/kube-system/sa/admin");
    IstioCertificateRequest { csr, validity_duration: 0, metadata: None }
}

async fn answer(
    service: &CertificateService<Everyone>,
    request: IstioCertificateRequest,
) -> Result<Vec<String>, Status> {
    Ok(service.create_certificate(Request::new(request)).await?.into_inner().cert_chain)
}

fn leaf(chain: &[String]) -> Certificate {
    let [leaf] = &*Certificate::all(chain[0].as_bytes()).expect("PEM") else { panic!("several") };
    leaf.clone()
}

#[tokio::test]
async fn names_are_the_callers_whatever_it_asks_for() {
    let service = service(Some(OWN), true);
    let chain = answer(&service, ask()).await.expect("issued");
    assert_eq!(chain.len(), 2, "a leaf and the roots");
    assert_eq!(chain[1], service.authority.borrow().as_ref().expect("ready").signer.roots_pem().to_string());
    let leaf = leaf(&chain);
    let names = leaf.parsed().subject_alternative_name().expect("readable").expect("there").value.clone();
    assert_eq!(names.general_names, [GeneralName::URI(OWN)]);
    assert_eq!((service.metrics.csr_count.get(), service.metrics.certificates_issued.get()), (1, 1));
}

#[tokio::test]
async fn validity_is_what_is_asked_for_within_bounds() {
    let service = service(Some(OWN), true);
    for (asked, wanted) in [(0, DAY), (-5, DAY), (3600, Duration::from_secs(3600)), (90 * 86_400, DAY * 90)] {
        let chain = answer(&service, IstioCertificateRequest { validity_duration: asked, ..ask() }).await;
        let leaf = leaf(&chain.expect("issued"));
        let given = leaf.not_after().duration_since(leaf.not_before()).expect("in order");
        let skew = given.abs_diff(wanted + Duration::from_secs(120));
        assert!(skew <= Duration::from_secs(2), "{asked}: {given:?}");
    }
    let longer = IstioCertificateRequest { validity_duration: 90 * 86_400 + 1, ..ask() };
    let refused = answer(&service, longer).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(refused.message(), "the requested validity of 7776001 s is longer than the longest one, 7776000 s");
}

fn with(key: &str, value: &str) -> IstioCertificateRequest {
    let kind = Some(prost_types::value::Kind::StringValue(value.to_owned()));
    let fields = [(key.to_owned(), prost_types::Value { kind })].into();
    IstioCertificateRequest { metadata: Some(prost_types::Struct { fields }), ..ask() }
}

#[tokio::test]
async fn each_refusal_has_its_code_and_is_counted() {
    let known = service(Some(OWN), true);
    let broken = IstioCertificateRequest { csr: "no request".to_owned(), ..ask() };
    let large = IstioCertificateRequest { csr: "x".repeat(20_000), ..ask() };
    let foreign = with(IMPERSONATED, "spiffe://cluster.local/ns/shop/sa/other");
    let signer = with(CERT_SIGNER, "vault");
    for (request, code) in [
        (broken, Code::InvalidArgument),
        (large, Code::InvalidArgument),
        (foreign, Code::Unauthenticated),
        (signer, Code::InvalidArgument),
    ] {
        assert_eq!(answer(&known, request).await.expect_err("refused").code(), code);
    }
    let metrics = &known.metrics;
    assert_eq!(
        (metrics.csr_count.get(), metrics.csr_parsing_errors.get(), metrics.certificates_issued.get()),
        (4, 2, 0)
    );
    let text = metrics.text();
    assert!(text.contains("citadel_server_csr_sign_err_count{error=\"CSR_ERROR\"} 2"), "{text}");

    let nobody = service(None, true);
    assert_eq!(answer(&nobody, ask()).await.expect_err("refused").code(), Code::Unauthenticated);
    assert_eq!(nobody.metrics.authentication_failures.get(), 1);
    let early = service(Some(OWN), false);
    assert_eq!(answer(&early, ask()).await.expect_err("refused").code(), Code::Unavailable);
}
