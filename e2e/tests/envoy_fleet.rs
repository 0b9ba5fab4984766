//! Twenty real Envoys at once, sidecars and gateways of several classes: what each change sends to all of them, and that
//! they have it.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use mizzen_e2e::{
    Client, ConfigDir, Envoy, EnvoyOptions, Mizzen, MizzenOptions, Node, PATIENCE, Request, Upstream, eventually,
    free_port,
};

/// How many services there are, in two namespaces.
const SERVICES: usize = 100;

/// The sidecars that take virtual hosts one by one, of both namespaces.
const DISCOVERING: u64 = 11;
/// The sidecars that take whole route configurations.
const WHOLE: u64 = 2;
/// The sidecars whose Sidecar object imports namespace `n0` only.
const NARROW: u64 = 1;
/// The gateways of each of two classes.
const GATEWAYS: u64 = 3;
/// How long a change of one object may take until the last Envoy shows it. Most of it is looking: the fleet shares two cores
/// with its tests, and prints its whole configuration each time.
const SOON: Duration = Duration::from_secs(10);

const ALL: u64 = DISCOVERING + WHOLE + NARROW + 2 * GATEWAYS;

fn host(n: usize) -> String {
    format!("s{n}.n{}.svc.cluster.local", n % 2)
}

fn cluster(n: usize) -> String {
    format!("outbound|80||{}", host(n))
}

/// Service `s<n>` of namespace `n0` or `n1`.
fn service(n: usize) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{n}, namespace: n{}}}\nspec:\n  clusterIP: 10.96.1.{n}\n  \
         ports: [{{name: http, port: 80, targetPort: 8080}}]\n",
        n % 2
    )
}

fn slice(n: usize, upstream: &Upstream) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{n}-0, namespace: n{}, \
         labels: {{kubernetes.io/service-name: s{n}}}}}\naddressType: IPv4\n\
         ports: [{{name: http, port: {}, protocol: TCP}}]\n\
         endpoints: [{{addresses: ['{}'], conditions: {{ready: true}}}}]\n",
        n % 2,
        upstream.port(),
        upstream.address().ip(),
    )
}

/// A VirtualService about a service: of the mesh, or of the gateway of a name.
fn rule(n: usize, gateway: Option<&str>, edit: usize) -> String {
    let (gateways, host_of_rule) = match gateway {
        Some(name) => (format!("  gateways: [istio-system/{name}]\n"), format!("s{n}.test")),
        None => (String::new(), host(n)),
    };
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\n\
         metadata: {{name: v{n}-{}, namespace: n{}}}\nspec:\n  hosts: [{host_of_rule}]\n{gateways}  http:\n  \
         - route: [{{destination: {{host: {}}}}}]\n    headers: {{response: {{set: {{x-edit: 'edit-{edit}'}}}}}}\n",
        gateway.unwrap_or("mesh"),
        n % 2,
        host(n),
    )
}

fn gateway(name: &str, port: u16) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: {name}, namespace: istio-system}}\n\
         spec:\n  selector: {{gateway: {name}}}\n  \
         servers: [{{port: {{number: {port}, name: http, protocol: HTTP}}, hosts: ['*']}}]\n"
    )
}

const NARROWING: &str = "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\n\
    metadata: {name: narrow, namespace: n1}\nspec:\n  workloadSelector: {labels: {narrow: 'true'}}\n  \
    egress: [{hosts: ['n0/*']}]\n";

/// A kind of Envoy in the fleet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Discovering,
    Whole,
    Narrow,
    East,
    West,
}

/// The fleet and its control plane.
struct Fleet {
    config: ConfigDir,
    mizzen: Mizzen,
    envoys: Vec<(Class, Envoy)>,
    east: u16,
    a: Upstream,
    b: Upstream,
}

fn nodes() -> Vec<(Class, Node)> {
    let mut all = Vec::new();
    for n in 0..DISCOVERING {
        all.push((Class::Discovering, Node::sidecar(&format!("app-{n}"), &format!("n{}", n % 2))));
    }
    for n in 0..WHOLE {
        all.push((Class::Whole, Node::sidecar(&format!("whole-{n}"), "n0").metadata("MIZZEN_VHDS", false)));
    }
    for n in 0..NARROW {
        all.push((Class::Narrow, Node::sidecar(&format!("narrow-{n}"), "n1").label("narrow", "true")));
    }
    for (class, name) in [(Class::East, "east"), (Class::West, "west")] {
        for n in 0..GATEWAYS {
            all.push((class, Node::router(&format!("{name}-{n}"), "istio-system").label("gateway", name)));
        }
    }
    all
}

