//! Who a caller is, by the token that it sends (contract §4.2).

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, header::AUTHORIZATION};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::{Api, Client, api::PostParams};
use tokio::sync::{Semaphore, watch};
use tonic::Status;

use crate::model::Identity;

/// How many reviews are under way at once. Others wait: whoever floods us does not flood the API server.
const AT_ONCE: usize = 64;
/// How long a review may take, waiting for its turn included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The largest token that is looked at, in bytes.
const LARGEST: usize = 16 * 1024;

const GROUP: &str = "system:serviceaccounts";
const USER: &str = "system:serviceaccount:";
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
/// The cluster that a caller says it is in.
const CLUSTER: &str = "clusterid";

/// Why nobody knows a caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It sent nothing.
    #[error("authentication failure: no client certificate of this mesh and no bearer token")]
    NoCredentials,
    /// Its token is none.
    #[error("authentication failure: the bearer token is no JSON web token of at most {LARGEST} bytes")]
    NoToken,
    /// The API server does not accept the token.
    #[error("authentication failure: the token is not valid for {audiences}: {reason}")]
    Refused {
        /// For whom it ought to be.
        audiences: String,
        /// What the API server says.
        reason: String,
    },
    /// It is not the token of a service account.
    #[error("authentication failure: the token is not that of a service account")]
    NoServiceAccount,
    /// It says that it is in another cluster.
    #[error(
        "authentication failure: the client says that it is in cluster {claimed:?}, which is not known here (this is {own:?})"
    )]
    UnknownCluster {
        /// Which one it says.
        claimed: String,
        /// Ours.
        own: String,
    },
    /// Nobody can say now.
    #[error("the token cannot be reviewed now")]
    Unavailable,
}

impl From<AuthError> for Status {
    fn from(error: AuthError) -> Self {
        let text = error.to_string();
        match error {
            AuthError::Unavailable => Self::unavailable(text),
            _ => Self::unauthenticated(text),
        }
    }
}

/// What a caller sends to prove who it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    token: String,
    cluster: Option<String>,
}

impl Credentials {
    /// Those of a request, if it has any: `authorization: Bearer <token>`.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name)?.to_str().ok();
        let (scheme, token) = text(AUTHORIZATION.as_str())?.split_once(' ')?;
        let cluster = text(CLUSTER).filter(|cluster| !cluster.is_empty()).map(str::to_owned);
        scheme.eq_ignore_ascii_case("bearer").then(|| Self { token: token.trim().to_owned(), cluster })
    }
}

/// The token is nobody's business.
impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

/// A pod, as the API server bound a token to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// Who a caller has proved to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its identities; at least one.
    pub identities: Vec<Arc<str>>,
    /// The pod that its token is bound to.
    pub pod: Option<PodRef>,
}

/// Asks the API server whose a token is.
pub struct Reviewer {
    api: Api<TokenReview>,
    audiences: Vec<String>,
    cluster: String,
    trust_domain: watch::Receiver<Arc<str>>,
    turns: Semaphore,
}

impl Reviewer {
    /// One for tokens of these audiences (`TOKEN_AUDIENCES`), of the cluster of this name.
    #[must_use]
    pub fn new(
        client: Client,
        audiences: Vec<String>,
        cluster: String,
        trust_domain: watch::Receiver<Arc<str>>,
    ) -> Self {
        Self { api: Api::all(client), audiences, cluster, trust_domain, turns: Semaphore::new(AT_ONCE) }
    }

    /// Whose the token is.
    ///
    /// # Errors
    /// It is nobody's, or nobody can say.
    pub async fn review(&self, credentials: &Credentials) -> Result<Caller, AuthError> {
        let Credentials { token, cluster } = credentials;
        if let Some(claimed) = cluster.as_ref().filter(|claimed| **claimed != self.cluster) {
            return Err(AuthError::UnknownCluster { claimed: claimed.clone(), own: self.cluster.clone() });
        }
        if token.len() > LARGEST || token.split('.').count() != 3 {
            return Err(AuthError::NoToken);
        }
        let status = tokio::time::timeout(TIMEOUT, self.ask(token)).await.map_err(|_| {
            tracing::warn!("the API server does not review tokens: no answer in {TIMEOUT:?}");
            AuthError::Unavailable
        })??;
        let trust_domain = Arc::clone(&self.trust_domain.borrow());
        caller(status, &self.audiences, &trust_domain)
    }

    async fn ask(&self, token: &str) -> Result<TokenReviewStatus, AuthError> {
        let _turn = self.turns.acquire().await.map_err(|_| AuthError::Unavailable)?;
        let spec = TokenReviewSpec { token: token.to_owned(), audiences: Some(self.audiences.clone()) };
        let review = TokenReview { spec, ..TokenReview::default() };
        match self.api.create(&PostParams::default(), &review).await {
            Ok(review) => Ok(review.status.unwrap_or_default()),
            Err(error) => {
                let rule = "a rule must allow verb \"create\" on resource \"tokenreviews\" of API group \
                            \"authentication.k8s.io\"";
                let forbidden = matches!(&error, kube::Error::Api(status) if status.code == 403);
                let hint = if forbidden { rule } else { "" };
                let reason = format!("{:#}", anyhow::Error::from(error));
                tracing::warn!(reason, hint, "the API server does not review tokens");
                Err(AuthError::Unavailable)
            }
        }
    }
}

/// What the API server says about a token, as a caller.
fn caller(status: TokenReviewStatus, audiences: &[String], trust_domain: &str) -> Result<Caller, AuthError> {
    let refused = |reason: String| AuthError::Refused { audiences: audiences.join(", "), reason };
    if let Some(error) = status.error.filter(|error| !error.is_empty()) {
        return Err(refused(error));
    }
    if status.authenticated != Some(true) {
        return Err(refused("it is not known to the API server".to_owned()));
    }
    let valid_for = status.audiences.unwrap_or_default();
    if !valid_for.iter().any(|audience| audiences.contains(audience)) {
        return Err(refused(format!("it is one for {}", valid_for.join(", "))));
    }
    let user = status.user.unwrap_or_default();
    let is_account = user.groups.iter().flatten().any(|group| group == GROUP);
    let name = user.username.unwrap_or_default();
    let account = name.strip_prefix(USER).and_then(|account| account.split_once(':'));
    let Some((namespace, service_account)) = account.filter(|(ns, sa)| is_account && is_label(ns) && is_name(sa))
    else {
        return Err(AuthError::NoServiceAccount);
    };
    let mut extra = user.extra.unwrap_or_default();
    let mut first = |key: &str| extra.remove(key).and_then(|values| values.into_iter().next());
    let pod = first(POD_NAME).zip(first(POD_UID));
    let pod = pod.map(|(name, uid)| PodRef { namespace: namespace.to_owned(), name, uid });
    let identity = Identity { trust_domain, namespace, service_account }.to_string();
    Ok(Caller { identities: vec![identity.into()], pod })
}

/// What cannot be mistaken for a part of another identity.
fn is_label(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(is_label)
}

#[cfg(test)]
mod tests;
