//! The command line of Kubernetes.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Output},
};

use anyhow::{Context, Result, ensure};

use crate::tools::tool;

/// Runs kubectl, and returns what it prints.
///
/// # Errors
/// When it fails, with what it says.
pub(crate) fn kubectl<S: AsRef<OsStr>>(kubeconfig: &Path, args: &[S]) -> Result<String> {
    let output = try_kubectl(kubeconfig, args)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "kubectl {}: {}", words(args), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs kubectl, whatever comes of it.
///
/// # Errors
/// When it cannot be run.
pub(crate) fn try_kubectl<S: AsRef<OsStr>>(kubeconfig: &Path, args: &[S]) -> Result<Output> {
    let mut command = Command::new(tool("kubectl")?);
    if let Some(folder) = kubeconfig.parent() {
        // Its caches stay out of the user's home.
        command.env("HOME", folder);
    }
    command.arg("--kubeconfig").arg(kubeconfig).args(args).output().context("run kubectl")
}

fn words<S: AsRef<OsStr>>(args: &[S]) -> String {
    args.iter().map(|a| a.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ")
}
