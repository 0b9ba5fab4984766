//! Installation: from an IstioOperator to the objects of a control plane, its gateways and what they need, and these into
//! a cluster.
//!
//! ```text
//!  profile ◄─ file ◄─ --set ──► Context ──► objects ──► overlays ──► Manifest        pure
//!                                                                       │
//!                                            apply ──► prune ──► ready ─┴─► diff     what speaks to the cluster
//! ```

pub mod apply;
pub mod cluster;
mod context;
mod images;
mod manifest;
mod object;
mod objects;
pub mod operator;
mod overlays;
pub mod profile;
pub mod ready;
pub mod remove;
#[cfg(test)]
mod tests;
mod tree;
mod values;

use serde_json::Value;

use self::images::Images;
pub use self::{
    manifest::{Input, Manifest},
    object::{ComponentName, Object, ObjectId},
};
use crate::{
    api::istio_operator::Text,
    webhook::inject::{InjectError, SettingsError},
};

/// What runs `mizzen operator` in a cluster, as YAML; without a hub or a tag the published image is meant.
#[must_use]
pub fn operator_manifest(hub: Option<&str>, tag: Option<&str>) -> (String, Vec<String>) {
    let text = |text: &str| Text(text.to_owned());
    let mut warnings = Vec::new();
    let images = Images::of(hub.map(text).as_ref(), tag.map(text).as_ref(), &mut warnings);
    let document = |object: &Value| serde_yaml_ng::to_string(object).expect("an object is plain data");
    let objects = objects::operator::objects(&images);
    (objects.iter().map(|object| format!("---\n{}", document(object))).collect(), warnings)
}

/// Why there is nothing to install.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// There is no such profile.
    #[error("there is no profile {name:?}: there are {known}")]
    Profile {
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// A file is no YAML.
    #[error("{origin} is no YAML")]
    Syntax {
        /// Which.
        origin: String,
        /// Why.
        #[source]
        source: serde_yaml_ng::Error,
    },
    /// A file holds something else.
    #[error("{origin} holds {found}: it must hold an IstioOperator of install.istio.io/v1alpha1")]
    Kind {
        /// Which.
        origin: String,
        /// What.
        found: String,
    },
    /// A value is of another type than it should be, or out of its range.
    #[error("{path}: {reason}")]
    Value {
        /// Where.
        path: String,
        /// What it is, and what it should be.
        reason: String,
    },
    /// A `--set` cannot be used.
    #[error("--set {text}: {reason}")]
    Set {
        /// What was given.
        text: String,
        /// Why not.
        reason: String,
    },
    /// A patch cannot be applied.
    #[error("overlay of {object} at {path}: {reason}")]
    Overlay {
        /// What it is for.
        object: ObjectId,
        /// Where.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The settings of proxies are wrong.
    #[error("the settings of proxies")]
    Settings(#[from] SettingsError),
    /// A gateway's Pod cannot be made.
    #[error("the gateway {name}")]
    Gateway {
        /// Which.
        name: String,
        /// Why.
        #[source]
        source: InjectError,
    },
}
