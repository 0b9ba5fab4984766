//! Structural schemas: compiled from the CRD, asked about values.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use regex::Regex;
use serde_json::{Map, Value};

use super::{Path, Rule, Violation, cel::CelRule};

/// The schema of one place.
#[derive(Default)]
pub(super) struct Node {
    kind: Option<Type>,
    int_or_string: bool,
    nullable: bool,
    required: Vec<String>,
    properties: BTreeMap<String, Node>,
    /// Of what `properties` do not name.
    values: Option<Box<Node>>,
    items: Option<Box<Node>>,
    choices: Vec<String>,
    bounds: Bounds,
    pattern: Option<Regex>,
    format: Format,
    list_keys: Vec<String>,
    is_set: bool,
    /// Alternatives of required members (`oneOf`, also within `allOf`).
    one_of: Vec<Vec<Condition>>,
    pub(super) rules: Vec<CelRule>,
    /// Whether there is a rule here or further in.
    pub(super) has_rules: bool,
}

/// The type of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

/// A form of values that the type does not say.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Format {
    #[default]
    Any,
    Int32,
    Byte,
}

#[derive(Default)]
struct Bounds {
    minimum: Option<f64>,
    maximum: Option<f64>,
    length: (Option<u64>, Option<u64>),
    items: (Option<u64>, Option<u64>),
    properties: (Option<u64>, Option<u64>),
}

/// What an alternative asks of an object: in structural schemas of ours, members.
enum Condition {
    Has(Vec<String>),
    /// `not: {anyOf: […]}`.
    HasNone(Vec<Condition>),
}

impl Condition {
    fn compile(schema: &Value) -> Self {
        match schema["not"]["anyOf"].as_array() {
            Some(others) => Self::HasNone(others.iter().map(Self::compile).collect()),
            None => Self::Has(texts(&schema["required"])),
        }
    }

