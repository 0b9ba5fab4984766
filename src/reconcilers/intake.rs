//! From delivered objects to engine inputs. Conversion happens on the caller's thread; the engine's thread only
//! compares and stores.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    ConvertContext, authorization_policy, destination_rule, endpoint_slice, envoy_filter, gateway, mesh_config,
    metadata, namespace, node, peer_authentication, pod, proxy_config, request_authentication, secret, service,
    service_entry, sidecar, telemetry, traffic_extension, virtual_service, wasm_plugin, workload_entry, workload_group,
};
use crate::{
    api::{Kind, Object},
    engine::{
        graph::{Db, Input},
        inputs::{
            AuthorityMaps, Departed, DestinationRules, EnvoyFilters, External, Findings, Gateways, Mesh,
            NamespacedName, Namespaces, Nodes, PeerAuthentications, Pods, Policies, Secrets, ServiceKey, Sidecars,
            Slices, Usable, VirtualServices, Workloads,
        },
    },
    model::{Host, MeshConfig, ObjectRef, Problem, Service, TlsSecret, secret::Material},
};

/// A change of inputs; returns whether a value differs.
type Change = Box<dyn FnOnce(&mut Db) -> bool + Send>;

/// Changes to be applied together.
#[derive(Default)]
pub struct Changes {
    inputs: Vec<Change>,
    /// Objects that were not known before.
    pub added: u64,
    /// Objects that are gone.
    pub deleted: u64,
}

impl Changes {
    /// Applies them.
    pub fn apply(self, db: &mut Db) {
        self.take_effect(db);
    }

    /// Applies them; returns whether any value differs.
    pub fn take_effect(self, db: &mut Db) -> bool {
        self.inputs.into_iter().fold(false, |differs, change| change(db) | differs)
    }

    fn put<I: Input>(&mut self, key: I, value: Option<I::Value>) {
        self.inputs.push(Box::new(move |db| db.replace_input(&key, value)));
    }
}

/// The name and namespace of the ConfigMap with the mesh configuration.
#[derive(Clone, Debug)]
pub struct MeshSource {
    /// The namespace, `istio-system` unless told otherwise.
    pub namespace: Arc<str>,
    /// The name: `istio`, or `istio-<revision>`.
    pub name: Arc<str>,
}

/// Converts objects and remembers which there are, so that a full list says which are gone.
pub struct Reconcilers {
    base: MeshConfig,
    source: MeshSource,
    state: Mutex<State>,
}

struct State {
    known: BTreeMap<Kind, BTreeSet<ObjectRef>>,
    /// Services of each Service and ServiceEntry.
    services: BTreeMap<ObjectRef, Served>,
}

/// What was last made of a Service or ServiceEntry.
struct Served {
    hosts: Vec<Host>,
    /// The service of one of the hosts; those of the others are like it.
    one: Service,
}

impl Reconcilers {
    /// `base` is the mesh configuration without a ConfigMap: defaults and command line.
    #[must_use]
    pub fn new(base: MeshConfig, source: MeshSource) -> Self {
        let state = State { known: BTreeMap::new(), services: BTreeMap::new() };
        Self { base, source, state: Mutex::new(state) }
    }

    /// What must be in the engine before any object.
    #[must_use]
    pub fn initial(&self) -> Changes {
        let mut changes = Changes::default();
        changes.put(Mesh(()), Some(self.base.clone()));
        changes
    }

    /// An object is new or changed.
    #[must_use]
    pub fn apply(&self, object: &Object) -> Changes {
        let mut changes = Changes::default();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.convert(&mut state, object, &mut changes);
        changes
    }

    /// An object is gone.
    #[must_use]
    pub fn delete(&self, object: &ObjectRef) -> Changes {
        let mut changes = Changes::default();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.forget(&mut state, object, &mut changes);
        changes
    }

    /// The full list of a kind; `kept` exist but cannot be read now.
    #[must_use]
    pub fn reset(&self, kind: Kind, live: &[Object], kept: &[ObjectRef]) -> Changes {
        let mut changes = Changes::default();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let stays: BTreeSet<ObjectRef> = live.iter().map(object_ref).chain(kept.iter().cloned()).collect();
        let known = state.known.get(&kind).cloned().unwrap_or_default();
        for gone in known.difference(&stays) {
            self.forget(&mut state, gone, &mut changes);
        }
        for object in live {
            self.convert(&mut state, object, &mut changes);
        }
        changes
    }

