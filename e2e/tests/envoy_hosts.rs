//! Virtual hosts that a real Envoy discovers one by one (VHDS): requests through its outbound listeners, which a
//! Sidecar object binds to ports of their own, as nothing is redirected here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{
    Client, ConfigDir, Envoy, EnvoyOptions, Link, Load, Mizzen, MizzenOptions, Node, PATIENCE, Relay, Request,
    Upstream, eventually, free_port, nothing_refused, service,
};
use serde_json::Value;

/// A Sidecar object that binds ports, on which services are reached.
fn bound(ports: &[u16]) -> String {
    let of_port = |port: &u16| {
        format!(
            "  - {{port: {{number: {port}, name: http, protocol: HTTP}}, bind: 127.0.0.1, captureMode: NONE, hosts: ['./*']}}\n"
        )
    };
    let listeners: String = ports.iter().map(of_port).collect();
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: bound, namespace: default}}\n\
         spec:\n  egress:\n{listeners}"
    )
}

struct Sidecar {
    config: ConfigDir,
    mizzen: Mizzen,
    link: Link,
    envoy: Envoy,
    port: u16,
    /// Another port on which services are reached.
    other: u16,
}

/// HTTP service `default/<name>` on a port of its own.
fn on(port: u16, name: &str, upstream: &Upstream) -> String {
    service(name, "http", &[upstream]).replace("port: 80,", &format!("port: {port},"))
}

/// A VirtualService of the mesh that sends a host to a service, and says which edit it is.
fn rule(host: &str, to: &str, edit: usize) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: rule, namespace: default}}\n\
         spec:\n  hosts: [{host}]\n  http:\n  - route: [{{destination: {{host: {to}}}}}]\n    \
         headers: {{response: {{set: {{x-edit: '{edit}'}}}}}}\n"
    )
}

impl Sidecar {
    async fn start(objects: impl FnOnce(u16) -> String) -> Result<Self> {
        Self::start_with("--vhds", objects).await
    }

