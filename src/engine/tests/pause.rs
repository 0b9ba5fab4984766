//! How long those who read wait for the one who writes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::executor::block_on;
use tokio::sync::watch;

use super::{
    objects::{address, mesh, object, service, slice},
    world::{sidecar, start},
};
use crate::{engine::Report, snapshot::Snapshot};

/// Takes the newest snapshot of each proxy, over and over; the longest times that one of these took, the longest first.
fn read(mut all: Vec<watch::Receiver<Arc<Snapshot>>>, ends: &AtomicBool) -> (usize, Vec<Duration>) {
    let (mut looks, mut longest) = (0, Vec::new());
    while !ends.load(Ordering::Relaxed) {
        for receiver in &mut all {
            let start = Instant::now();
            let snapshot = Arc::clone(&receiver.borrow_and_update());
            let took = start.elapsed();
            drop(snapshot);
            looks += 1;
            longest.push(took);
            if longest.len() == 1_000 {
                longest.sort_unstable_by(|a, b| b.cmp(a));
                longest.truncate(10);
            }
        }
        std::thread::yield_now();
    }
    longest.sort_unstable_by(|a, b| b.cmp(a));
    longest.truncate(10);
    (looks, longest)
}

#[test]
#[ignore = "a measurement: run it alone, optimized"]
fn readers_do_not_wait_for_the_writer() {
    const SERVICES: usize = 10_000;
    let (rounds, ended) = std::sync::mpsc::channel();
    let observer = Box::new(move |_: &Report<'_>| {
        // The test may have ended.
        let _ = rounds.send(());
    });
    let (engine, reconcilers) = start(observer);
    let objects: Vec<_> = mesh(SERVICES).iter().map(|o| reconcilers.apply(o)).collect();
    let initial = reconcilers.initial();
    engine.change(move |db| {
        initial.apply(db);
        objects.into_iter().for_each(|o| o.apply(db));
    });
    let attach = |n: usize| {
        let proxy = Arc::new(sidecar(&format!("app-{n}"), &format!("ns{}", n % 10)));
        block_on(engine.attach(proxy)).expect("the engine runs").1
    };
    let receivers: Vec<_> = (0..100).map(attach).collect();
    let ends = AtomicBool::new(false);
    // The rounds so far; those who are let in are told before their round ends.
    while ended.recv_timeout(Duration::from_secs(1)).is_ok() {}
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(receivers, &ends));
        let mut longest = Duration::ZERO;
        for n in 0..200 {
            let change = match n % 10 {
                0 => reconcilers.apply(&object(service(60_070 + n))),
                _ => reconcilers.apply(&object(slice(70 + n, &[address(174, n)]))),
            };
            let start = Instant::now();
            engine.change(move |db| change.apply(db));
            ended.recv_timeout(Duration::from_secs(300)).expect("a round");
            longest = longest.max(start.elapsed());
        }
        ends.store(true, Ordering::Relaxed);
        let (looks, waits) = reader.join().expect("no panic");
        println!("{looks} looks; the longest took {waits:?}; the longest round took {longest:?}");
        // A reader may lose its core once in a while; it never waits for a round.
        assert!(waits.get(3).is_none_or(|wait| *wait < Duration::from_millis(1)), "{waits:?}");
    });
}
