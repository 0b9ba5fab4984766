//! The custom resource definitions, on a real API server: what they accept and refuse, and what kubectl prints.

use anyhow::{Context, Result, ensure};
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use mizzen::api::Kind;
use mizzen::schema::Schemas;
use mizzen_e2e::ApiServer;
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Says which words the refusal of an object must hold.
const REASON: &str = "rejected-because";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

async fn server() -> Result<ApiServer> {
    let server = ApiServer::start().await?;
    // Twice: what is applied again must not conflict with what the API server made of it.
    for _ in 0..2 {
        server.apply_path(&repository().join("crds"))?;
    }
    server.kubectl(&["wait", "--for=condition=Established", "--all", "crd", "--timeout=60s"])?;
    Ok(server)
}

#[tokio::test]
async fn objects_are_accepted_and_refused_as_they_should_be() -> Result<()> {
    let server = server().await?;
    let client = server.client().await?;
    let mut counts = [0, 0];
    let schemas = Schemas::default();
    for (file, object) in objects()? {
        let name = object.metadata.name.clone().context("each object has a name")?;
        let reason = object.metadata.annotations.as_ref().and_then(|annotations| annotations.get(REASON)).cloned();
        counts[usize::from(reason.is_some())] += 1;
        let answer = create(&client, &object).await;
        let context = || format!("{} {name}", file.display());
        let offline = schemas.check(known_kind(&object)?, &serde_json::to_value(&object)?);
        let agree = offline.is_empty() == answer.is_ok();
        ensure!(agree, "{}: the API server says {answer:?}, and without it: {offline:?}", context());
        match reason {
            None => drop(answer.with_context(context)?),
            Some(reason) => {
                let refused = answer.err().with_context(|| format!("{} was accepted", context()))?.to_string();
                ensure!(refused.contains(&reason), "{}: expected {reason:?} in: {refused}", context());
            }
        }
    }
    assert!(counts.iter().all(|count| *count >= 3 * 15), "{counts:?}");
    Ok(())
}

#[tokio::test]
async fn kubectl_prints_what_matters_and_knows_the_short_names() -> Result<()> {
    let server = server().await?;
    server.apply_path(&repository().join("e2e/fixtures/crds/accept"))?;
    for (resource, columns) in [
        ("vs", "NAME GATEWAYS HOSTS AGE"),
        ("dr", "NAME HOST AGE"),
        ("se", "NAME HOSTS LOCATION RESOLUTION AGE"),
        ("we", "NAME AGE ADDRESS"),
        ("wg", "NAME AGE"),
        ("gw", "NAME AGE"),
        ("ap", "NAME ACTION AGE"),
        ("pa", "NAME MODE AGE"),
        ("ra", "NAME AGE"),
        ("telemetry", "NAME AGE"),
    ] {
        let printed = server.kubectl(&["get", resource])?;
        let head: Vec<&str> = printed.lines().next().unwrap_or_default().split_whitespace().collect();
        assert_eq!(head.join(" "), columns, "{resource}");
    }
    let all = server.kubectl(&["get", "istio-io", "-o", "name"])?;
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_custom()) {
        assert!(all.contains(&format!("{}.{}/", kind.kind().to_lowercase(), kind.group())), "{kind} is not in: {all}");
    }
    Ok(())
}

/// All objects to try, with the file that each is from.
fn objects() -> Result<Vec<(PathBuf, DynamicObject)>> {
    let mut objects = Vec::new();
    for folder in ["accept", "reject"] {
        for entry in std::fs::read_dir(repository().join("e2e/fixtures/crds").join(folder))? {
            let path = entry?.path();
            let text = std::fs::read_to_string(&path)?;
            for document in serde_yaml_ng::Deserializer::from_str(&text) {
                let object = DynamicObject::deserialize(document).with_context(|| path.display().to_string())?;
                let to_refuse = object.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(REASON));
                ensure!(to_refuse == (folder == "reject"), "{}: {REASON} belongs in reject/", path.display());
                objects.push((path.clone(), object));
            }
        }
    }
    Ok(objects)
}

/// The kind of an object.
fn known_kind(object: &DynamicObject) -> Result<Kind> {
    let types = object.types.as_ref().context("each object has a type")?;
    let (group, _) = types.api_version.split_once('/').context("each kind has a group")?;
    Kind::from_group_kind(group, &types.kind).with_context(|| format!("{group} {} is not known", types.kind))
}

/// Has the API server check an object without keeping it.
async fn create(client: &kube::Client, object: &DynamicObject) -> Result<DynamicObject> {
    let TypeMeta { api_version, kind } = object.types.clone().context("each object has a type")?;
    let (group, version) = api_version.split_once('/').context("each kind has a group")?;
    let known = known_kind(object)?;
    let gvk = GroupVersionKind::gvk(group, version, &kind);
    let resource = ApiResource::from_gvk_with_plural(&gvk, known.plural());
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), "default", &resource);
    let dry_run = PostParams { dry_run: true, field_manager: None };
    Ok(api.create(&dry_run, object).await?)
}
