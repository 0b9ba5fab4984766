//! Redirects.

use envoy_types::pb::envoy::config::route::v3::{
    RedirectAction,
    redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier},
};

use crate::model::virtual_service::{Redirect, RedirectCode, RedirectPath, RedirectPort};

/// `tls`: whether the request's own scheme is https.
pub(super) fn action(to: &Redirect, listener_port: u16, tls: bool) -> RedirectAction {
    let scheme = to.scheme.as_deref().unwrap_or(if tls { "https" } else { "http" });
    let port = match to.port {
        Some(RedirectPort::Number(port)) => port,
        // Envoy cannot tell the request's port, but the routes are of one.
        Some(RedirectPort::Request) => listener_port,
        Some(RedirectPort::ProtocolDefault) | None => 0,
    };
    let usual = matches!((scheme, port), ("http", 80) | ("https", 443));
    let path = match &to.path {
        Some(RedirectPath::Prefix(prefix)) => PathRewriteSpecifier::PrefixRewrite(prefix.to_string()),
        Some(RedirectPath::Full(path)) => PathRewriteSpecifier::PathRedirect(path.to_string()),
        // Empty is the path of the request.
        None => PathRewriteSpecifier::PathRedirect(String::new()),
    };
    RedirectAction {
        host_redirect: to.authority.as_deref().unwrap_or_default().to_owned(),
        port_redirect: if usual { 0 } else { port.into() },
        response_code: code(to.code).into(),
        scheme_rewrite_specifier: to.scheme.as_ref().map(|s| SchemeRewriteSpecifier::SchemeRedirect(s.to_string())),
        path_rewrite_specifier: Some(path),
        ..RedirectAction::default()
    }
}

const fn code(code: RedirectCode) -> RedirectResponseCode {
    match code {
        RedirectCode::MovedPermanently => RedirectResponseCode::MovedPermanently,
        RedirectCode::Found => RedirectResponseCode::Found,
        RedirectCode::SeeOther => RedirectResponseCode::SeeOther,
        RedirectCode::TemporaryRedirect => RedirectResponseCode::TemporaryRedirect,
        RedirectCode::PermanentRedirect => RedirectResponseCode::PermanentRedirect,
    }
}
