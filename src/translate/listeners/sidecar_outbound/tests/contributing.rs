//! Keys, server names and networks of what service ports bring.

use super::*;

fn keys(service: &Service, protocol: Protocol, members: &[&str], routes: &[TcpRoute]) -> Vec<(String, Contribution)> {
    let port = port(443, protocol);
    let members: Vec<IpAddr> = members.iter().map(|m| m.parse().expect("an address")).collect();
    let aliases = ["alias.com".into()];
    let of = PortOfService {
        service,
        port: &port,
        egress: None,
        default: &TcpRoute::to_cluster("c"),
        aliases: &aliases,
        routes,
        members: &members,
    };
    let named = |(key, c): (ListenerKey, Contribution)| (key.name(IpFamilies::V4), c);
    contribute(&of, IpFamilies::V4, &MeshConfig::default()).into_iter().map(named).collect()
}

fn names(made: &[(String, Contribution)]) -> Vec<&str> {
    made.iter().map(|(n, _)| n.as_str()).collect()
}

fn with_vips(vips: &[&str]) -> Service {
    Service { vips: vips.iter().map(|v| v.parse().expect("an address")).collect(), ..service("a.ns") }
}

#[test]
fn http_is_on_the_wildcard_and_the_rest_on_addresses() {
    let made = with_vips(&["10.0.0.1", "fd00::1", "10.0.0.2"]);
    assert_eq!(names(&keys(&made, Protocol::Http, &[], &[])), ["0.0.0.0_443"]);
    assert_eq!(names(&keys(&made, Protocol::Tcp, &[], &[])), ["10.0.0.1_443", "10.0.0.2_443"]);
    let auto = keys(&made, Protocol::Auto, &[], &[]);
    assert_eq!(auto[0].1.route.as_deref(), Some("a.ns:443"));
    assert_eq!(auto[0].1.tcp, [TcpRoute::to_cluster("c")]);
    assert!(keys(&with_vips(&["fd00::1"]), Protocol::Tcp, &[], &[]).is_empty(), "no address that the proxy can use");
}

#[test]
fn nothing_comes_of_udp_aliases_and_the_proxys_own_ports() {
    assert!(keys(&with_vips(&["10.0.0.1"]), Protocol::Udp, &[], &[]).is_empty());
    let alias = Service { resolution: Resolution::Alias, ..service("a") };
    assert!(keys(&alias, Protocol::Http, &[], &[]).is_empty());
    let (service, port) = (service("a"), port(15001, Protocol::Http));
    let of = PortOfService {
        service: &service,
        port: &port,
        egress: None,
        default: &TcpRoute::to_cluster("c"),
        aliases: &[],
        routes: &[],
        members: &[],
    };
    assert!(contribute(&of, IpFamilies::V4, &MeshConfig::default()).is_empty());
}

#[test]
fn server_names_tell_services_without_an_address() {
    let made = keys(&service("a.com"), Protocol::Tls, &[], &[]);
    assert_eq!(made[0].0, "0.0.0.0_443");
    assert_eq!(made[0].1.tcp[0].server_names, ["a.com".into(), "alias.com".into()]);
    assert!(keys(&with_vips(&["10.0.0.1"]), Protocol::Tls, &[], &[])[0].1.tcp[0].server_names.is_empty());
}

#[test]
fn networks_are_matched_on_the_wildcard() {
    let net: ipnet::IpNet = "10.2.0.0/16".parse().expect("a network");
    let ranged = Service { cidrs: [net].into(), ..with_vips(&["10.0.0.1"]) };
    let made = keys(&ranged, Protocol::Tcp, &[], &[]);
    assert_eq!(names(&made), ["10.0.0.1_443", "0.0.0.0_443"]);
    assert!(made[0].1.tcp[0].prefix_ranges.is_empty());
    assert_eq!(made[1].1.tcp[0].prefix_ranges, [net]);
}

#[test]
fn headless_services_are_listened_for_on_their_members() {
    let headless = Service { headless: true, resolution: Resolution::Passthrough, ..service("a.ns") };
    let made = keys(&headless, Protocol::Auto, &["10.0.1.1", "10.0.1.2"], &[]);
    assert_eq!(names(&made), ["10.0.1.1_443", "10.0.1.2_443"]);
    assert_eq!(made[0].1.route.as_deref(), Some("a.ns:443"));
    assert!(keys(&headless, Protocol::Tcp, &[], &[]).is_empty());
    assert_eq!(names(&keys(&headless, Protocol::Http, &["10.0.1.1"], &[])), ["0.0.0.0_443"]);
    let none = Service { resolution: Resolution::Passthrough, ..service("a.com") };
    assert_eq!(names(&keys(&none, Protocol::Tcp, &[], &[])), ["0.0.0.0_443"]);
}

#[test]
fn rules_replace_the_default_and_keep_the_networks() {
    let net: ipnet::IpNet = "10.2.0.0/16".parse().expect("a network");
    let ranged = Service { cidrs: [net].into(), ..service("a.com") };
    let rule = TcpRoute { name: "vs.ns".into(), server_names: vec!["x.com".into()], ..TcpRoute::to_cluster("d") };
    let made = keys(&ranged, Protocol::Tls, &[], &[rule]);
    assert_eq!(made[0].1.tcp.len(), 1);
    assert_eq!((made[0].1.tcp[0].prefix_ranges.as_slice(), &*made[0].1.tcp[0].target.clusters[0].0), (&[net][..], "d"));
}
