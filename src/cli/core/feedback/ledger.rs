//! Who refuses what, and which problems of objects that makes. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use crate::{
    model::{ObjectRef, Problem},
    snapshot::{Name, ResourceType, Version},
};

/// At most so many objects of a refused resource get a problem: what is made of more, such as all routes of a port,
/// tells nothing about one of them.
const MOST_BLAMED: usize = 16;

/// A reason is Envoy's and may repeat a whole message.
const LONGEST_REASON: usize = 1000;

/// A refused version of a resource.
pub(super) type RefusedVersion = (ResourceType, Name, Version);

/// A resource of a connection.
pub(super) type Place = (Arc<str>, ResourceType, Name);

/// That a proxy refuses a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) version: Version,
    /// The proxy's id.
    pub(super) proxy: Arc<str>,
    /// Envoy's reason.
    pub(super) reason: Arc<str>,
}

/// What a verdict changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// The refusal that no longer stands.
    pub(super) refusal: Option<Refusal>,
    pub(super) appeared: Vec<Problem>,
    pub(super) vanished: Vec<Problem>,
}

/// The refusals that stand.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    standing: BTreeMap<Place, Refusal>,
    /// The objects of each refused version, and how many connections refuse it.
    versions: BTreeMap<RefusedVersion, (Arc<[ObjectRef]>, usize)>,
    /// Who refuses for which problem.
    problems: BTreeMap<Problem, BTreeMap<Place, Arc<str>>>,
}

impl Ledger {
    /// The objects of a version that is refused already: finding them again would give the same.
    pub(super) fn objects(&self, version: &RefusedVersion) -> Option<Arc<[ObjectRef]>> {
        self.versions.get(version).map(|(objects, _)| objects.clone())
    }

    /// A connection refuses a resource that is made of these objects.
    pub(super) fn refuse(&mut self, place: Place, refusal: Refusal, objects: Arc<[ObjectRef]>) -> Changed {
        let mut changed = self.withdraw(&place);
        let (_, t, name) = &place;
        for problem in problems(*t, name, &refusal.reason, &objects) {
            match self.problems.entry(problem) {
                Entry::Occupied(mut entry) => _ = entry.get_mut().insert(place.clone(), refusal.proxy.clone()),
                Entry::Vacant(entry) => {
                    let problem = entry.key().clone();
                    entry.insert([(place.clone(), refusal.proxy.clone())].into());
                    match changed.vanished.iter().position(|p| *p == problem) {
                        Some(at) => _ = changed.vanished.swap_remove(at),
                        None => changed.appeared.push(problem),
                    }
                }
            }
        }
        self.versions.entry((*t, name.clone(), refusal.version)).or_insert((objects, 0)).1 += 1;
        self.standing.insert(place, refusal);
        changed
    }

    /// A connection no longer refuses a resource.
    pub(super) fn withdraw(&mut self, place: &Place) -> Changed {
        let Some(refusal) = self.standing.remove(place) else { return Changed::default() };
        let (_, t, name) = place;
        let mut changed = Changed::default();
        if let Entry::Occupied(mut version) = self.versions.entry((*t, name.clone(), refusal.version)) {
            for problem in problems(*t, name, &refusal.reason, &version.get().0) {
                let Some(by) = self.problems.get_mut(&problem) else { continue };
                by.remove(place);
                if by.is_empty() {
                    self.problems.remove(&problem);
                    changed.vanished.push(problem);
                }
            }
            version.get_mut().1 -= 1;
            if version.get().1 == 0 {
                version.remove();
            }
        }
        changed.refusal = Some(refusal);
        changed
    }

    /// The problems that exist, each with the proxies that refuse.
    pub(super) fn problems(&self) -> BTreeMap<Problem, Vec<String>> {
        let proxies = |by: &BTreeMap<Place, Arc<str>>| {
            let distinct: BTreeSet<&str> = by.values().map(AsRef::as_ref).collect();
            distinct.into_iter().map(str::to_owned).collect()
        };
        self.problems.iter().map(|(problem, by)| (problem.clone(), proxies(by))).collect()
    }
}

/// One problem per object to blame.
fn problems(t: ResourceType, name: &str, reason: &str, objects: &[ObjectRef]) -> Vec<Problem> {
    let end = reason.char_indices().nth(LONGEST_REASON).map_or(reason.len(), |(at, _)| at);
    let reason = format!("Envoy refuses the {} {name:?}, which is made of it: {}", noun(t), &reason[..end]);
    blamed(objects)
        .map(|object| Problem { object: object.clone(), field: String::new(), reason: reason.clone() })
        .collect()
}

