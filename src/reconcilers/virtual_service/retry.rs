//! Retries.

use std::sync::Arc;

use super::reader::Reader;
use crate::{
    api::http_route as spec,
    model::{Code, virtual_service::Retries},
};

/// What Envoy retries on, of HTTP and of gRPC.
const CONDITIONS: [&str; 16] = [
    "5xx",
    "cancelled",
    "connect-failure",
    "deadline-exceeded",
    "envoy-ratelimited",
    "gateway-error",
    "http3-post-connect-failure",
    "internal",
    "refused-stream",
    "reset",
    "reset-before-request",
    "resource-exhausted",
    "retriable-4xx",
    "retriable-headers",
    "retriable-status-codes",
    "unavailable",
];

/// More wrong words are not repeated.
const MOST_NAMED: usize = 5;

impl Reader<'_> {
    /// `within` is what stands before the names of the fields.
    pub(super) fn retries(&mut self, within: &str, given: &spec::HttpRetry) -> Retries {
        let field = |name: &str| format!("{within}{name}");
        let attempts = u32::try_from(given.attempts).unwrap_or_else(|_| {
            self.error(
                Code::NumberOutOfRange,
                &field("attempts"),
                format!("{} is below zero: use 0 to turn retries off", given.attempts),
            );
            0
        });
        let others =
            [given.per_try_timeout.is_some(), !given.retry_on.is_empty(), given.retry_remote_localities.is_some()];
        if given.attempts == 0 && others.contains(&true) {
            let reason = "0 turns retries off: the other fields have no effect";
            self.note(Code::RetriesDisabled, &field("attempts"), reason);
        }
        let (conditions, status_codes) = self.retry_on(&field("retryOn"), &given.retry_on);
        Retries {
            attempts,
            per_try_timeout: self.duration(&field("perTryTimeout"), given.per_try_timeout.as_ref()),
            conditions,
            status_codes,
            remote_localities: given.retry_remote_localities == Some(true),
            ignore_previous_hosts: given.retry_ignore_previous_hosts,
            backoff: self.duration(&field("backoff"), given.backoff.as_ref()),
        }
    }

    /// Words and status codes, separated by commas.
    fn retry_on(&mut self, field: &str, given: &str) -> (Vec<Arc<str>>, Vec<u32>) {
        let (mut conditions, mut codes, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for written in given.split(',').filter(|w| !w.trim().is_empty()) {
            let word = written.trim();
            match word.parse() {
                Ok(code @ 100..=599) => codes.push(code),
                _ if CONDITIONS.contains(&word) => conditions.push(word.into()),
                _ => others.push(word),
            }
            if word != written {
                others.push(written);
            }
        }
        if !others.is_empty() {
            let more = if others.len() > MOST_NAMED { ", …" } else { "" };
            others.truncate(MOST_NAMED);
            let known = CONDITIONS.join(", ");
            let reason = format!("{others:?}{more}: use statuses or {known}, separated by commas without blanks");
            self.note(Code::RetryConditionUnknown, field, reason);
        }
        (conditions, codes)
    }
}
