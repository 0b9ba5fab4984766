//! What goes wrong with configurations: told once for each reason, and tried again less and less often.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How soon something that failed is tried again for the first time.
const FIRST: Duration = Duration::from_secs(1);
/// How soon it is when it has failed often.
const LAST: Duration = Duration::from_secs(30);

/// By the names of configurations.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<HashMap<String, Trouble>>);

#[derive(Debug, Default)]
struct Trouble {
    reason: String,
    tries: u32,
}

impl Troubles {
    /// Something went wrong: after how long it is tried again, and whether that is news.
    pub(super) fn meet(&self, name: &str, reason: &str) -> (Duration, bool) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let trouble = all.entry(name.to_owned()).or_default();
        let is_new = trouble.reason != reason;
        reason.clone_into(&mut trouble.reason);
        let pause = FIRST * 2_u32.saturating_pow(trouble.tries.min(16));
        trouble.tries += 1;
        (pause.min(LAST), is_new)
    }

    /// All is well.
    pub(super) fn over(&self, name: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_news_once_and_pauses_grow() {
        let troubles = Troubles::default();
        let seconds = |name: &str, reason: &str| {
            let (pause, is_new) = troubles.meet(name, reason);
            (pause.as_secs(), is_new)
        };
        assert_eq!([seconds("a", "x"), seconds("a", "x"), seconds("a", "y")], [(1, true), (2, false), (4, true)]);
        assert_eq!(seconds("b", "x"), (1, true));
        for _ in 0..100 {
            seconds("a", "y");
        }
        assert_eq!(seconds("a", "y"), (30, false));
        troubles.over("a");
        assert_eq!(seconds("a", "y"), (1, true));
    }
}
