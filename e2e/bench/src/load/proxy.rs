//! A client's side of a delta ADS stream, as Envoy behaves: pure, without I/O.
//!
//! Envoy asks for all clusters, then for the endpoints of those that are discovered by EDS. Once it has these it asks
//! for all listeners, then for the route configurations that these name, and for the virtual hosts of all of them once
//! it has one that has none inline, and for the secrets that clusters name. What a response makes it ask for goes out before the acknowledgement. After a
//! reconnect it asks for everything at once and says what it has.

use std::collections::{BTreeSet, HashMap, HashSet};

use envoy_types::pb::envoy::{config::core::v3::Node, service::discovery::v3::DeltaDiscoveryRequest};

use super::{
    names::{Dictionary, Id, Table},
    wire::{Malformed, Resource, Response, Type, assignment_of, config_of, discovers_hosts, routes_of, secrets_of},
};

/// What a client waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Goal {
    /// Resources that must be sent to it.
    pub(super) sent: Vec<(Type, Id)>,
    /// Resources that it must be told are gone; those that it does not have are.
    pub(super) gone: Vec<(Type, Id)>,
}

/// What a client has of one type.
#[derive(Debug, Default)]
struct Held {
    /// Whether it has asked on this stream or an earlier one.
    asked: bool,
    /// Whether there was a response.
    answered: bool,
    /// Versions by name.
    versions: Table,
    /// The names that it has asked for and not been told about.
    missing: HashSet<Id>,
}

/// One client.
#[derive(Debug)]
pub(super) struct Proxy {
    node: Node,
    held: [Held; Type::COUNT],
    /// Clusters that are discovered by EDS: the names under which they ask for endpoints.
    assignments: Table,
    /// Listeners that ask for route configurations, and for which.
    routes: HashMap<Id, Box<[Id]>>,
    subscribed_routes: BTreeSet<Id>,
    /// Clusters that ask for secrets, and for which.
    secrets: HashMap<Id, Box<[Id]>>,
    subscribed_secrets: BTreeSet<Id>,
    /// Route configurations whose virtual hosts it discovers.
    discovering: BTreeSet<Id>,
    /// What is still to come, and to go.
    coming: HashSet<(Type, Id)>,
    going: HashSet<(Type, Id)>,
}

impl Proxy {
    pub(super) fn new(node: Node) -> Self {
        Self {
            node,
            held: Default::default(),
            assignments: Table::default(),
            routes: HashMap::new(),
            subscribed_routes: BTreeSet::new(),
            secrets: HashMap::new(),
            subscribed_secrets: BTreeSet::new(),
            discovering: BTreeSet::new(),
            coming: HashSet::new(),
            going: HashSet::new(),
        }
    }

    pub(super) fn id(&self) -> &str {
        &self.node.id
    }

    /// The requests that open a stream.
    pub(super) fn open(&mut self, dictionary: &Dictionary) -> Vec<DeltaDiscoveryRequest> {
        self.held[Type::Cluster as usize].asked = true;
        let asked = Type::ALL.into_iter().filter(|t| self.held[*t as usize].asked);
        let mut requests: Vec<_> = asked.map(|t| self.resume(t, dictionary)).collect();
        requests[0].node = Some(self.node.clone());
        requests
    }

    /// Asks for what it has asked for before, and says what it has.
    fn resume(&self, t: Type, dictionary: &Dictionary) -> DeltaDiscoveryRequest {
        let name = |id: Id| dictionary.names.text(id).to_string();
        let versions = self.held[t as usize].versions.iter();
        DeltaDiscoveryRequest {
            resource_names_subscribe: match t {
                Type::Cluster | Type::Listener | Type::Host => Vec::new(),
                Type::Endpoint => self.assignments.iter().map(|(_, assignment)| name(assignment)).collect(),
                Type::Route => self.subscribed_routes.iter().map(|id| name(*id)).collect(),
                Type::Secret => self.subscribed_secrets.iter().map(|id| name(*id)).collect(),
            },
            initial_resource_versions: versions
                .map(|(id, version)| (name(id), dictionary.versions.text(version).to_string()))
                .collect(),
            ..request(t)
        }
    }

