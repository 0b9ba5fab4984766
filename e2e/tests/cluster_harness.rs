//! The rig itself, against a real API server: what the other `cluster_*` tests rely on.

use anyhow::Result;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, ResourceExt, api::WatchParams};
use mizzen_e2e::ApiServer;

const OBJECT: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a, namespace: default}, data: {k: v1}}";

#[tokio::test]
async fn the_api_server_keeps_objects_over_a_restart_and_forgets_history_when_compacted() -> Result<()> {
    let mut server = ApiServer::start().await?;
    assert_eq!(server.apply(OBJECT)?, "configmap/a serverside-applied\n");
    let client = server.client().await?;
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "default");
    let old = maps.get("a").await?.resource_version().expect("the API server sets it");

    server.apply(&OBJECT.replace("v1}", "v2}"))?;
    server.compact().await?;
    server.kill();
    assert!(maps.get("a").await.is_err(), "answers after it was killed");
    server.start_again().await?;
    assert_eq!(server.kubectl(&["get", "configmap", "a", "-o", "jsonpath={.data.k}"])?, "v2");

    let mut events = std::pin::pin!(maps.watch(&WatchParams::default(), &old).await?);
    let event = futures::StreamExt::next(&mut events).await.expect("a watch answers")?;
    let kube::core::WatchEvent::Error(expired) = event else { panic!("an expired watch gave {event:?}") };
    assert_eq!(expired.code, 410, "{expired:?}");
    server.stop().await
}

#[tokio::test]
async fn kubectl_says_why_an_object_is_refused() -> Result<()> {
    let server = ApiServer::start().await?;
    let refused = server.apply(&OBJECT.replace("name: a", "name: A")).unwrap_err().to_string();
    assert!(refused.contains("Invalid value: \"A\""), "{refused}");
    Ok(())
}
