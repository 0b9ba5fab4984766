//! From JSON Schema, as `schemars` derives it, to the structural schemas of Kubernetes.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The structural schema of a type, without references.
pub(super) fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    rewrite(&mut schema);
    schema
}

/// Rewrites a schema and what it contains.
fn rewrite(schema: &mut Value) {
    let Value::Object(members) = schema else { return };
    // A default would be stored in every object; absence means the same here.
    for unwanted in ["title", "default"] {
        members.remove(unwanted);
    }
    drop_null(members);
    list_enum(members);
    bound_integer(members);
    if let Some(Value::Object(properties)) = members.get_mut("properties") {
        properties.values_mut().for_each(rewrite);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = members.get_mut(inner) {
            rewrite(inner);
        }
    }
}

/// An `Option` is a member that may be absent; `null` is allowed only where a field says `nullable`.
fn drop_null(members: &mut Map<String, Value>) {
    if let Some(Value::Array(types)) = members.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            members.insert("type".into(), only);
        }
    }
    let is_null = |schema: &Value| schema["type"] == "null";
    let Some(Value::Array(choices)) = members.get("anyOf") else { return };
    if let [Value::Object(inner), null] = choices.as_slice()
        && is_null(null)
    {
        let inner = inner.clone();
        members.remove("anyOf");
        for (key, value) in inner {
            members.entry(key).or_insert(value);
        }
    }
}

/// The variants of an enum, which `schemars` gives one schema each to hold their descriptions.
fn list_enum(members: &mut Map<String, Value>) {
    let Some(Value::Array(variants)) = members.get("oneOf") else { return };
    let names: Option<Vec<Value>> = variants.iter().map(|variant| variant.get("const").cloned()).collect();
    if let Some(names) = names {
        members.remove("oneOf");
        members.insert("type".into(), "string".into());
        members.insert("enum".into(), names.into());
    }
}

/// Unsigned integers have no format of their own; their range says it. 2^64 is beyond what JSON holds exactly.
fn bound_integer(members: &mut Map<String, Value>) {
    let format = members.get("format").and_then(Value::as_str);
    if !matches!(format, Some("uint32" | "uint64")) {
        return;
    }
    if format == Some("uint32") {
        members.entry("maximum").or_insert(u32::MAX.into());
    }
    members.remove("format");
}
