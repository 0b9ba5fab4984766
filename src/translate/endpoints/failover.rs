//! Priorities by nearness.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::group::Group;
use crate::model::{Endpoint, Labels, Locality, workload::label};

/// Priorities that nearness alone can give: the same sub-zone, zone, region, another region, and one that is not
/// the region to fail over to.
const LOCALITY_PRIORITIES: u32 = 5;

/// Ranks localities by what they share with the proxy's, below the priorities that they have already.
pub(super) fn by_locality(groups: &mut [Group<'_>], origin: &Locality, regions: &[(Arc<str>, Arc<str>)]) {
    let target = regions.iter().find(|(from, _)| *from == origin.region).map(|(_, to)| to);
    for group in groups {
        let rank = match distance(origin, group.locality) {
            3 if target.is_some_and(|to| *to != group.locality.region) => 4,
            rank => rank,
        };
        group.priority = group.priority * LOCALITY_PRIORITIES + rank;
    }
}

fn distance(origin: &Locality, other: &Locality) -> u32 {
    if origin.region != other.region {
        3
    } else if origin.zone != other.zone {
        2
    } else if origin.subzone != other.subzone {
        1
    } else {
        0
    }
}

/// Splits localities by how many labels, in order, their members share with the proxy.
pub(super) fn by_labels(groups: &mut Vec<Group<'_>>, order: &[Arc<str>], own: &Labels) {
    let wanted: Vec<(&str, Option<&str>)> = order
        .iter()
        .map(|entry| match entry.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (&**entry, own.get(&**entry).map(String::as_str)),
        })
        .collect();
    let mut split = Vec::with_capacity(groups.len());
    for group in groups.drain(..) {
        let mut ranked: BTreeMap<u32, Vec<(&Endpoint, u32)>> = BTreeMap::new();
        for (member, weight) in group.members {
            ranked.entry(rank(&wanted, &member.labels)).or_default().push((member, weight));
        }
        split.extend(ranked.into_iter().map(|(rank, members)| Group::new(group.locality, rank, members)));
    }
    *groups = split;
}

/// 0 when all labels agree, more the earlier one differs. Another network comes after everything in the own one,
/// and is ranked by the other labels as well.
fn rank(wanted: &[(&str, Option<&str>)], labels: &Labels) -> u32 {
    let count = u32::try_from(wanted.len()).unwrap_or(u32::MAX);
    let value = |text: Option<&str>| text.unwrap_or_default().to_owned();
    let mut penalty = 0;
    for (index, (key, mine)) in (0..).zip(wanted) {
        if value(*mine) == value(labels.get(*key).map(String::as_str)) {
            continue;
        }
        if index == 0 && *key == label::NETWORK {
            penalty = count;
            continue;
        }
        return penalty + count - index;
    }
    penalty
}

/// Numbers priorities from 0 without gaps, as Envoy demands.
pub(super) fn close_gaps(groups: &mut [Group<'_>]) {
    let used: BTreeSet<u32> = groups.iter().map(|g| g.priority).collect();
    let places: BTreeMap<u32, u32> = used.into_iter().zip(0..).collect();
    for group in groups {
        group.priority = places.get(&group.priority).copied().unwrap_or_default();
    }
}
