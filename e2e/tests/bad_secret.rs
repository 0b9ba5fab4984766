//! Secrets that are missing or broken: what names them is withheld and told, by Gateways and DestinationRules alike,
//! and nothing else is hurt.

use std::{collections::BTreeSet, net::SocketAddr};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{
    Authority, Client, ConfigDir, Envoy, EnvoyOptions, KeyPairPem, Mizzen, MizzenOptions, Node, PATIENCE, Request,
    Scene, Tls, Upstream, UpstreamOptions, eventually, free_port, gateway, nothing_refused, route_all, service,
};
use serde_json::{Value, json};

const UNRELATED: &str = "tls.key: the private key does not belong to the first certificate";

/// A Secret of namespace `default`.
fn secret(name: &str, data: &Value) -> String {
    let metadata = json!({"name": name, "namespace": "default"});
    format!("---\n{}\n", json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}))
}

fn pair(name: &str, cert: &KeyPairPem, key: &KeyPairPem) -> String {
    secret(name, &json!({"tls.crt": cert.cert, "tls.key": key.key}))
}

/// Waits until exactly these problems exist, and each was told once.
async fn problems(mizzen: &Mizzen, expected: &[&str]) -> Result<()> {
    let expected: BTreeSet<String> = expected.iter().map(|&p| p.to_owned()).collect();
    eventually("the problems", PATIENCE, || async {
        let page = mizzen.json("/debug/problems").await?;
        let lines = page.as_array().context("a list")?.iter().filter_map(|p| p["message"].as_str());
        let found: BTreeSet<String> =
            lines.map(|l| l.rsplit_once(" [MZ").map_or(l, |(said, _)| said).to_owned()).collect();
        ensure!(found == expected, "expected {expected:#?}, found {found:#?}");
        anyhow::Ok(())
    })
    .await?;
    let log = mizzen.log().replace("\\\"", "\"");
    for problem in &expected {
        let told = log.matches(&format!("problem: {problem}")).count();
        ensure!(told == 1, "told {told} times in the log: {problem}\n{log}");
    }
    Ok(())
}

/// Waits for a status and who answered.
async fn answers(client: &Client, host: &str, status: u16, upstream: &str) -> Result<()> {
    eventually(&format!("{status} from {host}"), PATIENCE, || async {
        let reply = client.send(&Request::get("/").host(host)).await?;
        ensure!((reply.status, reply.upstream()) == (status, upstream), "{} {}", reply.status, reply.text());
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn a_broken_key_withholds_the_filter_chain_that_names_it_and_no_other() -> Result<()> {
    let upstream = Upstream::http("a").await?;
    let authority = Authority::new("servers")?;
    let (one, two) = (authority.issue(&["one.test"])?, authority.issue(&["two.test"])?);
    let port = free_port()?;
    let server = |name: &str| {
        format!(
            "  - {{port: {{number: {port}, name: {name}, protocol: HTTPS}}, hosts: ['{name}.test'], \
             tls: {{mode: SIMPLE, credentialName: {name}}}}}\n"
        )
    };
    let objects = gateway("tls", &(server("one") + &server("two")))
        + &service("a", "http", &[&upstream])
        + &route_all("a", "*", "a").replace("[gateway]", "[tls]")
        + &pair("one", &one, &one);
    let scene = Scene::start(&objects).await?;
    let client = |name: &str| {
        let tls = Tls { server_name: name.to_owned(), ca: authority.pem().to_owned(), identity: None };
        Client::https(SocketAddr::from(([127, 0, 0, 1], port)), &tls)
    };
    let (one_client, two_client) = (client("one.test")?, client("two.test")?);
    let withheld = "the server's filter chain is withheld until it is there";
    let missing = "Gateway default/tls: spec.servers[1].tls.credentialName: secret \"two\" (kubernetes://two)";
    problems(&scene.mizzen, &[&format!("{missing} does not exist or lacks the keys; {withheld}")]).await?;
    answers(&one_client, "one.test", 200, "a").await?;

    scene.config.write("two.yaml", pair("two", &two, &one))?;
    let broken = [
        format!("Secret default/two: data: {UNRELATED}"),
        format!("{missing} cannot be used: {UNRELATED}; {withheld}"),
    ];
    problems(&scene.mizzen, &broken.each_ref().map(String::as_str)).await?;
    assert!(two_client.connect().await.is_err(), "served without a usable secret");
    answers(&one_client, "one.test", 200, "a").await?;
    for kind in ["Secret", "Gateway"] {
        let series = format!("mizzen_config_problems{{kind=\"{kind}\"}}");
        assert_eq!(scene.mizzen.metric(&series).await?, Some(1.0), "{series}");
    }

    scene.config.write("two.yaml", pair("two", &two, &two))?;
    problems(&scene.mizzen, &[]).await?;
    answers(&two_client, "two.test", 200, "a").await?;
    answers(&one_client, "one.test", 200, "a").await?;
    scene.nothing_refused().await
}

/// Speaks TLS to service `secure`, whose authority is in Secret `up`.
fn rule(selector: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: secure, namespace: default}}\n\
         spec:\n  host: secure\n{selector}  \
         trafficPolicy: {{tls: {{mode: SIMPLE, credentialName: up, sni: up.test, subjectAltNames: [up.test]}}}}\n"
    )
}