    fn holds(&self, object: &Map<String, Value>) -> bool {
        match self {
            Self::Has(members) => members.iter().all(|m| object.contains_key(m)),
            Self::HasNone(others) => !others.iter().any(|c| c.holds(object)),
        }
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

impl Type {
    fn compile(name: &Value) -> Option<Self> {
        Some(match name.as_str()? {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    fn is_of(self, value: &Value) -> bool {
        match self {
            Self::Object => value.is_object(),
            Self::Array => value.is_array(),
            Self::String => value.is_string(),
            Self::Integer => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|n| n.fract() == 0.0),
            Self::Number => value.is_number(),
            Self::Boolean => value.is_boolean(),
        }
    }
}

impl Node {
    /// Compiles a schema. What structural schemas cannot have is ignored: our CRDs come from our own types.
    pub(super) fn compile(schema: &Value) -> Self {
        let number = |key: &str| schema[key].as_u64();
        let inner = |key: &str| schema[key].is_object().then(|| Box::new(Self::compile(&schema[key])));
        let properties = schema["properties"].as_object().into_iter().flatten();
        let mut node = Self {
            kind: Type::compile(&schema["type"]),
            int_or_string: schema["x-kubernetes-int-or-string"] == true,
            nullable: schema["nullable"] == true,
            required: texts(&schema["required"]),
            properties: properties.map(|(name, schema)| (name.clone(), Self::compile(schema))).collect(),
            values: inner("additionalProperties"),
            items: inner("items"),
            choices: texts(&schema["enum"]),
            bounds: Bounds {
                minimum: schema["minimum"].as_f64(),
                maximum: schema["maximum"].as_f64(),
                length: (number("minLength"), number("maxLength")),
                items: (number("minItems"), number("maxItems")),
                properties: (number("minProperties"), number("maxProperties")),
            },
            pattern: schema["pattern"].as_str().map(|p| Regex::new(p).expect("a pattern of our own definitions")),
            format: match schema["format"].as_str() {
                Some("int32") => Format::Int32,
                Some("byte") => Format::Byte,
                _ => Format::Any,
            },
            list_keys: texts(&schema["x-kubernetes-list-map-keys"]),
            is_set: schema["x-kubernetes-list-type"] == "set",
            one_of: alternatives(schema),
            rules: schema["x-kubernetes-validations"].as_array().into_iter().flatten().map(CelRule::compile).collect(),
            has_rules: false,
        };
        let mut within = node.properties.values().chain(node.values.as_deref()).chain(node.items.as_deref());
        let inside = within.any(|n| n.has_rules);
        node.has_rules = inside || !node.rules.is_empty();
        node
    }

    /// The schema of a member of an object.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.values.as_deref())
    }

    /// The schema of the items of a list.
    pub(super) fn items(&self) -> Option<&Self> {
        self.items.as_deref()
    }

    /// Whether members are entries of a map, which are named differently.
    pub(super) fn is_map(&self, name: &str) -> bool {
        !self.properties.contains_key(name)
    }
}

fn alternatives(schema: &Value) -> Vec<Vec<Condition>> {
    let all = schema["allOf"].as_array().into_iter().flatten();
    let groups = std::iter::once(schema).chain(all).filter_map(|s| s["oneOf"].as_array());
    groups.map(|group| group.iter().map(Condition::compile).collect()).collect()
}

/// What is wrong with a value.
pub(super) fn check(root: &Node, value: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    Checker { found: &mut found }.check(root, value, Path::Root);
    found
}

struct Checker<'a> {
    found: &'a mut Vec<Violation>,
}

impl Checker<'_> {
    fn add(&mut self, at: Path<'_>, rule: Rule, value: Option<&Value>, message: String) {
        self.found.push(Violation { path: at.to_string(), rule, value: value.cloned(), message, too_many: false });
    }

    fn too_many(&mut self, at: Path<'_>, value: &Value, message: String) {
        self.add(at, Rule::Bounds, Some(value), message);
        if let Some(last) = self.found.last_mut() {
            last.too_many = true;
        }
    }

    fn check(&mut self, node: &Node, value: &Value, at: Path<'_>) {
        if value.is_null() && node.nullable {
            return;
        }
        if node.int_or_string {
            if !(value.is_string() || Type::Integer.is_of(value)) {
                self.wrong_type("integer,string", value, at);
            }
            return;
        }
        if let Some(kind) = node.kind.filter(|kind| !kind.is_of(value)) {
            return self.wrong_type(kind.name(), value, at);
        }
        match value {
            Value::Object(members) => self.object(node, value, members, at),
            Value::Array(items) => self.list(node, value, items, at),
            Value::String(text) => self.text(node, value, text, at),
            Value::Number(number) => self.number(node, value, number.as_f64().unwrap_or_default(), at),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// The API server quotes the type of what it got in place of the value.
    fn wrong_type(&mut self, expected: &str, value: &Value, at: Path<'_>) {
        let got = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(n) if n.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let message = format!("Invalid value: \"{got}\": must be of type {expected}: \"{got}\"");
        self.add(at, Rule::Type, Some(value), message);
    }

    fn object(&mut self, node: &Node, value: &Value, members: &Map<String, Value>, at: Path<'_>) {
        for name in node.required.iter().filter(|name| !members.contains_key(*name)) {
            self.add(Path::Field(&at, name), Rule::Required, None, "Required value".to_owned());
        }
        let size = members.len() as u64;
        if let Some(least) = node.bounds.properties.0.filter(|least| size < *least) {
            self.add(at, Rule::Bounds, Some(value), format!("Invalid value: should have at least {least} properties"));
        }
        if let Some(most) = node.bounds.properties.1.filter(|most| size > *most) {
            self.too_many(at, value, format!("Too many: {size}: must have at most {most} items"));
        }
        for group in &node.one_of {
            let holding = group.iter().filter(|c| c.holds(members)).count();
            if holding != 1 {
                let many = if holding == 0 { "none".to_owned() } else { holding.to_string() };
                let message = format!(
                    "Invalid value: must validate one and only one schema (oneOf). Found {many} valid: {}",
                    exclusive(group, members)
                );
                self.add(at, Rule::OneOf, Some(value), message);
            }
        }
        for (name, member) in members {
            let Some(inner) = node.member(name) else { continue };
            let place = if node.is_map(name) { Path::Key(&at, name) } else { Path::Field(&at, name) };
            self.check(inner, member, place);
        }
    }

    fn list(&mut self, node: &Node, value: &Value, items: &[Value], at: Path<'_>) {
        let size = items.len() as u64;
        if let Some(least) = node.bounds.items.0.filter(|least| size < *least) {
            self.add(
                at,
                Rule::Bounds,
                Some(value),
                format!("Invalid value: {size}: should have at least {least} items"),
            );
        }
        if let Some(most) = node.bounds.items.1.filter(|most| size > *most) {
            self.too_many(at, value, format!("Too many: {size}: must have at most {most} items"));
        }
        self.duplicates(node, items, at);
        let Some(inner) = node.items() else { return };
        for (n, item) in items.iter().enumerate() {
            self.check(inner, item, Path::Item(&at, n));
        }
    }

    fn duplicates(&mut self, node: &Node, items: &[Value], at: Path<'_>) {
        if node.list_keys.is_empty() && !node.is_set {
            return;
        }
        let mut seen = BTreeSet::new();
        for (n, item) in items.iter().enumerate() {
            let key: Map<String, Value> = node.list_keys.iter().map(|key| (key.clone(), item[key].clone())).collect();
            let key = if node.is_set { item.clone() } else { Value::Object(key) };
            if !seen.insert(key.to_string()) {
                self.add(Path::Item(&at, n), Rule::Duplicate, Some(item), format!("Duplicate value: {key}"));
            }
        }
    }

    fn text(&mut self, node: &Node, value: &Value, text: &str, at: Path<'_>) {
        if !node.choices.is_empty() && !node.choices.iter().any(|choice| choice == text) {
            let choices: Vec<String> = node.choices.iter().map(|choice| format!("{choice:?}")).collect();
            let message = format!("Unsupported value: {text:?}: supported values: {}", choices.join(", "));
            self.add(at, Rule::Enum, Some(value), message);
        }
        let length = text.chars().count() as u64;
        if let Some(least) = node.bounds.length.0.filter(|least| length < *least) {
            let message = format!("Invalid value: {text:?}: should be at least {least} chars long");
            self.add(at, Rule::Bounds, Some(value), message);
        }
        if let Some(most) = node.bounds.length.1.filter(|most| length > *most) {
            self.too_many(at, value, format!("Too long: may not be more than {most} bytes"));
        }
        if let Some(pattern) = node.pattern.as_ref().filter(|pattern| !pattern.is_match(text)) {
            self.add(at, Rule::Bounds, Some(value), format!("Invalid value: {text:?}: should match '{pattern}'"));
        }
        if node.format == Format::Byte && STANDARD.decode(text).is_err() {
            self.add(at, Rule::Bounds, Some(value), format!("Invalid value: {text:?}: must be of type byte"));
        }
    }

    fn number(&mut self, node: &Node, value: &Value, number: f64, at: Path<'_>) {
        if let Some(least) = node.bounds.minimum.filter(|least| number < *least) {
            let message = format!("Invalid value: {value}: should be greater than or equal to {least}");
            self.add(at, Rule::Bounds, Some(value), message);
        }
        if let Some(most) = node.bounds.maximum.filter(|most| number > *most) {
            let message = format!("Invalid value: {value}: should be less than or equal to {most}");
            self.add(at, Rule::Bounds, Some(value), message);
        }
        if node.format == Format::Int32 && !(f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number) {
            self.add(at, Rule::Bounds, Some(value), format!("Invalid value: {value}: must be an int32"));
        }
    }
}

/// The members that are set although only one of them may be; the API server does not tell them.
fn exclusive(group: &[Condition], members: &Map<String, Value>) -> String {
    let named = group.iter().filter_map(|c| match c {
        Condition::Has(names) if c.holds(members) => Some(names.join("+")),
        _ => None,
    });
    let set: Vec<String> = named.collect();
    if set.is_empty() {
        "one of the alternatives has to be set".to_owned()
    } else {
        format!("{} are set", set.join(", "))
    }
}
