//! Gateways that no Pod serves or no Service leads to, and hosts of VirtualServices that none of their Gateways serves.

use std::collections::BTreeSet;

use super::{Found, World};
use crate::{
    engine::inputs::NamespacedName,
    model::{
        Code, Gateway, Labels, VirtualService, host::intersection, virtual_service::GatewayName, workload::selects,
    },
};

pub(super) fn check(world: &World, found: &mut Found) {
    for gateway in world.gateways.values() {
        check_pods(world, gateway, found);
        check_ports(world, gateway, found);
    }
    for vs in &world.virtual_services {
        check_hosts(world, vs, found);
    }
}

fn check_pods(world: &World, gateway: &Gateway, found: &mut Found) {
    let Some(selector) = &gateway.selector else { return };
    if world.knows_workloads(None) && !world.has_selected(None, selector) {
        let reason = format!("no Pod has the labels {}: nobody serves this Gateway", shown(selector));
        found.add(Code::GatewaySelectsNothing, &gateway.object, "spec.selector", reason);
    }
}

/// A port that no Service of the gateway's Pods has cannot be reached from outside of them.
fn check_ports(world: &World, gateway: &Gateway, found: &mut Found) {
    let Some(selector) = &gateway.selector else { return };
    let leads_there = |own: &Labels| {
        let mut pods = world.selected(None, selector).peekable();
        if pods.peek().is_some() { pods.any(|pod| selects(own, &pod.labels)) } else { selects(selector, own) }
    };
    let services: Vec<_> =
        world.services.iter().filter(|s| s.selector.as_ref().is_some_and(leads_there) && !s.headless).collect();
    if services.is_empty() {
        return;
    }
    let ports: BTreeSet<u16> =
        services.iter().flat_map(|s| s.ports.iter()).flat_map(|p| [Some(p.number), p.target]).flatten().collect();
    for server in gateway.servers.iter().filter(|server| server.bind.is_none() && !ports.contains(&server.port)) {
        let names: Vec<String> = services.iter().map(|s| s.object.to_string()).collect();
        let reason = format!("{} has no port {}: it cannot be reached there", names.join(" and "), server.port);
        let field = format!("spec.servers[{}].port.number", server.index);
        found.add(Code::GatewayPortUnserved, &gateway.object, field, reason);
    }
}

fn check_hosts(world: &World, vs: &VirtualService, found: &mut Found) {
    let named = vs.gateways.iter().filter_map(|gateway| match gateway {
        GatewayName::Named(name) => name.split_once('/'),
        GatewayName::Mesh => None,
    });
    // One that does not exist is told by the engine.
    let gateways: Vec<_> =
        named.filter_map(|(namespace, name)| world.gateways.get(&NamespacedName::new(namespace, name))).collect();
    if gateways.is_empty() {
        return;
    }
    let serves = |gateway: &Gateway, host: &str| {
        let servers = gateway.servers.iter().flat_map(|s| &s.hosts);
        servers.into_iter().any(|h| h.admits(&vs.object.namespace) && intersection(host, &h.host).is_some())
    };
    let in_mesh = vs.gateways.contains(&GatewayName::Mesh);
    for gateway in &gateways {
        if !vs.hosts.is_empty() && !vs.hosts.iter().any(|host| serves(gateway, host)) {
            let reason = format!(
                "none of the hosts ({}) is one that {} serves for namespace {}",
                vs.hosts.join(", "),
                gateway.object,
                vs.object.namespace
            );
            found.add(Code::GatewayHostUnserved, &vs.object, "spec.gateways", reason);
        }
    }
    let served: Vec<_> = vs.hosts.iter().map(|host| gateways.iter().any(|g| serves(g, host))).collect();
    if in_mesh || !served.contains(&true) {
        return;
    }
    for (host, _) in vs.hosts.iter().zip(served).filter(|(_, served)| !served) {
        let reason = format!("{host:?} is served by none of the gateways");
        found.add(Code::GatewayHostUnserved, &vs.object, "spec.hosts", reason);
    }
}

/// Labels as `kubectl -l` takes them.
pub(super) fn shown(labels: &Labels) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}
