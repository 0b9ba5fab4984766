//! Scripted conversations: one line per step, exact. See [`Script::run`].

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest},
    },
    google::{
        protobuf::{Struct, Value, value::Kind},
        rpc::Status as RpcStatus,
    },
};

use proptest::test_runner::{Config as ProptestConfig, RngSeed};

use super::{Judgement, Machine, Permission, Protocol, Request, Response, Settings};
use crate::snapshot::{Encoder, Name, PartMap, PartState, Refs, Resource, ResourceType, Snapshot, TypeMap, View};

/// The type of a short name.
pub(super) fn type_of(short: &str) -> ResourceType {
    ResourceType::ALL.into_iter().find(|t| t.short_name() == short).unwrap_or_else(|| panic!("no type {short}"))
}

/// A resource from `a@1 eds=x cds=y,z rds=r sds=s vhds=n/h`; its version is the hash of `a@1`.
pub(super) fn resource(t: ResourceType, text: &str) -> Resource {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    let (name, _) = first.split_once('@').unwrap_or_else(|| panic!("no name@version: {text}"));
    let mut refs = Refs::default();
    for word in words {
        let (kind, names) = word.split_once('=').expect("kind=names");
        let names: Arc<[Name]> = names.split(',').map(Name::from).collect();
        match kind {
            "eds" => refs.endpoints = names.first().cloned(),
            "cds" => refs.clusters = names,
            "rds" => refs.routes = names,
            "sds" => refs.secrets = names,
            "vhds" => refs.hosts = names,
            other => panic!("no reference {other}"),
        }
    }
    Encoder::bytes(t, name.into(), first.to_owned().into(), refs)
}

/// A snapshot from `cds a@1 eds=a | eds a@1 | …`.
pub(super) fn snapshot(text: &str) -> Snapshot {
    let mut maps: TypeMap<PartMap> = TypeMap::default();
    for entry in text.split('|').map(str::trim).filter(|e| !e.is_empty()) {
        let (short, rest) = entry.split_once(' ').expect("type and resource");
        let made = resource(type_of(short), rest.trim());
        maps[type_of(short)].insert(Arc::clone(&made.name), Some(Arc::new(made)));
    }
    let views = TypeMap::from_fn(|t| View::new(vec![PartState { id: t as u64, map: maps[t].clone() }]));
    Snapshot::new(0, views)
}

/// A conversation under way.
pub(super) struct Script {
    pub(super) machine: Machine,
    permitted: Arc<AtomicBool>,
    now: Instant,
    sotw: bool,
    /// Nonces not yet answered, and the last one, by type.
    nonces: BTreeMap<ResourceType, VecDeque<String>>,
    last: BTreeMap<ResourceType, String>,
    names: BTreeMap<ResourceType, Vec<String>>,
    last_line: String,
}

impl Script {
    pub(super) fn new(protocol: Protocol) -> Self {
        let permitted = Arc::new(AtomicBool::new(false));
        let gate = {
            let permitted = Arc::clone(&permitted);
            Box::new(move |name: &str| match name.starts_with("denied") {
                true if !permitted.load(Ordering::Relaxed) => Permission::Denied,
                _ => Permission::Granted,
            })
        };
        let machine = Machine::new(protocol, Arc::default(), gate, Settings::default(), "n".to_owned());
        Self {
            machine,
            permitted,
            now: Instant::now(),
            sotw: protocol == Protocol::Sotw,
            nonces: BTreeMap::new(),
            last: BTreeMap::new(),
            names: BTreeMap::new(),
            last_line: "the start".to_owned(),
        }
    }