    async fn start_with(arg: &str, objects: impl FnOnce(u16) -> String) -> Result<Self> {
        let (config, port, other) = (ConfigDir::new()?, free_port()?, free_port()?);
        let (outbound, inbound) = (free_port()?, free_port()?);
        let mesh = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    \
             proxyListenPort: {outbound}\n    proxyInboundListenPort: {inbound}\n"
        );
        config.write("mesh.yaml", mesh)?;
        config.write("bound.yaml", bound(&[port, other]))?;
        config.write("objects.yaml", objects(port))?;
        let mizzen = Mizzen::start(MizzenOptions::files(config.path()).arg(arg)).await?;
        let link = Link::open(mizzen.grpc()).await?;
        let node = Node::sidecar("app", "default");
        let envoy = Envoy::start_ready(&EnvoyOptions::dynamic(node, link.address())).await?;
        envoy.wait_warm(PATIENCE).await?;
        Ok(Self { config, mizzen, link, envoy, port, other })
    }

    fn client(port: u16) -> Client {
        Client::http(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// Waits until a host is answered by an upstream, after an edit of the rule if one is told.
    async fn answered(&self, port: u16, host: &str, by: &str, edit: Option<usize>) -> Result<()> {
        eventually(&format!("{host} on {port} answered by {by}"), PATIENCE, || async {
            let reply = Self::client(port).send(&Request::get("/").host(host)).await?;
            ensure!((reply.status, reply.upstream()) == (200, by), "{} by {}", reply.status, reply.upstream());
            let expected = edit.map(|n| n.to_string());
            ensure!(reply.header("x-edit") == expected.as_deref(), "{:?}", reply.header("x-edit"));
            anyhow::Ok(())
        })
        .await
    }

    /// The numbers of resources sent since mizzen's start that are not zero, by type.
    async fn sent(&self) -> Result<BTreeMap<String, u64>> {
        let text = self.mizzen.metrics().await?;
        let counted = |line: &str| {
            let (kind, count) = line.strip_prefix("mizzen_xds_resources{type=\"")?.split_once("\"} ")?;
            Some((kind.to_owned(), count.parse().ok()?))
        };
        Ok(text.lines().filter_map(counted).filter(|(_, count)| *count > 0).collect())
    }

    /// Waits until exactly these were sent since mizzen's start.
    async fn has_sent(&self, expected: &[(&str, u64)]) -> Result<()> {
        let expected: BTreeMap<_, _> = expected.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
        eventually(&format!("resources {expected:?}"), Duration::from_secs(10), || async {
            let sent = self.sent().await?;
            ensure!(sent == expected, "{sent:?}");
            anyhow::Ok(())
        })
        .await
    }

    /// The route configuration of a port in a configuration dump.
    fn config_of(dump: &Value, port: u16) -> Option<Value> {
        let configs = dump["configs"].as_array()?;
        let is_routes = |c: &&Value| c["@type"].as_str().is_some_and(|t| t.ends_with(".RoutesConfigDump"));
        let all = configs.iter().find(is_routes)?["dynamic_route_configs"].as_array()?;
        all.iter().map(|r| &r["route_config"]).find(|r| r["name"] == *port.to_string()).cloned()
    }

    fn names(config: &Value) -> BTreeSet<String> {
        let hosts = config["virtual_hosts"].as_array().cloned().unwrap_or_default();
        hosts.iter().filter_map(|h| h["name"].as_str().map(str::to_owned)).collect()
    }

    /// Demands that the virtual hosts were discovered one by one, or were not.
    async fn has_hosts_apart(&self, apart: bool) -> Result<()> {
        let dump = self.envoy.admin().config_dump().await?;
        let config = Self::config_of(&dump, self.port).context("the configuration")?;
        ensure!(config["vhds"].is_null() != apart, "{config}");
        let names = Self::names(&config);
        ensure!(names.iter().all(|name| name.contains('/') == apart), "{names:?}");
        Ok(())
    }

    async fn wait_dropped(&self, port: u16) -> Result<()> {
        eventually("the route configuration to be dropped", PATIENCE, || async {
            ensure!(self.drops(port).await?, "it is there");
            anyhow::Ok(())
        })
        .await
    }

    /// Whether Envoy has no route configuration of a port.
    async fn drops(&self, port: u16) -> Result<bool> {
        Ok(Self::config_of(&self.envoy.admin().config_dump().await?, port).is_none())
    }
}

#[tokio::test]
async fn an_edit_sends_one_virtual_host_and_harms_no_request() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let sidecar = Sidecar::start(|port| on(port, "a", &a) + &on(port, "b", &b) + &rule("a", "a", 0)).await?;
    let port = sidecar.port;
    sidecar.answered(port, "a", "a", Some(0)).await?;
    sidecar.answered(port, "b.default", "b", None).await?;
    let before = eventually("what was sent first", PATIENCE, || async {
        let sent = sidecar.sent().await?;
        ensure!(sent.get("vhds") == Some(&3), "{sent:?}");
        anyhow::Ok(sent)
    })
    .await?;
    let load = Load::start(&Sidecar::client(port), &Request::get("/").host("a.default.svc"), 3);
    for n in 1..=20 {
        let to = if n % 2 == 0 { "a" } else { "b" };
        sidecar.config.write("objects.yaml", on(port, "a", &a) + &on(port, "b", &b) + &rule("a", to, n))?;
        sidecar.answered(port, "a", to, Some(n)).await?;
    }
    load.stop_unharmed().await?;
    let more = |kind: &str| if kind == "vhds" { 20 } else { 0 };
    let expected: Vec<_> = before.iter().map(|(kind, n)| (kind.as_str(), n + more(kind))).collect();
    sidecar.has_sent(&expected).await?;
    assert_eq!(sidecar.envoy.admin().stat("listener_manager.listener_modified").await?, 0);

    // Envoy shows them under the names of resources, mizzen under the plain ones.
    let plain = ["a.default.svc.cluster.local", "b.default.svc.cluster.local"].map(|h| format!("{h}:{port}"));
    let plain: BTreeSet<String> = plain.into_iter().chain(["allow_any".to_owned()]).collect();
    let of_envoy = Sidecar::config_of(&sidecar.envoy.admin().config_dump().await?, port).context("of Envoy")?;
    assert_eq!(Sidecar::names(&of_envoy), plain.iter().map(|name| format!("{port}/{name}")).collect());
    let page = sidecar.mizzen.json("/debug/config_dump?proxyID=app.default").await?;
    let of_mizzen = Sidecar::config_of(&page, port).with_context(|| page.to_string())?;
    assert_eq!(Sidecar::names(&of_mizzen), plain);
    nothing_refused(&sidecar.envoy, &sidecar.mizzen).await
}

#[tokio::test]
async fn a_route_configuration_comes_goes_and_comes_back() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let sidecar = Sidecar::start(|port| on(port, "a", &a)).await?;
    sidecar.answered(sidecar.port, "a", "a", None).await?;
    let load = Load::start(&Sidecar::client(sidecar.port), &Request::get("/").host("a"), 2);
    let other = sidecar.other;
    for _ in 0..3 {
        sidecar.config.write("b.yaml", on(other, "b", &b))?;
        sidecar.answered(other, "b", "b", None).await?;
        sidecar.envoy.wait_warm(PATIENCE).await?;
        sidecar.config.remove("b.yaml")?;
        sidecar.wait_dropped(other).await?;
    }
    // It comes back on a stream that knows nothing of the old one, to an Envoy that may claim to know it.
    sidecar.link.cut();
    sidecar.config.write("b.yaml", on(other, "b", &b))?;
    sidecar.link.mend();
    sidecar.answered(other, "b", "b", None).await?;
    sidecar.envoy.wait_warm(PATIENCE).await?;
    load.stop_unharmed().await?;
    nothing_refused(&sidecar.envoy, &sidecar.mizzen).await
}

