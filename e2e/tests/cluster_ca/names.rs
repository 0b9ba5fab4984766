//! Whose name the control plane's own certificate has.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use mizzen_e2e::{
    PATIENCE, eventually,
    workload::{connect, openssl},
};

use crate::world::World;

/// Where a control plane of Istio's names is found.
const USUAL: [&str; 3] = ["istiod.istio-system.svc", "istiod-remote.istio-system.svc", "istio-pilot.istio-system.svc"];

/// What has proxies know it by another name, or address.
fn mesh(discovery: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: ConfigMap, metadata: {{name: istio, namespace: istio-system}}, \
         data: {{mesh: \"defaultConfig: {{discoveryAddress: '{discovery}'}}\"}}}}"
    )
}

/// Shakes hands with it as a client that knows it by this name (`-verify_hostname`) or address (`-verify_ip`).
fn shake(address: SocketAddr, root: &str, verify: [&str; 2]) -> Result<String> {
    let dir = tempfile::tempdir()?;
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, root)?;
    let roots = roots.to_str().context("a path")?;
    let address = address.to_string();
    openssl(
        &[
            "s_client",
            "-connect",
            &address,
            "-CAfile",
            roots,
            "-verify_return_error",
            "-alpn",
            "h2",
            verify[0],
            verify[1],
        ],
        "",
    )
}

#[tokio::test]
async fn the_serving_certificate_has_the_name_by_which_proxies_know_the_control_plane() -> Result<()> {
    let world = World::start().await?;
    world.server.apply(&mesh("mesh.corp.example:15012"))?;
    let mizzen = world.mizzen().await?;
    let (address, root) = (mizzen.secure_grpc(), world.kept_root()?);
    let told = async |verify: [&str; 2]| {
        eventually(&format!("a certificate for {verify:?}"), PATIENCE, || async { shake(address, &root, verify) }).await
    };
    told(["-verify_hostname", "mesh.corp.example"]).await?;
    for name in USUAL {
        shake(address, &root, ["-verify_hostname", name]).with_context(|| format!("with the name {name}"))?;
    }
    ensure!(shake(address, &root, ["-verify_hostname", "other.corp.example"]).is_err(), "it has any name");

    // While it runs: an address, as which it stands in the certificate, and one that is none.
    world.server.apply(&mesh("192.0.2.7:15012"))?;
    told(["-verify_ip", "192.0.2.7"]).await?;
    ensure!(shake(address, &root, ["-verify_hostname", "mesh.corp.example"]).is_err(), "it has the name of before");
    world.server.apply(&mesh("no address"))?;
    eventually("the address to be gone", PATIENCE, || async {
        ensure!(shake(address, &root, ["-verify_ip", "192.0.2.7"]).is_err(), "it is there");
        anyhow::Ok(())
    })
    .await?;
    connect(address, &root, None).await?;
    Ok(())
}
