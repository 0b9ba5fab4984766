//! Names that only the mesh knows, for a Pod that asks its usual resolver (`ISTIO_META_DNS_CAPTURE`).

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Deployment, PATIENCE, eventually};

use super::world::World;

const HOST: &str = "only.mesh.example";
const ADDRESS: &str = "240.250.0.1";

/// A Pod whose questions the agent answers. Its proxy's settings are given as many people give them: for the Pod alone.
pub(crate) fn resolver() -> String {
    let captured = [("proxy.istio.io/config", "{proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}}")];
    Deployment::new("resolver", "curl").annotated(&captured).ending_at_once().yaml()
}

/// The host is known to the one Pod, and to no other; what the mesh does not know is asked of the cluster's server.
pub(crate) async fn a_host_of_the_mesh_resolves(world: &World, endpoint: &str) -> Result<()> {
    world.cluster.apply(&format!(
        "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: only}}, spec: {{hosts: [{HOST}], \
         addresses: [{ADDRESS}], ports: [{{number: 80, name: http, protocol: HTTP}}], resolution: STATIC, \
         endpoints: [{{address: {endpoint}}}]}}}}"
    ))?;
    let resolved = |workload: &str, host: &str| {
        let script = format!("getent ahostsv4 {host} | head -n 1 | cut -d ' ' -f 1");
        Ok::<_, anyhow::Error>(world.exec(workload, "curl", &["bash", "-c", &script])?.trim().to_owned())
    };
    let url = format!("http://{HOST}/only");
    let command = ["curl", "-sS", "--fail", "--max-time", "10", &url];
    let said = eventually("an answer of the host", PATIENCE, || async {
        let address = resolved("deploy/resolver", HOST)?;
        ensure!(address == ADDRESS, "it is at {address:?}");
        world.exec("deploy/resolver", "curl", &command)
    })
    .await?;
    let echo: mizzen_e2e::Echo = serde_json::from_str(&said)?;
    assert_eq!(echo.host, HOST);
    assert_eq!(resolved("deploy/client", HOST)?, "", "the cluster's own server knows it");
    let service = world.cluster.kubectl(&["get", "service/web", "-o=jsonpath={.spec.clusterIP}"])?;
    assert_eq!(resolved("deploy/resolver", "web")?, service);
    // What only the cluster's own server knows.
    let of_pod = format!("{}.{}.pod.cluster.local", endpoint.replace('.', "-"), world.namespace);
    assert_eq!(resolved("deploy/resolver", &of_pod)?, endpoint);
    eventually("the line of the access log", PATIENCE, || async {
        let log = world.cluster.kubectl(&["logs", "deploy/resolver", "-c", "istio-proxy"])?;
        let line =
            log.lines().find(|line| line.contains("\"GET /only HTTP/1.1\" 200 ")).with_context(|| log.clone())?;
        ensure!(line.contains(&format!("\"{endpoint}:80\" outbound|80||{HOST} ")), "{line}");
        anyhow::Ok(())
    })
    .await
}
