//! The certificate authority: where it comes from, who asks it, and where its roots go.

use std::sync::Arc;

use anyhow::Context as _;
use futures::{FutureExt as _, future::BoxFuture};
use http::{Extensions, HeaderMap};
use kube::Client;
use tokio::sync::watch;

use super::duties::Duty;
use crate::{
    ca::{
        authenticate::{AuthError, Caller, Credentials, Reviewer},
        authority::{self, Authority, Publisher},
        distribute,
        impersonate::Impersonation,
        service::{Callers, CertificateService},
    },
    cli::control_plane::{AuthoritySettings, Parts},
    engine::{Engine, inputs},
    telemetry::ready::Guard,
    xds::{Peer, Proof, Tokens, auth::Access},
};

/// A part of the process that runs until the shutdown.
pub(super) type Task = (&'static str, BoxFuture<'static, anyhow::Result<()>>);

/// The authority, before it is known.
pub(super) struct Certificates {
    pub(super) settings: AuthoritySettings,
    pub(super) authority: Authority,
    /// The host by which proxies know the control plane; empty where nothing is said.
    pub(super) discovery_host: watch::Receiver<Arc<str>>,
    client: Client,
    reviewer: Arc<Reviewer>,
}

/// What of the mesh configuration matters here.
pub(super) struct Mesh {
    pub(super) first: MeshRead,
    pub(super) trust_domain: watch::Receiver<Arc<str>>,
    pub(super) discovery_host: watch::Receiver<Arc<str>>,
}

impl Certificates {
    /// What the settings and the cluster give, and the task that brings it to life. Streams wait for that.
    pub(super) fn new(parts: &Parts, settings: AuthoritySettings, client: Client, mesh: Mesh) -> (Self, Task) {
        let Mesh { first, trust_domain, discovery_host } = mesh;
        let (publisher, authority) = Publisher::new(parts.metrics.clone());
        let audiences = settings.token_audiences.clone();
        let cluster = parts.settings.cluster_id.clone();
        let reviewer = Arc::new(Reviewer::new(client.clone(), audiences, cluster, trust_domain));
        let guard = parts.readiness.guard("certificate authority");
        let (source, shutdown) = (settings.source.clone(), parts.shutdown.clone());
        let run = obtain(source, client.clone(), first, publisher, guard);
        let task = async move { shutdown.run_until_cancelled(run).await.unwrap_or(Ok(())) };
        (Self { settings, authority, discovery_host, client, reviewer }, ("certificate authority", task.boxed()))
    }

    /// Whose tokens are, for streams.
    pub(super) fn tokens(&self) -> Arc<dyn Tokens> {
        Arc::new(StreamTokens(self.reviewer.clone()))
    }

    /// The service that signs.
    pub(super) fn service(&self, access: Access, parts: &Parts) -> CertificateService<Connected> {
        let accounts = self.settings.trusted_node_accounts.clone();
        CertificateService {
            authority: self.authority.clone(),
            callers: Connected { access, reviewer: self.reviewer.clone() },
            impersonation: Impersonation::new(self.client.clone(), accounts),
            lifetimes: self.settings.lifetimes,
            metrics: parts.metrics.clone(),
        }
    }

    /// Writes the roots into every namespace.
    pub(super) fn distribution(&self) -> Duty {
        let (client, authority, settings) =
            (self.client.clone(), self.authority.clone(), self.settings.distribute.clone());
        Box::new(move || distribute::run(client.clone(), settings.clone(), authority.clone()).boxed())
    }
}

/// Tells when the mesh configuration was read, and what the engine made of it.
pub(super) struct MeshRead {
    pub(super) read: watch::Receiver<bool>,
    pub(super) engine: Engine,
}

impl MeshRead {
    /// The trust domain, once it is known.
    async fn trust_domain(mut self) -> anyhow::Result<Arc<str>> {
        self.read.wait_for(|read| *read).await.context("the mesh configuration is not read any more")?;
        let mesh =
            self.engine.ask(|db| db.input_value(&inputs::Mesh(())).map(|mesh| mesh.trust_domain.clone())).await?;
        mesh.context("there is no mesh configuration")
    }
}

async fn obtain(
    source: authority::Settings,
    client: Client,
    mesh: MeshRead,
    publisher: Publisher,
    guard: Guard,
) -> anyhow::Result<()> {
    let trust_domain = mesh.trust_domain().await?;
    Ok(authority::run(source, client, &trust_domain, publisher, guard).await?)
}

/// Identities of streams, by their tokens.
struct StreamTokens(Arc<Reviewer>);

impl Tokens for StreamTokens {
    fn identify(&self, headers: &HeaderMap) -> Option<Proof> {
        let (credentials, reviewer) = (Credentials::of(headers)?, self.0.clone());
        Some(async move { Ok(reviewer.review(&credentials).await?.identities) }.boxed())
    }
}

/// Callers of the service, by their connection or else by their token (contract §4.2).
pub(super) struct Connected {
    access: Access,
    reviewer: Arc<Reviewer>,
}

impl Callers for Connected {
    fn identify<'a>(
        &'a self,
        connection: &'a Extensions,
        credentials: Option<&'a Credentials>,
    ) -> BoxFuture<'a, Result<Caller, AuthError>> {
        async move {
            let peer = connection.get::<Peer>().filter(|peer| peer.tls);
            if let Some(identity) = peer.and_then(|peer| self.access.identity(peer)) {
                return Ok(Caller { identities: vec![identity], pod: None });
            }
            self.reviewer.review(credentials.ok_or(AuthError::NoCredentials)?).await
        }
        .boxed()
    }
}
