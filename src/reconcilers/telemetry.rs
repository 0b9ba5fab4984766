//! Telemetries (contract §10), of which nothing is made yet.

pub(super) mod expression;

use self::expression::Expressions;
use super::{Problems, checks, target::For};
use crate::{
    api::{
        self,
        telemetry::{AccessLogging, CustomTag, Metrics, ProviderRef, TagOperation, TagOverride, Tracing},
    },
    model::{Code, Problem},
};

/// What is wrong with an object.
#[must_use]
pub fn check(telemetry: &api::Telemetry) -> Vec<Problem> {
    let mut problems = Problems::of("Telemetry", &telemetry.metadata);
    problems.kind_not_honoured();
    let spec = &telemetry.spec;
    For { selector: spec.selector.as_ref(), target: spec.target_ref.as_ref(), targets: &spec.target_refs }
        .check(&mut problems);
    if spec.tracing.len() > 1 {
        let reason = format!("has {} entries: the first counts", spec.tracing.len());
        problems.add(Code::TracingAmbiguous, "spec.tracing", reason);
    }
    for (i, tracing) in spec.tracing.iter().enumerate() {
        check_tracing(&format!("spec.tracing[{i}]"), tracing, &mut problems);
    }
    let mut expressions = Expressions::default();
    for (i, metrics) in spec.metrics.iter().enumerate() {
        check_metrics(&format!("spec.metrics[{i}]"), metrics, &mut expressions, &mut problems);
    }
    for (i, logging) in spec.access_logging.iter().enumerate() {
        check_logging(&format!("spec.accessLogging[{i}]"), logging, &mut expressions, &mut problems);
    }
    problems.into_vec()
}

fn check_providers(field: &str, providers: &[ProviderRef], problems: &mut Problems) {
    for (i, _) in providers.iter().enumerate().filter(|(_, provider)| provider.name.is_empty()) {
        problems.add(Code::ProviderNameEmpty, format!("{field}.providers[{i}].name"), "is empty: name a provider");
    }
}

fn check_tracing(field: &str, tracing: &Tracing, problems: &mut Problems) {
    check_providers(field, &tracing.providers, problems);
    if tracing.providers.len() > 1 {
        let reason = format!("has {} entries: spans go to the first", tracing.providers.len());
        problems.add(Code::TracingAmbiguous, format!("{field}.providers"), reason);
    }
    if let Some(share) = tracing.random_sampling_percentage.filter(|share| !(0.0..=100.0).contains(share)) {
        let reason = format!("{share} is not a percentage: use 0 to 100");
        problems.add(Code::PercentOutOfRange, format!("{field}.randomSamplingPercentage"), reason);
    }
    for (name, tag) in &tracing.custom_tags {
        let field = format!("{field}.customTags[{name}]");
        if name.is_empty() {
            problems.add(Code::EntryEmpty, &field, "the name of a tag is empty");
        }
        check_tag(&field, tag, problems);
    }
}

fn check_tag(field: &str, tag: &CustomTag, problems: &mut Problems) {
    let sources = [
        ("literal", "value", tag.literal.as_ref().map(|source| &source.value)),
        ("environment", "name", tag.environment.as_ref().map(|source| &source.name)),
        ("header", "name", tag.header.as_ref().map(|source| &source.name)),
        ("formatter", "value", tag.formatter.as_ref().map(|source| &source.value)),
    ];
    let set: Vec<_> = sources.into_iter().filter_map(|(source, part, text)| Some((source, part, text?))).collect();
    match set.len() {
        0 => problems.add(Code::TagSourceMissing, field, "says nothing of where its value comes from"),
        1 => {}
        _ => {
            let names: Vec<&str> = set.iter().map(|(source, ..)| *source).collect();
            problems.add(Code::FieldsExclusive, field, format!("only one of {} can be set", names.join(", ")));
        }
    }
    for (source, part, text) in set {
        checks::required(&format!("{field}.{source}.{part}"), text, problems);
    }
}

fn check_metrics(field: &str, metrics: &Metrics, expressions: &mut Expressions, problems: &mut Problems) {
    check_providers(field, &metrics.providers, problems);
    if let Some(interval) = &metrics.reporting_interval {
        checks::duration(&format!("{field}.reportingInterval"), interval, problems);
    }
    for (i, change) in metrics.overrides.iter().enumerate() {
        let field = format!("{field}.overrides[{i}]");
        if let Some(matches) = &change.r#match {
            if matches.metric.is_some() && matches.custom_metric.is_some() {
                let reason = "only one of metric, customMetric can be set";
                problems.add(Code::FieldsExclusive, format!("{field}.match"), reason);
            }
            if matches.custom_metric.as_ref().is_some_and(String::is_empty) {
                problems.add(Code::FieldMissing, format!("{field}.match.customMetric"), "is empty: name a metric");
            }
        }
        for (name, tag) in &change.tag_overrides {
            check_override(&format!("{field}.tagOverrides[{name}]"), name, tag, expressions, problems);
        }
    }
}

fn check_override(field: &str, name: &str, tag: &TagOverride, expressions: &mut Expressions, problems: &mut Problems) {
    if name.is_empty() {
        problems.add(Code::TagNameEmpty, field, "the name of a tag is empty");
    }
    match (tag.operation, tag.value.is_empty()) {
        (TagOperation::Upsert, true) => {
            problems.add(Code::TagValueUnfit, format!("{field}.value"), "is missing: UPSERT needs it");
        }
        (TagOperation::Remove, false) => {
            problems.add(Code::TagValueUnfit, format!("{field}.value"), "has no effect with REMOVE");
        }
        (TagOperation::Upsert, false) => {
            if let Err(why) = expressions.check(&tag.value) {
                problems.add(Code::TagExpressionInvalid, format!("{field}.value"), why);
            }
        }
        (TagOperation::Remove, true) => {}
    }
}

fn check_logging(field: &str, logging: &AccessLogging, expressions: &mut Expressions, problems: &mut Problems) {
    check_providers(field, &logging.providers, problems);
    if let Some(filter) = &logging.filter
        && let Err(why) = expressions.check(&filter.expression)
    {
        problems.add(Code::ExpressionInvalid, format!("{field}.filter.expression"), why);
    }
}
