//! What is wrong with an object is told exactly, once and as long as it is so, and hurts nothing else.

mod cases;

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use envoy_types::pb::envoy::{
    config::{core::v3::Node as WireNode, route::v3::RouteConfiguration},
    service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};
use mizzen_e2e::{
    Client, ConfigDir, Envoy, EnvoyOptions, Mizzen, MizzenOptions, Node, PATIENCE, Request, Upstream, eventually,
    free_port,
};
use prost::Message;
use serde_json::{Value, json};

use self::cases::{
    Case, TO_GOOD, bad_route, good, not_honoured, virtual_service, wrong_in_the_mesh, wrong_others, wrong_routes,
    wrong_texts, wrong_without_a_proxy,
};

const NONE: &[&str] = &[];

/// A mesh that works: a gateway that sends `good.test` to an upstream, and a sidecar.
struct Rig {
    config: ConfigDir,
    mizzen: Mizzen,
    envoy: Envoy,
    gateway: u16,
    _upstream: Upstream,
}

impl Rig {
    async fn start(arguments: &[&str]) -> Result<Self> {
        let upstream = Upstream::http("good").await?;
        let gateway = free_port()?;
        let config = ConfigDir::new()?;
        config.write("good.yaml", good(gateway, upstream.port()))?;
        let options = MizzenOptions::files(config.path());
        let mizzen = Mizzen::start(arguments.iter().fold(options, |all, a| all.arg(*a))).await?;
        let node = Node::router("gw", "default");
        let envoy = Envoy::start_ready(&EnvoyOptions::dynamic(node, mizzen.grpc())).await?;
        Ok(Self { config, mizzen, envoy, gateway, _upstream: upstream })
    }

    /// The status of a request through the gateway, and who answered.
    async fn ask(&self, host: &str) -> Result<(u16, String)> {
        let client = Client::http(SocketAddr::from(([127, 0, 0, 1], self.gateway)));
        let reply = client.send(&Request::get("/").host(host)).await?;
        Ok((reply.status, reply.upstream().to_owned()))
    }

