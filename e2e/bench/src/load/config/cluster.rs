//! A real API server that the server watches.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use mizzen_e2e::ApiServer;

/// How many documents are written at once.
const WRITES: usize = 32;

/// The manager of the fields that are written.
const MANAGER: &str = "load";

/// An API server with Istio's kinds, from the cache that `e2e/tools/fetch` fills. It ends with this value.
pub(super) struct Cluster {
    _server: ApiServer,
    client: Client,
    kubeconfig: PathBuf,
}

impl Cluster {
    pub(super) async fn start() -> Result<Self> {
        let server = ApiServer::start().await?;
        server.apply_path(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crds"))?;
        server.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"])?;
        Ok(Self { client: server.client().await?, kubeconfig: server.kubeconfig(), _server: server })
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Applies documents, those of one name in their order.
    pub(super) async fn write(&self, documents: Vec<(String, String)>) -> Result<()> {
        let writes = stream::iter(documents).map(|(name, text)| async move {
            for document in text.split("---\n").filter(|d| !d.trim().is_empty()) {
                self.apply(document).await.with_context(|| format!("apply {name}"))?;
            }
            anyhow::Ok(())
        });
        writes.buffer_unordered(WRITES).try_collect().await
    }

    /// Deletes the objects of a document.
    pub(super) async fn remove(&self, name: &str, text: &str) -> Result<()> {
        for document in text.split("---\n").filter(|d| !d.trim().is_empty()) {
            let (api, object_name, _) = self.api(document)?;
            api.delete(&object_name, &DeleteParams::default()).await.with_context(|| format!("delete {name}"))?;
        }
        Ok(())
    }

    async fn apply(&self, document: &str) -> Result<()> {
        let (api, name, object) = self.api(document)?;
        api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object)).await?;
        Ok(())
    }

    /// Where an object is written, under which name, and what.
    fn api(&self, document: &str) -> Result<(Api<DynamicObject>, String, DynamicObject)> {
        let object: DynamicObject = serde_yaml_ng::from_str(document)?;
        let types = object.types.as_ref().context("the object has no kind")?;
        let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
        let name = object.metadata.name.clone().context("the object has no name")?;
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            None => Api::all_with(self.client.clone(), &resource),
        };
        Ok((api, name, object))
    }
}
