//! Traffic shares by locality.

use super::{group::Group, locality::matches};
use crate::model::{Locality, locality_lb::Distribute};

/// Shares are percents; more would overflow what Envoy adds up.
const MAX_SHARE: u32 = 100;

/// Gives localities the shares of the first entry that is about the proxy's locality. A share that several
/// localities match is split by their weights; localities that no share matches get nothing.
pub(super) fn apply(groups: &mut Vec<Group<'_>>, origin: &Locality, distribute: &[Distribute]) {
    let Some(entry) = distribute.iter().find(|d| matches(origin, &d.from)) else { return };
    let mut shares = vec![None; groups.len()];
    for (pattern, share) in &entry.to {
        let fresh: Vec<usize> =
            (0..groups.len()).filter(|&i| shares[i].is_none() && matches(groups[i].locality, pattern)).collect();
        let total: u64 = fresh.iter().map(|&i| u64::from(groups[i].weight)).sum();
        for index in fresh {
            let weighted = u64::from(groups[index].weight) * u64::from((*share).min(MAX_SHARE));
            shares[index] = Some(u32::try_from(weighted.div_ceil(total.max(1))).unwrap_or(u32::MAX));
        }
    }
    let mut shares = shares.into_iter();
    groups.retain_mut(|group| match shares.next().flatten() {
        Some(share) if share > 0 => {
            group.weight = share;
            true
        }
        _ => false,
    });
}
