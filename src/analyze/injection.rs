//! Pods that have no proxy although they should, or will not work with one.

use super::{Found, Workload, World};
use crate::model::{Code, Labels, Namespace, ObjectRef};

/// Says of a namespace, and of a Pod by its revision, who injects.
const INJECTION: &str = "istio-injection";
const REVISION: &str = "istio.io/rev";
/// Says of a Pod whether it is injected.
const INJECT: &str = "sidecar.istio.io/inject";
/// The user of the proxy, whose traffic is not redirected.
const PROXY_USER: i64 = 1337;
/// Where nothing is ever injected.
const IGNORED: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "local-path-storage"];

pub(super) fn check(world: &World, found: &mut Found) {
    for (namespace, facts) in &world.namespaces {
        check_namespace(world, namespace, &facts.labels, found);
    }
    for workload in world.pods(None).filter(|w| !IGNORED.contains(&&*w.namespace)) {
        check_workload(world, workload, found);
    }
}

fn check_namespace(world: &World, namespace: &Namespace, labels: &Labels, found: &mut Found) {
    let object = ObjectRef::new("Namespace", "", namespace);
    let field = |label: &str| format!("metadata.labels[{label}]");
    let (injection, revision) = (labels.get(INJECTION), labels.get(REVISION));
    if let (Some(injection), Some(revision)) = (injection, revision) {
        let reason = format!("{INJECTION}={injection} counts: {REVISION}={revision} has no effect beside it");
        found.add(Code::InjectionContradicted, &object, field(REVISION), reason);
    } else if let Some(other) = injection.filter(|value| !["enabled", "disabled"].contains(&value.as_str())) {
        let reason = format!("{other:?} is neither enabled nor disabled: nothing is injected");
        found.add(Code::InjectionContradicted, &object, field(INJECTION), reason);
    }
    let system = IGNORED.contains(&&**namespace) || *namespace == world.mesh.root_namespace;
    if injection.is_none() && revision.is_none() && !system {
        let mut own = world.pods(Some(namespace)).peekable();
        let plain =
            |w: &Workload| !w.has_proxy && !w.is_gateway && said(w).is_none() && !w.labels.contains_key(REVISION);
        if own.peek().is_some() && own.all(plain) {
            let reason = format!("its Pods get no proxy: neither {INJECTION} nor {REVISION} is set");
            found.add(Code::NamespaceNotInjected, &object, "metadata.labels", reason);
        }
    }
}

/// What a Pod says of itself.
fn said(workload: &Workload) -> Option<&str> {
    let own = workload.labels.get(INJECT).or_else(|| workload.annotations.get(INJECT));
    own.map(String::as_str).filter(|value| !value.is_empty())
}

fn is_yes(value: &str) -> bool {
    ["true", "y", "yes", "on"].contains(&value.to_ascii_lowercase().as_str())
}

fn check_workload(world: &World, workload: &Workload, found: &mut Found) {
    let wanted = said(workload).map(is_yes);
    let object = &workload.object;
    if workload.annotations.contains_key(INJECT) {
        let reason = format!("the webhooks' selectors see labels only: use the label {INJECT}");
        found.add(
            Code::AnnotationDeprecated,
            object,
            workload.field(&format!("metadata.annotations[{INJECT}]")),
            reason,
        );
    }
    let labels = world.namespaces.get(&workload.namespace).map(|facts| &facts.labels);
    let injected = labels.map(|labels| match labels.get(INJECTION) {
        Some(value) => value == "enabled",
        None => labels.contains_key(REVISION),
    });
    let refused = labels.and_then(|labels| labels.get(INJECTION)).is_some_and(|value| value == "disabled");
    if refused && wanted == Some(true) {
        let reason = format!("namespace {} has {INJECTION}=disabled, which counts", workload.namespace);
        found.add(Code::InjectionContradicted, object, workload.field("metadata.labels"), reason);
    }
    let expected = wanted.unwrap_or(injected == Some(true)) && !refused;
    if expected && workload.host_network && !workload.is_gateway {
        let reason = "it uses the node's network: nothing is injected, and its traffic passes no proxy";
        found.add(Code::HostNetwork, object, workload.field("spec.hostNetwork"), reason);
    } else if expected && workload.is_pod && !workload.has_proxy && !workload.is_gateway {
        let reason = "it was made before its namespace was injected, or the webhook did not answer: it has no proxy";
        found.add(Code::ProxyMissing, object, "spec.containers", reason);
    }
    let has_proxy = expected || workload.has_proxy;
    for (field, user) in workload.users.iter().filter(|(_, user)| has_proxy && *user == PROXY_USER) {
        let reason = format!("user {user} is the proxy's: traffic of this container passes no proxy");
        found.add(Code::ProxyUser, object, field.clone(), reason);
    }
}
