//! The installation that tests in the cluster of `e2e/cluster` share.

use std::{fs::File, path::PathBuf};

use anyhow::{Context, Result, ensure};

use crate::{cluster::kubeconfig, kubectl::kubectl, mizzen::Mizzen};

/// The file that is installed: profile demo, with the images of `e2e/cluster`.
pub const ISTIO_OPERATOR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/install/istio-operator.yaml");
/// The namespace of its control plane.
pub const SYSTEM: &str = "istio-system";

/// A control plane with its gateways, ready. It stays when this is dropped: other tests use it too.
#[derive(Debug)]
pub struct Installed {
    kubeconfig: PathBuf,
    /// What `mizzen install` said.
    pub said: String,
}

impl Installed {
    /// Installs it, unless it is there, and waits until it is ready. Others who want it too wait meanwhile.
    ///
    /// # Errors
    /// When there is no cluster, or it cannot be installed.
    pub fn get() -> Result<Self> {
        let kubeconfig = kubeconfig()?;
        let lock = File::create(kubeconfig.with_file_name("install.lock")).context("the lock of the installation")?;
        lock.lock().context("the lock of the installation")?;
        let path = kubeconfig.display().to_string();
        let args = ["install", "--kubeconfig", &path, "-f", ISTIO_OPERATOR, "-y", "--readiness-timeout", "3m"];
        let done = Mizzen::run(&args)?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(done.status.success(), "mizzen install: {said}");
        let installed = Self { kubeconfig, said };
        let bundle = "-o=jsonpath={.webhooks[*].clientConfig.caBundle}";
        let injector = installed.kubectl(&["get", "mutatingwebhookconfiguration", "istio-sidecar-injector", bundle])?;
        ensure!(!injector.trim().is_empty(), "Pods that are made now would not be injected");
        Ok(installed)
    }

    /// Runs kubectl in the namespace of the control plane as an administrator, and returns what it prints.
    ///
    /// # Errors
    /// When it fails, with what it says.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        self.kubectl_in(SYSTEM, args)
    }

    /// The same in another namespace.
    ///
    /// # Errors
    /// When it fails, with what it says.
    pub fn kubectl_in(&self, namespace: &str, args: &[&str]) -> Result<String> {
        kubectl(&self.kubeconfig, &[&["--namespace", namespace], args].concat())
    }
}
