//! Requests to Envoy's admin interface.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{net::TcpStream, task::JoinSet};

/// Asks and returns the body.
pub(super) async fn request(admin: SocketAddr, method: Method, path: &str) -> anyhow::Result<Bytes> {
    let stream = TcpStream::connect(admin).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with this function.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request =
        Request::builder().method(method).uri(path).header("host", admin.to_string()).body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await?;
    ensure!(response.status().is_success(), "{path}: {}", response.status());
    Ok(response.into_body().collect().await?.to_bytes())
}

/// Asks for JSON.
pub(super) async fn json(admin: SocketAddr, path: &str) -> anyhow::Result<Value> {
    let body = request(admin, Method::GET, path).await?;
    serde_json::from_slice(&body).with_context(|| format!("{path} is not JSON"))
}
