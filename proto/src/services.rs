//! Rust for the wire formats of `proto/`: messages, clients and servers.

use std::path::Path;

use anyhow::{Context, Result};

/// The files under `proto/`, and the Rust file of each package of theirs under `src/pb/`.
const PACKAGES: &[(&str, &str, &str)] =
    &[("istio/certificate.proto", "istio.v1.auth", "certificate.rs"), ("istio/nds.proto", NAMES, "nds.rs")];

/// The package whose messages are shown as JSON.
const NAMES: &str = "istio.networking.nds.v1";

/// Compiles each file and writes the result.
pub(crate) fn generate(root: &Path, write: impl Fn(&Path, &[u8]) -> Result<()>) -> Result<()> {
    for (source, package, target) in PACKAGES {
        let set = protox::compile([source], [root.join("proto")]).with_context(|| format!("compiling {source}"))?;
        let out = tempfile::tempdir().context("making a folder")?;
        tonic_prost_build::configure()
            .out_dir(out.path())
            .btree_map(".")
            .message_attribute(format!(".{NAMES}"), "#[derive(serde::Serialize)]\n#[serde(rename_all = \"camelCase\")]")
            .compile_fds(set)
            .with_context(|| format!("generating {package}"))?;
        let made = std::fs::read_to_string(out.path().join(format!("{package}.rs")))
            .with_context(|| format!("reading what was generated for {package}"))?;
        let text = format!("//! From `proto/{source}`, by `just gen`.\n\n{}", without_allowances(&made));
        write(&root.join("src/pb").join(target), text.as_bytes())?;
    }
    Ok(())
}

/// Which lints the code may break is said in `src/pb.rs`, once and with a reason.
fn without_allowances(code: &str) -> String {
    let mut left = String::with_capacity(code.len());
    let mut rest = code;
    while let Some((before, attribute)) = rest.split_once("#![allow(").or_else(|| rest.split_once("#[allow(")) {
        left.push_str(before);
        rest = attribute.split_once(")]").map_or("", |(_, after)| after);
    }
    left + rest
}
