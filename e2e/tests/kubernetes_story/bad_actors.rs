//! What a Pod of the mesh tries that has a real token, and may not: it is refused, told so, and counted; nothing leaks and
//! nobody is harmed.

use std::{collections::BTreeMap, net::SocketAddr, process::Command};

use anyhow::{Context, Result, ensure};
use http::Method;
use mizzen_e2e::{
    Client, HttpVersion, PATIENCE, Request, Tls, eventually,
    workload::{ask, ask_for, clusters, connect, node, send},
};
use serde_json::json;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

use super::world::{World, client, echo};

const NAMESPACE: &str = "bad-actors";
const TOKEN: &str = "/var/run/secrets/tokens/istio-token";
const OF_API_SERVER: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// What is counted.
const COUNTERS: [&str; 4] = [
    "citadel_server_authentication_failure_count",
    "citadel_server_csr_parsing_err_count",
    "mizzen_xds_refused_streams",
    "sidecar_injection_failure_total",
];

#[tokio::test]
async fn a_pod_gets_what_is_its_own_and_no_more() -> Result<()> {
    let world = World::enter(NAMESPACE).await?;
    world.run(&[client(), echo("echo", 1)].concat())?;
    let istiod = Istiod::of(&world)?;
    let before = istiod.counts().await?;
    let token = world.exec("deploy/client", "istio-proxy", &["cat", TOKEN])?;
    let foreign = world.exec("deploy/client", "curl", &["cat", OF_API_SERVER])?;
    let channel = connect(istiod.at(15012)?, &world.roots()?, None).await?;

    certificates_are_of_its_own_identity(&channel, &token, &foreign).await?;
    a_token_ends_by_its_time(&world, &channel).await?;
    streams_are_of_its_own_identity(&channel, &token, &foreign).await?;
    plaintext_leads_to_nothing(&world, &istiod, &token).await?;
    reviews_that_are_none_are_refused(&world, &istiod).await?;
    its_token_ends_with_it(&world, &channel, &token).await?;

    eventually("the counts", PATIENCE, || async {
        let after = istiod.counts().await?;
        let least = BTreeMap::from([(COUNTERS[0], 3.0), (COUNTERS[1], 2.0), (COUNTERS[2], 5.0), (COUNTERS[3], 3.0)]);
        ensure!(least.iter().all(|(name, n)| after[name] >= before[name] + n), "{before:?}, now {after:?}");
        anyhow::Ok(())
    })
    .await?;
    nothing_is_harmed(&world, &istiod, &[&token, &foreign]).await
}

/// The control plane, as it is on the network of Pods.
struct Istiod {
    pod: String,
    address: String,
}

impl Istiod {
    fn of(world: &World) -> Result<Self> {
        let field = |path: &str| {
            world.system(&["get", "pods", "-l", "app=istiod", "--field-selector=status.phase=Running", "-o", path])
        };
        let pod = field("jsonpath={.items[0].metadata.name}")?;
        Ok(Self { pod, address: field("jsonpath={.items[0].status.podIP}")? })
    }

    fn at(&self, port: u16) -> Result<SocketAddr> {
        Ok(format!("{}:{port}", self.address).parse()?)
    }

    async fn counts(&self) -> Result<BTreeMap<&'static str, f64>> {
        let text = Client::http(self.at(15014)?).send(&Request::get("/metrics")).await?.text();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.with_context(|| format!("no metric {name}"))?.parse().context("a number")
        };
        COUNTERS.into_iter().map(|name| Ok((name, value(name)?))).collect()
    }
}

