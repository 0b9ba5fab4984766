//! Walks JSON along a message's descriptor.

use std::collections::HashMap;

use envoy_types::pb::google::protobuf::Any;
use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};
use serde_json::Value as Json;

use super::{
    JsonAnyError, JsonAnyProblem,
    error::{describe, nearest, nearest_field},
    scalar, well_known,
};
use crate::{snapshot::canonical_bytes_of, translate::filters::descriptors};

/// Protobuf decoders, Envoy's among them, refuse messages that are nested deeper.
const MAX_DEPTH: usize = 100;

/// As many bytes of paths are noted.
const MAX_NOTED: usize = 1 << 20;

const ANY: &str = "google.protobuf.Any";
/// Has no fields, but an `Any` of it may write its emptiness as `value`.
const EMPTY: &str = "google.protobuf.Empty";
const TYPE: &str = "@type";

/// One reading; knows where in the value it is.
pub(super) struct Reader {
    /// The path of the current field.
    path: String,
    depth: usize,
    /// How many names may still be looked for that are like one that is not known: each costs a pass over all.
    pub(super) suggestions: usize,
    /// How many bytes of paths are in the notes.
    noted: usize,
    unknown: Vec<JsonAnyError>,
    /// What can be read, but should not be written.
    advice: Vec<JsonAnyError>,
}

impl Reader {
    /// Looks for so many similar names at most.
    pub(super) fn new(suggestions: usize) -> Self {
        Self { path: String::new(), depth: 0, suggestions, noted: 0, unknown: Vec::new(), advice: Vec::new() }
    }

    /// The unknown fields that were left out.
    pub(super) fn into_unknown(self) -> Vec<JsonAnyError> {
        self.unknown
    }

    /// The unknown fields, and then what should not be written as it is.
    pub(super) fn into_notes(self) -> Vec<JsonAnyError> {
        let Self { mut unknown, advice, .. } = self;
        unknown.extend(advice);
        unknown
    }

    fn advise(&mut self, problem: JsonAnyProblem) {
        if self.may_note() {
            let error = self.error(problem);
            self.advice.push(error);
        }
    }

    /// Whether another note may be taken: many of long paths would take more memory than the value.
    fn may_note(&mut self) -> bool {
        let may = self.noted < MAX_NOTED;
        self.noted += self.path.len();
        may
    }

    /// Whether a similar name may be looked for.
    fn may_suggest(&mut self) -> bool {
        let left = self.suggestions.checked_sub(1);
        self.suggestions = left.unwrap_or(0);
        left.is_some()
    }

    fn error(&self, problem: JsonAnyProblem) -> JsonAnyError {
        JsonAnyError { field: self.path.clone(), problem }
    }

    /// The error for a value of the wrong kind.
    pub(super) fn wrong(&self, expected: &str, found: &Json) -> JsonAnyError {
        self.error(JsonAnyProblem::Wrong { found: describe(found), expected: expected.to_owned() })
    }

    /// The error for a message that is not known.
    pub(super) fn unknown_type(&mut self, name: &str) -> JsonAnyError {
        let nearest = if self.may_suggest() { nearest(name, descriptors::message_names()) } else { None };
        self.error(JsonAnyProblem::UnknownType { name: name.to_owned(), nearest })
    }

    /// Does something for a sub-field of the current one; `segment` is `.name` or `[3]`.
    fn within<T>(&mut self, segment: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let len = self.path.len();
        self.path.push_str(if len == 0 { segment.trim_start_matches('.') } else { segment });
        let result = read(self);
        self.path.truncate(len);
        result
    }

