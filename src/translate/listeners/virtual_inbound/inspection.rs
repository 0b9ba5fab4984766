//! On which ports the inspectors look at the first bytes: only where a chain asks for what they find. A server that
//! speaks first would wait for its client otherwise, and TLS that is the workload's own would match no chain.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::{
    config::listener::v3::{
        ListenerFilter, ListenerFilterChainMatchPredicate as Predicate,
        listener_filter_chain_match_predicate::{MatchSet, Rule},
    },
    r#type::v3::Int32Range,
};

use crate::model::{Protocol, ProtocolClass, peer_authentication::MtlsMode};

/// Whether chains tell TLS from plaintext.
pub(super) fn tls(_: Protocol, mode: MtlsMode) -> bool {
    mode != MtlsMode::Disable
}

/// Whether chains tell plaintext HTTP from other plaintext.
pub(super) fn http(protocol: Protocol, mode: MtlsMode) -> bool {
    protocol.class() == ProtocolClass::Auto && mode != MtlsMode::Strict
}

/// The inspector, disabled on the ports that do not need it; `None` when none does. `others` is what ports accept that
/// have no chains of their own.
pub(super) fn where_needed(
    inspector: ListenerFilter,
    ports: &BTreeMap<u16, (Protocol, MtlsMode)>,
    others: MtlsMode,
    needs: fn(Protocol, MtlsMode) -> bool,
) -> Option<ListenerFilter> {
    let by_default = needs(Protocol::Auto, others);
    let exceptions: Vec<Predicate> = ports
        .iter()
        .filter(|(_, (protocol, mode))| needs(*protocol, *mode) != by_default)
        .map(|(port, _)| destination(*port))
        .collect();
    let filter_disabled = match (by_default, any_of(exceptions)) {
        (false, None) => return None,
        (true, exceptions) => exceptions,
        (false, Some(needing)) => Some(predicate(Rule::NotMatch(Box::new(needing)))),
    };
    Some(ListenerFilter { filter_disabled, ..inspector })
}

fn any_of(mut rules: Vec<Predicate>) -> Option<Predicate> {
    match rules.len() {
        // Envoy takes no set of one.
        0 | 1 => rules.pop(),
        _ => Some(predicate(Rule::OrMatch(MatchSet { rules }))),
    }
}

fn destination(port: u16) -> Predicate {
    let start = i32::from(port);
    predicate(Rule::DestinationPortRange(Int32Range { start, end: start + 1 }))
}

fn predicate(rule: Rule) -> Predicate {
    Predicate { rule: Some(rule) }
}
