//! What a real Envoy is sent when it comes back: to the same control plane, to one that was restarted, to another replica.
//! Nothing that it has; of what changed meanwhile exactly that.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{
    Authority, ConfigDir, Envoy, EnvoyOptions, Link, Mizzen, MizzenOptions, Node, PATIENCE, Upstream, eventually,
    free_port, gateway, http_gateway, nothing_refused, route_all, service, tls_secret,
};

/// Two replicas on the same objects, and an Envoy that reaches one of them.
struct Replicas {
    config: ConfigDir,
    mizzens: [Mizzen; 2],
    link: Link,
    envoy: Envoy,
    authority: Authority,
    a: Upstream,
    b: Upstream,
}

fn cluster(name: &str) -> String {
    format!("outbound|80||{name}.default.svc.cluster.local")
}

/// A DestinationRule that changes the cluster of a service.
fn rule(name: &str, connections: u64) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {name}, namespace: default}}\n\
         spec:\n  host: {name}\n  trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {connections}}}}}}}\n"
    )
}

/// A gateway with TLS whose certificates are in Secrets `lasting` and `renewed`, and the first of these.
fn tls_gateway(port: u16, authority: &Authority) -> Result<String> {
    let server = |name: &str| {
        format!(
            "  - {{port: {{number: {port}, name: {name}, protocol: HTTPS}}, hosts: [{name}.test], \
             tls: {{mode: SIMPLE, credentialName: {name}}}}}\n"
        )
    };
    Ok(gateway("tls", &(server("lasting") + &server("renewed"))) + &certificate("lasting", authority)?)
}

fn certificate(name: &str, authority: &Authority) -> Result<String> {
    Ok(tls_secret(name, &authority.issue(&[&format!("{name}.test")])?))
}

/// The value of each label `type` of a counter, those that are zero left out.
fn by_type(metrics: &str, counter: &str) -> BTreeMap<String, u64> {
    let counted = |line: &str| {
        let (kind, count) = line.strip_prefix(counter)?.strip_prefix("{type=\"")?.split_once("\"} ")?;
        Some((kind.to_owned(), count.parse().ok()?))
    };
    metrics.lines().filter_map(counted).filter(|(_, count)| *count > 0).collect()
}

impl Replicas {
    /// Starts all with services `kept`, `altered`, `moved`, `gone` and `marker`, and waits until the Envoy has them.
    async fn start(node: Node) -> Result<Self> {
        let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
        let (config, outbound, inbound) = (ConfigDir::new()?, free_port()?, free_port()?);
        let mesh = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    \
             proxyListenPort: {outbound}\n    proxyInboundListenPort: {inbound}\n"
        );
        config.write("mesh.yaml", mesh)?;
        config.write("gateway.yaml", http_gateway(free_port()?))?;
        let authority = Authority::new("servers")?;
        config.write("tls.yaml", tls_gateway(free_port()?, &authority)?)?;
        config.write("renewed.yaml", certificate("renewed", &authority)?)?;
        config.write("kept.yaml", service("kept", "http", &[&a]) + &route_all("v", "v.test", "kept"))?;
        config.write("changing.yaml", Self::before(&a))?;
        config.write("marker.yaml", service("marker", "http", &[&a]))?;
        let options = || MizzenOptions::files(config.path());
        let mizzens = [Mizzen::start(options()).await?, Mizzen::start(options()).await?];
        let link = Link::open(mizzens[0].grpc()).await?;
        let envoy = Envoy::start_ready(&EnvoyOptions::dynamic(node, link.address())).await?;
        envoy.wait_warm(PATIENCE).await?;
        let replicas = Self { config, mizzens, link, envoy, authority, a, b };
        for name in ["kept", "altered", "moved", "gone", "marker"] {
            replicas.endpoints(name, &replicas.a).await?;
        }
        Ok(replicas)
    }

    fn before(upstream: &Upstream) -> String {
        ["altered", "moved", "gone"].map(|name| service(name, "http", &[upstream])).concat()
    }

    /// Waits until Envoy has exactly this endpoint of a service.
    async fn endpoints(&self, name: &str, upstream: &Upstream) -> Result<()> {
        eventually(&format!("the endpoint of {name}"), PATIENCE, || async {
            let hosts = self.envoy.admin().hosts(&cluster(name)).await?;
            ensure!(hosts == [upstream.address().to_string()], "{hosts:?}");
            anyhow::Ok(())
        })
        .await
    }

    /// Makes Envoy aware of one more change, after which nothing else can be on its way: the proof that the stream is back
    /// and was served in full.
    async fn mark(&self, upstream: &Upstream) -> Result<()> {
        self.config.write("marker.yaml", service("marker", "http", &[upstream]))?;
        self.endpoints("marker", upstream).await
    }

    /// Waits until a replica has sent exactly so many resources, and responses, since `before`.
    async fn has_sent(&self, replica: usize, before: &Sent, expected: &[(&str, u64, u64)]) -> Result<()> {
        let of = |value: fn(&(&str, u64, u64)) -> u64| {
            let all = expected.iter().map(|e| (e.0.to_owned(), value(e))).filter(|(_, count)| *count > 0);
            all.collect::<BTreeMap<_, _>>()
        };
        let expected = Sent { resources: of(|e| e.1), responses: of(|e| e.2) };
        eventually(&format!("{expected:?}"), PATIENCE, || async {
            let sent = self.sent(replica).await?.since(before);
            ensure!(sent == expected, "{sent:?}");
            anyhow::Ok(())
        })
        .await
    }

    async fn sent(&self, replica: usize) -> Result<Sent> {
        let text = self.mizzens[replica].metrics().await?;
        let (resources, responses) = (by_type(&text, "mizzen_xds_resources"), by_type(&text, "pilot_xds_pushes"));
        Ok(Sent { resources, responses })
    }

    /// Waits until a replica knows of so many services.
    async fn knows(&self, replica: usize, services: f64) -> Result<()> {
        eventually("what the replica knows", PATIENCE, || async {
            let known = self.mizzens[replica].metric("pilot_services").await?;
            ensure!(known == Some(services), "{known:?}");
            anyhow::Ok(())
        })
        .await
    }

    /// Waits until nobody is connected to a replica.
    async fn is_left(&self, replica: usize) -> Result<()> {
        eventually("the replica to be left", PATIENCE, || async {
            let page = self.mizzens[replica].json("/debug/syncz").await?;
            ensure!(page.as_array().is_some_and(Vec::is_empty), "{page}");
            anyhow::Ok(())
        })
        .await
    }

    async fn max_connections(&self, name: &str) -> Result<Option<u64>> {
        let dump = self.envoy.admin().config_of("ClustersConfigDump").await?;
        let active = dump["dynamic_active_clusters"].as_array().context("no clusters")?;
        let found = active.iter().map(|c| &c["cluster"]).find(|c| c["name"] == cluster(name));
        Ok(found.and_then(|c| c["circuit_breakers"]["thresholds"][0]["max_connections"].as_u64()))
    }
}

