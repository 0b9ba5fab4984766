//! Changes of headers.

use std::{collections::BTreeMap, sync::Arc};

use super::{reader::Reader, text};
use crate::{
    api::http_route as spec,
    model::{
        Code,
        virtual_service::{HeaderOps, Headers},
    },
};

impl Reader<'_> {
    pub(super) fn headers(&mut self, field: &str, given: &spec::Headers) -> Headers {
        let request = given.request.as_ref().map(|ops| self.ops(&format!("{field}.request"), ops, true));
        let response = given.response.as_ref().map(|ops| self.ops(&format!("{field}.response"), ops, false));
        Headers { request: request.unwrap_or_default(), response: response.unwrap_or_default() }
    }

    /// `authority`: whether setting `Host` means something.
    fn ops(&mut self, field: &str, given: &spec::HeaderOperations, authority: bool) -> HeaderOps {
        for (index, name) in given.remove.iter().enumerate() {
            self.header_name(&format!("{field}.remove[{index}]"), name, false);
        }
        HeaderOps {
            set: self.changes(&format!("{field}.set"), &given.set, authority),
            add: self.changes(&format!("{field}.add"), &given.add, authority),
            remove: given.remove.iter().map(|n| n.as_str().into()).collect(),
        }
    }

    fn changes(
        &mut self,
        field: &str,
        given: &BTreeMap<String, String>,
        authority: bool,
    ) -> BTreeMap<Arc<str>, Arc<str>> {
        for (name, value) in given {
            self.header_name(&format!("{field}[{name:?}]"), name, authority);
            let judged = text::header_value(value, &mut self.site.expressions.borrow_mut());
            self.check(&format!("{field}[{name:?}]"), judged);
        }
        given.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
    }

    fn header_name(&mut self, at: &str, name: &str, authority: bool) {
        let is_authority = name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case(":authority");
        if is_authority && authority {
            return;
        }
        if is_authority || name.starts_with(':') {
            self.note(Code::HeaderProtected, at, "Envoy does not let this header be changed here; it is left as it is");
        } else {
            self.check(at, text::header_name(name));
        }
    }
}
