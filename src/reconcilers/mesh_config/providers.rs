//! `extensionProviders`: who authorises requests, and where logs, metrics and spans go. One that is wrong cannot be used; the
//! others can.

use std::{collections::HashSet, net::IpAddr};

use super::{
    super::{Problems, rules, substitution, telemetry::expression::Expressions},
    at::At,
};
use crate::model::Code;

/// Types of providers that are services with a port.
const SERVICES: [&str; 11] = [
    "envoyExtAuthzHttp",
    "envoyExtAuthzGrpc",
    "zipkin",
    "lightstep",
    "datadog",
    "opencensus",
    "skywalking",
    "opentelemetry",
    "envoyHttpAls",
    "envoyTcpAls",
    "envoyOtelAls",
];

/// Types of others.
const OTHERS: [&str; 4] = ["prometheus", "stackdriver", "envoyFileAccessLog", "sds"];

/// Reports what is wrong with them.
pub(super) fn check(list: &At<'_>, problems: &mut Problems) {
    let mut names = HashSet::new();
    for provider in list.entries(problems) {
        let mut types = Vec::new();
        let mut name = "";
        for (key, field) in provider.members(problems) {
            check_log_format(&field, problems);
            match key {
                "name" => name = field.text(problems).unwrap_or_default(),
                _ if SERVICES.contains(&key) => {
                    check_service(key, &field, problems);
                    types.push(key);
                }
                _ if OTHERS.contains(&key) => types.push(key),
                _ => field.wrong(Code::ProviderInvalid, "is not a type of provider that is known", problems),
            }
        }
        if name.is_empty() {
            provider.wrong(Code::ProviderInvalid, "has no name", problems);
        } else if !names.insert(name) {
            provider.wrong(Code::ProviderInvalid, format!("another provider is named {name:?}"), problems);
        }
        if types.len() != 1 {
            let reason = match types[..] {
                [] => "has no type such as zipkin or envoyExtAuthzGrpc".to_owned(),
                _ => format!("only one of {} can be set", types.join(", ")),
            };
            provider.wrong(Code::ProviderInvalid, reason, problems);
        }
    }
}

/// Formats of a provider's logs: the text or body, and fields.
fn check_log_format(provider: &At<'_>, problems: &mut Problems) {
    let Some(format) = provider.get("logFormat") else { return };
    let mut expressions = Expressions::default();
    for key in ["text", "labels"] {
        if let Some(part) = format.get(key)
            && let Err(fault) = substitution::check_all(part.value, &mut expressions)
        {
            part.wrong(Code::ProviderInvalid, fault.of(part.value.as_str().unwrap_or(key)), problems);
        }
    }
}

fn check_service(kind: &str, provider: &At<'_>, problems: &mut Problems) {
    let invalid = |field: &At<'_>, reason: String, problems: &mut Problems| {
        field.wrong(Code::ProviderInvalid, reason, problems);
    };
    match provider.get("service") {
        None => invalid(provider, "has no service".to_owned(), problems),
        Some(service) => {
            if service.text(problems).is_some_and(|text| !is_service(text)) {
                let reason = format!("{} is not host or namespace/host", service.value);
                invalid(&service, reason, problems);
            }
        }
    }
    let port = provider.value["port"].as_i64().unwrap_or_default();
    if !(1..=65535).contains(&port) {
        invalid(provider, format!("port {port} is not one of 1 to 65535"), problems);
    }
    if kind == "lightstep" && provider.value["accessToken"].as_str().is_none_or(str::is_empty) {
        invalid(provider, "has no accessToken".to_owned(), problems);
    }
    if kind == "opentelemetry" && provider.get("http").is_some() && provider.get("grpc").is_some() {
        invalid(provider, "only one of http, grpc can be set".to_owned(), problems);
    }
    let Some(status) = provider.get("statusOnError").filter(|_| kind.starts_with("envoyExtAuthz")) else { return };
    let known = |text: &str| text.parse::<u16>().is_ok_and(|code| (100..=599).contains(&code));
    if !status.value.as_str().is_some_and(|text| text.is_empty() || known(text)) {
        invalid(&status, format!("{} is not an HTTP status such as \"503\"", status.value), problems);
    }
    if let Some(prefix) = provider.get("pathPrefix")
        && !prefix.value.as_str().is_some_and(|text| text.is_empty() || text.starts_with('/'))
    {
        invalid(&prefix, format!("{} does not begin with a slash", prefix.value), problems);
    }
}

/// A host, an address, or `namespace/host`.
fn is_service(text: &str) -> bool {
    match text.split_once('/') {
        None => rules::domain(text).is_ok() || text.parse::<IpAddr>().is_ok(),
        Some((namespace, host)) => {
            (namespace == "*" || namespace == "." || rules::is_dns_label(namespace))
                && host.contains('.')
                && rules::wildcard_domain(host).is_ok()
        }
    }
}
