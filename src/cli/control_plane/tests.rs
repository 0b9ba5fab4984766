//! The whole control plane in this process, on loopback.

use std::time::Duration;

use envoy_types::pb::envoy::{
    config::core::v3::Node,
    service::discovery::v3::{
        DeltaDiscoveryRequest, aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};
use futures::StreamExt;
use http_body_util::{BodyExt, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::{sleep, timeout};

use super::*;
use crate::cli::core;

const DEADLINE: Duration = Duration::from_secs(20);

fn settings(directory: PathBuf) -> Settings {
    let any = || "127.0.0.1:0".to_owned();
    Settings {
        source: Source::Files { directory, builtin: Vec::new() },
        addresses: Addresses {
            http: any(),
            monitoring: any(),
            grpc: String::new(),
            secure_grpc: String::new(),
            https: String::new(),
        },
        tls: None,
        tls_min_version: "1.2".to_owned(),
        tls_cipher_suites: Vec::new(),
        authority: None,
        injector: None,
        validator: None,
        xds_auth: true,
        system_namespace: "istio-system".to_owned(),
        mesh_config_map: "istio".to_owned(),
        mesh_config_file: PathBuf::new(),
        domain: "cluster.local".to_owned(),
        pod_name: "test".to_owned(),
        cluster_id: "Kubernetes".to_owned(),
        keepalive_interval: Duration::from_secs(30),
        keepalive_timeout: Duration::from_secs(10),
        max_connection_age: None,
        shutdown: Duration::from_secs(1),
        barrier_timeout: Duration::from_secs(10),
        removal_linger: Duration::from_secs(5),
        allow_unenforced_policy: false,
        status: None,
        auto_mtls: true,
        discover_hosts: true,
    }
}

async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
    let reply = client.get(format!("http://{address}{path}").parse().unwrap()).await.unwrap();
    let status = reply.status().as_u16();
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// How many clusters a sidecar is given in the first response.
async fn clusters(address: SocketAddr) -> usize {
    let id = "sidecar~10.0.0.1~pod.default~default.svc.cluster.local".to_owned();
    let request = DeltaDiscoveryRequest {
        node: Some(Node { id, ..Default::default() }),
        type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".to_owned(),
        ..Default::default()
    };
    let requests = futures::stream::iter([request]).chain(futures::stream::pending());
    let mut client = AggregatedDiscoveryServiceClient::connect(format!("http://{address}")).await.unwrap();
    let mut answers = client.delta_aggregated_resources(requests).await.unwrap().into_inner();
    timeout(DEADLINE, answers.message()).await.unwrap().unwrap().unwrap().resources.len()
}

#[tokio::test]
async fn without_an_address_of_its_own_grpc_is_on_the_http_port() {
    let folder = tempfile::tempdir().unwrap();
    let control_plane = ControlPlane::start(settings(folder.path().to_owned()), core::build).await.unwrap();
    let bound = control_plane.bound();
    let address = bound.http.unwrap();
    assert_eq!(bound.grpc, Some(address));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let run = control_plane.run(async { drop(stopped.await) });
    let test = async {
        let ready = async {
            while get(address, "/ready").await.0 != 200 {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(DEADLINE, ready).await.unwrap();
        assert!(clusters(address).await > 0);
        // Over HTTP/1.1 on the same port: who may see it, and what there is not.
        assert_eq!(get(address, "/debug/adsz").await.0, 200);
        assert_eq!(get(address, "/nothing").await.0, 404);
        drop(stop);
    };
    let (ended, ()) = tokio::join!(run, test);
    ended.unwrap();
}
