//! Changes to lists of filters.

use super::{Change, NamedFilter, Place};
use crate::translate::filters::merge::{MergeError, merge_any};

/// Inserts, replaces or removes. `anchor` names the filter that the patch matches, if it names one; where that is
/// absent nothing is done. Merges are for [`merge_filter`].
pub(super) fn change_list<T: NamedFilter>(filters: &mut Vec<T>, change: &Change<T>, anchor: Option<&str>) {
    let found = anchor.and_then(|name| filters.iter().position(|filter| filter.name() == name));
    match (change, anchor) {
        (Change::Insert(Place::First, value), _) | (Change::Insert(Place::Before, value), None) => {
            filters.insert(0, T::clone(value));
        }
        (Change::Insert(Place::Last, value), _) | (Change::Insert(Place::After, value), None) => {
            insert_behind(filters, filters.len(), value);
        }
        (Change::Insert(Place::Before, value), Some(_)) => {
            if let Some(at) = found {
                filters.insert(at, T::clone(value));
            }
        }
        (Change::Insert(Place::After, value), Some(_)) => {
            if let Some(at) = found {
                insert_behind(filters, at + 1, value);
            }
        }
        (Change::Replace(value), _) => {
            if let Some(at) = found {
                filters[at] = T::clone(value);
            }
        }
        (Change::Remove, Some(name)) => filters.retain(|filter| filter.name() != name),
        (Change::Remove, None) | (Change::Merge(..), _) => {}
    }
}

/// Inserts at a place, but not behind a filter that must be the last: Envoy would refuse the whole listener, and
/// no working configuration can depend on that.
fn insert_behind<T: NamedFilter>(filters: &mut Vec<T>, at: usize, value: &T) {
    let behind_terminal =
        at == filters.len() && filters.last().is_some_and(|filter| T::TERMINAL.contains(&filter.name()));
    filters.insert(if behind_terminal { at - 1 } else { at }, value.clone());
}

/// Merges a patch into a filter, if it is a merge and matches: the name is overwritten if given, the configuration
/// merged. A patch that names no filter is for all filters of its type.
pub(super) fn merge_filter<T: NamedFilter>(
    filter: &mut T,
    change: &Change<T>,
    anchor: Option<&str>,
) -> Result<(), MergeError> {
    let Change::Merge(lists, patch) = change else { return Ok(()) };
    if anchor.is_some_and(|name| name != filter.name()) {
        return Ok(());
    }
    // A filter that is delivered by ECDS has nothing here to merge into.
    let Some(config) = filter.typed_config_mut() else { return Ok(()) };
    match patch.typed_config().map(|patch| merge_any(config, patch, *lists)) {
        None | Some(Ok(())) => {}
        Some(Err(MergeError::OtherType { .. })) if anchor.is_none() => return Ok(()),
        Some(Err(error)) => return Err(error),
    }
    if !patch.name().is_empty() {
        patch.name().clone_into(filter.name_mut());
    }
    Ok(())
}
