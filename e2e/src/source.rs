//! Where the objects of a test are: in files, or in a real API server.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;
use serde::Deserialize as _;
use serde_json::json;

use crate::{
    api_server::ApiServer,
    config_dir::ConfigDir,
    mizzen::MizzenOptions,
    upstream::{Upstream, UpstreamOptions},
};

/// What mizzen reads objects from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Files (`--configDir`).
    Files,
    /// A Kubernetes API server with Istio's kinds. Only in the namespace of `e2e/tools/netns`.
    Cluster,
}

impl Source {
    /// An HTTP/1 upstream at an address that endpoints of this source may have.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn upstream(self, name: &str) -> Result<Upstream> {
        self.upstream_with(name, UpstreamOptions::default()).await
    }

    /// An upstream with these options, but for the address.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn upstream_with(self, name: &str, mut options: UpstreamOptions) -> Result<Upstream> {
        if self == Self::Cluster {
            options.ip = Upstream::pod_address()?;
        }
        Upstream::start(name, options).await
    }
}

/// Named texts with any number of objects each.
#[derive(Debug)]
pub struct Objects {
    files: ConfigDir,
    cluster: Option<ApiServer>,
}

impl Objects {
    /// None yet.
    ///
    /// # Errors
    /// When the folder cannot be made, or the API server does not start.
    pub async fn new(source: Source) -> Result<Self> {
        let cluster = match source {
            Source::Files => None,
            Source::Cluster => {
                let server = ApiServer::start().await?;
                server.apply_path(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds"))?;
                server.kubectl(&["wait", "--for=condition=Established", "--all", "crd", "--timeout=60s"])?;
                Some(server)
            }
        };
        Ok(Self { files: ConfigDir::new()?, cluster })
    }

    /// The folder of the texts. With an API server they are copies.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.files.path()
    }

    /// How mizzen is told where they are.
    #[must_use]
    pub fn options(&self) -> MizzenOptions {
        match &self.cluster {
            None => MizzenOptions::files(self.files.path()),
            Some(server) => MizzenOptions::cluster(&server.kubeconfig()),
        }
    }

    /// The kubeconfig of an administrator, if they are in an API server.
    #[must_use]
    pub fn kubeconfig(&self) -> Option<PathBuf> {
        self.cluster.as_ref().map(ApiServer::kubeconfig)
    }

    /// Lets a service account list the Secrets of its namespace. In files there is nobody who would ask.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn let_list_secrets(&self, namespace: &str, account: &str) -> Result<()> {
        let Some(server) = &self.cluster else { return Ok(()) };
        let rbac = "rbac.authorization.k8s.io";
        let metadata = json!({"name": account, "namespace": namespace});
        let role = json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": metadata,
            "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]}],
        });
        let binding = json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": account},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        });
        server.apply(&format!("{role}\n---\n{binding}")).map(drop)
    }

    /// Makes the objects of a text those of another one: in one step if they are in files; in an API server those that
    /// are gone are deleted last.
    ///
    /// # Errors
    /// When it cannot be written, or the API server refuses an object.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<()> {
        let before = fs::read_to_string(self.files.path().join(name)).unwrap_or_default();
        let path = self.files.write(name, &text)?;
        let Some(server) = &self.cluster else { return Ok(()) };
        let text = str::from_utf8(text.as_ref())?;
        if !text.trim().is_empty() {
            server.apply_path(&path)?;
        }
        let kept = identities(text)?;
        for [kind, namespace, name] in identities(&before)?.iter().filter(|id| !kept.contains(id)) {
            server.kubectl(&["delete", "--wait=false", "-n", namespace, kind, name])?;
        }
        Ok(())
    }

    /// Removes the objects of a text.
    ///
    /// # Errors
    /// When there is no such text, or the API server refuses.
    pub fn remove(&self, name: &str) -> Result<()> {
        if let Some(server) = &self.cluster {
            let path = self.files.path().join(name).display().to_string();
            server.kubectl(&["delete", "--wait=false", "-f", &path])?;
        }
        self.files.remove(name)
    }
}

/// Kind, namespace and name of each object of a text.
fn identities(text: &str) -> Result<Vec<[String; 3]>> {
    let mut all = Vec::new();
    for document in serde_yaml_ng::Deserializer::from_str(text) {
        let object = serde_json::Value::deserialize(document)?;
        let word = |pointer: &str| object.pointer(pointer).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
        if !object.is_null() {
            all.push([word("/kind"), word("/metadata/namespace"), word("/metadata/name")]);
        }
    }
    Ok(all)
}
