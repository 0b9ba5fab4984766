//! Rules of several VirtualServices for one host of one Gateway: they are one list there, the oldest object's first, and
//! what an earlier rule takes never reaches a later one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Found, World};
use crate::model::{
    Host, VirtualService,
    code::Code,
    virtual_service::{GatewayName, HttpMatch, HttpRoute, StringMatch},
};

pub(super) fn check(world: &World, found: &mut Found) {
    let mut sharing: BTreeMap<(&GatewayName, &Host), Vec<&Arc<VirtualService>>> = BTreeMap::new();
    for vs in world.virtual_services.iter().filter(|vs| !vs.http.is_empty()) {
        for gateway in vs.gateways.iter().filter(|g| matches!(g, GatewayName::Named(_))) {
            for host in &vs.hosts {
                sharing.entry((gateway, host)).or_default().push(vs);
            }
        }
    }
    for ((gateway, host), mut all) in sharing {
        if all.len() > 1 {
            all.sort_by(|a, b| a.age.cmp(&b.age));
            all.dedup_by(|a, b| a.object == b.object);
            check_host(gateway, host, &all, found);
        }
    }
}

fn check_host(gateway: &GatewayName, host: &Host, all: &[&Arc<VirtualService>], found: &mut Found) {
    let mut taken: HashMap<String, &VirtualService> = HashMap::new();
    let mut everything: Option<&VirtualService> = None;
    for vs in all {
        for rule in &vs.http {
            let others = |by: &&VirtualService| by.object != vs.object;
            if let Some(by) = everything.filter(others) {
                let reason = format!(
                    "on gateway {gateway}, requests for {host:?} are all taken by a rule of the older {}: this one is not reached",
                    by.object
                );
                found.add(Code::RouteShadowed, &vs.object, format!("spec.http[{}]", rule.index), reason);
                continue;
            }
            for (n, condition) in rule.matches.iter().enumerate() {
                if let Some(by) = taken.get(&key(condition)).filter(|by| others(by)) {
                    let reason = format!(
                        "on gateway {gateway}, requests for {host:?} with the same conditions are taken by the older {}",
                        by.object
                    );
                    found.add(Code::RouteShadowed, &vs.object, format!("spec.http[{}].match[{n}]", rule.index), reason);
                }
            }
        }
        for rule in &vs.http {
            if takes_all(rule, gateway) {
                everything.get_or_insert(vs);
            }
            for condition in &rule.matches {
                taken.entry(key(condition)).or_insert(vs);
            }
        }
    }
}

/// Conditions of the same key are for the same requests: their names do not matter.
fn key(condition: &HttpMatch) -> String {
    format!("{:?}", HttpMatch { name: "".into(), stat_prefix: "".into(), ..condition.clone() })
}

fn takes_all(rule: &HttpRoute, gateway: &GatewayName) -> bool {
    rule.matches.is_empty() || rule.matches.iter().any(|condition| is_any(condition, gateway))
}

/// Whether every request of the gateway meets it.
fn is_any(condition: &HttpMatch, gateway: &GatewayName) -> bool {
    let source = &condition.source;
    let here = source.gateways.contains(gateway)
        || (source.gateways.is_empty() && source.labels.is_empty() && source.namespace.is_none());
    let any_path = match &condition.uri {
        None | Some(StringMatch::Present) => true,
        Some(StringMatch::Prefix(prefix)) => &**prefix == "/",
        Some(StringMatch::Regex(regex)) => &**regex == ".*",
        Some(StringMatch::Exact(_)) => false,
    };
    here && any_path
        && condition.scheme.is_none()
        && condition.method.is_none()
        && condition.authority.is_none()
        && condition.headers.is_empty()
        && condition.without_headers.is_empty()
        && condition.query_params.is_empty()
        && condition.port.is_none()
}
