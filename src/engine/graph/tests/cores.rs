//! Several cores: they work at the same time, and nothing that comes out tells how many there were.

use std::{
    sync::{Condvar, Mutex},
    time::Duration,
};

use super::*;

/// Who waits for another evaluation: how many have come.
static MEETING: (Mutex<u32>, Condvar) = (Mutex::new(0), Condvar::new());

/// Long enough for a thread to start on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Those that met another one, or (`false`) did not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Met(bool);
impl Set for Met {
    type Elem = u32;
    const STAGE: u8 = 2;
}

/// Ends when a second evaluation has begun.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Meets(u32);
impl Emit for Meets {
    type Into = Met;
    const STAGE: u8 = 1;
    fn run(&self, _: &mut Cx<'_, Emission<Self>>) -> Vec<(Met, u32)> {
        let (come, comes) = &MEETING;
        let mut come = come.lock().expect("no panic");
        *come += 1;
        comes.notify_all();
        let (come, _) = comes.wait_timeout_while(come, PATIENCE, |come| *come < 2).expect("no panic");
        vec![(Met(*come >= 2), self.0)]
    }
}

#[test]
fn nodes_of_a_stage_are_evaluated_at_the_same_time() {
    let mut db = Db::on_cores(2);
    db.emit_for_input::<Endpoints, Meets>(|key| Meets(key.0));
    fill(&mut db, 64);
    assert!(!db.is_empty(&Met(true)), "all were evaluated");
    assert!(db.is_empty(&Met(false)), "the first one was alone until it ended");
}

/// What a graph of so many cores has after each round, and what that cost.
fn history(cores: usize) -> Vec<(Vec<Vec<String>>, Stats, usize, usize)> {
    let mut db = db_on(cores);
    fill(&mut db, 300);
    let watched: Vec<_> = (0..4).map(|class| db.watch(&Class(class)).0).collect();
    let mut random = 1_u32;
    let mut history = Vec::new();
    for _ in 0..12 {
        for _ in 0..200 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (service, what) = (random >> 8 & 0x1ff, random >> 24);
            match what % 4 {
                0 => db.set_input(&Private(service), (what < 128).then_some(what % 5)),
                1 => db.set_input(&Endpoints(service), None),
                _ => db.set_input(&Endpoints(service), Some(vec![what % 7, service])),
            }
        }
        let round = db.settle();
        let content = watched.iter().map(|w| db.value::<Class>(*w).0.iter().flat_map(|p| bodies(&p.map)).collect());
        let content = content.collect();
        history.push((content, db.stats(), round.appeared.len(), round.watched.len()));
    }
    history
}

#[test]
fn the_number_of_cores_changes_neither_results_nor_the_work() {
    let alone = history(1);
    for cores in [2, 5] {
        assert!(history(cores) == alone, "{cores} cores differ from one");
    }
}
