//! Cross-origin requests.

use std::{sync::Arc, time::Duration};

use super::{reader::Reader, text};
use crate::{
    api::http_route as spec,
    model::{
        Code,
        virtual_service::{Cors, StringMatch},
    },
};

/// The methods of HTTP, and `*` for all.
const METHODS: [&str; 10] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*"];

impl Reader<'_> {
    pub(super) fn cors(&mut self, given: &spec::CorsPolicy) -> Cors {
        let max_age = self.duration("corsPolicy.maxAge", given.max_age.as_ref());
        if max_age.is_some_and(|age| age.subsec_nanos() > 0) {
            self.note(Code::DurationTooFine, "corsPolicy.maxAge", "only whole seconds count; the rest is dropped");
        }
        Cors {
            allow_origins: self.origins(given),
            allow_methods: self.methods(&given.allow_methods),
            allow_headers: self.names("corsPolicy.allowHeaders", &given.allow_headers),
            expose_headers: self.names("corsPolicy.exposeHeaders", &given.expose_headers),
            max_age: max_age.map(|age| Duration::from_secs(age.as_secs())),
            allow_credentials: given.allow_credentials,
            forward_unmatched_preflights: given.unmatched_preflights != spec::UnmatchedPreflights::Ignore,
        }
    }

    /// `allowOrigins`, else the older list of exact ones.
    fn origins(&mut self, given: &spec::CorsPolicy) -> Vec<StringMatch> {
        if given.allow_origins.is_empty() {
            if !given.allow_origin.is_empty() {
                self.note(Code::FieldDeprecated, "corsPolicy.allowOrigin", "is deprecated: use allowOrigins");
            }
            return given.allow_origin.iter().map(|o| StringMatch::Exact(o.as_str().into())).collect();
        }
        if !given.allow_origin.is_empty() {
            self.note(Code::FieldWithoutEffect, "corsPolicy.allowOrigin", "not used beside allowOrigins");
        }
        let mut origins = Vec::with_capacity(given.allow_origins.len());
        for (index, origin) in given.allow_origins.iter().enumerate() {
            let field = format!("corsPolicy.allowOrigins[{index}]");
            let empty = |text: &Option<String>| text.as_deref().is_none_or(str::is_empty);
            if empty(&origin.exact) && empty(&origin.prefix) && empty(&origin.regex) {
                self.error(Code::StringMatchEmpty, &field, "set exact, prefix or regex to something");
            }
            origins.extend(self.condition(&field, origin));
        }
        origins
    }

    fn methods(&mut self, given: &[String]) -> Vec<Arc<str>> {
        for (index, method) in given.iter().enumerate() {
            let field = format!("corsPolicy.allowMethods[{index}]");
            if self.check(&field, text::header_name(method)).is_some() && !METHODS.contains(&method.as_str()) {
                let reason = format!("{method:?} is not one of {}", METHODS.join(", "));
                self.note(Code::ValueUnknown, &field, reason);
            }
        }
        given.iter().map(|n| n.as_str().into()).collect()
    }

    /// Names of headers; `*` is all.
    fn names(&mut self, field: &str, given: &[String]) -> Vec<Arc<str>> {
        for (index, name) in given.iter().enumerate() {
            self.check(&format!("{field}[{index}]"), text::header_name(name));
        }
        given.iter().map(|n| n.as_str().into()).collect()
    }
}
