//! The objects of a cluster, read once.

use std::collections::HashSet;

use anyhow::{Context as _, anyhow};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client,
    api::{ListParams, ObjectList},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

use crate::{
    api::{Kind, Object},
    reconcilers::intake::MeshSource,
    sources::{self, Reading},
};

/// Objects in one answer.
const PAGE: u32 = 500;
/// Kinds that are read at once.
const AT_ONCE: usize = 6;

/// What a cluster has.
pub(super) struct Cluster {
    /// The objects that can be used.
    pub(super) objects: Vec<Object>,
    /// Kinds that may not be read.
    pub(super) hidden: HashSet<Kind>,
    /// The namespace of the kubeconfig's context.
    pub(super) namespace: String,
}

/// Reads all that configuration is made of. Secrets are done without where they may not be read.
///
/// # Errors
/// Nobody answers, or something else may not be read.
pub(super) async fn read(client: Client, mesh: &MeshSource) -> anyhow::Result<Cluster> {
    let namespace = client.default_namespace().to_owned();
    let lists = stream::iter(Kind::ALL).map(|kind| list(client.clone(), kind, mesh)).buffer_unordered(AT_ONCE);
    let lists: Vec<(Kind, Option<Vec<Object>>)> = lists.try_collect().await?;
    let hidden = lists.iter().filter(|(_, list)| list.is_none()).map(|(kind, _)| *kind).collect();
    Ok(Cluster { objects: lists.into_iter().filter_map(|(_, list)| list).flatten().collect(), hidden, namespace })
}

async fn list(client: Client, kind: Kind, mesh: &MeshSource) -> anyhow::Result<(Kind, Option<Vec<Object>>)> {
    let version = kind.versions()[0];
    let gvk = GroupVersionKind::gvk(kind.group(), version, kind.kind());
    let resource = ApiResource::from_gvk_with_plural(&gvk, kind.plural());
    let all = |client| Api::<DynamicObject>::all_with(client, &resource);
    let (api, params) = match kind {
        Kind::ConfigMap => {
            let params = ListParams::default().fields(&format!("metadata.name={}", mesh.name));
            (Api::namespaced_with(client, &mesh.namespace, &resource), params)
        }
        Kind::Secret => {
            let types = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token";
            (all(client), ListParams::default().fields(types))
        }
        _ => (all(client), ListParams::default()),
    };
    let mut objects = Vec::new();
    let mut next = String::new();
    loop {
        let mut params = params.clone().limit(PAGE);
        if !next.is_empty() {
            params = params.continue_token(&next);
        }
        let page: ObjectList<DynamicObject> = match api.list(&params).await {
            Ok(page) => page,
            // A kind without a CRD is empty.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok((kind, Some(Vec::new()))),
            Err(kube::Error::Api(status)) if status.code == 403 && kind == Kind::Secret => {
                tracing::warn!("secrets may not be listed: whether those that are named exist is not told");
                return Ok((kind, None));
            }
            Err(kube::Error::Api(status)) if status.code == 403 => {
                return Err(anyhow!("not allowed to list {}: {}", kind.plural(), status.message));
            }
            Err(error) => return Err(error).with_context(|| format!("list {} of the cluster", kind.plural())),
        };
        objects.extend(page.items.into_iter().filter_map(|item| read_one(kind, version, &item)));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => next = token,
            None => return Ok((kind, Some(objects))),
        }
    }
}

/// What cannot be decoded is what the control plane does not use either; `mizzen validate` tells of it.
fn read_one(kind: Kind, version: &str, item: &DynamicObject) -> Option<Object> {
    let mut value = serde_json::to_value(item).ok()?;
    let group = kind.group();
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    value["apiVersion"] = Value::String(api_version);
    value["kind"] = kind.kind().into();
    match sources::read(value) {
        Reading::Object { object, .. } => Some(object),
        Reading::Ignored | Reading::Refused { .. } => None,
    }
}
