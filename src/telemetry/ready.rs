//! Readiness: the process is ready when every named guard was released.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Which parts of the process are not ready, and why. Clones share the state.
#[derive(Clone, Default)]
pub struct Readiness {
    waiting: Arc<Mutex<BTreeMap<String, String>>>,
}

/// A part that is not ready. Dropping it without [`Guard::release`] leaves the process not ready.
pub struct Guard {
    name: String,
    readiness: Readiness,
}

impl Readiness {
    /// Names a part that must become ready.
    #[must_use]
    pub fn guard(&self, name: &str) -> Guard {
        self.with(|waiting| waiting.insert(name.to_owned(), String::new()));
        Guard { name: name.to_owned(), readiness: self.clone() }
    }

    /// Whether every part is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.with(|waiting| waiting.is_empty())
    }

    /// The parts that are not, each with the reason if there is one.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<String> {
        let line = |(name, reason): (&String, &String)| match reason.as_str() {
            "" => name.clone(),
            reason => format!("{name}: {reason}"),
        };
        self.with(|waiting| waiting.iter().map(line).collect())
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeMap<String, String>) -> T) -> T {
        f(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Guard {
    /// Says why it is not ready. What was released stays ready.
    pub fn because(&self, reason: &str) {
        self.readiness.with(|waiting| {
            if let Some(known) = waiting.get_mut(&self.name) {
                reason.clone_into(known);
            }
        });
    }

    /// The part is ready, for good.
    pub fn release(&self) {
        self.readiness.with(|waiting| waiting.remove(&self.name));
    }

    /// Whether the part is ready.
    #[must_use]
    pub fn is_released(&self) -> bool {
        self.readiness.with(|waiting| !waiting.contains_key(&self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_every_guard_was_released() {
        let readiness = Readiness::default();
        assert!(readiness.is_ready());
        let (pods, nodes) = (readiness.guard("pods"), readiness.guard("nodes"));
        nodes.because("forbidden");
        pods.release();
        assert_eq!(readiness.waiting_for(), ["nodes: forbidden"]);
        drop(nodes);
        assert!(!readiness.is_ready());
    }
}
