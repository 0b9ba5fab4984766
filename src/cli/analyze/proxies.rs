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

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::Value;

    use super::*;
    use crate::{
        engine::Offline,
        model::MeshConfig,
        reconcilers::intake::{MeshSource, Reconcilers},
        sources::{Reading, read},
    };

    const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: shop}
spec:
  selector: {app: gw}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, tls: {mode: SIMPLE, credentialName: cert}, hosts: [a.com]}]
";

    fn service(namespace: &str) -> String {
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: gw, namespace: {namespace}}}\n\
             spec: {{selector: {{app: gw}}, ports: [{{name: https, port: 443}}]}}\n"
        )
    }

    fn pod(namespace: &str, labels: &str) -> String {
        let meta = format!("{{name: p, namespace: {namespace}, labels: {{{labels}}}}}");
        format!("---\napiVersion: v1\nkind: Pod\nmetadata: {meta}\nspec: {{containers: [{{name: app}}]}}\n")
    }

    /// The proxies of objects: kind, namespace and labels.
    fn proxies(yaml: &str) -> Vec<String> {
        let reconcilers = Reconcilers::new(
            MeshConfig::default(),
            MeshSource { namespace: "istio-system".into(), name: "istio".into() },
        );
        let mut offline = Offline::default();
        let mut workloads = Vec::new();
        for document in serde_yaml_ng::Deserializer::from_str(yaml) {
            let Reading::Object { object, .. } = read(Value::deserialize(document).unwrap()) else { panic!("{yaml}") };
            if let crate::api::Object::Pod(pod) = &object {
                workloads.extend(Workload::of_pod(pod));
            }
            reconcilers.apply(&object).apply(offline.db());
        }
        let made = all(offline.db(), &workloads, &"istio-system".into());
        let line = |proxy: &Proxy| {
            let labels: Vec<String> = proxy.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{:?} {} {}", proxy.kind, proxy.namespace, labels.join(",")).trim_end().to_owned()
        };
        made.iter().map(line).collect()
    }

    #[test]
    fn gateways_are_where_their_pods_would_be() {
        let secret = "---\napiVersion: v1\nkind: Secret\nmetadata: {name: cert, namespace: certs}\n\
                      data: {tls.crt: eA==, tls.key: eA==}\n";
        assert_eq!(proxies(GATEWAY), ["Router istio-system app=gw"]);
        assert_eq!(proxies(&[GATEWAY, secret].concat()), ["Router certs app=gw"]);
        let led_to = [GATEWAY, secret, &service("edge")].concat();
        assert_eq!(proxies(&led_to), ["Router edge app=gw", "Sidecar edge"]);
        let deployed = [GATEWAY, secret, &service("edge"), &pod("pods", "app: gw, x: y")].concat();
        assert_eq!(proxies(&deployed), ["Router pods app=gw,x=y", "Sidecar edge", "Sidecar pods"]);
        let for_all = GATEWAY.replace("  selector: {app: gw}\n", "");
        assert_eq!(proxies(&for_all), ["Router istio-system"]);
    }

    #[test]
    fn each_namespace_and_each_selection_has_a_sidecar() {
        let objects = "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: s, namespace: a}
spec: {workloadSelector: {labels: {app: web}}, egress: [{hosts: ['./*']}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d, namespace: b}
spec: {host: web, workloadSelector: {matchLabels: {app: api}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v, namespace: c}
spec: {hosts: [web], http: [{directResponse: {status: 200}}]}
";
        let others = [service("kube-system"), service("istio-system"), pod("d", "app: db")].concat();
        let expected = ["Sidecar a", "Sidecar a app=web", "Sidecar b", "Sidecar b app=api", "Sidecar c", "Sidecar d"];
        assert_eq!(proxies(&[objects, &others].concat()), expected);
    }
}
