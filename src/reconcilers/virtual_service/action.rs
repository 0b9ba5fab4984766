//! Redirects, direct responses and rewrites.

use super::{reader::Reader, text};
use crate::{
    api::http_route as spec,
    model::{
        Code,
        virtual_service::{
            Body, DirectResponse, PathRewrite, Redirect, RedirectCode, RedirectPath, RedirectPort, Rewrite,
        },
    },
    reconcilers::regex,
};

/// Envoy is told to allow no larger bodies of direct responses.
const MAX_BODY: usize = 1024 * 1024;
/// Larger ones cost memory that somebody should know of.
const LARGE_BODY: usize = 100 * 1024;

impl Reader<'_> {
    pub(super) fn redirect(&mut self, given: &spec::HttpRedirect, matches: &[spec::HttpMatch]) -> Option<Redirect> {
        self.check_prefix_rewrite(given, matches);
        if !given.uri.is_empty() && !given.prefix_rewrite.is_empty() {
            self.error(Code::FieldsExclusive, "redirect", "only one of uri and prefixRewrite can be set");
        }
        if given.port.is_some() && given.derive_port.is_some() {
            self.error(Code::FieldsExclusive, "redirect", "only one of port and derivePort can be set");
        }
        let full = self.plain("redirect.uri", &given.uri).map(RedirectPath::Full);
        let prefix = self.plain("redirect.prefixRewrite", &given.prefix_rewrite).map(RedirectPath::Prefix);
        let port = given.port.and_then(|p| self.port("redirect.port", p)).map(RedirectPort::Number);
        let redirect = Redirect {
            path: prefix.or(full),
            authority: self.plain("redirect.authority", &given.authority),
            scheme: self.scheme(&given.scheme),
            port: port.or(given.derive_port.map(|derived| match derived {
                spec::RedirectPort::FromProtocolDefault => RedirectPort::ProtocolDefault,
                spec::RedirectPort::FromRequestPort => RedirectPort::Request,
            })),
            code: self.redirect_code(given.redirect_code)?,
        };
        let Redirect { path, authority, scheme, port, .. } = &redirect;
        if path.is_none() && authority.is_none() && scheme.is_none() && port.is_none() {
            self.error(
                Code::RedirectEmpty,
                "redirect",
                "it leads back: set uri, prefixRewrite, authority, scheme, port or derivePort",
            );
        }
        Some(redirect)
    }

    /// There is a prefix to rewrite only where one is matched.
    fn check_prefix_rewrite(&mut self, given: &spec::HttpRedirect, matches: &[spec::HttpMatch]) {
        let uris = matches.iter().filter_map(|m| m.uri.as_ref());
        if !given.prefix_rewrite.is_empty() && uris.into_iter().any(|uri| uri.prefix.is_none()) {
            let reason = "it needs every condition on uri to be one on its prefix";
            self.error(Code::RedirectPrefixUnfit, "redirect.prefixRewrite", reason);
        }
    }

    fn scheme(&mut self, scheme: &str) -> Option<std::sync::Arc<str>> {
        if !matches!(scheme, "" | "http" | "https") {
            self.error(Code::ValueUnknown, "redirect.scheme", format!("{scheme:?} is not a scheme: use http or https"));
        }
        (!scheme.is_empty()).then(|| scheme.into())
    }

    fn redirect_code(&mut self, code: u32) -> Option<RedirectCode> {
        Some(match code {
            0 | 301 => RedirectCode::MovedPermanently,
            302 => RedirectCode::Found,
            303 => RedirectCode::SeeOther,
            307 => RedirectCode::TemporaryRedirect,
            308 => RedirectCode::PermanentRedirect,
            _ => {
                self.error(
                    Code::RedirectCodeInvalid,
                    "redirect.redirectCode",
                    format!("{code} is not 301, 302, 303, 307 or 308"),
                );
                return None;
            }
        })
    }

    pub(super) fn direct_response(&mut self, given: &spec::HttpDirectResponse) -> Option<DirectResponse> {
        let body = given.body.as_ref().and_then(|body| match (&body.string, &body.bytes) {
            (Some(text), None) => Some(Body::Text(text.as_str().into())),
            (None, Some(bytes)) => Some(Body::Bytes(bytes.0.as_slice().into())),
            (None, None) => None,
            (Some(_), Some(_)) => {
                self.error(Code::FieldsExclusive, "directResponse.body", "only one of string and bytes can be set");
                None
            }
        });
        let size = match &body {
            Some(Body::Text(text)) => text.len(),
            Some(Body::Bytes(bytes)) => bytes.len(),
            None => 0,
        };
        if size > MAX_BODY {
            let reason = format!("it has {size} bytes: use at most {MAX_BODY}");
            self.error(Code::ResponseTooLarge, "directResponse.body", reason);
        } else if size > LARGE_BODY {
            let reason = format!("it has {size} bytes, which every proxy holds in memory");
            self.note(Code::ResponseLarge, "directResponse.body", reason);
        }
        let status = self.http_status("directResponse.status", given.status.into())?;
        Some(DirectResponse { status, body })
    }

    /// A status that Envoy answers with.
    pub(super) fn http_status(&mut self, field: &str, status: i64) -> Option<u16> {
        if !(200..600).contains(&status) {
            self.error(Code::StatusOutOfRange, field, format!("{status} is not a status: use 200 to 599"));
        }
        u16::try_from(status).ok()
    }

    pub(super) fn rewrite(&mut self, given: &spec::HttpRewrite) -> Option<Rewrite> {
        let regex = given.uri_regex_rewrite.as_ref().and_then(|r| self.regex_rewrite(r));
        if !given.uri.is_empty() && given.uri_regex_rewrite.is_some() {
            self.error(Code::FieldsExclusive, "rewrite", "only one of uri and uriRegexRewrite can be set");
        }
        let prefix = self.plain("rewrite.uri", &given.uri).map(PathRewrite::Prefix);
        let rewrite = Rewrite { path: regex.or(prefix), authority: self.plain("rewrite.authority", &given.authority) };
        if rewrite == Rewrite::default() && !self.failed() {
            self.error(Code::RewriteEmpty, "rewrite", "it changes nothing: set uri, uriRegexRewrite or authority");
        }
        Some(rewrite)
    }

    fn regex_rewrite(&mut self, given: &spec::RegexRewrite) -> Option<PathRewrite> {
        let groups = self.check("rewrite.uriRegexRewrite.match", regex::check(&given.r#match))?;
        self.check("rewrite.uriRegexRewrite.rewrite", text::substitution(&given.rewrite, groups))?;
        if given.rewrite.is_empty() {
            self.error(Code::RewriteEmpty, "rewrite.uriRegexRewrite.rewrite", "it is empty");
        }
        let (pattern, substitution) = (given.r#match.as_str().into(), given.rewrite.as_str().into());
        Some(PathRewrite::Regex { pattern, substitution })
    }
}
