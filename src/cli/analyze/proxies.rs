//! The proxies that there would be: translating for them tells what they would run into.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    analyze::Workload,
    cli::offline::proxy,
    engine::{
        graph::Db,
        inputs::{DestinationRules, Gateways, NamespacedName, Secrets, ServiceKey, Sidecars, VirtualServices},
    },
    model::{Labels, Namespace, Proxy, workload::selects},
};

/// For each namespace and labels that somebody selects one.
pub(super) fn all(db: &mut Db, workloads: &[Workload], root: &Namespace) -> Vec<Proxy> {
    let mut made = Vec::new();
    for (namespace, labels) in gateways(db, workloads, root) {
        made.extend(named("router", &namespace, labels));
    }
    for (namespace, labels) in sidecars(db, workloads, root) {
        made.extend(named("sidecar", &namespace, labels));
    }
    made
}

fn named(kind: &str, namespace: &str, labels: Labels) -> Option<Proxy> {
    let id = format!("{kind}~10.0.0.1~analysis.{namespace}~{namespace}.svc.cluster.local");
    proxy(&id).ok().map(|proxy| Proxy { labels, ..proxy })
}

/// Gateways: where Pods have the labels of a selector, else where a Service leads to such Pods, else where the secrets of
/// the Gateway are, else in the namespace of the control plane.
fn gateways(db: &mut Db, workloads: &[Workload], root: &Namespace) -> BTreeSet<(Namespace, Labels)> {
    let mut selectors: BTreeSet<(Labels, Vec<Arc<str>>)> = BTreeSet::new();
    let mut any = false;
    for key in db.input_keys::<Gateways>() {
        let Some(gateway) = db.input_value(&key) else { continue };
        let credentials =
            gateway.servers.iter().filter_map(|s| s.tls.as_ref()).flat_map(|tls| match &tls.certificates {
                crate::model::gateway::Certificates::Credentials(names) => names.clone(),
                _ => Vec::new(),
            });
        match &gateway.selector {
            Some(selector) => drop(selectors.insert((selector.clone(), credentials.collect()))),
            None => any = true,
        }
    }
    let services = services(db);
    let mut found = BTreeSet::new();
    for (selector, credentials) in selectors {
        let pods = workloads.iter().filter(|w| selects(&selector, &w.labels));
        let mut own: BTreeSet<_> = pods.map(|w| (w.namespace.clone(), w.labels.clone())).collect();
        if own.is_empty() {
            let leading = services.iter().filter(|(_, labels)| selects(&selector, labels));
            own.extend(leading.cloned());
        }
        if own.is_empty() {
            let holding = db.input_keys::<Secrets>().into_iter().find(|s| credentials.contains(&s.0.name));
            own.insert((holding.map_or_else(|| root.clone(), |s| s.0.namespace), selector));
        }
        found.extend(own);
    }
    if any && found.is_empty() {
        found.insert((root.clone(), Labels::new()));
    }
    found
}

/// Namespaces and selectors of Services.
fn services(db: &mut Db) -> Vec<(Namespace, Labels)> {
    let keys = db.input_keys::<ServiceKey>();
    let services = keys.into_iter().filter_map(|key| db.input_value(&key));
    services.filter_map(|s| Some((s.namespace.clone(), s.selector.clone()?))).collect()
}

/// Sidecars: one in each namespace that there is anything in, and one for each object that selects some of them.
fn sidecars(db: &mut Db, workloads: &[Workload], root: &Namespace) -> BTreeSet<(Namespace, Labels)> {
    let own = |key: &NamespacedName| key.namespace.clone();
    let mut namespaces: BTreeSet<Namespace> =
        db.input_keys::<ServiceKey>().iter().map(|k| k.object.namespace.clone()).collect();
    namespaces.extend(db.input_keys::<VirtualServices>().iter().map(|k| own(&k.0)));
    namespaces.extend(workloads.iter().map(|w| w.namespace.clone()));
    let mut found = BTreeSet::new();
    for key in db.input_keys::<Sidecars>() {
        namespaces.insert(own(&key.0));
        if let Some(selector) = db.input_value(&key).and_then(|s| s.workload_selector.clone()) {
            found.insert((own(&key.0), selector));
        }
    }
    for key in db.input_keys::<DestinationRules>() {
        namespaces.insert(own(&key.0));
        if let Some(selector) = db.input_value(&key).and_then(|rule| rule.workload_selector.clone()) {
            found.insert((own(&key.0), selector));
        }
    }
    // There are gateways and the control plane, which have no sidecars; nor has the system.
    namespaces.retain(|n| n != root && !n.starts_with("kube-"));
    found.extend(namespaces.into_iter().map(|namespace| (namespace, Labels::new())));
    found
}
