//! Services whose Pods are not there or lack a port, and ports whose protocol is guessed.

use super::{Found, World, gateways::shown};
use crate::model::{Code, Protocol, Service, service::Registry};

pub(super) fn check(world: &World, found: &mut Found) {
    for service in world.services.iter().filter(|s| s.registry == Registry::Kubernetes) {
        check_protocols(service, found);
        check_pods(world, service, found);
    }
}

fn check_protocols(service: &Service, found: &mut Found) {
    let reserved = ["kube-system", "kube-public"].contains(&&*service.namespace) || service.external_name.is_some();
    for (n, port) in service.ports.iter().enumerate().filter(|(_, p)| p.protocol == Protocol::Auto && !reserved) {
        let name = if port.name.is_empty() { "has no name".to_owned() } else { format!("is called {:?}", port.name) };
        let reason = format!(
            "port {} {name}, which says no protocol: the proxy looks at the first bytes, and takes what is neither HTTP nor TLS for TCP",
            port.number
        );
        found.add(Code::PortProtocolGuessed, &service.object, format!("spec.ports[{n}].name"), reason);
    }
}

fn check_pods(world: &World, service: &Service, found: &mut Found) {
    let Some(selector) = service.selector.as_ref() else { return };
    if !world.knows_workloads(Some(&service.namespace)) {
        return;
    }
    let mut pods = world.selected(Some(&service.namespace), selector).peekable();
    if pods.peek().is_none() {
        if !world.has_selected(Some(&service.namespace), selector) {
            let reason = format!("no Pod of namespace {} has the labels {}", service.namespace, shown(selector));
            found.add(Code::ServiceSelectsNothing, &service.object, "spec.selector", reason);
        }
        return;
    }
    let pods: Vec<_> = pods.collect();
    for (n, port) in service.ports.iter().enumerate().filter(|(_, p)| !p.target_name.is_empty()) {
        if !pods.iter().any(|pod| pod.ports.iter().any(|(name, _)| **name == *port.target_name)) {
            let reason = format!("no container of its Pods has a port {:?}", port.target_name);
            found.add(Code::TargetPortUnknown, &service.object, format!("spec.ports[{n}].targetPort"), reason);
        }
    }
}
