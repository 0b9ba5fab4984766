//! TLS at a real gateway with Secrets of a real API server. The gateway is given them because it proves by its own
//! certificate who it is, and its service account may list them.

#[path = "envoy_tls/cases.rs"]
mod cases;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Authority, PATIENCE, Scene, Source, eventually, free_port, gateway, tls_secret};

const SOURCE: Source = Source::Cluster;

async fn start(objects: &str) -> Result<Scene> {
    let scene = Scene::start_secure(SOURCE, objects).await?;
    // Envoy is configured over a connection of TLS, and not over another one.
    let handshakes = scene.envoy.admin().stat("cluster.xds-grpc.ssl.handshake").await?;
    ensure!(handshakes > 0, "no TLS towards the control plane");
    Ok(scene)
}

#[tokio::test]
async fn the_gateway_has_the_secret_and_the_dump_has_not_its_key() -> Result<()> {
    let authority = Authority::new("servers")?;
    let pair = authority.issue(&["one.test"])?;
    let port = free_port()?;
    let server = cases::server("one", port, "*", "HTTPS", "mode: SIMPLE, credentialName: one");
    let scene = start(&(gateway("tls", &server) + &tls_secret("one", &pair))).await?;
    let client = cases::client(port, "one.test", &authority, None)?;
    eventually("the certificate", PATIENCE, || async { client.connect().await.map(drop) }).await?;
    let dump = scene.envoy.admin().config_of("SecretsConfigDump").await?;
    let secrets = dump["dynamic_active_secrets"].as_array().context("no secrets")?;
    // The others are the agent's.
    let names = secrets.iter().filter_map(|s| s["name"].as_str()).filter(|name| name.contains("://"));
    assert_eq!(names.collect::<Vec<_>>(), ["kubernetes://one"]);
    let dump = scene.mizzen.json("/debug/config_dump?proxyID=gw.default&types=sds").await?;
    let shown = &dump["configs"][0]["dynamic_active_secrets"][0];
    assert_eq!(shown["name"], "kubernetes://one", "{dump}");
    // The text [redacted].
    let hidden = serde_json::json!({"inline_bytes": "W3JlZGFjdGVkXQ=="});
    assert_eq!(shown["secret"]["tls_certificate"]["private_key"], hidden, "{dump}");
    scene.nothing_refused().await
}
