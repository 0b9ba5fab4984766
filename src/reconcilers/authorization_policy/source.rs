//! Sources of a rule.

use ipnet::IpNet;

use super::super::{Problems, checks};
use crate::{
    api::authorization_policy::{Action, Source},
    model::Code,
};

/// As many service accounts as one list names.
const MAX_ACCOUNTS: usize = 16;
const MAX_ACCOUNT: usize = 320;

pub(super) fn check(field: &str, source: Option<&Source>, action: Action, problems: &mut Problems) {
    let Some(source) = source.filter(|source| **source != Source::default()) else {
        problems.add(Code::ClauseEmpty, field, "is empty: ask for something, or leave the entry out");
        return;
    };
    if action == Action::Custom {
        check_custom(field, source, problems);
    }
    check_exclusive(field, source, problems);
    let at = |name: &str| format!("{field}.{name}");
    for (name, list) in [
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
    ] {
        checks::no_empty_entry(&at(name), list, problems);
    }
    for (name, list) in [
        ("ipBlocks", &source.ip_blocks),
        ("notIpBlocks", &source.not_ip_blocks),
        ("remoteIpBlocks", &source.remote_ip_blocks),
        ("notRemoteIpBlocks", &source.not_remote_ip_blocks),
    ] {
        check_addresses(&at(name), list, problems);
    }
    for (name, list) in
        [("serviceAccounts", &source.service_accounts), ("notServiceAccounts", &source.not_service_accounts)]
    {
        check_accounts(&at(name), list, problems);
    }
    for (name, list) in [("trustDomains", &source.trust_domains), ("notTrustDomains", &source.not_trust_domains)] {
        check_trust_domains(&at(name), list, problems);
    }
}

/// A provider is asked before identities are known.
fn check_custom(field: &str, source: &Source, problems: &mut Problems) {
    for (name, list) in [
        ("namespaces", &source.namespaces),
        ("notNamespaces", &source.not_namespaces),
        ("serviceAccounts", &source.service_accounts),
        ("notServiceAccounts", &source.not_service_accounts),
        ("trustDomains", &source.trust_domains),
        ("notTrustDomains", &source.not_trust_domains),
        ("principals", &source.principals),
        ("notPrincipals", &source.not_principals),
        ("requestPrincipals", &source.request_principals),
        ("notRequestPrincipals", &source.not_request_principals),
    ] {
        if !list.is_empty() {
            problems.add(Code::IdentityUnsupported, format!("{field}.{name}"), "action CUSTOM cannot ask for it");
        }
    }
}

fn check_exclusive(field: &str, source: &Source, problems: &mut Problems) {
    let others = [&source.principals, &source.not_principals, &source.namespaces, &source.not_namespaces];
    if others.iter().all(|list| list.is_empty()) {
        return;
    }
    for (name, list) in
        [("serviceAccounts", &source.service_accounts), ("notServiceAccounts", &source.not_service_accounts)]
    {
        if !list.is_empty() {
            let reason = "cannot be set with principals or namespaces, which say the same in another way";
            problems.add(Code::FieldsExclusive, format!("{field}.{name}"), reason);
        }
    }
}

/// IP addresses or ranges.
pub(super) fn check_addresses(field: &str, list: &[String], problems: &mut Problems) {
    for (i, text) in list.iter().enumerate() {
        let ok = match text.contains('/') {
            true => text.parse::<IpNet>().is_ok(),
            false => text.parse::<std::net::IpAddr>().is_ok(),
        };
        if !ok {
            let reason = format!("{text:?} is not an IP address or a range such as 10.0.0.0/8");
            problems.add(Code::AddressInvalid, format!("{field}[{i}]"), reason);
        }
    }
}

/// `name` or `namespace/name`.
pub(super) fn check_accounts(field: &str, list: &[String], problems: &mut Problems) {
    checks::list_of_at_most(field, list, MAX_ACCOUNTS, problems);
    for (i, text) in list.iter().enumerate() {
        let why = match text.split_once('/').unwrap_or(("-", text)) {
            _ if text.len() > MAX_ACCOUNT => format!("has {} bytes: use at most {MAX_ACCOUNT}", text.len()),
            _ if text.contains('*') => format!("{text:?}: a service account has no wildcard"),
            (namespace, name) if namespace.is_empty() || name.is_empty() || name.contains('/') => {
                format!("{text:?} is not of the form name or namespace/name")
            }
            _ => continue,
        };
        problems.add(Code::ServiceAccountInvalid, format!("{field}[{i}]"), why);
    }
}

/// Patterns with at most one wildcard, at one of the ends.
pub(super) fn check_patterns(field: &str, list: &[String], problems: &mut Problems) {
    for (i, text) in list.iter().enumerate() {
        let inner = text.strip_prefix('*').or_else(|| text.strip_suffix('*')).unwrap_or(text);
        if text.is_empty() {
            problems.add(Code::EntryEmpty, format!("{field}[{i}]"), "is empty");
        } else if inner.contains('*') {
            let reason = format!("{text:?}: one \"*\" may stand at the beginning or at the end");
            problems.add(Code::WildcardMisplaced, format!("{field}[{i}]"), reason);
        }
    }
}

fn check_trust_domains(field: &str, list: &[String], problems: &mut Problems) {
    check_patterns(field, list, problems);
    for (i, text) in list.iter().enumerate().filter(|(_, text)| text.contains('/')) {
        problems.add(Code::TrustDomainInvalid, format!("{field}[{i}]"), format!("{text:?} has a slash"));
    }
}

/// Whether a source asks for what only requests of HTTP have.
pub(super) fn asks_http(source: &Source) -> bool {
    !(source.request_principals.is_empty() && source.not_request_principals.is_empty())
}