    /// Takes a goal instead of the one before.
    pub(super) fn pursue(&mut self, goal: &Goal) {
        self.coming = goal.sent.iter().copied().collect();
        let has = |(t, name): &(Type, Id)| self.held[*t as usize].versions.contains(*name);
        self.going = goal.gone.iter().copied().filter(has).collect();
    }

    /// Whether the goal is reached, and nothing that was asked for is missing.
    pub(super) fn is_content(&self) -> bool {
        let complete = |t: Type| !self.held[t as usize].asked || self.held[t as usize].missing.is_empty();
        self.coming.is_empty()
            && self.going.is_empty()
            && [Type::Cluster, Type::Listener].into_iter().all(|t| self.held[t as usize].answered)
            && Type::ALL.into_iter().all(complete)
    }

    /// Takes a response; returns what is to be said to it.
    pub(super) fn receive(
        &mut self,
        response: &Response<'_>,
        dictionary: &mut Dictionary,
    ) -> Result<Vec<DeltaDiscoveryRequest>, Malformed> {
        let t = Type::from_url(response.type_url).ok_or(Malformed("a type that was not asked for"))?;
        self.held[t as usize].answered = true;
        let mut asks = Asks::default();
        for resource in &response.resources {
            let name = dictionary.names.id(resource.name);
            self.learn(t, name, dictionary.versions.id(resource.version));
            self.follow(t, name, resource, dictionary, &mut asks)?;
        }
        for name in &response.removed {
            self.forget(t, dictionary.names.id(name), &mut asks);
        }
        match t {
            Type::Listener => self.subscribe_routes(&mut asks),
            Type::Cluster => self.subscribe_secrets(&mut asks),
            _ => {}
        }
        let mut requests = self.ask(&asks, dictionary);
        requests.push(DeltaDiscoveryRequest { response_nonce: response.nonce.to_owned(), ..request(t) });
        Ok(requests)
    }

    fn learn(&mut self, t: Type, name: Id, version: Id) {
        let held = &mut self.held[t as usize];
        held.versions.insert(name, version);
        held.missing.remove(&name);
        if held.missing.is_empty() {
            // The set of a client that has all is not kept: there are thousands of clients.
            held.missing = HashSet::new();
        }
        self.coming.remove(&(t, name));
    }

    /// Finds out what a resource asks for.
    fn follow(
        &mut self,
        t: Type,
        name: Id,
        resource: &Resource<'_>,
        dictionary: &mut Dictionary,
        asks: &mut Asks,
    ) -> Result<(), Malformed> {
        match t {
            Type::Cluster => {
                let assignment = assignment_of(resource)?.map(|text| dictionary.names.id(text));
                self.replace_assignment(name, assignment, asks);
                let secrets: Box<[Id]> = secrets_of(resource)?.iter().map(|text| dictionary.names.id(text)).collect();
                match secrets.is_empty() {
                    true => self.secrets.remove(&name),
                    false => self.secrets.insert(name, secrets),
                };
            }
            Type::Listener => {
                let routes: Box<[Id]> = routes_of(resource)?.iter().map(|text| dictionary.names.id(text)).collect();
                if routes.is_empty() {
                    self.routes.remove(&name);
                } else {
                    self.routes.insert(name, routes);
                }
            }
            Type::Route => {
                // It serves from its first virtual hosts on.
                if discovers_hosts(resource)? && self.discovering.insert(name) {
                    self.held[Type::Host as usize].missing.insert(name);
                    asks.hosts = true;
                }
            }
            Type::Host => _ = self.held[t as usize].missing.remove(&dictionary.names.id(config_of(resource))),
            Type::Endpoint | Type::Secret => {}
        }
        Ok(())
    }

    /// A cluster that was sent warms until its endpoints are sent, even if it had them before.
    fn replace_assignment(&mut self, cluster: Id, assignment: Option<Id>, asks: &mut Asks) {
        let old = match assignment {
            Some(new) => self.assignments.insert(cluster, new),
            None => self.assignments.remove(cluster),
        };
        let missing = &mut self.held[Type::Endpoint as usize].missing;
        missing.extend(assignment);
        if old != assignment {
            asks.more_endpoints.extend(assignment);
            asks.less_endpoints.extend(old);
        }
    }

