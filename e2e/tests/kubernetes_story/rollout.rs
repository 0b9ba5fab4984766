//! Pods come and go under requests through sidecars and the gateway. They have a preStop of three seconds.

use std::time::Duration;

use anyhow::{Result, ensure};
use mizzen_e2e::{HttpVersion, Load};

use super::{
    traffic::Traffic,
    world::{World, client, echo, exposed, report},
};

const REPLICAS: usize = 20;
/// Between two requests of a connection to the gateway.
const PAUSE: Duration = Duration::from_millis(40);

/// For requests of the mesh.
const WITHOUT_RETRIES: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web-in-mesh}
spec:
  hosts: [web]
  http:
  - {match: [{port: 80}], route: [{destination: {host: web, port: {number: 80}}}], retries: {attempts: 0}}
  - {match: [{port: 81}], route: [{destination: {host: web, port: {number: 81}}}], retries: {attempts: 0}}
";

/// Requests for `web-http2.example.dev` go from the gateway to the port that speaks HTTP/2; `more` is said of the route.
fn over_http2(more: &str) -> String {
    format!(
        "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web-http2}}
spec:
  hosts: [web-http2.example.dev]
  gateways: [web]
  http: [{{route: [{{destination: {{host: web, port: {{number: 81}}}}}}]{more}}}]
---
"
    )
}

#[tokio::test]
async fn no_request_fails_while_a_deployment_is_rolled_out_and_scaled() -> Result<()> {
    let world = World::enter("rollout").await?;
    world.run(&[client(), echo("web", REPLICAS), exposed("web", ""), over_http2("")].concat())?;
    let failures = turn_over(&world, "retried").await?;
    ensure!(failures == 0, "{failures} requests failed, although they are tried again");
    // The second run is only told of.
    let without = ", retries: {attempts: 0}";
    world.cluster.apply(&[&exposed("web", without), &over_http2(without), WITHOUT_RETRIES].concat())?;
    turn_over(&world, "not-retried").await?;
    Ok(())
}

/// Replaces all Pods, then all but one go and come back. Tells how many requests failed.
async fn turn_over(world: &World, name: &str) -> Result<u64> {
    let mut sidecar = Traffic::start(world, &format!("{name}-1"), "http://web/")?;
    let mut sidecar_http2 = Traffic::start_http2(world, &format!("{name}-2"), "http://web:81/")?;
    let mut gateway = Vec::new();
    // From the client to the gateway, and from there to the workload.
    for (way, host, version) in [
        ("1 and 1", "web", HttpVersion::Http1),
        ("2 and 1", "web", HttpVersion::Http2),
        ("1 and 2", "web-http2", HttpVersion::Http1),
    ] {
        let (client, request) = world.served(host).await?;
        gateway.push((way, Load::paced(&client.version(version), &request, 1, PAUSE)));
    }
    sidecar.more(20).await?;
    sidecar_http2.more(20).await?;
    world.cluster.kubectl(&["rollout", "restart", "deployment/web"])?;
    world.rolled_out(world.namespace, "web")?;
    for replicas in [1, REPLICAS] {
        world.cluster.kubectl(&["scale", "deployment/web", &format!("--replicas={replicas}")])?;
        world.rolled_out(world.namespace, "web")?;
        // Those that end are asked for their last seconds.
        sidecar.more(100).await?;
    }
    let (sidecar, sidecar_http2) = (sidecar.stop().await?, sidecar_http2.stop().await?);
    let (mut ways, mut failures) = (vec![sidecar.requests(), sidecar_http2.requests()], 0);
    report(&format!("{name}: sidecar {sidecar}, HTTP/2 {sidecar_http2}"))?;
    for (way, load) in gateway {
        let tally = load.stop().await;
        report(&format!("{name}: gateway, HTTP/{way}: {tally}"))?;
        ways.push(tally.replies());
        failures += tally.failures();
    }
    ensure!(ways.iter().all(|requests| *requests > 100), "too few requests: {ways:?}");
    Ok(sidecar.failures() + sidecar_http2.failures() + failures)
}
