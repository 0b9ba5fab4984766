//! How long those who read wait for the one who writes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::executor::block_on;

use super::{
    objects::{address, mesh, object, slice},
    world::{sidecar, start},
};
use crate::engine::{Attached, Report};

/// How many services change in a round, so that it takes some milliseconds.
const CHANGES: usize = 100;

const ROUNDS: usize = 40;

/// Long enough to be seen, were it waited for.
const LONG: Duration = Duration::from_millis(2);

/// How often this thread has waited for something, not counting that others had its core.
fn waits() -> usize {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("a thread has a status");
    let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")).expect("it is counted");
    count.trim().parse().expect("a number")
}

/// Takes the newest snapshot of each proxy, over and over: how often, how often that waited, and how long it took at most.
fn read(mut all: Vec<Attached>, ends: &AtomicBool) -> (usize, usize, Duration) {
    let (mut looks, mut longest, before) = (0, Duration::ZERO, waits());
    while !ends.load(Ordering::Relaxed) {
        for proxy in &mut all {
            let start = Instant::now();
            drop(Arc::clone(&proxy.snapshots.borrow_and_update()));
            longest = longest.max(start.elapsed());
            looks += 1;
        }
        std::thread::yield_now();
    }
    (looks, waits() - before, longest)
}

#[test]
fn readers_do_not_wait_for_the_writer() {
    let (rounds, ended) = std::sync::mpsc::channel();
    let observer = Box::new(move |_: &Report<'_>| {
        // The test may have ended.
        let _ = rounds.send(());
    });
    let (engine, reconcilers) = start(observer);
    let objects: Vec<_> = mesh(1_000).iter().map(|o| reconcilers.apply(o)).collect();
    let initial = reconcilers.initial();
    engine.change(move |db| {
        initial.apply(db);
        objects.into_iter().for_each(|o| o.apply(db));
    });
    let attach = |n: usize| {
        let proxy = Arc::new(sidecar(&format!("app-{n}"), &format!("ns{}", n % 10)));
        block_on(engine.attach(proxy)).expect("the engine runs")
    };
    let proxies: Vec<_> = (0..100).map(attach).collect();
    // Those who are let in are told before their round ends: the last of these rounds ends before the answer.
    block_on(engine.ask(|_| ())).expect("the engine runs");
    let ends = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(proxies, &ends));
        let mut long = 0;
        for round in 0..ROUNDS {
            let slices = (0..CHANGES).map(|n| reconcilers.apply(&object(slice(n, &[address(174, n + round)]))));
            let changes: Vec<_> = slices.collect();
            while ended.try_recv().is_ok() {}
            let start = Instant::now();
            engine.change(move |db| changes.into_iter().for_each(|c| c.apply(db)));
            ended.recv_timeout(Duration::from_secs(300)).expect("a round");
            long += usize::from(start.elapsed() > LONG);
        }
        ends.store(true, Ordering::Relaxed);
        let (looks, waits, longest) = reader.join().expect("no panic");
        println!(
            "{looks} looks, of which {waits} waited; the longest took {longest:?}; {long} of {ROUNDS} rounds were long"
        );
        assert!(long > ROUNDS / 2, "{long} rounds were long enough to tell");
        assert!(waits < ROUNDS / 4, "{waits} of {looks} looks waited for one of {ROUNDS} rounds");
    });
}
