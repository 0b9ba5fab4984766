//! Whether a real Envoy takes what objects become: many objects at once, each for itself.
//!
//! ```text
//!  object ─► scenery ─► translation with it, for a sidecar and a gateway ─┐
//!                   └─► translation without it ───────────────────────────┴─► what differs, under names of its own
//!  many of them ─► clusters.json, listeners.json ─► one Envoy ─► what it refuses, by the names
//! ```
//!
//! Routes and endpoints become parts of listeners and clusters, which Envoy refuses one by one.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use anyhow::{Context, Result, ensure};
use mizzen::{
    cli::offline,
    model::MeshConfig,
    snapshot::{ResourceType, Snapshot},
    sources::files,
    translate::json::message_to_json,
};
use serde_json::{Value, json};

use crate::{
    envoy::{Envoy, EnvoyOptions, Node},
    scenery,
    wait::{PATIENCE, eventually},
};

/// What proxies say that they are; cases of EnvoyFilters ask for it.
const VERSION: &str = "1.29.0";

/// What proxies get of an object.
#[derive(Clone, Debug, Default)]
pub struct Made {
    clusters: Vec<Value>,
    listeners: Vec<Value>,
}

/// What Envoy said to many of them.
#[derive(Debug, Default)]
pub struct Acceptance {
    /// What was refused: index of the object, and the reason.
    pub refused: BTreeMap<usize, String>,
    /// Clusters and listeners that were given to Envoy.
    pub given: (usize, usize),
    /// Clusters and listeners that Envoy has.
    pub taken: (usize, usize),
}

impl Made {
    /// Of an object.
    ///
    /// # Errors
    /// When a resource is no message of its type.
    pub fn of(object: &Value) -> Result<Self> {
        let around = scenery::around(object);
        let mut made = Self::default();
        for (proxy, node) in scenery::proxies(object).iter().enumerate() {
            let without = snapshot(around.iter(), node)?;
            let with = snapshot(around.iter().chain([object]), node)?;
            made.differing(proxy, &without, &with)?;
        }
        Ok(made)
    }

    /// Whether proxies get nothing of it.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.clusters.is_empty() && self.listeners.is_empty()
    }

    fn differing(&mut self, proxy: usize, without: &Snapshot, with: &Snapshot) -> Result<()> {
        for t in [ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Listener, ResourceType::Route] {
            let before = without.views[t].resources();
            for (name, resource) in with.views[t].resources() {
                let body = resource.body_bytes();
                if before.get(&name).is_some_and(|other| other.body_bytes() == body) {
                    continue;
                }
                let resource = message_to_json(t.message_name(), &body);
                let resource = resource.with_context(|| format!("{} {name} cannot be read back", t.short_name()))?;
                self.take(t, &format!("{proxy}/{name}"), resource);
            }
        }
        Ok(())
    }

    fn take(&mut self, t: ResourceType, name: &str, mut resource: Value) {
        rewire(&mut resource);
        match t {
            ResourceType::Endpoint => self.clusters.push(with_endpoints(name, &resource)),
            ResourceType::Route => self.listeners.push(with_routes(name, resource)),
            _ => {
                resource["name"] = name.into();
                without_discovery(&mut resource);
                let list = if t == ResourceType::Cluster { &mut self.clusters } else { &mut self.listeners };
                list.push(resource);
            }
        }
    }
}

fn snapshot<'a>(objects: impl Iterator<Item = &'a Value>, node: &Node) -> Result<Snapshot> {
    let mut proxy = offline::proxy(&node.id())?;
    proxy.labels = node.labels.clone();
    proxy.cluster_id = "Kubernetes".into();
    proxy.istio_version = VERSION.into();
    let files = objects.enumerate().map(|(n, object)| (format!("{n}.json").into(), object.to_string().into()));
    let deliveries = files::read_once(files.collect());
    Ok(offline::translate_over(MeshConfig::default(), deliveries, proxy).snapshot)
}

