//! Validation by a real API server, which asks about configuration by the webhook configurations of an installation.

mod cases;
mod crowd;
mod hostile;
mod stored;
mod world;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{PATIENCE, eventually, free_port};
use serde_json::{Value, json};

use self::world::{DEFAULT, OF_REVISION, World, invalid, post, review, valid};

#[tokio::test]
async fn what_is_wrong_is_told_and_not_stored() -> Result<()> {
    let world = World::start().await?;
    for args in [&[][..], &["--dry-run=server"], &["--server-side"]] {
        let said = world.fails(&invalid("bad"), args)?;
        let expected = "admission webhook \"validation.istio.io\" denied the request: configuration is invalid: \
                        spec.http[0].match[0].uri: ";
        ensure!(said.contains(expected) && said.contains("[MZ"), "{said}");
    }
    // An object of a revision is that revision's.
    let mut of_revision = invalid("bad");
    of_revision["metadata"]["labels"] = json!({"istio.io/rev": "default"});
    let said = world.fails(&of_revision, &[])?;
    ensure!(said.contains("\"rev.validation.istio.io\" denied the request"), "{said}");
    of_revision["metadata"]["labels"] = json!({"istio.io/rev": "canary"});
    world.applies(&of_revision, &["--dry-run=server"])?;
    // All that is wrong, at once.
    let mut twice = invalid("bad");
    twice["spec"]["http"][0]["match"][0]["headers"] = json!({"x": {"regex": "[a"}});
    let said = world.fails(&twice, &[])?;
    ensure!(said.contains("\n  spec.http[0].match[0].uri: "), "{said}");
    ensure!(said.contains("\n  spec.http[0].match[0].headers"), "{said}");
    let all = || world.server.kubectl(&["get", "virtualservices", "--namespace=default", "-o=name"]);
    assert_eq!(all()?, "");
    // An update is judged as well, and an object that was stored stays as it was.
    world.applies(&valid("good"), &[])?;
    world.fails(&invalid("good"), &[])?;
    let regex = "-o=jsonpath={.spec.http[0].match[0].uri.regex}";
    assert_eq!(world.server.kubectl(&["get", "virtualservice/good", regex])?, "/a+");
    world.server.kubectl(&["delete", "virtualservice/good"])?;
    let metrics = world.mizzen.metrics().await?;
    let labels = "group=\"networking.istio.io\",version=\"v1\",resource=\"virtualservices\"";
    for name in ["galley_validation_passed{", "galley_validation_failed{"] {
        let found = metrics.lines().any(|line| line.starts_with(&format!("{name}{labels}")));
        ensure!(found, "no {name} in\n{metrics}");
    }
    Ok(())
}

#[tokio::test]
async fn warnings_and_what_is_not_known_are_told() -> Result<()> {
    let world = World::start().await?;
    let rule = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "d", "namespace": "default"},
        "spec": {"host": "a", "trafficPolicy": {"outlierDetection": {"consecutiveErrors": 5}}},
    });
    let said = world.applies(&rule, &[])?;
    let line = said.lines().find(|line| line.contains("spec.trafficPolicy.outlierDetection.consecutiveErrors"));
    ensure!(line.is_some_and(|line| line.starts_with("Warning: ") && line.contains("[MZ")), "{said}");
    // The API server itself knows the fields.
    let mut unknown = valid("v");
    unknown["spec"]["hotss"] = json!([]);
    let said = world.fails(&unknown, &[])?;
    ensure!(said.contains("unknown field") && said.contains("spec.hotss"), "{said}");
    // A kind of the group that is nobody's.
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "strangers.networking.istio.io"},
        "spec": {
            "group": "networking.istio.io",
            "names": {"kind": "Stranger", "plural": "strangers", "singular": "stranger", "listKind": "StrangerList"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    world.server.apply(&definition.to_string())?;
    world.server.kubectl(&["wait", "--for=condition=Established", "crd/strangers.networking.istio.io"])?;
    let object =
        json!({"apiVersion": "networking.istio.io/v1", "kind": "Stranger", "metadata": {"name": "s"}, "spec": {}});
    let said = world.fails(&object, &["--namespace=default"])?;
    ensure!(said.contains("unrecognized type"), "{said}");
    // At the top of an object the API server drops what it does not know; others may send it.
    let mut top = valid("v");
    top["sepc"] = json!({});
    let reply = world.client()?.send(&post(review(&top))).await?;
    let said: Value = serde_json::from_slice(&reply.body)?;
    let message = said["response"]["status"]["message"].as_str().unwrap_or_default();
    ensure!(message.starts_with("configuration is invalid: sepc: "), "{said}");
    Ok(())
}

#[tokio::test]
async fn objects_are_refused_without_an_answer_only_once_an_invalid_one_was_refused() -> Result<()> {
    let world = World::without_webhooks(&[]).await?;
    let stays = |reason: &'static str| {
        let world = &world;
        eventually("a failure that is told", PATIENCE, move || async move {
            let log = world.mizzen.log();
            ensure!(log.contains(reason), "{log}");
            assert_eq!(world.policies()?, ["Ignore", "Ignore"]);
            anyhow::Ok(())
        })
    };
    // Nobody listens there: what is invalid gets in, and what is valid too.
    world.install("Ignore", free_port()?)?;
    stays("the API server takes an object that is invalid").await?;
    world.applies(&invalid("early"), &[])?;
    world.applies(&valid("valid"), &[])?;
    // Somebody refuses, for another reason.
    world.install_at("Ignore", world.mizzen.https().port(), "/inject")?;
    stays("somebody else refuses the object").await?;
    let failures = "galley_validation_config_update_error{reason=\"no_answer\"}";
    let before = world.mizzen.metric(failures).await?.unwrap_or_default();
    eventually("more failures", PATIENCE, || async {
        let now = world.mizzen.metric(failures).await?.unwrap_or_default();
        ensure!(now > before, "{now}");
        anyhow::Ok(())
    })
    .await?;
    assert_eq!(world.policies()?, ["Ignore", "Ignore"]);
    // Each configuration and reason is told of once, however often it is tried.
    let told = world.mizzen.log().matches("a webhook configuration is not as it should be").count();
    assert_eq!(told, 4, "{}", world.mizzen.log());
    world.install("Ignore", world.mizzen.https().port())?;
    world.until_closed().await?;
    ensure!(world.mizzen.metric("galley_validation_config_updates").await?.is_some_and(|n| n >= 4.0));
    ensure!(world.mizzen.metric("galley_validation_config_load").await?.is_some_and(|n| n >= 1.0));
    // Somebody breaks what the API server trusts, and opens a webhook again.
    let broken = r#"[{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": "Cg=="},
        {"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]"#;
    world.server.kubectl(&["patch", DEFAULT, "--type=json", "-p", broken])?;
    world.until_closed().await?;
    // One of another revision is left alone.
    world.server.kubectl(&["label", OF_REVISION, "--overwrite", "istio.io/rev=canary"])?;
    world.server.kubectl(&["patch", OF_REVISION, "--type=json", "-p", broken])?;
    tokio::time::timeout(Duration::from_secs(60), world.until_asked()).await.context("no refusal")??;
    assert_eq!(world.policies()?, ["Fail", "Ignore"]);
    Ok(())
}
