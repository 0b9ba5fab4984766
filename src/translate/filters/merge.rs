//! Merges one message into another as EnvoyFilters do: scalars are overwritten, messages merged, map entries
//! replaced, durations replaced whole, lists appended or replaced.

use envoy_types::pb::google::protobuf::Any;
use prost::{Message, Name};
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use super::descriptors;
use crate::snapshot::canonical_bytes_of;

/// What becomes of lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lists {
    /// They grow by the patch's items.
    Append,
    /// They become the patch's.
    Replace,
}

/// Why a message cannot be merged.
#[derive(Debug, thiserror::Error)]
pub(super) enum MergeError {
    /// The patch is of another type.
    #[error("is of type `{patch}`, but what it is to be merged into is a `{target}`: the types must be equal")]
    OtherType {
        /// The patch's type.
        patch: String,
        /// The type that is there.
        target: String,
    },
    /// We have no descriptor.
    #[error("is of type `{0}`, which is none of the messages of the Envoy API: it can be replaced, but not merged")]
    UnknownType(String),
    /// Merged content that is no message.
    #[error("cannot be merged, because the content of `{0}` is no such message")]
    Undecodable(String),
}

/// Merges the patch into the target.
pub(super) fn merge<M: Message + Name + Default>(target: &mut M, patch: &M, lists: Lists) -> Result<(), MergeError> {
    let bytes = merge_encoded(&M::full_name(), &target.encode_to_vec(), &patch.encode_to_vec(), lists)?;
    *target = M::decode(&bytes[..]).map_err(|_| MergeError::Undecodable(M::full_name()))?;
    Ok(())
}

/// Merges the contents of two `Any`s of one type.
pub(super) fn merge_any(target: &mut Any, patch: &Any, lists: Lists) -> Result<(), MergeError> {
    let [name, patch_name] = [&target.type_url, &patch.type_url].map(|url| url.rsplit('/').next().unwrap_or_default());
    if name != patch_name {
        return Err(MergeError::OtherType { patch: patch_name.to_owned(), target: name.to_owned() });
    }
    target.value = merge_encoded(name, &target.value, &patch.value, lists)?;
    Ok(())
}

fn merge_encoded(full_name: &str, target: &[u8], patch: &[u8], lists: Lists) -> Result<Vec<u8>, MergeError> {
    let descriptor = descriptors::message(full_name).ok_or_else(|| MergeError::UnknownType(full_name.to_owned()))?;
    let decode = |bytes| {
        DynamicMessage::decode(descriptor.clone(), bytes).map_err(|_| MergeError::Undecodable(full_name.to_owned()))
    };
    let (mut merged, patch) = (decode(target)?, decode(patch)?);
    merge_dynamic(&mut merged, patch, lists);
    Ok(canonical_bytes_of(full_name, merged.encode_to_vec()).to_vec())
}

fn merge_dynamic(target: &mut DynamicMessage, mut patch: DynamicMessage, lists: Lists) {
    for (field, value) in patch.take_fields() {
        if !target.has_field(&field) || is_replaced_whole(&field) {
            target.set_field(&field, value);
            continue;
        }
        match (target.get_field_mut(&field), value) {
            (Value::List(items), Value::List(more)) if lists == Lists::Append => items.extend(more),
            (Value::Map(entries), Value::Map(more)) => entries.extend(more),
            (Value::Message(inner), Value::Message(patch)) => merge_dynamic(inner, patch, lists),
            (slot, value) => *slot = value,
        }
    }
}

/// Durations, because seconds without nanoseconds must not keep the old ones; and what is inside an `Any`, because
/// its bytes mean nothing without its type.
fn is_replaced_whole(field: &FieldDescriptor) -> bool {
    let is =
        |message: &MessageDescriptor| matches!(message.full_name(), "google.protobuf.Duration" | "google.protobuf.Any");
    !field.is_list() && !field.is_map() && matches!(field.kind(), Kind::Message(message) if is(&message))
}
