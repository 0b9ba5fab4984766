//! Walks JSON along a message's descriptor, and writes the message.

use std::fmt::{self, Write as _};

use envoy_types::pb::google::protobuf::Any;
use prost::Message;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::Value as Json;
use smallvec::SmallVec;

use super::{
    JsonAnyError, JsonAnyProblem,
    error::describe,
    scalar,
    similar::{nearest, nearest_field},
    well_known, wire,
};
use crate::{snapshot::canonical_bytes_of, translate::filters::descriptors};

/// Protobuf decoders, Envoy's among them, refuse messages that are nested deeper.
pub(super) const MAX_DEPTH: usize = 100;

/// As many bytes of paths are noted.
const MAX_NOTED: usize = 1 << 20;

const ANY: &str = "google.protobuf.Any";
/// Has no fields, but an `Any` of it may write its emptiness as `value`.
const EMPTY: &str = "google.protobuf.Empty";
const TYPE: &str = "@type";

/// The fields of a message that are written already: the number of each, and where it begins.
type Written = SmallVec<[(u32, usize); 8]>;

/// A step of a path.
#[derive(Clone, Copy)]
enum Segment<'a> {
    Field(&'a str),
    Item(usize),
    Key(&'a str),
}

impl fmt::Display for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => f.write_str(name),
            Self::Item(index) => write!(f, "[{index}]"),
            Self::Key(key) => write!(f, "[{key}]"),
        }
    }
}

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

    /// Does something for a part of the current field.
    fn within<T>(&mut self, segment: Segment<'_>, read: impl FnOnce(&mut Self) -> T) -> T {
        let len = self.path.len();
        if len > 0 && matches!(segment, Segment::Field(_)) {
            self.path.push('.');
        }
        write!(self.path, "{segment}").expect("a text takes what it is given");
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
            Some(other) => {
                return self.within(Segment::Field(TYPE), |reader| Err(reader.wrong("the URL of a type", other)));
            }
        };
        let name = type_url.rsplit('/').next().unwrap_or(type_url);
        let Some(descriptor) = descriptors::message(name) else {
            return self.within(Segment::Field(TYPE), |reader| Err(reader.unknown_type(name)));
        };
        let mut content = Vec::new();
        self.deeper(value, |reader| {
            if well_known::has_own_form(name) {
                let inner = object.get("value").unwrap_or(&Json::Null);
                reader.within(Segment::Field("value"), |reader| reader.message(&descriptor, inner, &mut content))
            } else {
                reader.fields(&descriptor, value, true, &mut content)
            }
        })?;
        Ok(Any { type_url: type_url.clone(), value: canonical_bytes_of(name, content).into() })
    }

    /// Writes a message, whose form in JSON is that of its type.
    pub(super) fn message(
        &mut self,
        descriptor: &MessageDescriptor,
        value: &Json,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonAnyError> {
        self.deeper(value, |reader| match descriptor.full_name() {
            ANY => {
                reader.any(value)?.encode_raw(out);
                Ok(())
            }
            name if well_known::has_own_form(name) => {
                well_known::write(descriptor, value, out).map_err(|expected| reader.wrong(expected, value))
            }
            _ => reader.fields(descriptor, value, false, out),
        })
    }

    /// The fields of an ordinary message; those of an `Any`'s content stand beside `@type`.
    fn fields(
        &mut self,
        descriptor: &MessageDescriptor,
        value: &Json,
        in_any: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonAnyError> {
        let expected = || format!("an object (`{}`)", descriptor.full_name());
        let object = value.as_object().ok_or_else(|| self.wrong(&expected(), value))?;
        let mut written = Written::new();
        for (name, value) in object {
            if in_any && (name == TYPE || name == "value" && descriptor.full_name() == EMPTY) {
                continue;
            }
            self.within(Segment::Field(name), |reader| {
                reader.field_by_name(name, value, descriptor, &mut written, out)
            })?;
        }
        if lacks_typed_config(descriptor, &written) {
            self.advise(JsonAnyProblem::NoTypedConfig { message: descriptor.full_name().to_owned() });
        }
        wire::sort_fields(&written, out);
        Ok(())
    }

    fn field_by_name(
        &mut self,
        name: &str,
        value: &Json,
        descriptor: &MessageDescriptor,
        written: &mut Written,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonAnyError> {
        let found = descriptor.get_field_by_name(name).or_else(|| descriptor.get_field_by_json_name(name));
        let Some(field) = found else {
            self.note_unknown(name, descriptor);
            return Ok(());
        };
        if value.is_null() && !well_known::takes_null(&field) {
            return Ok(());
        }
        let is_written = |field: &FieldDescriptor| written.iter().any(|(number, _)| *number == field.number());
        if is_written(&field) {
            return Err(self.error(JsonAnyProblem::Twice));
        }
        if let Some(other) = field.containing_oneof().and_then(|oneof| oneof.fields().find(is_written)) {
            return Err(self.error(JsonAnyProblem::Exclusive { other: other.name().to_owned() }));
        }
        if is_deprecated(&field) {
            self.advise(JsonAnyProblem::Deprecated { message: descriptor.full_name().to_owned() });
        }
        written.push((field.number(), out.len()));
        self.field(&field, value, out)
    }

    fn note_unknown(&mut self, name: &str, descriptor: &MessageDescriptor) {
        if self.may_note() {
            let nearest = if self.may_suggest() { nearest_field(name, descriptor) } else { None };
            let problem = JsonAnyProblem::UnknownField { message: descriptor.full_name().to_owned(), nearest };
            self.unknown.push(self.error(problem));
        }
    }

    fn field(&mut self, field: &FieldDescriptor, value: &Json, out: &mut Vec<u8>) -> Result<(), JsonAnyError> {
        let (number, kind) = (field.number(), field.kind());
        if field.is_map() {
            self.map(field, value, out)
        } else if field.is_list() {
            let list = value.as_array().ok_or_else(|| self.wrong("a list", value))?;
            let mut items = list.iter().enumerate();
            items.try_for_each(|(i, item)| {
                self.within(Segment::Item(i), |reader| reader.single(number, &kind, true, item, out))
            })
        } else {
            self.single(number, &kind, field.supports_presence(), value, out)
        }
    }

    fn map(&mut self, field: &FieldDescriptor, value: &Json, out: &mut Vec<u8>) -> Result<(), JsonAnyError> {
        let object = value.as_object().ok_or_else(|| self.wrong("an object (a map)", value))?;
        let (number, entry) = (field.number(), field.kind());
        let entry = entry.as_message().expect("a map is a list of entry messages");
        let [key_field, value_field] = [entry.map_entry_key_field(), entry.map_entry_value_field()];
        let (key_kind, value_kind) = (key_field.kind(), value_field.kind());
        object.iter().try_for_each(|(key, value)| {
            self.within(Segment::Key(key), |reader| {
                let read = scalar::map_key(&key_kind, key);
                let key = read.map_err(|expected| reader.wrong(&expected, &key[..].into()))?;
                wire::nested(number, out, |out| {
                    wire::scalar(&key_kind, key_field.number(), &key, out);
                    reader.single(value_field.number(), &value_kind, true, value, out)
                })
            })
        })
    }

    /// One value; what a field is without being set is only written for those who tell the difference.
    fn single(
        &mut self,
        number: u32,
        kind: &Kind,
        write_default: bool,
        value: &Json,
        out: &mut Vec<u8>,
    ) -> Result<(), JsonAnyError> {
        if let Kind::Message(descriptor) = kind {
            return wire::nested(number, out, |out| self.message(descriptor, value, out));
        }
        let read = scalar::read(kind, value).map_err(|expected| self.wrong(&expected, value))?;
        if write_default || !read.is_default(kind) {
            wire::scalar(kind, number, &read, out);
        }
        Ok(())
    }
}

fn is_deprecated(field: &FieldDescriptor) -> bool {
    field.field_descriptor_proto().options.as_ref().is_some_and(|options| options.deprecated())
}

/// Whether a message names an extension, and neither configures it nor says where its configuration comes from.
fn lacks_typed_config(descriptor: &MessageDescriptor, written: &Written) -> bool {
    let Some(config) = descriptor.get_field_by_name("typed_config") else { return false };
    let has = |field: &FieldDescriptor| written.iter().any(|(number, _)| *number == field.number());
    !has(&config) && !descriptor.get_field_by_name("config_discovery").is_some_and(|field| has(&field))
}