    fn forget(&mut self, t: Type, name: Id, asks: &mut Asks) {
        let held = &mut self.held[t as usize];
        held.versions.remove(name);
        held.missing.remove(&name);
        self.going.remove(&(t, name));
        match t {
            Type::Cluster => {
                self.secrets.remove(&name);
                if let Some(old) = self.assignments.remove(name) {
                    asks.less_endpoints.push(old);
                }
            }
            Type::Listener => drop(self.routes.remove(&name)),
            Type::Endpoint | Type::Route | Type::Host | Type::Secret => {}
        }
    }

    fn subscribe_routes(&mut self, asks: &mut Asks) {
        let wanted: BTreeSet<Id> = self.routes.values().flatten().copied().collect();
        asks.more_routes.extend(wanted.difference(&self.subscribed_routes));
        asks.less_routes.extend(self.subscribed_routes.difference(&wanted));
        self.held[Type::Route as usize].missing.extend(&asks.more_routes);
        for id in &asks.less_routes {
            self.discovering.remove(id);
            self.held[Type::Host as usize].missing.remove(id);
        }
        self.subscribed_routes = wanted;
    }

    /// Nobody is told of a secret that is not there: none is awaited.
    fn subscribe_secrets(&mut self, asks: &mut Asks) {
        if self.secrets.is_empty() && self.subscribed_secrets.is_empty() {
            return;
        }
        let wanted: BTreeSet<Id> = self.secrets.values().flatten().copied().collect();
        asks.more_secrets.extend(wanted.difference(&self.subscribed_secrets));
        asks.less_secrets.extend(self.subscribed_secrets.difference(&wanted));
        self.subscribed_secrets = wanted;
    }

    /// The requests that follow from a response.
    fn ask(&mut self, asks: &Asks, dictionary: &Dictionary) -> Vec<DeltaDiscoveryRequest> {
        let mut requests = Vec::new();
        requests.extend(self.change(Type::Endpoint, &asks.more_endpoints, &asks.less_endpoints, dictionary));
        requests.extend(self.change(Type::Route, &asks.more_routes, &asks.less_routes, dictionary));
        requests.extend(self.change(Type::Secret, &asks.more_secrets, &asks.less_secrets, dictionary));
        let hosts = &mut self.held[Type::Host as usize];
        if asks.hosts && !hosts.asked {
            hosts.asked = true;
            requests.push(request(Type::Host));
        }
        let ready = self.held[Type::Endpoint as usize].missing.is_empty();
        let listeners = &mut self.held[Type::Listener as usize];
        if ready && !listeners.asked {
            listeners.asked = true;
            requests.push(request(Type::Listener));
        }
        requests
    }

    fn change(&mut self, t: Type, more: &[Id], less: &[Id], dictionary: &Dictionary) -> Option<DeltaDiscoveryRequest> {
        if more.is_empty() && less.is_empty() {
            return None;
        }
        let held = &mut self.held[t as usize];
        held.asked = true;
        for id in less {
            held.versions.remove(*id);
            held.missing.remove(id);
        }
        let texts = |ids: &[Id]| ids.iter().map(|id| dictionary.names.text(*id).to_string()).collect();
        Some(DeltaDiscoveryRequest {
            resource_names_subscribe: texts(more),
            resource_names_unsubscribe: texts(less),
            ..request(t)
        })
    }

    /// Names and versions of what it has of a type.
    pub(super) fn versions(&self, t: Type) -> impl Iterator<Item = (Id, Id)> {
        self.held[t as usize].versions.iter()
    }
}

/// What a response makes a client ask for, and no longer.
#[derive(Default)]
struct Asks {
    more_endpoints: Vec<Id>,
    less_endpoints: Vec<Id>,
    more_routes: Vec<Id>,
    less_routes: Vec<Id>,
    more_secrets: Vec<Id>,
    less_secrets: Vec<Id>,
    hosts: bool,
}

fn request(t: Type) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: t.url().to_owned(), ..DeltaDiscoveryRequest::default() }
}
