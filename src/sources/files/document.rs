//! The text of a file as a list of documents. Pure: no I/O.
//!
//! YAML is split at its document markers first, so that every document is parsed, and found wrong, on its own.

use std::{fmt, ops::Range};

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::lines::Lines;

/// One document: an object, or an item of a `List`.
#[derive(Debug, PartialEq)]
pub struct Document {
    /// Where it is in the file.
    pub spot: Spot,
    /// Its content.
    pub value: Value,
}

/// Where a document is in the bytes of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The line on which it starts, from 1.
    pub line: u32,
    /// Which item of a `List` it is.
    pub item: Option<usize>,
    /// The text of the document, with what is around it.
    start: usize,
    end: usize,
    /// The line on which this text starts.
    first_line: u32,
}

impl Spot {
    /// Whether both are of one text: items of the same `List`.
    #[must_use]
    pub fn is_of_same_text(&self, other: &Self) -> bool {
        (self.start, self.end) == (other.start, other.end)
    }

    /// The lines of everything within the text, out of the bytes of its file.
    #[must_use]
    pub fn lines(&self, content: &[u8]) -> Lines {
        let text = content.get(self.start..self.end).and_then(|bytes| str::from_utf8(bytes).ok());
        Lines::of(text.unwrap_or_default(), self.first_line.saturating_sub(1))
    }

    fn new(text: Range<usize>, first_line: u32, line: u32) -> Self {
        Self { line, item: None, start: text.start, end: text.end, first_line }
    }
}

/// A place where the text is not YAML or JSON.
#[derive(Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong.
    pub reason: String,
}

/// What a file's text holds.
#[derive(Debug, Default, PartialEq)]
pub struct Parsed {
    /// The documents that could be parsed, lists taken apart.
    pub documents: Vec<Document>,
    /// Why others could not.
    pub errors: Vec<SyntaxError>,
}

/// A byte order mark, which may precede the text.
const MARK: char = '\u{feff}';

/// Parses a file.
pub(super) fn parse(content: &[u8], json: bool) -> Parsed {
    let text = match std::str::from_utf8(content) {
        Ok(text) => text.strip_prefix(MARK).unwrap_or(text),
        Err(error) => {
            let (good, bad) = content.split_at(error.valid_up_to());
            let byte = bad.first().copied().unwrap_or_default();
            let reason = format!("invalid UTF-8: byte 0x{byte:02x} at offset {}", good.len());
            return Parsed { documents: Vec::new(), errors: vec![SyntaxError { line: line_at(good), reason }] };
        }
    };
    let mut parsed = Parsed::default();
    let before = content.len() - text.len();
    if json {
        parse_json(text, before, &mut parsed);
    } else {
        for chunk in chunks(text) {
            parse_yaml(text, before, &chunk, &mut parsed);
        }
    }
    parsed
}

/// The line that follows this much text.
fn line_at(before: &[u8]) -> u32 {
    let newlines = before.iter().filter(|&&b| b == b'\n').count();
    u32::try_from(newlines).map_or(u32::MAX, |n| n.saturating_add(1))
}

/// A YAML document within its text.
struct Chunk<'a> {
    text: &'a str,
    /// Where it starts.
    offset: usize,
    line: u32,
}

/// Splits at `---` and `...` at the start of a line, which always are document markers in YAML, even within block
/// scalars.
fn chunks(text: &str) -> Vec<Chunk<'_>> {
    let (mut chunks, mut start, mut line, mut start_line, mut offset) = (Vec::new(), 0, 1, 1, 0);
    for content in text.split_inclusive('\n') {
        if is_marker(content) {
            chunks.push(Chunk { text: &text[start..offset], offset: start, line: start_line });
            (start, start_line) = (offset + 3, line);
        }
        offset += content.len();
        line += 1;
    }
    chunks.push(Chunk { text: &text[start..], offset: start, line: start_line });
    chunks.retain(|chunk| !chunk.text.lines().all(is_blank));
    chunks
}

