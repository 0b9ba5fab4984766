//! The workload's certificate: a key of its own, signed by the control plane, renewed at about half of its life
//! (contract §4.1, §6.3).

#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    iter::successors,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper_util::rt::TokioIo;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PublicKeyData as _, SanType};
use tokio::{
    sync::watch,
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue, errors::InvalidMetadataValue},
    transport::Endpoint,
};
use tower::service_fn;
use x509_parser::{error::X509Error, parse_x509_certificate, pem::Pem};

use super::{
    chain,
    metrics::Metrics,
    upstream::{Upstream, UpstreamError},
};
use crate::pb::certificate::{
    IstioCertificateRequest, istio_certificate_service_client::IstioCertificateServiceClient,
};

/// Between two attempts, at first; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Between two attempts, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// How long signing may take.
const SIGN_TIMEOUT: Duration = Duration::from_secs(15);

/// A certificate is not renewed more often than this.
const SHORTEST_LIFE: Duration = Duration::from_millis(500);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A key or a request cannot be made.
    #[error("make a key and a request for {name}")]
    Request {
        /// The identity.
        name: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// There is no RSA key.
    #[error("make an RSA key: {0}")]
    Rsa(String),
    /// The token or the connection is missing.
    #[error("reach the authority")]
    Upstream(#[source] UpstreamError),
    /// The token is none.
    #[error("the token cannot stand in a header")]
    Token(#[source] InvalidMetadataValue),
    /// The connection broke.
    #[error("reach the authority")]
    Transport(#[source] tonic::transport::Error),
    /// The authority refused.
    #[error("the authority refused: {} ({:?})", .0.message(), .0.code())]
    Refused(Box<Status>),
    /// It took too long.
    #[error("the authority does not answer")]
    Timeout,
    /// The answer has too few parts.
    #[error("the authority's answer has {0} certificates: it needs the workload's and a root")]
    Short(usize),
    /// The answer is not what it should be.
    #[error("the authority's answer holds no certificate that can be read")]
    Unreadable(#[source] Option<X509Error>),
    /// It is another's.
    #[error("the authority's answer is a certificate of another key")]
    OtherKey,
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The private key, PEM.
    pub key: String,
    /// The certificate and those between it and a root, PEM.
    pub chain: String,
    /// The roots, PEM.
    pub roots: String,
    /// From when it is good.
    pub begins: SystemTime,
    /// Until when.
    pub ends: SystemTime,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("begins", &self.begins).field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// Keys of another kind than the usual one.
#[derive(Clone, Copy, Debug)]
pub struct RsaKeys {
    /// How long they are.
    pub bits: u16,
    /// Makes one of so many bits, PEM; that takes a while.
    pub make: fn(u16) -> Result<String, String>,
}

impl RsaKeys {
    async fn make(self) -> Result<KeyPair, IdentityError> {
        let made = spawn_blocking(move || (self.make)(self.bits)).await;
        let pem = made.unwrap_or_else(|error| Err(error.to_string())).map_err(IdentityError::Rsa)?;
        KeyPair::from_pem(&pem).map_err(|error| IdentityError::Rsa(error.to_string()))
    }
}

/// What is asked of the authority.
#[derive(Debug)]
pub struct Issuance {
    /// The authority.
    pub authority: Upstream,
    /// `spiffe://<trust domain>/ns/<namespace>/sa/<account>`.
    pub name: String,
    /// The cluster, which the authority asks about the token.
    pub cluster: String,
    /// RSA keys instead of ECDSA ones on P-256.
    pub rsa: Option<RsaKeys>,
    /// How long it should be good.
    pub lifetime: Duration,
    /// Which part of that may be left at its renewal.
    pub grace: f64,
    /// Where successes and failures are counted.
    pub metrics: Arc<Metrics>,
}

impl Issuance {
    /// Keeps a certificate at hand.
    pub async fn run(self, current: watch::Sender<Option<Arc<Identity>>>) -> Infallible {
        loop {
            let identity = self.persist().await;
            let renewal = renewal(&identity, now(), self.grace);
            self.metrics.issued(&identity);
            tracing::info!(name = self.name, renewal_in = ?renewal, "the workload has a certificate");
            current.send_replace(Some(Arc::new(identity)));
            sleep(renewal).await;
        }
    }

    /// Asks until it is given one.
    async fn persist(&self) -> Identity {
        let mut pauses = successors(Some(FIRST_PAUSE), |pause| Some((*pause * 2).min(LONGEST_PAUSE)));
        loop {
            match self.issue().await {
                Ok(identity) => return identity,
                Err(error) => {
                    self.metrics.refused();
                    let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
                    let (name, authority) = (&self.name, &self.authority.address);
                    tracing::warn!("no certificate for {name} from {authority}: {}; again in {pause:?}", chain(&error));
                    sleep(pause).await;
                }
            }
        }
    }

    async fn issue(&self) -> Result<Identity, IdentityError> {
        let made = |source| IdentityError::Request { name: self.name.clone(), source };
        let key = match self.rsa {
            None => KeyPair::generate().map_err(made)?,
            Some(rsa) => rsa.make().await?,
        };
        let csr = request(&self.name, &key).map_err(made)?;
        let signed = timeout(SIGN_TIMEOUT, self.sign(csr)).await.unwrap_or(Err(IdentityError::Timeout));
        if signed.is_err() {
            self.authority.failed();
        }
        accept(&key, &signed?)
    }

    async fn sign(&self, csr: String) -> Result<Vec<String>, IdentityError> {
        // A connection for each: hours lie between two, and the next replica may answer.
        let io = self.authority.connect().await.map_err(IdentityError::Upstream)?;
        let mut io = Some(TokioIo::new(io));
        let endpoint = Endpoint::from_static("http://authority");
        let channel = endpoint
            .connect_with_connector(service_fn(move |_| {
                let io = io.take().ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected));
                async { io }
            }))
            .await
            .map_err(IdentityError::Transport)?;
        let mut client = IstioCertificateServiceClient::new(channel);
        let validity_duration = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let mut request = Request::new(IstioCertificateRequest { csr, validity_duration, ..Default::default() });
        if let Some(token) = self.authority.bearer().map_err(IdentityError::Upstream)? {
            request.metadata_mut().insert("authorization", text(&format!("Bearer {token}"))?);
        }
        request.metadata_mut().insert("clusterid", text(&self.cluster)?);
        let answer = client.create_certificate(request).await;
        Ok(answer.map_err(|status| IdentityError::Refused(Box::new(status)))?.into_inner().cert_chain)
    }
}

fn text(value: &str) -> Result<MetadataValue<Ascii>, IdentityError> {
    value.parse().map_err(IdentityError::Token)
}

/// A request for a certificate, PEM. Who it is for is decided by the token; the name is a claim.
fn request(name: &str, key: &KeyPair) -> Result<String, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(name.try_into()?)];
    params.serialize_request(key)?.pem()
}

/// Checks what the authority gave for a key.
fn accept(key: &KeyPair, answer: &[String]) -> Result<Identity, IdentityError> {
    let (Some((roots, certificates)), true) = (answer.split_last(), answer.len() > 1) else {
        return Err(IdentityError::Short(answer.len()));
    };
    let chain = certificates.iter().map(|pem| pem.trim_end().to_owned() + "\n").collect::<String>();
    let leaf = Pem::iter_from_buffer(chain.as_bytes()).next().and_then(Result::ok);
    let leaf = leaf.ok_or(IdentityError::Unreadable(None))?;
    let (_, parsed) = parse_x509_certificate(&leaf.contents).map_err(|error| {
        IdentityError::Unreadable(match error {
            x509_parser::nom::Err::Error(error) | x509_parser::nom::Err::Failure(error) => Some(error),
            x509_parser::nom::Err::Incomplete(_) => None,
        })
    })?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(IdentityError::OtherKey);
    }
    if !Pem::iter_from_buffer(roots.as_bytes()).any(|root| root.is_ok()) {
        return Err(IdentityError::Unreadable(None));
    }
    let validity = parsed.validity();
    let at = |seconds: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    Ok(Identity {
        key: key.serialize_pem(),
        begins: at(validity.not_before.timestamp()),
        ends: at(validity.not_after.timestamp()),
        chain,
        roots: roots.clone(),
    })
}

/// When to renew: when `grace` of the life is left, give or take a hundredth, so that workloads that started together
/// do not all ask together. Life begins now: authorities date certificates back, by more than a short life.
fn renewal(identity: &Identity, now: SystemTime, grace: f64) -> Duration {
    let life = identity.ends.duration_since(now).unwrap_or_default();
    // As random as the key.
    let dice = identity.key.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % 201;
    let grace = grace.clamp(0.0, 0.99) + (f64::from(dice) - 100.0) / 10_000.0;
    life.mul_f64(1.0 - grace.clamp(0.0, 1.0)).max(SHORTEST_LIFE)
}

#[expect(clippy::disallowed_methods, reason = "certificates are dated by the clock on the wall")]
fn now() -> SystemTime {
    SystemTime::now()
}
