//! What the debug surfaces show, over HTTP and over xDS (contract §1.1, §7).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use prost::Message;
use serde_json::{Value, json};

use super::feedback::Refusals;
use crate::{
    cli::{
        http::{ConfigDump, DebugData},
        version::VersionInfo,
    },
    engine::{
        Engine,
        graph::{Db, Input},
        inputs::{
            DestinationRules, EnvoyFilters, External, Gateways, Policies, ServiceKey, Sidecars, Slices,
            VirtualServices, Workloads,
        },
    },
    model::{ObjectRef, Problem, service::EndpointAddress, workload::WorkloadFacts},
    snapshot::ResourceType,
    translate::json::{message_to_json, redact},
    xds::{
        auth::Scope,
        debug::{self, DebugSource, dump::config_dump},
        server::Shared,
    },
};

/// The HTTP debug endpoints.
pub(super) struct Debug {
    pub(super) engine: Engine,
    pub(super) shared: Arc<Shared>,
    pub(super) refusals: Arc<Refusals>,
}

impl DebugData for Debug {
    fn syncz(&self, namespace: Option<String>) -> BoxFuture<'_, Value> {
        let scope = namespace.map_or(Scope::Mesh, Scope::Namespace);
        let all = debug::syncz(&self.shared.clients, &scope);
        async move { to_value(&all) }.boxed()
    }

    fn adsz(&self) -> BoxFuture<'_, Value> {
        async { to_value(&debug::connections(&self.shared.clients, &Scope::Mesh)) }.boxed()
    }

    fn config_dump(&self, query: ConfigDump) -> BoxFuture<'_, Option<Value>> {
        async move {
            let client = self.shared.clients.find(&query.proxy_id)?;
            let mut dump = config_dump(&client, query.include_endpoints);
            if !query.types.is_empty() {
                dump.configs.retain(|c| query.types.iter().any(|t| is_of_type(&c.type_url, t)));
            }
            let mut value = message_to_json("envoy.admin.v3.ConfigDump", &dump.encode_to_vec())?;
            redact(&mut value);
            Some(value)
        }
        .boxed()
    }

    fn ndsz(&self, proxy_id: String) -> BoxFuture<'_, Option<Value>> {
        async move { self.shared.clients.find(&proxy_id).map(|client| to_value(&debug::name_table(&client))) }.boxed()
    }

    fn configz(&self) -> BoxFuture<'_, Value> {
        configz(&self.engine, &self.refusals).boxed()
    }

    fn registryz(&self) -> BoxFuture<'_, Value> {
        ask(&self.engine, registryz).boxed()
    }

    fn endpointz(&self) -> BoxFuture<'_, Value> {
        ask(&self.engine, endpointz).boxed()
    }
}

async fn ask(engine: &Engine, question: impl FnOnce(&mut Db) -> Value + Send + 'static) -> Value {
    engine.ask(question).await.unwrap_or(Value::Null)
}

async fn configz(engine: &Engine, refusals: &Refusals) -> Value {
    let refused = refusals.problems();
    ask(engine, move |db| {
        let problems = problems(db, &refused);
        // Services and their like have pages of their own; here they stand when something is wrong with them.
        let mut all: BTreeSet<ObjectRef> = problems.keys().cloned().collect();
        all.extend(objects::<Gateways>(db));
        all.extend(objects::<VirtualServices>(db));
        all.extend(objects::<DestinationRules>(db));
        all.extend(objects::<External>(db));
        all.extend(objects::<Workloads>(db));
        all.extend(objects::<Sidecars>(db));
        all.extend(objects::<EnvoyFilters>(db));
        all.extend(db.input_keys::<Policies>().into_iter().map(|key| key.0));
        let entry = |o: ObjectRef| {
            let found = problems.get(&o).cloned().unwrap_or_default();
            json!({"kind": o.kind, "namespace": o.namespace, "name": o.name, "problems": found})
        };
        all.into_iter().map(entry).collect()
    })
    .await
}

fn registryz(db: &mut Db) -> Value {
    let mut keys = db.input_keys::<ServiceKey>();
    keys.sort();
    let services = keys.into_iter().filter_map(|key| {
        let service = db.input_value(&key)?;
        let ports: Vec<Value> = service
            .ports
            .iter()
            .map(|p| json!({"name": p.name, "port": p.number, "protocol": format!("{:?}", p.protocol)}))
            .collect();
        Some(json!({
            "hostname": service.host,
            "namespace": service.namespace,
            "registry": format!("{:?}", service.registry),
            "resolution": format!("{:?}", service.resolution),
            "addresses": service.vips,
            "ports": ports,
        }))
    });
    services.collect()
}

fn endpointz(db: &mut Db) -> Value {
    let mut keys = db.input_keys::<Slices>();
    keys.sort();
    let slices = keys.into_iter().filter_map(|key| {
        let slice = db.input_value(&key)?;
        let entries = slice.entries.iter().map(|e| json!({"addresses": e.addresses, "ready": e.ready}));
        let ports = slice.ports.iter().map(|p| json!({"name": p.name, "port": p.number}));
        Some(json!({
            "namespace": slice.namespace,
            "service": slice.service,
            "slice": slice.object.name,
            "ports": ports.collect::<Vec<_>>(),
            "endpoints": entries.collect::<Vec<_>>(),
        }))
    });
    let mut all: Vec<Value> = slices.collect();
    all.extend(external(db));
    Value::Array(all)
}

