//! What an outbound listener imports: `namespace/host`.

use std::collections::{HashMap, HashSet};

use super::super::{
    Flaw, Problems,
    host::{self, is_label},
    rules::wildcard_domain,
};
use crate::model::{
    Code,
    sidecar::{EgressHost, NamespaceMatch},
};

/// The hosts that can be used.
pub(super) fn read(hosts: &[String], path: &str, problems: &mut Problems) -> Vec<EgressHost> {
    check_repeated(hosts, path, problems);
    let mut usable = Vec::with_capacity(hosts.len());
    for (i, text) in hosts.iter().enumerate() {
        let field = || format!("{path}.hosts[{i}]");
        match egress_host(text).and_then(|host| check_name(text).map(|()| host)) {
            Ok(host) => usable.push(host),
            Err(flaw) => problems.flaw(field(), flaw.then("it is left out")),
        }
    }
    usable
}

fn egress_host(text: &str) -> Result<EgressHost, Flaw> {
    let Some((namespace, name)) = text.split_once('/') else {
        let reason = format!("{text:?} is not of the form namespace/host");
        return Err(Flaw::new(Code::HostMalformed, reason));
    };
    let namespace = match (namespace, namespace.strip_prefix('~')) {
        ("*", _) => NamespaceMatch::Any,
        (".", _) => NamespaceMatch::Own,
        ("~" | "~*", _) => NamespaceMatch::Nothing,
        ("~.", _) => NamespaceMatch::ExceptOwn,
        (_, Some(excluded)) if is_label(excluded) => NamespaceMatch::Except(excluded.into()),
        (named, None) if is_label(named) => NamespaceMatch::Named(named.into()),
        _ => {
            let reason = format!("{namespace:?} of {text:?} is not a namespace, \".\", \"*\" or \"~\"");
            return Err(Flaw::new(Code::NamespaceInvalid, reason));
        }
    };
    let host = if name == "*" { "*".into() } else { host::parse(name)? };
    Ok(EgressHost { namespace, host })
}

/// Names are as strict as DNS, and full: a short one has no namespace here.
fn check_name(text: &str) -> Result<(), Flaw> {
    let name = text.split_once('/').map_or(text, |(_, name)| name);
    if name != "*" && !name.contains('.') {
        let reason = format!("{name:?} of {text:?} is short: write the full name of the host");
        return Err(Flaw::new(Code::HostMalformed, reason));
    }
    wildcard_domain(name)
}

/// Tells of hosts that others stand for already.
fn check_repeated(hosts: &[String], path: &str, problems: &mut Problems) {
    let own = problems.object().namespace.clone();
    let mut seen: HashMap<&str, HashSet<&str>> = HashMap::new();
    let pairs = || {
        let listed = hosts.iter().enumerate();
        let pairs = listed.filter_map(|(i, text)| text.split_once('/').map(|pair| (i, pair)));
        // Those leave out what the others take.
        pairs.filter(|(_, (namespace, _))| !namespace.starts_with('~'))
    };
    for (i, (namespace, name)) in pairs() {
        let names = seen.entry(if namespace == "." { &own } else { namespace }).or_default();
        let repeated = match name {
            "*" => !names.is_empty(),
            _ => names.contains(name) || names.contains("*"),
        };
        if repeated {
            let reason = format!("{:?}: another host stands for the same", hosts[i]);
            problems.add(Code::EgressHostDuplicate, format!("{path}.hosts[{i}]"), reason);
        }
        names.insert(name);
    }
    if seen.len() > 1
        && let Some((i, _)) = pairs().find(|(_, pair)| *pair == ("*", "*"))
    {
        let reason = "\"*/*\" stands for everything: the other hosts have no effect";
        problems.add(Code::EgressHostDuplicate, format!("{path}.hosts[{i}]"), reason);
    }
}
