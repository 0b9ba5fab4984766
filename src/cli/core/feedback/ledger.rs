//! Who refuses what, and which problems of objects that makes. No I/O.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
};

use crate::{
    model::{Code, ObjectRef, Problem},
    snapshot::{Generation, Name, ResourceType, Version},
};

/// At most so many objects of a refused resource get a problem: what is made of more, such as all routes of a port,
/// tells nothing about one of them.
const MOST_BLAMED: usize = 16;

/// A reason is Envoy's and may repeat a whole message.
const LONGEST_REASON: usize = 1000;

/// An object that a resource is made of, and the generation of its last change.
pub(super) type Origin = (ObjectRef, Generation);

/// A refused version of a resource.
pub(super) type RefusedVersion = (ResourceType, Name, Version);

/// A resource of a connection.
pub(super) type Place = (Arc<str>, ResourceType, Name);

/// That a proxy refuses a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) version: Version,
    /// The last generation in which the proxy had what its snapshot said; 0 when it is not known.
    pub(super) since: Generation,
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

/// What is known of a refused version.
#[derive(Debug)]
struct Refused {
    objects: Arc<[Origin]>,
    /// How many connections refuse it.
    by: usize,
    /// Why.
    reason: Arc<str>,
}

/// The refusals that stand.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    standing: BTreeMap<Place, Refusal>,
    versions: BTreeMap<RefusedVersion, Refused>,
    /// Who refuses for which problem.
    problems: BTreeMap<Problem, BTreeMap<Place, Arc<str>>>,
}

impl Ledger {
    /// The objects of a version that is refused already: finding them again would give the same.
    pub(super) fn objects(&self, version: &RefusedVersion) -> Option<Arc<[Origin]>> {
        self.versions.get(version).map(|refused| refused.objects.clone())
    }

    /// The objects of a refused version of which a proxy has not what they say now, if it had what it should have in
    /// generation `since` last; and why the version is refused. `None` when nothing is known of it.
    pub(super) fn lacking(
        &self,
        version: &RefusedVersion,
        since: Generation,
    ) -> Option<(BTreeSet<ObjectRef>, Arc<str>)> {
        let Refused { objects, reason, .. } = self.versions.get(version)?;
        Some((changed(objects, since).map(|(object, _)| object.clone()).collect(), reason.clone()))
    }

    /// A connection refuses a resource that is made of these objects.
    pub(super) fn refuse(&mut self, place: Place, refusal: Refusal, objects: Arc<[Origin]>) -> Changed {
        let mut changed = self.withdraw(&place);
        let (_, t, name) = &place;
        for problem in problems(*t, name, &refusal, &objects) {
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
        let version = (*t, name.clone(), refusal.version);
        self.versions.entry(version).or_insert(Refused { objects, by: 0, reason: refusal.reason.clone() }).by += 1;
        self.standing.insert(place, refusal);
        changed
    }

    /// A connection no longer refuses a resource.
    pub(super) fn withdraw(&mut self, place: &Place) -> Changed {
        let Some(refusal) = self.standing.remove(place) else { return Changed::default() };
        let (_, t, name) = place;
        let mut changed = Changed::default();
        if let Entry::Occupied(mut version) = self.versions.entry((*t, name.clone(), refusal.version)) {
            for problem in problems(*t, name, &refusal, &version.get().objects) {
                let Some(by) = self.problems.get_mut(&problem) else { continue };
                by.remove(place);
                if by.is_empty() {
                    self.problems.remove(&problem);
                    changed.vanished.push(problem);
                }
            }
            version.get_mut().by -= 1;
            if version.get().by == 0 {
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
fn problems(t: ResourceType, name: &str, refusal: &Refusal, objects: &[Origin]) -> Vec<Problem> {
    let reason = &refusal.reason;
    let end = reason.char_indices().nth(LONGEST_REASON).map_or(reason.len(), |(at, _)| at);
    let reason = format!("Envoy refuses the {} {name:?}, which is made of it: {}", noun(t), &reason[..end]);
    blamed(objects, refusal.since)
        .map(|object| Problem {
            object: object.clone(),
            field: String::new(),
            reason: reason.clone(),
            code: Code::RefusedByEnvoy,
        })
        .collect()
}

/// What changed since the proxy had what it should have; and of that, EnvoyFilters before others: what they insert is
/// configuration that Envoy alone can judge, while what other objects say is checked when it is translated.
fn blamed(objects: &[Origin], since: Generation) -> impl Iterator<Item = &ObjectRef> {
    let any_filter = changed(objects, since).any(|(object, _)| object.kind == "EnvoyFilter");
    let suspects = changed(objects, since).map(|(object, _)| object);
    suspects.filter(move |object| !any_filter || object.kind == "EnvoyFilter").take(MOST_BLAMED)
}

/// What changed after a generation; all of it when nothing did, as then something is gone.
fn changed(objects: &[Origin], since: Generation) -> impl Iterator<Item = &Origin> {
    let any_changed = objects.iter().any(|(_, changed)| *changed > since);
    objects.iter().filter(move |(_, changed)| !any_changed || *changed > since)
}

fn noun(t: ResourceType) -> &'static str {
    match t {
        ResourceType::Cluster => "cluster",
        ResourceType::Endpoint => "endpoints",
        ResourceType::Listener => "listener",
        ResourceType::Route => "route configuration",
        ResourceType::VirtualHost => "virtual host",
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
        Refusal { version: Version(version), since: 0, proxy: "gw.ns".into(), reason: reason.into() }
    }

    /// All of generation 1.
    fn objects(list: &[(&'static str, &str)]) -> Arc<[Origin]> {
        list.iter().map(|(kind, name)| (ObjectRef::new(kind, "ns", name), 1)).collect()
    }

    fn lines(problems: &[Problem]) -> Vec<String> {
        problems.iter().map(ToString::to_string).collect()
    }

    const MADE_OF_GATEWAY: &str =
        "Gateway ns/g: Envoy refuses the listener \"0.0.0.0_80\", which is made of it: no such filter [MZ0015]";

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
    fn what_changed_is_blamed_and_envoy_filters_before_others() {
        let origin = |kind, name, changed| (ObjectRef::new(kind, "ns", name), changed);
        let all = [origin("EnvoyFilter", "e", 3), origin("EnvoyFilter", "f", 5), origin("Gateway", "g", 6)];
        let names = |since| blamed(&all, since).map(|o| o.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(0), ["e", "f"], "nothing is known of what the proxy has");
        assert_eq!(names(4), ["f"]);
        assert_eq!(names(5), ["g"], "the filter was taken before the Gateway changed");
        assert_eq!(names(6), ["e", "f"], "an object is gone, and the rest does not fit");
        assert_eq!(blamed(&all[2..], 0).count(), 1);
    }

    #[test]
    fn few_of_many_are_blamed_and_reasons_end() {
        let many: Vec<Origin> = (0..100).map(|n| (ObjectRef::new("Service", "ns", &n.to_string()), 1)).collect();
        let made = problems(ResourceType::Route, "80", &refusal(1, &"é".repeat(5000)), &many);
        assert_eq!(made.len(), MOST_BLAMED);
        assert!(made[0].reason.chars().count() < LONGEST_REASON + 100);
    }
}