/// Nothing is asked of a control plane: endpoints and routes are there or loaded for themselves, secrets are the agent's.
fn rewire(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(rewire),
        Value::Object(map) => {
            if let Some(rds) = map.remove("rds") {
                map.insert("route_config".to_owned(), json!({"name": rds["route_config_name"]}));
            }
            // Files are the proxy's.
            map.retain(|key, value| key != "crl" || value["filename"].is_null());
            if map.contains_key("ads") {
                *value = json!({
                    "api_config_source": {
                        "api_type": "GRPC",
                        "transport_api_version": "V3",
                        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
                    },
                    "resource_api_version": "V3",
                });
                return;
            }
            map.values_mut().for_each(rewire);
        }
        _ => {}
    }
}

/// A cluster has no endpoints, in place of those that it would be told of.
fn without_discovery(cluster: &mut Value) {
    if let Some(eds) = cluster.as_object_mut().and_then(|fields| fields.remove("eds_cluster_config")) {
        let name = if eds["service_name"].is_null() { &cluster["name"] } else { &eds["service_name"] };
        cluster["load_assignment"] = json!({"cluster_name": name});
        cluster["type"] = "STATIC".into();
    }
}

fn with_endpoints(name: &str, assignment: &Value) -> Value {
    json!({"name": format!("{name} endpoints"), "type": "STATIC", "connect_timeout": "1s", "load_assignment": assignment})
}

fn with_routes(name: &str, mut routes: Value) -> Value {
    // As for routes that come by themselves: a cluster may come later.
    routes["validate_clusters"] = false.into();
    let proxy = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    let manager = json!({
        "@type": proxy,
        "stat_prefix": "routes",
        "route_config": routes,
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": router}}],
    });
    json!({
        "name": format!("{name} routes"),
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 1}},
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    })
}

impl Acceptance {
    /// What Envoy says to what objects became.
    ///
    /// # Errors
    /// When Envoy does not start, or says nothing.
    pub async fn of(objects: &[Made]) -> Result<Self> {
        let mut all = Self::default();
        let mut waiting = vec![(0, objects.len())];
        while let Some((from, to)) = waiting.pop() {
            let batch = Batch::new(from, &objects[from..to]);
            match batch.load().await? {
                Verdict::Each(one) => all.add(one),
                Verdict::Whole(reason) if to - from == 1 => drop(all.refused.insert(from, reason)),
                // It does not say which of them.
                Verdict::Whole(_) => waiting.extend([(from, from.midpoint(to)), (from.midpoint(to), to)]),
            }
        }
        Ok(all)
    }

    fn add(&mut self, other: Self) {
        self.refused.extend(other.refused);
        self.given = (self.given.0 + other.given.0, self.given.1 + other.given.1);
        self.taken = (self.taken.0 + other.taken.0, self.taken.1 + other.taken.1);
    }
}

enum Verdict {
    Each(Acceptance),
    Whole(String),
}

/// What one Envoy gets.
struct Batch {
    clusters: Vec<Value>,
    listeners: Vec<Value>,
}

impl Batch {
    /// Of objects, the first of which has a number.
    fn new(first: usize, objects: &[Made]) -> Self {
        let (mut clusters, mut listeners) = (Vec::new(), Vec::new());
        let mut places = Places::default();
        for (n, made) in objects.iter().enumerate() {
            let named = |resource: &Value| {
                let mut resource = resource.clone();
                resource["name"] = format!("<{}>{}", first + n, text(&resource["name"])).into();
                resource
            };
            clusters.extend(made.clusters.iter().map(named));
            listeners.extend(made.listeners.iter().map(named).map(|listener| places.apart(n, listener)));
        }
        Self { clusters, listeners }
    }

