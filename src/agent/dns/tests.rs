use std::collections::BTreeMap;

use domain::base::{
    Message, MessageBuilder, Name, Rtype,
    iana::{Class, Rcode},
};

use super::*;
use crate::{
    agent::names::{Learner, Place},
    pb::nds::{NameTable, name_table::NameInfo},
};

const HERE: &str = "127.0.0.1:0";

fn question(name: &str) -> Vec<u8> {
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(0x0102);
    let mut questions = builder.question();
    questions.push((name.parse::<Name<Vec<u8>>>().expect("a name"), Rtype::A, Class::IN)).expect("room");
    questions.finish()
}

/// The result and the number of records of an answer.
fn outcome(answer: &[u8]) -> (Rcode, u16) {
    let message = Message::from_slice(answer).expect("a message");
    assert_eq!((message.header().id(), message.header().qr()), (0x0102, true));
    (message.header().rcode(), message.header_counts().ancount())
}

/// A server of names in front of others, and who teaches it.
async fn serve(servers: Vec<SocketAddr>) -> (SocketAddr, Learner, JoinSet<()>) {
    let (learner, lookup) = Learner::new(Place::new("shop", "shop.svc.cluster.local", ""));
    let resolver = Arc::new(Resolver::new(lookup, servers, Arc::default()));
    let server = Server::bind(HERE.parse().expect("an address"), resolver).await.expect("a port");
    let place = server.local_addr().expect("an address");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { server.run().await.expect("it runs") });
    (place, learner, tasks)
}

fn teach(learner: &Learner) {
    let info = NameInfo { ips: vec!["10.0.0.1".to_owned()], ..NameInfo::default() };
    let table = NameTable { table: BTreeMap::from([("known.example".to_owned(), info)]) };
    learner.learn(String::new(), String::new(), table);
}

async fn asked(place: SocketAddr, name: &str) -> (Rcode, u16) {
    outcome(&ask(place, &question(name)).await.expect("an answer"))
}

/// An answer of another server: "no such name".
fn no_such_name(question: &[u8]) -> Vec<u8> {
    let message = Message::from_slice(question).expect("a message");
    MessageBuilder::new_vec().start_answer(message, Rcode::NXDOMAIN).expect("room").finish()
}

#[tokio::test]
async fn questions_fail_until_the_table_has_come() {
    let (place, learner, _tasks) = serve(Vec::new()).await;
    assert_eq!(asked(place, "known.example").await, (Rcode::SERVFAIL, 0));
    teach(&learner);
    assert_eq!(asked(place, "known.example").await, (Rcode::NOERROR, 1));
    assert_eq!(asked(place, "unknown.example").await, (Rcode::SERVFAIL, 0), "nobody can be asked");
}

#[tokio::test]
async fn an_unknown_name_goes_to_the_first_server_that_answers() {
    let server = UdpSocket::bind(HERE).await.expect("a port");
    let nobody = UdpSocket::bind(HERE).await.expect("a port").local_addr().expect("an address");
    let (place, learner, mut tasks) = serve(vec![nobody, server.local_addr().expect("an address")]).await;
    teach(&learner);
    tasks.spawn(async move {
        let mut question = [0; 100];
        let (length, peer) = server.recv_from(&mut question).await.expect("a question");
        // One to another question is no answer.
        server.send_to(b"\x09\x09forged", peer).await.expect("sent");
        server.send_to(&no_such_name(&question[..length]), peer).await.expect("sent");
    });
    assert_eq!(asked(place, "unknown.example").await, (Rcode::NXDOMAIN, 0));
}

#[tokio::test]
async fn a_connection_may_ask_for_several_names() {
    let server = TcpListener::bind(HERE).await.expect("a port");
    let (place, learner, mut tasks) = serve(vec![server.local_addr().expect("an address")]).await;
    teach(&learner);
    tasks.spawn(async move {
        let (mut stream, _) = server.accept().await.expect("a connection");
        let question = read_message(&mut stream).await.expect("a question");
        write_message(&mut stream, &no_such_name(&question)).await.expect("sent");
    });
    let mut workload = TcpStream::connect(place).await.expect("a connection");
    for (name, expected) in [
        ("known.example", (Rcode::NOERROR, 1)),
        ("unknown.example", (Rcode::NXDOMAIN, 0)),
        ("known.example", (Rcode::NOERROR, 1)),
    ] {
        write_message(&mut workload, &question(name)).await.expect("sent");
        assert_eq!(outcome(&read_message(&mut workload).await.expect("an answer")), expected, "{name}");
    }
    // Nonsense ends it.
    write_message(&mut workload, b"nonsense").await.expect("sent");
    assert!(read_message(&mut workload).await.is_err());
}

#[test]
fn servers_and_domains_are_those_of_the_resolver() {
    let text = "search a.b c\nnameserver 10.96.0.10\nnameserver fd00::a\nnameserver broken\n";
    assert_eq!(servers(text), ["10.96.0.10:53".parse().expect("one"), "[fd00::a]:53".parse().expect("one")]);
    assert_eq!(
        (search_domain(text), search_domain("domain x.y\noptions ndots:5\n"), search_domain("")),
        ("a.b", "x.y", "")
    );
}

#[test]
fn places_are_of_the_pods_families() {
    let pod = |addresses: &[&str], said: &str| Surroundings {
        addresses: addresses.iter().map(|a| a.parse().expect("an address")).collect(),
        variables: [("DNS_PROXY_ADDR".to_owned(), said.to_owned())].into(),
        ..Surroundings::default()
    };
    let shown = |pod: Surroundings| places(&pod).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(pod(&["10.0.0.1"], "")), ["127.0.0.1:15053"]);
    assert_eq!(shown(pod(&["10.0.0.1", "fd00::1"], "localhost:53")), ["127.0.0.1:53", "[::1]:53"]);
    assert_eq!(shown(pod(&["fd00::1"], "")), ["[::1]:15053"]);
    assert_eq!(shown(pod(&["10.0.0.1"], "[::]:5300")), ["[::]:5300"]);
}
