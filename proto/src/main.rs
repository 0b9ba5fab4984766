//! Writes, from the descriptors that the `envoy-types` crate ships beside its messages,
//!
//! - `src/snapshot/map_fields.rs`: which messages contain protobuf maps, directly or in a sub-message
//!   (mizzen sorts them, so that equal messages have equal bytes);
//! - `src/translate/filters/descriptors.bin`: the descriptors themselves without comments, options and
//!   services, deflated (mizzen reads the free-form values of EnvoyFilters with them);
//! - `src/xds/discovery.bin`: those of the discovery service and of what it needs (gRPC reflection shows them).
//!
//! and from the `.proto` files of this folder
//!
//! - `src/pb/`: messages, clients and servers of wire formats that no crate carries.
//!
//! Run by `just gen`, after a new version of `envoy-types` above all.

mod maps;
mod services;
mod strip;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};
use prost::Message;
use prost_types::FileDescriptorSet;

const MAP_FIELDS: &str = "src/snapshot/map_fields.rs";
const DESCRIPTORS: &str = "src/translate/filters/descriptors.bin";
const DISCOVERY: &str = "src/xds/discovery.bin";

/// The file that defines the aggregated discovery service.
const ADS: &str = "envoy/service/discovery/v3/ads.proto";

fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("proto/ has a parent folder")?;
    services::generate(root, write_rust)?;
    let mut set = read_descriptors(root)?;
    let services = strip::services(&set, ADS);
    strip::strip(&mut set);
    set.file.extend(["udpa.type.v1", "xds.type.v3"].map(strip::typed_struct));

    write_rust(&root.join(MAP_FIELDS), maps::render(&set).as_bytes())?;

    write(&root.join(DISCOVERY), &strip::closure(&set, ADS, &services).encode_to_vec())?;
    write(&root.join(DESCRIPTORS), &miniz_oxide::deflate::compress_to_vec(&set.encode_to_vec(), 10))
}

fn read_descriptors(root: &Path) -> Result<FileDescriptorSet> {
    let path = envoy_types(root)?.join("src/generated/types.bin");
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    FileDescriptorSet::decode(&bytes[..]).with_context(|| format!("decoding {}", path.display()))
}

/// The folder of the `envoy-types` crate that the lock file names.
fn envoy_types(root: &Path) -> Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root)
        .output()
        .context("running cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).context("reading cargo metadata")?;
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|package| package["name"] == "envoy-types")
        .and_then(|package| Path::new(package["manifest_path"].as_str()?).parent())
        .map(Path::to_owned)
        .context("cargo metadata names no package envoy-types")
}

fn write_rust(path: &Path, text: &[u8]) -> Result<()> {
    write(path, text)?;
    let formatted = Command::new("rustfmt").args(["--edition", "2024"]).arg(path).status();
    ensure!(formatted.context("running rustfmt")?.success(), "rustfmt refused {}", path.display());
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("writing {}", path.display()))
}
