use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    snapshot::Snapshot,
    xds::{
        Protocol,
        testing::{Script, resource, snapshot},
    },
};

const T: ResourceType = ResourceType::Listener;

fn made(text: &str) -> Arc<Resource> {
    Arc::new(resource(T, text))
}

fn identity(n: u8) -> Arc<str> {
    format!("spiffe://td/ns/n/sa/{n}").into()
}

#[test]
fn two_identities_condemn_and_any_proxy_acquits() {
    let (good, bad) = (made("l@1"), made("l@2"));
    let mut all = LastGood::default();
    assert_eq!(all.refuse(T, &bad, Some(&good), &identity(1)), Refusal::First);
    assert_eq!(all.refuse(T, &bad, Some(&good), &identity(1)), Refusal::Known);
    assert!(all.stand_in(T, &bad).is_none(), "one identity alone");
    assert_eq!(all.refuse(T, &bad, None, &identity(2)), Refusal::Another);
    assert_eq!(all.stand_in(T, &bad), Some(&good));
    assert_eq!(all.refuse(T, &bad, Some(&good), &identity(3)), Refusal::Known);
    assert!(all.stand_in(T, &good).is_none() && all.stand_in(T, &made("l@3")).is_none());
    assert!(all.accept(T, &bad.name, bad.version));
    assert!(all.stand_in(T, &bad).is_none() && !all.is_on_trial(T, &bad.name, bad.version));
    assert_eq!(all.refuse(T, &bad, Some(&good), &identity(4)), Refusal::Known);
    assert_eq!(Arc::strong_count(&good), 1, "what nobody needs is not kept");
}

#[test]
fn equal_resources_of_other_classes_have_their_own_past() {
    let (bad, equal, other) = (made("l@2"), made("l@2"), made("l@0"));
    let mut all = LastGood::default();
    all.refuse(T, &bad, Some(&made("l@1")), &identity(1));
    all.refuse(T, &bad, None, &identity(2));
    assert!(all.stand_in(T, &equal).is_none());
    assert_eq!(all.refuse(T, &equal, Some(&other), &identity(3)), Refusal::Another);
    assert_eq!(all.stand_in(T, &equal), Some(&other));
}

#[test]
fn secrets_are_never_stood_in_for() {
    let (good, bad) = (made("l@1"), made("l@2"));
    let mut all = LastGood::default();
    for n in 0..3 {
        assert_eq!(all.refuse(ResourceType::Secret, &bad, Some(&good), &identity(n)), Refusal::Known);
    }
    assert!(all.stand_in(ResourceType::Secret, &bad).is_none());
}

#[test]
fn what_is_gone_is_forgotten() {
    let (good, bad) = (made("l@1"), made("l@2"));
    let mut all = LastGood::default();
    all.refuse(T, &bad, Some(&good), &identity(1));
    assert!(!all.forget_gone());
    drop(bad);
    assert!(all.forget_gone());
    assert!(all.trials.is_empty() && Arc::strong_count(&good) == 1);
}

#[derive(Clone, Debug)]
enum Op {
    Refuse {
        version: u8,
        kept: Option<u8>,
        by: u8,
    },
    Accept(u8),
    /// The engine drops the version and makes it anew.
    Renew(u8),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..3u8, proptest::option::of(0..3u8), 0..4u8)
            .prop_map(|(version, kept, by)| Op::Refuse { version, kept, by }),
        1 => (0..3u8).prop_map(Op::Accept),
        1 => (0..3u8).prop_map(Op::Renew),
    ]
}

/// What must be true of a version, told naively.
#[derive(Default)]
struct Told {
    by: BTreeSet<u8>,
    kept: Option<u8>,
    accepted: bool,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_version_is_stood_in_for_exactly_when_two_refused_and_none_accepted(ops in vec(op(), 0..40)) {
        let mut live: Vec<Arc<Resource>> = (0..3).map(|n| made(&format!("l@{n}"))).collect();
        // What proxies kept is held by them.
        let held: Vec<Arc<Resource>> = (0..3).map(|n| made(&format!("l@{n}"))).collect();
        let (mut all, mut told) = (LastGood::default(), BTreeMap::<u8, Told>::new());
        for op in ops {
            match op {
                Op::Refuse { version, kept, by } => {
                    let kept = kept.filter(|k| *k != version);
                    all.refuse(T, &live[usize::from(version)], kept.map(|k| &held[usize::from(k)]), &identity(by));
                    let entry = told.entry(version).or_default();
                    if !entry.accepted {
                        entry.by.insert(by);
                        entry.kept = entry.kept.or(kept);
                    }
                }
                Op::Accept(version) => {
                    let resource = &live[usize::from(version)];
                    all.accept(T, &resource.name, resource.version);
                    if let Some(entry) = told.get_mut(&version) {
                        entry.accepted = true;
                    }
                }
                Op::Renew(version) => {
                    live[usize::from(version)] = made(&format!("l@{version}"));
                    all.forget_gone();
                    told.remove(&version);
                }
            }
            for version in 0..3u8 {
                let expected = told.get(&version).filter(|t| t.by.len() >= 2 && !t.accepted).and_then(|t| t.kept);
                let found = all.stand_in(T, &live[usize::from(version)]).map(|r| r.version);
                prop_assert_eq!(found, expected.map(|k| held[usize::from(k)].version));
            }
            prop_assert!(all.trials.len() <= told.len());
        }
    }
}