    async fn until_status(&self, host: &str, status: u16) -> Result<()> {
        eventually(&format!("{status} from {host}"), PATIENCE, || async {
            let got = self.ask(host).await?;
            ensure!(got.0 == status, "{got:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// The problems that exist now, files without their folder.
    async fn problems(&self) -> Result<Vec<String>> {
        let folder = format!("{}/", self.config.path().display());
        let page = self.mizzen.json("/debug/problems").await?;
        let all = page.as_array().context("a list")?.iter();
        let mut lines: Vec<String> =
            all.map(|p| p["message"].as_str().unwrap_or_default().replace(&folder, "")).collect();
        lines.sort();
        Ok(lines)
    }

    async fn until_problems(&self, expected: &[impl AsRef<str>]) -> Result<()> {
        let expected: BTreeSet<&str> = expected.iter().map(AsRef::as_ref).collect();
        let expected: Vec<&str> = expected.into_iter().collect();
        eventually("the problems", PATIENCE, || async {
            let found = self.problems().await?;
            ensure!(found == expected, "expected {expected:#?}, found {found:#?}");
            Ok::<_, anyhow::Error>(())
        })
        .await
    }

    /// Puts something bad beside the good: told, counted, without harm; gone with its cause.
    async fn check(&self, case: &Case) -> Result<()> {
        self.config.write(case.file, &case.content)?;
        self.until_problems(&case.problems).await?;
        let series = format!("mizzen_config_problems{{kind=\"{}\"}}", case.kind);
        let counted = self.mizzen.metric(&series).await?;
        ensure!(counted == Some(case.problems.len() as f64), "{series}: {counted:?}");
        for (host, status) in &case.requests {
            self.until_status(host, *status).await?;
        }
        let good = self.ask("good.test").await?;
        ensure!(good == (200, "good".to_owned()), "good.test: {good:?}");

        self.config.remove(case.file)?;
        self.until_problems(NONE).await?;
        ensure!(self.mizzen.metric(&series).await? == Some(0.0), "{series} stays");
        let log = self.mizzen.log().replace(&format!("{}/", self.config.path().display()), "");
        for problem in &case.problems {
            // The log is JSON or text: quotes may be escaped.
            let log = log.replace("\\\"", "\"").replace("\\\\", "\\");
            let told = log.matches(&format!("problem: {problem}")).count();
            ensure!(told == 1, "told {told} times in the log: {problem}\n{log}");
        }
        Ok(())
    }
}

async fn check_all(rig: &Rig, cases: &[Case]) -> Result<()> {
    rig.until_status("good.test", 200).await?;
    let mut failed = Vec::new();
    for case in cases {
        if let Err(error) = rig.check(case).await {
            failed.push(format!("{error:#}"));
            drop(rig.config.remove(case.file));
            rig.until_problems(NONE).await?;
        }
    }
    ensure!(failed.is_empty(), "{} cases failed:\n{}", failed.len(), failed.join("\n\n"));
    let refused = rig.envoy.admin().stats("update_rejected$").await?;
    ensure!(refused.values().all(|n| *n == 0), "{refused:?}");
    Ok(())
}

#[tokio::test]
async fn bad_objects_are_told_exactly_and_hurt_nothing_else() -> Result<()> {
    let rig = Rig::start(&[]).await?;
    let mut cases = wrong_texts();
    cases.extend(wrong_routes());
    cases.extend(wrong_others(rig.gateway)?);
    cases.extend(wrong_without_a_proxy());
    cases.extend(not_honoured());
    check_all(&rig, &cases).await
}

#[tokio::test]
async fn no_domain_stands_twice_in_the_routes_of_a_sidecar() -> Result<()> {
    let rig = Rig::start(&[]).await?;
    let mut sidecar = Sidecar::connect(rig.mizzen.grpc()).await?;
    for case in wrong_in_the_mesh() {
        rig.check(&case).await?;
        // Again, for what the sidecar is sent.
        rig.config.write(case.file, &case.content)?;
        rig.until_problems(&case.problems).await?;
        sidecar.check_domains().await?;
        rig.config.remove(case.file)?;
        rig.until_problems(NONE).await?;
    }
    Ok(())
}

#[tokio::test]
async fn ten_thousand_hosts_in_one_object_are_served() -> Result<()> {
    let rig = Rig::start(&[]).await?;
    rig.until_status("good.test", 200).await?;
    let hosts: Vec<String> = (0..10_000).map(|n| format!("h{n}.test")).collect();
    let content = |to: &str| virtual_service("many", &format!("hosts: [{}], gateways: [gateway]", hosts.join(",")), to);
    let start = Instant::now();
    rig.config.write("many.yaml", content(TO_GOOD))?;
    rig.until_status("h9999.test", 200).await?;
    rig.config.write("many.yaml", content("directResponse: {status: 418}"))?;
    rig.until_status("h9999.test", 418).await?;
    ensure!(start.elapsed() < Duration::from_secs(30), "it took {:?}", start.elapsed());
    // The same of the mesh.
    let of_mesh = format!("hosts: [{}], gateways: [gateway, mesh]", hosts.join(","));
    rig.config.write("many.yaml", virtual_service("many", &of_mesh, TO_GOOD))?;
    rig.until_status("h9999.test", 200).await?;
    ensure!(rig.ask("good.test").await?.0 == 200, "good.test suffers");
    rig.until_problems(NONE).await
}

/// Policies that select the gateway, and are not enforced yet.
const POLICIES: [(&str, &str); 2] =
    [("AuthorizationPolicy", "rules: [{}]"), ("RequestAuthentication", "jwtRules: [{issuer: a.test}]")];

fn policy(kind: &str, rules: &str) -> String {
    format!(
        "apiVersion: security.istio.io/v1\nkind: {kind}\nmetadata: {{name: p, namespace: default}}\nspec: {{selector: \
         {{matchLabels: {{istio: ingressgateway}}}}, {rules}}}"
    )
}

fn denied(kind: &str) -> String {
    format!(
        "{kind} default/p: not enforced yet: the workloads that it selects deny all inbound traffic, unless mizzen runs \
         with --allow-unenforced-policy"
    )
}

#[tokio::test]
async fn a_policy_that_is_not_enforced_denies() -> Result<()> {
    let rig = Rig::start(&[]).await?;
    rig.until_status("good.test", 200).await?;
    for (kind, rules) in POLICIES {
        rig.config.write("policy.yaml", policy(kind, rules))?;
        rig.until_problems(&[denied(kind)]).await?;
        rig.until_status("good.test", 403).await?;
        rig.config.remove("policy.yaml")?;
        rig.until_problems(NONE).await?;
        rig.until_status("good.test", 200).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_policy_that_is_not_enforced_can_be_allowed() -> Result<()> {
    let rig = Rig::start(&["--allow-unenforced-policy"]).await?;
    for (kind, rules) in POLICIES {
        rig.config.write("policy.yaml", policy(kind, rules))?;
        rig.until_problems(&[denied(kind)]).await?;
        rig.until_status("good.test", 200).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_file_that_no_longer_parses_keeps_its_last_good_content() -> Result<()> {
    let rig = Rig::start(&[]).await?;
    let good = bad_route(TO_GOOD);
    let with = |line: &[u8]| [good.as_bytes(), b"\n", line, b"\n"].concat();
    let broken: [(&[u8], &str); 2] = [
        (b"# \xff", "bad.yaml:5: invalid UTF-8: byte 0xff at offset "),
        (b"---\na: 1\nb: c: d", "bad.yaml:7: mapping values are not allowed in this context"),
    ];
    for (line, told) in broken {
        rig.config.write("bad.yaml", good.clone())?;
        rig.until_problems(NONE).await?;
        rig.until_status("bad.test", 200).await?;
        rig.config.write("bad.yaml", with(line))?;
        eventually("the problem of the file", PATIENCE, || async {
            let problems = rig.problems().await?;
            ensure!(problems.len() == 1 && problems[0].starts_with(told), "{problems:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
        rig.until_status("bad.test", 200).await?;
    }
    Ok(())
}

#[tokio::test]
async fn configz_tells_what_is_wrong_with_each_object() -> Result<()> {
    let rig = Rig::start(&[]).await?;
    rig.config.write("bad.yaml", bad_route("route: [{destination: {host: nowhere}}]"))?;
    eventually("the problem of an object", PATIENCE, || async {
        let page = rig.mizzen.json("/debug/configz").await?;
        let entries = page.as_array().context("a list")?;
        let of = |name: &str| entries.iter().find(|e| e["name"] == name).map_or(&Value::Null, |e| &e["problems"]);
        ensure!(of("good") == &json!([]), "{page}");
        ensure!(of("bad")[0]["field"] == "spec.http[0].route[0].destination", "{page}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// A sidecar that is connected, and can ask for the routes of port 80.
struct Sidecar {
    client: AggregatedDiscoveryServiceClient<tonic::transport::Channel>,
    /// While it is open, there is a sidecar.
    _connected: tonic::Streaming<DeltaDiscoveryResponse>,
}

impl Sidecar {
    async fn connect(address: SocketAddr) -> Result<Self> {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let connected = open(&mut client, "envoy.config.cluster.v3.Cluster", &[]).await?;
        Ok(Self { client, _connected: connected })
    }

    /// Each domain must stand once.
    async fn check_domains(&mut self) -> Result<()> {
        let mut responses = open(&mut self.client, "envoy.config.route.v3.RouteConfiguration", &["80"]).await?;
        let response = tokio::time::timeout(PATIENCE, responses.message()).await??.context("a response")?;
        ensure!(response.resources.len() == 1, "{response:?}");
        for resource in response.resources {
            let any = resource.resource.context("a body")?;
            let made = RouteConfiguration::decode(&any.value[..])?;
            let mut seen = BTreeSet::new();
            for domain in made.virtual_hosts.iter().flat_map(|h| &h.domains) {
                ensure!(seen.insert(domain.to_ascii_lowercase()), "{domain} stands twice: {made:#?}");
            }
        }
        Ok(())
    }
}

async fn open(
    client: &mut AggregatedDiscoveryServiceClient<tonic::transport::Channel>,
    message: &str,
    names: &[&str],
) -> Result<tonic::Streaming<DeltaDiscoveryResponse>> {
    let id = "sidecar~10.3.0.1~client.default~default.svc.cluster.local".to_owned();
    let first = DeltaDiscoveryRequest {
        node: Some(WireNode { id, ..WireNode::default() }),
        type_url: format!("type.googleapis.com/{message}"),
        resource_names_subscribe: names.iter().map(|&n| n.to_owned()).collect(),
        ..DeltaDiscoveryRequest::default()
    };
    let requests = futures::StreamExt::chain(futures::stream::iter([first]), futures::stream::pending());
    Ok(client.delta_aggregated_resources(requests).await?.into_inner())
}