/// What a replica has sent, by type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Sent {
    resources: BTreeMap<String, u64>,
    responses: BTreeMap<String, u64>,
}

impl Sent {
    fn since(self, before: &Self) -> Self {
        let less = |now: BTreeMap<String, u64>, before: &BTreeMap<String, u64>| {
            let all = now.into_iter().map(|(t, n)| (t.clone(), n - before.get(&t).copied().unwrap_or(0)));
            all.filter(|(_, n)| *n > 0).collect()
        };
        Self { resources: less(self.resources, &before.resources), responses: less(self.responses, &before.responses) }
    }
}

/// An Envoy comes back to a restarted control plane and to another replica, first to what it has, then to changes:
/// `removals` are the types of what is gone with a service.
async fn comes_back(node: Node, removals: &[(&str, u64, u64)]) -> Result<()> {
    const NOTHING_BUT_THE_MARKER: [(&str, u64, u64); 1] = [("eds", 1, 1)];
    let mut replicas = Replicas::start(node).await?;
    replicas.mizzens[0].kill();
    replicas.mizzens[0].restart().await?;
    replicas.mark(&replicas.b).await?;
    replicas.has_sent(0, &Sent::default(), &NOTHING_BUT_THE_MARKER).await?;

    replicas.link.lead_to(replicas.mizzens[1].grpc());
    replicas.is_left(0).await?;
    replicas.mark(&replicas.a).await?;
    replicas.has_sent(1, &Sent::default(), &NOTHING_BUT_THE_MARKER).await?;

    // To the first one, which is as it was, with the changes of the meantime.
    replicas.link.cut();
    replicas.is_left(1).await?;
    let changes =
        service("altered", "http", &[&replicas.a]) + &rule("altered", 77) + &service("moved", "http", &[&replicas.b]);
    replicas.config.write("changing.yaml", changes)?;
    replicas.config.write("renewed.yaml", certificate("renewed", &replicas.authority)?)?;
    for replica in [0, 1] {
        replicas.knows(replica, 4.0).await?;
    }
    let before = replicas.sent(0).await?;
    replicas.link.lead_to(replicas.mizzens[0].grpc());
    replicas.link.mend();
    replicas.endpoints("moved", &replicas.b).await?;
    eventually("the cluster that is gone", PATIENCE, || async {
        let page = replicas.envoy.admin().get("/clusters").await?;
        ensure!(!page.contains(&cluster("gone")), "it is there");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!(replicas.max_connections("altered").await?, Some(77));
    replicas.envoy.wait_warm(PATIENCE).await?;
    replicas.endpoints("altered", &replicas.a).await?;
    replicas.mark(&replicas.b).await?;
    replicas.has_sent(0, &before, removals).await?;

    // And all that is known there too.
    replicas.link.lead_to(replicas.mizzens[1].grpc());
    replicas.is_left(0).await?;
    let before = replicas.sent(1).await?;
    replicas.mark(&replicas.a).await?;
    replicas.has_sent(1, &before, &NOTHING_BUT_THE_MARKER).await?;
    nothing_refused(&replicas.envoy, &replicas.mizzens[0]).await
}

#[tokio::test]
async fn a_gateway_is_sent_what_changed_and_nothing_else() -> Result<()> {
    comes_back(Node::router("gw", "default"), &[("cds", 1, 2), ("eds", 3, 2), ("sds", 1, 1)]).await
}

#[tokio::test]
async fn a_sidecar_that_discovers_virtual_hosts_is_sent_what_changed_and_nothing_else() -> Result<()> {
    comes_back(Node::sidecar("app", "default"), &[("cds", 1, 2), ("eds", 3, 2), ("vhds", 0, 1)]).await
}

#[tokio::test]
async fn a_sidecar_with_whole_route_configurations_is_sent_what_changed_and_nothing_else() -> Result<()> {
    let node = Node::sidecar("app", "default").metadata("MIZZEN_VHDS", false);
    comes_back(node, &[("cds", 1, 2), ("eds", 3, 2), ("rds", 1, 1)]).await
}
