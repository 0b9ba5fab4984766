//! What is wrong with objects whether a proxy is connected or not: where the rules of VirtualServices lead nowhere, and
//! which other one is followed instead; which secrets of Gateways are not there. Costs per object; what is found here is
//! told in the same words by what proxies have, and counts once.

mod gateways;

use std::sync::Arc;

use super::{
    destinations::{resolve, seen},
    gateway_routes::with_delegates,
    graph::{Cx, Db, Emission, Emit, Set},
    inputs::{Gateways, NamespacedName, VirtualServices},
    services::{Claims, visibility_of_rules},
    sidecar_listeners::mesh_routes,
    sidecars::selected,
    stage,
};
use crate::model::{
    Code, Flaw, Labels, Namespace, ObjectRef, Problem, VirtualService, Visibility,
    virtual_service::{
        Destination, GatewayName, HttpAction, HttpRoute, L4Destination, SourceMatch, UNANSWERED, UNCONNECTED,
        UNMIRRORED,
    },
};

/// Nothing: checks only report.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Checked;

impl Set for Checked {
    type Elem = ();
    const STAGE: u8 = stage::LAYER;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CheckRules(VirtualServices);

type Check<'a> = Cx<'a, Emission<CheckRules>>;

impl Emit for CheckRules {
    type Into = Checked;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Check<'_>) -> Vec<(Checked, ())> {
        let Some(vs) = cx.input(&self.0).filter(|vs| !vs.is_delegate()) else { return Vec::new() };
        check_gateways(cx, &vs);
        if let Some(client) = representative(cx, &vs) {
            check_http(cx, &vs, &client);
            check_l4(cx, &vs, &client);
            check_followed(cx, &vs, &client);
        }
        Vec::new()
    }
}

/// A Gateway that is not there leads no request to the rules.
fn check_gateways(cx: &mut Check<'_>, vs: &VirtualService) {
    for gateway in &vs.gateways {
        let GatewayName::Named(name) = gateway else { continue };
        let Some((namespace, short)) = name.split_once('/') else { continue };
        if cx.input(&Gateways(NamespacedName::new(namespace, short))).is_none() {
            let reason = format!("Gateway {name} does not exist: naming it has no effect");
            cx.problem(Problem {
                object: vs.object.clone(),
                field: "spec.gateways".to_owned(),
                reason,
                code: Code::GatewayUnknown,
            });
        }
    }
}

/// The namespace from which an object is looked at: its own, unless others only see it; `None` when nobody does.
fn representative(cx: &mut Check<'_>, vs: &VirtualService) -> Option<Namespace> {
    let own = &vs.object.namespace;
    match &*visibility_of_rules(cx, vs) {
        Visibility::Namespaces(set) if !set.contains(own) => set.first().cloned(),
        _ => Some(own.clone()),
    }
}

/// Who follows a rule.
enum Follower {
    /// Sidecars of a namespace.
    Sidecars(Namespace),
    /// Gateways, of whatever namespace.
    Gateways,
}

fn follower<'a>(
    vs: &VirtualService,
    mut sources: impl Iterator<Item = &'a SourceMatch> + Clone,
    client: &Namespace,
) -> Follower {
    let everywhere = sources.clone().next().is_none();
    let mut of_mesh = sources.clone().filter(|s| s.gateways.is_empty() || s.gateways.contains(&GatewayName::Mesh));
    if !vs.gateways.contains(&GatewayName::Mesh) || !(everywhere || of_mesh.next().is_some()) {
        return Follower::Gateways;
    }
    let anyone = everywhere || sources.any(|s| s.namespace.is_none());
    let named = sources.find_map(|s| s.namespace.clone()).filter(|_| !anyone);
    Follower::Sidecars(named.unwrap_or_else(|| client.clone()))
}

fn check_http(cx: &mut Check<'_>, vs: &VirtualService, client: &Namespace) {
    let (rules, problems) = with_delegates(cx, vs);
    problems.into_iter().for_each(|p| cx.problem(p));
    for rule in &rules {
        let follower = follower(vs, rule.matches.iter().map(|m| &m.source), client);
        let object = rule.delegate.as_ref().unwrap_or(&vs.object);
        for (field, destination, without) in used(rule) {
            let field = format!("spec.http[{}].{field}", rule.index);
            if let Some(missing) = missing(cx, object, destination, &follower) {
                cx.problem(missing.then(without).at(object.clone(), field));
            }
        }
    }
}

