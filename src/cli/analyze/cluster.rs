//! The objects of a cluster, read once.

use anyhow::{Context as _, anyhow};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, ObjectList},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::Value;

use crate::{
    analyze::{GATEWAY_API, GATEWAY_API_KINDS},
    api::{Kind, Object},
    cli::findings::Finding,
    reconcilers::intake::MeshSource,
    sources::{self, Reading},
};

/// Objects in one answer.
const PAGE: u32 = 500;
/// Kinds that are read at once.
const AT_ONCE: usize = 6;

/// What a cluster has.
#[derive(Default)]
pub(super) struct Cluster {
    /// The objects that can be used.
    pub(super) objects: Vec<Object>,
    /// What is wrong with those that cannot.
    pub(super) unreadable: Vec<Finding>,
    /// Namespace and name of the objects of the Gateway API, by kind, of kinds that may be read.
    pub(super) gateway_api: Vec<(&'static str, Vec<(String, String)>)>,
    /// Whether Secrets may be read.
    pub(super) sees_secrets: bool,
    /// What could not be looked at, and why.
    pub(super) unchecked: Vec<String>,
    /// The namespace of the kubeconfig's context.
    pub(super) namespace: String,
}

/// Reads all that configuration is made of. Secrets are done without where they may not be read, and so is the Gateway API.
///
/// # Errors
/// Nobody answers, or something else may not be read.
pub(super) async fn read(client: Client, mesh: &MeshSource) -> anyhow::Result<Cluster> {
    let namespace = client.default_namespace().to_owned();
    let mut cluster = Cluster { namespace, sees_secrets: true, ..Cluster::default() };
    let lists = stream::iter(Kind::ALL).map(|kind| objects(client.clone(), kind, mesh)).buffer_unordered(AT_ONCE);
    let mut lists: Vec<(Kind, Listed<Result<Object, Finding>>)> = lists.try_collect().await?;
    // What comes first is the same each time.
    lists.sort_by_key(|(kind, _)| *kind);
    for (kind, list) in lists {
        match list {
            Listed::All(read) => read.into_iter().for_each(|item| match item {
                Ok(object) => cluster.objects.push(object),
                Err(finding) => cluster.unreadable.push(finding),
            }),
            Listed::Forbidden(reason) if kind == Kind::Secret => {
                cluster.sees_secrets = false;
                cluster.unchecked.push(format!("whether secrets that are named exist and can be used: {reason}"));
            }
            Listed::Forbidden(reason) => return Err(anyhow!("not allowed to list {}: {reason}", kind.plural())),
        }
    }
    for (kind, plural) in GATEWAY_API_KINDS {
        match names(&client, kind, plural).await? {
            Listed::All(names) => cluster.gateway_api.push((kind, names)),
            Listed::Forbidden(reason) => {
                cluster.unchecked.push(format!("whether targets of kind {kind} exist: {reason}"));
            }
        }
    }
    Ok(cluster)
}

async fn objects(
    client: Client,
    kind: Kind,
    mesh: &MeshSource,
) -> anyhow::Result<(Kind, Listed<Result<Object, Finding>>)> {
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
    Ok((kind, list(&api, params, kind.plural(), |item| read_one(kind, version, &item)).await?))
}

/// Namespaces and names of a kind of the Gateway API.
async fn names(client: &Client, kind: &str, plural: &str) -> anyhow::Result<Listed<(String, String)>> {
    let gvk = GroupVersionKind::gvk(GATEWAY_API, "v1", kind);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&gvk, plural));
    let name = |item: DynamicObject| Some((item.namespace().unwrap_or_default(), item.name_any()));
    list(&api, ListParams::default(), plural, name).await
}

/// What became of a list.
enum Listed<T> {
    All(Vec<T>),
    /// Why it may not be read.
    Forbidden(String),
}

/// Lists page by page. A kind without a CRD is empty.
async fn list<T>(
    api: &Api<DynamicObject>,
    params: ListParams,
    plural: &str,
    read: impl Fn(DynamicObject) -> Option<T>,
) -> anyhow::Result<Listed<T>> {
    let mut all = Vec::new();
    let mut params = params.limit(PAGE);
    loop {
        let page: ObjectList<DynamicObject> = match api.list(&params).await {
            Ok(page) => page,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Listed::All(Vec::new())),
            Err(kube::Error::Api(status)) if status.code == 403 => return Ok(Listed::Forbidden(status.message)),
            Err(error) => return Err(error).with_context(|| format!("list {plural} of the cluster")),
        };
        all.extend(page.items.into_iter().filter_map(&read));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => return Ok(Listed::All(all)),
        }
    }
}

/// An object as the control plane reads it, or why it cannot be read.
fn read_one(kind: Kind, version: &str, item: &DynamicObject) -> Option<Result<Object, Finding>> {
    let mut value = serde_json::to_value(item).ok()?;
    let group = kind.group();
    let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    value["apiVersion"] = Value::String(api_version);
    value["kind"] = kind.kind().into();
    match sources::read(value) {
        Reading::Object { object, .. } => Some(Ok(object)),
        Reading::Refused { reference, field, reason, code } => {
            Some(Err(Finding { code, object: reference, path: field, value: None, message: reason, place: None }))
        }
        Reading::Ignored => None,
    }
}
