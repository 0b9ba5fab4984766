//! The state of the mesh in a real cluster, as people ask for it: `mizzen proxy-status`, the real istioctl, and kubectl.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Cluster, Installed, Mizzen, PATIENCE, SYSTEM, eventually, istioctl};
use serde_json::Value;

/// A workload with a sidecar, which the gateway leads to.
const OBJECTS: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: nginx, image: 'nginx:local', ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: status}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['status.test']}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [status.test]
  gateways: [status]
  http: [{route: [{destination: {host: web}}]}]
";

/// Who runs commands against the installed mesh.
struct Mesh {
    installed: Installed,
    cluster: Cluster,
}

impl Mesh {
    fn new() -> Result<Self> {
        let installed = Installed::get()?;
        let cluster = Cluster::namespace("status")?;
        cluster.kubectl(&["label", "namespace", "status", "istio-injection=enabled"])?;
        cluster.apply(OBJECTS)?;
        cluster.wait_ready()?;
        Ok(Self { installed, cluster })
    }

    /// Runs a command of mizzen: its exit code and what it prints.
    fn mizzen(&self, args: &[&str]) -> Result<(i32, String)> {
        let kubeconfig = self.cluster.kubeconfig().display().to_string();
        let Output { status, stdout, stderr } = Mizzen::run(&[args, &["--kubeconfig", &kubeconfig]].concat())?;
        let said = [stdout, stderr].concat();
        Ok((status.code().context("a signal")?, String::from_utf8_lossy(&said).into_owned()))
    }

    fn istioctl(&self, args: &[&str]) -> Result<String> {
        istioctl(self.cluster.kubeconfig(), args)
    }

    fn pod(&self, labels: &str, system: bool) -> Result<String> {
        let args = ["get", "pods", "-l", labels, "-o", "jsonpath={.items[0].metadata.name}"];
        if system { self.installed.kubectl(&args) } else { self.cluster.kubectl(&args) }
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
    let mesh = Mesh::new()?;
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
        let all = mesh.istioctl(&["proxy-config", what, sidecar])?;
        ensure!(all.lines().count() > 2, "{what}: {all}");
    }
    Ok(())
}

async fn as_objects_say(mesh: &Mesh) -> Result<()> {
    for object in ["gateway/status", "virtualservice/web"] {
        mesh.cluster.kubectl(&["wait", "--for=condition=Programmed", object, "--timeout=30s"])?;
        let status: Value =
            serde_json::from_str(&mesh.cluster.kubectl(&["get", object, "-o", "jsonpath={.status}"])?)?;
        let conditions = status["conditions"].as_array().context("conditions")?;
        let programmed = conditions.iter().find(|c| c["type"] == "Programmed").context("Programmed")?;
        ensure!(programmed["message"] == "1/1 proxies", "{object}: {status}");
    }
    let proxies = |kubectl: &dyn Fn(&[&str]) -> Result<String>, name: &str| {
        kubectl(&["get", "proxystatus", name, "-o", "jsonpath={.status.proxies}/{.status.synced}"])
    };
    eventually("the workloads' ProxyStatus", PATIENCE, || async {
        let web = proxies(&|args| mesh.cluster.kubectl(args), "web")?;
        let gateway = proxies(&|args| mesh.installed.kubectl(args), "istio-ingressgateway")?;
        ensure!(web == "1/1" && gateway == "1/1", "{web} {gateway}");
        anyhow::Ok(())
    })
    .await
}