/// The destinations of a rule that get requests, with their fields and what follows when they do not exist.
fn used(rule: &HttpRoute) -> Vec<(String, &Destination, &'static str)> {
    let mut all = Vec::new();
    if let HttpAction::Route(to) = &rule.action {
        let sole = to.len() == 1;
        let weighed = to.iter().enumerate().filter(|(_, d)| sole || d.weight > 0);
        all.extend(weighed.map(|(at, d)| (format!("route[{at}].destination"), &d.destination, UNANSWERED)));
        let mirrored = rule.mirror.iter().filter(|_| !rule.mirror_percent.is_some_and(|p| p.is_zero()));
        all.extend(mirrored.map(|d| ("mirror".to_owned(), d, UNMIRRORED)));
        let mirrors = rule.mirrors.iter().enumerate().filter(|(_, m)| !m.percent.is_some_and(|p| p.is_zero()));
        all.extend(mirrors.map(|(at, m)| (format!("mirrors[{at}].destination"), &m.destination, UNMIRRORED)));
    }
    all
}

fn check_l4(cx: &mut Check<'_>, vs: &VirtualService, client: &Namespace) {
    for rule in &vs.tls {
        let follower = follower(vs, rule.matches.iter().map(|m| &m.source), client);
        check_l4_destinations(cx, vs, &format!("spec.tls[{}]", rule.index), &rule.destinations, &follower);
    }
    for rule in &vs.tcp {
        let follower = follower(vs, rule.matches.iter().map(|m| &m.source), client);
        check_l4_destinations(cx, vs, &format!("spec.tcp[{}]", rule.index), &rule.destinations, &follower);
    }
}

fn check_l4_destinations(
    cx: &mut Check<'_>,
    vs: &VirtualService,
    rule: &str,
    destinations: &[L4Destination],
    follower: &Follower,
) {
    for (at, to) in destinations.iter().enumerate() {
        if let Some(missing) = missing(cx, &vs.object, &to.destination, follower) {
            let field = format!("{rule}.route[{at}].destination");
            cx.problem(missing.then(UNCONNECTED).at(vs.object.clone(), field));
        }
    }
}

/// Why a destination of an object does not exist. Which namespace a gateway runs in is not known without it: for gateways
/// it has to be missing for all that could see it.
fn missing(cx: &mut Check<'_>, object: &ObjectRef, destination: &Destination, follower: &Follower) -> Option<Flaw> {
    let own = &object.namespace;
    match follower {
        Follower::Sidecars(client) => missing_for(cx, destination, client),
        Follower::Gateways => {
            let claims = cx.get(&Claims(destination.host.clone()));
            let mut others = claims.others.keys().filter(|client| *client != own);
            let flaw = missing_for(cx, destination, own)?;
            others.all(|client| missing_for(cx, destination, client).is_some()).then_some(flaw)
        }
    }
}

/// The same for clients of a namespace. Without a port of its own it depends on that of the listener: any will do here.
fn missing_for(cx: &mut Check<'_>, destination: &Destination, client: &Namespace) -> Option<Flaw> {
    let first = seen(cx, &destination.host, client).and_then(|s| s.service.ports.first().map(|p| p.number));
    resolve(cx, destination, client, first.unwrap_or_default()).missing
}

/// In the mesh one VirtualService decides about a host (translation §6.1): looked at as the workloads of the namespace do
/// that no Sidecar object selects by its labels.
fn check_followed(cx: &mut Check<'_>, vs: &VirtualService, client: &Namespace) {
    if vs.http.is_empty() || !vs.gateways.contains(&GatewayName::Mesh) {
        return;
    }
    let sidecar = selected(cx, client, &Labels::new()).map(|(scope, _)| scope);
    for host in &vs.hosts {
        let all = mesh_routes(cx, host, Some(client), sidecar.as_ref());
        let first: Option<&Arc<VirtualService>> = all.iter().find(|other| !other.http.is_empty());
        if let Some(first) = first.filter(|first| first.object != vs.object && is_for_everyone(first)) {
            cx.problem(followed_instead(vs, host, first));
        }
    }
}

/// Says that requests for a host follow an older VirtualService; it would be left out silently.
pub(super) fn followed_instead(vs: &VirtualService, host: &str, used: &VirtualService) -> Problem {
    let reason = format!("in the mesh, requests for {host:?} follow the older {} instead", used.object);
    Problem { object: vs.object.clone(), field: "spec.hosts".to_owned(), reason, code: Code::HostTaken }
}

/// Whether every sidecar has a rule of a VirtualService on every port.
fn is_for_everyone(vs: &VirtualService) -> bool {
    let unconditional = |source: &SourceMatch| {
        let mesh = source.gateways.contains(&GatewayName::Mesh);
        mesh || (source.gateways.is_empty() && source.labels.is_empty() && source.namespace.is_none())
    };
    let everywhere = |rule: &HttpRoute| {
        rule.matches.is_empty() || rule.matches.iter().any(|m| m.port.is_none() && unconditional(&m.source))
    };
    vs.http.iter().any(|rule| !matches!(rule.action, HttpAction::Delegate { .. }) && everywhere(rule))
}

/// Registers the checks.
pub(super) fn register(db: &mut Db) {
    db.emit_for_input::<VirtualServices, CheckRules>(|key| CheckRules(key.clone()));
    gateways::register(db);
}