impl Fleet {
    async fn start() -> Result<Self> {
        let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
        let (config, east) = (ConfigDir::new()?, free_port()?);
        // The listeners of all are on the same ports, which Linux lets them share.
        let mesh = format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    \
             proxyListenPort: {}\n    proxyInboundListenPort: {}\n",
            free_port()?,
            free_port()?
        );
        config.write("mesh.yaml", mesh + NARROWING + &gateway("east", east) + &gateway("west", free_port()?))?;
        config.write("services.yaml", (0..SERVICES).map(service).collect::<String>())?;
        for n in 0..SERVICES {
            config.write(&format!("slice-{n}.yaml"), slice(n, &a))?;
        }
        config.write("rule-4.yaml", rule(4, None, 0))?;
        config.write("rule-5.yaml", rule(5, None, 0))?;
        config.write("east.yaml", rule(6, Some("east"), 0))?;
        let mizzen = Mizzen::start(MizzenOptions::files(config.path())).await?;
        let started = nodes().into_iter().map(|(class, node)| {
            let options = EnvoyOptions::dynamic(node, mizzen.grpc());
            async move { anyhow::Ok((class, Envoy::start_ready(&options).await?)) }
        });
        // Their start takes a second of a core each; then all are there.
        let envoys: Vec<_> =
            stream::iter(started).buffer_unordered(5).try_collect().await.with_context(|| mizzen.log())?;
        assert_eq!(envoys.len() as u64, ALL);
        for (_, envoy) in &envoys {
            envoy.wait_warm(PATIENCE).await?;
        }
        Ok(Self { config, mizzen, envoys, east, a, b })
    }

    /// Waits until each Envoy of some classes shows a text on a page, and no other does.
    async fn shown(&self, page: &str, text: &str, by: &[Class]) -> Result<()> {
        try_join_all(self.envoys.iter().map(|(class, envoy)| async move {
            let expected = by.contains(class);
            eventually(&format!("{text} on {page} of {class:?}: {expected}"), PATIENCE, || async {
                let shows = envoy.admin().get(page).await?.contains(text);
                ensure!(shows == expected, "{shows}");
                anyhow::Ok(())
            })
            .await
        }))
        .await
        .map(drop)
    }

    async fn sent(&self) -> Result<BTreeMap<String, u64>> {
        self.by_type("mizzen_xds_resources").await
    }

    async fn by_type(&self, series: &str) -> Result<BTreeMap<String, u64>> {
        let text = self.mizzen.metrics().await?;
        let counted = |line: &str| {
            let (kind, count) = line.strip_prefix(series)?.strip_prefix("{type=\"")?.split_once("\"} ")?;
            let kind = kind.rsplit('.').next().unwrap_or_default();
            Some((kind.to_owned(), count.parse::<f64>().ok()? as u64))
        };
        Ok(text.lines().filter_map(counted).collect())
    }

    /// The bytes of responses so far, by the last word of their type.
    async fn bytes(&self) -> Result<BTreeMap<String, u64>> {
        self.by_type("pilot_xds_config_size_bytes_sum").await
    }

    /// The resources sent, once all that was sent is counted: sizes are at once, numbers a moment later.
    async fn at_rest(&self) -> Result<BTreeMap<String, u64>> {
        eventually("all to be counted", PATIENCE, || async {
            let total = async |series| anyhow::Ok(self.by_type(series).await?.into_values().sum::<u64>());
            let counted = total("pilot_xds_pushes").await?;
            let made = total("pilot_xds_config_size_bytes_count").await?;
            ensure!(counted == made, "{counted} of {made}");
            self.sent().await
        })
        .await
    }

    /// Waits until exactly so many resources were sent since `before`.
    async fn has_sent(&self, before: &BTreeMap<String, u64>, expected: &[(&str, u64)]) -> Result<()> {
        let expected: BTreeMap<_, _> = expected.iter().map(|(t, n)| ((*t).to_owned(), *n)).collect();
        eventually(&format!("resources {expected:?}"), PATIENCE, || async {
            let more = difference(self.sent().await?, before);
            ensure!(more == expected, "{more:?}");
            anyhow::Ok(())
        })
        .await
    }
}

/// Prints how long a change took until the last Envoy had it, and what was sent, and demands that it was soon.
fn report(change: &str, start: Instant, sent: &BTreeMap<String, u64>) {
    let (took, bytes) = (start.elapsed(), sent.values().sum::<u64>());
    #[expect(clippy::print_stdout, reason = "a figure, to be read with --nocapture")]
    let print = |line: String| println!("{line}");
    print(format!(
        "{change}: the last of {ALL} Envoys shows it after {} ms; {bytes} bytes: {sent:?}",
        took.as_millis()
    ));
    assert!(took < SOON, "{change} took {took:?}");
}

fn difference(now: BTreeMap<String, u64>, before: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let all = now.into_iter().map(|(t, n)| (t.clone(), n - before.get(&t).copied().unwrap_or(0)));
    all.filter(|(_, n)| *n > 0).collect()
}

