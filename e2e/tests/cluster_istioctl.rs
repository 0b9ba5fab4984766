//! Istio's own command line is answered as by istiod: what it asks of the control plane without pods.

use std::{process::Command, sync::OnceLock};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{
    PATIENCE, Request, Scene, Source, XdsTransport, eventually, istioctl, nothing_refused, route_all, service,
};
use serde_json::Value;

/// istioctl introduces itself by an address of this machine that is not loopback's, which a test's namespace lacks.
fn address_of_ones_own() -> Result<()> {
    static MADE: OnceLock<Result<(), String>> = OnceLock::new();
    let make = || {
        let commands = ["link add name own0 type bridge", "address add 10.99.0.1/32 dev own0", "link set own0 up"];
        for command in commands {
            let output = Command::new("ip").args(command.split(' ')).output().map_err(|e| e.to_string())?;
            let said = String::from_utf8_lossy(&output.stderr);
            if !output.status.success() {
                return Err(format!("ip {command}: {said}"));
            }
        }
        Ok(())
    };
    MADE.get_or_init(make).clone().map_err(anyhow::Error::msg)
}

/// A gateway that sends `v.test` to service `a`, with all objects in an API server.
async fn start() -> Result<Scene> {
    address_of_ones_own()?;
    let a = Source::Cluster.upstream("a").await?;
    let objects = service("a", "http", &[&a]) + &route_all("v", "v.test", "a");
    let scene = Scene::start_from(Source::Cluster, XdsTransport::Delta, &objects).await?;
    scene.answered_by("a", &Request::get("/").host("v.test")).await?;
    nothing_refused(&scene.envoy, &scene.mizzen).await?;
    Ok(scene)
}

/// Asks the control plane.
fn ask(scene: &Scene, args: &[&str]) -> Result<String> {
    let address = scene.mizzen.grpc().to_string();
    let kubeconfig = scene.config.kubeconfig().context("an API server")?;
    istioctl(&kubeconfig, &[args, &["--xds-address", &address, "--plaintext"]].concat())
}

/// The cells of a table's lines, which have two spaces or more between them.
fn cells(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect()
}

/// Whether a cell is `SYNCED (4m2s)`.
fn is_synced(cell: &str) -> bool {
    let age = cell.strip_prefix("SYNCED (").and_then(|rest| rest.strip_suffix(')'));
    age.is_some_and(|age| age.ends_with(['s', 'm']) && age.starts_with(|c: char| c.is_ascii_digit()))
}

#[tokio::test]
async fn proxy_status_shows_each_type() -> Result<()> {
    let scene = start().await?;
    let all = eventually("istioctl to show all as synced", PATIENCE, || async {
        let table = ask(&scene, &["proxy-status", "-v", "1"])?;
        ensure!(table.matches("SYNCED (").count() == 4, "{table}");
        Ok(table)
    })
    .await?;
    let rows = cells(&all);
    let [head, row] = &rows[..] else { panic!("{all}") };
    // In the order of the types' URLs.
    assert_eq!(head, &["NAME", "CLUSTER", "CDS", "ECDS", "EDS", "LDS", "RDS", "ISTIOD", "VERSION"], "{all}");
    let [name, cluster, types @ .., istiod, version] = &row[..] else { panic!("{all}") };
    assert_eq!((*name, *cluster, *istiod, *version), ("gw.default", "Kubernetes", "mizzen", "1.32.0"), "{all}");
    let [cds, ecds, eds, lds, rds] = types else { panic!("{all}") };
    assert!([cds, eds, lds, rds].iter().all(|cell| is_synced(cell)) && *ecds == "IGNORED", "{all}");

    let plain = ask(&scene, &["proxy-status"])?;
    let expected = [
        vec!["NAME", "CLUSTER", "ISTIOD", "VERSION", "SUBSCRIBED TYPES"],
        vec!["gw.default", "Kubernetes", "mizzen", "1.32.0", "4 (CDS,LDS,EDS,RDS)"],
    ];
    assert_eq!(cells(&plain), expected, "{plain}");
    Ok(())
}

#[tokio::test]
async fn one_proxy_has_what_it_was_sent() -> Result<()> {
    let scene = start().await?;
    let file = scene.config.folder().join("dump.json");
    eventually("istioctl to see no difference", PATIENCE, || async {
        std::fs::write(&file, scene.envoy.admin().config_dump().await?.to_string())?;
        let said = ask(&scene, &["proxy-status", "gw.default", "--file", &file.display().to_string()])?;
        ensure!(said.contains("Clusters Match") && said.contains("Listeners Match"), "{said}");
        ensure!(said.contains("Routes Match"), "{said}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn versions_and_debug_pages_are_told() -> Result<()> {
    let scene = start().await?;
    let own = env!("CARGO_PKG_VERSION");
    let said = ask(&scene, &["experimental", "version"])?;
    assert!(said.contains(&format!("control plane version: {own}\n")), "{said}");
    assert!(said.contains("data plane version: 1.32.0 (1 proxies)\n"), "{said}");

    let page = ask(&scene, &["experimental", "internal-debug", "syncz"])?;
    let page: Value = serde_json::from_str(&page).with_context(|| page.clone())?;
    assert!(page.to_string().contains("gw.default"), "{page}");
    let page = ask(&scene, &["experimental", "internal-debug", "adsz"])?;
    assert!(page.contains("gw.default-"), "{page}");
    // It shows what pages there are when one is not known.
    let unknown = ask(&scene, &["experimental", "internal-debug", "nonsense"])?;
    assert!(unknown.contains("supported internal debug commands") && unknown.contains("\"syncz\""), "{unknown}");
    Ok(())
}

#[tokio::test]
async fn proxy_config_reads_what_envoy_has() -> Result<()> {
    let scene = start().await?;
    let kubeconfig = scene.config.kubeconfig().context("an API server")?;
    let dump = scene.config.folder().join("dump.json");
    std::fs::write(&dump, scene.envoy.admin().config_dump().await?.to_string())?;
    let clusters = scene.config.folder().join("clusters.json");
    std::fs::write(&clusters, scene.envoy.admin().get("/clusters?format=json").await?)?;
    let read = |what: &str, file: &std::path::Path| {
        istioctl(&kubeconfig, &["proxy-config", what, "--file", &file.display().to_string()])
    };
    let port = scene.port.to_string();
    let all = read("cluster", &dump)?;
    assert!(cells(&all).contains(&vec!["a.default.svc.cluster.local", "80", "-", "outbound", "EDS"]), "{all}");
    let all = read("listener", &dump)?;
    assert!(all.contains(&format!("Route: http.{port}")), "{all}");
    let all = read("route", &dump)?;
    let line = all.lines().find(|line| line.contains("v.test")).with_context(|| all.clone())?;
    assert!(line.contains("v.default"), "the VirtualService that it is made of: {line}");
    let all = read("endpoint", &clusters)?;
    let line = all.lines().find(|line| line.contains("outbound|80||a.default.svc.cluster.local"));
    assert!(line.is_some_and(|line| line.contains("HEALTHY")), "{all}");
    Ok(())
}
