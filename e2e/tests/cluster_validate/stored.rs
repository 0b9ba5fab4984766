//! Objects that were stored before anybody looked at them.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{PATIENCE, eventually};
use serde_json::{Value, json};

use crate::world::{World, invalid, matching, post, review, undecodable, valid};

/// How soon there is another event about an object.
const PAUSE: Duration = Duration::from_secs(90);

fn accepted(world: &World, object: &str) -> Result<(String, String)> {
    let get = |field: &str| {
        let path = format!("-o=jsonpath={{.status.conditions[?(@.type==\"Accepted\")].{field}}}");
        world.server.kubectl(&["get", object, "--namespace=default", &path])
    };
    Ok((get("status")?, get("message")?))
}

/// Waits until the condition of an object is so; its message.
async fn until(world: &World, object: &str, status: &str) -> Result<String> {
    eventually(&format!("{object} to be Accepted={status}"), PATIENCE, || async {
        let (found, message) = accepted(world, object)?;
        ensure!(found == status, "{found:?} {message}");
        anyhow::Ok(message)
    })
    .await
    .with_context(|| world.mizzen.log())
}

async fn until_events(world: &World, name: &str, count: usize, patience: Duration) -> Result<Vec<String>> {
    eventually(&format!("{count} events about {name}"), patience, || async {
        let events = world.events(name).await?;
        ensure!(events.len() == count, "{events:?}");
        anyhow::Ok(events)
    })
    .await
    .with_context(|| world.mizzen.log())
}

/// What the webhook says of an object.
async fn refusal(world: &World, object: &Value) -> Result<String> {
    let reply = world.client()?.send(&post(review(object))).await?;
    let said: Value = serde_json::from_slice(&reply.body)?;
    let message = said["response"]["status"]["message"].as_str().with_context(|| said.to_string())?;
    Ok(message.to_owned())
}

#[tokio::test]
async fn what_is_invalid_is_told_by_a_condition_a_metric_and_one_event() -> Result<()> {
    // There are no webhooks.
    let mut world = World::without_webhooks(&[]).await?;
    world.applies(&invalid("bad"), &[])?;
    world.applies(&valid("good"), &[])?;
    let entry = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "entry", "namespace": "default"},
        "spec": {"hosts": ["a..example.com"], "resolution": "DNS", "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]},
    });
    world.applies(&entry, &[])?;
    for (object, kind, name) in [(&invalid("bad"), "virtualservice", "bad"), (&entry, "serviceentry", "entry")] {
        let message = until(&world, &format!("{kind}/{name}"), "False").await?;
        let refusal = refusal(&world, object).await?;
        ensure!(refusal.starts_with(&format!("configuration is invalid: {message}")), "{message}\n{refusal}");
        let events = until_events(&world, name, 1, PATIENCE).await?;
        assert_eq!(events[0], message);
        let metric = world.mizzen.metrics().await?;
        ensure!(metric.contains(&format!("name=\"{name}\",field=\"spec.")), "{metric}");
    }
    let described = world.server.kubectl(&["describe", "virtualservice/bad", "--namespace=default"])?;
    ensure!(described.contains("Warning") && described.contains("Invalid"), "{described}");
    until(&world, "virtualservice/good", "True").await?;
    // It goes down and comes back: nothing has changed.
    world.mizzen.restart().await?;
    world.server.kubectl(&["annotate", "virtualservice/bad", "--namespace=default", "example.com/note=x"])?;
    // What comes later is told after what would have come before.
    world.applies(&invalid("later"), &[])?;
    until_events(&world, "later", 1, PATIENCE * 3).await?;
    for name in ["bad", "entry"] {
        assert_eq!(world.events(name).await?.len(), 1, "{name}");
    }
    // Something else is wrong with it, then nothing.
    world.applies(&matching("bad", "[b"), &[])?;
    let events = until_events(&world, "bad", 2, PAUSE).await?;
    ensure!(events[0] != events[1], "{events:?}");
    world.applies(&valid("bad"), &[])?;
    until(&world, "virtualservice/bad", "True").await?;
    assert_eq!(world.events("good").await?, Vec::<String>::new());
    assert_eq!(world.events("bad").await?.len(), 2);
    Ok(())
}

/// Objects that an API server took by another definition of their kind: whoever reads them cannot.
#[tokio::test]
async fn what_cannot_be_read_is_told_as_what_is_invalid() -> Result<()> {
    const PROBLEM: &str = "spec.hosts: invalid type: integer `5`, expected a sequence [MZ0004]";
    let mut world = World::without_webhooks(&[]).await?;
    world.applies(&valid("was"), &[])?;
    until(&world, "virtualservice/was", "True").await?;
    world.be_lax(true).await?;
    world.applies(&undecodable("now"), &[])?;
    assert_eq!(until(&world, "virtualservice/now", "False").await?, PROBLEM);
    let refusal = refusal(&world, &undecodable("now")).await?;
    ensure!(refusal.starts_with(&format!("configuration is invalid: {PROBLEM}")), "{refusal}");
    // Stored while nobody looked; then the definition is the right one, which they do not fit.
    world.mizzen.kill();
    world.applies(&undecodable("was"), &[])?;
    world.applies(&undecodable("new"), &[])?;
    world.be_lax(false).await?;
    world.mizzen.restart().await?;
    for name in ["was", "new", "now"] {
        assert_eq!(until(&world, &format!("virtualservice/{name}"), "False").await?, PROBLEM);
        assert_eq!(until_events(&world, name, 1, PATIENCE).await?, [PROBLEM]);
        let metric = world.mizzen.metrics().await?;
        ensure!(metric.contains(&format!("name=\"{name}\",field=\"spec.hosts\"")), "{metric}");
    }
    let told = "-o=jsonpath={range .status.conditions[*]}{.type}={.status} {.observedGeneration} {end}";
    let told = world.server.kubectl(&["get", "virtualservice/was", "--namespace=default", told])?;
    assert_eq!(told.trim(), "Accepted=False 2 Programmed=False 2", "nobody has this version");
    world.applies(&valid("was"), &[])?;
    until(&world, "virtualservice/was", "True").await?;
    world.server.kubectl(&["delete", "virtualservice/new", "--namespace=default"])?;
    eventually("nothing to be wrong with what is gone or mended", PATIENCE, || async {
        let metric = world.mizzen.metrics().await?;
        let told = |name: &&str| metric.contains(&format!("name=\"{name}\",field=\"spec.hosts\""));
        ensure!(!["was", "new"].iter().any(told), "{metric}");
        anyhow::Ok(())
    })
    .await
}