fn is_marker(line: &str) -> bool {
    let rest = line.strip_prefix("---").or_else(|| line.strip_prefix("..."));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Whether a line says nothing: empty, a comment or a directive.
fn is_blank(line: &str) -> bool {
    let line_content = line.trim();
    line_content.is_empty() || line_content.starts_with('#') || line.starts_with('%')
}

fn parse_yaml(text: &str, before: usize, chunk: &Chunk<'_>, parsed: &mut Parsed) {
    match serde_yaml_ng::from_str::<Json>(chunk.text) {
        Ok(Json(value)) => {
            let blank = chunk.text.lines().take_while(|line| is_blank(line)).count();
            let line = chunk.line.saturating_add(u32::try_from(blank).unwrap_or(u32::MAX));
            let start = before + chunk.offset;
            let spot = Spot::new(start..start + chunk.text.len(), chunk.line, line);
            take_apart(Document { spot, value }, &mut parsed.documents);
        }
        Err(_) => parsed.errors.push(yaml_error(text, chunk)),
    }
}

/// Parses a wrong document again behind as many empty lines as precede it, so that every line number within the
/// message is one of the file.
fn yaml_error(text: &str, chunk: &Chunk<'_>) -> SyntaxError {
    let mut padded = "\n".repeat(chunk.line.saturating_sub(1) as usize);
    padded.reserve(text.len());
    padded.push_str(chunk.text);
    let Err(error) = serde_yaml_ng::from_str::<Json>(&padded) else {
        return SyntaxError { line: chunk.line, reason: "not a YAML document".to_owned() };
    };
    let message = error.to_string();
    let Some(location) = error.location() else {
        return SyntaxError { line: chunk.line, reason: message };
    };
    let place = format!(" at line {} column {}", location.line(), location.column());
    let line = u32::try_from(location.line()).unwrap_or(u32::MAX);
    SyntaxError { line, reason: message.replacen(&place, "", 1) }
}

fn parse_json(text: &str, before: usize, parsed: &mut Parsed) {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Json>();
    loop {
        let rest = &text[values.byte_offset()..];
        let start = text.len() - rest.trim_start().len();
        match values.next() {
            None => return,
            Some(Ok(Json(value))) => {
                let line = line_at(&text.as_bytes()[..start]);
                let spot = Spot::new(before + start..before + values.byte_offset(), line, line);
                take_apart(Document { spot, value }, &mut parsed.documents);
            }
            Some(Err(error)) => {
                let place = format!(" at line {} column {}", error.line(), error.column());
                let reason = error.to_string().replacen(&place, "", 1);
                parsed.errors.push(SyntaxError { line: u32::try_from(error.line()).unwrap_or(u32::MAX), reason });
                return;
            }
        }
    }
}

/// Adds a document, or the items of a `List` (also `ServiceList` and so on, whose items may omit their kind).
fn take_apart(mut document: Document, into: &mut Vec<Document>) {
    let is_list = document.value["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    let Some(items) = document.value.get_mut("items").filter(|_| is_list).map(Value::take) else {
        if !document.value.is_null() {
            into.push(document);
        }
        return;
    };
    let Value::Array(items) = items else { return };
    for (n, mut value) in items.into_iter().enumerate() {
        inherit_type(&document.value, &mut value);
        into.push(Document { spot: Spot { item: Some(n), ..document.spot }, value });
    }
}

fn inherit_type(list: &Value, item: &mut Value) {
    let kind = list["kind"].as_str().and_then(|kind| kind.strip_suffix("List")).unwrap_or_default();
    let Some(item) = item.as_object_mut().filter(|_| !kind.is_empty()) else { return };
    item.entry("kind").or_insert_with(|| kind.into());
    item.entry("apiVersion").or_insert_with(|| list["apiVersion"].clone());
}

/// A JSON value that refuses a key given twice and honours YAML's merge key `<<`.
struct Json(Value);

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor).map(Json)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Json(value)) = items.next_element()? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Json(value) = entries.next_value()?;
            if map.contains_key(&key) {
                return Err(de::Error::custom(format_args!("key `{key}` is given twice")));
            }
            map.insert(key, value);
        }
        if let Some(merged) = map.shift_remove("<<") {
            merge(&mut map, merged);
        }
        Ok(Value::Object(map))
    }
}

