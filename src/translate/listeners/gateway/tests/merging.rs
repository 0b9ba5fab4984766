//! The table of translation §7.2, row by row.

use super::*;

/// Which of the servers, each in a Gateway of its own (the first the oldest), are in a listener; and the problems.
fn pair(older: Server, newer: Server) -> (Vec<Vec<String>>, Vec<String>) {
    let merged = merged(&[gateway("old", vec![older]), gateway("new", vec![newer])]);
    let names = |l: &GatewayListener| l.servers.iter().map(|s| s.gateway.name.to_string()).collect();
    (merged.listeners.iter().map(names).collect(), problems(&merged.problems))
}

fn plain(protocol: Protocol) -> Server {
    server(443, protocol, &["a.com"], None)
}

fn https(hosts: &[&str]) -> Server {
    server(443, Protocol::Https, hosts, simple("x"))
}

#[test]
fn plaintext_http_shares() {
    for protocol in [Protocol::Http, Protocol::Http2, Protocol::Grpc, Protocol::GrpcWeb] {
        let (listeners, problems) = pair(plain(Protocol::Http), plain(protocol));
        assert_eq!((listeners, problems), (vec![vec!["old".to_owned(), "new".to_owned()]], vec![]), "{protocol:?}");
    }
    let merged = merged(&[gateway("old", vec![plain(Protocol::Http)]), gateway("new", vec![plain(Protocol::Http)])]);
    let routes = merged.listeners[0].routes();
    assert_eq!(routes["http.443"].len(), 2);
}

#[test]
fn other_plaintext_does_not() {
    for (older, newer, words) in [
        (Protocol::Http, Protocol::Tcp, "TCP cannot share it with HTTP"),
        (Protocol::Tcp, Protocol::Http, "HTTP cannot share it with TCP"),
        (Protocol::Tcp, Protocol::Tcp, "TCP cannot share it with TCP"),
        (Protocol::Mongo, Protocol::Grpc, "GRPC cannot share it with MONGO"),
    ] {
        let (listeners, problems) = pair(plain(older), plain(newer));
        assert_eq!(listeners, [["old"]]);
        assert_eq!(
            problems,
            [format!(
                "Gateway ns/new: spec.servers[0]: port 443 on any address: {words} of the older Gateway ns/old \
                 (spec.servers[0]); the server is not programmed"
            )]
        );
    }
}

#[test]
fn tls_with_other_hosts_shares_by_sni() {
    for newer in [https(&["b.com"]), server(443, Protocol::Tls, &["b.com"], passthrough())] {
        let (listeners, problems) = pair(https(&["a.com"]), newer);
        assert_eq!((listeners.concat().len(), problems.len()), (2, 0));
    }
}

#[test]
fn a_repeated_tls_host_loses_the_whole_server() {
    let (listeners, problems) = pair(https(&["a.com"]), https(&["b.com", "a.com"]));
    assert_eq!(listeners, [["old"]]);
    assert_eq!(
        problems,
        ["Gateway ns/new: spec.servers[0]: port 443 on any address: host \"a.com\" is served over TLS already by the \
          older Gateway ns/old (spec.servers[0]); the server is not programmed"]
    );
    // What the skipped server alone had stays free.
    let third = gateway("third", vec![https(&["b.com"])]);
    let all =
        merged(&[gateway("old", vec![https(&["a.com"])]), gateway("new", vec![https(&["b.com", "a.com"])]), third]);
    assert_eq!(all.listeners[0].servers.len(), 2);
    // On another address it is another listener.
    let elsewhere = Server { bind: Bind::parse("10.0.0.1"), ..https(&["a.com"]) };
    assert_eq!(pair(https(&["a.com"]), elsewhere).0.len(), 2);
}

#[test]
fn https_with_the_same_route_name_is_skipped() {
    let servers = vec![https(&["a.com"]), https(&["b.com"])];
    let merged = merged(&[gateway("gw", servers)]);
    assert_eq!(merged.listeners[0].servers.len(), 1);
    assert_eq!(
        problems(&merged.problems),
        ["Gateway ns/gw: spec.servers[1]: port 443 on any address: an HTTPS server with the same port name is \
          spec.servers[0]; the server is not programmed"]
    );
}

#[test]
fn tls_cannot_come_to_plaintext_but_plaintext_to_tls() {
    let (listeners, problems) = pair(plain(Protocol::Http), https(&["b.com"]));
    assert_eq!(listeners, [["old"]]);
    assert!(problems[0].contains("it is taken by plaintext of the older Gateway ns/old"), "{problems:?}");
    let (listeners, problems) = pair(https(&["b.com"]), plain(Protocol::Http));
    assert_eq!((listeners, problems.len()), (vec![vec!["old".to_owned(), "new".to_owned()]], 0));
}

#[test]
fn the_wildcard_address_is_no_bind() {
    let bound = Server { bind: Bind::parse("0.0.0.0"), ..plain(Protocol::Http) };
    let (listeners, _) = pair(plain(Protocol::Http), bound);
    assert_eq!(listeners, [["old", "new"]]);
}

#[test]
fn ports_are_translated_and_need_privileges() {
    let ports = PortTranslation::new([(80, 8080), (8080, 8080), (80, 9090)]);
    let servers = vec![server(80, Protocol::Http, &["a"], None), server(8080, Protocol::Http, &["b"], None)];
    let low = server(443, Protocol::Http, &["c"], None);
    let gateways = [gateway("gw", servers), gateway("low", vec![low])];
    let merged = merge_servers(&gateways, &ports, true, IpFamilies::V4);
    assert_eq!(merged.listeners.len(), 1);
    assert_eq!((merged.listeners[0].port, merged.listeners[0].routes()["http.8080"].len()), (8080, 2));
    assert_eq!(
        problems(&merged.problems),
        ["Gateway ns/low: spec.servers[0].port.number: port 443 cannot be opened: the gateway's pod may not bind \
          ports below 1024"]
    );
}

#[test]
fn http_inside_of_passthrough_is_not_http() {
    let merged = merged(&[gateway("gw", vec![server(443, Protocol::Https, &["a.com"], passthrough())])]);
    assert_eq!(merged.listeners[0].servers[0].route, None);
}
