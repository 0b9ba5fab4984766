//! The merging table of translation §3.1, exhaustively.

use super::*;
use crate::model::code::without_code;

/// (HTTP chain's routes, TCP chains, default chain) of a wildcard listener after `protocols`, each of a service
/// `s0`, `s1`…, in this order.
fn after(protocols: &[Protocol]) -> (Option<String>, Vec<String>, String, usize) {
    let contributions: Vec<_> = protocols.iter().enumerate().map(|(i, p)| wildcard(&format!("s{i}"), 99, *p)).collect();
    let output = build(Place::Wildcard, &contributions, OutboundPolicy::AllowAny);
    let message = output.message();
    let is_http = |c: &&FilterChain| c.filters[0].name.ends_with("http_connection_manager");
    let http = message.filter_chains.iter().find(is_http).map(|c| c.name.clone());
    let tcp = message.filter_chains.iter().filter(|c| !is_http(c)).map(|c| c.name.clone()).collect();
    (http, tcp, message.default_filter_chain.map(|c| c.name).unwrap_or_default(), output.problems.len())
}

fn expect(protocols: &[Protocol], http: Option<&str>, tcp: &[&str], default: &str, problems: usize) {
    let expected = (
        http.map(ToOwned::to_owned),
        tcp.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>(),
        default.to_owned(),
        problems,
    );
    assert_eq!(after(protocols), expected, "{protocols:?}");
}

use Protocol::{Auto, Http, Mongo, Tcp, Tls};

const S0: &str = "outbound|99||s0";
const S1: &str = "outbound|99||s1";
const S2: &str = "outbound|99||s2";
const POLICY: &str = "PassthroughFilterChain";

#[test]
fn the_first_creates() {
    expect(&[Http], Some("99"), &[], POLICY, 0);
    expect(&[Tcp], None, &[S0], "", 0);
    expect(&[Tls], None, &[S0], POLICY, 0);
    expect(&[Auto], Some("99"), &[], S0, 0);
}

#[test]
fn http_comes_to() {
    expect(&[Http, Http], Some("99"), &[], POLICY, 0);
    expect(&[Tcp, Http], Some("99"), &[], S0, 0);
    expect(&[Tls, Http], Some("99"), &[S0], POLICY, 0);
    expect(&[Auto, Http], Some("99"), &[], S0, 0);
}

#[test]
fn tcp_comes_to() {
    expect(&[Http, Tcp], Some("99"), &[], S1, 0);
    expect(&[Http, Tls], Some("99"), &[S1], POLICY, 0);
    // The older service keeps what both match.
    expect(&[Tcp, Tcp], None, &[S0], "", 1);
    expect(&[Tcp, Tls], None, &[S1], S0, 0);
    expect(&[Tls, Tls], None, &[S0, S1], POLICY, 0);
    expect(&[Auto, Tcp], Some("99"), &[], S0, 1);
    expect(&[Auto, Tls], Some("99"), &[S1], S0, 0);
}

#[test]
fn auto_comes_to() {
    expect(&[Http, Auto], Some("99"), &[], S1, 0);
    expect(&[Tcp, Auto], Some("99"), &[], S0, 1);
    expect(&[Tls, Auto], Some("99"), &[S0], S1, 0);
    expect(&[Auto, Auto], Some("99"), &[], S0, 1);
}

#[test]
fn what_became_auto_stays_auto() {
    expect(&[Http, Tcp, Http], Some("99"), &[], S1, 0);
    expect(&[Http, Tls, Auto], Some("99"), &[S1], S2, 0);
    expect(&[Tcp, Http, Tls], Some("99"), &[S2], S0, 0);
}

#[test]
fn server_first_protocols_share_with_nobody_else() {
    for other in [Http, Tcp, Tls, Auto] {
        let (_, _, _, problems) = after(&[other, Mongo]);
        assert_eq!(problems, 1, "{other:?} then Mongo");
        let (http, tcp, default, problems) = after(&[Mongo, other]);
        assert_eq!((http, tcp, default.as_str(), problems), (None, vec![S0.to_owned()], "", 1), "Mongo then {other:?}");
    }
    let mongos = [wildcard("s0", 99, Mongo), wildcard("s1", 99, Http)];
    let output = build(Place::Wildcard, &mongos, OutboundPolicy::AllowAny);
    assert_eq!(
        without_code(&output.problems[0]),
        "Service ns/s1: spec.ports: its port is taken by the older Service ns/s0: in Mongo the server may speak \
         first, so it shares a port with no other protocol"
    );
}