/// The endpoints that ServiceEntries list, and WorkloadEntries.
fn external(db: &mut Db) -> Vec<Value> {
    let (mut entries, mut workloads) = (db.input_keys::<External>(), db.input_keys::<Workloads>());
    entries.sort();
    workloads.sort();
    let endpoint = |w: &WorkloadFacts| {
        let address = w.address.as_ref().map(|a| match a {
            EndpointAddress::Ip(ip) => ip.to_string(),
            EndpointAddress::Hostname(name) => name.to_string(),
            EndpointAddress::Pipe(path) => format!("unix://{path}"),
        });
        json!({"address": address, "ports": w.ports, "labels": w.labels, "weight": w.weight})
    };
    let listed = entries.into_iter().filter_map(|key| {
        let members = db.input_value(&key)?;
        let endpoints: Vec<Value> = members.endpoints.iter().map(endpoint).collect();
        Some(json!({
            "namespace": members.object.namespace,
            "serviceEntry": members.object.name,
            "selector": members.selector,
            "endpoints": endpoints,
        }))
    });
    let mut all: Vec<Value> = listed.collect();
    all.extend(workloads.into_iter().filter_map(|key| {
        let workload = db.input_value(&key)?;
        let object = &workload.object;
        let endpoints = [endpoint(&workload)];
        Some(json!({"namespace": object.namespace, "workloadEntry": object.name, "endpoints": endpoints}))
    }));
    all
}

/// What the engine finds wrong, and what proxies refuse, by object: field and reason.
fn problems(db: &Db, refused: &BTreeMap<Problem, Vec<String>>) -> BTreeMap<ObjectRef, Vec<Value>> {
    let mut found: BTreeMap<ObjectRef, BTreeSet<(&str, &str)>> = BTreeMap::new();
    for problem in db.problems() {
        found.entry(problem.object.clone()).or_default().insert((&problem.field, &problem.reason));
    }
    let entry = |(field, reason): (&str, &str)| json!({"field": field, "reason": reason});
    let mut all: BTreeMap<ObjectRef, Vec<Value>> =
        found.into_iter().map(|(object, all)| (object, all.into_iter().map(entry).collect())).collect();
    for (problem, by) in refused {
        let entry = json!({"field": problem.field, "reason": problem.reason, "refusedBy": by});
        all.entry(problem.object.clone()).or_default().push(entry);
    }
    all
}

/// The objects of a kind that are in use.
fn objects<I: Input>(db: &mut Db) -> Vec<ObjectRef> {
    db.input_keys::<I>().iter().filter_map(Input::object).collect()
}

/// `cds`, `clusters`-like short names or whole type URLs.
fn is_of_type(dump_url: &str, asked: &str) -> bool {
    let section = match ResourceType::ALL.into_iter().find(|t| t.short_name() == asked || t.type_url() == asked) {
        Some(ResourceType::Cluster) => "ClustersConfigDump",
        Some(ResourceType::Endpoint) => "EndpointsConfigDump",
        Some(ResourceType::Listener) => "ListenersConfigDump",
        Some(ResourceType::Route | ResourceType::VirtualHost) => "RoutesConfigDump",
        Some(ResourceType::Secret) => "SecretsConfigDump",
        Some(ResourceType::ExtensionConfig) => "EcdsConfigDump",
        Some(ResourceType::NameTable) => return false,
        None => asked.rsplit('.').next().unwrap_or(asked),
    };
    dump_url.ends_with(section)
}

fn to_value(data: &impl serde::Serialize) -> Value {
    serde_json::to_value(data).unwrap_or(Value::Null)
}

/// The pages that istioctl reads over xDS.
pub(super) struct Pages {
    pub(super) engine: Engine,
    pub(super) refusals: Arc<Refusals>,
    /// The name of this replica.
    pub(super) id: String,
}

impl DebugSource for Pages {
    fn page<'a>(&'a self, page: &'a str, scope: &'a Scope) -> BoxFuture<'a, Option<Bytes>> {
        async move {
            // What is asked for by proxy the xDS server answers itself; the rest is the mesh's.
            if *scope != Scope::Mesh {
                return None;
            }
            let value = match page {
                "configz" => configz(&self.engine, &self.refusals).await,
                "registryz" => ask(&self.engine, registryz).await,
                "endpointz" => ask(&self.engine, endpointz).await,
                "list" => json!(["adsz", "configz", "connections", "endpointz", "registryz", "syncz"]),
                "generation" => {
                    let stats = self.engine.ask(|db| db.stats()).await.ok()?;
                    return Some(format!("{stats:?}\n").into());
                }
                _ => return None,
            };
            Some(value.to_string().into())
        }
        .boxed()
    }

    fn identifier(&self) -> String {
        let info = VersionInfo::current();
        json!({
            "Component": "istiod",
            "ID": self.id,
            "Info": {
                "version": info.version,
                "revision": info.revision,
                "golang_version": info.golang_version,
                "status": info.status,
                "tag": info.tag,
            },
        })
        .to_string()
    }
}
