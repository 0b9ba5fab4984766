//! Conditions on requests and on the proxies that have a rule.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    reader::{Field, Reader},
    text,
};
use crate::{
    api::{common, http_route as spec},
    model::{
        Code, Labels,
        virtual_service::{HttpMatch, SourceMatch, StringMatch, is_claim},
    },
    reconcilers::rules::is_dns_label,
};

/// What HTTP/2 has in place of the request line and the status line.
const PSEUDO_HEADERS: [&str; 5] = ["method", "scheme", "authority", "path", "status"];

impl Reader<'_> {
    pub(super) fn http_match(&mut self, field: impl Field, given: &spec::HttpMatch) -> HttpMatch {
        let uri = given.uri.as_ref().and_then(|m| self.condition(format_args!("{field}.uri"), m));
        HttpMatch {
            name: given.name.as_str().into(),
            uri,
            ignore_uri_case: given.ignore_uri_case,
            scheme: self.optional(format_args!("{field}.scheme"), given.scheme.as_ref()),
            method: self.optional(format_args!("{field}.method"), given.method.as_ref()),
            authority: self.optional(format_args!("{field}.authority"), given.authority.as_ref()),
            headers: self.header_conditions(format_args!("{field}.headers"), &given.headers),
            without_headers: self.header_conditions(format_args!("{field}.withoutHeaders"), &given.without_headers),
            query_params: self.parameters(format_args!("{field}.queryParams"), &given.query_params),
            port: self.port(format_args!("{field}.port"), given.port),
            source: self.source(field, &given.source_labels, &given.source_namespace, &given.gateways),
            stat_prefix: given.stat_prefix.as_str().into(),
        }
    }

    /// Which proxies have a rule.
    pub(super) fn source(
        &mut self,
        field: impl Field,
        labels: &Labels,
        namespace: &str,
        gateways: &[String],
    ) -> SourceMatch {
        self.label_syntax(format_args!("{field}.sourceLabels"), labels);
        if !namespace.is_empty() && !is_dns_label(namespace) {
            let reason = format!("{namespace:?} is not the name of a namespace");
            self.error(Code::NamespaceInvalid, format_args!("{field}.sourceNamespace"), reason);
        }
        SourceMatch {
            labels: labels.clone(),
            namespace: (!namespace.is_empty()).then(|| namespace.into()),
            gateways: self.gateways(format_args!("{field}.gateways"), gateways),
        }
    }

    fn optional(&mut self, field: impl Field, given: Option<&common::StringMatch>) -> Option<StringMatch> {
        given.and_then(|m| self.text_condition(field, m))
    }

    fn header_conditions(
        &mut self,
        field: impl Field,
        given: &BTreeMap<String, common::StringMatch>,
    ) -> BTreeMap<Arc<str>, StringMatch> {
        for name in given.keys() {
            self.matched_header(format_args!("{field}[{name:?}]"), name);
        }
        self.conditions(field, given)
    }

    fn matched_header(&mut self, at: impl Field, name: &str) {
        if !is_claim(name) {
            // Pseudo headers may be matched, as Envoy does.
            let bare = name.strip_prefix(':').unwrap_or(name);
            let right = self.check(at, text::header_name(bare)).is_some();
            if right && bare != name && !PSEUDO_HEADERS.contains(&bare) {
                self.error(Code::HeaderNameInvalid, at, format!("{name:?} is no pseudo header of HTTP"));
            }
        } else if self.site.delegate {
            self.note(Code::ClaimInMesh, at, "claims are matched in a VirtualService that names gateways itself");
        } else if !self.site.claims {
            let reason = "claims can only be matched on gateways: remove mesh from the gateways";
            self.error(Code::ClaimInMesh, at, reason);
        }
    }

    fn parameters(
        &mut self,
        field: impl Field,
        given: &BTreeMap<String, common::StringMatch>,
    ) -> BTreeMap<Arc<str>, StringMatch> {
        if given.contains_key("") {
            self.error(Code::FieldMissing, field, "the name of a parameter is empty");
        }
        self.conditions(field, given)
    }

    fn conditions(
        &mut self,
        field: impl Field,
        given: &BTreeMap<String, common::StringMatch>,
    ) -> BTreeMap<Arc<str>, StringMatch> {
        let read = given
            .iter()
            .map(|(name, m)| Some((name.as_str().into(), self.text_condition(format_args!("{field}[{name:?}]"), m)?)));
        read.flatten().collect()
    }
}
