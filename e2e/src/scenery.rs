//! What stands around an object, so that proxies get something of it: the services it is about, gateways, workloads.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::envoy::Node;

/// The address of the sidecar, which is an endpoint of service `web` of its namespace.
const SIDECAR: &str = "10.0.0.3";

/// The label that gateways have and scenery's Gateways select.
const GATEWAYS: (&str, &str) = ("istio", "ingressgateway");

/// Ports of every service that an object names: number, name, protocol.
const PORTS: [(u64, &str, &str); 4] =
    [(80, "http", "HTTP"), (443, "tls", "TLS"), (9000, "tcp", "TCP"), (7000, "grpc", "GRPC")];

/// The namespace of an object.
fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or("default")
}

/// The proxies that an object may be for: in its namespace, with the labels that it selects.
pub(crate) fn proxies(object: &Value) -> [Node; 2] {
    let namespace = namespace(object);
    let mut sidecar = Node::sidecar("workload", namespace).ip(SIDECAR).label("app", "web");
    let mut router = Node::router("gateway", namespace).ip("10.0.0.1");
    for (key, value) in selected(&object["spec"]) {
        sidecar = sidecar.label(&key, &value);
        router = router.label(&key, &value);
    }
    [sidecar, router]
}

/// The labels that an object selects proxies by.
fn selected(spec: &Value) -> BTreeMap<String, String> {
    let selector = &spec["selector"];
    let places = [selector, &selector["matchLabels"], &spec["workloadSelector"]["labels"]];
    let places = places.into_iter().chain([&spec["workloadSelector"]["matchLabels"]]);
    let labels = places.filter_map(Value::as_object).flatten();
    labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The objects around one.
pub(crate) fn around(object: &Value) -> Vec<Value> {
    let mut stage = Stage { namespace: namespace(object).to_owned(), ..Stage::default() };
    stage.workload();
    let spec = &object["spec"];
    let kind = object["kind"].as_str().unwrap_or_default();
    if kind == "Gateway" {
        stage.routes(namespace(object), object["metadata"]["name"].as_str().unwrap_or_default());
    } else {
        stage.gateway(namespace(object), "scenery");
    }
    match kind {
        "VirtualService" => stage.virtual_service(object),
        "DestinationRule" => stage.destination_rule(spec),
        "WorkloadEntry" => stage.selected_by_service(&spec["labels"]),
        "WorkloadGroup" => stage.selected_by_service(&spec["metadata"]["labels"]),
        "ServiceEntry" => stage.selected_by(&spec["workloadSelector"]["labels"]),
        _ => {}
    }
    stage.finish()
}

/// The services that objects are about: host, its ports beside [`PORTS`], and its subsets.
#[derive(Default)]
struct Stage {
    namespace: String,
    objects: Vec<Value>,
    hosts: BTreeMap<String, (BTreeSet<u64>, BTreeSet<String>)>,
}

impl Stage {
    fn add(&mut self, api: &str, kind: &str, namespace: &str, name: &str, rest: &Value) {
        let mut object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": name, "namespace": namespace}});
        for (key, value) in rest.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        self.objects.push(object);
    }

    fn networking(&mut self, kind: &str, namespace: &str, name: &str, spec: &Value) {
        self.add("networking.istio.io/v1", kind, namespace, name, &json!({"spec": spec}));
    }

    /// Service `web`, whose only endpoint the sidecar is, and `api` of another namespace.
    fn workload(&mut self) {
        let own = self.namespace.clone();
        for (namespace, name, address) in [(own.as_str(), "web", SIDECAR), ("scenery", "api", "10.0.0.4")] {
            let port = |(number, port, _): (u64, &str, &str)| json!({"name": port, "port": number, "protocol": "TCP"});
            let ports: Vec<Value> = PORTS.into_iter().map(port).collect();
            let spec =
                json!({"clusterIP": address.replace("10.0.", "10.96."), "selector": {"app": name}, "ports": ports});
            self.add("v1", "Service", namespace, name, &json!({"spec": spec}));
            let mut slice = json!({
                "addressType": "IPv4",
                "ports": ports,
                "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
            });
            slice["metadata"] = json!({
                "name": name, "namespace": namespace, "labels": {"kubernetes.io/service-name": name},
            });
            self.add("discovery.k8s.io/v1", "EndpointSlice", namespace, name, &slice);
        }
    }

    /// Routes of a Gateway for whatever it serves.
    fn routes(&mut self, namespace: &str, gateway: &str) {
        let to =
            |port: u64| json!([{"destination": {"host": "api.scenery.svc.cluster.local", "port": {"number": port}}}]);
        let spec = json!({
            "hosts": ["*"],
            "gateways": [format!("{namespace}/{gateway}")],
            "http": [{"route": to(80)}],
            "tls": [{"match": [{"sniHosts": ["*"]}], "route": to(443)}],
            "tcp": [{"route": to(9000)}],
        });
        self.networking("VirtualService", namespace, "scenery-routes", &spec);
    }

    /// A Gateway for any host, and a route of it.
    fn gateway(&mut self, namespace: &str, name: &str) {
        let server = |number: u64, protocol: &str, tls: Value| json!({"port": {"number": number, "name": format!("p{number}"), "protocol": protocol}, "hosts": ["*"], "tls": tls});
        let passthrough = json!({"mode": "PASSTHROUGH"});
        let servers = [
            server(80, "HTTP", Value::Null),
            server(8080, "HTTP", Value::Null),
            server(443, "TLS", passthrough),
            server(9000, "TCP", Value::Null),
        ];
        let spec = json!({"selector": {GATEWAYS.0: GATEWAYS.1}, "servers": servers});
        self.networking("Gateway", namespace, name, &spec);
        let spec = json!({
            "hosts": [format!("{name}.test")],
            "gateways": [format!("{namespace}/{name}")],
            "http": [{"route": [{"destination": {"host": "api.scenery.svc.cluster.local", "port": {"number": 80}}}]}],
        });
        self.networking("VirtualService", namespace, &format!("{name}-route"), &spec);
    }

    fn virtual_service(&mut self, object: &Value) {
        let (own, spec) = (self.namespace.clone(), &object["spec"]);
        for host in texts(&spec["hosts"]) {
            self.host(host);
        }
        for gateway in texts(&spec["gateways"]).filter(|name| *name != "mesh") {
            let (namespace, name) = gateway.split_once('/').unwrap_or((&own, gateway));
            self.gateway(if namespace == "." { &own } else { namespace }, name);
        }
        self.destinations(spec);
        for rule in spec["http"].as_array().into_iter().flatten() {
            if let Some(name) = rule["delegate"]["name"].as_str() {
                let namespace = rule["delegate"]["namespace"].as_str().unwrap_or(&own).to_owned();
                let route = json!({"http": [{"route": [{"destination": {"host": "api.scenery.svc.cluster.local"}}]}]});
                self.networking("VirtualService", &namespace, name, &route);
            }
        }
        if texts(&spec["hosts"]).next().is_none() {
            let delegate = json!({"name": object["metadata"]["name"], "namespace": own});
            let root =
                json!({"hosts": ["root.test"], "gateways": ["mesh", "scenery"], "http": [{"delegate": delegate}]});
            self.host("root.test");
            self.networking("VirtualService", &own, "scenery-root", &root);
        }
    }

    /// What rules send to, wherever it stands.
    fn destinations(&mut self, value: &Value) {
        for (key, inner) in value.as_object().into_iter().flatten() {
            if let (true, Some(host)) = (["destination", "mirror"].contains(&key.as_str()), inner["host"].as_str()) {
                let (ports, subsets) = self.host(host);
                ports.extend(inner["port"]["number"].as_u64());
                subsets.extend(inner["subset"].as_str().map(str::to_owned));
            }
            self.destinations(inner);
        }
        value.as_array().into_iter().flatten().for_each(|inner| self.destinations(inner));
    }

    fn destination_rule(&mut self, spec: &Value) {
        let host = spec["host"].as_str().unwrap_or_default();
        let policies = [&spec["trafficPolicy"]].into_iter();
        let policies =
            policies.chain(spec["subsets"].as_array().into_iter().flatten().map(|subset| &subset["trafficPolicy"]));
        let settings = policies.filter_map(|policy| policy["portLevelSettings"].as_array()).flatten();
        let ports: Vec<u64> = settings.filter_map(|setting| setting["port"]["number"].as_u64()).collect();
        self.host(host).0.extend(&ports);
        if host.contains('*') {
            self.host(&host.replace('*', "x")).0.extend(&ports);
        }
    }

    /// A service of workloads with these labels.
    fn selected_by_service(&mut self, labels: &Value) {
        let ports: Vec<Value> = PORTS.into_iter().map(port).collect();
        let spec = json!({
            "hosts": ["machines.test"],
            "ports": ports,
            "resolution": "STATIC",
            "location": "MESH_INTERNAL",
            "workloadSelector": {"labels": labels},
        });
        let own = self.namespace.clone();
        self.networking("ServiceEntry", &own, "machines", &spec);
    }

    /// A workload with these labels.
    fn selected_by(&mut self, labels: &Value) {
        if labels.as_object().is_some_and(|labels| !labels.is_empty()) {
            let own = self.namespace.clone();
            self.networking("WorkloadEntry", &own, "machine", &json!({"address": "10.0.0.9", "labels": labels}));
        }
    }

    fn host(&mut self, name: &str) -> &mut (BTreeSet<u64>, BTreeSet<String>) {
        let short = !name.contains(['.', '*', ':']);
        let host = if short { format!("{name}.{}.svc.cluster.local", self.namespace) } else { name.to_owned() };
        self.hosts.entry(host).or_default()
    }

    fn finish(mut self) -> Vec<Value> {
        let web = format!("web.{}.svc.cluster.local", self.namespace);
        let own = self.namespace.clone();
        for (n, (host, (more, subsets))) in std::mem::take(&mut self.hosts).into_iter().enumerate() {
            if !["*", web.as_str(), "api.scenery.svc.cluster.local"].contains(&host.as_str()) {
                self.networking("ServiceEntry", &own, &format!("host-{n}"), &service_entry(&host, n, &more));
            }
            if !subsets.is_empty() {
                let subset = |name: &String| json!({"name": name, "labels": {"version": name}});
                let subsets: Vec<Value> = subsets.iter().map(subset).collect();
                let rule = json!({"host": host, "subsets": subsets});
                self.networking("DestinationRule", &own, &format!("subsets-{n}"), &rule);
            }
        }
        self.objects
    }
}

fn port((number, name, protocol): (u64, &str, &str)) -> Value {
    json!({"number": number, "name": name, "protocol": protocol})
}

fn service_entry(host: &str, n: usize, more: &BTreeSet<u64>) -> Value {
    let others = more.iter().filter(|number| PORTS.iter().all(|port| port.0 != **number));
    let others = others.map(|number| json!({"number": number, "name": format!("http-{number}"), "protocol": "HTTP"}));
    let ports: Vec<Value> = PORTS.into_iter().map(port).chain(others).collect();
    let mut spec = Map::new();
    spec.insert("hosts".to_owned(), json!([host]));
    spec.insert("ports".to_owned(), ports.into());
    if host.contains('*') {
        spec.insert("resolution".to_owned(), "NONE".into());
    } else {
        spec.insert("resolution".to_owned(), "STATIC".into());
        spec.insert("addresses".to_owned(), json!([format!("10.200.0.{}", n % 250 + 1)]));
        let endpoint = |m: u8, version: &str| json!({"address": format!("10.201.{m}.{}", n % 250 + 1), "labels": {"version": version, "app": "x"}, "locality": "r/z/s"});
        spec.insert("endpoints".to_owned(), json!([endpoint(1, "v1"), endpoint(2, "v2")]));
    }
    spec.into()
}

fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}