const OF_RULE: &str =
    "DestinationRule default/secure: spec.trafficPolicy.tls.credentialName: secret kubernetes://up-cacert";
const OF_GATEWAYS: &str = "DestinationRule default/secure: spec.trafficPolicy.tls.credentialName: only gateways read it, as \
                           the rule has no workloadSelector; requests of sidecars are answered with 503";
const UNAVAILABLE: &str = "for proxies of namespace default; their requests are answered with 503 until it is there";

#[tokio::test]
async fn a_rule_whose_secret_is_missing_or_broken_withholds_its_service_alone() -> Result<()> {
    let authority = Authority::new("upstreams")?;
    let identity = Some(authority.issue(&["up.test"])?);
    let secure = Upstream::start("secure", UpstreamOptions { identity, ..UpstreamOptions::default() }).await?;
    let plain = Upstream::http("plain").await?;
    let objects = service("secure", "http", &[&secure])
        + &service("plain", "http", &[&plain])
        + &rule("")
        + &route_all("secure", "secure.test", "secure")
        + &route_all("plain", "plain.test", "plain");
    let scene = Scene::start(&objects).await?;
    let client = scene.client();
    let missing = format!("{OF_RULE} does not exist or lacks the keys {UNAVAILABLE}");
    problems(&scene.mizzen, &[OF_GATEWAYS, &missing]).await?;
    answers(&client, "secure.test", 503, "-").await?;
    answers(&client, "plain.test", 200, "plain").await?;

    scene.config.write("up.yaml", secret("up-cacert", &json!({"ca.crt": "no certificate"})))?;
    eventually("the reason", PATIENCE, || async {
        let page = scene.mizzen.json("/debug/problems").await?.to_string();
        ensure!(page.contains("cannot be used: ca.crt: ") && !page.contains("does not exist"), "{page}");
        anyhow::Ok(())
    })
    .await?;

    scene.config.write("up.yaml", secret("up-cacert", &json!({"ca.crt": authority.pem()})))?;
    problems(&scene.mizzen, &[OF_GATEWAYS]).await?;
    answers(&client, "secure.test", 200, "secure").await?;

    // What was good once stays.
    scene.config.write("up.yaml", secret("up-cacert", &json!({"ca.crt": "no certificate"})))?;
    eventually("the problem of the Secret", PATIENCE, || async {
        let page = scene.mizzen.json("/debug/problems").await?.to_string();
        ensure!(page.contains("Secret default/up-cacert: data: ca.crt: "), "{page}");
        anyhow::Ok(())
    })
    .await?;
    answers(&client, "secure.test", 200, "secure").await?;
    scene.nothing_refused().await
}

#[tokio::test]
async fn a_sidecar_is_given_the_secrets_of_rules_that_select_it() -> Result<()> {
    let (authority, upstream) = (Authority::new("upstreams")?, Upstream::http("secure").await?);
    let config = ConfigDir::new()?;
    let objects = service("secure", "http", &[&upstream])
        + &rule("  workloadSelector: {matchLabels: {app: client}}\n")
        + &secret("up", &json!({"ca.crt": authority.pem()}));
    config.write("objects.yaml", objects)?;
    let mizzen = Mizzen::start(MizzenOptions::files(config.path())).await?;
    let start = async |app: &str| {
        let node = Node::sidecar(app, "default").label("app", app);
        let envoy = Envoy::start_ready(&EnvoyOptions::dynamic(node, mizzen.grpc())).await?;
        envoy.wait_warm(PATIENCE).await?;
        nothing_refused(&envoy, &mizzen).await?;
        anyhow::Ok(envoy)
    };
    // One after the other: both would open the same ports.
    for (app, expected) in [("client", vec!["kubernetes://up-cacert"]), ("other", Vec::new())] {
        let envoy = start(app).await?;
        let dump = envoy.admin().config_of("SecretsConfigDump").await?;
        let active = dump["dynamic_active_secrets"].as_array().cloned().unwrap_or_default();
        let names = active.iter().filter_map(|s| s["name"].as_str());
        // The others are the agent's.
        let names: Vec<&str> = names.filter(|name| name.contains("://")).collect();
        assert_eq!(names, expected, "{app}: {dump}");
        let clusters = envoy.admin().config_of("ClustersConfigDump").await?;
        let clusters = clusters["dynamic_active_clusters"].as_array().cloned().unwrap_or_default();
        let mut own =
            clusters.iter().filter(|c| c["cluster"]["name"] == "outbound|80||secure.default.svc.cluster.local");
        let own = own.next().context("no cluster")?;
        assert_eq!(own["cluster"]["transport_socket"].is_object(), !expected.is_empty(), "{app}: {own}");
    }
    problems(&mizzen, &[]).await
}
