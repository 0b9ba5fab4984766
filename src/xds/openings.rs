//! First answers: what proxies are sent when they connect is the same for all who see the same of a type, thousands of
//! resources, and made once. (Classes differ in less than they share: of clusters and listeners each workload has its own,
//! of assignments and virtual hosts hardly any.)
//!
//! When all proxies connect at once, each would else hold lists of its own until it has acknowledged what they name.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    batch::Batch,
    subscription::{Lag, Lagging},
};
use crate::snapshot::{Name, PartId, ResourceType, View};

/// A view is known by its parts: of their states the newest that was asked for is kept.
type Key = (ResourceType, Box<[PartId]>);

#[derive(Debug)]
struct Opening {
    view: View,
    /// The names in the order in which they were found, and whether the client asked for each by name.
    asked: Vec<(Name, bool)>,
    batch: Arc<Batch>,
    /// Since the last sweep.
    used: AtomicBool,
}

impl Opening {
    fn is_for(&self, view: &View, owed: &[(Name, Lag)]) -> bool {
        let same = |((a, forced), (b, lag)): (&(Name, bool), &(Name, Lag))| Arc::ptr_eq(a, b) && *forced == lag.forced;
        self.view.same_as(view) && self.asked.len() == owed.len() && self.asked.iter().zip(owed).all(same)
    }
}

/// The last answer of each type that clients without anything were given of a view.
#[derive(Debug, Default)]
pub struct Openings(Mutex<HashMap<Key, Arc<Opening>>>);

impl Openings {
    /// What a client without anything lags behind by, which asks for these names.
    pub(super) fn lagging(&self, t: ResourceType, view: &View, owed: Vec<(Name, Lag)>) -> Lagging {
        // Each client has secrets of its own, and may not have all of them.
        if owed.is_empty() || t == ResourceType::Secret {
            return owed.into_iter().collect();
        }
        let key = (t, view.parts().collect());
        let known = self.all().get(&key).cloned();
        if let Some(opening) = known.filter(|opening| opening.is_for(view, &owed)) {
            opening.used.store(true, Ordering::Relaxed);
            return Arc::clone(&opening.batch).into();
        }
        let asked = owed.iter().map(|(name, lag)| (Arc::clone(name), lag.forced)).collect();
        let owed: BTreeMap<_, _> = owed.into_iter().collect();
        let Some(batch) = Batch::of_all(&owed, view).map(Arc::new) else {
            return owed.into_iter().collect();
        };
        let used = AtomicBool::new(true);
        let opening = Opening { view: view.clone(), asked, batch: Arc::clone(&batch), used };
        self.all().insert(key, opening.into());
        batch.into()
    }

    /// Forgets what nobody was given since the last call. To be called now and then.
    pub(super) fn sweep(&self) {
        let mut all = self.all();
        all.retain(|_, opening| opening.used.swap(false, Ordering::Relaxed));
        all.shrink_to_fit();
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Arc<Opening>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

    use super::*;
    use crate::{
        snapshot::Snapshot,
        xds::{
            Machine, Protocol, Response,
            testing::{Script, give, snapshot},
        },
    };

    const CONTENT: &str = "cds a@1 eds=a | cds b@1 eds=b | eds a@1 | eds b@1 | eds c@1";

    /// A client that asks for names of a type, or for everything.
    fn client(openings: &Arc<Openings>, snapshot: &Arc<Snapshot>, t: ResourceType, names: &[&str]) -> Machine {
        let mut machine = Script::new(Protocol::Delta).machine;
        machine.openings = Arc::clone(openings);
        machine.set_snapshot(snapshot);
        let resource_names_subscribe = names.iter().map(ToString::to_string).collect();
        let request = DeltaDiscoveryRequest { resource_names_subscribe, ..DeltaDiscoveryRequest::default() };
        give(&mut machine, t, &request, Instant::now());
        machine
    }

    fn answer(machine: &mut Machine) -> Response {
        machine.next_response(Instant::now()).expect("a response")
    }

    fn said(response: &Response) -> String {
        let resources = response.resources.iter().map(|r| r.name.to_string());
        resources.chain(response.removed.iter().map(|n| format!("-{n}"))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_those_are_sent_who_connect_is_one_in_memory_and_is_forgotten() {
        let (openings, snapshot) = (Arc::<Openings>::default(), Arc::new(snapshot(CONTENT)));
        for (t, names, expected) in
            [(ResourceType::Cluster, &[][..], "a b"), (ResourceType::Endpoint, &["a", "b", "c"], "a b c")]
        {
            let [one, other] = [0, 1].map(|_| answer(&mut client(&openings, &snapshot, t, names)));
            assert_eq!(said(&one), expected);
            assert!(Arc::ptr_eq(&one.resources, &other.resources), "{expected}");
        }
        openings.sweep();
        assert_eq!(openings.all().len(), 2, "they were given out since");
        openings.sweep();
        assert!(openings.all().is_empty());
    }

    #[test]
    fn classes_that_see_the_same_of_a_type_share_its_answer() {
        let (openings, one) = (Arc::<Openings>::default(), snapshot(CONTENT));
        let mut views = one.views.clone();
        views[ResourceType::Cluster] = snapshot("cds a@2 eds=a").views[ResourceType::Cluster].clone();
        let classes = [one, Snapshot::new(7, views)].map(Arc::new);
        for (t, names, shared) in
            [(ResourceType::Cluster, &[][..], false), (ResourceType::Endpoint, &["a", "b", "c"], true)]
        {
            let [one, other] = classes.each_ref().map(|class| answer(&mut client(&openings, class, t, names)));
            assert_eq!(Arc::ptr_eq(&one.resources, &other.resources), shared, "{t:?}");
        }
    }

    #[test]
    fn each_is_sent_what_it_asks_for() {
        let (openings, snapshot) = (Arc::<Openings>::default(), Arc::new(snapshot(CONTENT)));
        let names: [&[&str]; 5] = [&["a", "b"], &["b", "c"], &["b"], &["b", "gone"], &["a", "b"]];
        let answers =
            names.map(|names| said(&answer(&mut client(&openings, &snapshot, ResourceType::Endpoint, names))));
        assert_eq!(answers, ["a b", "b c", "b", "b -gone", "a b"]);
    }

    #[test]
    fn what_changed_before_the_answer_counts() {
        let (openings, old) = (Arc::<Openings>::default(), Arc::new(snapshot(CONTENT)));
        let names = &["a", "b", "c"];
        answer(&mut client(&openings, &old, ResourceType::Endpoint, names));
        let mut late = client(&openings, &old, ResourceType::Endpoint, names);
        let new = Arc::new(Snapshot::new(1, snapshot("eds a@1 | eds b@2").views));
        late.set_snapshot(&new);
        let response = answer(&mut late);
        assert_eq!(said(&response), "a b -c");
        assert_eq!(response.resources[1].version, new.views[ResourceType::Endpoint].get("b").expect("it is").version);
    }
}
