//! The control plane is killed, rolled, and absent: requests do not notice, and new Pods are injected as soon as it is back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Load, PATIENCE, eventually};

use super::{
    traffic::Traffic,
    validation,
    world::{World, client, echo, exposed, report},
};

/// How long nobody is there.
const ABSENCE: Duration = Duration::from_secs(60);
/// Between two requests to the gateway.
const PAUSE: Duration = Duration::from_millis(50);

#[tokio::test]
async fn requests_go_on_without_the_control_plane_and_pods_are_injected_when_it_is_back() -> Result<()> {
    let world = World::enter("absence").await?;
    world.run(&[client(), echo("web", 2), exposed("web", "")].concat())?;
    validation::what_is_wrong_is_told_and_not_stored(&world).await?;
    let (client, request) = world.served("web").await?;
    let mut sidecar = Traffic::start(&world, "absence", "http://web/")?;
    let gateway = Load::paced(&client, &request, 1, PAUSE);
    sidecar.more(20).await?;

    world.system(&["delete", "pod", "-l", "app=istiod", "--grace-period=0", "--force"])?;
    world.rolled_out("istio-system", "istiod")?;
    sidecar.more(40).await?;

    world.system(&["rollout", "restart", "deployment/istiod"])?;
    world.rolled_out("istio-system", "istiod")?;
    sidecar.more(40).await?;

    be_absent(&world).await?;
    sidecar.more(40).await?;
    let (sidecar, gateway) = (sidecar.stop_unharmed().await?, gateway.stop_unharmed().await?);
    report(&format!("absence: sidecar {sidecar}; gateway {gateway}"))?;
    ensure!(sidecar.requests() > 500 && gateway.replies() > 500, "too few requests");
    Ok(())
}

/// Pods that are made meanwhile wait for their proxies: they are refused, and made when it is back.
async fn be_absent(world: &World) -> Result<()> {
    let since = Instant::now();
    world.system(&["scale", "deployment/istiod", "--replicas=0"])?;
    world.system(&["wait", "--for=delete", "pod", "-l", "app=istiod", "--timeout=60s"])?;
    world.cluster.kubectl(&["scale", "deployment/web", "--replicas=3"])?;
    eventually("the refusal of a Pod without its proxy", PATIENCE, || async {
        let events = world.cluster.kubectl(&["get", "events", "--field-selector=reason=FailedCreate"])?;
        ensure!(events.contains("sidecar-injector.istio.io"), "{events}");
        anyhow::Ok(())
    })
    .await?;
    validation::nothing_is_stored_unjudged(world)?;
    tokio::time::sleep(ABSENCE.saturating_sub(since.elapsed())).await;
    assert_eq!(web_pods(world)?.len(), 2, "one came without its proxy");
    world.system(&["scale", "deployment/istiod", "--replicas=1"])?;
    world.rolled_out("istio-system", "istiod")?;
    // Whoever is asked for a new Pod now gets it; ReplicaSets try again by themselves, later each time.
    world.cluster.kubectl(&["rollout", "restart", "deployment/web"])?;
    world.rolled_out(world.namespace, "web")?;
    let pods = web_pods(world)?;
    ensure!(pods.iter().all(|containers| *containers == 2), "containers of Pods: {pods:?}");
    Ok(())
}

/// How many containers are ready, of each Pod of `web` that is not to end.
fn web_pods(world: &World) -> Result<Vec<usize>> {
    let pods = world.list(&["pods", "-l", "app=web"])?;
    let stays = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    stays
        .map(|pod| {
            let lists = [&pod["status"]["initContainerStatuses"], &pod["status"]["containerStatuses"]];
            let all = lists.into_iter().filter_map(|list| list.as_array()).flatten();
            let ready = all.filter(|c| c["ready"] == true && c["state"]["running"].is_object()).count();
            pod["status"].is_object().then_some(ready).context("a Pod without status")
        })
        .collect()
}
