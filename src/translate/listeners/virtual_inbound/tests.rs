use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::listener::v3::{
    FilterChain, ListenerFilterChainMatchPredicate as Predicate, listener_filter_chain_match_predicate::Rule,
};

use prost::Message as _;

use super::*;

fn port(target: u16, protocol: Protocol) -> InboundPort {
    InboundPort {
        target,
        protocol,
        host: "a.ns.svc.cluster.local".into(),
        service_port: 80,
        service: "a".into(),
        namespace: "ns".into(),
    }
}

fn listener(ports: &[InboundPort], peer: &PeerMtls, deny_all: bool) -> ListenerOutput {
    let mesh = MeshConfig::default();
    let input = InboundInput {
        mesh: &mesh,
        families: IpFamilies::V4,
        interception: InterceptionMode::Redirect,
        deny_all,
        ports,
        peer,
    };
    virtual_inbound(&input).expect("a listener")
}

fn peer(mode: MtlsMode, ports: &[(u16, MtlsMode)]) -> PeerMtls {
    PeerMtls { mode, ports: ports.iter().copied().collect() }
}

/// The chains of a port: what is matched, whether TLS ends there (`+`), and what reads the bytes.
fn chains(output: &ListenerOutput, port: Option<u16>) -> Vec<String> {
    let of_port = |c: &&FilterChain| {
        c.filter_chain_match.as_ref().and_then(|m| m.destination_port).map(|p| p.value) == port.map(u32::from)
    };
    let text = |c: &FilterChain| {
        let matching = c.filter_chain_match.clone().unwrap_or_default();
        let protocols = matching.application_protocols.join(",");
        let tls = if c.transport_socket.is_some() { "+" } else { "" };
        let last = c.filters.last().expect("a filter").name.rsplit('.').next().unwrap_or_default();
        format!(
            "{} [{protocols}] {tls}{}",
            matching.transport_protocol,
            last.replace("http_connection_manager", "http")
        )
    };
    output.chains.iter().map(|c| &*c.message).filter(of_port).map(text).collect()
}

#[test]
fn the_chains_of_a_port_are_those_of_the_table() {
    const HTTP: &str = "istio-http/1.0,istio-http/1.1,istio-h2";
    const TCP: &str = "istio,istio-peer-exchange";
    let all = [port(1, Protocol::Auto), port(2, Protocol::Http), port(3, Protocol::Tcp)];
    let of = |mode| {
        let made = listener(&all, &peer(mode, &[]), false);
        [None, Some(1), Some(2), Some(3)].map(|port| chains(&made, port))
    };
    let sniffed = vec![
        format!("tls [{HTTP}] +http"),
        "raw_buffer [http/1.1,h2c] http".to_owned(),
        format!("tls [{TCP}] +tcp_proxy"),
        "raw_buffer [] tcp_proxy".to_owned(),
        "tls [] tcp_proxy".to_owned(),
    ];
    let mesh = format!("tls [{HTTP},{TCP}]");
    assert_eq!(
        of(MtlsMode::Permissive),
        [
            sniffed.clone(),
            sniffed,
            vec![format!("{mesh} +http"), "raw_buffer [] http".to_owned()],
            vec![format!("{mesh} +tcp_proxy"), "tls [] tcp_proxy".to_owned(), "raw_buffer [] tcp_proxy".to_owned()],
        ]
    );
    let sniffed = vec![format!("tls [{HTTP}] +http"), "tls [] +tcp_proxy".to_owned()];
    let strict = [sniffed.clone(), sniffed, vec!["tls [] +http".to_owned()], vec!["tls [] +tcp_proxy".to_owned()]];
    assert_eq!(of(MtlsMode::Strict), strict);
    let sniffed = vec!["raw_buffer [http/1.1,h2c] http".to_owned(), "raw_buffer [] tcp_proxy".to_owned()];
    let http = vec!["raw_buffer [] http".to_owned()];
    let disabled = [sniffed.clone(), sniffed, http, vec!["raw_buffer [] tcp_proxy".to_owned()]];
    assert_eq!(of(MtlsMode::Disable), disabled);
}