/// Adds what a merge key refers to; the map's own keys win, then earlier sources.
fn merge(map: &mut Map<String, Value>, merged: Value) {
    match merged {
        Value::Object(other) => {
            for (key, value) in other {
                map.entry(key).or_insert(value);
            }
        }
        Value::Array(sources) => sources.into_iter().for_each(|source| merge(map, source)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn documents(text: &str) -> Vec<(u32, Value)> {
        let parsed = parse(text.as_bytes(), false);
        assert_eq!(parsed.errors, []);
        parsed.documents.into_iter().map(|d| (d.spot.line, d.value)).collect()
    }

    fn error(content: &[u8], json: bool) -> (u32, String) {
        let mut errors = parse(content, json).errors;
        assert_eq!(errors.len(), 1, "{errors:?}");
        let error = errors.remove(0);
        (error.line, error.reason)
    }

    #[test]
    fn every_document_knows_its_line() {
        let text = "# a comment\nkind: A\n---\n\n# another\nkind: B\n---\n---\r\nkind: C\n...\n";
        assert_eq!(documents(text), [(2, json!({"kind": "A"})), (6, json!({"kind": "B"})), (9, json!({"kind": "C"}))]);
    }

    #[test]
    fn lists_are_taken_apart() {
        let text = "apiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: a}\n- {kind: Pod, apiVersion: v1}\n";
        let items: Vec<Value> = documents(text).into_iter().map(|(_, value)| value).collect();
        assert_eq!(
            items,
            [
                json!({"metadata": {"name": "a"}, "kind": "Service", "apiVersion": "v1"}),
                json!({"kind": "Pod", "apiVersion": "v1"})
            ]
        );
    }

    #[test]
    fn scalars_keep_their_types_and_keys_are_strings() {
        let value = &documents("80: on\na: true\nb: 1\nc: 1.5\nd: \"1\"\ne: ~\nf: -2\ntrue: x\n")[0].1;
        let expected = json!({"80": "on", "a": true, "b": 1, "c": 1.5, "d": "1", "e": null, "f": -2, "true": "x"});
        assert_eq!(*value, expected);
    }

    #[test]
    fn merge_keys_are_honoured() {
        let value = &documents("base: &b {x: 1, y: 2}\nuse:\n  <<: *b\n  y: 3\n")[0].1;
        assert_eq!(value["use"], json!({"y": 3, "x": 1}));
    }

    #[test]
    fn a_wrong_document_does_not_hide_the_others() {
        let parsed = parse(b"kind: A\n---\nkind: [B\n---\nkind: C\n", false);
        assert_eq!(parsed.documents.len(), 2);
        assert_eq!(parsed.errors.len(), 1);
        assert_eq!(parsed.errors[0].line, 4, "{:?}", parsed.errors);
    }

    #[test]
    fn errors_name_line_and_reason() {
        let reason = "mapping values are not allowed in this context";
        assert_eq!(error(b"a: 1\n---\nb: 1\nc: d: e\n", false), (4, reason.to_owned()));
        assert_eq!(error(b"a: 1\n---\nb: 1\nb: 2\n", false), (3, "key `b` is given twice".to_owned()));
        assert_eq!(error(b"a: b\nc: \xff\n", false), (2, "invalid UTF-8: byte 0xff at offset 8".to_owned()));
        assert_eq!(error(b"{\n\"a\": 1,\n}", true), (3, "trailing comma".to_owned()));
    }

    #[test]
    fn fields_are_found_on_their_lines() {
        let yaml = "\u{feff}# a comment\na: 1\n--- # another\nkind: List\nitems:\n- a: é\n- a: 1\n  b: 2\n---\nc: 3\n";
        let found = |content: &str, json: bool, document: usize, path: &str| {
            let spot = parse(content.as_bytes(), json).documents[document].spot;
            spot.lines(content.as_bytes()).line_of(spot.item, path)
        };
        let places = [(0, "a", 2), (1, "a", 6), (2, "b", 8), (2, "", 7), (3, "c", 10)];
        for (document, path, line) in places {
            assert_eq!(found(yaml, false, document, path), Some(line), "{document} {path}");
        }
        assert_eq!(found("{}\n{\n\"a\":\n1}", true, 1, "a"), Some(3));
    }

    #[test]
    fn json_files_may_hold_several_documents() {
        let parsed = parse(b"{\"a\": 1}\n{\"b\":\n 2}\n", true);
        assert_eq!(parsed.documents.iter().map(|d| d.spot.line).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(parsed.errors, []);
    }
}