async fn certificates_are_of_its_own_identity(channel: &Channel, token: &str, foreign: &str) -> Result<()> {
    // The request wishes for another identity.
    let issued = ask(channel, Some(token)).await?;
    let names = issued.names()?;
    let own = format!("URI:spiffe://cluster.local/ns/{NAMESPACE}/sa/client");
    ensure!(names.contains(&own) && names.matches("URI:").count() == 1, "{names}");
    for identity in ["ns/kube-system/sa/default", "ns/bad-actors/sa/echo"] {
        let identity = format!("spiffe://cluster.local/{identity}");
        let refused = ask_for(channel, Some(token), Some(&identity)).await.err().context("impersonated")?;
        is_told(&refused, Code::Unauthenticated, "is not among CA_TRUSTED_NODE_ACCOUNTS");
    }
    for (token, message) in [
        (None, "no client certificate of this mesh and no bearer token"),
        (Some(foreign), "the token is not valid for istio-ca"),
        (Some("a.b.c"), "the token is not valid for istio-ca"),
        (Some("garbage"), "the bearer token is no JSON web token"),
    ] {
        let refused = ask(channel, token).await.err().context("a certificate")?;
        is_told(&refused, Code::Unauthenticated, message);
        assert!(!refused.message().contains(foreign), "{refused:?}");
    }
    for (csr, code, message) in [
        ("x".repeat(20_000), Code::InvalidArgument, "the certificate signing request has 20000 bytes"),
        (String::new(), Code::InvalidArgument, "is not valid PEM with a block CERTIFICATE REQUEST"),
        ("x".repeat(1 << 20), Code::OutOfRange, "message length too large"),
    ] {
        let refused = send(channel, Some(token), csr).await.err().context("a certificate")?;
        is_told(&refused, code, message);
    }
    Ok(())
}

/// A reason that helps whoever reads it.
fn is_told(refused: &Status, code: Code, message: &str) {
    assert!(refused.code() == code && refused.message().contains(message), "not {code:?} {message:?}: {refused:?}");
}

/// Signed by the cluster's own key: it is taken until its end, and not after.
async fn a_token_ends_by_its_time(world: &World, channel: &Channel) -> Result<()> {
    let now: u64 = String::from_utf8(Command::new("date").arg("+%s").output()?.stdout)?.trim().parse()?;
    let uid = world.cluster.kubectl(&["get", "serviceaccount/client", "-o=jsonpath={.metadata.uid}"])?;
    let signed = |until: u64| {
        world.cluster.sign_token(&json!({
            "iss": "https://kubernetes.default.svc.cluster.local", "aud": ["istio-ca"],
            "sub": format!("system:serviceaccount:{NAMESPACE}:client"), "iat": now - 7200, "nbf": now - 7200, "exp": until,
            "kubernetes.io": {"namespace": NAMESPACE, "serviceaccount": {"name": "client", "uid": uid}},
        }))
    };
    ask(channel, Some(&signed(now + 3600)?)).await.context("with a token that is valid")?;
    let expired = signed(now - 60)?;
    let refused = ask(channel, Some(&expired)).await.err().context("a certificate for an expired token")?;
    is_told(&refused, Code::Unauthenticated, "the token is not valid for istio-ca");
    is_told(&refused, Code::Unauthenticated, "expired");
    let refused = clusters(channel, node(NAMESPACE, "client"), Some(&expired)).await.err().context("clusters")?;
    is_told(&refused, Code::Unauthenticated, "expired");
    Ok(())
}

async fn streams_are_of_its_own_identity(channel: &Channel, token: &str, foreign: &str) -> Result<()> {
    let served = clusters(channel, node(NAMESPACE, "client"), Some(token)).await?;
    ensure!(served.ends_with(".Cluster"), "{served}");
    let mut nameless = node(NAMESPACE, "client");
    "nobody".clone_into(&mut nameless.id);
    let mut huge = node(NAMESPACE, "client");
    huge.cluster = "x".repeat(5 << 20);
    let client = || node(NAMESPACE, "client");
    let own = format!("spiffe://cluster.local/ns/{NAMESPACE}/sa/client may not act as a proxy of ");
    let (other_namespace, other_account) = (format!("{own}istio-system/client"), format!("{own}{NAMESPACE}/echo"));
    for (node, token, code, message) in [
        (node("istio-system", "client"), Some(token), Code::PermissionDenied, other_namespace.as_str()),
        (node(NAMESPACE, "echo"), Some(token), Code::PermissionDenied, &other_account),
        (client(), Some(foreign), Code::Unauthenticated, "the token is not valid for istio-ca"),
        (client(), None, Code::Unauthenticated, "authentication failure"),
        (nameless, Some(token), Code::InvalidArgument, "missing parts in the service node \"nobody\""),
        (huge, Some(token), Code::OutOfRange, "bytes: the limit is "),
    ] {
        let refused = clusters(channel, node, token).await.err().context(message.to_owned())?;
        is_told(&refused, code, message);
    }
    Ok(())
}