    async fn load(&self) -> Result<Verdict> {
        let folder = tempfile::tempdir()?;
        self.write(folder.path())?;
        // It may end at once, or while it loads.
        let options = EnvoyOptions::files(Node::router("all", "default"), folder.path());
        let envoy = match Envoy::start_ready(&options).await {
            Ok(envoy) => envoy,
            Err(ended) => return Ok(Verdict::Whole(format!("{ended:#}"))),
        };
        eventually("Envoy's word about clusters and listeners", PATIENCE, || async {
            let said = envoy.admin().stats("(cds|lds).update_(success|rejected|failure)$").await?;
            ensure!(said.values().sum::<u64>() >= 2, "{said:?}");
            anyhow::Ok(())
        })
        .await
        .with_context(|| envoy.log())?;
        let log = envoy.log();
        let refused = refusals(&log);
        let wrong = envoy.admin().stats("(cds|lds).update_(rejected|failure)$").await?;
        if wrong.values().any(|count| *count > 0) && refused.is_empty() {
            return Ok(Verdict::Whole(log));
        }
        let stat = async |name: &str| anyhow::Ok(usize::try_from(envoy.admin().stat(name).await?)?);
        let warming = envoy.admin().warming().await?;
        // One cluster is the agent's.
        let clusters = stat("cluster_manager.active_clusters").await? + usize::try_from(warming.clusters)? - 1;
        let listeners = stat("listener_manager.total_listeners_active").await? + usize::try_from(warming.listeners)?;
        let given = (self.clusters.len(), self.listeners.len());
        Ok(Verdict::Each(Acceptance { refused, given, taken: (clusters, listeners) }))
    }

    fn write(&self, folder: &Path) -> Result<()> {
        for (file, message, resources) in
            [("clusters", "cluster.v3.Cluster", &self.clusters), ("listeners", "listener.v3.Listener", &self.listeners)]
        {
            let typed = |resource: &Value| {
                let mut resource = resource.clone();
                resource["@type"] = format!("type.googleapis.com/envoy.config.{message}").into();
                resource
            };
            let all: Vec<Value> = resources.iter().map(typed).collect();
            let text = json!({"version_info": "1", "resources": all}).to_string();
            std::fs::write(folder.join(format!("{file}.json")), text)?;
        }
        Ok(())
    }
}

/// Addresses of listeners: each object has its own, those of one object are the same where they were.
#[derive(Default)]
struct Places(HashMap<(usize, String), usize>);

impl Places {
    fn apart(&mut self, object: usize, mut listener: Value) -> Value {
        // Listeners of routes are all alike; others are apart when they are of other proxies.
        let name = text(&listener["name"]).to_owned();
        let among = if name.ends_with(" routes") { name } else { name.chars().take_while(|c| *c != '/').collect() };
        let mut move_to = |address: &mut Value| {
            let key = (object, format!("{among} {address}"));
            let next = self.0.len();
            let n = *self.0.entry(key).or_insert(next);
            if let Some(path) = address["pipe"]["path"].as_str() {
                let kept = path.len().saturating_sub(6);
                address["pipe"]["path"] = format!("{}{n:06}", path.get(..kept).unwrap_or_default()).into();
            } else if !address["socket_address"].is_null() {
                let v6 = text(&address["socket_address"]["address"]).contains(':');
                let [_, a, b, c] = u32::try_from(n).unwrap_or_default().to_be_bytes();
                let ip = if v6 { format!("fd00::{n:x}") } else { format!("10.{a}.{b}.{c}") };
                address["socket_address"]["address"] = ip.into();
            }
        };
        move_to(&mut listener["address"]);
        let more = listener.get_mut("additional_addresses").and_then(Value::as_array_mut);
        more.into_iter().flatten().for_each(|more| move_to(&mut more["address"]));
        listener["bind_to_port"] = false.into();
        listener
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What a log tells of refusals: the first words about each number `<n>`.
fn refusals(log: &str) -> BTreeMap<usize, String> {
    let mut found = BTreeMap::new();
    for (_, told) in log.split("update ").filter_map(|part| part.split_once(':').filter(|(what, _)| is_refusal(what))) {
        // A line of the log begins with the time.
        let told = told.split_once("\n[20").map_or(told, |(told, _)| told);
        for part in told.split('<').skip(1) {
            let Some((number, reason)) = part.split_once('>') else { continue };
            if let Ok(number) = number.parse() {
                found.entry(number).or_insert_with(|| reason.trim().trim_end_matches(',').to_owned());
            }
        }
    }
    found
}

fn is_refusal(word: &str) -> bool {
    ["rejected", "failure", "failed"].contains(&word)
}
