//! Finding which resource of a refused response is the bad one, so that it hurts only itself (design §2 truth 3).

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use super::{
    Judgement, Machine,
    subscription::{InFlight, Sent},
};
use crate::snapshot::{Name, ResourceType};

impl Machine {
    /// A response was refused. Envoy may have applied all of it but the bad resource, or nothing.
    pub(super) fn refused(&mut self, t: ResourceType, response: &InFlight, reason: &str) {
        let Some(watch) = &mut self.watches[t] else { return };
        watch.status.last_error = Some(reason.into());
        let resources = response.items.iter().filter(|i| i.resource.is_some()).count();
        if resources == 0 && response.conclusive {
            return; // A removal is no reason to refuse: asking again would never end.
        }
        response.items.iter().for_each(|i| watch.not_taken(i));
        let conclusive = response.conclusive && resources == 1;
        // What was sent again since is judged by the answer to that.
        let (live, removals): (Vec<Sent>, Vec<Sent>) = response
            .items
            .iter()
            .filter(|i| watch.subscribed(&i.name) && !watch.is_in_flight(&i.name))
            .cloned()
            .partition(|i| i.resource.is_some());
        for item in removals {
            let lag = item.not_had(true);
            watch.lagging.insert(item.name, lag);
        }
        if let ([only], true) = (live.as_slice(), conclusive) {
            let only = only.clone();
            return self.quarantine(t, only, response.seq, reason);
        }
        let names: BTreeSet<Name> = live.iter().map(|i| Arc::clone(&i.name)).collect();
        for item in live {
            let lag = item.not_had(true);
            watch.lagging.insert(item.name, lag);
        }
        watch.suspects.extend(split(&names, reason));
    }

    fn quarantine(&mut self, t: ResourceType, culprit: Sent, seq: u64, reason: &str) {
        let full = self.is_full_set(t);
        let (lag, since) = (culprit.not_had(culprit.forced), culprit.since);
        let Some(resource) = culprit.resource else { return };
        self.note_refused(t, &resource, &culprit.have);
        let Some(watch) = &mut self.watches[t] else { return };
        let name = culprit.name;
        // A refused set may have left the client with less or more than the set without the culprit.
        watch.answer_due |= full;
        watch.refused.insert(Arc::clone(&name), resource.version);
        watch.lagging.insert(Arc::clone(&name), lag);
        match t {
            ResourceType::Cluster => self.barriers.cluster_refused(&name),
            ResourceType::Endpoint => self.barriers.endpoints_settled(std::iter::once(&name), seq),
            _ => {}
        }
        let refused = Some(reason.into());
        self.judgements.push(Judgement { resource_type: t, name, version: resource.version, since, refused });
    }
}

/// Splits the names of a refused response into smaller responses. Envoy's reason often names the culprits
/// (`Error adding/updating listener(s) a: …`): those go apart from the rest, else the names are halved. The reason
/// is only a hint; what counts is that a response of a single resource is refused.
fn split(names: &BTreeSet<Name>, reason: &str) -> VecDeque<BTreeSet<Name>> {
    let (named, rest): (BTreeSet<Name>, BTreeSet<Name>) =
        names.iter().cloned().partition(|n| !n.is_empty() && mentions(reason, n));
    if !named.is_empty() && !rest.is_empty() {
        return [rest, named].into();
    }
    let mut first = names.clone();
    let middle = names.iter().nth(names.len() / 2).cloned();
    let second = middle.map(|m| first.split_off(&m)).unwrap_or_default();
    [first, second].into_iter().filter(|g| !g.is_empty()).collect()
}

/// Whether `text` holds `name` as a word of its own (`0.0.0.0_80` is not in `0.0.0.0_8080`).
fn mentions(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(at, _)| {
        let inside = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '|');
        let before = text[..at].chars().next_back();
        let mut after = text[at + name.len()..].chars();
        // A dot continues a name only when a letter or a digit follows it; else it ends a sentence.
        let continued = match after.next() {
            Some('.') => after.next().is_some_and(inside),
            next => next.is_some_and(inside),
        };
        !before.is_some_and(|c| inside(c) || c == '.') && !continued
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> BTreeSet<Name> {
        list.iter().map(|n| Name::from(*n)).collect()
    }

    fn parts(list: &[&str], reason: &str) -> Vec<Vec<String>> {
        split(&names(list), reason).iter().map(|g| g.iter().map(ToString::to_string).collect()).collect()
    }

    #[test]
    fn halves_when_the_reason_names_nothing() {
        assert_eq!(parts(&["a", "b", "c", "d", "e"], "?"), [vec!["a", "b"], vec!["c", "d", "e"]]);
        assert_eq!(parts(&["a", "b"], ""), [vec!["a"], vec!["b"]]);
        assert_eq!(parts(&["a"], ""), [vec!["a"]]);
    }

    #[test]
    fn sets_apart_what_the_reason_names() {
        let reason = "Error adding/updating listener(s) 0.0.0.0_80: bad.";
        assert_eq!(
            parts(&["0.0.0.0_80", "0.0.0.0_8080", "virtual"], reason),
            [vec!["0.0.0.0_8080", "virtual"], vec!["0.0.0.0_80"]]
        );
        assert_eq!(parts(&["80", "0.0.0.0_80"], reason), [vec!["80"], vec!["0.0.0.0_80"]]);
        assert_eq!(parts(&["a", "b"], "a and b."), [vec!["a"], vec!["b"]]);
    }
}
