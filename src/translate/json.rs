//! Envoy's messages as JSON, the way Envoy's admin interface writes them: for people and tools, not for the wire.

use prost_reflect::{DynamicMessage, Kind, MessageDescriptor, SerializeOptions};
use serde_json::Value;

use super::filters::descriptors;

/// A message as protobuf JSON with the original field names, maps by their keys; messages inside of an `Any` are unpacked.
/// `None` when the type is unknown or the bytes are not such a message.
#[must_use]
pub fn message_to_json(full_name: &str, bytes: &[u8]) -> Option<Value> {
    let descriptor = descriptors::message(full_name)?;
    let message = DynamicMessage::decode(descriptor.clone(), bytes).ok()?;
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(true);
    let mut made = message.serialize_with_options(serde_json::value::Serializer, &options).ok()?;
    sort_maps(&mut made, &descriptor);
    Some(made)
}

/// Puts maps in order: a decoded message has them in any, another one each time.
fn sort_maps(value: &mut Value, message: &MessageDescriptor) {
    let Value::Object(fields) = value else { return };
    let packed = fields.get("@type").and_then(Value::as_str).and_then(|url| url.rsplit('/').next());
    let packed = packed.and_then(descriptors::message);
    let message = packed.as_ref().unwrap_or(message);
    for (name, value) in fields.iter_mut() {
        let Some(Kind::Message(of)) = message.get_field_by_name(name).map(|field| field.kind()) else { continue };
        match value {
            Value::Object(entries) if of.is_map_entry() => {
                entries.sort_keys();
                if let Kind::Message(of) = of.map_entry_value_field().kind() {
                    entries.values_mut().for_each(|entry| sort_maps(entry, &of));
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| sort_maps(item, &of)),
            one => sort_maps(one, &of),
        }
    }
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use envoy_types::pb::{
        envoy::config::{cluster::v3::Cluster, core::v3::Metadata},
        google::protobuf::Struct,
    };
    use prost::Message as _;

    use super::*;

    #[test]
    fn maps_are_in_the_order_of_their_keys() {
        let names: Vec<String> = (0..30).map(|n| format!("filter-{n:02}")).collect();
        let filter_metadata: HashMap<_, _> = names.iter().map(|name| (name.clone(), Struct::default())).collect();
        let metadata = Some(Metadata { filter_metadata, ..Metadata::default() });
        let bytes = Cluster { metadata, ..Cluster::default() }.encode_to_vec();
        let made = message_to_json("envoy.config.cluster.v3.Cluster", &bytes).expect("a cluster");
        let keys = made["metadata"]["filter_metadata"].as_object().expect("a map").keys();
        assert!(keys.eq(names.iter()));
    }
}
