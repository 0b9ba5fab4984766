//! The service that signs certificates for workloads (contract §4.1).

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::future::BoxFuture;
use http::Extensions;
use tonic::{Request, Response, Status};

use super::{
    authenticate::{AuthError, Caller, Credentials},
    authority::{Authority, time_of_day},
    csr::{self, CsrError},
    impersonate::{Impersonation, ImpersonationError},
    signer::{Leaf, Names, Signer, SignerError},
};
use crate::{
    pb::certificate::{
        IstioCertificateRequest, IstioCertificateResponse,
        istio_certificate_service_server::{IstioCertificateService, IstioCertificateServiceServer},
    },
    telemetry::metrics::{ErrorLabel, Metrics},
};

/// The largest message that is taken, in bytes: a request with room for its metadata.
const LARGEST_MESSAGE: usize = 64 * 1024;

/// In the metadata of a request: for whom a node's proxy asks.
const IMPERSONATED: &str = "ImpersonatedIdentity";
/// In the metadata of a request: who is to sign.
const CERT_SIGNER: &str = "CertSigner";

/// Knows who calls.
pub trait Callers: Send + Sync + 'static {
    /// The caller of a request, by its connection (what the server put beside the request) or else by its token.
    fn identify<'a>(
        &'a self,
        connection: &'a Extensions,
        credentials: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Caller, AuthError>>;
}

/// How long certificates are valid.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// Of those that do not say (`DEFAULT_WORKLOAD_CERT_TTL`).
    pub default: Duration,
    /// At most (`MAX_WORKLOAD_CERT_TTL`).
    pub longest: Duration,
}

/// Why no certificate is issued, beyond that nobody knows who asks.
#[derive(Debug, thiserror::Error)]
enum IssueError {
    #[error(transparent)]
    Csr(#[from] CsrError),
    #[error("the requested validity of {asked} s is longer than the longest one, {longest} s")]
    TooLong { asked: i64, longest: u64 },
    #[error("the certificate signer {0:?} is not served: leave CertSigner out")]
    OtherSigner(String),
    #[error(transparent)]
    Impersonation(#[from] ImpersonationError),
    #[error("the identity cannot stand in a certificate")]
    Identity,
    #[error("the certificate authority is not ready")]
    NotReady,
    #[error("the certificate authority cannot sign")]
    Sign(#[source] SignerError),
}

impl IssueError {
    /// The word in the metric.
    fn word(&self) -> &'static str {
        match self {
            Self::Csr(_) => "CSR_ERROR",
            Self::TooLong { .. } => "TTL_ERROR",
            Self::NotReady => "CA_NOT_READY",
            Self::OtherSigner(_) | Self::Impersonation(_) | Self::Identity => "CA_ERROR",
            Self::Sign(_) => "CERT_GEN_ERROR",
        }
    }

    fn status(&self) -> Status {
        let text = self.to_string();
        match self {
            Self::Csr(_) | Self::TooLong { .. } | Self::OtherSigner(_) => Status::invalid_argument(text),
            Self::Impersonation(ImpersonationError::Unavailable) | Self::NotReady => Status::unavailable(text),
            Self::Impersonation(_) | Self::Identity => Status::unauthenticated(text),
            Self::Sign(_) => Status::internal(text),
        }
    }
}

/// The service.
pub struct CertificateService<C> {
    /// Who signs.
    pub authority: Authority,
    /// Who calls.
    pub callers: C,
    /// For whom nodes may ask.
    pub impersonation: Impersonation,
    /// How long certificates are valid.
    pub lifetimes: Lifetimes,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

impl<C: Callers> CertificateService<C> {
    /// To be served.
    #[must_use]
    pub fn into_server(self) -> IstioCertificateServiceServer<Self> {
        IstioCertificateServiceServer::new(self).max_decoding_message_size(LARGEST_MESSAGE)
    }

    async fn issue(&self, caller: &Caller, request: &IstioCertificateRequest) -> Result<Vec<String>, IssueError> {
        let word = |key: &str| metadata(request, key).filter(|value| !value.is_empty());
        if let Some(other) = word(CERT_SIGNER) {
            return Err(IssueError::OtherSigner(other.to_owned()));
        }
        let impersonated = match word(IMPERSONATED) {
            Some(identity) => Some(self.impersonation.permit(caller, identity).await?),
            None => None,
        };
        let names = match &impersonated {
            Some(identity) => Names::uris([identity.as_str()]),
            None => Names::uris(caller.identities.iter().map(|i| &**i)),
        };
        let names = names.ok_or(IssueError::Identity)?;
        let public_key = csr::public_key(&request.csr)?;
        let validity = self.validity(request.validity_duration)?;
        let current = self.authority.borrow().clone().ok_or(IssueError::NotReady)?;
        let leaf = Leaf { public_key: &public_key, names: &names, validity };
        chain(&current.signer, &leaf, time_of_day()).map_err(IssueError::Sign)
    }

    fn validity(&self, asked: i64) -> Result<Duration, IssueError> {
        let Lifetimes { default, longest } = self.lifetimes;
        match u64::try_from(asked) {
            Ok(seconds) if seconds > longest.as_secs() => {
                Err(IssueError::TooLong { asked, longest: longest.as_secs() })
            }
            Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
            _ => Ok(default),
        }
    }
}

/// The leaf, those between it and its root, and all roots in one (contract §4.1).
fn chain(
    signer: &Signer,
    leaf: &Leaf<'_, impl rcgen::PublicKeyData>,
    now: SystemTime,
) -> Result<Vec<String>, SignerError> {
    let mut chain = vec![signer.sign(leaf, now)?.pem()];
    chain.extend(signer.intermediates().iter().map(|c| c.pem()));
    chain.push(signer.roots_pem().to_string());
    Ok(chain)
}

fn metadata<'a>(request: &'a IstioCertificateRequest, key: &str) -> Option<&'a str> {
    match request.metadata.as_ref()?.fields.get(key)?.kind.as_ref()? {
        prost_types::value::Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

#[tonic::async_trait]
impl<C: Callers> IstioCertificateService for CertificateService<C> {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        let metrics = &self.metrics;
        metrics.csr_count.inc();
        let (metadata, extensions, request) = request.into_parts();
        let credentials = Credentials::of(&metadata.into_headers());
        let caller = self.callers.identify(&extensions, credentials.as_ref()).await.map_err(|error| {
            metrics.authentication_failures.inc();
            tracing::warn!(%error, "a certificate is refused");
            Status::from(error)
        })?;
        if caller.identities.is_empty() {
            metrics.id_extraction_errors.inc();
            return Err(Status::unauthenticated("authentication failure: the caller has no identity"));
        }
        match self.issue(&caller, &request).await {
            Ok(cert_chain) => {
                metrics.certificates_issued.inc();
                tracing::debug!(identities = ?caller.identities, "certificate issued");
                Ok(Response::new(IstioCertificateResponse { cert_chain }))
            }
            Err(error) => {
                if matches!(error, IssueError::Csr(_)) {
                    metrics.csr_parsing_errors.inc();
                }
                metrics.csr_sign_errors.get_or_create(&ErrorLabel { error: error.word().into() }).inc();
                let status = error.status();
                let reason = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(identities = ?caller.identities, reason, "a certificate is refused");
                Err(status)
            }
        }
    }
}

#[cfg(test)]
mod tests;
