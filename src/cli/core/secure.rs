//! The gRPC server with TLS: discovery, and the service that signs certificates.

use std::sync::Arc;

use anyhow::Context as _;
use futures::FutureExt as _;
use tokio::{net::TcpListener, sync::watch};

use super::{
    authority::{Certificates, Task},
    run,
    serving::{Own, follow_files},
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

/// What serves, and what keeps its certificate up to date: files come before what the authority would issue.
pub(super) fn servers(
    listener: TcpListener,
    parts: &Parts,
    certificates: Option<&Certificates>,
    shared: &Arc<Shared>,
    transport: Transport,
) -> anyhow::Result<Vec<Task>> {
    let service = certificates.map(|c| c.service(shared.access.clone(), parts).into_server());
    let (shared, shutdown) = (shared.clone(), parts.shutdown.clone());
    let demands = |min_version: &str, suites: &[String]| Demands::new(min_version, suites).context("--secureGRPCAddr");
    if let Some(files) = &parts.settings.tls {
        let TlsFiles { certificate, key, client_ca } = files.clone();
        let demands = demands(&parts.settings.tls_min_version, &parts.settings.tls_cipher_suites)?;
        let files = tls::Files { certificate, key, client_authority: client_ca, demands };
        let first = files.load(None, None).context("load the certificates of --secureGRPCAddr")?;
        let (newest, config) = watch::channel(first);
        let authority = certificates.map(|c| c.authority.clone());
        let follow = follow_files(files, authority, newest, shutdown.clone());
        let run = run(Socket::of_tls_listener(listener, config), shared, service, transport, shutdown);
        return Ok(vec![("certificate reload", follow.boxed()), ("secure gRPC server", run.boxed())]);
    }
    let Some(certificates) = certificates else { return Ok(Vec::new()) };
    let mut own = Own {
        authority: certificates.authority.clone(),
        hosts: certificates.settings.hosts.clone(),
        lifetime: certificates.settings.source.root_lifetime,
        demands: demands(&parts.settings.tls_min_version, &parts.settings.tls_cipher_suites)?,
    };
    let run = async move {
        // Connections wait in the socket's queue until there is a certificate to show.
        let Some(first) = shutdown.run_until_cancelled(own.first()).await else { return Ok(()) };
        let (newest, renew_at) = first?;
        let socket = Socket::of_tls_listener(listener, newest.subscribe());
        let serve = run(socket, shared, service, transport, shutdown);
        // The certificate is kept up to date for as long as it is shown.
        tokio::select! {
            result = serve => result,
            () = own.follow(newest, renew_at) => Ok(()),
        }
    };
    Ok(vec![("secure gRPC server", run.boxed())])
}
