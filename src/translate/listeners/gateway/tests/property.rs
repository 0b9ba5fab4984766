//! Whatever the Gateways, Envoy would take the listeners.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::listener::v3::FilterChainMatch;
use proptest::prelude::*;

use super::*;

fn any_tls() -> impl Strategy<Value = Option<ServerTls>> {
    let credential = prop_oneof![Just("a"), Just("b"), Just("builtin://"), Just("")];
    prop_oneof![
        2 => Just(None),
        3 => credential.prop_map(simple),
        2 => Just(passthrough()),
        1 => Just(Some(ServerTls::of_mode(ServerTlsMode::IstioMutual))),
    ]
}

fn any_server() -> impl Strategy<Value = Server> {
    let protocol = prop_oneof![
        Just(Protocol::Http),
        Just(Protocol::GrpcWeb),
        Just(Protocol::Https),
        Just(Protocol::Tls),
        Just(Protocol::Tcp),
        Just(Protocol::Mongo),
        Just(Protocol::Auto),
    ];
    let host = prop_oneof![Just("*"), Just("*.a.com"), Just("a.com"), Just("x.a.com"), Just("b.com")];
    let bind = prop_oneof![4 => Just(""), 1 => Just("0.0.0.0"), 1 => Just("10.0.0.1"), 1 => Just("unix:///s")];
    let port = prop_oneof![Just(80_u16), Just(443), Just(8080)];
    (port, protocol, prop::collection::vec(host, 1..4), bind, any_tls(), "[ab]").prop_map(
        |(port, protocol, hosts, bind, tls, port_name)| Server {
            bind: Bind::parse(bind),
            port_name: port_name.as_str().into(),
            ..server(port, protocol, &hosts, tls)
        },
    )
}

/// Every combination that a match stands for, as Envoy compares them.
fn combinations(matching: &FilterChainMatch) -> Vec<String> {
    let or_any = |names: &[String]| if names.is_empty() { vec![String::new()] } else { names.to_vec() };
    let mut all = Vec::new();
    for name in or_any(&matching.server_names) {
        for protocol in or_any(&matching.application_protocols) {
            all.push(format!("{name}|{}|{protocol}", matching.transport_protocol));
        }
    }
    all
}

fn check(listener: &Listener) -> Result<(), TestCaseError> {
    let mut names = BTreeSet::new();
    let mut matches = BTreeSet::new();
    for chain in &listener.filter_chains {
        prop_assert!(names.insert(chain.name.clone()), "two chains named {}", chain.name);
        prop_assert!(!chain.filters.is_empty());
        for combination in combinations(&chain.filter_chain_match.clone().unwrap_or_default()) {
            prop_assert!(matches.insert(combination.clone()), "two chains match {combination}");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn listeners_are_what_envoy_takes(
        servers in prop::collection::vec(prop::collection::vec(any_server(), 0..4), 0..6),
        deny_all in any::<bool>(),
        unprivileged in any::<bool>(),
    ) {
        let gateways: Vec<_> =
            servers.into_iter().enumerate().map(|(i, s)| gateway(&format!("g{i}"), s)).collect();
        let total: usize = gateways.iter().map(|g| g.servers.len()).sum();
        let ports = PortTranslation::new([(80, 8080)]);
        let merged = merge_servers(&gateways, &ports, unprivileged, IpFamilies::V4);
        let placed: usize = merged.listeners.iter().map(|l| l.servers.len()).sum();
        prop_assert_eq!(placed + merged.problems.len(), total, "each server is programmed or reported");
        let mut names = BTreeSet::new();
        for listener in &merged.listeners {
            let output = build(listener, deny_all);
            prop_assert!(names.insert(output.name.clone()), "two listeners named {}", output.name);
            check(&output.message())?;
            prop_assert_eq!(output.resource().is_none(), output.is_empty());
        }
    }
}
