//! Connections to pods through the API server.

use std::io;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use tokio::{io::DuplexStream, task::JoinSet};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

/// A connection to a port of a pod. Refused by the pod, it ends.
async fn connect(pods: &Api<Pod>, pod: &str, port: u16) -> anyhow::Result<DuplexStream> {
    let mut forwarder = pods.portforward(pod, &[port]).await?;
    let Some(stream) = forwarder.take_stream(port) else { bail!("the port was not forwarded") };
    Ok(stream)
}

/// A channel of gRPC to a port of a pod, connected anew when it breaks.
pub(super) async fn channel(pods: Api<Pod>, pod: String, port: u16) -> anyhow::Result<Channel> {
    let connector = service_fn(move |_| {
        let (pods, pod) = (pods.clone(), pod.clone());
        async move { connect(&pods, &pod, port).await.map(TokioIo::new).map_err(io::Error::other) }
    });
    Ok(Endpoint::from_static("http://istiod").connect_with_connector(connector).await?)
}

/// What a page of a pod answers, e.g. `/config_dump` of Envoy's admin interface.
///
/// # Errors
/// The pod cannot be reached, or does not answer with success.
pub(in crate::cli) async fn http_get(pods: &Api<Pod>, pod: &str, port: u16, path: &str) -> anyhow::Result<Bytes> {
    let stream = connect(pods, pod, port).await.with_context(|| format!("forward port {port} of pod {pod}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // Ends with this function.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new())?;
    let response = sender.send_request(request).await.with_context(|| format!("ask port {port} of pod {pod}"))?;
    ensure!(response.status().is_success(), "{path} of pod {pod}: {}", response.status());
    Ok(response.into_body().collect().await?.to_bytes())
}
