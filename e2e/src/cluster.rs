//! The cluster that `e2e/cluster up` starts.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::{
    kubectl::{kubectl, try_kubectl},
    process::Process,
    tools::tool,
    wait::PATIENCE,
};

/// The address of the node, where node ports are.
pub const NODE_ADDRESS: &str = "198.51.100.2";

/// The kubeconfig of the cluster's administrator.
pub(crate) fn kubeconfig() -> Result<PathBuf> {
    let path = std::env::var_os("KUBECONFIG").context(
        "KUBECONFIG is not set: run e2e/cluster up, then the test by e2e/cluster exec -- cargo test --workspace …",
    )?;
    Ok(path.into())
}

/// A namespace of a cluster that runs already. Dropping it deletes the namespace, without waiting for that.
#[derive(Debug)]
pub struct Cluster {
    namespace: String,
    kubeconfig: PathBuf,
    dir: tempfile::TempDir,
}

impl Cluster {
    /// Makes a namespace in the cluster. The test has to be started by `e2e/cluster exec`.
    ///
    /// # Errors
    /// When there is no cluster, or it has such a namespace.
    pub fn namespace(namespace: &str) -> Result<Self> {
        let cluster = Self { namespace: namespace.into(), kubeconfig: kubeconfig()?, dir: tempfile::tempdir()? };
        cluster.kubectl(&["create", "namespace", namespace])?;
        Ok(cluster)
    }

    /// The kubeconfig of the cluster's administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Runs kubectl in the namespace as an administrator, and returns what it prints.
    ///
    /// # Errors
    /// When it fails, with what it says.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        kubectl(&self.kubeconfig, &[&["--namespace", &self.namespace], args].concat())
    }

    /// Applies objects (YAML, any number of documents), and returns what kubectl prints.
    ///
    /// # Errors
    /// When one is refused, with the reason.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        self.kubectl(&["apply", "--server-side", "-f", &self.file(yaml)?])
    }

    /// Applies objects as most people do, with further arguments, whatever comes of it: whether they were taken, and what
    /// kubectl says of that.
    ///
    /// # Errors
    /// When kubectl cannot be run.
    pub fn try_apply(&self, yaml: &str, args: &[&str]) -> Result<(bool, String)> {
        let file = self.file(yaml)?;
        let all = [&["--namespace", &self.namespace, "apply", "-f", &file], args].concat();
        let output = try_kubectl(&self.kubeconfig, &all)?;
        Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
    }

    /// Creates an object that has only an answer, such as a review, and returns the answer as JSON.
    ///
    /// # Errors
    /// When it is refused, with the reason.
    pub fn ask(&self, yaml: &str) -> Result<serde_json::Value> {
        let said = self.kubectl(&["create", "-o", "json", "-f", &self.file(yaml)?])?;
        serde_json::from_str(&said).context("the answer of the API server")
    }

    fn file(&self, yaml: &str) -> Result<String> {
        let file = self.dir.path().join("objects.yaml");
        fs::write(&file, yaml)?;
        Ok(file.display().to_string())
    }

    /// Waits until all pods of the namespace are ready, and one is there.
    ///
    /// # Errors
    /// When they are not after a time, with what is known of them.
    pub fn wait_ready(&self) -> Result<()> {
        let patience = format!("--timeout={}s", PATIENCE.as_secs() * 2);
        // A pod of a Deployment is there a moment after the Deployment.
        self.kubectl(&["wait", "--for=create", "pod", "--all", &patience])?;
        self.kubectl(&["wait", "--for=condition=Ready", "pod", "--all", &patience])
            .map(drop)
            .with_context(|| self.kubectl(&["describe", "pods"]).unwrap_or_default())
    }

    /// Runs a command in a container, and returns what it prints.
    ///
    /// # Errors
    /// When it fails, with what it says.
    pub fn exec(&self, pod: &str, command: &[&str]) -> Result<String> {
        self.kubectl(&[&["exec", pod, "--"], command].concat())
    }

    /// Leads a local port to one of a pod, until the process is dropped.
    ///
    /// # Errors
    /// When kubectl cannot be started.
    pub fn port_forward(&self, pod: &str, local: u16, port: u16) -> Result<Process> {
        self.start("port-forward", &["port-forward", pod, &format!("{local}:{port}")])
    }

    /// Starts kubectl in the namespace, and does not wait for its end.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, name: &str, args: &[&str]) -> Result<Process> {
        let kubeconfig = self.kubeconfig.display().to_string();
        let args = [&["--kubeconfig", &kubeconfig, "--namespace", &self.namespace], args].concat();
        Process::start(name, &tool("kubectl")?, &args, self.dir.path())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // What is left is gone with the cluster.
        let _ = self.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}
