//! Joining slices, pods, nodes and workloads.

use std::{net::IpAddr, sync::Arc};

use crate::{
    model::{
        Endpoint, MeshConfig, ObjectRef, Service,
        service::{EndpointAddress, Health, Resolution},
        workload::{NodeFacts, PodFacts, SliceEndpoints, SliceEntry, SlicePort, WorkloadFacts, label, parse_locality},
    },
    translate::{
        endpoints::members::{MemberContext, SliceMembers, of_host, of_pod, of_slice, of_workload},
        fixtures::{labels, service},
    },
};

fn entry(ip: &str, pod: &str) -> SliceEntry {
    SliceEntry {
        addresses: vec![ip.parse().expect("an address")],
        ready: true,
        serving: true,
        terminating: false,
        node: "n1".into(),
        zone: "".into(),
        pod: pod.into(),
        hostname: "".into(),
    }
}

fn slice(entries: Vec<SliceEntry>) -> SliceEndpoints {
    SliceEndpoints {
        object: ObjectRef::new("EndpointSlice", "shop", "web-1"),
        service: "web".into(),
        namespace: "shop".into(),
        ports: vec![SlicePort { name: "p".into(), number: 8080 }],
        ipv6: false,
        entries,
    }
}

fn pod() -> PodFacts {
    PodFacts {
        name: "web-x".into(),
        namespace: "shop".into(),
        labels: labels(&[("app", "web"), (label::TLS_MODE, "istio"), ("version", "v1")]),
        service_account: "web".into(),
        node: "n1".into(),
        ips: vec![IpAddr::from([10, 0, 0, 1])],
        ready: true,
        workload: "web-deployment".into(),
        ..PodFacts::default()
    }
}

