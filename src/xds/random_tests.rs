//! Random conversations: nothing panics, and once everything is answered the client has what the snapshot says.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use envoy_types::pb::{
    envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
    google::rpc::Status as RpcStatus,
};
use proptest::{collection::vec, prelude::*};

use super::{
    Machine, Permission, Protocol, Response, Settings,
    testing::{conversations, give, snapshot},
};
use crate::snapshot::{Name, Resource, ResourceType, Snapshot, Version};

const TYPES: [ResourceType; 4] =
    [ResourceType::Cluster, ResourceType::Endpoint, ResourceType::Listener, ResourceType::Route];

/// The body of each resource is `name@version`; the client refuses this version.
const BAD: &str = "@9";

#[derive(Clone, Debug)]
enum Op {
    Snapshot(Vec<(u8, u8, u8)>),
    Answer { applied: bool },
    Toggle(u8, u8),
    Wait(u8),
    Stale(u8, String),
    Reconnect,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => vec((0..4u8, 0..6u8, prop_oneof![8 => 0..4u8, 1 => Just(9)]), 0..14).prop_map(Op::Snapshot),
        8 => any::<bool>().prop_map(|applied| Op::Answer { applied }),
        2 => (0..4u8, 0..6u8).prop_map(|(t, n)| Op::Toggle(t, n)),
        2 => (0..12u8).prop_map(Op::Wait),
        1 => (0..4u8, "n[0-9]{0,4}|.{0,3}").prop_map(|(t, n)| Op::Stale(t, n)),
        1 => Just(Op::Reconnect),
    ]
}

/// A snapshot in which routes and listeners lead to clusters by number and every second cluster is EDS.
fn made(entries: &[(u8, u8, u8)]) -> Snapshot {
    let text: Vec<String> = entries
        .iter()
        .map(|(t, n, v)| match TYPES[usize::from(*t)] {
            ResourceType::Cluster if n % 2 == 0 => format!("cds n{n}@{v} eds=n{n}"),
            ResourceType::Cluster => format!("cds n{n}@{v}"),
            ResourceType::Endpoint => format!("eds n{n}@{v}"),
            ResourceType::Listener => format!("lds n{n}@{v} rds=n{n} cds=n{}", (n + v) % 6),
            _ => format!("rds n{n}@{v} cds=n{},n{}", n, (n + v) % 6),
        })
        .collect();
    snapshot(&text.join(" | "))
}

struct Client {
    machine: Machine,
    protocol: Protocol,
    now: Instant,
    streams: u32,
    target: Arc<Snapshot>,
    has: BTreeMap<ResourceType, BTreeMap<Name, Version>>,
    wants: BTreeMap<ResourceType, BTreeSet<Name>>,
    unanswered: VecDeque<Response>,
    last_nonce: BTreeMap<ResourceType, String>,
    sent: usize,
}

