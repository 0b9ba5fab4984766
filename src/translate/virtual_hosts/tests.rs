use std::{net::IpAddr, sync::Arc};

use envoy_types::pb::envoy::config::route::v3::{RouteMatch, route_match::PathSpecifier};
use prost::Message;

use super::*;
use crate::{
    model::{
        Age, ObjectRef, Service,
        service::{Registry, Resolution},
    },
    snapshot::{Encoder, Refs, ResourceType},
    translate::routes::{ClusterRef, default_route},
};

fn service(host: &str, resolution: Resolution) -> Service {
    Service {
        host: host.into(),
        namespace: "ns".into(),
        name: "web".into(),
        object: ObjectRef::new("Service", "ns", "web"),
        age: Age { created: 0, name: "web".into(), namespace: "ns".into() },
        registry: Registry::Kubernetes,
        resolution,
        ports: Arc::default(),
        vips: Arc::default(),
        cidrs: Arc::default(),
        primary_ipv6: false,
        visibility: None,
        mesh_external: false,
        headless: false,
        node_local: false,
        traffic_distribution: None,
        external_name: None,
        subject_alt_names: Arc::default(),
        service_accounts: Vec::new(),
        labels: Arc::default(),
        selector: None,
    }
}

fn domains(host: &str, proxy_domain: &str, vips: &[&str], with_port: Option<u16>) -> Vec<String> {
    let service = service(host, Resolution::ClientSideLb);
    let vips: Vec<IpAddr> = vips.iter().map(|v| v.parse().expect("an address")).collect();
    let input = DomainInput { service: &service, aliases: &[], proxy_domain, vips: &vips, with_port };
    service_domains(&input, &mut |_| false)
}

fn route_to(cluster: &str) -> Route {
    default_route(&ClusterRef { cluster: cluster.into(), missing: None, hash: None, offers_http: false }, None)
}

#[test]
fn a_service_has_short_names_by_the_clients_namespace() {
    let host = "web.ns.svc.cluster.local";
    let absolute = "web.ns.svc.cluster.local.";
    let cases: [(&str, &[&str]); 4] = [
        ("ns.svc.cluster.local", &["web", "web.ns.svc", "web.ns"]),
        ("other.svc.cluster.local", &["web.ns", "web.ns.svc"]),
        ("ns.svc.example.org", &[]),
        ("", &[]),
    ];
    for (proxy_domain, short) in cases {
        let expected: Vec<&str> = [host, absolute].into_iter().chain(short.iter().copied()).collect();
        assert_eq!(domains(host, proxy_domain, &[], None), expected, "{proxy_domain}");
    }
    assert_eq!(domains("a.com", "ns.svc.cluster.local", &[], None), ["a.com", "a.com."]);
    let tricky = "web.ns.svc.x.cluster.local";
    assert_eq!(domains(tricky, "ns.svc.cluster.local", &[], None).len(), 2, "not below .svc.cluster.local");
}

#[test]
fn other_dns_domains_shorten_by_what_is_shared() {
    let of = |host, domain| domains(host, domain, &[], None)[2..].to_vec();
    assert_eq!(of("foo.local.campus.net", "local.campus.net"), ["foo"]);
    assert_eq!(of("foo.local.campus.net", "remote.campus.net"), ["foo.local", "foo.local.campus"]);
    assert!(of("foo.com", "local.net").is_empty() && of("campus.net", "campus.net").is_empty());
}

#[test]
fn addresses_are_names_too() {
    let made = domains("a.com", "", &["10.0.0.1", "0.0.0.0", "2001:db8::1"], None);
    assert_eq!(made[2..], ["10.0.0.1", "[2001:db8::1]"]);
    assert_eq!(domains("10.1.1.1", "", &["10.1.1.1"], None), ["10.1.1.1"], "no absolute form, nothing twice");
}

