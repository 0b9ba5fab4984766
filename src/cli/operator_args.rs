//! What is to be installed: files and settings.

use std::{fs, io::Write as _, path::PathBuf};

use anyhow::Context as _;
use clap::Args;

use super::terminal::Terminal;
use crate::{
    install::{Input, Manifest},
    model::{MeshConfig, Problem},
    reconcilers::mesh_config,
};

/// Flags of it.
#[derive(Args, Clone, Debug)]
pub(super) struct OperatorArgs {
    /// A file with an IstioOperator; later ones are laid over earlier ones, and - is the standard input
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A setting of `spec`, such as profile=demo or components.ingressGateways[0].enabled=false
    #[arg(short = 's', long = "set", value_name = "PATH=VALUE")]
    settings: Vec<String>,
    /// The revision of the control plane, beside which others may run
    #[arg(short, long)]
    revision: Option<String>,
}

impl OperatorArgs {
    /// Whether anything was given.
    pub(super) fn has_files(&self) -> bool {
        !self.files.is_empty()
    }

    /// The revision that was given.
    pub(super) fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The objects; what of the input has no effect is told on the standard error.
    ///
    /// # Errors
    /// A file cannot be read, or something in it cannot be used.
    pub(super) fn manifest(&self) -> anyhow::Result<Manifest> {
        let mut files = Vec::new();
        for file in &self.files {
            let text = match file.to_str() {
                Some("-") => std::io::read_to_string(std::io::stdin()).context("read the standard input")?,
                _ => fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?,
            };
            files.push((file.display().to_string(), text));
        }
        let mut settings = self.settings.clone();
        settings.extend(self.revision.iter().map(|revision| format!("revision={revision}")));
        let manifest = Manifest::of(&Input { files, settings })?;
        let terminal = Terminal::standard_error();
        for warning in manifest.warnings.iter().chain(&mesh_warnings(&manifest)) {
            // Nobody can be told that nobody can be told.
            let _ = writeln!(std::io::stderr(), "{} {warning}", terminal.yellow("warning:"));
        }
        Ok(manifest)
    }
}

/// What the control plane will not honour of the mesh configuration.
pub(super) fn mesh_warnings(manifest: &Manifest) -> Vec<String> {
    let (_, problems) = mesh_config::convert_file(&manifest.mesh.to_string(), "meshConfig", &MeshConfig::default());
    let field = |problem: &Problem| problem.field.trim_start_matches("data.mesh").trim_start_matches(": ").to_owned();
    problems.iter().map(|problem| format!("spec.meshConfig.{}: {}", field(problem), problem.reason)).collect()
}
