//! TLS at a real gateway: certificates from Secrets, client certificates, what is passed through. Objects are files;
//! `cluster_tls` is the same with an API server.

mod cases;

use anyhow::Result;
use mizzen_e2e::{Scene, Source};

const SOURCE: Source = Source::Files;

/// Without TLS: secrets are for this machine.
async fn start(objects: &str) -> Result<Scene> {
    Scene::start(objects).await
}
