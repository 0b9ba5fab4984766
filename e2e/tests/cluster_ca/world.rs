//! An API server, and control planes on it.

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{ApiServer, Mizzen, MizzenOptions, PATIENCE, eventually};
use serde_json::Value;

pub(crate) struct World {
    pub(crate) server: ApiServer,
}

impl World {
    /// With service accounts `web` and `other` in namespace `shop`.
    pub(crate) async fn start() -> Result<Self> {
        let server = ApiServer::start().await?;
        server.apply("{apiVersion: v1, kind: Namespace, metadata: {name: shop}}")?;
        for account in ["web", "other"] {
            server.apply(&format!(
                "{{apiVersion: v1, kind: ServiceAccount, metadata: {{name: {account}, namespace: shop}}}}"
            ))?;
        }
        Ok(Self { server })
    }

    /// The options of a replica.
    pub(crate) fn options(&self, name: &str) -> MizzenOptions {
        MizzenOptions::cluster(&self.server.kubeconfig()).env("POD_NAME", name)
    }

    pub(crate) async fn mizzen(&self) -> Result<Mizzen> {
        Mizzen::start(self.options("one")).await
    }

    /// A token of a service account of namespace `shop`.
    pub(crate) fn token(&self, account: &str, audience: &str) -> Result<String> {
        let audience = format!("--audience={audience}");
        let token = self.server.kubectl(&["create", "token", account, "--namespace=shop", &audience])?;
        Ok(token.trim().to_owned())
    }

    /// A field of an object, by kubectl's path.
    pub(crate) fn field(&self, namespace: &str, object: &str, path: &str) -> Result<String> {
        let path = format!("-o=jsonpath={{{path}}}");
        self.server.kubectl(&["get", object, "--namespace", namespace, &path])
    }

    /// The roots that workloads of a namespace verify each other with.
    pub(crate) fn roots(&self, namespace: &str) -> Result<String> {
        self.field(namespace, "configmap/istio-ca-root-cert", ".data.root-cert\\.pem")
    }

    /// Waits until the roots of a namespace are those.
    pub(crate) async fn until_roots(&self, namespace: &str, roots: &str) -> Result<()> {
        eventually(&format!("the roots in {namespace}"), PATIENCE, || async {
            let found = self.roots(namespace)?;
            ensure!(found == roots, "{found}");
            anyhow::Ok(())
        })
        .await
    }

    /// The root in the Secret.
    pub(crate) fn kept_root(&self) -> Result<String> {
        let secret: Value = serde_json::from_str(&self.server.kubectl(&[
            "get",
            "secret/istio-ca-secret",
            "--namespace=istio-system",
            "-o=json",
        ])?)?;
        let text = secret["data"]["ca-cert.pem"].as_str().context("no certificate")?;
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text)?;
        Ok(String::from_utf8(bytes)?)
    }
}