#[test]
fn a_port_that_only_a_policy_names_has_chains_of_its_own() {
    let made = listener(&[], &peer(MtlsMode::Strict, &[(9000, MtlsMode::Disable)]), false);
    assert_eq!(chains(&made, Some(9000)), ["raw_buffer [http/1.1,h2c] http", "raw_buffer [] tcp_proxy"]);
    assert_eq!(chains(&made, None).len(), 2);
    let clusters: Vec<_> = made.chains.iter().flat_map(|c| c.refs.clusters.iter().cloned()).collect();
    assert!(clusters.iter().all(|c| &**c == "InboundPassthroughCluster" || &**c == "BlackHoleCluster"), "{clusters:?}");
}

#[test]
fn no_two_chains_have_a_name_in_common() {
    let made = listener(&[port(1, Protocol::Auto)], &PeerMtls::default(), false);
    let names: std::collections::BTreeSet<_> = made.chains.iter().map(|c| &c.message.name).collect();
    assert_eq!(names.len(), made.chains.len());
    assert!(names.contains(&"0.0.0.0_1".to_owned()) && names.contains(&"virtualInbound-catchall-http".to_owned()));
}

#[test]
fn whoever_may_not_come_in_does_not_whatever_they_speak() {
    let made = listener(&[port(1, Protocol::Auto)], &PeerMtls::default(), true);
    for chain in made.chains.iter().filter(|c| !c.message.name.ends_with("blackhole")) {
        let bytes = chain.message.encode_to_vec();
        let refuses = |filter: &str| bytes.windows(filter.len()).any(|part| part == filter.as_bytes());
        let refused = refuses("envoy.filters.http.rbac") || refuses("envoy.filters.network.rbac");
        assert!(refused, "{}", chain.message.name);
    }
}

/// On which of some ports an inspector looks; `None` when it is not there.
fn inspects(output: &ListenerOutput, inspector: &str, ports: &[u16]) -> Option<BTreeMap<u16, bool>> {
    fn disabled(predicate: &Predicate, port: i32) -> bool {
        match predicate.rule.as_ref().expect("a rule") {
            Rule::OrMatch(set) => {
                assert!(set.rules.len() > 1, "Envoy refuses a set of one");
                set.rules.iter().any(|rule| disabled(rule, port))
            }
            Rule::NotMatch(rule) => !disabled(rule, port),
            Rule::DestinationPortRange(range) => (range.start..range.end).contains(&port),
            other => panic!("{other:?}"),
        }
    }
    let name = format!("envoy.filters.listener.{inspector}");
    let filter = output.header.listener_filters.iter().find(|f| f.name == name)?;
    let looks = |port: &u16| !filter.filter_disabled.as_ref().is_some_and(|p| disabled(p, i32::from(*port)));
    Some(ports.iter().map(|port| (*port, looks(port))).collect())
}

#[test]
fn inspectors_look_only_where_chains_differ_by_what_they_find() {
    let all = [port(1, Protocol::Auto), port(2, Protocol::Http), port(3, Protocol::Tcp), port(4, Protocol::Tcp)];
    let made = listener(&all, &peer(MtlsMode::Permissive, &[(4, MtlsMode::Disable)]), false);
    let expected = |looks: [bool; 5]| Some([1, 2, 3, 4, 9].into_iter().zip(looks).collect::<BTreeMap<_, _>>());
    let ports = [1, 2, 3, 4, 9];
    assert_eq!(inspects(&made, "tls_inspector", &ports), expected([true, true, true, false, true]));
    assert_eq!(inspects(&made, "http_inspector", &ports), expected([true, false, false, false, true]));
    let made = listener(&all, &peer(MtlsMode::Disable, &[(2, MtlsMode::Strict)]), false);
    assert_eq!(inspects(&made, "tls_inspector", &ports), expected([false, true, false, false, false]));
    assert_eq!(inspects(&made, "http_inspector", &ports), expected([true, false, false, false, true]));
    let made = listener(&all[2..3], &peer(MtlsMode::Strict, &[]), false);
    assert_eq!(inspects(&made, "http_inspector", &ports), None);
}

#[test]
fn nothing_is_there_without_interception() {
    let (mesh, peer) = (MeshConfig::default(), PeerMtls::default());
    let (families, interception) = (IpFamilies::V4, InterceptionMode::None);
    let input = InboundInput { mesh: &mesh, families, interception, deny_all: false, ports: &[], peer: &peer };
    assert!(virtual_inbound(&input).is_none());
}