    /// Runs a script. Every response must be announced by a `<` line.
    ///
    /// ```text
    /// = cds a@1 eds=a | eds a@1      the snapshot becomes
    /// > eds a b@1 -c                 subscribe a; b, held in version 1; unsubscribe c (SotW: the names)
    /// >> cds                         the same by a client that has something from an earlier stream (SotW)
    /// < cds a b -c                   the next response: resources, then removals
    /// ack eds | nack eds <reason>    answers the oldest unanswered response of the type
    /// wait 5                         seconds pass
    /// permit                         secrets whose name begins with "denied" may be had from now on
    /// ! cds a refused <reason>       a judgement; `! cds a withdrawn`
    /// ```
    pub(super) fn run(&mut self, script: &str) -> &mut Self {
        for line in script.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            if verb == "<" {
                let response = self.next().unwrap_or_else(|| panic!("`{line}`: no response"));
                assert_eq!(response, rest.trim(), "at `{line}`");
            } else {
                self.expect_silence();
                self.step(verb, rest.trim(), line);
            }
            line.clone_into(&mut self.last_line);
        }
        self.expect_silence();
        let left = self.machine.take_judgements();
        assert!(left.is_empty(), "judgements not announced: {left:?}");
        self
    }

    fn expect_silence(&mut self) {
        if let Some(unexpected) = self.next() {
            panic!("after `{}` an unexpected response: {unexpected}", self.last_line);
        }
    }

    fn step(&mut self, verb: &str, rest: &str, line: &str) {
        let (short, words) = rest.split_once(' ').unwrap_or((rest, ""));
        match verb {
            "=" => self.machine.set_snapshot(&Arc::new(snapshot(rest))),
            ">" => self.subscribe(type_of(short), words, ""),
            ">>" => self.subscribe(type_of(short), words, "7"),
            "ack" | "nack" => {
                let t = type_of(short);
                let nonce = self.nonces.get_mut(&t).and_then(VecDeque::pop_front);
                let nonce = nonce.unwrap_or_else(|| panic!("`{line}`: nothing to answer"));
                self.answer(t, &nonce, (verb == "nack").then_some(words));
            }
            "permit" => {
                self.permitted.store(true, Ordering::Relaxed);
                self.machine.retry_withheld();
            }
            "wait" => self.now += Duration::from_secs_f64(rest.parse().expect("seconds")),
            "!" => self.expect_judgement(type_of(short), words, line),
            _ => panic!("`{line}`: what?"),
        }
    }

    fn expect_judgement(&mut self, t: ResourceType, words: &str, line: &str) {
        let mut all = self.machine.take_judgements();
        assert!(!all.is_empty(), "`{line}`: no judgement");
        let Judgement { resource_type, name, refused, .. } = all.remove(0);
        let said = refused.map_or_else(|| "withdrawn".to_owned(), |r| format!("refused {r}"));
        assert_eq!((resource_type, format!("{name} {said}")), (t, words.to_owned()), "at `{line}`");
        assert!(all.is_empty(), "`{line}`: more judgements: {all:?}");
    }

    pub(super) fn answer(&mut self, t: ResourceType, nonce: &str, reason: Option<&str>) {
        let error_detail = reason.map(|r| RpcStatus { message: r.to_owned(), ..RpcStatus::default() });
        if self.sotw {
            let resource_names = self.names.get(&t).cloned().unwrap_or_default();
            let request = DiscoveryRequest {
                response_nonce: nonce.to_owned(),
                error_detail,
                resource_names,
                ..Default::default()
            };
            give(&mut self.machine, t, &request, self.now);
        } else {
            let request =
                DeltaDiscoveryRequest { response_nonce: nonce.to_owned(), error_detail, ..Default::default() };
            give(&mut self.machine, t, &request, self.now);
        }
    }

    fn subscribe(&mut self, t: ResourceType, words: &str, version: &str) {
        if self.sotw {
            let names: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
            let response_nonce = self.last.get(&t).cloned().unwrap_or_default();
            self.names.insert(t, names.clone());
            let version_info = version.to_owned();
            let request =
                DiscoveryRequest { resource_names: names, response_nonce, version_info, ..Default::default() };
            give(&mut self.machine, t, &request, self.now);
            return;
        }
        let mut request = DeltaDiscoveryRequest::default();
        for word in words.split_whitespace() {
            match (word.strip_prefix('-'), word.split_once('@')) {
                (Some(name), _) => request.resource_names_unsubscribe.push(name.to_owned()),
                (None, Some((name, _))) => {
                    let version = resource(t, word).version;
                    request.initial_resource_versions.insert(name.to_owned(), version.to_string());
                    if !t.is_wildcard() {
                        request.resource_names_subscribe.push(name.to_owned());
                    }
                }
                (None, None) => request.resource_names_subscribe.push(word.to_owned()),
            }
        }
        give(&mut self.machine, t, &request, self.now);
    }

    fn next(&mut self) -> Option<String> {
        let response = self.machine.next_response(self.now)?;
        self.nonces.entry(response.resource_type).or_default().push_back(response.nonce.clone());
        self.last.insert(response.resource_type, response.nonce.clone());
        Some(describe(&response))
    }
}

fn describe(response: &Response) -> String {
    let mut words = vec![response.resource_type.short_name().to_owned()];
    words.extend(response.resources.iter().map(|r| r.name.to_string()));
    words.extend(response.removed.iter().map(|n| format!("-{n}")));
    words.join(" ")
}

/// The node of a sidecar.
pub(super) fn node(namespace: &str, service_account: &str) -> Node {
    let text = |s: &str| Value { kind: Some(Kind::StringValue(s.to_owned())) };
    let fields = [("NAMESPACE", namespace), ("SERVICE_ACCOUNT", service_account), ("CLUSTER_ID", "Kubernetes")];
    Node {
        id: format!("sidecar~10.0.0.1~pod.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(Struct { fields: fields.iter().map(|(k, v)| ((*k).to_owned(), text(v))).collect() }),
        ..Node::default()
    }
}

/// Gives a machine a request as it comes over the wire.
pub(super) fn give(machine: &mut Machine, t: ResourceType, request: &impl prost::Message, now: Instant) {
    let bytes = request.encode_to_vec();
    let request = Request::decode(machine.protocol(), &bytes).expect("a request");
    machine.request(t, &request, now);
}

/// Random conversations are the same in every run, so that what fails is a change. `PROPTEST_RNG_SEED` and
/// `PROPTEST_CASES` look further.
pub(super) fn conversations() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let rng_seed = match config.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        given => given,
    };
    ProptestConfig { rng_seed, ..config }
}