/// A stream to whose target `lds l@2` two identities objected; they kept `l@1`.
fn condemned(protocol: Protocol) -> (Script, LastGood, Arc<Snapshot>) {
    let (before, target) = (snapshot("lds l@1 | lds m@1"), Arc::new(snapshot("lds l@2 | lds m@1")));
    let of = |s: &Snapshot| s.views[T].get("l").cloned().expect("a listener");
    let mut all = LastGood::default();
    for n in 0..2 {
        all.refuse(T, &of(&target), Some(&of(&before)), &identity(n));
    }
    let mut script = Script::new(protocol);
    script.machine.set_last_good(&all);
    script.machine.set_snapshot(&target);
    (script, all, target)
}

/// The version that the client of a script has of `l`, by its text.
fn has(script: &Script) -> String {
    let found = script.machine.contents(T).get("l").map(|r| r.body_bytes());
    String::from_utf8_lossy(&found.unwrap_or_default()).into_owned()
}

#[test]
fn a_new_stream_gets_what_the_refusing_ones_kept() {
    for protocol in [Protocol::Delta, Protocol::Sotw] {
        let (mut script, mut all, target) = condemned(protocol);
        script.run("> lds\n< lds l m\nack lds");
        assert_eq!(has(&script), "l@1");
        let l = target.views[T].get("l").expect("a listener");
        assert!(all.accept(T, &l.name, l.version));
        script.machine.set_last_good(&all);
        script.run(if protocol == Protocol::Delta { "< lds l\nack lds" } else { "< lds l m\nack lds" });
        assert_eq!(has(&script), "l@2");
    }
}

#[test]
fn a_stand_in_is_sent_once_and_gives_way_to_the_next_version() {
    let (mut script, _, _) = condemned(Protocol::Delta);
    script.run(
        "
        > lds
        < lds l m
        ack lds
        wait 60
        = lds l@3 | lds m@1
        < lds l
        ack lds
        = lds m@1
        < lds -l
    ",
    );
}

#[test]
fn a_reconnect_with_the_stand_in_resends_nothing() {
    let (mut script, _, _) = condemned(Protocol::Delta);
    script.run("> lds l@1 m@1");
    assert_eq!(has(&script), "l@1");
    // An older one is replaced by it.
    let (mut script, _, _) = condemned(Protocol::Delta);
    script.run("> lds l@0 m@1\n< lds l");
    assert_eq!(has(&script), "l@1");
}

#[test]
fn a_refused_stand_in_is_not_sent_again() {
    let (mut script, _, _) = condemned(Protocol::Delta);
    script.run(
        "
        > lds
        < lds l m
        nack lds l is bad
        < lds m
        < lds l
        ack lds
        nack lds no
        ! lds l refused no
        wait 60
        = lds l@3 | lds m@1
        < lds l
        ack lds
        ! lds l withdrawn
    ",
    );
}

#[test]
fn a_stream_tells_what_it_found_out() {
    let (mut script, _, _) = condemned(Protocol::Delta);
    let evidence = |script: &mut Script| {
        let all = script.machine.take_evidence().into_iter().map(|found| match found {
            Evidence::Refused { resource, kept, .. } => {
                let text = |r: &Arc<Resource>| String::from_utf8_lossy(&r.body_bytes()).into_owned();
                format!("refused {} kept {}", text(&resource), kept.as_ref().map_or_else(String::new, text))
            }
            Evidence::Accepted { name, .. } => format!("accepted {name}"),
        });
        all.collect::<Vec<_>>()
    };
    // It has had the condemned version since before this process.
    script.run("> lds l@2 m@1");
    assert_eq!(evidence(&mut script), ["accepted l"]);
    script.run("= lds l@3 | lds m@1\n< lds l\nnack lds no\n! lds l refused no");
    assert_eq!(evidence(&mut script), ["refused l@3 kept l@2"]);
}
