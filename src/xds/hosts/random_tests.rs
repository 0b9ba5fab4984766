//! Random conversations with a client that treats virtual hosts as Envoy does: it forgets those of a route configuration
//! that it drops, but not their versions; ignores those of one that it does not have; and refuses all of a
//! configuration in a response that has a bad one.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use envoy_types::pb::{envoy::service::discovery::v3::DeltaDiscoveryRequest, google::rpc::Status};
use proptest::{collection::vec, prelude::*};

use crate::{
    snapshot::{Name, Resource, ResourceType, Snapshot, Version, host_name_parts},
    xds::{
        Machine, Permission, Protocol, Response, Settings,
        testing::{conversations, give, snapshot},
    },
};

const ROUTE: ResourceType = ResourceType::Route;
const HOST: ResourceType = ResourceType::VirtualHost;

#[derive(Clone, Debug)]
enum Op {
    /// Route configuration, host, version; 9 is a bad one.
    Snapshot(Vec<(u8, u8, u8)>),
    Toggle(u8),
    /// Drops a route configuration and asks for it again, in one request.
    Again(u8),
    Answer,
    Reconnect,
}

fn op() -> impl Strategy<Value = Op> {
    let version = prop_oneof![8 => 0..4u8, 1 => Just(9)];
    prop_oneof![
        4 => vec((0..3u8, 0..5u8, version), 0..14).prop_map(Op::Snapshot),
        3 => (0..3u8).prop_map(Op::Toggle),
        1 => (0..3u8).prop_map(Op::Again),
        8 => Just(Op::Answer),
        1 => Just(Op::Reconnect),
    ]
}

/// Every configuration with a host has one for all others too.
fn made(entries: &[(u8, u8, u8)]) -> Snapshot {
    let hosts: BTreeMap<(u8, u8), u8> = entries.iter().map(|(c, h, v)| ((*c, *h), *v)).collect();
    let configs: BTreeSet<u8> = hosts.keys().map(|(c, _)| *c).collect();
    let configs = configs.iter().map(|c| format!("rds {c}@1 | vhds {c}/any@1"));
    let hosts = hosts.iter().map(|((c, h), v)| format!("vhds {c}/h{h}@{v}"));
    snapshot(&configs.chain(hosts).collect::<Vec<_>>().join(" | "))
}

fn is_bad(resource: &Resource) -> bool {
    resource.body_bytes().ends_with(b"@9")
}

#[derive(Default)]
struct Client {
    machine: Option<Machine>,
    now: Option<Instant>,
    streams: u32,
    target: Arc<Snapshot>,
    wants: BTreeSet<Name>,
    configs: BTreeMap<Name, Version>,
    hosts: BTreeMap<Name, BTreeMap<Name, Version>>,
    /// What it would claim to have.
    versions: BTreeMap<Name, Version>,
    /// What it had at a reconnect and did not claim: applied from a response that it refused in part. Nobody can know
    /// of them to take them back.
    orphans: BTreeSet<Name>,
    asked: bool,
    unanswered: VecDeque<Response>,
}

impl Client {
    fn request(&mut self, t: ResourceType, request: &DeltaDiscoveryRequest) {
        let now = *self.now.get_or_insert_with(Instant::now);
        let machine = self.machine.as_mut().expect("connected");
        give(machine, t, request, now);
        self.receive();
    }

    fn receive(&mut self) {
        let now = *self.now.get_or_insert_with(Instant::now);
        let machine = self.machine.as_mut().expect("connected");
        while let Some(response) = machine.next_response(now) {
            self.unanswered.push_back(response);
            assert!(self.unanswered.len() < 500, "the machine talks without end");
        }
    }

    fn reconnect(&mut self) {
        assert!(!self.lies(), "{:?} of {:?}", self.versions, self.hosts);
        self.streams += 1;
        let (gate, prefix) = (Box::new(|_: &str| Permission::Granted), format!("n{}-", self.streams));
        self.machine = Some(Machine::new(Protocol::Delta, Arc::clone(&self.target), gate, Settings::default(), prefix));
        self.unanswered.clear();
        let unclaimed = self.hosts.values().flatten().filter(|(name, _)| !self.versions.contains_key(*name));
        self.orphans.extend(unclaimed.map(|(name, _)| Arc::clone(name)));
        let texts = |versions: &BTreeMap<Name, Version>| {
            versions.iter().map(|(name, version)| (name.to_string(), version.to_string())).collect()
        };
        let routes = DeltaDiscoveryRequest {
            resource_names_subscribe: self.wants.iter().map(ToString::to_string).collect(),
            initial_resource_versions: texts(&self.configs),
            ..DeltaDiscoveryRequest::default()
        };
        let hosts = DeltaDiscoveryRequest { initial_resource_versions: texts(&self.versions), ..Default::default() };
        // In either order.
        let mut requests = vec![(ROUTE, routes)];
        if self.asked {
            requests.insert((self.streams % 2) as usize, (HOST, hosts));
        }
        requests.iter().for_each(|(t, request)| self.request(*t, request));
    }

    /// Whether it would claim virtual hosts that it does not have, of a route configuration that it has. Nothing would tell
    /// that the versions are old ones.
    fn lies(&self) -> bool {
        let lacks =
            |name: &Name| self.hosts.get(host_name_parts(name).0).is_some_and(|hosts| !hosts.contains_key(name));
        self.versions.keys().any(lacks)
    }