#[tokio::test]
async fn a_killed_control_plane_comes_back_and_resends_no_virtual_host() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let mut sidecar = Sidecar::start(|port| on(port, "a", &a) + &on(port, "b", &b) + &rule("a", "a", 0)).await?;
    let port = sidecar.port;
    sidecar.answered(port, "a", "a", Some(0)).await?;
    let load = Load::start(&Sidecar::client(port), &Request::get("/").host("a"), 2);
    sidecar.mizzen.kill();
    load.more(50).await?;
    sidecar.mizzen.restart().await?;
    // A change is the proof that the stream is back: nothing else comes before it.
    let rules = |to: &str, edit: usize| on(port, "a", &a) + &on(port, "b", &b) + &rule("a", to, edit);
    sidecar.config.write("objects.yaml", rules("b", 1))?;
    sidecar.answered(port, "a", "b", Some(1)).await?;
    sidecar.has_sent(&[("vhds", 1)]).await?;

    // What changes meanwhile, and only that, comes at the reconnect.
    sidecar.mizzen.kill();
    sidecar.config.write("objects.yaml", rules("a", 2))?;
    sidecar.mizzen.restart().await?;
    sidecar.answered(port, "a", "a", Some(2)).await?;
    sidecar.has_sent(&[("vhds", 1)]).await?;

    // So does what is gone.
    sidecar.mizzen.kill();
    sidecar.config.write("objects.yaml", on(port, "a", &a) + &rule("a", "a", 2))?;
    sidecar.mizzen.restart().await?;
    eventually("no virtual host of b", PATIENCE, || async {
        let dump = sidecar.envoy.admin().config_dump().await?;
        let names = Sidecar::names(&Sidecar::config_of(&dump, port).context("the configuration")?);
        ensure!(!names.iter().any(|n| n.contains("/b.default")), "{names:?}");
        anyhow::Ok(())
    })
    .await?;
    sidecar.has_sent(&[]).await?;
    load.stop_unharmed().await?;
    nothing_refused(&sidecar.envoy, &sidecar.mizzen).await
}

#[tokio::test]
async fn a_name_moves_between_virtual_hosts_under_load() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    // The host of a rule is on port 80 unless a service of the rule has another one.
    let hosts = |hosts: &str, port: u16| on(port, "a", &a) + &on(port, "b", &b) + &rule(hosts, "b", 1);
    let sidecar = Sidecar::start(|port| on(port, "a", &a) + &on(port, "b", &b)).await?;
    let port = sidecar.port;
    sidecar.answered(port, "a.default", "a", None).await?;
    let load = Load::start(&Sidecar::client(port), &Request::get("/").host("a.default"), 3);
    for _ in 0..5 {
        sidecar.config.write("objects.yaml", hosts("a.default, b.default.svc.cluster.local", port))?;
        sidecar.answered(port, "a.default", "b", Some(1)).await?;
        sidecar.answered(port, "a", "a", None).await?;
        sidecar.config.write("objects.yaml", on(port, "a", &a) + &on(port, "b", &b))?;
        sidecar.answered(port, "a.default", "a", None).await?;
    }
    let tally = load.stop_unharmed().await?;
    assert_eq!(tally.of("a") + tally.of("b"), tally.replies(), "{tally}");
    nothing_refused(&sidecar.envoy, &sidecar.mizzen).await
}

