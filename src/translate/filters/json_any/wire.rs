//! Protobuf's encoding. The length of what holds something is known only when that is written: room is left for it.

use prost::encoding::{self, WireType, encode_key, encode_varint};
use prost_reflect::{Kind, Value};

/// A field that holds what `write` writes.
pub(super) fn nested<E>(
    number: u32,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    encode_key(number, WireType::LengthDelimited, out);
    let start = out.len();
    // Most is short, and its length has one byte: then nothing moves.
    out.push(0);
    write(out)?;
    let len = out.len() - start - 1;
    let more = encoding::encoded_len_varint(len as u64) - 1;
    if more > 0 {
        out.resize(out.len() + more, 0);
        out.copy_within(start + 1..start + 1 + len, start + 1 + more);
    }
    encode_varint(len as u64, &mut &mut out[start..]);
    Ok(())
}

/// A field of bytes.
pub(super) fn bytes(number: u32, content: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// A field of a kind that is no message; items of lists are written one by one, which every decoder takes.
pub(super) fn scalar(kind: &Kind, number: u32, value: &Value, out: &mut Vec<u8>) {
    match (kind, value) {
        (Kind::Sint32, Value::I32(n)) => encoding::sint32::encode(number, n, out),
        (Kind::Sfixed32, Value::I32(n)) => encoding::sfixed32::encode(number, n, out),
        (Kind::Sint64, Value::I64(n)) => encoding::sint64::encode(number, n, out),
        (Kind::Sfixed64, Value::I64(n)) => encoding::sfixed64::encode(number, n, out),
        (Kind::Fixed32, Value::U32(n)) => encoding::fixed32::encode(number, n, out),
        (Kind::Fixed64, Value::U64(n)) => encoding::fixed64::encode(number, n, out),
        (_, Value::I32(n) | Value::EnumNumber(n)) => encoding::int32::encode(number, n, out),
        (_, Value::I64(n)) => encoding::int64::encode(number, n, out),
        (_, Value::U32(n)) => encoding::uint32::encode(number, n, out),
        (_, Value::U64(n)) => encoding::uint64::encode(number, n, out),
        (_, Value::Bool(flag)) => encoding::bool::encode(number, flag, out),
        (_, Value::F32(n)) => encoding::float::encode(number, n, out),
        (_, Value::F64(n)) => encoding::double::encode(number, n, out),
        (_, Value::String(text)) => bytes(number, text.as_bytes(), out),
        (_, Value::Bytes(content)) => bytes(number, content, out),
        (_, Value::Message(_) | Value::List(_) | Value::Map(_)) => unreachable!("no scalar"),
    }
}

/// Puts the fields of a message in the order of their numbers. `fields`: the number of each, and where it begins.
pub(super) fn sort_fields(fields: &[(u32, usize)], out: &mut Vec<u8>) {
    if fields.is_sorted_by_key(|(number, _)| *number) {
        return;
    }
    let start = fields[0].1;
    let ends = fields[1..].iter().map(|(_, start)| *start).chain([out.len()]);
    let mut parts: Vec<_> = fields.iter().zip(ends).map(|((number, start), end)| (*number, *start..end)).collect();
    parts.sort_by_key(|(number, _)| *number);
    let written = out.split_off(start);
    parts.iter().for_each(|(_, part)| out.extend_from_slice(&written[part.start - start..part.end - start]));
}
