//! Envoy's messages as JSON, the way Envoy's admin interface writes them: for people and tools, not for the wire.

use prost_reflect::{DynamicMessage, SerializeOptions};
use serde_json::Value;

use super::filters::descriptors;

/// A message as protobuf JSON with the original field names; messages inside of an `Any` are unpacked. `None` when
/// the type is unknown or the bytes are not such a message.
#[must_use]
pub fn message_to_json(full_name: &str, bytes: &[u8]) -> Option<Value> {
    let message = DynamicMessage::decode(descriptors::message(full_name)?, bytes).ok()?;
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).ok()
}

/// Replaces the content of fields that hold private keys.
pub fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                if name == "private_key" {
                    *field = serde_json::json!({ "inline_bytes": "W3JlZGFjdGVkXQ==" });
                } else {
                    redact(field);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}