    fn toggle(&mut self, config: u8) {
        let name = Name::from(config.to_string());
        let mut request = DeltaDiscoveryRequest::default();
        if self.wants.remove(&name) {
            self.configs.remove(&name);
            self.hosts.remove(&name);
            request.resource_names_unsubscribe.push(name.to_string());
        } else {
            request.resource_names_subscribe.push(name.to_string());
            self.wants.insert(name);
        }
        self.request(ROUTE, &request);
    }

    /// Envoy says so, or only asks, when both happen before it can say either.
    fn again(&mut self, config: u8) {
        let name = Name::from(config.to_string());
        if !self.wants.contains(&name) {
            return;
        }
        self.configs.remove(&name);
        self.hosts.remove(&name);
        let mut request =
            DeltaDiscoveryRequest { resource_names_subscribe: vec![name.to_string()], ..Default::default() };
        if self.streams.is_multiple_of(2) {
            request.resource_names_unsubscribe.push(name.to_string());
        }
        self.request(ROUTE, &request);
    }

    fn answer(&mut self) {
        let Some(response) = self.unanswered.pop_front() else { return };
        let refused = match response.resource_type {
            ROUTE => self.take_configs(&response),
            _ => self.take_hosts(&response),
        };
        let error_detail = refused.then(|| Status { message: "?".to_owned(), ..Status::default() });
        let response_nonce = response.nonce.clone();
        self.request(
            response.resource_type,
            &DeltaDiscoveryRequest { response_nonce, error_detail, ..Default::default() },
        );
    }

    fn take_configs(&mut self, response: &Response) -> bool {
        for config in response.resources.iter().filter(|c| self.wants.contains(&c.name)) {
            self.configs.insert(Arc::clone(&config.name), config.version);
            self.hosts.entry(Arc::clone(&config.name)).or_default();
        }
        if !self.asked && !self.configs.is_empty() {
            self.asked = true;
            self.request(HOST, &DeltaDiscoveryRequest::default());
        }
        false
    }

    fn take_hosts(&mut self, response: &Response) -> bool {
        let config_of = |name: &str| Name::from(host_name_parts(name).0);
        let bad = response.resources.iter().filter(|r| is_bad(r)).map(|r| config_of(&r.name));
        // It looks only at those of configurations that it has.
        let bad: BTreeSet<Name> = bad.filter(|config| self.hosts.contains_key(config)).collect();
        for resource in response.resources.iter() {
            let config = config_of(&resource.name);
            if let Some(hosts) = self.hosts.get_mut(&config).filter(|_| !bad.contains(&config)) {
                hosts.insert(Arc::clone(&resource.name), resource.version);
            }
            match bad.is_empty() {
                true => _ = self.versions.insert(Arc::clone(&resource.name), resource.version),
                false => _ = self.versions.remove(&resource.name),
            }
        }
        for name in &response.removed {
            let config = config_of(name);
            if let Some(hosts) = self.hosts.get_mut(&config).filter(|_| !bad.contains(&config)) {
                hosts.remove(name);
            }
            if bad.is_empty() {
                self.versions.remove(name);
            }
        }
        !bad.is_empty()
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            self.receive();
            while !self.unanswered.is_empty() {
                self.answer();
            }
            self.now = self.now.map(|now| now + Duration::from_secs(3));
        }
    }

    fn check(&self) {
        for config in &self.wants {
            let current: Vec<_> = self.target.views[HOST].hosts_of(config).collect();
            if current.is_empty() {
                continue;
            }
            let has = self.hosts.get(config).cloned().unwrap_or_default();
            let good = current.iter().filter(|r| !is_bad(r)).map(|r| (Arc::clone(&r.name), r.version));
            let bad: BTreeSet<&Name> = current.iter().filter(|r| is_bad(r)).map(|r| &r.name).collect();
            let known = |name: &Name| !self.orphans.contains(name) || current.iter().any(|r| r.name == *name);
            let has: BTreeMap<_, _> = has.into_iter().filter(|(name, _)| !bad.contains(name) && known(name)).collect();
            assert_eq!(has, good.collect(), "{config}");
        }
    }
}

fn converse(ops: Vec<Op>) {
    let mut client = Client::default();
    client.reconnect();
    for op in ops {
        match op {
            Op::Snapshot(entries) => {
                client.target = Arc::new(made(&entries));
                let target = Arc::clone(&client.target);
                client.machine.as_mut().expect("connected").set_snapshot(&target);
                client.receive();
            }
            Op::Toggle(config) => client.toggle(config),
            Op::Again(config) => client.again(config),
            Op::Answer => client.answer(),
            Op::Reconnect => client.reconnect(),
        }
    }
    client.settle();
    client.check();
}

proptest! {
    #![proptest_config(conversations())]

    #[test]
    fn conversations_converge(ops in vec(op(), 0..60)) {
        converse(ops);
    }
}

/// Host 0/0 is taken back beside a refused host, sent anew, and taken back again before the refusals are known.
#[test]
fn a_host_that_a_refused_response_did_not_remove_is_removed() {
    let snapshot = |entries: &[(u8, u8, u8)]| Op::Snapshot(entries.to_vec());
    converse(vec![
        Op::Toggle(0),
        snapshot(&[(0, 0, 1)]),
        Op::Answer,
        Op::Answer,
        Op::Answer,
        snapshot(&[(0, 1, 9)]),
        snapshot(&[(0, 0, 1), (0, 1, 9)]),
        Op::Answer,
        Op::Answer,
        snapshot(&[(0, 1, 9)]),
    ]);
}
