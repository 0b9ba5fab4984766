//! An API server to install into. There are no controllers: what is written stays as it is, and nothing becomes ready.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{ApiServer, ISTIO_OPERATOR, Mizzen};
use serde_json::Value;

/// The labels of what is installed.
pub(crate) const OURS: &str = "app.kubernetes.io/managed-by=mizzen";
/// All kinds that an installation has.
pub(crate) const KINDS: &str = "serviceaccounts,clusterroles,clusterrolebindings,roles,rolebindings,configmaps,services,\
    poddisruptionbudgets,deployments,horizontalpodautoscalers,mutatingwebhookconfigurations,\
    validatingwebhookconfigurations";

pub(crate) struct World {
    pub(crate) server: ApiServer,
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        Ok(Self { server: ApiServer::start().await? })
    }

    /// Runs a command of mizzen on the cluster.
    pub(crate) fn run(&self, args: &[&str]) -> Result<Output> {
        let kubeconfig = self.server.kubeconfig().display().to_string();
        Mizzen::run(&[args, &["--kubeconfig", &kubeconfig]].concat())
    }

    /// The same, which must succeed; what it says on the standard error.
    pub(crate) fn ok(&self, args: &[&str]) -> Result<String> {
        let output = self.run(args)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "mizzen {}: {said}", args.join(" "));
        Ok(said)
    }

    /// The same, which must fail; what it says on the standard error.
    pub(crate) fn fails(&self, args: &[&str]) -> Result<String> {
        let output = self.run(args)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success(), "mizzen {} succeeded: {said}", args.join(" "));
        Ok(said)
    }

    /// Installs the file of the tests with more arguments, without waiting: nothing becomes ready here.
    pub(crate) fn install(&self, args: &[&str]) -> Result<String> {
        self.ok(&[&["install", "-f", ISTIO_OPERATOR, "-y", "--readiness-timeout", "0"], args].concat())
    }

    /// What is installed: `kind namespace/name version`, sorted.
    pub(crate) fn installed(&self) -> Result<Vec<String>> {
        self.list(&["get", KINDS, "--all-namespaces", "-l", OURS])
    }

    /// Objects by kubectl's arguments.
    pub(crate) fn list(&self, args: &[&str]) -> Result<Vec<String>> {
        let list: Value = serde_json::from_str(&self.server.kubectl(&[args, &["-o", "json"]].concat())?)?;
        let line = |item: &Value| {
            let text = |path: &str| item.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (kind, namespace, name) = (text("/kind"), text("/metadata/namespace"), text("/metadata/name"));
            format!("{kind} {namespace}/{name} {}", text("/metadata/resourceVersion"))
        };
        let mut all: Vec<String> = list["items"].as_array().context("a list")?.iter().map(line).collect();
        all.sort();
        Ok(all)
    }
}