#[tokio::test]
async fn a_virtual_host_that_envoy_refuses_hurts_no_other() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let sidecar = Sidecar::start(|port| on(port, "a", &a) + &on(port, "b", &b)).await?;
    let port = sidecar.port;
    sidecar.answered(port, "a", "a", None).await?;
    let load = Load::start(&Sidecar::client(port), &Request::get("/").host("a"), 2);
    // How large an expression may become is a setting of this Envoy, which nobody else knows.
    sidecar.envoy.admin().post("/runtime_modify?re2.max_program_size.error_level=50").await?;
    let bad = rule("a", "a", 1).replace("- route:", "- match: [{uri: {regex: '/a{100}'}}]\n    route:");
    ensure!(bad.contains("regex"), "{bad}");
    let good = rule("b", "a", 2).replace("name: rule", "name: good");
    sidecar.config.write("rules.yaml", bad + &good)?;
    sidecar.answered(port, "b", "a", Some(2)).await?;
    eventually("one refused virtual host", PATIENCE, || async {
        let refused = sidecar.mizzen.metric("mizzen_quarantined_resources{type=\"vhds\"}").await?;
        ensure!(refused == Some(1.0), "{refused:?}, {}", sidecar.mizzen.json("/debug/problems").await?);
        anyhow::Ok(())
    })
    .await?;
    let problems = sidecar.mizzen.json("/debug/problems").await?.to_string();
    assert!(problems.contains("VirtualService default/rule") && problems.contains("virtual host"), "{problems}");
    sidecar.config.write("rules.yaml", rule("a", "b", 3))?;
    sidecar.answered(port, "a", "b", Some(3)).await?;
    load.stop_unharmed().await?;
    Ok(())
}

#[tokio::test]
async fn a_stream_that_ends_anywhere_is_made_good() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let sidecar = Sidecar::start(|port| on(port, "a", &a)).await?;
    let (port, other) = (sidecar.port, sidecar.other);
    sidecar.answered(port, "a", "a", None).await?;
    let load = Load::start(&Sidecar::client(port), &Request::get("/").host("a"), 1);
    for n in 0..10 {
        sidecar.config.write("b.yaml", on(other, "b", &b) + &rule("b", "b", n))?;
        // Not a wait for anything: the cut falls at another point of the exchange each time.
        tokio::time::sleep(Duration::from_millis(n as u64 * 7)).await;
        sidecar.link.cut();
        sidecar.link.mend();
        sidecar.answered(other, "b", "b", Some(n)).await?;
        if n % 3 == 2 {
            sidecar.config.remove("b.yaml")?;
            sidecar.wait_dropped(other).await?;
        }
    }
    load.stop_unharmed().await?;
    nothing_refused(&sidecar.envoy, &sidecar.mizzen).await
}

/// A stream that ends between any two responses while a route configuration goes, and another while it comes back: what
/// Envoy says that it has must never be taken for what it needs.
#[tokio::test]
async fn streams_that_end_between_any_two_responses_are_made_good() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let sidecar = Sidecar::start(|port| on(port, "a", &a)).await?;
    let relay = Relay::open(sidecar.mizzen.grpc()).await?;
    sidecar.link.lead_to(relay.address());
    let (port, other) = (sidecar.port, sidecar.other);
    let load = Load::start(&Sidecar::client(port), &Request::get("/").host("a"), 1);
    for n in 0..24 {
        sidecar.config.write("b.yaml", on(other, "b", &b) + &rule("b", "b", n))?;
        sidecar.answered(other, "b", "b", Some(n)).await?;
        relay.end_after(&[n % 3, n / 3]);
        sidecar.config.remove("b.yaml")?;
        eventually("a stream to end, or the route configuration to be dropped", PATIENCE, || async {
            ensure!(relay.left() < 2 || sidecar.drops(other).await?, "neither");
            anyhow::Ok(())
        })
        .await?;
        sidecar.config.write("b.yaml", on(other, "b", &b) + &rule("b", "b", n))?;
        sidecar.answered(other, "b", "b", Some(n)).await.with_context(|| format!("{n}: {}", relay.left()))?;
        sidecar.envoy.wait_warm(PATIENCE).await?;
        relay.end_after(&[]);
    }
    load.stop_unharmed().await?;
    nothing_refused(&sidecar.envoy, &sidecar.mizzen).await
}

#[tokio::test]
async fn a_change_of_form_harms_no_request() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let objects = |port: u16, edit: usize| on(port, "a", &a) + &on(port, "b", &b) + &rule("b", "b", edit);
    // What it has at first, what is on then, and what it has in the end: one with whole configurations keeps them.
    for (first, then, last) in [(true, false, false), (false, true, false)] {
        let mut sidecar = Sidecar::start_with(&format!("--vhds={first}"), |port| objects(port, 0)).await?;
        let port = sidecar.port;
        sidecar.has_hosts_apart(first).await?;
        let load = Load::start(&Sidecar::client(port), &Request::get("/").host("a"), 3);
        for n in 1..=2 {
            sidecar.mizzen.restart_with(&[&format!("--vhds={then}")]).await?;
            sidecar.config.write("objects.yaml", objects(port, n))?;
            sidecar.answered(port, "b", "b", Some(n)).await?;
            sidecar.has_hosts_apart(last).await?;
            load.more(50).await?;
        }
        load.stop_unharmed().await?;
        nothing_refused(&sidecar.envoy, &sidecar.mizzen).await?;
    }
    Ok(())
}
