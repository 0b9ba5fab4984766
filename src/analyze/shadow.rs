//! Rules of several VirtualServices for one host of one Gateway: they are one list there, the oldest object's first, and
//! what an earlier rule takes never reaches a later one.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Found, World};
use crate::model::{
    Code, Host, VirtualService,
    virtual_service::{GatewayName, HttpAction, HttpMatch, HttpRoute, StringMatch},
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

/// What rules of older objects take.
#[derive(Default)]
struct Taken<'a> {
    conditions: HashMap<HttpMatch, &'a VirtualService>,
    everything: Option<&'a VirtualService>,
}

fn check_host(gateway: &GatewayName, host: &Host, all: &[&Arc<VirtualService>], found: &mut Found) {
    let mut taken = Taken::default();
    for vs in all {
        for rule in &vs.http {
            check_rule(gateway, host, (vs, rule), &taken, found);
        }
        taken.add(vs, gateway);
    }
}

fn check_rule(
    gateway: &GatewayName,
    host: &Host,
    (vs, rule): (&VirtualService, &HttpRoute),
    taken: &Taken<'_>,
    found: &mut Found,
) {
    let field = format!("spec.http[{}]", rule.index);
    if let Some(by) = taken.everything {
        let reason = format!(
            "on gateway {gateway}, requests for {host:?} are all taken by a rule of the older {}: this one is not reached",
            by.object
        );
        return found.add(Code::RouteShadowed, &vs.object, field, reason);
    }
    for (n, condition) in rule.matches.iter().enumerate() {
        if let Some(by) = taken.conditions.get(&nameless(condition)) {
            let reason = format!(
                "on gateway {gateway}, requests for {host:?} with the same conditions are taken by the older {}",
                by.object
            );
            found.add(Code::RouteShadowed, &vs.object, format!("{field}.match[{n}]"), reason);
        }
    }
}

impl<'a> Taken<'a> {
    /// Adds what the rules of an object take. Of those that delegate only the delegate knows.
    fn add(&mut self, vs: &'a VirtualService, gateway: &GatewayName) {
        for rule in vs.http.iter().filter(|rule| !matches!(rule.action, HttpAction::Delegate { .. })) {
            if takes_all(rule, gateway) {
                self.everything.get_or_insert(vs);
            }
            for condition in &rule.matches {
                self.conditions.entry(nameless(condition)).or_insert(vs);
            }
        }
    }
}

/// A condition without its names: these do not matter to requests.
fn nameless(condition: &HttpMatch) -> HttpMatch {
    HttpMatch { name: "".into(), stat_prefix: "".into(), ..condition.clone() }
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
