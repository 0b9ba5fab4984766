//! Reads types out of JSON, knows where it is, and notes what no type asks for.
//!
//! Objects are judged by this one by one, up to a megabyte, while somebody waits for the answer. General wrappers of
//! deserializers copy each key, for a path that is seldom told; and the compiler makes them again for each type, unless
//! they are erased, which costs as much again. This one reads serde_json's values alone: paths are lists on the stack, of
//! names that the value has.

use serde::{
    Deserializer,
    de::{self, DeserializeOwned, DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};
use serde_json::{Error, Map, Value};

use super::Path;

/// As many bytes of paths of unknown fields are told.
const MAX_NOTED: usize = 1 << 20;

/// Reads one type, and tells the paths of what it does not know.
///
/// # Errors
/// The path of what is missing or of another type than it should be (empty for the whole), and a reason.
pub fn read<T: DeserializeOwned>(value: &Value) -> Result<(T, Vec<String>), (String, String)> {
    let mut notes = Notes::default();
    match T::deserialize(Reader { value, path: &Path::Root, notes: &mut notes }) {
        Ok(read) => Ok((read, notes.unknown)),
        Err(error) => Err((notes.failed.unwrap_or_default(), error.to_string())),
    }
}

#[derive(Default)]
struct Notes {
    unknown: Vec<String>,
    /// Bytes of their paths.
    noted: usize,
    /// Where the first value is that could not be read.
    failed: Option<String>,
}

impl Notes {
    fn note(&mut self, path: &Path<'_>) {
        // Many of long paths would take more memory than the value.
        if self.noted > MAX_NOTED {
            return;
        }
        let path = path.to_string();
        // The type is known already, and what controllers say about an object is theirs.
        if !matches!(path.as_str(), "apiVersion" | "kind") && !path.starts_with("status.") {
            self.noted += path.len();
            self.unknown.push(path);
        }
    }

    /// Something could not be read: the innermost place says so first.
    fn fail(&mut self, path: &Path<'_>) {
        self.failed.get_or_insert_with(|| path.to_string());
    }
}

/// A value at its place.
struct Reader<'de, 'p> {
    value: &'de Value,
    path: &'p Path<'p>,
    notes: &'p mut Notes,
}

impl<'de> Reader<'de, '_> {
    fn items<V: Visitor<'de>>(self, items: &'de [Value], visitor: V) -> Result<V::Value, Error> {
        let mut rest = Items { items: items.iter().enumerate(), path: self.path, notes: self.notes };
        let read = visitor.visit_seq(&mut rest)?;
        let is_whole = rest.items.len() == 0;
        is_whole.then_some(read).ok_or_else(|| Error::invalid_length(items.len(), &"fewer elements in array"))
    }

    fn fields<V: Visitor<'de>>(self, fields: &'de Map<String, Value>, visitor: V) -> Result<V::Value, Error> {
        let mut rest = Fields { fields: fields.iter(), current: None, path: self.path, notes: self.notes };
        let read = visitor.visit_map(&mut rest)?;
        let is_whole = rest.fields.len() == 0;
        is_whole.then_some(read).ok_or_else(|| Error::invalid_length(fields.len(), &"fewer elements in map"))
    }
}

/// Reads with a seed what is at a place, and notes the place if that fails.
fn at<'de, S: DeserializeSeed<'de>>(
    seed: S,
    value: &'de Value,
    path: &Path<'_>,
    notes: &mut Notes,
) -> Result<S::Value, Error> {
    let read = seed.deserialize(Reader { value, path, notes });
    if read.is_err() {
        notes.fail(path);
    }
    read
}

/// What serde_json reads as it stands.
macro_rules! as_it_stands {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.value.$method(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Reader<'de, '_> {
    type Error = Error;

    as_it_stands! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64 deserialize_char
        deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Array(items) => self.items(items, visitor),
            Value::Object(fields) => self.fields(fields, visitor),
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.value.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Array(items) => self.items(items, visitor),
            other => other.deserialize_seq(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.value {
            Value::Object(fields) => self.fields(fields, visitor),
            other => other.deserialize_map(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.value {
            Value::Array(items) => self.items(items, visitor),
            Value::Object(given) => self.fields(given, visitor),
            other => other.deserialize_struct(name, fields, visitor),
        }
    }

    /// The enums of Istio's and Kubernetes' APIs are words: there is nothing in them to be noted.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.value.deserialize_enum(name, variants, visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.notes.note(self.path);
        visitor.visit_unit()
    }
}

struct Items<'de, 'p> {
    items: std::iter::Enumerate<std::slice::Iter<'de, Value>>,
    path: &'p Path<'p>,
    notes: &'p mut Notes,
}

impl<'de> SeqAccess<'de> for Items<'de, '_> {
    type Error = Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        let Some((index, value)) = self.items.next() else { return Ok(None) };
        at(seed, value, &Path::Item(self.path, index), self.notes).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Fields<'de, 'p> {
    fields: serde_json::map::Iter<'de>,
    current: Option<(&'de str, &'de Value)>,
    path: &'p Path<'p>,
    notes: &'p mut Notes,
}

impl<'de> MapAccess<'de> for Fields<'de, '_> {
    type Error = Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Error> {
        self.current = self.fields.next().map(|(key, value)| (key.as_str(), value));
        let Some((key, _)) = self.current else { return Ok(None) };
        let read = seed.deserialize(Key(key));
        if read.is_err() {
            self.notes.fail(&Path::Field(self.path, key));
        }
        read.map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Error> {
        let (key, value) = self.current.take().ok_or_else(|| Error::custom("value is missing"))?;
        at(seed, value, &Path::Field(self.path, key), self.notes)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.fields.len())
    }
}

/// A key: a name, or a number in quotes.
struct Key<'de>(&'de str);

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            if !self.0.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
                return Err(Error::custom("invalid value: expected key to be a number in quotes"));
            }
            let mut number = serde_json::Deserializer::from_str(self.0);
            let read = number.$method(visitor)?;
            number.end().map_err(|_| Error::custom("invalid value: expected key to be a number in quotes"))?;
            Ok(read)
        })*
    };
}

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Error;

    numbers! { deserialize_i32 deserialize_i64 deserialize_u16 deserialize_u32 deserialize_u64 }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(IntoDeserializer::<de::value::Error>::into_deserializer(self.0)).map_err(Error::custom)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i128 u8 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq tuple tuple_struct
        map struct identifier ignored_any
    }
}
