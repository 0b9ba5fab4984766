//! What all others need: definitions of kinds, and namespaces.

use serde_json::{Value, json};

use crate::{
    api::crds,
    install::{ComponentName, Object, context::Context},
};

/// The definitions of Istio's kinds.
pub(super) fn definitions(context: &Context) -> Vec<Object> {
    let said = &context.values.base;
    let is_wanted = |definition: &Value| {
        said.enable_crd_templates && !said.excluded_crds.iter().any(|name| definition["metadata"]["name"] == **name)
    };
    let wanted = crds::definitions().into_iter().filter(is_wanted);
    wanted.map(|definition| Object::new(ComponentName::Base, definition)).collect()
}

/// A namespace.
pub(super) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}
