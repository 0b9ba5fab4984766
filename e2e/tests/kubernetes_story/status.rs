//! The state of the mesh in a real cluster, as people ask for it: `mizzen proxy-status`, the real istioctl, and kubectl.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Mizzen, PATIENCE, SYSTEM, eventually, istioctl};
use serde_json::Value;

use super::world::{World, echo, exposed};

/// Who runs commands against the mesh.
struct Mesh {
    world: World,
}

impl Mesh {
    /// With a workload that has a sidecar, which the gateway leads to.
    async fn new() -> Result<Self> {
        let world = World::enter("status").await?;
        world.run(&[echo("web", 1), exposed("web", "")].concat())?;
        Ok(Self { world })
    }

    /// Runs a command of mizzen: its exit code and what it prints.
    fn mizzen(&self, args: &[&str]) -> Result<(i32, String)> {
        let kubeconfig = self.world.cluster.kubeconfig().display().to_string();
        let Output { status, stdout, stderr } = Mizzen::run(&[args, &["--kubeconfig", &kubeconfig]].concat())?;
        let said = [stdout, stderr].concat();
        Ok((status.code().context("a signal")?, String::from_utf8_lossy(&said).into_owned()))
    }

    fn istioctl(&self, args: &[&str]) -> Result<String> {
        istioctl(self.world.cluster.kubeconfig(), args)
    }

    fn pod(&self, labels: &str, system: bool) -> Result<String> {
        let args = ["get", "pods", "-l", labels, "-o", "jsonpath={.items[0].metadata.name}"];
        if system { self.world.system(&args) } else { self.world.cluster.kubectl(&args) }
    }

    /// Waits until both proxies have everything; the table.
    async fn synced(&self, proxies: &[&str]) -> Result<String> {
        eventually("all proxies to be synced", PATIENCE * 2, || async {
            let (code, table) = self.mizzen(&["proxy-status"])?;
            ensure!(code == 0 && proxies.iter().all(|name| table.contains(name)), "{code} {table}");
            anyhow::Ok(table)
        })
        .await
    }
}

#[tokio::test]
async fn the_state_of_the_mesh_is_told_by_every_tool() -> Result<()> {
    let mesh = Mesh::new().await?;
    let sidecar = format!("{}.status", mesh.pod("app=web", false)?);
    let gateway = format!("{}.{SYSTEM}", mesh.pod("app=istio-ingressgateway", true)?);
    let istiod = mesh.pod("app=istiod", true)?;
    let table = mesh.synced(&[&sidecar, &gateway]).await?;
    for name in [&sidecar, &gateway] {
        let row = table.lines().find(|line| line.starts_with(name)).context("a row")?;
        ensure!(row.matches("SYNCED (").count() == 4 && row.contains("IGNORED") && row.contains(&istiod), "{row}");
    }
    for name in [&sidecar, &gateway] {
        eventually(&format!("{name} to have what it was sent"), PATIENCE, || async {
            let (code, said) = mesh.mizzen(&["proxy-status", name])?;
            ensure!(code == 0 && said == "Clusters match\nListeners match\nRoutes match\n", "{code} {said}");
            anyhow::Ok(())
        })
        .await?;
    }
    let (code, said) = mesh.mizzen(&["version", "--remote"])?;
    assert!(code == 0 && said.contains("control plane version: ") && said.contains(" proxies)"), "{said}");
    as_istioctl_sees_it(&mesh, &sidecar, &gateway, &istiod).await?;
    as_objects_say(&mesh).await
}

async fn as_istioctl_sees_it(mesh: &Mesh, sidecar: &str, gateway: &str, istiod: &str) -> Result<()> {
    let table = mesh.istioctl(&["proxy-status", "-v", "1"])?;
    for name in [sidecar, gateway] {
        let row = table.lines().find(|line| line.starts_with(name)).with_context(|| table.clone())?;
        ensure!(row.matches("SYNCED (").count() >= 4 && row.contains("IGNORED") && row.contains(istiod), "{row}");
    }
    let said = mesh.istioctl(&["version"])?;
    let own = env!("CARGO_PKG_VERSION");
    ensure!(said.contains(&format!("control plane version: {own}")) && said.contains("data plane version: "), "{said}");
    let page = mesh.istioctl(&["experimental", "internal-debug", "syncz"])?;
    ensure!(page.contains(sidecar) && page.contains(gateway), "{page}");
    for (what, expected) in [
        ("cluster", "web.status.svc.cluster.local"),
        ("listener", "Route: http.80"),
        ("route", "web.status"),
        ("endpoint", "outbound|80||web.status.svc.cluster.local"),
    ] {
        // A gateway's port 80 is 8080 in its pod.
        let all = mesh.istioctl(&["proxy-config", what, gateway])?;
        ensure!(all.contains(expected) || what == "listener" && all.contains("Route: http.8080"), "{what}: {all}");
    }
    as_istioctl_sees_its_envoy(mesh, sidecar)
}

