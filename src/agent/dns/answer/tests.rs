use std::collections::BTreeMap;

use domain::rdata::AllRecordData;

use super::*;
use crate::{
    agent::names::Place,
    pb::nds::{NameTable, name_table::NameInfo},
};

fn table(hosts: &[(&str, Vec<String>)]) -> Table {
    let entry =
        |(host, ips): &(&str, Vec<String>)| ((*host).to_owned(), NameInfo { ips: ips.clone(), ..NameInfo::default() });
    let table: BTreeMap<_, _> = hosts.iter().map(entry).collect();
    Table::new(&NameTable { table }, &Place::new("shop", "shop.svc.cluster.local", "shop.svc.cluster.local"))
}

fn ips(count: u8) -> Vec<String> {
    (1..=count).map(|n| format!("10.0.0.{n}")).collect()
}

fn question(name: &str, kind: Rtype, udp: Option<u16>) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(7);
    builder.header_mut().set_rd(true);
    let mut questions = builder.question();
    questions.push((name.parse::<Name<Vec<u8>>>().expect("a name"), kind)).expect("room");
    let mut additional = questions.additional();
    if let Some(length) = udp {
        let set = |opt: &mut domain::base::message_builder::OptBuilder<'_, Vec<u8>>| {
            opt.set_udp_payload_size(length);
            Ok(())
        };
        additional.opt(set).expect("room");
    }
    additional.finish()
}

/// Each record as `name TTL type data`.
fn records(verdict: Verdict) -> Vec<String> {
    let Verdict::Answer(bytes) = verdict else { panic!("{verdict:?}") };
    let message = Message::from_octets(bytes).expect("a message");
    assert_eq!((message.header().id(), message.header().qr(), message.header().rd()), (7, true, true));
    let answers = message.answer().expect("a section").limit_to::<AllRecordData<_, _>>();
    let shown = answers.map(|record| {
        let record = record.expect("a record");
        format!("{} {} {} {}", record.owner(), record.ttl().as_secs(), record.rtype(), record.data())
    });
    shown.collect()
}

#[test]
fn a_known_name_is_answered_in_the_spelling_of_the_question() {
    let table = table(&[("web.example.com", vec!["10.0.0.1".to_owned(), "fd00::1".to_owned()])]);
    let asked = |kind| answer(&question("Web.Example.com", kind, None), &table, Transport::Udp, 0);
    assert_eq!(records(asked(Rtype::A)), ["Web.Example.com 30 A 10.0.0.1"]);
    assert_eq!(records(asked(Rtype::AAAA)), ["Web.Example.com 30 AAAA fd00::1"]);
    assert_eq!(asked(Rtype::MX), Verdict::HandOn);
    assert_eq!(answer(&question("other", Rtype::A, None), &table, Transport::Udp, 0), Verdict::HandOn);
}

#[test]
fn a_family_without_addresses_is_no_missing_name() {
    let table = table(&[("web.example.com", ips(1))]);
    let Verdict::Answer(bytes) = answer(&question("web.example.com", Rtype::AAAA, None), &table, Transport::Udp, 0)
    else {
        panic!("no answer")
    };
    let message = Message::from_octets(bytes).expect("a message");
    assert_eq!((message.header().rcode(), message.header_counts().ancount()), (Rcode::NOERROR, 0));
}

#[test]
fn an_alias_comes_with_its_addresses() {
    let table = table(&[("*.example.com", ips(1))]);
    let asked = question("a.example.com.shop.svc.cluster.local", Rtype::A, None);
    assert_eq!(
        records(answer(&asked, &table, Transport::Udp, 0)),
        ["a.example.com.shop.svc.cluster.local 30 CNAME a.example.com.", "a.example.com 30 A 10.0.0.1"]
    );
}

#[test]
fn addresses_take_turns() {
    let table = table(&[("db", ips(3))]);
    let first = |turn| records(answer(&question("db", Rtype::A, None), &table, Transport::Udp, turn))[0].clone();
    assert_eq!([first(0), first(1), first(5)], ["db 30 A 10.0.0.1", "db 30 A 10.0.0.2", "db 30 A 10.0.0.3"]);
}

#[test]
fn what_does_not_fit_is_asked_for_over_tcp() {
    let table = table(&[("db.example.com", ips(200))]);
    let with = |udp, transport| answer(&question("db.example.com", Rtype::A, udp), &table, transport, 0);
    let Verdict::Answer(short) = with(None, Transport::Udp) else { panic!("no answer") };
    let message = Message::from_octets(short).expect("a message");
    assert!(message.header().tc() && message.as_slice().len() <= 512);
    assert_eq!(records(with(Some(4096), Transport::Udp)).len(), 200);
    assert_eq!(records(with(None, Transport::Tcp)).len(), 200);
    let Verdict::Answer(bytes) = with(Some(4096), Transport::Udp) else { panic!("no answer") };
    assert!(Message::from_octets(bytes).expect("a message").opt().is_some(), "EDNS is answered by EDNS");
}

#[test]
fn nonsense_is_dropped_and_failures_are_told() {
    let table = table(&[("db", ips(1))]);
    let asked = question("db", Rtype::A, None);
    let Verdict::Answer(answered) = answer(&asked, &table, Transport::Udp, 0) else { panic!("no answer") };
    for nonsense in [&b""[..], b"\x01\x02name?", &answered] {
        assert_eq!(answer(nonsense, &table, Transport::Udp, 0), Verdict::Drop);
        assert_eq!(failure(nonsense), None);
    }
    // Cut short.
    assert_eq!(answer(&asked[..asked.len() - 3], &table, Transport::Udp, 0), Verdict::HandOn);
    let failed = Message::from_octets(failure(&asked).expect("an answer")).expect("a message");
    assert_eq!((failed.header().rcode(), failed.header().id()), (Rcode::SERVFAIL, 7));
}
