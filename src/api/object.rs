//! Decoding: one entry for all kinds, with exact messages about what is wrong.

use super::{
    AuthorizationPolicy, DestinationRule, EnvoyFilter, Gateway, Kind, PeerAuthentication, ProxyConfig,
    RequestAuthentication, ServiceEntry, Sidecar, Telemetry, TrafficExtension, VirtualService, WasmPlugin,
    WorkloadEntry, WorkloadGroup, read,
};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

/// Why a value is not an object that is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It does not say what it is.
    #[error("not a Kubernetes object: {0} is missing")]
    NoType(&'static str),
    /// It is of a kind that is not read.
    #[error("{api_version} {kind}: this kind is not read")]
    UnknownKind {
        /// `group/version`.
        api_version: String,
        /// Name of the kind.
        kind: String,
    },
    /// It is of a version that does not exist.
    #[error(
        "{kind} {object}: apiVersion: version {version:?} is not known, expected one of {}",
        .kind.versions().join(", ")
    )]
    UnknownVersion {
        /// The kind.
        kind: Kind,
        /// `namespace/name`.
        object: String,
        /// The version that was given.
        version: String,
    },
    /// A field is missing or of the wrong type.
    #[error("{kind} {object}: {}{reason}", if .path.is_empty() { String::new() } else { format!("{path}: ") })]
    Field {
        /// The kind.
        kind: Kind,
        /// `namespace/name`.
        object: String,
        /// Where, such as `spec.http[0].timeout`; empty for the object itself.
        path: String,
        /// What is wrong there.
        reason: String,
    },
}

/// Writes the enum of objects and what depends on the kind.
macro_rules! objects {
    ($($kind:ident),* $(,)?) => {
        /// An object of any kind that is read.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Object {
            $(#[doc = concat!("A ", stringify!($kind), ".")] $kind(Box<$kind>),)*
        }

        impl Object {
            /// The object's kind.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)* }
            }

            /// The object's metadata.
            #[must_use]
            pub fn meta(&self) -> &ObjectMeta {
                match self { $(Self::$kind(object) => &object.metadata,)* }
            }

            /// The object's metadata, to change.
            pub fn meta_mut(&mut self) -> &mut ObjectMeta {
                match self { $(Self::$kind(object) => &mut object.metadata,)* }
            }

            fn read(kind: Kind, value: &Value) -> Result<(Self, Vec<String>), (String, String)> {
                match kind {
                    $(Kind::$kind => {
                        let (object, unknown) = read(value)?;
                        Ok((Self::$kind(Box::new(object)), unknown))
                    })*
                }
            }
        }
    };
}

objects!(
    Service,
    EndpointSlice,
    Pod,
    Node,
    Namespace,
    Secret,
    ConfigMap,
    DestinationRule,
    EnvoyFilter,
    Gateway,
    ProxyConfig,
    ServiceEntry,
    Sidecar,
    VirtualService,
    WorkloadEntry,
    WorkloadGroup,
    AuthorizationPolicy,
    PeerAuthentication,
    RequestAuthentication,
    Telemetry,
    WasmPlugin,
    TrafficExtension,
);

/// Reads an object of any kind and any of its versions. Returns with it the paths of fields that it should not have.
///
/// # Errors
/// When the value is of no known kind or version, or one of its fields is missing or of the wrong type.
pub fn decode(mut value: Value) -> Result<(Object, Vec<String>), DecodeError> {
    let kind = kind_of(&value)?;
    let object = name_of(&value);
    if value["metadata"]["name"].as_str().is_none_or(str::is_empty) {
        let (path, reason) = ("metadata.name".into(), "a name is required".into());
        return Err(DecodeError::Field { kind, object, path, reason });
    }
    if kind.is_custom() && !kind.needs_spec() && value.get("spec").is_none_or(Value::is_null) {
        value["spec"] = json!({});
    }
    Object::read(kind, &value).map_err(|(path, reason)| DecodeError::Field { kind, object, path, reason })
}

/// Reads an object as one of a kind, whatever it says of its version and name.
///
/// # Errors
/// The path of what is missing or of another type than it should be (empty for the object itself), and a reason.
pub fn decode_as(kind: Kind, value: &Value) -> Result<(Object, Vec<String>), (String, String)> {
    // A list would be read as the fields in their order.
    for key in ["metadata", "spec"] {
        if value.get(key).is_some_and(Value::is_array) {
            return Err((key.to_owned(), "invalid type: sequence, expected a map of fields".to_owned()));
        }
    }
    let lacks_spec = kind.is_custom() && !kind.needs_spec() && value.get("spec").is_none_or(Value::is_null);
    if !lacks_spec {
        return Object::read(kind, value);
    }
    let mut value = value.clone();
    value["spec"] = json!({});
    Object::read(kind, &value)
}

/// The kind that a value says it is of, if that and the version exist.
fn kind_of(value: &Value) -> Result<Kind, DecodeError> {
    let text = |key| value.get(key).and_then(Value::as_str).ok_or(DecodeError::NoType(key));
    let (api_version, name) = (text("apiVersion")?, text("kind")?);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = Kind::from_group_kind(group, name)
        .ok_or_else(|| DecodeError::UnknownKind { api_version: api_version.into(), kind: name.into() })?;
    if !kind.versions().contains(&version) {
        return Err(DecodeError::UnknownVersion { kind, object: name_of(value), version: version.into() });
    }
    Ok(kind)
}

/// `namespace/name`, as far as they are there.
fn name_of(value: &Value) -> String {
    let metadata = &value["metadata"];
    let name = metadata["name"].as_str().or_else(|| metadata["generateName"].as_str()).unwrap_or_default();
    match metadata["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests;
