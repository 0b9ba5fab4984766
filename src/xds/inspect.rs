//! What debug surfaces and metrics see of a stream's state.

use super::{Machine, Status};
use crate::snapshot::{Generation, ResourceType};

impl Machine {
    /// The generation of the snapshot.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.snapshot.generation
    }

    /// The status of a type, `None` when the client does not watch it.
    #[must_use]
    pub fn status(&self, t: ResourceType) -> Option<&Status> {
        self.watches[t].as_ref().map(|w| &w.status)
    }

    /// How many names the client asked for, and whether it asked for everything.
    #[must_use]
    pub fn subscription(&self, t: ResourceType) -> Option<(usize, bool)> {
        self.watches[t].as_ref().map(|w| (w.names.len(), w.wildcard))
    }

    /// How many resources of a type are gone but not taken from the client yet.
    #[must_use]
    pub fn held_removals(&self, t: ResourceType) -> usize {
        let Some(watch) = &self.watches[t] else { return 0 };
        let view = &self.snapshot.views[t];
        watch.lagging.iter().filter(|(name, lag)| !lag.have.is_nothing() && view.get(name).is_none()).count()
    }

    /// How many resources of a type the client refuses and is not sent again.
    #[must_use]
    pub fn quarantined(&self, t: ResourceType) -> usize {
        self.watches[t].as_ref().map_or(0, |watch| watch.refused.len())
    }
}
