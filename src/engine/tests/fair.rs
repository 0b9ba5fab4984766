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

/// How many proxies arrive, each of a class of its own.
const HERD: usize = 200;

#[test]
fn a_change_reaches_those_who_are_served_before_a_whole_herd_has_arrived() {
    let (engine, reconcilers) = start(Box::new(|_| ()));
    let objects: Vec<_> = mesh(100).iter().map(|o| reconcilers.apply(o)).collect();
    let initial = reconcilers.initial();
    engine.change(move |db| {
        initial.apply(db);
        objects.into_iter().for_each(|o| o.apply(db));
    });
    block_on(async {
        let (_, mut served) = engine.attach(Arc::new(sidecar("a", "ns1"))).await.expect("the engine runs");
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
        served.changed().await.expect("the engine runs");
        let mut waiting = 0;
        for one in &mut herd {
            waiting += usize::from(poll_immediate(one).await.is_none());
        }
        assert!(waiting > 0, "the change came after the whole herd");
    });
}
