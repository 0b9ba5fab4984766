//! `mizzen proxy-status` and `mizzen version --remote`, while real Envoys are connected; without a cluster.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{
    ConfigDir, Envoy, EnvoyOptions, Mizzen, MizzenOptions, Node, PATIENCE, Request, Scene, Signal, Upstream,
    eventually, free_port, route_all, service,
};
use serde_json::Value;

/// Runs a command that asks the control plane: its exit code and what it prints.
fn ask(mizzen: &Mizzen, args: &[&str]) -> Result<(i32, String)> {
    let Output { status, stdout, stderr } =
        Mizzen::run(&[args, &["--xds-address", &mizzen.grpc().to_string()]].concat())?;
    let said = [stdout, stderr].concat();
    Ok((status.code().context("a signal")?, String::from_utf8_lossy(&said).into_owned()))
}

/// Waits until `proxy-status` ends with this exit code and prints this.
async fn becomes(mizzen: &Mizzen, code: i32, printed: &str) -> Result<String> {
    eventually(&format!("exit code {code} and {printed:?}"), PATIENCE, || async {
        let (ended, said) = ask(mizzen, &["proxy-status"])?;
        ensure!(ended == code && said.contains(printed), "{ended} {said}");
        Ok(said)
    })
    .await
}

/// An EnvoyFilter that only Envoy can judge: it takes no interval below 50 ms.
const REFUSED: &str = r#"
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: limit, namespace: default}
spec:
  workloadSelector: {labels: {istio: ingressgateway}}
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: GATEWAY
      listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}
    patch:
      operation: INSERT_FIRST
      value:
        name: limit
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
          stat_prefix: limit
          token_bucket: {max_tokens: 1, tokens_per_fill: 1, fill_interval: 0.001s}
"#;

#[tokio::test]
async fn a_proxy_is_synced_stale_or_refuses() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let mut scene = Scene::start(&(service("a", "http", &[&a]) + &route_all("v", "v.test", "a"))).await?;
    scene.answered_by("a", &Request::get("/").host("v.test")).await?;
    let table = becomes(&scene.mizzen, 0, "gw.default").await?;
    assert_eq!((table.lines().count(), table.matches("SYNCED (").count(), table.matches("IGNORED").count()), (2, 4, 1));

    let (code, json) = ask(&scene.mizzen, &["ps", "-o", "json"])?;
    let page: Value = serde_json::from_str(&json)?;
    assert_eq!((code, page[0]["name"].as_str(), page[0]["istiod"].as_str()), (0, Some("gw.default"), Some("mizzen")));
    assert_eq!(page[0]["types"]["CDS"]["status"], "SYNCED", "{page}");
    assert!(page[0]["types"]["CDS"]["lastSent"].as_str().is_some_and(|at| at.ends_with('Z')), "{page}");
    assert_eq!(ask(&scene.mizzen, &["ps", "-n", "other", "-o", "json"])?, (0, "[]\n".to_owned()));

    scene.envoy.signal(Signal::Stop)?;
    scene.config.write("b.yaml", service("b", "http", &[&b]))?;
    becomes(&scene.mizzen, 3, "STALE (").await?;
    scene.envoy.signal(Signal::Cont)?;
    becomes(&scene.mizzen, 0, "gw.default").await?;

    scene.config.write("limit.yaml", REFUSED)?;
    let said = becomes(&scene.mizzen, 4, "gw.default refuses LDS: ").await?;
    assert!(said.contains("ERROR (") && said.contains("50ms"), "{said}");
    // What is refused stays so while the rest goes on.
    scene.config.write("c.yaml", service("c", "http", &[&b]))?;
    eventually("the new cluster", PATIENCE, || async {
        let dump = scene.envoy.admin().config_dump().await?.to_string();
        ensure!(dump.contains("outbound|80||c.default"), "not there");
        Ok(())
    })
    .await?;
    becomes(&scene.mizzen, 4, "gw.default refuses LDS: ").await?;
    scene.config.remove("limit.yaml")?;
    becomes(&scene.mizzen, 0, "gw.default").await.map(drop)
}

#[tokio::test]
async fn versions_of_the_mesh_are_told_and_an_absent_control_plane_is_an_error() -> Result<()> {
    let scene = Scene::start("").await?;
    becomes(&scene.mizzen, 0, "gw.default").await?;
    let own = env!("CARGO_PKG_VERSION");
    let expected =
        format!("client version: {own}\ncontrol plane version: {own}\ndata plane version: 1.32.0 (1 proxies)\n");
    assert_eq!(ask(&scene.mizzen, &["version", "--remote"])?, (0, expected));

    let nobody = format!("127.0.0.1:{}", free_port()?);
    let Output { status, stderr, .. } = Mizzen::run(&["proxy-status", "--xds-address", &nobody])?;
    let said = String::from_utf8_lossy(&stderr);
    assert!(status.code() == Some(1) && said.contains(&format!("connect to {nobody}")), "{said}");
    Ok(())
}

/// A sidecar that discovers virtual hosts one by one.
async fn sidecar(config: &ConfigDir) -> Result<(Mizzen, Envoy)> {
    let ports = format!("    proxyListenPort: {}\n    proxyInboundListenPort: {}\n", free_port()?, free_port()?);
    let head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n";
    config.write("mesh.yaml", format!("{head}{ports}"))?;
    let mizzen = Mizzen::start(MizzenOptions::files(config.path())).await?;
    let envoy = Envoy::start_ready(&EnvoyOptions::dynamic(Node::sidecar("app", "default"), mizzen.grpc())).await?;
    Ok((mizzen, envoy))
}

#[tokio::test]
async fn what_a_proxy_has_is_compared_with_what_it_was_sent() -> Result<()> {
    let (a, config) = (Upstream::http("a").await?, ConfigDir::new()?);
    config.write("a.yaml", service("a", "http", &[&a]))?;
    let (mizzen, envoy) = sidecar(&config).await?;
    let file = config.path().with_extension("json");
    let path = file.display().to_string();
    let compare = |dump: &Value| {
        std::fs::write(&file, dump.to_string())?;
        ask(&mizzen, &["proxy-status", "app.default", "-f", &path])
    };
    let dump = eventually("no difference", PATIENCE, || async {
        let dump = envoy.admin().config_dump().await?;
        ensure!(dump.to_string().contains("80/a.default.svc.cluster.local:80"), "no virtual host by itself yet");
        let compared = compare(&dump)?;
        ensure!(compared == (0, "Clusters match\nListeners match\nRoutes match\n".to_owned()), "{compared:?}");
        Ok(dump)
    })
    .await?;

    let altered: Value = serde_json::from_str(&dump.to_string().replace("\"a.default.svc\"", "\"b\""))?;
    let (code, said) = compare(&altered)?;
    let head = format!("Clusters match\nListeners match\n--- {} Routes\n+++ Envoy Routes\n", mizzen.grpc());
    assert!(code == 3 && said.starts_with(&head), "{said}");
    assert!(said.contains("-        \"a.default.svc\",\n+        \"b\",\n"), "{said}");
    let (code, said) = ask(&mizzen, &["proxy-status", "nobody.default", "-f", &path])?;
    assert!(
        code == 1 && said.contains("nobody.default is connected to none of the control plane's replicas"),
        "{said}"
    );
    std::fs::remove_file(file).map_err(Into::into)
}