    fn convert(&self, state: &mut State, object: &Object, changes: &mut Changes) {
        let of = object_ref(object);
        let key = NamespacedName::of(&of);
        changes.added += u64::from(state.known.entry(object.kind()).or_default().insert(of.clone()));
        let context = ConvertContext { domain_suffix: &self.base.domain_suffix };
        let mut problems = match object {
            Object::Service(o) => {
                let (made, problems) = service::convert(o, &context);
                put_services(state, &of, made.into_iter().collect(), changes);
                problems
            }
            Object::ServiceEntry(o) => {
                let (made, problems) = service_entry::convert(o);
                let (services, members) = made.map_or((Vec::new(), None), |m| (m.services, Some(m.members)));
                put_services(state, &of, services, changes);
                changes.put(External(key), members);
                problems
            }
            Object::EndpointSlice(o) => put(changes, Slices(key), endpoint_slice::convert(o)),
            Object::Pod(o) => {
                let (facts, problems) = pod::convert(o);
                changes.put(Departed(of.clone()), None);
                put(changes, Pods(key), (Some(facts), problems))
            }
            Object::Node(o) => put(changes, Nodes(key.name), (Some(node::convert(o)), Vec::new())),
            Object::Namespace(o) => {
                let (facts, problems) = namespace::convert(o);
                put(changes, Namespaces(key.name), (Some(facts), problems))
            }
            Object::Secret(o) => {
                let (made, problems) = secret::convert(o);
                put_secret(changes, &of, Secrets(key), made);
                problems
            }
            Object::ConfigMap(o) if self.is_mesh(&of) => {
                let (made, problems) = mesh_config::convert(o, &self.base);
                if let Some(made) = made {
                    changes.put(Mesh(()), Some(made));
                }
                problems
            }
            Object::VirtualService(o) => put(changes, VirtualServices(key), virtual_service::convert(o, &context)),
            Object::DestinationRule(o) => put(changes, DestinationRules(key), destination_rule::convert(o, &context)),
            Object::Gateway(o) => put(changes, Gateways(key), gateway::convert(o)),
            Object::Sidecar(o) => put(changes, Sidecars(key), sidecar::convert(o)),
            Object::EnvoyFilter(o) => put(changes, EnvoyFilters(key), envoy_filter::convert(o, &context)),
            Object::WorkloadEntry(o) => put(changes, Workloads(key), workload_entry::convert(o)),
            Object::AuthorizationPolicy(o) => put(changes, Policies(of.clone()), authorization_policy::convert(o)),
            Object::RequestAuthentication(o) => put(changes, Policies(of.clone()), request_authentication::convert(o)),
            Object::ConfigMap(o) => {
                let (made, problems) = secret::convert_config_map(o);
                put_secret(changes, &of, AuthorityMaps(key), made);
                problems
            }
            Object::PeerAuthentication(o) => put(changes, PeerAuthentications(key), peer_authentication::convert(o)),
            Object::ProxyConfig(o) => proxy_config::check(o),
            Object::Telemetry(o) => telemetry::check(o),
            Object::TrafficExtension(o) => traffic_extension::check(o),
            Object::WasmPlugin(o) => wasm_plugin::check(o),
            Object::WorkloadGroup(o) => workload_group::check(o),
        };
        problems.extend(metadata::check(object));
        changes.put(Findings(of), (!problems.is_empty()).then_some(problems));
    }