#[test]
fn lists_of_many_ports_have_each_name_with_its_port() {
    let made = domains("a.com", "", &["2001:db8::1"], Some(8080));
    assert_eq!(made, ["a.com:8080", "a.com.:8080", "[2001:db8::1]:8080"]);
    let made = domains("a.com", "", &["2001:db8::1"], Some(80));
    assert_eq!(made, ["a.com", "a.com:80", "a.com.", "a.com.:80", "[2001:db8::1]", "[2001:db8::1]:80"]);
    assert_eq!(rule_domains("2001:db8::1", None), ["[2001:db8::1]"]);
}

#[test]
fn a_short_form_that_is_another_hosts_name_is_left_to_it() {
    let service = service("web.ns.svc.cluster.local", Resolution::Passthrough);
    let aliases: [Arc<str>; 1] = ["alias.ns.svc.cluster.local".into()];
    let input = DomainInput {
        service: &service,
        aliases: &aliases,
        proxy_domain: "other.svc.cluster.local",
        vips: &[],
        with_port: None,
    };
    let made = service_domains(&input, &mut |name| name == "web.ns");
    let names = [
        "web.ns.svc.cluster.local",
        "web.ns.svc.cluster.local.",
        "web.ns.svc",
        "alias.ns.svc.cluster.local",
        "alias.ns.svc.cluster.local.",
        "alias.ns",
        "alias.ns.svc",
    ];
    let below = names.map(|n| format!("*.{n}"));
    let expected: Vec<String> = names.iter().map(ToString::to_string).chain(below).collect();
    assert_eq!(made, expected, "headless: members have names below");
}

#[test]
fn unknown_hosts_pass_or_are_refused() {
    let allow = catch_all(OutboundPolicy::AllowAny, None);
    assert_eq!((allow.name.as_str(), &allow.domains[..]), ("allow_any", &["*".to_owned()][..]));
    let cluster = |host: &VirtualHost| match &host.routes[0].action {
        Some(Action::Route(action)) => action.cluster_specifier.clone(),
        _ => None,
    };
    assert_eq!(cluster(&allow), Some(ClusterSpecifier::Cluster("PassthroughCluster".into())));
    let egress = catch_all(OutboundPolicy::AllowAny, Some("outbound|80||egress"));
    assert_eq!(cluster(&egress), Some(ClusterSpecifier::Cluster("outbound|80||egress".into())));
    let block = catch_all(OutboundPolicy::RegistryOnly, None);
    assert!(matches!(&block.routes[0].action, Some(Action::DirectResponse(a)) if a.status == 502));
}

fn route(name: &str, prefix: &str) -> Route {
    let path_specifier = Some(PathSpecifier::Prefix(prefix.to_owned()));
    let matching = RouteMatch { path_specifier, ..RouteMatch::default() };
    Route { name: name.to_owned(), r#match: Some(matching), ..Route::default() }
}

#[test]
fn gateways_try_what_takes_everything_last() {
    let host =
        gateway_host("*.a.com", 443, vec![route("1", "/"), route("2", "/x"), route("3", "/"), route("4", "/y")], true);
    let order: Vec<&str> = host.routes.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(order, ["2", "4", "1", "3"]);
    assert_eq!((host.name.as_str(), &host.domains[..]), ("*.a.com:443", &["*.a.com".to_owned()][..]));
    assert_eq!(host.require_tls(), TlsRequirementType::All);
    assert_eq!(blackhole(80).name, "blackhole:80");
    assert!(blackhole(80).routes.is_empty());
}

#[test]
fn pieces_make_the_whole_configuration() {
    let hosts = [
        sidecar_host("a", 80, vec!["a".into()], vec![route_to("outbound|80||a")]),
        sniffed_host("b", 80, vec![route_to("outbound|80||b")]),
    ];
    let pieces = std::iter::once(config_piece("80")).chain(hosts.iter().map(virtual_host_piece)).collect();
    let made = Encoder::pieces(ResourceType::Route, "80".into(), pieces, Refs::default());
    let decoded = RouteConfiguration::decode(made.body_bytes()).expect("decodes");
    assert_eq!(decoded, config("80", hosts.to_vec()));
    assert_eq!(decoded.virtual_hosts[1].domains, ["*"]);
    assert!(decoded.ignore_port_in_host_matching);
}
