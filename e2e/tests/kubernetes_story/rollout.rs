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

#[tokio::test]
async fn no_request_fails_while_a_deployment_is_rolled_out_and_scaled() -> Result<()> {
    let world = World::enter("rollout").await?;
    world.run(&[client(), echo("web", REPLICAS), exposed("web", "")].concat())?;
    let failures = turn_over(&world, "retried").await?;
    ensure!(failures == 0, "{failures} requests failed, although they are tried again");
    // The second run is only told of.
    world.cluster.apply(&exposed("web", ", retries: {attempts: 0}"))?;
    world.cluster.apply(WITHOUT_RETRIES)?;
    turn_over(&world, "not-retried").await?;
    Ok(())
}

/// Replaces all Pods, then all but one go and come back. Tells how many requests failed.
async fn turn_over(world: &World, name: &str) -> Result<u64> {
    let mut sidecar = Traffic::start(world, &format!("{name}-1"), "http://web/")?;
    let mut sidecar_http2 = Traffic::start_http2(world, &format!("{name}-2"), "http://web:81/")?;
    let (client, request) = world.served("web").await?;
    let whole = |version| Load::paced(&client.clone().version(version), &request, 1, PAUSE);
    let (gateway, gateway_http2) = (whole(HttpVersion::Http1), whole(HttpVersion::Http2));
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
    let (gateway, gateway_http2) = (gateway.stop().await, gateway_http2.stop().await);
    report(&format!("{name}: sidecar {sidecar}, HTTP/2 {sidecar_http2}; gateway {gateway}; HTTP/2 {gateway_http2}"))?;
    let ways = [gateway.replies(), gateway_http2.replies(), sidecar.requests(), sidecar_http2.requests()];
    ensure!(ways.iter().all(|requests| *requests > 100), "too few requests: {ways:?}");
    Ok(sidecar.failures() + sidecar_http2.failures() + gateway.failures() + gateway_http2.failures())
}
