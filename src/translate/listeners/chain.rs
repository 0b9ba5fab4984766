//! Filter chains: encoded one by one, never two with overlapping matches in one listener.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use envoy_types::pb::envoy::config::{
    core::v3::{CidrRange, TransportSocket},
    listener::v3::{Filter, FilterChain, FilterChainMatch, Listener},
};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use super::wire;
use crate::{
    model::{Code, ObjectRef, Problem},
    snapshot::{Encoder, Name, Refs, Resource, ResourceType, Version, canonical_bytes, canonical_field},
};

/// How long a TLS handshake may take (translation §3.1).
const HANDSHAKE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(15);

/// The field of a listener that holds its chains.
const FILTER_CHAINS: u32 = 3;

/// Names of resources that listeners refer to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RefSet {
    /// Clusters of TCP proxies.
    pub clusters: BTreeSet<Name>,
    /// Route configurations.
    pub routes: BTreeSet<Name>,
    /// Secrets over ADS.
    pub secrets: BTreeSet<Name>,
}

impl RefSet {
    /// Adds those of another.
    pub fn extend(&mut self, other: &Self) {
        self.clusters.extend(other.clusters.iter().cloned());
        self.routes.extend(other.routes.iter().cloned());
        self.secrets.extend(other.secrets.iter().cloned());
    }

    /// As resources record them.
    #[must_use]
    pub fn to_refs(&self) -> Refs {
        Refs {
            clusters: self.clusters.iter().cloned().collect(),
            endpoints: None,
            routes: self.routes.iter().cloned().collect(),
            secrets: self.secrets.iter().cloned().collect(),
            ..Refs::default()
        }
    }
}

/// A filter chain. Its encoding is shared by its clones, and made when a listener needs it: default chains are encoded
/// with the rest of theirs.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The message.
    pub message: Arc<FilterChain>,
    encoded: Arc<OnceLock<(Version, Bytes)>>,
    /// What it refers to.
    pub refs: RefSet,
    /// The object that asked for it, with the field: named when it must give way to another.
    pub origin: Option<(ObjectRef, String)>,
}

impl PartialEq for Chain {
    fn eq(&self, other: &Self) -> bool {
        let Self { message, encoded: _, refs, origin } = self;
        *message == other.message && *refs == other.refs && *origin == other.origin
    }
}

impl Chain {
    /// A chain, what it refers to, and who asked for it.
    #[must_use]
    pub fn new(message: FilterChain, refs: RefSet, origin: Option<(ObjectRef, String)>) -> Self {
        Self { message: Arc::new(message), encoded: Arc::default(), refs, origin }
    }

    /// It as an encoded `filter_chains` field of a listener, with the field's hash.
    fn piece(&self) -> (Version, Bytes) {
        self.encoded.get_or_init(|| encode_field(&self.message)).clone()
    }
}

/// The content of a chain before it is encoded.
#[derive(Debug, Default)]
pub(super) struct ChainParts {
    pub(super) name: String,
    pub(super) matching: FilterChainMatch,
    pub(super) filters: Vec<Filter>,
    pub(super) transport_socket: Option<TransportSocket>,
}

impl ChainParts {
    pub(super) fn build(self) -> FilterChain {
        let unconditional = self.matching == FilterChainMatch::default();
        FilterChain {
            name: self.name,
            filter_chain_match: (!unconditional).then_some(self.matching),
            filters: self.filters,
            transport_socket_connect_timeout: wire::duration(HANDSHAKE_TIMEOUT),
            transport_socket: self.transport_socket,
            ..FilterChain::default()
        }
    }
}

fn encode_field(chain: &FilterChain) -> (Version, Bytes) {
    let bytes = canonical_field(FILTER_CHAINS, chain);
    (Version::of(&bytes), bytes)
}

/// A listener in pieces, what it refers to, and what was wrong on the way.
#[derive(Clone, Debug, Default)]
pub struct ListenerOutput {
    /// Its name.
    pub name: String,
    /// Everything but the chains.
    pub header: Listener,
    /// The chains, in order.
    pub chains: Vec<Chain>,
    /// What the header refers to: its default chain.
    pub header_refs: RefSet,
    /// Problems of the objects that it is made of.
    pub problems: Vec<Problem>,
    /// The EnvoyFilters whose patches are meant for it.
    pub patched_by: BTreeSet<ObjectRef>,
}

impl ListenerOutput {
    /// Whether there is nothing to send: Envoy takes no listener without chains.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.chains.is_empty() && self.header.default_filter_chain.is_none()
    }

    /// The whole message.
    #[must_use]
    pub fn message(&self) -> Listener {
        let filter_chains = self.chains.iter().map(|c| FilterChain::clone(&c.message)).collect();
        Listener { filter_chains, ..self.header.clone() }
    }

    /// The resource, its chains shared and not copied; `None` when it [is empty](Self::is_empty).
    #[must_use]
    pub fn resource(&self) -> Option<Resource> {
        if self.is_empty() {
            return None;
        }
        let mut refs = self.header_refs.clone();
        self.chains.iter().for_each(|c| refs.extend(&c.refs));
        let header = canonical_bytes(&self.header);
        let mut pieces = vec![(Version::of(&header), header)];
        pieces.extend(self.chains.iter().map(|c| c.piece()));
        Some(Encoder::pieces(ResourceType::Listener, self.name.as_str().into(), pieces, refs.to_refs()))
    }
}

