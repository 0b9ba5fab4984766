//! The cases, whatever the objects come from: see `SOURCE` of the test that includes them.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{
    Load, PATIENCE, Request, Scene, Upstream, XdsTransport, eventually, route_all, service, virtual_service,
};

use crate::SOURCE;

fn cluster(name: &str) -> String {
    format!("outbound|80||{name}.default.svc.cluster.local")
}

async fn start(objects: &str) -> Result<Scene> {
    Scene::start_from(SOURCE, XdsTransport::Delta, objects).await
}

pub(crate) fn request() -> Request {
    Request::get("/").host("v.test")
}

/// Waits until Envoy has exactly these endpoints of a service.
pub(crate) async fn endpoints(scene: &Scene, name: &str, upstreams: &[&Upstream]) -> Result<()> {
    let mut expected: Vec<_> = upstreams.iter().map(|u| u.address().to_string()).collect();
    expected.sort();
    eventually(&format!("the endpoints of {name} to be {expected:?}"), PATIENCE, || async {
        let hosts = scene.envoy.admin().hosts(&cluster(name)).await?;
        ensure!(hosts == expected, "{hosts:?}");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn endpoints_come_and_go_under_load() -> Result<()> {
    let (a, b, c) = (SOURCE.upstream("a").await?, SOURCE.upstream("b").await?, SOURCE.upstream("c").await?);
    let scene = start(&route_all("v", "v.test", "s")).await?;
    scene.config.write("s.yaml", service("s", "http", &[&a]))?;
    scene.answered_by("a", &request()).await?;
    let load = Load::start(&scene.client(), &request(), 3);
    for endpoints_now in [&[&a, &b][..], &[&b], &[&b, &c], &[&a, &b, &c], &[&c], &[&a]] {
        load.more(30).await?;
        scene.config.write("s.yaml", service("s", "http", endpoints_now))?;
        endpoints(&scene, "s", endpoints_now).await?;
    }
    load.more(30).await?;
    let tally = load.stop_unharmed().await?;
    for upstream in ["a", "b", "c"] {
        assert!(tally.of(upstream) > 0, "{tally}");
    }
    scene.nothing_refused().await
}

#[tokio::test]
async fn twenty_edits_of_a_virtual_service_under_load() -> Result<()> {
    let (a, b) = (SOURCE.upstream("a").await?, SOURCE.upstream("b").await?);
    let scene = start(&(service("a", "http", &[&a]) + &service("b", "http", &[&b]))).await?;
    let edit = |n: usize| {
        let (one, other) = if n.is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
        let spec = format!(
            "  http:\n  - match: [{{uri: {{prefix: /other{n}}}}}]\n    route: [{{destination: {{host: {other}}}}}]\n  \
             - route: [{{destination: {{host: {one}}}}}]\n    headers: {{response: {{set: {{x-edit: '{n}'}}}}}}\n"
        );
        virtual_service("v", "v.test", &spec)
    };
    let arrived = async |n: usize| {
        eventually(&format!("edit {n}"), PATIENCE, || async {
            let reply = scene.send(&request()).await?;
            ensure!(reply.header("x-edit") == Some(&*n.to_string()), "{:?}", reply.headers);
            anyhow::Ok(())
        })
        .await
    };
    scene.config.write("v.yaml", edit(0))?;
    arrived(0).await?;
    let load = Load::start(&scene.client(), &request(), 3);
    for n in 1..=20 {
        scene.config.write("v.yaml", edit(n))?;
        arrived(n).await?;
        let reply = scene.send(&Request::get(&format!("/other{n}")).host("v.test")).await?;
        assert_eq!((reply.status, reply.upstream()), (200, if n % 2 == 0 { "b" } else { "a" }));
    }
    load.stop_unharmed().await?;
    assert_eq!(scene.envoy.admin().stat("listener_manager.listener_modified").await?, 0);
    scene.nothing_refused().await
}

#[tokio::test]
async fn a_service_is_renamed_under_load() -> Result<()> {
    let upstream = SOURCE.upstream("a").await?;
    let named = |name: &str| service(name, "http", &[&upstream]) + &route_all("v", "v.test", name);
    let scene = start("").await?;
    scene.config.write("s.yaml", named("n0"))?;
    scene.answered_by("a", &request()).await?;
    let load = Load::start(&scene.client(), &request(), 3);
    for n in 1..=5 {
        // In one step: the old one is gone at the same moment as the route moves.
        scene.config.write("s.yaml", named(&format!("n{n}")))?;
        endpoints(&scene, &format!("n{n}"), &[&upstream]).await?;
        load.more(20).await?;
    }
    eventually("the old clusters to be gone", PATIENCE, || async {
        let page = scene.envoy.admin().get("/clusters").await?;
        ensure!(!page.contains(&cluster("n0")) && !page.contains(&cluster("n4")), "{page}");
        anyhow::Ok(())
    })
    .await?;
    load.more(20).await?;
    load.stop_unharmed().await?;
    scene.nothing_refused().await
}

/// The numbers that are not zero of a counter with the label `type`.
fn by_type(metrics: &str, counter: &str) -> BTreeMap<String, u64> {
    let counted = |line: &str| {
        let (kind, count) = line.strip_prefix(counter)?.strip_prefix("{type=\"")?.split_once("\"} ")?;
        Some((kind.to_owned(), count.parse().ok()?))
    };
    metrics.lines().filter_map(counted).filter(|(_, count)| *count > 0).collect()
}

/// How many responses were made for the stream of the only proxy: their nonces are numbered.
async fn responses(scene: &Scene) -> Result<u64> {
    let page = scene.mizzen.json("/debug/syncz").await?;
    let all = page[0]["resources"].as_object().context("no resources")?;
    let number = |state: &serde_json::Value| state["sent"].as_str()?.rsplit('-').next()?.parse().ok();
    all.values().filter_map(number).max().with_context(|| page.to_string())
}

/// Makes Envoy aware of one more change, after which nothing else can be on its way. Then demands that mizzen has sent
/// exactly so many resources, and responses, since its start: the endpoints of that change are among them.
async fn sent_in_all(scene: &Scene, mark: &Upstream, expected: &[(&str, u64, u64)]) -> Result<()> {
    scene.config.write("marker.yaml", service("marker", "http", &[mark]))?;
    endpoints(scene, "marker", &[mark]).await?;
    let made = responses(scene).await?;
    assert_eq!(made, expected.iter().map(|e| e.2).sum::<u64>(), "responses; {expected:?} are expected");
    let expected = |of: fn(&(&str, u64, u64)) -> u64| {
        let all = expected.iter().map(|e| (e.0.to_owned(), of(e))).filter(|(_, count)| *count > 0);
        all.collect::<BTreeMap<_, _>>()
    };
    // Metrics are a moment behind.
    eventually("what was sent", PATIENCE, || async {
        let text = scene.mizzen.metrics().await?;
        let (resources, responses) = (by_type(&text, "mizzen_xds_resources"), by_type(&text, "pilot_xds_pushes"));
        let exact = resources == expected(|e| e.1) && responses == expected(|e| e.2);
        ensure!(exact, "resources {resources:?}, responses {responses:?}");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn a_killed_control_plane_comes_back_and_resends_nothing() -> Result<()> {
    let (a, b) = (SOURCE.upstream("a").await?, SOURCE.upstream("b").await?);
    let mut scene = start(&(service("other", "http", &[&b]) + &service("a", "http", &[&a]))).await?;
    scene.config.write("marker.yaml", service("marker", "http", &[&a]))?;
    scene.config.write("s.yaml", service("s", "http", &[&a]))?;
    scene.config.write("v.yaml", route_all("v", "v.test", "a"))?;
    scene.answered_by("a", &request()).await?;
    endpoints(&scene, "s", &[&a]).await?;
    endpoints(&scene, "marker", &[&a]).await?;
    let load = Load::start(&scene.client(), &request(), 3);
    load.more(20).await?;
    scene.mizzen.kill();
    load.more(50).await?;
    scene.mizzen.restart().await?;
    // A change is the proof that the stream is back and was served in full: nothing else comes before it.
    scene.config.write("s.yaml", service("s", "http", &[&a, &b]))?;
    endpoints(&scene, "s", &[&a, &b]).await?;
    sent_in_all(&scene, &b, &[("eds", 2, 2)]).await?;

    // What changes meanwhile, and only that, comes at the reconnect.
    scene.mizzen.kill();
    scene.config.write("v.yaml", route_all("v", "v.test", "other"))?;
    load.more(50).await?;
    scene.mizzen.restart().await?;
    scene.answered_by("b", &request()).await?;
    sent_in_all(&scene, &a, &[("eds", 1, 1), ("rds", 1, 1)]).await?;

    // So does what is gone: the cluster and its endpoints.
    scene.mizzen.kill();
    scene.config.remove("s.yaml")?;
    scene.mizzen.restart().await?;
    gone(&scene, "s").await?;
    sent_in_all(&scene, &b, &[("eds", 1, 2), ("cds", 0, 1)]).await?;
    let tally = load.stop_unharmed().await?;
    assert_eq!(tally.connections, 3, "{tally}");
    scene.nothing_refused().await
}

/// Waits until Envoy has no cluster of a service.
async fn gone(scene: &Scene, name: &str) -> Result<()> {
    eventually(&format!("the cluster of {name} to be gone"), PATIENCE, || async {
        let page = scene.envoy.admin().get("/clusters").await?;
        ensure!(!page.contains(&cluster(name)), "it is there");
        anyhow::Ok(())
    })
    .await
}

/// A DestinationRule for service `a`.
pub(crate) fn rule(connections: u64) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a, namespace: default}}\nspec:\n  \
         host: a\n  trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {connections}}}}}}}\n"
    )
}

