//! Descriptors of all of Envoy's messages, for values whose type is known only from their `@type`.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, MessageDescriptor};

/// Written by `just gen`: a deflated `FileDescriptorSet`.
static DEFLATED: &[u8] = include_bytes!("descriptors.bin");

/// Unpacked when the first EnvoyFilter is translated: it takes some 50 ms and 16 MB, which few meshes need.
static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let set = miniz_oxide::inflate::decompress_to_vec(DEFLATED).expect("the generated file is a deflated stream");
    DescriptorPool::decode(&set[..]).expect("the generated file holds descriptors of all they refer to")
});

/// The descriptor of a message by its full name, e.g. `envoy.config.core.v3.Address`.
pub(crate) fn message(full_name: &str) -> Option<MessageDescriptor> {
    POOL.get_message_by_name(full_name)
}

/// The full names of all messages.
pub(super) fn message_names() -> &'static [String] {
    static NAMES: LazyLock<Vec<String>> =
        LazyLock::new(|| POOL.all_messages().map(|message| message.full_name().to_owned()).collect());
    &NAMES
}