    fn forget(&self, state: &mut State, of: &ObjectRef, changes: &mut Changes) {
        let Some(kind) = Kind::ALL.iter().copied().find(|k| k.kind() == of.kind) else { return };
        if !state.known.get_mut(&kind).is_some_and(|known| known.remove(of)) {
            return;
        }
        changes.deleted += 1;
        let key = NamespacedName::of(of);
        match kind {
            Kind::Service => put_services(state, of, Vec::new(), changes),
            Kind::ServiceEntry => {
                put_services(state, of, Vec::new(), changes);
                changes.put(External(key), None);
            }
            Kind::EndpointSlice => changes.put(Slices(key), None),
            Kind::ConfigMap if self.is_mesh(of) => {
                changes.put(Mesh(()), Some(self.base.clone()));
            }
            // They stay while they are referred to.
            Kind::Pod | Kind::Secret | Kind::ConfigMap => changes.put(Departed(of.clone()), Some(())),
            Kind::Node => changes.put(Nodes(key.name), None),
            Kind::Namespace => changes.put(Namespaces(key.name), None),
            Kind::VirtualService => changes.put(VirtualServices(key), None),
            Kind::DestinationRule => changes.put(DestinationRules(key), None),
            Kind::Gateway => changes.put(Gateways(key), None),
            Kind::Sidecar => changes.put(Sidecars(key), None),
            Kind::EnvoyFilter => changes.put(EnvoyFilters(key), None),
            Kind::WorkloadEntry => changes.put(Workloads(key), None),
            Kind::AuthorizationPolicy | Kind::RequestAuthentication => changes.put(Policies(of.clone()), None),
            Kind::PeerAuthentication => changes.put(PeerAuthentications(key), None),
            Kind::ProxyConfig | Kind::Telemetry | Kind::TrafficExtension | Kind::WasmPlugin | Kind::WorkloadGroup => {}
        }
        changes.put(Findings(of.clone()), None);
    }

    fn is_mesh(&self, of: &ObjectRef) -> bool {
        of.namespace == self.source.namespace && of.name == self.source.name
    }
}

/// Names an object.
#[must_use]
pub fn object_ref(object: &Object) -> ObjectRef {
    let meta = object.meta();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    ObjectRef::new(object.kind().kind(), namespace, meta.name.as_deref().unwrap_or_default())
}

fn put<I: Input>(changes: &mut Changes, key: I, made: (Option<I::Value>, Vec<Problem>)) -> Vec<Problem> {
    changes.put(key, made.0);
    made.1
}

/// Replaces the services of an object: a ServiceEntry has one per host, and they differ in nothing else. Lists that did not
/// change stay those that are there, so that each host finds so at once, however long they are.
fn put_services(state: &mut State, of: &ObjectRef, mut services: Vec<Service>, changes: &mut Changes) {
    let key = |host: &Host| ServiceKey::new(host.clone(), of.clone());
    let former = state.services.remove(of);
    if let (Some(former), Some(first)) = (&former, services.first()) {
        let mut like = first.clone();
        like.share(&former.one);
        services.iter_mut().for_each(|service| *service = Service { host: service.host.clone(), ..like.clone() });
    }
    let hosts: Vec<Host> = services.iter().map(|service| service.host.clone()).collect();
    let stays: HashSet<&Host> = hosts.iter().collect();
    for gone in former.iter().flat_map(|former| &former.hosts).filter(|host| !stays.contains(host)) {
        changes.put(key(gone), None);
    }
    if let Some(one) = services.first().cloned() {
        state.services.insert(of.clone(), Served { hosts, one });
    }
    for service in services {
        changes.put(key(&service.host), Some(service));
    }
}

/// A Secret or ConfigMap whose new content is broken keeps its last good one: rotation must not end what works (design §2
/// truth 3). The problem is reported all the same.
fn put_secret<I: Input<Value = TlsSecret>>(changes: &mut Changes, of: &ObjectRef, key: I, made: Option<TlsSecret>) {
    let of = of.clone();
    changes.inputs.push(Box::new(move |db| {
        let made = made.map(|mut new| {
            if let Some(old) = db.input_value(&key) {
                keep_good(&mut new.certificate, &old.certificate);
                keep_good(&mut new.authorities, &old.authorities);
            }
            new
        });
        let usable = made.as_ref().map(TlsSecret::usable);
        db.replace_input(&Usable(of.clone()), usable);
        db.replace_input(&Departed(of), None) | db.replace_input(&key, made)
    }));
}

fn keep_good<T: Clone>(new: &mut Material<T>, old: &Material<T>) {
    if let (Material::Broken(_), Material::Ready(_)) = (&*new, old) {
        *new = old.clone();
    }
}
