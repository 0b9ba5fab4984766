//! What is wrong with an object is told exactly, once and as long as it is so, and hurts nothing else. Objects are
//! files; `cluster_bad_input` is the same with what an API server lets pass.

mod cases;
mod rig;

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use envoy_types::pb::envoy::{
    config::{core::v3::Node as WireNode, route::v3::RouteConfiguration},
    service::discovery::v3::{
        DeltaDiscoveryRequest, DeltaDiscoveryResponse,
        aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
    },
};
use mizzen_e2e::{PATIENCE, Source, eventually};
use prost::Message;
use serde_json::{Value, json};

use self::{
    cases::{
        TO_GOOD, bad_route, not_honoured, virtual_service, wrong_in_the_mesh, wrong_others, wrong_routes, wrong_texts,
        wrong_without_a_proxy,
    },
    rig::{NONE, Rig, check_all},
};

const SOURCE: Source = Source::Files;

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
    rig.config.write("many.yaml", content(TO_GOOD))?;
    rig.until_status("h9999.test", 200).await?;
    rig.config.write("many.yaml", content("directResponse: {status: 418}"))?;
    rig.until_status("h9999.test", 418).await?;
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
