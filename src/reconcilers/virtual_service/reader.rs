//! Reading one entry: where we are, and what is wrong with it.

use std::{cell::RefCell, fmt::Display, sync::Arc, time::Duration};

use super::{host_set::HostSet, text};
use crate::{
    api,
    model::{
        Code, Labels,
        virtual_service::{Percent, StringMatch},
    },
    reconcilers::{Flaw, Problems, regex, rules::check_label_syntax, telemetry::expression::Expressions},
};

/// What the entries of an object have in common.
#[derive(Debug)]
pub(super) struct Site<'a> {
    /// The object's namespace.
    pub(super) namespace: &'a Arc<str>,
    /// The suffix of Kubernetes host names.
    pub(super) domain_suffix: &'a str,
    /// Whether the object is a delegate.
    pub(super) delegate: bool,
    /// Whether claims of tokens can be matched.
    pub(super) claims: bool,
    /// The object's hosts.
    pub(super) hosts: &'a HostSet,
    /// Judges the expressions in values of headers, all together.
    pub(super) expressions: RefCell<Expressions>,
}

/// The path of a field: a text, or what becomes one when something is wrong there (`format_args!`).
pub(super) trait Field: Display + Copy {}

impl<T: Display + Copy> Field for T {}

/// Reads one entry. Fields are given relative to it.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) site: &'a Site<'a>,
    path: String,
    problems: &'a mut Problems,
    failed: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(site: &'a Site<'a>, path: String, problems: &'a mut Problems) -> Self {
        Self { site, path, problems, failed: false }
    }

    /// Whether the entry cannot be used.
    pub(super) const fn failed(&self) -> bool {
        self.failed
    }

    /// The entry cannot be used.
    pub(super) fn error(&mut self, code: Code, field: impl Field, reason: impl AsRef<str>) {
        self.failed = true;
        self.problems.add(code, self.at(field), format!("{}; the entry is left out", reason.as_ref()));
    }

    /// The same, of what a check found.
    pub(super) fn flaw(&mut self, field: impl Field, flaw: Flaw) {
        self.error(flaw.code, field, flaw.reason);
    }

    /// A part of the entry is not used.
    pub(super) fn note(&mut self, code: Code, field: impl Field, reason: impl Into<String>) {
        self.problems.add(code, self.at(field), reason);
    }

    /// Labels that workloads could have.
    pub(super) fn label_syntax(&mut self, field: impl Field, labels: &Labels) {
        if !labels.is_empty() {
            check_label_syntax(&self.at(field), labels, self.problems);
        }
    }

    pub(super) fn not_honoured(&mut self, field: impl Field) {
        self.problems.not_honoured(self.at(field));
    }

    fn at(&self, field: impl Field) -> String {
        let mut path = format!("{}.{field}", self.path);
        if path.len() == self.path.len() + 1 {
            path.pop();
        }
        path
    }

    /// What a check says of a field.
    pub(super) fn check<T>(&mut self, field: impl Field, checked: Result<T, Flaw>) -> Option<T> {
        checked.map_err(|flaw| self.flaw(field, flaw)).ok()
    }

    /// Text that goes into a header or path of a request; empty is unset.
    pub(super) fn plain(&mut self, field: impl Field, value: &str) -> Option<Arc<str>> {
        if value.is_empty() {
            return None;
        }
        self.check(field, text::plain(value)).map(Into::into)
    }

    /// A duration of at least a millisecond.
    pub(super) fn duration(&mut self, field: impl Field, value: Option<&api::Duration>) -> Option<Duration> {
        let read = Duration::try_from(value?).map_err(|e| Flaw::new(Code::DurationMalformed, e.to_string()));
        let read = self.check(field, read)?;
        if read < Duration::from_millis(1) {
            self.error(Code::DurationTooShort, field, format!("{read:?} is too short: use at least 1ms"));
        } else if read.subsec_nanos() % 1_000_000 != 0 {
            self.note(Code::DurationTooFine, field, format!("{read:?} is no whole number of milliseconds"));
        }
        Some(read)
    }

    /// A port; zero is unset.
    pub(super) fn port(&mut self, field: impl Field, value: u32) -> Option<u16> {
        match u16::try_from(value) {
            Ok(0) => None,
            Ok(port) => Some(port),
            Err(_) => {
                self.error(Code::PortOutOfRange, field, format!("{value} is not a port: use 1 to 65535"));
                None
            }
        }
    }

    /// A share in percent.
    pub(super) fn percent(&mut self, field: impl Field, value: Option<&api::http_route::Percent>) -> Option<Percent> {
        let value = value?.value;
        if !(0.0..=100.0).contains(&value) {
            self.error(Code::PercentOutOfRange, field, format!("{value} is not a percentage: use 0 to 100"));
        }
        // Rounded down, as Istio does; a float out of range saturates.
        Some(Percent::Millionths((value * 10_000.0) as u32))
    }

    /// A whole share in percent, of the older fields.
    pub(super) fn whole_percent(&mut self, field: impl Field, value: i64) -> Percent {
        match u32::try_from(value) {
            Ok(share @ 0..=100) => Percent::Hundredths(share),
            _ => {
                self.error(Code::PercentOutOfRange, field, format!("{value} is not a percentage: use 0 to 100"));
                Percent::Hundredths(0)
            }
        }
    }

    /// A condition on a text.
    pub(super) fn condition(&mut self, field: impl Field, given: &api::common::StringMatch) -> Option<StringMatch> {
        let read = match (&given.exact, &given.prefix, &given.regex) {
            (None, None, None) => StringMatch::Present,
            (Some(exact), None, None) => StringMatch::Exact(exact.as_str().into()),
            (None, Some(prefix), None) => StringMatch::Prefix(prefix.as_str().into()),
            (None, None, Some(regex)) => {
                self.check(field, regex::check(regex))?;
                StringMatch::Regex(regex.as_str().into())
            }
            _ => {
                self.error(Code::FieldsExclusive, field, "only one of exact, prefix and regex can be set");
                return None;
            }
        };
        Some(read)
    }

    /// The same for all but paths: no prefix is empty, and the expression `*` asks for presence, although the reference
    /// takes it for headers that must be absent only.
    pub(super) fn text_condition(
        &mut self,
        field: impl Field,
        given: &api::common::StringMatch,
    ) -> Option<StringMatch> {
        if given.regex.as_deref() == Some("*") {
            if !field.to_string().contains("withoutHeaders") {
                let reason = "\"*\" is not an RE2 expression: leave the condition empty to ask for presence";
                self.error(Code::RegexInvalid, field, reason);
            }
            return Some(StringMatch::Present);
        }
        if given.prefix.as_deref() == Some("") {
            self.error(
                Code::StringMatchEmpty,
                field,
                "an empty prefix takes everything: leave the condition empty to ask for presence",
            );
        }
        self.condition(field, given)
    }
}
