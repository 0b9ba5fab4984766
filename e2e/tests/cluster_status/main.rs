//! Status in a real API server, while real Envoys are connected: conditions of objects, and `ProxyStatus`.

mod world;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{PATIENCE, eventually, free_port, gateway, route_all, service};
use serde_json::{Value, json};

use self::world::{World, condition};

/// How long it takes until a replica that was killed does not count any more: locks and leases end by themselves.
const GONE: Duration = Duration::from_secs(150);

fn rule(host: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: d, namespace: default}}\n\
         spec: {{host: {host}, trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: 7}}}}}}}}\n"
    )
}

/// A Gateway with a listener on an address. Only Envoy can tell whether it is an address of its machine.
fn listening(address: &str, port: u16) -> String {
    let server =
        format!("  - {{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ['*'], bind: {address}}}\n");
    gateway("own", &server)
}

#[tokio::test]
async fn an_object_tells_on_how_many_proxies_it_is_live() -> Result<()> {
    let mut world = World::new().await?;
    let a = world.upstream("a").await?;
    world.apply(&(service("a", "http", &[&a]) + &route_all("v", "v.test", "a") + &rule("a")))?;
    world.replica("istiod-1").await?;
    // Nobody is connected yet.
    let status = world.says("VirtualService", "v", "Programmed", "False", "NoProxies").await?;
    assert!(
        condition(&status, "Programmed")["message"].as_str().is_some_and(|m| m.starts_with("0/0 proxies")),
        "{status}"
    );
    assert_eq!(condition(&status, "Accepted")["status"], "True", "{status}");

    world.gateway("gw-1", "gw", 0).await?;
    for (kind, name) in [("Gateway", "gateway"), ("VirtualService", "v"), ("DestinationRule", "d")] {
        let status = world.says(kind, name, "Programmed", "True", "Programmed").await?;
        let programmed = condition(&status, "Programmed");
        assert_eq!((&programmed["message"], &programmed["observedGeneration"]), (&json!("1/1 proxies"), &json!(1)));
        assert_eq!(
            (&status["observedGeneration"], condition(&status, "Accepted")["status"].as_str()),
            (&json!(1), Some("True"))
        );
    }

    // What is wrong with an object is told in its own words.
    let bad = rule("a").replace("trafficPolicy: {", "trafficPolicy: {outlierDetection: {maxEjectionPercent: 101}, ");
    world.apply(&bad)?;
    let status = world.says("DestinationRule", "d", "Accepted", "False", "Invalid").await?;
    let message = condition(&status, "Accepted")["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("maxEjectionPercent: 101 is more than 100 [MZ0123]"), "{message}");
    world.apply(&rule("a"))?;
    world.says("DestinationRule", "d", "Accepted", "True", "Accepted").await.map(drop)
}

#[tokio::test]
async fn a_refusal_is_told_of_the_object_that_caused_it() -> Result<()> {
    let mut world = World::new().await?;
    let (a, port) = (world.upstream("a").await?, free_port()?);
    world.apply(&(service("a", "http", &[&a]) + &route_all("v", "v.test", "a") + &listening("127.0.0.1", port)))?;
    world.replica("istiod-1").await?;
    world.gateway("gw-1", "gw", 0).await?;
    world.says("Gateway", "own", "Programmed", "True", "Programmed").await?;

    world.apply(&listening("192.0.2.77", port))?;
    let status = world.says("Gateway", "own", "Programmed", "False", "Rejected").await?;
    let message = condition(&status, "Programmed")["message"].as_str().unwrap_or_default().to_owned();
    let expected = format!("0/1 proxies, 1 refuse it: gw-1.default refuses LDS \"192.0.2.77_{port}\": ");
    assert!(message.starts_with(&expected) && message.contains("bind"), "{message}");
    assert_eq!(condition(&status, "Accepted")["status"], "True", "{status}");
    for (kind, name) in [("Gateway", "gateway"), ("VirtualService", "v")] {
        let other = world.status(kind, name).await?;
        assert_eq!(
            condition(&other, "Programmed")["message"],
            "1/1 proxies",
            "the proxy has what {name} says: {other}"
        );
    }
    let proxies = world.proxies("gw", &json!({"proxies": 1, "synced": 0, "stale": 0, "rejected": 1})).await?;
    assert!(proxies["reason"].as_str().is_some_and(|r| r.starts_with("gw-1.default refuses LDS: ")), "{proxies}");
    let behind = &proxies["replicas"]["istiod-1"]["behind"];
    assert_eq!((&behind[0]["name"], &behind[0]["types"]), (&json!("gw-1.default"), &json!(["LDS"])), "{proxies}");

    world.apply(&listening("127.0.0.1", port))?;
    let status = world.says("Gateway", "own", "Programmed", "True", "Programmed").await?;
    assert_eq!(condition(&status, "Programmed")["message"], "1/1 proxies", "{status}");
    let proxies = world.proxies("gw", &json!({"proxies": 1, "synced": 1, "stale": 0, "rejected": 0})).await?;
    assert_eq!(proxies["reason"], Value::Null, "{proxies}");
    let table = world.server.kubectl(&["get", "pxs", "--namespace", "default"])?;
    let head: Vec<&str> = table.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(head, ["NAME", "PROXIES", "SYNCED", "STALE", "REJECTED", "CHANGED"], "{table}");
    Ok(())
}

#[tokio::test]
async fn what_changes_nothing_costs_nothing_and_is_observed_all_the_same() -> Result<()> {
    let mut world = World::new().await?;
    let a = world.upstream("a").await?;
    world.apply(&(service("a", "http", &[&a]) + &route_all("v", "v.test", "a") + &rule("a")))?;
    world.replica("istiod-1").await?;
    world.gateway("gw-1", "gw", 0).await?;
    world.says("DestinationRule", "d", "Programmed", "True", "Programmed").await?;
    world.says("VirtualService", "v", "Programmed", "True", "Programmed").await?;
    world.proxies("gw", &json!({"proxies": 1, "synced": 1, "stale": 0, "rejected": 0})).await?;
    let before = world.work(0).await?;

    // Metadata only: nothing to observe.
    world.server.kubectl(&["annotate", "virtualservice", "v", "--namespace", "default", "example.com/note=x"])?;
    let quiet = world.versions().await?;
    // Another text that says the same: `metadata.generation` moves.
    world.apply(&rule("a.default.svc.cluster.local"))?;
    let status = eventually("the new generation to be observed", PATIENCE, || async {
        let status = world.status("DestinationRule", "d").await?;
        ensure!(status["observedGeneration"] == 2, "{status}");
        anyhow::Ok(status)
    })
    .await?;
    let programmed = condition(&status, "Programmed");
    assert_eq!((&programmed["status"], &programmed["observedGeneration"]), (&json!("True"), &json!(2)), "{status}");
    assert_eq!(programmed["message"], "1/1 proxies", "{status}");
    let after = world.work(0).await?;
    assert_eq!(before, after, "queries that ran, and resources that were sent");
    // All that was written meanwhile is what tells of the rule.
    let moved: Vec<String> = world.moved_since(&quiet).await?;
    assert_eq!(moved, ["DestinationRule d", "ReplicaReport istiod-1.default"]);
    Ok(())
}

#[tokio::test]
async fn replicas_are_summed_and_one_that_died_does_not_count() -> Result<()> {
    let mut world = World::new().await?;
    let a = world.upstream("a").await?;
    world.apply(&(service("a", "http", &[&a]) + &route_all("v", "v.test", "a")))?;
    world.replica("istiod-1").await?;
    world.replica("istiod-2").await?;
    world.gateway("gw-1", "gw", 0).await?;
    world.gateway("gw-2", "gw", 1).await?;
    let says = |wanted: &'static str| {
        let world = &world;
        move || async move {
            let status = world.status("VirtualService", "v").await?;
            let programmed = condition(&status, "Programmed");
            ensure!(programmed["status"] == "True" && programmed["message"] == wanted, "{status}");
            anyhow::Ok(())
        }
    };
    eventually("both proxies to count", PATIENCE, says("2/2 proxies")).await?;
    let proxies = world.proxies("gw", &json!({"proxies": 2, "synced": 2, "stale": 0, "rejected": 0})).await?;
    let replicas = proxies["replicas"].as_object().context("replicas")?;
    assert_eq!(replicas.keys().collect::<Vec<_>>(), ["istiod-1", "istiod-2"]);

    // The hardest case: the one that writes for all.
    let leader = world.leader().await?;
    let other = 1 - leader;
    world.replicas[leader].kill();
    eventually("one proxy to count", GONE, {
        let world = &world;
        move || async move {
            let status = world.status("VirtualService", "v").await?;
            ensure!(condition(&status, "Programmed")["message"] == "1/1 proxies", "{status}");
            anyhow::Ok(())
        }
    })
    .await?;
    // It was said because the dead one was forgotten, not before all were heard.
    let left = world.server.kubectl(&["get", "replicareports", "--all-namespaces", "-o", "name"])?;
    assert!(!left.contains(&format!("istiod-{}.", leader + 1)), "{left}");
    let proxies = world.proxies("gw", &json!({"proxies": 1, "synced": 1, "stale": 0, "rejected": 0})).await?;
    let replicas = proxies["replicas"].as_object().context("replicas")?;
    assert_eq!(replicas.keys().collect::<Vec<_>>(), [&format!("istiod-{}", other + 1)]);
    Ok(())
}
