//! What is wrong with one object: what an API server says by the definition of its kind, and what validation says.

use std::{collections::BTreeSet, sync::Arc};

use serde_json::Value;

use crate::{
    api::{Kind, istio_operator},
    cli::findings::Finding,
    install::Manifest,
    model::{Code, ObjectRef, Severity},
    schema::{Rule, Schemas, Violation},
    validate::{self, Context},
};

/// Bytes of a value that is quoted as a whole.
const LONGEST_VALUE: usize = 256;

/// What became of an object.
pub(super) enum Verdict {
    /// Its kind is none of our business.
    Skipped,
    /// Its name as far as it has one, and all that is wrong.
    Judged(Option<ObjectRef>, Vec<Finding>),
}

/// Judges objects.
pub(super) struct Judge {
    schemas: Schemas,
    context: Context,
}

impl Judge {
    pub(super) fn new(domain: Arc<str>) -> Self {
        Self { schemas: Schemas::default(), context: Context { domain_suffix: domain } }
    }

    pub(super) fn judge(&self, mut object: Value) -> Verdict {
        let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        match (group, &*kind) {
            _ if api_version.is_empty() || kind.is_empty() => self.by_webhook(None, &object),
            (istio_operator::GROUP, istio_operator::KIND) => self.operator(&object),
            ("", "ConfigMap") if ["mesh", "meshNetworks"].iter().any(|key| object["data"][key].is_string()) => {
                self.by_webhook(None, &object)
            }
            ("istio.io", _) => self.by_webhook(None, &object),
            (group, kind) if group.ends_with(".istio.io") => {
                set_namespace(&mut object);
                self.by_webhook(Kind::from_group_kind(group, kind), &object)
            }
            _ => Verdict::Skipped,
        }
    }

    /// Both judgements. Of what both find at one field, that of validation is told: it says what would be right.
    fn by_webhook(&self, kind: Option<Kind>, object: &Value) -> Verdict {
        let judged = validate::validate(object, &self.context);
        let reference = judged.first().map(|finding| finding.object.clone());
        let reference = reference.or_else(|| kind.and_then(|kind| reference_of(kind.kind(), object)));
        let refused: BTreeSet<&str> =
            judged.iter().filter(|f| f.code.severity() == Severity::Error).map(|f| f.path.as_str()).collect();
        let violations = kind.map(|kind| self.schemas.check(kind, object)).unwrap_or_default();
        let violations = violations.into_iter().filter(|v| !refused.contains(v.path.as_str()));
        let mut findings: Vec<Finding> = violations.map(|v| violated(reference.clone(), v)).collect();
        findings.extend(judged.into_iter().map(|f| Finding {
            code: f.code,
            object: Some(f.object),
            path: f.path,
            value: f.value,
            message: f.message,
            place: None,
        }));
        Verdict::Judged(reference, findings)
    }

    /// An IstioOperator is judged by making its objects.
    fn operator(&self, object: &Value) -> Verdict {
        let reference = reference_of(istio_operator::KIND, object);
        let definition = istio_operator::definition();
        let violations = self.schemas.check_definition(&definition, object);
        let mut findings: Vec<Finding> = violations.into_iter().map(|v| violated(reference.clone(), v)).collect();
        let mut add = |code, message: String| {
            let (path, message) = split_path(message);
            let object = reference.clone();
            findings.push(Finding { code, object, path, value: None, message, place: None });
        };
        match Manifest::of_object(object.clone(), &[]) {
            Ok(made) => made.warnings.into_iter().for_each(|warning| add(Code::InstallationPartial, warning)),
            Err(error) => add(Code::InstallationRefused, format!("{:#}", anyhow::Error::new(error))),
        }
        Verdict::Judged(reference, findings)
    }
}

/// What installations say begins with the path that is meant.
fn split_path(message: String) -> (String, String) {
    let begins = message.split_once(": ").filter(|(path, _)| !path.contains(' ') && !path.is_empty());
    match begins {
        Some((path, rest)) => {
            let path = if path.starts_with("spec") { path.to_owned() } else { format!("spec.{path}") };
            (path, rest.to_owned())
        }
        None => (String::new(), message),
    }
}

fn violated(object: Option<ObjectRef>, violation: Violation) -> Finding {
    let code = match violation.rule {
        Rule::Required => Code::FieldMissing,
        Rule::Type => Code::Undecodable,
        Rule::OneOf => Code::FieldsExclusive,
        Rule::Enum | Rule::Bounds | Rule::Duplicate | Rule::Cel => Code::SchemaViolated,
    };
    let Violation { path, value, message, .. } = violation;
    let value = value.filter(|value| value.to_string().len() <= LONGEST_VALUE);
    Finding { code, object, path, value, message, place: None }
}

fn reference_of(kind: &'static str, object: &Value) -> Option<ObjectRef> {
    let meta = object.get("metadata")?;
    let text = |key: &str| meta.get(key).and_then(Value::as_str).unwrap_or_default();
    let name = text("name");
    (!name.is_empty())
        .then(|| ObjectRef::new(kind, if text("namespace").is_empty() { "default" } else { text("namespace") }, name))
}

/// As `kubectl` does.
fn set_namespace(object: &mut Value) {
    if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut)
        && meta.get("namespace").is_none_or(|n| n.is_null() || n == "")
    {
        meta.insert("namespace".to_owned(), "default".into());
    }
}