#[tokio::test]
async fn twenty_envoys_are_sent_what_concerns_them() -> Result<()> {
    use Class::{Discovering, East, Narrow, West, Whole};
    const EVERYBODY: &[Class] = &[Discovering, Whole, Narrow, East, West];
    const ALL_BUT_NARROW: &[Class] = &[Discovering, Whole, East, West];
    const CLUSTERS: &str = "/clusters";
    const ROUTES: &str = "/config_dump?resource=dynamic_route_configs";
    let fleet = Fleet::start().await?;
    fleet.shown(CLUSTERS, &format!("{}::{}", cluster(98), fleet.a.address()), EVERYBODY).await?;
    fleet.shown(CLUSTERS, &format!("{}::{}", cluster(99), fleet.a.address()), ALL_BUT_NARROW).await?;
    let mut before = fleet.at_rest().await?;

    fleet.config.write("slice-8.yaml", slice(8, &fleet.b))?;
    fleet.shown(CLUSTERS, &format!("{}::{}", cluster(8), fleet.b.address()), EVERYBODY).await?;
    fleet.has_sent(&before, &[("eds", ALL)]).await?;
    before = fleet.sent().await?;
    fleet.config.write("slice-9.yaml", slice(9, &fleet.b))?;
    fleet.shown(CLUSTERS, &format!("{}::{}", cluster(9), fleet.b.address()), ALL_BUT_NARROW).await?;
    fleet.has_sent(&before, &[("eds", ALL - NARROW)]).await?;

    // VirtualServices: of the mesh, for those who import them; of a gateway.
    before = fleet.sent().await?;
    let bytes = fleet.bytes().await?;
    let start = Instant::now();
    fleet.config.write("rule-4.yaml", rule(4, None, 1004))?;
    fleet.shown(ROUTES, "edit-1004", &[Discovering, Whole, Narrow]).await?;
    report("one VirtualService", start, &difference(fleet.bytes().await?, &bytes));
    fleet.has_sent(&before, &[("vhds", DISCOVERING + NARROW), ("rds", WHOLE)]).await?;
    before = fleet.sent().await?;
    fleet.config.write("rule-5.yaml", rule(5, None, 1005))?;
    fleet.shown(ROUTES, "edit-1005", &[Discovering, Whole]).await?;
    fleet.has_sent(&before, &[("vhds", DISCOVERING), ("rds", WHOLE)]).await?;
    let grown = difference(fleet.bytes().await?, &bytes);
    let each = grown["VirtualHost"] / (2 * DISCOVERING + NARROW);
    assert!(each < 1_500, "{each} bytes for one virtual host: {grown:?}");
    before = fleet.sent().await?;
    fleet.config.write("east.yaml", rule(6, Some("east"), 1006))?;
    fleet.shown(ROUTES, "edit-1006", &[East]).await?;
    fleet.has_sent(&before, &[("rds", GATEWAYS)]).await?;
    let reply =
        Client::http(SocketAddr::from(([127, 0, 0, 1], fleet.east))).send(&Request::get("/").host("s6.test")).await?;
    assert_eq!((reply.status, reply.header("x-edit")), (200, Some("edit-1006")));

    // A new service, with its endpoints.
    before = fleet.sent().await?;
    let bytes = fleet.bytes().await?;
    let start = Instant::now();
    fleet.config.write("new.yaml", service(201) + &slice(201, &fleet.b))?;
    fleet.shown(CLUSTERS, &format!("{}::{}", cluster(201), fleet.b.address()), ALL_BUT_NARROW).await?;
    fleet.shown(ROUTES, &host(201), &[Discovering, Whole]).await?;
    report("one new Service", start, &difference(fleet.bytes().await?, &bytes));
    let seen = ALL - NARROW;
    fleet.has_sent(&before, &[("cds", seen), ("eds", seen), ("vhds", DISCOVERING), ("rds", WHOLE)]).await?;
    let grown = difference(fleet.bytes().await?, &bytes);
    let each = grown["Cluster"] / seen + grown["ClusterLoadAssignment"] / seen + grown["VirtualHost"] / DISCOVERING;
    assert!(each < 4_500, "{each} bytes for one service: {grown:?}");

    // Nothing: an annotation, and the same again.
    before = fleet.sent().await?;
    let bytes = fleet.bytes().await?;
    let annotated = |text: String| text.replace("metadata: {", "metadata: {annotations: {note: x}, ");
    fleet.config.write("new.yaml", annotated(service(201)) + &annotated(slice(201, &fleet.b)))?;
    fleet.config.write("rule-4.yaml", annotated(rule(4, None, 1004)))?;
    fleet.config.write("slice-9.yaml", slice(9, &fleet.a))?;
    fleet.shown(CLUSTERS, &format!("{}::{}", cluster(9), fleet.a.address()), ALL_BUT_NARROW).await?;
    fleet.has_sent(&before, &[("eds", ALL - NARROW)]).await?;
    let grown = difference(fleet.bytes().await?, &bytes);
    assert_eq!(grown.keys().collect::<Vec<_>>(), ["ClusterLoadAssignment"], "{grown:?}");
    for (_, envoy) in &fleet.envoys {
        mizzen_e2e::nothing_refused(envoy, &fleet.mizzen).await?;
    }
    Ok(())
}
