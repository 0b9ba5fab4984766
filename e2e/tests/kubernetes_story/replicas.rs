//! Two replicas of the control plane: commands ask both, and the state of an object is summed up over the proxies of both.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Mizzen, PATIENCE, eventually};
use serde_json::Value;

use super::world::{World, client, echo};

/// For sidecars of its namespace.
const WITHIN: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  exportTo: ['.']
  hosts: [web]
  http: [{route: [{destination: {host: web, port: {number: 80}}}], timeout: 5s}]
";

#[tokio::test]
async fn replicas_are_asked_together_and_proxies_are_summed_up() -> Result<()> {
    let world = World::enter("replicas").await?;
    scale(&world, 2)?;
    let told = both_tell(&world).await;
    // Other tests have one.
    scale(&world, 1)?;
    told
}

fn scale(world: &World, replicas: u8) -> Result<()> {
    world.system(&["scale", "deployment/istiod", &format!("--replicas={replicas}")])?;
    world.rolled_out("istio-system", "istiod")
}

async fn both_tell(world: &World) -> Result<()> {
    world.run(&[&client(), &echo("web", 2), WITHIN].concat())?;
    let proxies = until_both_have_some(world).await?;
    let sidecars = world.list(&["pods", "--field-selector=status.phase=Running"])?;
    for pod in sidecars.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
        let name = format!("{}.{}", pod["metadata"]["name"].as_str().context("a name")?, world.namespace);
        ensure!(proxies.contains_key(&name), "{name} is not among {proxies:?}");
    }
    world.cluster.wait_ready()?;
    summed_up(world, 3).await?;
    world.cluster.kubectl(&["scale", "deployment/web", "--replicas=1"])?;
    summed_up(world, 2).await
}

/// Each proxy with its replica. Which one it connects to is left to chance: Pods are made until it falls so.
async fn until_both_have_some(world: &World) -> Result<BTreeMap<String, String>> {
    eventually("proxies at both replicas", PATIENCE * 4, || async {
        let proxies = proxies(world)?;
        let replicas: BTreeSet<&String> = proxies.values().collect();
        if replicas.len() < 2 {
            world.cluster.kubectl(&["delete", "pod", "-l", "app=web", "--grace-period=1", "--wait"])?;
            world.cluster.wait_ready()?;
        }
        ensure!(replicas.len() == 2, "{proxies:?}");
        anyhow::Ok(proxies)
    })
    .await
}

/// As `mizzen proxy-status -o yaml` tells it: each proxy once, with all that it was sent acknowledged.
fn proxies(world: &World) -> Result<BTreeMap<String, String>> {
    let kubeconfig = world.cluster.kubeconfig().display().to_string();
    let told = Mizzen::run(&["proxy-status", "-o", "yaml", "--kubeconfig", &kubeconfig])?;
    let text = String::from_utf8_lossy(&told.stdout);
    let list: Vec<Value> = serde_yaml_ng::from_str(&text).with_context(|| text.clone().into_owned())?;
    let mut all = BTreeMap::new();
    for proxy in list.iter().filter(|proxy| proxy["namespace"] == world.namespace) {
        let field =
            |name: &str| Ok::<_, anyhow::Error>(proxy[name].as_str().with_context(|| name.to_owned())?.to_owned());
        for r#type in ["CDS", "EDS", "LDS", "RDS"] {
            ensure!(proxy["types"][r#type]["status"] == "SYNCED", "{text}");
        }
        ensure!(all.insert(field("name")?, field("istiod")?).is_none(), "a proxy is there twice: {text}");
    }
    Ok(all)
}

/// So many sidecars have the routes; they are `web`'s and the client's.
async fn summed_up(world: &World, proxies: usize) -> Result<()> {
    eventually(&format!("{proxies} proxies that have the routes"), PATIENCE, || async {
        let path = "-o=jsonpath={.status.conditions[?(@.type==\"Programmed\")].message}";
        let said = world.cluster.kubectl(&["get", "virtualservice/web", path])?;
        ensure!(said == format!("{proxies}/{proxies} proxies"), "VirtualService: {said}");
        let path = "-o=jsonpath={.status.proxies}/{.status.synced}";
        let said = world.cluster.kubectl(&["get", "proxystatus/web", path])?;
        let own = proxies - 1;
        ensure!(said == format!("{own}/{own}"), "ProxyStatus: {said}");
        anyhow::Ok(())
    })
    .await
}