/// What it reads at Envoy's admin port, in its own words.
fn as_istioctl_sees_its_envoy(mesh: &Mesh, sidecar: &str) -> Result<()> {
    let web = "web.status.svc.cluster.local";
    let endpoint = format!("{}:8080", mesh.world.pod_address("app=web")?);
    let outbound = format!("outbound|80||{web}");
    let rows: [(&str, &[&[&str]]); 5] = [
        (
            "cluster",
            &[
                &[web, "80", "-", "outbound", "EDS"],
                &["8080", "-", "inbound", "ORIGINAL_DST"],
                &["BlackHoleCluster", "-", "-", "-", "STATIC"],
                &["PassthroughCluster", "-", "-", "-", "ORIGINAL_DST"],
            ],
        ),
        (
            "listener",
            &[
                &["0.0.0.0", "80", "Trans: raw_buffer; App: http/1.1,h2c", "Route: 80"],
                &["0.0.0.0", "15001", "ALL", "PassthroughCluster"],
                &["0.0.0.0", "15006", "Trans: tls", "Cluster: inbound|8080||"],
                &["0.0.0.0", "15006", "InboundPassthroughCluster"],
            ],
        ),
        ("route", &[&["80", &format!("{web}:80"), "., web + 2 more...", "/*"]]),
        ("endpoint", &[&[&endpoint, "HEALTHY", "OK", &outbound]]),
        ("secret", &[&["default", "Cert Chain", "ACTIVE", "true"], &["ROOTCA", "CA", "ACTIVE", "true"]]),
    ];
    for (what, expected) in rows {
        let all = mesh.istioctl(&["proxy-config", what, sidecar])?;
        for words in expected {
            let has = |line: &str| words.iter().all(|word| line.contains(word));
            ensure!(all.lines().any(has), "proxy-config {what}: no row with {words:?} in\n{all}");
        }
    }
    let bootstrap: Value = serde_json::from_str(&mesh.istioctl(&["proxy-config", "bootstrap", sidecar])?)?;
    let id = bootstrap.pointer("/bootstrap/node/id").and_then(Value::as_str).context("no id")?;
    ensure!(id.starts_with("sidecar~") && id.ends_with(&format!("~{sidecar}~status.svc.cluster.local")), "{id}");
    let ads = "/bootstrap/dynamicResources/adsConfig/grpcServices/0/envoyGrpc/clusterName";
    assert_eq!(bootstrap.pointer(ads).and_then(Value::as_str), Some("xds-grpc"), "{bootstrap:#}");
    Ok(())
}

async fn as_objects_say(mesh: &Mesh) -> Result<()> {
    for object in ["gateway/web", "virtualservice/web"] {
        mesh.world.cluster.kubectl(&["wait", "--for=condition=Programmed", object, "--timeout=30s"])?;
        let status: Value =
            serde_json::from_str(&mesh.world.cluster.kubectl(&["get", object, "-o", "jsonpath={.status}"])?)?;
        let conditions = status["conditions"].as_array().context("conditions")?;
        let programmed = conditions.iter().find(|c| c["type"] == "Programmed").context("Programmed")?;
        ensure!(programmed["message"] == "1/1 proxies", "{object}: {status}");
    }
    let proxies = |kubectl: &dyn Fn(&[&str]) -> Result<String>, name: &str| {
        kubectl(&["get", "proxystatus", name, "-o", "jsonpath={.status.proxies}/{.status.synced}"])
    };
    eventually("the workloads' ProxyStatus", PATIENCE, || async {
        let web = proxies(&|args| mesh.world.cluster.kubectl(args), "web")?;
        let gateway = proxies(&|args| mesh.world.system(args), "istio-ingressgateway")?;
        ensure!(web == "1/1" && gateway == "1/1", "{web} {gateway}");
        anyhow::Ok(())
    })
    .await
}
