//! Servers with TLS: which certificate they show, and that of gRPC: discovery, and the service that signs certificates.

use std::sync::Arc;

use anyhow::Context as _;
use futures::FutureExt as _;
use tokio::{net::TcpListener, sync::watch};

use super::{
    authority::{Certificates, Task},
    run,
    serving::{Config, Own, follow_files},
};
use crate::{
    cli::control_plane::{Parts, TlsFiles},
    xds::{
        listen::Socket,
        serve::Transport,
        server::Shared,
        tls::{self, Demands},
    },
};

/// A server with TLS.
#[derive(Clone, Copy)]
pub(super) struct Surface {
    /// What it is called in messages.
    pub(super) name: &'static str,
    /// The flag that says where it listens.
    pub(super) flag: &'static str,
    /// Whether its clients may prove who they are by a certificate; else it is one of plain requests.
    pub(super) identifies: bool,
}

/// What serves, and what keeps its certificate up to date.
pub(super) fn servers(
    listener: TcpListener,
    parts: &Parts,
    certificates: Option<&Certificates>,
    shared: &Arc<Shared>,
    transport: Transport,
) -> anyhow::Result<Vec<Task>> {
    let service = certificates.map(|c| c.service(shared.access.clone(), parts).into_server());
    let (shared, shutdown) = (shared.clone(), parts.shutdown.clone());
    let surface = Surface { name: "secure gRPC server", flag: "--secureGRPCAddr", identifies: true };
    with_certificate(surface, parts, certificates, move |config| {
        run(Socket::of_tls_listener(listener, config), shared, service, transport, shutdown)
    })
}

/// Serves with the certificate of files or else of the authority, kept up to date; nothing without either.
pub(super) fn with_certificate<F: Future<Output = anyhow::Result<()>> + Send + 'static>(
    surface: Surface,
    parts: &Parts,
    certificates: Option<&Certificates>,
    serve: impl FnOnce(watch::Receiver<Config>) -> F + Send + 'static,
) -> anyhow::Result<Vec<Task>> {
    let Surface { name, flag, identifies } = surface;
    let (settings, shutdown) = (&parts.settings, parts.shutdown.clone());
    let demands = Demands::new(&settings.tls_min_version, &settings.tls_cipher_suites).context(flag)?;
    let demands = if identifies { demands } else { demands.for_web() };
    if let Some(TlsFiles { certificate, key, client_ca }) = settings.tls.clone() {
        let client_authority = client_ca.filter(|_| identifies);
        let files = tls::Files { certificate, key, client_authority, demands };
        let first = files.load(None, None).with_context(|| format!("load the certificates of {flag}"))?;
        let (newest, config) = watch::channel(first);
        let authority = certificates.filter(|_| identifies).map(|c| c.authority.clone());
        let follow = follow_files(files, authority, newest, shutdown);
        return Ok(vec![("certificate reload", follow.boxed()), (name, serve(config).boxed())]);
    }
    let Some(certificates) = certificates else { return Ok(Vec::new()) };
    let mut own = Own {
        authority: certificates.authority.clone(),
        hosts: certificates.settings.hosts.clone(),
        discovery_host: certificates.discovery_host.clone(),
        lifetime: certificates.settings.source.root_lifetime,
        demands,
        identifies,
    };
    let run = async move {
        // Connections wait in the socket's queue until there is a certificate to show.
        let Some(first) = shutdown.run_until_cancelled(own.first()).await else { return Ok(()) };
        let (newest, renew_at) = first?;
        let serve = serve(newest.subscribe());
        // The certificate is kept up to date for as long as it is shown.
        tokio::select! {
            result = serve => result,
            () = own.follow(newest, renew_at) => Ok(()),
        }
    };
    Ok(vec![(name, run.boxed())])
}
