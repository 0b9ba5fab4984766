//! The agent's pages on port 15020 (contract §6.4): readiness, merged metrics, probes of the workload, drain and end.

mod istio;
mod probe;
mod scrape;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{ConnectInfo, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{chain, envoy::Admin, names::Lookup};

pub use self::{
    istio::Own,
    probe::{ProbeError, Probes},
    scrape::{Scrape, ScrapeError},
};

/// What the pages are about.
#[derive(Debug)]
pub struct Status {
    /// The proxy.
    pub admin: Admin,
    /// The workload's probes.
    pub probes: Probes,
    /// Where metrics come from.
    pub scrape: Scrape,
    /// The table of names, where the workload's questions lead to the agent.
    pub names: Option<Lookup>,
    /// Ends the agent.
    pub quit: CancellationToken,
}

impl Status {
    /// Why the pod cannot serve yet; `None` when it can.
    async fn not_ready(&self) -> Option<String> {
        if self.names.as_ref().is_some_and(|names| names.borrow().is_none()) {
            return Some("no table of names has come yet".to_owned());
        }
        self.admin.not_ready().await
    }
}

/// Serves until dropped.
///
/// # Errors
/// The server failed.
pub async fn serve(status: Arc<Status>, listener: TcpListener) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz/ready", get(ready))
        .route("/stats/prometheus", get(metrics))
        .route("/metrics", get(metrics))
        .route("/quitquitquit", post(quit))
        .route("/drain", post(drain))
        .route("/app-health/{container}/{probe}", any(probe))
        .route("/app-lifecycle/{container}/{hook}", any(probe))
        .route("/debug", get(index))
        .route("/debug/", get(index))
        .route("/debug/ndsz", get(names))
        .with_state(status);
    axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await
}

type Shared = State<Arc<Status>>;

async fn ready(State(status): Shared) -> Response {
    match status.not_ready().await {
        None => StatusCode::OK.into_response(),
        Some(reason) => {
            tracing::debug!("not ready: {reason}");
            (StatusCode::SERVICE_UNAVAILABLE, reason + "\n").into_response()
        }
    }
}

async fn metrics(State(status): Shared, headers: HeaderMap) -> Response {
    let text = status.scrape.collect(&headers).await;
    ([(header::CONTENT_TYPE, scrape::CONTENT_TYPE)], text).into_response()
}

async fn quit(State(status): Shared, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response {
    if let Some(refused) = refuse_others(peer) {
        return refused;
    }
    tracing::info!("asked to end");
    status.quit.cancel();
    "OK".into_response()
}

async fn drain(State(status): Shared, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response {
    if let Some(refused) = refuse_others(peer) {
        return refused;
    }
    tracing::info!("asked to drain");
    match status.admin.drain(true).await {
        Ok(()) => "OK".into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, chain(&error)).into_response(),
    }
}

/// Only containers of the pod may end it.
fn refuse_others(peer: SocketAddr) -> Option<Response> {
    let is_local = peer.ip().to_canonical().is_loopback();
    (!is_local).then(|| (StatusCode::FORBIDDEN, "Only requests from localhost are allowed\n").into_response())
}

async fn probe(State(status): Shared, request: Request) -> Response {
    match status.probes.run(request.uri().path(), request.headers()).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!("{}: {}", request.uri().path(), chain(&error));
            (error.status(), chain(&error) + "\n").into_response()
        }
    }
}

/// The table of names as it came; nothing where there is none.
async fn names(State(status): Shared, ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response {
    if let Some(refused) = refuse_others(peer) {
        return refused;
    }
    let known = status.names.as_ref().and_then(|names| names.borrow().clone());
    match known {
        Some(known) => Json(&known.names).into_response(),
        None => Json(serde_json::json!({})).into_response(),
    }
}

async fn index() -> &'static str {
    "/debug/ndsz\n/healthz/ready\n/stats/prometheus\n"
}
