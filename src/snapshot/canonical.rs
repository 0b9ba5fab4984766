//! Makes the encoding of a message depend on its content alone.
//!
//! `envoy-types` keeps protobuf maps in `HashMap`s, whose order differs from one encoding to the next and from
//! one process to the next. Here the entries of each map in an encoded message are put in the order of their
//! keys' bytes. That moves bytes but never changes a length, so it is done in place; messages that reach no map
//! are left alone at the cost of one look-up, and sub-messages that reach none are stepped over.
//!
//! The `value` of an `Any` is not looked into: who packs it makes it canonical (`pack_any`).

use std::{ops::Range, sync::LazyLock};

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use prost::encoding::{WireType, decode_key, decode_varint};
use smallvec::SmallVec;

use super::map_fields::MESSAGES;

/// Where a field leads; the numbers index [`MESSAGES`].
#[derive(Clone, Copy, Debug)]
pub(super) enum Reach {
    /// A map, whose values reach further maps or do not.
    Map(Option<u16>),
    /// A message (or several) that contains a map somewhere.
    Message(u16),
}

/// Field number of the key in a map entry, and of the value.
const KEY: u32 = 1;
const VALUE: u32 = 2;

/// Where each message is in [`MESSAGES`]: names that begin alike are slow to search for.
static INDEX: LazyLock<HashMap<&str, usize, FixedState>> =
    LazyLock::new(|| MESSAGES.iter().enumerate().map(|(index, (name, _))| (*name, index)).collect());

/// Sorts all maps in an encoded message. Bytes that are no such message are left as they are, in part or whole.
pub(super) fn sort_maps(message: &str, bytes: &mut [u8]) {
    if let Some(index) = INDEX.get(message) {
        sort_message(*index, bytes);
    }
}

/// One field as it stands in the bytes.
struct Field {
    number: u32,
    /// Where its tag begins.
    start: usize,
    /// The content of a length-delimited field, the encoded value of any other.
    value: Range<usize>,
    is_message: bool,
}

/// Reads the field that begins at `start`; `None` at the end and for bytes that are not a field.
fn field_at(bytes: &[u8], start: usize) -> Option<Field> {
    let mut rest = bytes.get(start..).filter(|rest| !rest.is_empty())?;
    let (number, wire_type) = decode_key(&mut rest).ok()?;
    let tag_end = bytes.len() - rest.len();
    let value = match wire_type {
        WireType::Varint => {
            decode_varint(&mut rest).ok()?;
            tag_end..bytes.len() - rest.len()
        }
        WireType::SixtyFourBit => tag_end..tag_end + 8,
        WireType::ThirtyTwoBit => tag_end..tag_end + 4,
        WireType::LengthDelimited => {
            let len = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
            let begin = bytes.len() - rest.len();
            begin..begin.checked_add(len)?
        }
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    let is_message = wire_type == WireType::LengthDelimited;
    (value.end <= bytes.len()).then_some(Field { number, start, value, is_message })
}

fn sort_message(index: usize, bytes: &mut [u8]) {
    let Some((_, fields)) = MESSAGES.get(index) else { return };
    let mut at = 0;
    while let Some(field) = field_at(bytes, at) {
        at = field.value.end;
        if !field.is_message {
            continue;
        }
        match fields.iter().find(|(number, _)| *number == field.number) {
            None => {}
            Some((_, Reach::Message(index))) => sort_message(usize::from(*index), &mut bytes[field.value]),
            Some((_, Reach::Map(values))) => at = sort_map(&field, *values, bytes),
        }
    }
}

/// Sorts the entries of the map whose first entry is given, and the maps in its values. Returns where it ends:
/// an encoder writes the entries of a map one after the other.
fn sort_map(first: &Field, values: Option<u16>, bytes: &mut [u8]) -> usize {
    let mut entries = SmallVec::<[Entry; 8]>::new();
    let mut end = first.start;
    while let Some(field) = field_at(bytes, end).filter(|f| f.number == first.number && f.is_message) {
        end = field.value.end;
        entries.push(sort_entry(&field, values, bytes));
    }
    if !entries.is_sorted_by_key(|entry| &bytes[entry.key.clone()]) {
        entries.sort_by_key(|entry| &bytes[entry.key.clone()]);
        let mut sorted = Vec::with_capacity(end - first.start);
        entries.iter().for_each(|entry| sorted.extend_from_slice(&bytes[entry.whole.clone()]));
        bytes[first.start..end].copy_from_slice(&sorted);
    }
    end
}

/// An entry of a map: tag, length and content; and the key's own bytes, none for the default key.
struct Entry {
    whole: Range<usize>,
    key: Range<usize>,
}

fn sort_entry(entry: &Field, values: Option<u16>, bytes: &mut [u8]) -> Entry {
    let begin = entry.value.start;
    let content = &mut bytes[entry.value.clone()];
    let mut key = 0..0;
    let mut at = 0;
    while let Some(field) = field_at(content, at) {
        at = field.value.end;
        match (field.number, values) {
            (KEY, _) => key = field.value,
            (VALUE, Some(index)) if field.is_message => sort_message(usize::from(index), &mut content[field.value]),
            _ => {}
        }
    }
    Entry { whole: entry.start..entry.value.end, key: begin + key.start..begin + key.end }
}

#[cfg(test)]
mod tests;
