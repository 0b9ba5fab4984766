//! `mizzen translate`: objects in, xDS out, offline.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::input;
use crate::sources::{Delivery, files};

/// Shown with `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen translate -f manifests/samples/*.yaml
  mizzen translate -f config/*.yaml --proxy router~10.0.0.1~gw.istio-system~istio-system.svc.cluster.local -o json
  kubectl get gateways,virtualservices,services,endpointslices -A -o yaml | mizzen translate -f - --proxy sidecar";

/// Flags of `mizzen translate`.
#[derive(Args, Clone, Debug)]
pub(super) struct TranslateArgs {
    /// YAML or JSON files with objects, directories of such files, or `-` for the standard input
    #[arg(short, long = "file", value_name = "FILE|DIR", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// For which proxy: a node id (`router~10.0.0.1~gw.istio-system~…`), or `router` or `sidecar`
    #[arg(long, value_name = "ID|KIND", default_value = "router")]
    pub(super) proxy: String,
    /// How to write it
    #[arg(short, long, value_enum, default_value_t = Format::Yaml)]
    pub(super) output: Format,
}

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

impl TranslateArgs {
    /// Reads the files, as a source would deliver them.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn read(&self) -> anyhow::Result<Vec<Delivery>> {
        Ok(files::read_once(input::read(&self.files)?))
    }
}