impl Client {
    fn new(protocol: Protocol) -> Self {
        let mut client = Self {
            machine: machine(protocol, Arc::default(), 0),
            protocol,
            now: Instant::now(),
            streams: 0,
            target: Arc::default(),
            has: BTreeMap::new(),
            wants: BTreeMap::new(),
            unanswered: VecDeque::new(),
            last_nonce: BTreeMap::new(),
            sent: 0,
        };
        client.reconnect();
        client
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Snapshot(entries) => {
                self.target = Arc::new(made(&entries));
                self.machine.set_snapshot(&self.target);
            }
            Op::Answer { applied } => self.answer(applied),
            Op::Toggle(t, n) => self.toggle(TYPES[usize::from(t)], n),
            Op::Wait(seconds) => self.now += Duration::from_secs(seconds.into()),
            Op::Stale(t, nonce) => self.request(TYPES[usize::from(t)], &nonce, None, &[], &[]),
            Op::Reconnect => self.reconnect(),
        }
        self.receive();
    }

    fn receive(&mut self) {
        let mut rounds = 0;
        while let Some(response) = self.machine.next_response(self.now) {
            self.last_nonce.insert(response.resource_type, response.nonce.clone());
            self.unanswered.push_back(response);
            rounds += 1;
            assert!(rounds < 100, "the machine talks without end");
        }
        self.sent += rounds;
    }

    fn answer(&mut self, applied: bool) {
        let Some(response) = self.unanswered.pop_front() else { return };
        let bad = |r: &Arc<Resource>| r.body_bytes().ends_with(BAD.as_bytes());
        let refused = response.resources.iter().any(bad);
        let t = response.resource_type;
        let wants = self.wants.entry(t).or_default();
        let has = self.has.entry(t).or_default();
        if !refused || applied {
            if self.protocol == Protocol::Sotw && t.is_wildcard() {
                has.retain(|n, _| response.resources.iter().any(|r| r.name == *n));
            }
            let wanted = |r: &Arc<Resource>| t.is_wildcard() || wants.contains(&r.name);
            for r in response.resources.iter().filter(|r| !bad(r) && wanted(r)) {
                has.insert(Arc::clone(&r.name), r.version);
            }
            response.removed.iter().for_each(|n| _ = has.remove(n));
        }
        self.request(t, &response.nonce, refused.then_some("?"), &[], &[]);
    }

    fn toggle(&mut self, t: ResourceType, n: u8) {
        let name: Name = format!("n{n}").into();
        if t.is_wildcard() {
            return;
        }
        let wants = self.wants.entry(t).or_default();
        let nonce = self.last_nonce.get(&t).cloned().unwrap_or_default();
        let delta_nonce = String::new();
        if wants.remove(&name) {
            self.has.entry(t).or_default().remove(&name);
            let nonce = if self.protocol == Protocol::Sotw { nonce } else { delta_nonce };
            self.request(t, &nonce, None, &[], &[name.to_string()]);
        } else {
            wants.insert(Arc::clone(&name));
            let nonce = if self.protocol == Protocol::Sotw { nonce } else { delta_nonce };
            self.request(t, &nonce, None, &[name.to_string()], &[]);
        }
        // An acknowledgement went with it, if anything waited for one.
        if self.protocol == Protocol::Sotw {
            while let Some(at) = self.unanswered.iter().position(|r| r.resource_type == t) {
                let Some(skipped) = self.unanswered.remove(at) else { break };
                let has = self.has.entry(t).or_default();
                skipped.resources.iter().for_each(|r| _ = has.insert(Arc::clone(&r.name), r.version));
            }
        }
    }

    fn request(&mut self, t: ResourceType, nonce: &str, reason: Option<&str>, add: &[String], remove: &[String]) {
        let error_detail = reason.map(|r| RpcStatus { message: r.to_owned(), ..Default::default() });
        let response_nonce = nonce.to_owned();
        match self.protocol {
            Protocol::Delta => {
                let request = DeltaDiscoveryRequest {
                    response_nonce,
                    error_detail,
                    resource_names_subscribe: add.to_vec(),
                    resource_names_unsubscribe: remove.to_vec(),
                    ..Default::default()
                };
                give(&mut self.machine, t, &request, self.now);
            }
            Protocol::Sotw => {
                let resource_names = self.wants.get(&t).into_iter().flatten().map(ToString::to_string).collect();
                let request = DiscoveryRequest { response_nonce, error_detail, resource_names, ..Default::default() };
                give(&mut self.machine, t, &request, self.now);
            }
        }
    }

    fn reconnect(&mut self) {
        self.streams += 1;
        self.machine = machine(self.protocol, Arc::clone(&self.target), self.streams);
        self.unanswered.clear();
        self.last_nonce.clear();
        for t in TYPES {
            let wants: Vec<String> = self.wants.get(&t).into_iter().flatten().map(ToString::to_string).collect();
            if wants.is_empty() && !t.is_wildcard() {
                self.has.remove(&t);
                continue;
            }
            let versions = self.has.get(&t).into_iter().flatten();
            let request = DeltaDiscoveryRequest {
                resource_names_subscribe: wants.clone(),
                initial_resource_versions: versions.map(|(n, v)| (n.to_string(), v.to_string())).collect(),
                ..Default::default()
            };
            match self.protocol {
                Protocol::Delta => give(&mut self.machine, t, &request, self.now),
                Protocol::Sotw => self.request(t, "", None, &[], &[]),
            }
            self.receive();
        }
    }

    /// Asks for what clusters and listeners lead to, as Envoy does.
    fn follow(&mut self) {
        for n in 0..6u8 {
            let name = format!("n{n}");
            let cluster = self.target.views[ResourceType::Cluster].get(&name);
            let assignment = cluster.is_some_and(|c| c.refs.endpoints.is_some());
            let route = self.target.views[ResourceType::Listener].get(&name).is_some();
            for (t, needed) in [(ResourceType::Endpoint, assignment), (ResourceType::Route, route)] {
                if needed && !self.wants.get(&t).is_some_and(|w| w.contains(name.as_str())) {
                    self.toggle(t, n);
                }
            }
        }
    }

    /// Answers everything and lets time pass until nothing more comes.
    fn settle(&mut self) {
        for _ in 0..60 {
            self.follow();
            self.receive();
            while !self.unanswered.is_empty() {
                self.answer(true);
                self.receive();
            }
            self.now += Duration::from_secs(3);
        }
        let before = self.sent;
        self.receive();
        assert_eq!(self.sent, before, "it does not come to rest");
    }

    /// Whether the client refuses something that leads to resources of this type.
    fn refuses_users(&self, t: ResourceType) -> bool {
        let users: &[ResourceType] = match t {
            // A listener never serves whose route configuration is refused, and what the one before it used is kept, also
            // route configurations; after a reconnect that may be anything.
            ResourceType::Cluster | ResourceType::Endpoint | ResourceType::Route => {
                &[ResourceType::Listener, ResourceType::Route]
            }
            _ => &[],
        };
        let bad = |r: &Arc<Resource>| r.body_bytes().ends_with(BAD.as_bytes());
        users.iter().any(|u| self.target.views[*u].resources().values().any(bad))
    }

    fn check(&self) {
        for t in TYPES {
            let mut has = self.has.get(&t).cloned().unwrap_or_default();
            let mut should: BTreeMap<Name, Version> = BTreeMap::new();
            for (name, resource) in self.target.views[t].resources() {
                let wanted = t.is_wildcard() || self.wants.get(&t).is_some_and(|w| w.contains(&name));
                if resource.body_bytes().ends_with(BAD.as_bytes()) {
                    has.remove(&name);
                } else if wanted {
                    should.insert(name, resource.version);
                }
            }
            if self.protocol == Protocol::Sotw && !t.is_wildcard() {
                // State-of-the-world cannot take away a single named resource.
                has.retain(|n, _| should.contains_key(n));
            }
            if self.refuses_users(t) {
                // What the last good version of a refused resource leads to is kept.
                has.retain(|n, _| should.contains_key(n));
            }
            assert_eq!(has, should, "{t:?}");
        }
    }
}

fn machine(protocol: Protocol, snapshot: Arc<Snapshot>, stream: u32) -> Machine {
    // So few that clients often have that many to answer.
    let settings = Settings { unanswered: 3, ..Settings::default() };
    Machine::new(protocol, snapshot, Box::new(|_| Permission::Granted), settings, format!("n{stream}-"))
}

fn converse(protocol: Protocol, ops: Vec<Op>) {
    let mut client = Client::new(protocol);
    ops.into_iter().for_each(|op| client.apply(op));
    client.settle();
    client.check();
}

proptest! {
    #![proptest_config(conversations())]

    #[test]
    fn delta_conversations_converge(ops in vec(op(), 0..60)) {
        converse(Protocol::Delta, ops);
    }

    #[test]
    fn sotw_conversations_converge(ops in vec(op(), 0..60)) {
        converse(Protocol::Sotw, ops);
    }
}