/// Collects the chains of one listener. Envoy refuses a listener in which two chains match the same connection
/// equally well, or share a name, so a later chain loses what an earlier one matches already (translation §3.1).
#[derive(Debug, Default)]
pub struct ChainSet {
    /// By what a chain takes, its place. (Keys that begin alike, as these do, are slow to order.)
    taken: HashMap<MatchKey, usize, FixedState>,
    names: HashSet<String, FixedState>,
    chains: Vec<Chain>,
    problems: Vec<Problem>,
}

/// One combination that a match stands for: port, network, server name, transport, application protocol.
type MatchKey = (u32, String, String, String, String);

impl ChainSet {
    /// Adds a chain, narrowed to what no earlier chain matches; drops it when nothing is left.
    pub fn add(&mut self, mut chain: Chain) {
        let mut matching = chain.message.filter_chain_match.clone().unwrap_or_default();
        let mut keys = match_keys(&matching);
        let lost = self.narrow(&keys, &mut matching);
        if let Some(winner) = lost.winner {
            self.report(&chain, winner, &lost.what, lost.all);
        }
        if lost.all {
            return;
        }
        let renamed = self.unique_name(&chain.message.name);
        if lost.winner.is_some() || renamed != chain.message.name {
            let unconditional = matching == FilterChainMatch::default();
            let message = Arc::make_mut(&mut chain.message);
            message.filter_chain_match = (!unconditional).then(|| matching.clone());
            message.name = renamed;
            chain.encoded = Arc::default();
            keys = match_keys(&matching);
        }
        self.taken.extend(keys.into_iter().map(|key| (key, self.chains.len())));
        self.names.insert(chain.message.name.clone());
        self.chains.push(chain);
    }

    /// The chains and what was lost.
    #[must_use]
    pub fn finish(self) -> (Vec<Chain>, Vec<Problem>) {
        (self.chains, self.problems)
    }

    fn narrow(&self, keys: &[MatchKey], matching: &mut FilterChainMatch) -> Lost {
        let Some(winner) = self.first_taken(keys) else { return Lost::default() };
        let mut lost = Lost { winner: Some(winner), ..Lost::default() };
        let probe = matching.clone();
        if probe.server_names.is_empty() {
            let free = |range: &CidrRange| {
                let one = FilterChainMatch { prefix_ranges: vec![range.clone()], ..probe.clone() };
                self.first_taken(&match_keys(&one)).is_none()
            };
            let (keep, drop): (Vec<_>, Vec<_>) = probe.prefix_ranges.iter().cloned().partition(free);
            lost.what = drop.iter().map(range_text).collect();
            lost.all = keep.is_empty();
            matching.prefix_ranges = keep;
        } else {
            let free = |name: &String| {
                let one = FilterChainMatch { server_names: vec![name.clone()], ..probe.clone() };
                self.first_taken(&match_keys(&one)).is_none()
            };
            let (keep, drop): (Vec<_>, Vec<_>) = probe.server_names.iter().cloned().partition(free);
            lost.what = drop;
            lost.all = keep.is_empty();
            matching.server_names = keep;
        }
        lost
    }

    fn first_taken(&self, keys: &[MatchKey]) -> Option<usize> {
        keys.iter().find_map(|key| self.taken.get(key).copied())
    }

    fn report(&mut self, chain: &Chain, winner: usize, what: &[String], all: bool) {
        let Some((object, field)) = chain.origin.clone() else { return };
        let by = match &self.chains[winner].origin {
            Some((object, field)) => format!("{object} ({field})"),
            None => format!("the filter chain {}", self.chains[winner].message.name),
        };
        let what = match what {
            [] => "all connections".to_owned(),
            some => some.join(", "),
        };
        let effect = if all { "; it is not programmed" } else { "; the rest is programmed" };
        self.problems.push(Problem {
            object,
            field,
            reason: format!("{what} on this port is already taken by the older {by}{effect}"),
            code: Code::ConnectionsTaken,
        });
    }

    fn unique_name(&self, wanted: &str) -> String {
        let numbered = (2_usize..).map(|n| format!("{wanted}~{n}"));
        std::iter::once(wanted.to_owned())
            .chain(numbered)
            .find(|name| !self.names.contains(name))
            .expect("the numbers do not run out before the chains do")
    }
}

#[derive(Debug, Default)]
struct Lost {
    winner: Option<usize>,
    what: Vec<String>,
    all: bool,
}

fn range_text(range: &CidrRange) -> String {
    format!("{}/{}", range.address_prefix, range.prefix_len.map_or(0, |l| l.value))
}

/// All combinations that a match stands for; an empty list is "any".
fn match_keys(matching: &FilterChainMatch) -> Vec<MatchKey> {
    let or_any = |list: Vec<String>| if list.is_empty() { vec![String::new()] } else { list };
    let port = matching.destination_port.map_or(0, |p| p.value);
    let ranges = or_any(matching.prefix_ranges.iter().map(range_text).collect());
    let names = or_any(matching.server_names.iter().map(|n| n.to_ascii_lowercase()).collect());
    let protocols = or_any(matching.application_protocols.clone());
    let mut all = Vec::with_capacity(ranges.len() * names.len() * protocols.len());
    for range in &ranges {
        for name in &names {
            for protocol in &protocols {
                let transport = matching.transport_protocol.clone();
                all.push((port, range.clone(), name.clone(), transport, protocol.clone()));
            }
        }
    }
    all
}

#[cfg(test)]
mod tests;
