//! The injector: where it is served, what it knows, and how the API server finds it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use axum::Router;
use futures::FutureExt as _;
use kube::Client;
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::StreamExt as _;

use super::{
    authority::{Certificates, Task},
    duties::Duty,
    https,
    secure::{Surface, with_certificate},
};
use crate::{
    ca::authority::Authority,
    cli::control_plane::{InjectorSettings, Parts},
    webhook::{
        ca_bundle,
        inject::live::{self, Live, Publisher, Source},
        server::{self, Injector},
    },
    xds::listen::Socket,
};

/// How often a file with certificates is looked at.
const POLL: Duration = Duration::from_secs(5);

/// All of it.
#[derive(Default)]
pub(super) struct Webhooks {
    pub(super) tasks: Vec<Task>,
    pub(super) duties: Vec<Duty>,
    /// Pages of the HTTP address.
    pub(super) pages: Router,
}

/// Builds it; nothing without an injector.
///
/// # Errors
/// The certificates of the command line cannot be used.
pub(super) fn build(
    parts: &Parts,
    listener: Option<TcpListener>,
    certificates: Option<&Certificates>,
) -> anyhow::Result<Webhooks> {
    let (Some(settings), Some(client)) = (&parts.settings.injector, &parts.cluster) else {
        return Ok(Webhooks::default());
    };
    let on_http = parts.settings.addresses.https.is_empty();
    if listener.is_none() && !on_http {
        tracing::warn!("there is no certificate for --httpsAddr: Pods are not injected");
        return Ok(Webhooks::default());
    }
    let (publisher, live) = watch::channel(None);
    let mut made = Webhooks { tasks: vec![follow(parts, settings, client.clone(), publisher)], ..Webhooks::default() };
    let injector = Injector { settings: live.clone(), metrics: parts.metrics.clone() };
    match listener {
        Some(listener) => made.tasks.extend(serve(parts, listener, certificates, injector)?),
        None => {
            made.pages = server::injection_routes(injector);
            made.tasks.push(ready(parts, live));
        }
    }
    if settings.mends_webhooks
        && let Some((bundle, task)) = bundle(parts, certificates)
    {
        made.tasks.push(task);
        made.duties.push(mend(settings.revision.clone(), client.clone(), bundle, parts));
    }
    Ok(made)
}

fn follow(parts: &Parts, settings: &InjectorSettings, client: Client, publisher: Publisher) -> Task {
    let source = Source {
        namespace: parts.settings.system_namespace.clone(),
        injector_map: settings.config_map.clone(),
        mesh_map: parts.settings.mesh_config_map.clone(),
        // What is wrong with it was told, or there is none.
        mesh_text: std::fs::read_to_string(&parts.settings.mesh_config_file).unwrap_or_default(),
        revision: settings.revision.clone(),
        native_sidecars: settings.native_sidecars,
    };
    let (problems, shutdown) = (parts.problems.clone(), parts.shutdown.clone());
    let run = async move {
        shutdown.run_until_cancelled(live::follow(client, source, publisher, problems)).await;
        Ok(())
    };
    ("settings of the injector", run.boxed())
}

/// The injector is ready when it listens and knows its settings; wrong ones are told to who asks.
fn ready(parts: &Parts, mut live: Live) -> Task {
    let (guard, shutdown) = (parts.readiness.guard("injector"), parts.shutdown.clone());
    let run = async move {
        if let Some(Ok(_)) = shutdown.run_until_cancelled(live.wait_for(Option::is_some)).await {
            guard.release();
        }
        shutdown.cancelled().await;
        Ok(())
    };
    ("readiness of the injector", run.boxed())
}

fn serve(
    parts: &Parts,
    listener: TcpListener,
    certificates: Option<&Certificates>,
    injector: Injector,
) -> anyhow::Result<Vec<Task>> {
    let (guard, shutdown) = (parts.readiness.guard("injector"), parts.shutdown.clone());
    let surface = Surface { name: "webhook server", flag: "--httpsAddr", identifies: false };
    with_certificate(surface, parts, certificates, move |config| async move {
        let mut live = injector.settings.clone();
        let known = async {
            // The settings' task ends with the process.
            if live.wait_for(Option::is_some).await.is_ok() {
                guard.release();
            }
            std::future::pending::<()>().await;
        };
        let socket = Socket::of_tls_listener(listener, config);
        tokio::select! {
            () = https::serve(socket, server::router(injector), shutdown) => Ok(()),
            () = known => Ok(()),
        }
    })
}

fn mend(revision: String, client: Client, bundle: ca_bundle::Bundle, parts: &Parts) -> Duty {
    let metrics = parts.metrics.clone();
    Box::new(move || ca_bundle::run(client.clone(), revision.clone(), bundle.clone(), metrics.clone()).boxed())
}

/// What our certificate can be verified with, as it is now; nothing where others vouch for it.
fn bundle(parts: &Parts, certificates: Option<&Certificates>) -> Option<(ca_bundle::Bundle, Task)> {
    let (sender, bundle) = watch::channel(None);
    let shutdown = parts.shutdown.clone();
    let follow = match &parts.settings.tls {
        Some(files) => follow_file(files.client_ca.clone()?, sender).boxed(),
        None => follow_authority(certificates?.authority.clone(), sender).boxed(),
    };
    let task = async move {
        shutdown.run_until_cancelled(follow).await;
        Ok(())
    };
    Some((bundle, ("certificates of webhooks", task.boxed())))
}

async fn follow_authority(authority: Authority, sender: watch::Sender<Option<Arc<str>>>) {
    let mut changes = tokio_stream::wrappers::WatchStream::new(authority);
    while let Some(current) = changes.next().await {
        if let Some(current) = current {
            tell(&sender, current.signer.roots_pem());
        }
    }
    std::future::pending::<()>().await;
}

async fn follow_file(file: PathBuf, sender: watch::Sender<Option<Arc<str>>>) {
    loop {
        // While it is being replaced it may not be there.
        if let Ok(text) = tokio::fs::read_to_string(&file).await {
            tell(&sender, &text);
        }
        tokio::time::sleep(POLL).await;
    }
}

fn tell(sender: &watch::Sender<Option<Arc<str>>>, roots: &str) {
    sender.send_if_modified(|now| {
        let is_new = now.as_deref() != Some(roots);
        *now = Some(roots.into());
        is_new
    });
}
