use super::*;
use crate::model::code::without_code;

fn chain(name: &str, server_names: &[&str]) -> Chain {
    let matching = FilterChainMatch {
        server_names: server_names.iter().map(|s| (*s).to_owned()).collect(),
        ..FilterChainMatch::default()
    };
    let message = ChainParts { name: name.to_owned(), matching, ..ChainParts::default() }.build();
    let origin = (ObjectRef::new("Gateway", "ns", name), "spec.servers[0]".to_owned());
    Chain::new(message, RefSet::default(), Some(origin))
}

fn collect(chains: Vec<Chain>) -> (Vec<(String, Vec<String>)>, Vec<String>) {
    let mut set = ChainSet::default();
    chains.into_iter().for_each(|c| set.add(c));
    let (chains, problems) = set.finish();
    for chain in &chains {
        assert_eq!(chain.piece(), encode_field(&chain.message), "the piece is the message");
    }
    let names = |c: Chain| {
        let message = FilterChain::clone(&c.message);
        (message.name, message.filter_chain_match.unwrap_or_default().server_names)
    };
    (chains.into_iter().map(names).collect(), problems.iter().map(without_code).collect())
}

#[test]
fn a_later_chain_loses_what_is_taken() {
    let (chains, problems) = collect(vec![chain("a", &["x", "y"]), chain("b", &["Y", "z"]), chain("c", &["x"])]);
    let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    assert_eq!(chains, [("a".to_owned(), owned(&["x", "y"])), ("b".to_owned(), owned(&["z"]))]);
    assert_eq!(
        problems,
        [
            "Gateway ns/b: spec.servers[0]: Y on this port is already taken by the older Gateway ns/a \
             (spec.servers[0]); the rest is programmed",
            "Gateway ns/c: spec.servers[0]: x on this port is already taken by the older Gateway ns/a \
             (spec.servers[0]); it is not programmed",
        ]
    );
}

#[test]
fn names_stay_unique() {
    let (chains, _) = collect(vec![chain("a", &["x"]), chain("a", &["y"]), chain("a", &["z"])]);
    assert_eq!(chains.into_iter().map(|c| c.0).collect::<Vec<_>>(), ["a", "a~2", "a~3"]);
}

#[test]
fn two_unconditional_chains_are_one() {
    let (chains, problems) = collect(vec![chain("a", &[]), chain("b", &[])]);
    assert_eq!((chains.len(), problems.len()), (1, 1));
    assert!(problems[0].contains("all connections on this port"));
}

#[test]
fn networks_are_narrowed_like_names() {
    let ranged = |name: &str, ranges: &[&str]| {
        let prefix_ranges = ranges.iter().map(|r| wire::cidr(r.parse().expect("a network"))).collect();
        let matching = FilterChainMatch { prefix_ranges, ..FilterChainMatch::default() };
        let message = ChainParts { name: name.to_owned(), matching, ..ChainParts::default() }.build();
        Chain::new(message, RefSet::default(), None)
    };
    let mut set = ChainSet::default();
    set.add(ranged("a", &["10.0.0.7/24"]));
    set.add(ranged("b", &["10.0.0.0/24", "10.1.0.0/16"]));
    let (chains, problems) = set.finish();
    let left = chains[1].message.filter_chain_match.clone().expect("a match").prefix_ranges;
    assert_eq!((left.len(), range_text(&left[0]).as_str()), (1, "10.1.0.0/16"));
    assert!(problems.is_empty(), "nobody to tell");
}

#[test]
fn pieces_and_the_message_are_the_same_listener() {
    use prost::Message as _;
    let header = Listener { name: "0.0.0.0_80".to_owned(), ..Listener::default() };
    let chains = vec![chain("a", &["x"]), chain("b", &["y"])];
    let output = ListenerOutput { name: "0.0.0.0_80".to_owned(), header, chains, ..ListenerOutput::default() };
    let resource = output.resource().expect("a resource");
    assert_eq!(Listener::decode(resource.body_bytes()).expect("a listener"), output.message());
    assert!(ListenerOutput::default().resource().is_none());
}
