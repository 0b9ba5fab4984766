//! From a JSON value to a typed object, with what both sources agree on: defaults, and how problems are named.

use k8s_openapi::ByteString;
use serde_json::Value;

use crate::{
    api::{self, DecodeError, Kind, Object},
    model::{Code, ObjectRef},
};

/// What a value turned out to be.
pub enum Reading {
    /// Nothing of ours.
    Ignored,
    /// An object.
    Object {
        /// Its identity.
        reference: ObjectRef,
        /// The object.
        object: Object,
        /// Paths of fields that its type does not have.
        unknown_fields: Vec<String>,
    },
    /// It should be one of ours but cannot be used.
    Refused {
        /// Its identity, when that much could be read.
        reference: Option<ObjectRef>,
        /// The path of the field, empty when it is the whole object.
        field: String,
        /// Why.
        reason: String,
        /// Which rule it breaks.
        code: Code,
    },
}

/// Reads an object. A namespaced object without a namespace is in `default`, as for `kubectl`.
#[must_use]
pub fn read(mut value: Value) -> Reading {
    let (api_version, kind_name) = match type_of(&value) {
        Ok(names) => names,
        Err(reason) => {
            return Reading::Refused { reference: None, field: String::new(), reason, code: Code::TypeMissing };
        }
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let Some(kind) = Kind::from_group_kind(group, &kind_name) else {
        return unknown_kind(group, &format!("{api_version} {kind_name}"));
    };
    set_namespace(kind, &mut value);
    let reference = match reference_of(kind, &value) {
        Ok(reference) => reference,
        Err(reason) => {
            let field = "metadata.name".to_owned();
            return Reading::Refused { reference: None, field, reason, code: Code::NameMissing };
        }
    };
    if !kind.versions().contains(&version) {
        let reason = format!("version {version:?} is not one of {}", kind.versions().join(", "));
        let (reference, field) = (Some(reference), "apiVersion".to_owned());
        return Reading::Refused { reference, field, reason, code: Code::UnknownVersion };
    }
    match api::decode(value) {
        Ok((object, unknown_fields)) => Reading::Object { reference, object: with_string_data(object), unknown_fields },
        Err(error) => {
            let (field, reason) = match error {
                DecodeError::Field { path, reason, .. } => (path, reason),
                other => (String::new(), other.to_string()),
            };
            Reading::Refused { reference: Some(reference), field, reason, code: Code::Undecodable }
        }
    }
}

fn type_of(value: &Value) -> Result<(String, String), String> {
    if !value.is_object() {
        return Err("not an object: expected `apiVersion`, `kind` and `metadata`".to_owned());
    }
    let text = |key: &str| match value[key].as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("not a Kubernetes object: `{key}` is missing")),
    };
    Ok((text("apiVersion")?, text("kind")?))
}

/// Kinds of others are none of our business, but one of Istio's that we do not know is: nobody else reads it.
fn unknown_kind(group: &str, name: &str) -> Reading {
    if group == "istio.io" || group.ends_with(".istio.io") {
        let (field, reason) = ("kind".to_owned(), format!("unknown kind {name}"));
        return Reading::Refused { reference: None, field, reason, code: Code::UnrecognizedType };
    }
    Reading::Ignored
}

fn set_namespace(kind: Kind, value: &mut Value) {
    let Some(meta) = value["metadata"].as_object_mut() else { return };
    if !kind.is_namespaced() {
        meta.shift_remove("namespace");
    } else if meta.get("namespace").is_none_or(|ns| ns.is_null() || ns == "") {
        meta.insert("namespace".to_owned(), "default".into());
    }
}

fn reference_of(kind: Kind, value: &Value) -> Result<ObjectRef, String> {
    let meta = &value["metadata"];
    match meta["name"].as_str() {
        Some(name) if !name.is_empty() => {
            Ok(ObjectRef::new(kind.kind(), meta["namespace"].as_str().unwrap_or_default(), name))
        }
        _ => Err(format!("a {} needs a name", kind.kind())),
    }
}

/// `stringData` is write-only: the API server moves it to `data`, and so do we for files.
fn with_string_data(mut object: Object) -> Object {
    if let Object::Secret(secret) = &mut object
        && let Some(texts) = secret.string_data.take()
    {
        let data = secret.data.get_or_insert_default();
        data.extend(texts.into_iter().map(|(key, text)| (key, ByteString(text.into_bytes()))));
    }
    object
}
