//! Rights in the cluster: what the control plane and gateways read and write, and nothing else.
//!
//! A feature that needs another right adds it to the list of its concern below.

use serde_json::{Value, json};

use super::validator;
use crate::{
    api::{Kind, status::GROUP},
    install::{
        context::Context,
        object::{TYPES, Type},
    },
};

const READ: [&str; 3] = ["get", "list", "watch"];

/// The roles of the control plane, and who has them.
pub(super) fn of_control_plane(context: &Context) -> Vec<Value> {
    let namespace = context.namespace.as_str();
    let account = context.named("istiod");
    let cluster_wide = format!("{}-{namespace}", context.named("istiod-clusterrole"));
    let mut rules = reads();
    rules.extend(proofs());
    rules.extend(roots(context));
    rules.extend(webhooks(context));
    rules.extend(statuses());
    let mut all = in_cluster(&cluster_wide, &rules, &account, namespace);
    all.extend(in_namespace(&account, namespace, &account, &own_namespace()));
    all
}

/// A gateway reads the certificates that it shows. The control plane asks whether it may before it sends them.
pub(super) fn of_gateway(name: &str, namespace: &str, account: &str) -> [Value; 2] {
    in_namespace(&format!("{name}-sds"), namespace, account, &[rule(&[""], &["secrets"], &READ)])
}

/// Somebody who installs: what an installation has, and every right that it gives to others, as the API server asks of
/// whoever gives rights.
pub(super) fn of_installer(name: &str, namespace: &str) -> Vec<Value> {
    let mut rules: Vec<Value> = TYPES.iter().map(installs).collect();
    rules.push(rule(&["install.istio.io"], &["istiooperators"], &["get", "list", "watch", "update", "patch"]));
    rules.push(rule(&["install.istio.io"], &["istiooperators/status"], &["update", "patch"]));
    rules.extend(reads());
    rules.extend(proofs());
    rules.extend(statuses());
    rules.extend(own_namespace());
    in_cluster(name, &rules, name, namespace)
}

/// The rights over a kind of object that is installed.
fn installs(kind: &Type) -> Value {
    let group = kind.api_version.split_once('/').map_or("", |(group, _)| group);
    let mut verbs = vec!["get", "list", "watch", "create", "update", "patch"];
    // Namespaces go with `mizzen uninstall --purge` only.
    verbs.extend(kind.is_pruned.then_some("delete"));
    rule(&[group], &[kind.plural], &verbs)
}

/// A role everywhere, and who has it.
fn in_cluster(name: &str, rules: &[Value], account: &str, namespace: &str) -> Vec<Value> {
    vec![
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        }),
    ]
}

/// A role within a namespace, and who has it.
fn in_namespace(name: &str, namespace: &str, account: &str, rules: &[Value]) -> [Value; 2] {
    [
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name, "namespace": namespace},
            "rules": rules,
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
        }),
    ]
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": groups, "resources": resources, "verbs": verbs})
}

/// Every kind that is configuration, a rule for each API group, and which kinds are served.
fn reads() -> Vec<Value> {
    let mut groups: Vec<&str> = Kind::ALL.iter().map(|kind| kind.group()).collect();
    groups.dedup();
    groups.sort_unstable();
    groups.dedup();
    let of_group = |group: &&str| {
        let kinds = Kind::ALL.iter().filter(|kind| kind.group() == *group);
        // ConfigMaps have a rule of their own.
        let plurals = kinds.map(|kind| kind.plural()).filter(|plural| *plural != "configmaps");
        rule(&[*group], &plurals.collect::<Vec<_>>(), &READ)
    };
    let mut rules: Vec<Value> = groups.iter().map(of_group).collect();
    rules.push(rule(&["apiextensions.k8s.io"], &["customresourcedefinitions"], &READ));
    rules
}

/// Who a workload is, and what its account may.
fn proofs() -> Vec<Value> {
    vec![
        rule(&["authentication.k8s.io"], &["tokenreviews"], &["create"]),
        rule(&["authorization.k8s.io"], &["subjectaccessreviews"], &["create"]),
    ]
}

/// The roots in every namespace: creating cannot be limited to a name.
fn roots(context: &Context) -> Vec<Value> {
    let settings = &context.spec.components.pilot.k8s;
    let said = settings.env.iter().find(|variable| variable.name == "PILOT_CA_CERT_CONFIGMAP");
    let name = said.and_then(|variable| variable.value.as_deref()).unwrap_or("istio-ca-root-cert");
    let mut write = rule(&[""], &["configmaps"], &["update", "patch"]);
    write["resourceNames"] = json!([name, "istio-ca-crl"]);
    vec![rule(&[""], &["configmaps"], &["get", "list", "watch", "create"]), write]
}

/// The authority of webhooks, and whether they are closed.
fn webhooks(context: &Context) -> Vec<Value> {
    let group = ["admissionregistration.k8s.io"];
    let mut write = rule(&group, &["validatingwebhookconfigurations"], &["update"]);
    write["resourceNames"] = json!([validator::own_name(context), validator::DEFAULT_NAME]);
    vec![
        rule(&group, &["mutatingwebhookconfigurations"], &["get", "list", "watch", "update", "patch"]),
        rule(&group, &["validatingwebhookconfigurations"], &READ),
        write,
    ]
}

/// What is told of objects.
fn statuses() -> Vec<Value> {
    let mut groups: Vec<&str> = Kind::ALL.iter().filter(|kind| kind.is_custom()).map(|kind| kind.group()).collect();
    groups.sort_unstable();
    groups.dedup();
    let of_group = |group: &&str| {
        let kinds = Kind::ALL.iter().filter(|kind| kind.group() == *group);
        let resources: Vec<String> = kinds.map(|kind| format!("{}/status", kind.plural())).collect();
        rule(&[*group], &resources.iter().map(String::as_str).collect::<Vec<_>>(), &["get", "patch", "update"])
    };
    let own = [
        rule(&[GROUP], &["proxystatuses"], &["get", "list", "watch", "create", "delete"]),
        rule(&[GROUP], &["proxystatuses/status"], &["patch"]),
    ];
    // What is wrong with an object, where people look for it.
    let told = rule(&["events.k8s.io"], &["events"], &["create"]);
    groups.iter().map(of_group).chain(own).chain([told]).collect()
}

/// In its own namespace: the authority's key, locks between replicas, and what these tell each other.
fn own_namespace() -> Vec<Value> {
    vec![
        rule(&[""], &["secrets"], &["get", "list", "watch", "create", "update"]),
        rule(&[""], &["configmaps"], &["create", "update"]),
        // What replicas tell each other, and that they are alive.
        rule(&[GROUP], &["replicareports"], &["get", "list", "watch", "create", "patch", "delete"]),
        rule(&["coordination.k8s.io"], &["leases"], &["get", "list", "create", "patch", "delete"]),
        // Dry: whether an invalid one is refused.
        rule(&[Kind::Gateway.group()], &[Kind::Gateway.plural()], &["create"]),
    ]
}
