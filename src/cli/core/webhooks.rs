//! Webhooks: where they are served, what they know, and how the API server finds them.

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
    cli::control_plane::{InjectorSettings, Parts, Settings},
    telemetry::metrics::{Metrics, ReasonLabel},
    validate::Context,
    webhook::{
        Capacity,
        configurations::{Bundle, Keeper},
        inject::{
            live::{self, Live, Publisher, Source},
            serve::Injector,
        },
        server,
        validate::serve::Validator,
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

/// Builds it; nothing where it is not wanted, or cannot be served.
///
/// # Errors
/// The certificates of the command line cannot be used.
pub(super) fn build(
    parts: &Parts,
    listener: Option<TcpListener>,
    certificates: Option<&Certificates>,
) -> anyhow::Result<Webhooks> {
    let injection = parts.settings.injector.as_ref().zip(parts.cluster.as_ref());
    let on_http = parts.settings.addresses.https.is_empty();
    if listener.is_none() && !on_http {
        if injection.is_some() {
            tracing::warn!("there is no certificate for --httpsAddr: Pods are not injected, nor objects validated");
        }
        return Ok(Webhooks::default());
    }
    let (mut made, capacity) = (Webhooks::default(), Capacity::default());
    let mut served = server::Webhooks { validator: validator(parts, &capacity), injector: None };
    if let Some((settings, client)) = injection {
        let (publisher, live) = watch::channel(None);
        made.tasks.push(follow(parts, settings, client.clone(), publisher));
        served.injector = Some(Injector { settings: live, metrics: parts.metrics.clone(), capacity });
    }
    match listener {
        Some(listener) => made.tasks.extend(serve(parts, listener, certificates, served)?),
        None => {
            made.tasks.extend(served.injector.as_ref().map(|injector| ready(parts, injector.settings.clone())));
            made.pages = served.routes();
        }
    }
    keep(&mut made, parts, certificates);
    Ok(made)
}

fn validator(parts: &Parts, capacity: &Capacity) -> Option<Validator> {
    parts.settings.validator.as_ref()?;
    let context = Context { domain_suffix: parts.settings.domain.as_str().into() };
    Some(Validator { context: Arc::new(context), metrics: parts.metrics.clone(), capacity: capacity.clone() })
}

/// The configurations are kept right by one replica.
fn keep(made: &mut Webhooks, parts: &Parts, certificates: Option<&Certificates>) {
    let Settings { injector, validator, system_namespace, .. } = &*parts.settings;
    let of_injection = injector.as_ref().filter(|it| it.mends_webhooks).map(|it| it.revision.clone());
    let of_validation = validator.as_ref().filter(|it| it.mends_webhooks).map(|it| it.revision.clone());
    let Some(client) = parts.cluster.clone().filter(|_| of_injection.is_some() || of_validation.is_some()) else {
        return;
    };
    let Some((bundle, task)) = bundle(parts, certificates) else { return };
    made.tasks.push(task);
    let keeper = |revision: String| Keeper {
        client: client.clone(),
        namespace: system_namespace.clone(),
        revision,
        bundle: bundle.clone(),
        metrics: parts.metrics.clone(),
    };
    let injectors =
        of_injection.map(keeper).map(|keeper| -> Duty { Box::new(move || keeper.clone().keep_injectors()) });
    let validators =
        of_validation.map(keeper).map(|keeper| -> Duty { Box::new(move || keeper.clone().keep_validators()) });
    made.duties.extend(injectors.into_iter().chain(validators));
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
        compliance_policy: settings.compliance_policy.clone(),
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
    webhooks: server::Webhooks,
) -> anyhow::Result<Vec<Task>> {
    let (guard, shutdown) = (parts.readiness.guard("webhooks"), parts.shutdown.clone());
    let surface = Surface { name: "webhook server", flag: "--httpsAddr", identifies: false };
    with_certificate(surface, parts, certificates, move |config| async move {
        let mut live = webhooks.injector.as_ref().map(|injector| injector.settings.clone());
        let known = async {
            let is_known = match &mut live {
                // The settings' task ends with the process.
                Some(live) => live.wait_for(Option::is_some).await.is_ok(),
                None => true,
            };
            if is_known {
                guard.release();
            }
            std::future::pending::<()>().await;
        };
        let socket = Socket::of_tls_listener(listener, config);
        tokio::select! {
            () = https::serve(socket, webhooks.router(), shutdown) => Ok(()),
            () = known => Ok(()),
        }
    })
}

/// What our certificate can be verified with, as it is now; nothing where others vouch for it.
fn bundle(parts: &Parts, certificates: Option<&Certificates>) -> Option<(Bundle, Task)> {
    let (sender, bundle) = watch::channel(None);
    let (shutdown, told) = (parts.shutdown.clone(), Told { sender, metrics: parts.metrics.clone() });
    let follow = match &parts.settings.tls {
        Some(files) => follow_file(files.client_ca.clone()?, told).boxed(),
        None => follow_authority(certificates?.authority.clone(), told).boxed(),
    };
    let task = async move {
        shutdown.run_until_cancelled(follow).await;
        Ok(())
    };
    Some((bundle, ("certificates of webhooks", task.boxed())))
}

/// To whom new certificates are told, and where that is counted.
struct Told {
    sender: watch::Sender<Option<Arc<str>>>,
    metrics: Arc<Metrics>,
}

async fn follow_authority(authority: Authority, told: Told) {
    let mut changes = tokio_stream::wrappers::WatchStream::new(authority);
    while let Some(current) = changes.next().await {
        if let Some(current) = current {
            told.take(current.signer.roots_pem());
        }
    }
    std::future::pending::<()>().await;
}

async fn follow_file(file: PathBuf, told: Told) {
    loop {
        // While it is being replaced it may not be there.
        match tokio::fs::read_to_string(&file).await {
            Ok(text) => told.take(&text),
            Err(_) => {
                let label = ReasonLabel { reason: "file".into() };
                told.metrics.validation_config_load_errors.get_or_create(&label).inc();
            }
        }
        tokio::time::sleep(POLL).await;
    }
}

impl Told {
    fn take(&self, roots: &str) {
        let is_new = self.sender.send_if_modified(|now| {
            let is_new = now.as_deref() != Some(roots);
            *now = Some(roots.into());
            is_new
        });
        if is_new {
            self.metrics.validation_config_loads.inc();
        }
    }
}
