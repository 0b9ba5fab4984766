//! Those who are served do not wait for those who arrive.

use std::sync::Arc;

use futures::{
    executor::block_on,
    future::{maybe_done, poll_immediate},
};

use super::{
    objects::{address, mesh, object, slice},
    world::{sidecar, start},
};
use crate::{engine::Engine, reconcilers::intake::Reconcilers};

/// How many proxies arrive, each of a class of its own.
const HERD: usize = 200;

/// An engine with a mesh of 100 services.
fn meshed() -> (Engine, Reconcilers) {
    let (engine, reconcilers) = start(Box::new(|_| ()));
    let objects: Vec<_> = mesh(100).iter().map(|o| reconcilers.apply(o)).collect();
    let initial = reconcilers.initial();
    engine.change(move |db| {
        initial.apply(db);
        objects.into_iter().for_each(|o| o.apply(db));
    });
    (engine, reconcilers)
}

#[test]
fn a_change_reaches_those_who_are_served_before_a_whole_herd_has_arrived() {
    let (engine, reconcilers) = meshed();
    block_on(async {
        let mut served = engine.attach(Arc::new(sidecar("a", "ns1"))).await.expect("the engine runs");
        // Looked at again and again, also when it is in.
        let late = |n: usize| Box::pin(maybe_done(engine.attach(Arc::new(sidecar("late", &format!("herd{n}"))))));
        let mut herd: Vec<_> = (0..HERD).map(late).collect();
        // All of them knock; the first one is let in.
        for one in herd.iter_mut().rev() {
            poll_immediate(one).await;
        }
        (&mut herd[HERD - 1]).await;
        let change = reconcilers.apply(&object(slice(71, &[address(174, 71)])));
        engine.change(move |db| change.apply(db));
        served.snapshots.changed().await.expect("the engine runs");
        let mut waiting = 0;
        for one in &mut herd {
            waiting += usize::from(poll_immediate(one).await.is_none());
        }
        assert!(waiting > 0, "the change came after the whole herd");
    });
}

#[test]
fn who_leaves_before_it_is_let_in_leaves_nothing_behind() {
    let (engine, _) = meshed();
    block_on(async {
        let census = || async { engine.ask(|db| db.census()).await.expect("the engine runs") };
        // The first answer may come before the end of the round that makes all of it.
        census().await;
        let before = census().await;
        // The first one is let in and never takes it, the last ones are not let in yet.
        let knocks = |n: usize| Box::pin(maybe_done(engine.attach(Arc::new(sidecar("gone", &format!("gone{n}"))))));
        let mut herd: Vec<_> = (0..HERD).map(knocks).collect();
        for one in &mut herd {
            poll_immediate(one).await;
        }
        census().await;
        drop(herd);
        let mut after = census().await;
        for _ in 0..HERD {
            if after == before {
                return;
            }
            // A round at least.
            after = census().await;
        }
        assert_eq!(after, before);
    });
}