/// Waits until the cluster of `a` is in service with this number, and nothing warms.
pub(crate) async fn in_service(scene: &Scene, connections: u64) -> Result<()> {
    let name = cluster("a");
    eventually(&format!("maxConnections {connections}"), PATIENCE, || async {
        let dump = scene.envoy.admin().config_of("ClustersConfigDump").await?;
        let active = dump["dynamic_active_clusters"].as_array().cloned().unwrap_or_default();
        let found = active.iter().map(|c| &c["cluster"]).find(|c| c["name"] == *name);
        let limits = found.map(|c| c["circuit_breakers"]["thresholds"][0]["max_connections"].clone());
        ensure!(limits == Some(connections.into()), "{limits:?}, warming: {}", dump["dynamic_warming_clusters"]);
        anyhow::Ok(())
    })
    .await?;
    scene.envoy.wait_warm(PATIENCE).await
}

#[tokio::test]
async fn a_changed_cluster_gets_its_endpoints_again() -> Result<()> {
    let a = SOURCE.upstream("a").await?;
    let mut scene = start(&(service("a", "http", &[&a]) + &route_all("v", "v.test", "a"))).await?;
    scene.answered_by("a", &request()).await?;
    let load = Load::start(&scene.client(), &request(), 2);
    for n in 1000..1010 {
        scene.config.write("rule.yaml", rule(n))?;
        in_service(&scene, n).await?;
    }
    // Changed while nobody could be told.
    scene.mizzen.kill();
    scene.config.write("rule.yaml", rule(2000))?;
    scene.mizzen.restart().await?;
    in_service(&scene, 2000).await?;
    scene.config.remove("rule.yaml")?;
    in_service(&scene, u64::from(u32::MAX)).await?;
    load.stop_unharmed().await?;
    scene.nothing_refused().await
}
