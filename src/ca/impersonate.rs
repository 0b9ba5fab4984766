//! Nodes' proxies that ask for certificates of the workloads on their node (contract §4.3).

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, api::ListParams};

use super::authenticate::Caller;
use crate::model::Identity;

/// Why nobody may ask for another one.
#[derive(Debug, thiserror::Error)]
pub enum ImpersonationError {
    /// What it asks for is no identity of the caller's trust domain.
    #[error("request impersonation authentication failure: {0:?} is no identity of this mesh")]
    Identity(String),
    /// It is not one of those who may.
    #[error("request impersonation authentication failure: {0} is not among CA_TRUSTED_NODE_ACCOUNTS")]
    NotTrusted(String),
    /// Its token is bound to no pod that is there.
    #[error("request impersonation authentication failure: the caller's token is bound to no pod that runs")]
    NoPod,
    /// No such workload is on the caller's node.
    #[error("request impersonation authentication failure: no pod of {0} runs on the caller's node")]
    NotOnNode(String),
    /// The API server does not say.
    #[error("the caller's node cannot be found now")]
    Unavailable,
}

/// The rule.
pub struct Impersonation {
    client: Client,
    /// `<namespace>/<service account>`.
    trusted: Vec<String>,
}

impl Impersonation {
    /// A rule for these accounts, `<namespace>/<service account>` (`CA_TRUSTED_NODE_ACCOUNTS`).
    #[must_use]
    pub fn new(client: Client, trusted: Vec<String>) -> Self {
        Self { client, trusted }
    }

    /// The identity, if the caller may ask for it: it is trusted, runs as a pod, and some pod of the identity is on the
    /// same node.
    pub(super) async fn permit(&self, caller: &Caller, wanted: &str) -> Result<String, ImpersonationError> {
        let own = caller.identities.first().and_then(|uri| Identity::parse(uri));
        let unknown = || ImpersonationError::Identity(wanted.to_owned());
        let (own, target) = own.zip(Identity::parse(wanted)).ok_or_else(unknown)?;
        if own.trust_domain != target.trust_domain {
            return Err(unknown());
        }
        let account = format!("{}/{}", own.namespace, own.service_account);
        if !self.trusted.contains(&account) {
            return Err(ImpersonationError::NotTrusted(account));
        }
        let pod = caller.pod.as_ref().ok_or(ImpersonationError::NoPod)?;
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace);
        let found = pods.get_opt(&pod.name).await.map_err(unavailable)?.ok_or(ImpersonationError::NoPod)?;
        let spec = found.spec.unwrap_or_default();
        let is_it = found.metadata.uid.as_ref() == Some(&pod.uid)
            && spec.service_account_name.as_deref() == Some(own.service_account);
        let node = spec.node_name.filter(|_| is_it).ok_or(ImpersonationError::NoPod)?;
        let there: Api<Pod> = Api::namespaced(self.client.clone(), target.namespace);
        let account = target.service_account;
        let fields = format!(
            "spec.nodeName={node},spec.serviceAccountName={account},status.phase!=Succeeded,status.phase!=Failed"
        );
        let list = there.list(&ListParams::default().fields(&fields).limit(1)).await.map_err(unavailable)?;
        if list.items.is_empty() {
            return Err(ImpersonationError::NotOnNode(format!("{}/{}", target.namespace, target.service_account)));
        }
        Ok(target.to_string())
    }
}

fn unavailable(error: kube::Error) -> ImpersonationError {
    let reason = format!("{:#}", anyhow::Error::from(error));
    tracing::warn!(reason, "a node's proxy asks for a certificate, and its node cannot be found");
    ImpersonationError::Unavailable
}
