//! TLS at a real gateway: certificates from Secrets, client certificates, what is passed through. Objects are files;
//! `cluster_tls` is the same with an API server.

mod cases;

use anyhow::Result;
use mizzen_e2e::{Authority, Scene, Source, Upstream, free_port, gateway, service, tls_secret};

use self::cases::{answered, client, server, to_a};

const SOURCE: Source = Source::Files;

/// Without TLS: secrets are for this machine.
async fn start(objects: &str) -> Result<Scene> {
    Scene::start(objects).await
}

#[tokio::test]
async fn a_gateway_that_proves_who_it_is_has_secrets_over_tls() -> Result<()> {
    let (upstream, authority, port) = (Upstream::http("a").await?, Authority::new("servers")?, free_port()?);
    let objects = gateway("tls", &server("one", port, "*", "HTTPS", "mode: SIMPLE, credentialName: one"))
        + &service("a", "http", &[&upstream])
        + &to_a("v", "*")
        + &tls_secret("one", &authority.issue(&["one.test"])?);
    let scene = Scene::start_secure(SOURCE, &objects).await?;
    answered(&client(port, "one.test", &authority, None)?, "one.test", "a").await?;
    scene.nothing_refused().await
}