    fn deeper<T>(
        &mut self,
        value: &Json,
        read: impl FnOnce(&mut Self) -> Result<T, JsonAnyError>,
    ) -> Result<T, JsonAnyError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.wrong("nested in at most 100 messages", value));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// An object with `@type`; an empty object is an `Any` without content.
    pub(super) fn any(&mut self, value: &Json) -> Result<Any, JsonAnyError> {
        let object = value.as_object().ok_or_else(|| self.wrong("an object with an `@type`", value))?;
        if object.is_empty() && !self.path.is_empty() {
            return Ok(Any::default());
        }
        let type_url = match object.get(TYPE) {
            None => return Err(self.error(JsonAnyProblem::NoType)),
            Some(Json::String(url)) => url,
            Some(other) => return self.within(".@type", |reader| Err(reader.wrong("the URL of a type", other))),
        };
        let name = type_url.rsplit('/').next().unwrap_or(type_url);
        let Some(descriptor) = descriptors::message(name) else {
            return self.within(".@type", |reader| Err(reader.unknown_type(name)));
        };
        let content = self.deeper(value, |reader| {
            if well_known::has_own_form(name) {
                let inner = object.get("value").unwrap_or(&Json::Null);
                reader.within(".value", |reader| reader.message(&descriptor, inner))
            } else {
                reader.fields(&descriptor, value, true)
            }
        })?;
        let value = canonical_bytes_of(name, content.encode_to_vec()).to_vec();
        Ok(Any { type_url: type_url.clone(), value })
    }

    /// A message, in the form that its type has in JSON.
    pub(super) fn message(
        &mut self,
        descriptor: &MessageDescriptor,
        value: &Json,
    ) -> Result<DynamicMessage, JsonAnyError> {
        self.deeper(value, |reader| match descriptor.full_name() {
            ANY => {
                let any = reader.any(value)?;
                well_known::transcode(descriptor, &any).map_err(|expected| reader.wrong(expected, value))
            }
            name if well_known::has_own_form(name) => {
                well_known::read(descriptor, value).map_err(|expected| reader.wrong(expected, value))
            }
            _ => reader.fields(descriptor, value, false),
        })
    }

    /// The fields of an ordinary message; those of an `Any`'s content stand beside `@type`.
    fn fields(
        &mut self,
        descriptor: &MessageDescriptor,
        value: &Json,
        in_any: bool,
    ) -> Result<DynamicMessage, JsonAnyError> {
        let expected = || format!("an object (`{}`)", descriptor.full_name());
        let object = value.as_object().ok_or_else(|| self.wrong(&expected(), value))?;
        let mut message = DynamicMessage::new(descriptor.clone());
        for (name, value) in object {
            if in_any && (name == TYPE || name == "value" && descriptor.full_name() == EMPTY) {
                continue;
            }
            self.within(&format!(".{name}"), |reader| reader.field_by_name(name, value, &mut message))?;
        }
        if lacks_typed_config(&message) {
            self.advise(JsonAnyProblem::NoTypedConfig { message: descriptor.full_name().to_owned() });
        }
        Ok(message)
    }

    fn field_by_name(&mut self, name: &str, value: &Json, message: &mut DynamicMessage) -> Result<(), JsonAnyError> {
        let descriptor = message.descriptor();
        let found = descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name));
        let Some(field) = found else {
            if self.may_note() {
                let nearest = if self.may_suggest() { nearest_field(name, &descriptor) } else { None };
                let problem = JsonAnyProblem::UnknownField { message: descriptor.full_name().to_owned(), nearest };
                self.unknown.push(self.error(problem));
            }
            return Ok(());
        };
        if value.is_null() && !well_known::takes_null(&field) {
            return Ok(());
        }
        if message.has_field(&field) {
            return Err(self.error(JsonAnyProblem::Twice));
        }
        let oneof = field.containing_oneof();
        if let Some(other) = oneof.and_then(|oneof| oneof.fields().find(|other| message.has_field(other))) {
            return Err(self.error(JsonAnyProblem::Exclusive { other: other.name().to_owned() }));
        }
        if is_deprecated(&field) {
            self.advise(JsonAnyProblem::Deprecated { message: descriptor.full_name().to_owned() });
        }
        let value = self.field(&field, value)?;
        message.set_field(&field, value);
        Ok(())
    }

    fn field(&mut self, field: &FieldDescriptor, value: &Json) -> Result<Value, JsonAnyError> {
        if field.is_map() {
            self.map(field, value)
        } else if field.is_list() {
            let list = value.as_array().ok_or_else(|| self.wrong("a list", value))?;
            let kind = field.kind();
            let items = list.iter().enumerate();
            let read = items.map(|(i, item)| self.within(&format!("[{i}]"), |reader| reader.single(&kind, item)));
            read.collect::<Result<_, _>>().map(Value::List)
        } else {
            self.single(&field.kind(), value)
        }
    }

    fn map(&mut self, field: &FieldDescriptor, value: &Json) -> Result<Value, JsonAnyError> {
        let object = value.as_object().ok_or_else(|| self.wrong("an object (a map)", value))?;
        let entry = field.kind();
        let entry = entry.as_message().expect("a map is a list of entry messages");
        let (key_kind, value_kind) = (entry.map_entry_key_field().kind(), entry.map_entry_value_field().kind());
        let mut map = HashMap::<MapKey, Value>::with_capacity(object.len());
        for (key, value) in object {
            self.within(&format!("[{key}]"), |reader| {
                let key =
                    scalar::map_key(&key_kind, key).map_err(|expected| reader.wrong(&expected, &key[..].into()))?;
                map.insert(key, reader.single(&value_kind, value)?);
                Ok(())
            })?;
        }
        Ok(Value::Map(map))
    }

    fn single(&mut self, kind: &Kind, value: &Json) -> Result<Value, JsonAnyError> {
        match kind {
            Kind::Message(descriptor) => self.message(descriptor, value).map(Value::Message),
            scalar => scalar::read(scalar, value).map_err(|expected| self.wrong(&expected, value)),
        }
    }
}

fn is_deprecated(field: &FieldDescriptor) -> bool {
    field.field_descriptor_proto().options.as_ref().is_some_and(|options| options.deprecated())
}

/// Whether a message names an extension, and neither configures it nor says where its configuration comes from.
fn lacks_typed_config(message: &DynamicMessage) -> bool {
    let descriptor = message.descriptor();
    let has = |name: &str| descriptor.get_field_by_name(name).is_some_and(|field| message.has_field(&field));
    descriptor.get_field_by_name("typed_config").is_some() && !has("typed_config") && !has("config_discovery")
}