async fn plaintext_leads_to_nothing(world: &World, istiod: &Istiod, token: &str) -> Result<()> {
    let open = Endpoint::from_shared(format!("http://{}", istiod.at(15010)?))?.connect().await?;
    let refused = ask(&open, Some(token)).await.err().context("a certificate")?;
    assert_eq!(refused.code(), Code::Unimplemented, "{refused:?}");
    for port in [15012, 15017] {
        let request = Request::get("/ready");
        ensure!(Client::http(istiod.at(port)?).send(&request).await.is_err(), "{port} speaks plaintext");
    }
    // What the mesh is like is not for its Pods.
    let url = "http://istiod.istio-system:15014/debug/configz";
    let status = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", url];
    let said = world.exec("deploy/client", "curl", &status)?;
    ensure!(matches!(said.as_str(), "401" | "403"), "{said}");
    Ok(())
}

/// Sent to where the API server asks.
async fn reviews_that_are_none_are_refused(world: &World, istiod: &Istiod) -> Result<()> {
    let tls = Tls { server_name: "istiod.istio-system.svc".to_owned(), ca: world.roots()?, identity: None };
    // Over HTTP/2 an answer comes also while the request is being sent.
    let client = Client::https(istiod.at(15017)?, &tls)?.version(HttpVersion::Http2);
    for (body, status, message) in [
        (b"{".to_vec(), 400, "the body is no AdmissionReview"),
        (b"{\"request\": {}}".to_vec(), 400, "it must be AdmissionReview"),
        (vec![b' '; 4 << 20], 413, "more than"),
    ] {
        let request = Request::get("/inject").method(Method::POST).header("content-type", "application/json");
        let reply = client.send(&request.body(body)).await.context(message)?;
        ensure!(reply.status == status && reply.text().contains(message), "{} {}", reply.status, reply.text());
    }
    let told = world.cluster.apply(
        "{apiVersion: v1, kind: Pod, metadata: {name: wrong, annotations: {proxy.istio.io/config: '[]'}}, \
         spec: {containers: [{name: c, image: 'echo:local'}]}}",
    );
    let told = format!("{:#}", told.expect_err("such a Pod"));
    ensure!(told.contains("denied the request") && told.contains("is no ProxyConfig"), "{told}");
    Ok(())
}

/// The API server knows for ten seconds more what it has said of a token.
async fn its_token_ends_with_it(world: &World, channel: &Channel, token: &str) -> Result<()> {
    world.cluster.kubectl(&["delete", "pod", "-l", "app=client", "--wait"])?;
    eventually("the refusal of a dead Pod", PATIENCE, || async {
        let refused = ask(channel, Some(token)).await.err().context("a dead Pod has a certificate")?;
        ensure!(refused.code() == Code::Unauthenticated, "{refused:?}");
        let refused = clusters(channel, node(NAMESPACE, "client"), Some(token)).await.err().context("and clusters")?;
        ensure!(refused.code() == Code::Unauthenticated, "{refused:?}");
        anyhow::Ok(())
    })
    .await
}

async fn nothing_is_harmed(world: &World, istiod: &Istiod, secrets: &[&str]) -> Result<()> {
    let restarts = "jsonpath={.status.containerStatuses[*].restartCount}";
    assert_eq!(world.system(&["get", "pod", &istiod.pod, "-o", restarts])?, "0");
    let log = world.system(&["logs", &istiod.pod])?;
    ensure!(secrets.iter().all(|secret| !log.contains(secret)) && !log.contains("PRIVATE KEY"), "a secret is logged");
    world.rolled_out(world.namespace, "client")?;
    let asked = ["curl", "-sS", "--fail", "--max-time", "10", "http://echo/"];
    eventually("an answer", PATIENCE, || async { world.exec("deploy/client", "curl", &asked) }).await?;
    Ok(())
}
