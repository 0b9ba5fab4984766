//! Selecting members and grouping them by locality.

use std::collections::BTreeMap;

use super::{EndpointInput, health};
use crate::model::{Endpoint, Locality, service::EndpointAddress, workload::selects};

/// Members of one locality, later of one priority in it.
#[derive(Clone, Debug)]
pub(super) struct Group<'a> {
    pub(super) locality: &'a Locality,
    pub(super) priority: u32,
    /// The sum of its members' weights, or its share of the traffic.
    pub(super) weight: u32,
    /// Members with their weights.
    pub(super) members: Vec<(&'a Endpoint, u32)>,
}

impl<'a> Group<'a> {
    pub(super) fn new(locality: &'a Locality, priority: u32, members: Vec<(&'a Endpoint, u32)>) -> Self {
        let weight = members.iter().map(|(_, weight)| weight).sum();
        Self { locality, priority, weight, members }
    }
}

/// The members of the port and subset that this proxy may have, sorted by address, each address and port once:
/// during a move between slices the healthiest says how it is.
pub(super) fn select<'a>(input: &EndpointInput<'a>, hostnames: bool) -> Vec<&'a Endpoint> {
    let empty = BTreeMap::new();
    let labels = input.subset.map_or(&empty, |s| &s.labels);
    let wanted = |e: &&Endpoint| {
        e.port_name == input.port.name
            && (hostnames || !matches!(e.address, EndpointAddress::Hostname(_)))
            && health::is_sent(e.health, input.service, input.policy)
            && (!input.service.node_local || e.node == input.client.node)
            && selects(labels, &e.labels)
    };
    let mut members: Vec<&Endpoint> = input.members.iter().map(AsRef::as_ref).filter(wanted).collect();
    // The rest of the key only makes the choice independent of the order of slices.
    let key = |m: &&'a Endpoint| (&m.address, m.port, m.health, &m.locality, m.weight, &m.labels);
    members.sort_by(|a, b| key(a).cmp(&key(b)));
    members.dedup_by(|later, first| (&later.address, later.port) == (&first.address, first.port));
    members
}

/// Groups members by locality, in the order of localities.
pub(super) fn by_locality(members: Vec<&Endpoint>) -> Vec<Group<'_>> {
    let total: u64 = members.iter().map(|m| u64::from(m.weight.max(1))).sum();
    // Envoy refuses an assignment whose weights add up to more than 32 bits.
    let divisor = total / u64::from(u32::MAX / 2) + 1;
    let scaled = |weight: u32| u32::try_from(u64::from(weight) / divisor).unwrap_or(u32::MAX).max(1);
    let mut groups: BTreeMap<&Locality, Vec<(&Endpoint, u32)>> = BTreeMap::new();
    for member in members {
        groups.entry(&member.locality).or_default().push((member, scaled(member.weight)));
    }
    groups.into_iter().map(|(locality, members)| Group::new(locality, 0, members)).collect()
}
