//! Certificates and roots are replaced under requests, and none fails.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{PATIENCE, eventually};

use super::{
    traffic::Traffic,
    world::{SHORT_LIVES, World, client_with, echo_with, many_handshakes, report},
};

/// How many certificates the agents of both workloads have had.
fn certificates(world: &World) -> Result<[u64; 2]> {
    let count = |workload: &str| {
        let command = ["curl", "-sS", "http://localhost:15020/stats/prometheus"];
        let text = world.exec(&format!("deploy/{workload}"), "istio-proxy", &command)?;
        let line = text.lines().find_map(|line| line.strip_prefix("istio_agent_certificates_total "));
        Ok::<u64, anyhow::Error>(line.context("no such metric")?.parse()?)
    };
    Ok([count("client")?, count("echo")?])
}

#[tokio::test]
async fn certificates_and_roots_are_replaced_and_no_request_fails() -> Result<()> {
    let world = World::enter("rotation").await?;
    world.run(&[client_with(SHORT_LIVES), echo_with("echo", 1, SHORT_LIVES), many_handshakes("echo")].concat())?;
    let mut traffic = Traffic::start(&world, "rotation", "http://echo/")?;
    traffic.more(20).await?;
    let before = certificates(&world)?;
    eventually("three more certificates for both", Duration::from_secs(60), || async {
        let now = certificates(&world)?;
        ensure!(now.iter().zip(before).all(|(now, before)| *now >= before + 3), "{before:?}, now {now:?}");
        anyhow::Ok(())
    })
    .await?;
    let first = world.roots()?;
    // Each look at the root finds that it is to be renewed.
    rotate_roots(&world, true)?;
    let mut roots = vec![first];
    while roots.len() < 4 {
        let last = roots[roots.len() - 1].clone();
        let next = eventually("another root", PATIENCE * 2, || async {
            let now = world.roots()?;
            ensure!(now != last, "the same");
            anyhow::Ok(now)
        })
        .await?;
        roots.push(next);
        traffic.more(40).await?;
    }
    rotate_roots(&world, false)?;
    // What was issued meanwhile is in use.
    let issued = certificates(&world)?;
    eventually("certificates of the new root", PATIENCE, || async {
        ensure!(certificates(&world)?.iter().zip(issued).all(|(now, before)| *now > before), "not yet");
        anyhow::Ok(())
    })
    .await?;
    traffic.more(40).await?;
    let outcome = traffic.stop_unharmed().await?;
    report(&format!(
        "rotation: certificates {before:?} to {:?}, {} roots: {outcome}",
        certificates(&world)?,
        roots.len()
    ))
}

fn rotate_roots(world: &World, again_and_again: bool) -> Result<()> {
    let variables = [
        ("CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE", "100"),
        ("CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL", "8s"),
    ];
    let set =
        variables.map(|(name, value)| if again_and_again { format!("{name}={value}") } else { format!("{name}-") });
    world.system(&["set", "env", "deployment/istiod", &set[0], &set[1]])?;
    world.rolled_out("istio-system", "istiod")
}
