//! Many objects at once, while the control plane goes down and comes back.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt as _, stream};
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams, PostParams},
};
use mizzen_e2e::Mizzen;

use crate::world::{World, invalid, valid};

/// How many objects there are, half of them invalid.
const OBJECTS: usize = 1000;
/// How many are sent at once.
const AT_ONCE: usize = 32;

/// Whether an object is taken, and what is said otherwise.
async fn create(api: &Api<DynamicObject>, number: usize) -> Result<String, String> {
    let name = format!("v-{number}");
    let object = if number.is_multiple_of(2) { valid(&name) } else { invalid(&name) };
    let object = serde_json::from_value(object).map_err(|e| e.to_string())?;
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(name),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(name),
        Err(error) => Err(error.to_string()),
    }
}

/// Sends objects, until `attempts` are over or they are taken; which were, and what was said of the others last.
async fn create_all(api: &Api<DynamicObject>, attempts: usize) -> Vec<Result<String, String>> {
    let one = |number: usize| async move {
        let mut result = Err("not sent".to_owned());
        for _ in 0..attempts {
            result = create(api, number).await;
            if result.is_ok() || number % 2 == 1 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        }
        result
    };
    stream::iter(0..OBJECTS).map(one).buffer_unordered(AT_ONCE).collect().await
}

async fn stored(api: &Api<DynamicObject>) -> Result<BTreeSet<String>> {
    Ok(api.list(&ListParams::default()).await?.items.iter().map(|object| object.name_any()).collect())
}

/// Asked to end, and killed, and started again each time.
async fn disturb(mizzen: &mut Mizzen) -> Result<()> {
    mizzen.terminate().await?;
    mizzen.restart().await?;
    mizzen.kill();
    mizzen.restart().await
}

#[tokio::test]
async fn once_it_is_fail_nothing_invalid_gets_in_whatever_happens() -> Result<()> {
    let mut world = World::start().await?;
    let api = world.objects("VirtualService", "virtualservices").await?;
    let (results, disturbed) = tokio::join!(create_all(&api, 120), disturb(&mut world.mizzen));
    disturbed?;
    let refused: Vec<&String> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!(refused.len(), OBJECTS / 2, "{:?}", refused.first());
    let told = refused.iter().filter(|said| said.contains("configuration is invalid: spec.http[0]")).count();
    let failed = refused.iter().filter(|said| said.contains("failed calling webhook")).count();
    assert_eq!(told + failed, refused.len(), "{:?}", refused.first());
    ensure!(told > 0, "{:?}", refused.first());
    let stored = stored(&api).await?;
    assert_eq!(stored, (0..OBJECTS).step_by(2).map(|number| format!("v-{number}")).collect());
    Ok(())
}

#[tokio::test]
async fn as_long_as_it_is_ignore_nothing_valid_is_lost() -> Result<()> {
    // Which it stays.
    let mut world = World::without_webhooks(&[("VALIDATION_WEBHOOK_CONFIG_NAME", "")]).await?;
    world.install("Ignore", world.mizzen.https().port())?;
    world.trust()?;
    world.until_asked().await.context("it is asked all the same")?;
    let api = world.objects("VirtualService", "virtualservices").await?;
    let (results, disturbed) = tokio::join!(create_all(&api, 1), disturb(&mut world.mizzen));
    disturbed?;
    let stored = stored(&api).await?;
    for number in (0..OBJECTS).step_by(2) {
        ensure!(stored.contains(&format!("v-{number}")), "v-{number} is lost");
    }
    ensure!(results.iter().any(Result::is_err), "the webhook is there most of the time");
    assert_eq!(world.policies()?, ["Ignore", "Ignore"]);
    Ok(())
}
