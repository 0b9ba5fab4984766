//! Where the objects of a test are: in files, or in a real API server.

use std::{fs, path::Path};

use anyhow::Result;
use serde::Deserialize as _;

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
        match self {
            Self::Files => Upstream::http(name).await,
            Self::Cluster => {
                let ip = Upstream::pod_address()?;
                Upstream::start(name, UpstreamOptions { ip, ..UpstreamOptions::default() }).await
            }
        }
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

    /// How mizzen is told where they are.
    #[must_use]
    pub fn options(&self) -> MizzenOptions {
        match &self.cluster {
            None => MizzenOptions::files(self.files.path()),
            Some(server) => MizzenOptions::cluster(&server.kubeconfig()),
        }
    }

    /// Makes the objects of a text those of another one: in one step if they are in files; in an API server those that
    /// are gone are deleted last.
    ///
    /// # Errors
    /// When it cannot be written, or the API server refuses an object.
    pub fn write(&self, name: &str, text: impl AsRef<str>) -> Result<()> {
        let text = text.as_ref();
        let before = fs::read_to_string(self.files.path().join(name)).unwrap_or_default();
        let path = self.files.write(name, text)?;
        let Some(server) = &self.cluster else { return Ok(()) };
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