fn in_context<T>(run: impl FnOnce(&MemberContext<'_>) -> T) -> T {
    let (mesh, cluster, network) = (MeshConfig::default(), Arc::from("c1"), Arc::from("net1"));
    run(&MemberContext { mesh: &mesh, cluster: &cluster, network: &network })
}

fn joined(slice: &SliceEndpoints, service: &Service) -> SliceMembers {
    let node = NodeFacts { locality: parse_locality("r1/z1/s1") };
    let find_pod = |name: &str| (name == "web-x").then(|| Arc::new(pod()));
    let find_node = |name: &str| (name == "n1").then(|| Arc::new(node.clone()));
    in_context(|context| of_slice(slice, service, find_pod, find_node, context))
}

#[test]
fn an_endpoint_takes_from_pod_and_node() {
    let made = joined(&slice(vec![entry("10.0.0.1", "web-x")]), &service());
    let one: &Endpoint = &made.endpoints[0];
    assert_eq!(one.locality, parse_locality("r1/z1/s1"));
    assert_eq!(&*one.identity, "spiffe://cluster.local/ns/shop/sa/web");
    assert_eq!(&*one.workload, "web-deployment;shop;web;v1;c1");
    assert!(one.tls_istio);
    assert_eq!((one.port, &*one.port_name, &*one.network, &*one.node), (8080, "p", "net1", "n1"));
    for (key, value) in [
        ("app", "web"),
        (label::REGION, "r1"),
        (label::ZONE, "z1"),
        (label::SUBZONE, "s1"),
        (label::CLUSTER, "c1"),
        (label::NETWORK, "net1"),
        (label::HOSTNAME, "n1"),
    ] {
        assert_eq!(one.labels.get(key).map(String::as_str), Some(value), "{key}");
    }
}

#[test]
fn endpoints_of_unknown_pods_wait_and_others_do_not() {
    let bare = SliceEntry { node: "n9".into(), zone: "z7".into(), ..entry("10.0.0.3", "") };
    let made = joined(&slice(vec![entry("10.0.0.2", "gone"), bare, entry("10.0.0.3", "")]), &service());
    assert_eq!(made.unknown_pods, [Arc::from("gone")].into());
    let addresses: Vec<&EndpointAddress> = made.endpoints.iter().map(|e| &e.address).collect();
    assert_eq!(addresses, [&EndpointAddress::Ip([10, 0, 0, 3].into())]);
    assert_eq!(&*made.endpoints[0].locality.zone, "z7");
    assert!(!made.endpoints[0].tls_istio);
}

#[test]
fn conditions_become_health() {
    let of = |ready, serving, terminating, service: &Service| {
        let one = SliceEntry { ready, serving, terminating, ..entry("10.0.0.1", "web-x") };
        joined(&slice(vec![one]), service).endpoints[0].health
    };
    let plain = service();
    let sticky = Service { labels: labels(&[(label::PERSISTENT_SESSION, "c")]).into(), ..service() };
    assert_eq!(of(true, false, true, &plain), Health::Healthy);
    assert_eq!(of(false, true, false, &plain), Health::Unhealthy);
    assert_eq!(of(false, true, true, &plain), Health::Terminating);
    assert_eq!(of(false, true, true, &sticky), Health::Draining);
    assert_eq!(of(false, false, true, &sticky), Health::Terminating);
}

fn workload(address: EndpointAddress) -> WorkloadFacts {
    WorkloadFacts {
        object: ObjectRef::new("WorkloadEntry", "shop", "vm"),
        address: Some(address),
        ports: [("p".into(), 9090)].into(),
        labels: labels(&[("app", "vm")]),
        network: "net2".into(),
        locality: parse_locality("r9"),
        weight: 3,
        service_account: "vm".into(),
        tls_istio: true,
    }
}

#[test]
fn workloads_bring_their_own_ports_and_network() {
    let facts = workload(EndpointAddress::Ip([10, 9, 0, 1].into()));
    let made = in_context(|context| of_workload(&facts, &service(), true, context));
    let one = &made[0];
    assert_eq!((one.port, one.weight, &*one.network, one.tls_istio), (9090, 3, "net2", true));
    assert_eq!(one.locality, parse_locality("r9"));
    assert_eq!(&*one.identity, "spiffe://cluster.local/ns/shop/sa/vm");
    let without = WorkloadFacts { ports: [].into(), ..facts };
    assert_eq!(in_context(|context| of_workload(&without, &service(), true, context))[0].port, 8080);
}

#[test]
fn names_need_dns_and_sockets_need_listing() {
    let count = |address: EndpointAddress, resolution, selected| {
        let service = Service { resolution, ..service() };
        in_context(|context| of_workload(&workload(address), &service, selected, context)).len()
    };
    let name = || EndpointAddress::Hostname("a.b".into());
    let socket = || EndpointAddress::Pipe("/run/a".into());
    assert_eq!(count(name(), Resolution::ClientSideLb, false), 0);
    assert_eq!(count(name(), Resolution::Dns, true), 1);
    assert_eq!(count(socket(), Resolution::ClientSideLb, false), 1);
    assert_eq!(count(socket(), Resolution::ClientSideLb, true), 0);
    assert_eq!(count(socket(), Resolution::Dns, false), 0);
}

#[test]
fn pods_are_members_of_service_entries_while_ready() {
    let node = NodeFacts { locality: parse_locality("r1/z1") };
    let of = |pod: &PodFacts| in_context(|context| of_pod(pod, Some(&node), &service(), context));
    assert_eq!(of(&pod())[0].address, EndpointAddress::Ip([10, 0, 0, 1].into()));
    assert_eq!(of(&pod())[0].locality, parse_locality("r1/z1"));
    assert!(of(&PodFacts { ready: false, ..pod() }).is_empty());
    let moved = PodFacts { labels: labels(&[(label::LOCALITY, "r5.z6.s7")]), ..pod() };
    assert_eq!(of(&moved)[0].locality, parse_locality("r5/z6/s7"));
}

#[test]
fn a_host_is_its_own_member() {
    let service = Service { host: "api.example".into(), resolution: Resolution::Dns, ..service() };
    let made = in_context(|context| of_host(&service, context));
    assert_eq!(made[0].address, EndpointAddress::Hostname("api.example".into()));
    assert_eq!(made[0].port, 8080);
}
