//! Where the objects of a test are: in files, or in a real API server.

use std::path::Path;

use anyhow::Result;

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

    /// Creates or replaces the objects of a text, in one step if they are in files. In an API server, an object that
    /// the text no longer has stays.
    ///
    /// # Errors
    /// When it cannot be written, or the API server refuses an object.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<()> {
        let path = self.files.write(name, text)?;
        self.cluster.as_ref().map_or(Ok(()), |server| server.apply_path(&path).map(drop))
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
