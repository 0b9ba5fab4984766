//! Namespaces, hosts and targets that are named and do not exist.

use std::{collections::BTreeMap, sync::Arc};

use super::{Found, World, world::GATEWAY_API};
use crate::model::{
    Attachment, Code, Namespace, ObjectRef, Service, Sidecar, Visibility, attachment::Target, host::is_subset,
    sidecar::EgressHost,
};

pub(super) fn check(world: &World, found: &mut Found) {
    let rules = world.virtual_services.iter().map(|vs| (&vs.object, vs.visibility.as_ref(), "spec.exportTo"));
    let policies = world.destination_rules.iter().map(|dr| (&dr.object, dr.visibility.as_ref(), "spec.exportTo"));
    let services = world.services.iter().map(|s| {
        let field = if s.object.kind == "Service" {
            "metadata.annotations[networking.istio.io/exportTo]"
        } else {
            "spec.exportTo"
        };
        (&s.object, s.visibility.as_deref(), field)
    });
    for (object, visibility, field) in rules.chain(policies).chain(services) {
        check_visibility(world, object, visibility, field, found);
    }
    let index = by_namespace(world);
    for sidecar in &world.sidecars {
        check_egress(world, sidecar, &index, found);
    }
    for attachment in &world.attachments {
        check_targets(world, attachment, found);
    }
}

fn check_visibility(world: &World, object: &ObjectRef, to: Option<&Visibility>, field: &str, found: &mut Found) {
    let Some(Visibility::Namespaces(set)) = to.filter(|_| world.knows_namespaces()) else { return };
    for unknown in set.iter().filter(|n| **n != object.namespace && !world.namespaces.contains_key(*n)) {
        found.add(Code::NamespaceUnknown, object, field, format!("namespace {unknown} does not exist"));
    }
}

type Hosts<'a> = BTreeMap<&'a Namespace, Vec<&'a Arc<str>>>;

/// Hosts of services and VirtualServices, by namespace.
fn by_namespace(world: &World) -> Hosts<'_> {
    let mut hosts: Hosts<'_> = BTreeMap::new();
    for service in &world.services {
        hosts.entry(&service.namespace).or_default().push(&service.host);
    }
    for vs in &world.virtual_services {
        hosts.entry(&vs.object.namespace).or_default().extend(&vs.hosts);
    }
    hosts
}

fn check_egress(world: &World, sidecar: &Sidecar, hosts: &Hosts<'_>, found: &mut Found) {
    // One of the root namespace is for all namespaces, whose own are meant by `.`.
    let own = sidecar.namespace.clone();
    let is_default = own == world.mesh.root_namespace && sidecar.workload_selector.is_none();
    for (n, listener) in sidecar.egress.iter().enumerate() {
        for entry in listener.hosts.iter().filter(|e| !e.namespace.excludes() && &*e.host != "*") {
            let meant = |namespace: &Namespace| is_default || entry.namespace.names(namespace, &own);
            let known = hosts.iter().any(|(namespace, all)| meant(namespace) && all.iter().any(|h| overlaps(h, entry)));
            if !known {
                let reason = format!("no service with host {:?} is there to be imported", entry.host);
                found.add(Code::EgressHostUnknown, &sidecar.object, format!("spec.egress[{n}].hosts"), reason);
            }
        }
    }
}

fn overlaps(host: &str, entry: &EgressHost) -> bool {
    is_subset(host, &entry.host) || is_subset(&entry.host, host)
}

fn check_targets(world: &World, attachment: &Attachment, found: &mut Found) {
    let namespace = &attachment.object.namespace;
    for Target { field, group, kind, name } in &attachment.targets {
        let exists = match (group.as_str(), kind.as_str()) {
            ("", "Service") | ("networking.istio.io", "ServiceEntry") => {
                let is_it =
                    |s: &Service| s.object.kind == *kind && s.namespace == *namespace && *s.object.name == **name;
                Some(world.services.iter().any(|service| is_it(service)))
            }
            (GATEWAY_API, kind) => world.gateway_api.has(kind, namespace, name),
            // What nothing can be attached to is refused.
            _ => None,
        };
        if exists == Some(false) {
            let wherever = if kind == "GatewayClass" { String::new() } else { format!(" in namespace {namespace}") };
            let reason = format!("there is no {kind} {name}{wherever}");
            found.add(Code::TargetUnknown, &attachment.object, format!("{field}.name"), reason);
        }
    }
}
