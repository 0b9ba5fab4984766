//! The command line of Istio.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

use crate::tools::tool;

/// Runs istioctl, and returns what it prints.
///
/// # Errors
/// When it fails, with what it says.
pub fn istioctl(kubeconfig: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new(tool("istioctl")?);
    if let Some(folder) = kubeconfig.parent() {
        // Its caches stay out of the user's home.
        command.env("HOME", folder);
    }
    let output = command.args(args).arg("--kubeconfig").arg(kubeconfig).output().context("run istioctl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "istioctl {}: {}", args.join(" "), said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
