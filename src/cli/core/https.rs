//! Plain requests over TLS, of HTTP/1.1 and HTTP/2.

use std::time::Duration;

use axum::Router;
use futures::StreamExt as _;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::xds::listen::{Connection, Socket, connections};

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// How often a peer that says nothing is asked whether it is there, and how long it may take to answer.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How many requests of a connection are answered at once.
const AT_ONCE: u32 = 250;

/// Serves until the shutdown; requests that have begun are finished.
pub(super) async fn serve(socket: Socket, router: Router, shutdown: CancellationToken) {
    let mut open = JoinSet::new();
    {
        // The socket closes before the open connections have ended.
        let mut incoming = std::pin::pin!(connections(socket));
        while let Some(Some(connection)) = shutdown.run_until_cancelled(incoming.next()).await {
            open.spawn(run(connection, router.clone(), shutdown.clone()));
            while open.try_join_next().is_some() {}
        }
    }
    open.join_all().await;
}

async fn run(connection: Connection, router: Router, shutdown: CancellationToken) {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(AT_ONCE)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE);
    let http = builder.serve_connection(TokioIo::new(connection), TowerToHyperService::new(router));
    let mut http = std::pin::pin!(http);
    let ended = tokio::select! {
        ended = http.as_mut() => ended,
        () = shutdown.cancelled() => {
            http.as_mut().graceful_shutdown();
            http.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "the connection has ended");
    }
}