/// What EnvoyFilters insert is configuration that Envoy alone can judge, while what other objects say is checked when
/// it is translated: where there are any, it is them.
fn blamed(objects: &[ObjectRef]) -> impl Iterator<Item = &ObjectRef> {
    let is_filter = |object: &&ObjectRef| object.kind == "EnvoyFilter";
    let any = objects.iter().any(|object| is_filter(&object));
    objects.iter().filter(move |object| !any || is_filter(object)).take(MOST_BLAMED)
}

fn noun(t: ResourceType) -> &'static str {
    match t {
        ResourceType::Cluster => "cluster",
        ResourceType::Endpoint => "endpoints",
        ResourceType::Listener => "listener",
        ResourceType::Route => "route configuration",
        ResourceType::Secret => "secret",
        ResourceType::ExtensionConfig => "extension configuration",
        ResourceType::NameTable => "name table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(connection: &str) -> Place {
        (connection.into(), ResourceType::Listener, "0.0.0.0_80".into())
    }

    fn refusal(version: u128, reason: &str) -> Refusal {
        Refusal { version: Version(version), proxy: "gw.ns".into(), reason: reason.into() }
    }

    fn objects(list: &[(&'static str, &str)]) -> Arc<[ObjectRef]> {
        list.iter().map(|(kind, name)| ObjectRef::new(kind, "ns", name)).collect()
    }

    fn lines(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(ToString::to_string).collect()
    }

    const MADE_OF_GATEWAY: &str =
        "Gateway ns/g: Envoy refuses the listener \"0.0.0.0_80\", which is made of it: no such filter";

    #[test]
    fn a_problem_stands_as_long_as_any_connection_refuses() {
        let mut ledger = Ledger::default();
        let of = objects(&[("Gateway", "g")]);
        let first = ledger.refuse(place("gw.ns-1"), refusal(1, "no such filter"), of.clone());
        assert_eq!(lines(&first.appeared), [MADE_OF_GATEWAY]);
        let key = (ResourceType::Listener, "0.0.0.0_80".into(), Version(1));
        assert_eq!(ledger.objects(&key), Some(of.clone()));
        assert_eq!(ledger.refuse(place("gw.ns-2"), refusal(1, "no such filter"), of), Changed::default());
        assert_eq!(ledger.problems().into_values().collect::<Vec<_>>(), [["gw.ns"]]);
        assert!(ledger.withdraw(&place("gw.ns-1")).vanished.is_empty());
        assert_eq!(lines(&ledger.withdraw(&place("gw.ns-2")).vanished), [MADE_OF_GATEWAY]);
        assert_eq!(ledger.withdraw(&place("gw.ns-2")), Changed::default());
        assert!(ledger.standing.is_empty() && ledger.versions.is_empty() && ledger.problems.is_empty());
    }

    #[test]
    fn another_refused_version_takes_the_place_of_the_first() {
        let mut ledger = Ledger::default();
        let of = objects(&[("Gateway", "g")]);
        ledger.refuse(place("c"), refusal(1, "no such filter"), of.clone());
        let same = ledger.refuse(place("c"), refusal(2, "no such filter"), of.clone());
        assert_eq!((same.appeared.len(), same.vanished.len()), (0, 0), "what is said of the object is the same");
        assert_eq!(same.refusal, Some(refusal(1, "no such filter")));
        let other = ledger.refuse(place("c"), refusal(3, "worse"), of);
        assert_eq!((other.appeared.len(), lines(&other.vanished)), (1, vec![MADE_OF_GATEWAY.to_owned()]));
        assert_eq!(ledger.versions.len(), 1);
    }

    #[test]
    fn envoy_filters_are_blamed_before_others_and_few_of_many() {
        let of = objects(&[("EnvoyFilter", "f"), ("Gateway", "g")]);
        let made = problems(ResourceType::Listener, "l", "bad", &of);
        assert_eq!(lines(&made), ["EnvoyFilter ns/f: Envoy refuses the listener \"l\", which is made of it: bad"]);
        let many: Vec<ObjectRef> = (0..100).map(|n| ObjectRef::new("Service", "ns", &n.to_string())).collect();
        assert_eq!(problems(ResourceType::Route, "80", &"é".repeat(5000), &many).len(), MOST_BLAMED);
    }
}
