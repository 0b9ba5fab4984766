//! Every case of validation, by a real API server: what the definitions and the webhook refuse together is what validation
//! says, and what is valid is taken.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt as _, stream};
use kube::{
    Api, Client,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind},
};
use mizzen::{
    api::Kind,
    validate::{Code, Severity},
};
use mizzen_e2e::ValidationCase;
use serde_json::{Value, json};

use crate::world::{World, post, review};

/// How many are sent at once.
const AT_ONCE: usize = 8;

/// The codes of a case that are errors.
fn errors(case: &ValidationCase) -> Vec<Code> {
    let codes = case.findings.iter().filter_map(|finding| finding.split(' ').next()?.parse::<Code>().ok());
    codes.filter(|code| code.severity() == Severity::Error).collect()
}

/// The kind of an object that an API server can be sent: of a group and version that it serves, and with a name.
fn served(object: &Value) -> Option<(Kind, &str)> {
    let (group, version) = object["apiVersion"].as_str()?.split_once('/')?;
    let kind = Kind::from_group_kind(group, object["kind"].as_str()?)?;
    let is_served = kind.is_custom() && kind.versions().contains(&version) && object["metadata"]["name"].is_string();
    is_served.then_some((kind, version))
}

fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or("default")
}

/// What an API server says of an object; `None` when it takes it.
async fn refusal(client: &Client, object: &Value) -> Result<Option<String>> {
    let (kind, version) = served(object).context("a kind that is served")?;
    let of_version = GroupVersionKind::gvk(kind.group(), version, kind.kind());
    let resource = ApiResource::from_gvk_with_plural(&of_version, kind.plural());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace(object), &resource);
    let path = format!("{}?dryRun=All", api.resource_url());
    let request = http::Request::post(path).header("content-type", "application/json");
    let request = request.body(object.to_string().into_bytes())?;
    match client.request::<Value>(request).await {
        Ok(_) => Ok(None),
        Err(kube::Error::Api(status)) => Ok(Some(status.message.clone())),
        Err(error) => Err(error.into()),
    }
}

/// What is not as it should be with a case.
async fn by_api_server(client: &Client, case: &ValidationCase) -> Option<String> {
    let errors = errors(case);
    // What is wrong at the top of an object never reaches a webhook, or the object has no name in a URL.
    if served(&case.object).is_none() || errors.iter().any(|code| code.id() < "MZ0009") {
        return None;
    }
    match refusal(client, &case.object).await {
        Err(error) => Some(format!("{error:#}")),
        Ok(None) if errors.is_empty() => None,
        Ok(None) => Some(format!("{errors:?}: it is taken")),
        Ok(Some(said)) if said.contains("configuration is invalid") => {
            let told = errors.iter().any(|code| said.contains(&format!("[{code}]")));
            (!told).then(|| format!("{errors:?}: the webhook says {said}"))
        }
        // Definitions refuse nothing that is not an error.
        Ok(Some(said)) => errors.is_empty().then(|| format!("its definition refuses it: {said}")),
    }
}

/// The same by the webhook alone, which sees all that there is.
async fn by_webhook(client: &mizzen_e2e::Client, case: &ValidationCase) -> Option<String> {
    let reply = match client.send(&post(review(&case.object))).await {
        Ok(reply) if reply.status == 200 => reply,
        Ok(reply) => return Some(format!("{} {}", reply.status, reply.text())),
        Err(error) => return Some(format!("{error:#}")),
    };
    let said: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    let (response, errors) = (&said["response"], errors(case));
    let message = response["status"]["message"].as_str().unwrap_or_default();
    let warnings = response["warnings"].to_string();
    let missing = |finding: &&String| {
        let code = finding.split(' ').next().unwrap_or_default();
        let is_error = errors.iter().any(|error| error.id() == code);
        let is_info = code.parse::<Code>().is_ok_and(|code| code.severity() == Severity::Info);
        !is_info && !(if is_error { message } else { &warnings }).contains(&format!("[{code}]"))
    };
    let as_it_should = response["allowed"] == errors.is_empty()
        && message.starts_with("configuration is invalid:") != errors.is_empty()
        && (case.findings.len() > 12 || !case.findings.iter().any(|finding| missing(&finding)));
    (!as_it_should).then(|| format!("{:?}: {response}", case.findings))
}

#[tokio::test]
async fn definitions_webhook_and_validation_agree_on_all_cases() -> Result<()> {
    let world = World::start().await?;
    let (client, direct) = (world.server.client().await?, world.client()?);
    let files = ValidationCase::all()?;
    let cases: Vec<(&String, &ValidationCase)> =
        files.iter().flat_map(|(file, cases)| cases.iter().map(move |case| (file, case))).collect();
    for namespace in cases.iter().map(|(_, case)| namespace(&case.object)).collect::<BTreeSet<_>>() {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        // One that is malformed belongs to a case of its own.
        drop(world.server.apply(&object.to_string()));
    }
    let judged = stream::iter(cases.clone()).map(|(file, case)| {
        let (client, direct) = (&client, &direct);
        async move {
            let (by_api_server, by_webhook) = (by_api_server(client, case).await, by_webhook(direct, case).await);
            let found = by_api_server.map(|found| format!("API server: {found}"));
            let found = found.into_iter().chain(by_webhook.map(|found| format!("webhook: {found}")));
            found.map(|found| format!("{file}: {}: {found}", case.name)).collect::<Vec<_>>()
        }
    });
    let wrong: Vec<String> = judged.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.concat();
    ensure!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let sent = cases.iter().filter(|(_, case)| served(&case.object).is_some()).count();
    ensure!(sent * 10 >= cases.len() * 9, "{sent} of {} cases were sent", cases.len());
    Ok(())
}
