//! Leaves in a descriptor set what is needed to read, write and merge messages.

use std::collections::HashSet;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumOptions, FieldDescriptorProto, FieldOptions, FileDescriptorProto,
    FileDescriptorSet, MessageOptions, ServiceDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

/// Packages that only define options (and the types of options), which are dropped.
const OPTIONS_ONLY: [&str; 5] =
    ["envoy.annotations", "google.api", "udpa.annotations", "validate", "xds.annotations.v3"];

const DESCRIPTOR_PROTO: &str = "google/protobuf/descriptor.proto";

/// Removes comments, services, reserved ranges and every option except `map_entry`, `allow_alias`, `packed` and `deprecated`.
pub(crate) fn strip(set: &mut FileDescriptorSet) {
    set.file.retain(|file| !OPTIONS_ONLY.contains(&file.package()) && file.name() != DESCRIPTOR_PROTO);
    let kept: HashSet<String> = set.file.iter().map(|file| file.name().to_owned()).collect();
    for file in &mut set.file {
        file.source_code_info = None;
        file.options = None;
        file.service.clear();
        file.extension.clear();
        file.public_dependency.clear();
        file.weak_dependency.clear();
        file.dependency.retain(|dependency| kept.contains(dependency));
        file.message_type.iter_mut().for_each(strip_message);
        file.enum_type.iter_mut().for_each(strip_enum);
    }
}

/// The services that a file defines, without options.
pub(crate) fn services(set: &FileDescriptorSet, name: &str) -> Vec<ServiceDescriptorProto> {
    let mut services: Vec<_> =
        set.file.iter().filter(|file| file.name() == name).flat_map(|file| file.service.clone()).collect();
    for service in &mut services {
        service.options = None;
        service.method.iter_mut().for_each(|method| method.options = None);
    }
    services
}

/// A file, with services, and all that it imports, directly or not.
pub(crate) fn closure(set: &FileDescriptorSet, name: &str, services: &[ServiceDescriptorProto]) -> FileDescriptorSet {
    let (mut wanted, mut at) = (vec![name.to_owned()], 0);
    while let Some(next) = wanted.get(at) {
        let imports = set.file.iter().filter(|file| file.name() == next).flat_map(|file| file.dependency.clone());
        let new: Vec<String> = imports.filter(|import| !wanted.contains(import)).collect();
        wanted.extend(new);
        at += 1;
    }
    let mut file: Vec<FileDescriptorProto> =
        set.file.iter().filter(|file| wanted.iter().any(|name| name == file.name())).cloned().collect();
    for file in file.iter_mut().filter(|file| file.name() == name) {
        file.service = services.to_vec();
    }
    FileDescriptorSet { file }
}

fn strip_message(message: &mut DescriptorProto) {
    let is_map_entry = message.options.as_ref().is_some_and(|options| options.map_entry());
    message.options = is_map_entry.then(|| MessageOptions { map_entry: Some(true), ..MessageOptions::default() });
    message.extension.clear();
    message.extension_range.clear();
    message.reserved_name.clear();
    message.reserved_range.clear();
    message.oneof_decl.iter_mut().for_each(|oneof| oneof.options = None);
    message.field.iter_mut().for_each(strip_field);
    message.enum_type.iter_mut().for_each(strip_enum);
    message.nested_type.iter_mut().for_each(strip_message);
}

fn strip_field(field: &mut FieldDescriptorProto) {
    field.options =
        field.options.take().filter(|options| options.packed.is_some() || options.deprecated.is_some()).map(
            |options| FieldOptions {
                packed: options.packed,
                deprecated: options.deprecated,
                ..FieldOptions::default()
            },
        );
}

fn strip_enum(message: &mut EnumDescriptorProto) {
    let has_aliases = message.options.as_ref().is_some_and(|options| options.allow_alias());
    message.options = has_aliases.then(|| EnumOptions { allow_alias: Some(true), ..EnumOptions::default() });
    message.reserved_name.clear();
    message.reserved_range.clear();
    message.value.iter_mut().for_each(|value| value.options = None);
}

/// `TypedStruct`, which EnvoyFilters like and `envoy-types` lacks: a message known by its type URL, as JSON.
pub(crate) fn typed_struct(package: &str) -> FileDescriptorProto {
    let field = |name: &str, number, kind, type_name: Option<&str>| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::into(kind)),
        type_name: type_name.map(str::to_owned),
        ..FieldDescriptorProto::default()
    };
    FileDescriptorProto {
        name: Some(format!("{}/typed_struct.proto", package.replace('.', "/"))),
        package: Some(package.to_owned()),
        dependency: vec!["google/protobuf/struct.proto".to_owned()],
        message_type: vec![DescriptorProto {
            name: Some("TypedStruct".to_owned()),
            field: vec![
                field("type_url", 1, Type::String, None),
                field("value", 2, Type::Message, Some(".google.protobuf.Struct")),
            ],
            ..DescriptorProto::default()
        }],
        syntax: Some("proto3".to_owned()),
        ..FileDescriptorProto::default()
    }
}
