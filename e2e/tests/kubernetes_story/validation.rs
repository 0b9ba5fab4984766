//! Configuration is judged before it is stored: the API server asks the control plane at its Service.

use anyhow::{Result, ensure};
use mizzen_e2e::{PATIENCE, eventually};

use super::world::World;

/// Those of an installation.
const CONFIGURATIONS: [&str; 2] = ["istiod-default-validator", "istio-validator-istio-system"];

/// A VirtualService with one more field in its only rule.
fn virtual_service(name: &str, rule: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {{name: {name}}}, \
         spec: {{hosts: [{name}.example.dev], http: [{{{rule}}}]}}}}"
    )
}

fn stored(world: &World) -> Result<String> {
    world.cluster.kubectl(&["get", "virtualservices", "-o=name"])
}

/// Invalid is refused with the reason, what has no effect is told of, and a dry run says the same of both.
pub(crate) async fn what_is_wrong_is_told_and_not_stored(world: &World) -> Result<()> {
    eventually("webhooks that refuse", PATIENCE, || async {
        for name in CONFIGURATIONS {
            let webhook = "-o=jsonpath={.webhooks[0].failurePolicy} {.webhooks[0].clientConfig.service.name}";
            let said = world.system(&["get", "validatingwebhookconfiguration", name, webhook])?;
            ensure!(said == "Fail istiod", "{name}: {said}");
        }
        anyhow::Ok(())
    })
    .await?;
    let before = stored(world)?;
    let wrong = virtual_service("wrong", "match: [{uri: {regex: '/(a'}}], route: [{destination: {host: web}}]");
    let (taken, said) = world.cluster.try_apply(&wrong, &["--dry-run=server"])?;
    ensure!(!taken && said.contains("denied the request"), "{said}");
    let (taken, said) = world.cluster.try_apply(&wrong, &[])?;
    let reason = "admission webhook \"validation.istio.io\" denied the request: configuration is invalid: \
                  spec.http[0].match[0].uri";
    ensure!(!taken && said.contains(reason) && said.contains("[MZ"), "{said}");
    let odd = virtual_service("odd", "timeout: 5s, redirect: {uri: /elsewhere}");
    let warning = "Warning: spec.http[0].timeout: has no effect beside redirect [MZ0102]";
    let (taken, said) = world.cluster.try_apply(&odd, &["--dry-run=server"])?;
    ensure!(taken && said.contains(warning), "{said}");
    assert_eq!(stored(world)?, before, "a dry run or a refusal has stored something");
    let (taken, said) = world.cluster.try_apply(&odd, &[])?;
    ensure!(taken && said.contains(warning), "{said}");
    world.cluster.kubectl(&["delete", "virtualservice/odd"]).map(drop)
}

/// Nobody is there who could judge.
pub(crate) fn nothing_is_stored_unjudged(world: &World) -> Result<()> {
    let before = stored(world)?;
    let good = virtual_service("good", "route: [{destination: {host: web}}]");
    for args in [&[][..], &["--dry-run=server"]] {
        let (taken, said) = world.cluster.try_apply(&good, args)?;
        ensure!(!taken && said.contains("failed calling webhook \"validation.istio.io\""), "{said}");
    }
    assert_eq!(stored(world)?, before, "it is stored");
    Ok(())
}
