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

impl Reader<'_> {
    pub(super) fn cors(&mut self, given: &spec::CorsPolicy) -> Cors {
        let max_age = self.duration("corsPolicy.maxAge", given.max_age.as_ref());
        if max_age.is_some_and(|age| age.subsec_nanos() > 0) {
            self.note(Code::FieldWithoutEffect, "corsPolicy.maxAge", "only whole seconds count; the rest is dropped");
        }
        Cors {
            allow_origins: self.origins(given),
            allow_methods: self.names("corsPolicy.allowMethods", &given.allow_methods),
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

    /// Methods, and names of headers; `*` is all.
    fn names(&mut self, field: &str, given: &[String]) -> Vec<Arc<str>> {
        for (index, name) in given.iter().enumerate() {
            self.check(&format!("{field}[{index}]"), text::header_name(name));
        }
        given.iter().map(|n| n.as_str().into()).collect()
    }
}
