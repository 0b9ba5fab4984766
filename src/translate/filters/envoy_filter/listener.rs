//! Patches to what is in listeners.

use envoy_types::pb::envoy::{
    config::listener::v3::{Filter, FilterChain},
    extensions::filters::network::http_connection_manager::v3::{HttpConnectionManager, HttpFilter},
};
use prost::Message;

use super::{
    Change, HTTP_CONNECTION_MANAGER, NamedFilter, PatchSet, Target,
    list::{change_list, merge_filter},
};
use crate::{
    model::{
        ObjectRef, Problem,
        envoy_filter::{FilterMatch, ListenerMatch, PatchContext},
    },
    snapshot::canonical_bytes,
};

/// Listeners whose chains stand for ports of their own.
const VIRTUAL: [&str; 2] = ["virtualInbound", "virtualOutbound"];

/// What patches may look at in a listener.
#[derive(Clone, Copy, Debug)]
pub struct ListenerFacts<'a> {
    /// Whose listener it is.
    pub context: PatchContext,
    /// Its name.
    pub name: &'a str,
    /// Its port; `None` for a listener without socket.
    pub port: Option<u32>,
}

impl ListenerFacts<'_> {
    fn is_virtual(&self) -> bool {
        VIRTUAL.contains(&self.name)
    }

    fn matches(&self, wanted: &ListenerMatch) -> bool {
        (wanted.name.is_empty() || wanted.name == self.name)
            && (self.is_virtual() || wanted.port.is_none() || wanted.port == self.port)
    }

    fn matches_chain(&self, wanted: &ListenerMatch, chain: &FilterChain) -> bool {
        let found = chain.filter_chain_match.as_ref();
        let destination = found.and_then(|found| found.destination_port.as_ref()).map(|port| port.value);
        let port = wanted.port.filter(|_| self.is_virtual());
        let protocols = found.map_or(&[][..], |found| &found.application_protocols);
        let wanted = &wanted.chain;
        port.is_none_or(|port| destination == Some(port))
            && (wanted.name.is_empty() || wanted.name == chain.name)
            && (wanted.sni.is_empty() || found.is_some_and(|found| found.server_names.contains(&wanted.sni)))
            && (wanted.transport_protocol.is_empty()
                || found.is_some_and(|found| found.transport_protocol == wanted.transport_protocol))
            && wanted.application_protocols.iter().all(|protocol| protocols.contains(protocol))
            && wanted.destination_port.is_none_or(|port| destination == Some(port))
    }
}

/// The objects whose patches are meant for a filter chain, or for filters in it.
pub fn patches_of<'a>(
    set: &'a PatchSet,
    listener: ListenerFacts<'a>,
    chain: &'a FilterChain,
) -> impl Iterator<Item = &'a ObjectRef> {
    let meant = set.of(listener.context).filter(move |patch| match &patch.target {
        Target::Http(wanted, _) | Target::Network(wanted, _) => {
            listener.matches(wanted) && listener.matches_chain(wanted, chain)
        }
        Target::Cluster(..) => false,
    });
    meant.map(|patch| &patch.object)
}

/// Patches a filter chain: its network filters, then the HTTP filters inside.
pub fn patch_filter_chain(set: &PatchSet, listener: ListenerFacts<'_>, chain: &mut FilterChain) -> Vec<Problem> {
    let mut problems = Vec::new();
    let network = |chain: &FilterChain| -> Vec<_> {
        let here = set.of(listener.context).filter_map(|patch| match &patch.target {
            Target::Network(wanted, change) => Some((patch, wanted, change)),
            _ => None,
        });
        here.filter(|(_, wanted, _)| listener.matches(wanted) && listener.matches_chain(wanted, chain)).collect()
    };
    let patches = network(chain);
    for (_, wanted, change) in &patches {
        let anchor = wanted.chain.filter.as_ref().map(|filter| &filter.name[..]);
        change_list(&mut chain.filters, change, anchor);
    }
    let mut filters = std::mem::take(&mut chain.filters);
    for filter in &mut filters {
        for (patch, wanted, change) in &patches {
            let anchor = wanted.chain.filter.as_ref().map(|filter| &filter.name[..]);
            problems.extend(merge_filter(filter, change, anchor).err().map(|error| patch.problem(&error)));
        }
        if filter.name == HTTP_CONNECTION_MANAGER {
            problems.extend(patch_connection_manager(set, listener, chain, filter));
        }
    }
    chain.filters = filters;
    problems
}

/// Unpacks and packs the connection manager only if something in it is to be patched.
fn patch_connection_manager(
    set: &PatchSet,
    listener: ListenerFacts<'_>,
    chain: &FilterChain,
    filter: &mut Filter,
) -> Vec<Problem> {
    let Some(config) = filter.typed_config_mut() else { return Vec::new() };
    if http_patches(set, listener, chain).next().is_none() {
        return Vec::new();
    }
    // What a user put here under this name may be anything.
    let Ok(mut manager) = HttpConnectionManager::decode(&config.value[..]) else { return Vec::new() };
    let problems = patch_http_filters(set, listener, chain, &mut manager.http_filters);
    config.value = canonical_bytes(&manager).to_vec();
    problems
}

/// Patches the HTTP filters of the connection manager of a chain; of the chain only its name and match are looked at.
pub fn patch_http_filters(
    set: &PatchSet,
    listener: ListenerFacts<'_>,
    chain: &FilterChain,
    filters: &mut Vec<HttpFilter>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (_, anchor, change) in http_patches(set, listener, chain) {
        change_list(filters, change, anchor);
    }
    for filter in filters {
        for (patch, anchor, change) in http_patches(set, listener, chain) {
            problems.extend(merge_filter(filter, change, anchor).err().map(|error| patch.problem(&error)));
        }
    }
    problems
}

/// The patches to HTTP filters of a chain, each with the name of the filter that it matches.
fn http_patches<'a>(
    set: &'a PatchSet,
    listener: ListenerFacts<'a>,
    chain: &'a FilterChain,
) -> impl Iterator<Item = (&'a super::CompiledPatch, Option<&'a str>, &'a Change<HttpFilter>)> {
    set.of(listener.context).filter_map(move |patch| {
        let Target::Http(wanted, change) = &patch.target else { return None };
        let filter = wanted.chain.filter.as_ref();
        let here = listener.matches(wanted)
            && listener.matches_chain(wanted, chain)
            && matches_network_filter(filter, HTTP_CONNECTION_MANAGER);
        here.then(|| (patch, filter.and_then(|filter| filter.sub_filter.as_deref()), change))
    })
}

fn matches_network_filter(wanted: Option<&FilterMatch>, name: &str) -> bool {
    wanted.is_none_or(|filter| filter.name == name)
}
