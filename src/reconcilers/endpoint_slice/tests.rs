use super::*;
use crate::model::code::without_code;

fn converted(labels: &str, rest: &str) -> (Option<SliceEndpoints>, Vec<String>) {
    let yaml = format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: web-1, namespace: shop, labels: {{{labels}}}}}\n{rest}"
    );
    let object = serde_yaml_ng::from_str(&yaml).expect("an EndpointSlice");
    let (made, problems) = convert(&object);
    (made, problems.iter().map(without_code).collect())
}

const OWN: &str = "kubernetes.io/service-name: web";

#[test]
fn entries_carry_conditions_and_references() {
    let rest = "addressType: IPv4\nports: [{name: http, port: 8080}, {name: all}]\nendpoints:\n\
                - {addresses: [10.0.0.1, 10.0.0.2], nodeName: n1, zone: z1, targetRef: {kind: Pod, name: web-x}}\n\
                - {addresses: [10.0.0.3], conditions: {ready: false, serving: true, terminating: true}, hostname: h}\n";
    let (made, problems) = converted(OWN, rest);
    let made = made.expect("members");
    assert_eq!((&*made.service, made.ports.len(), problems.len()), ("web", 1, 0));
    let first = &made.entries[0];
    assert_eq!(
        (first.addresses.len(), first.ready, &*first.node, &*first.zone, &*first.pod),
        (2, true, "n1", "z1", "web-x")
    );
    let second = &made.entries[1];
    assert_eq!((second.ready, second.serving, second.terminating, &*second.hostname), (false, true, true, "h"));
}

#[test]
fn addresses_of_the_wrong_family_are_reported_and_others_stay() {
    let rest = "addressType: IPv4\nendpoints: [{addresses: ['fd00::1']}, {addresses: [10.0.0.1]}, {addresses: [x]}]";
    let (made, problems) = converted(OWN, rest);
    assert_eq!(made.expect("members").entries.len(), 1);
    assert_eq!(
        problems,
        [
            "EndpointSlice shop/web-1: endpoints[0].addresses[0]: \"fd00::1\" is an IPv6 address in a slice of addressType IPv4",
            "EndpointSlice shop/web-1: endpoints[2].addresses[0]: \"x\" is not an IP address",
        ]
    );
    let six = "addressType: IPv6\nendpoints: [{addresses: ['fd00::1']}]";
    let six = converted(OWN, six).0.expect("members");
    assert_eq!((six.entries.len(), six.ipv6), (1, true));
}

#[test]
fn foreign_slices_are_left_alone() {
    let none = |labels, rest| {
        let (made, problems) = converted(labels, rest);
        assert_eq!(made, None);
        problems.len()
    };
    assert_eq!(none("multicluster.kubernetes.io/service-name: web", "addressType: IPv4\nendpoints: []"), 0);
    assert_eq!(none("a: b", "addressType: IPv4\nendpoints: []"), 1);
    assert_eq!(none(OWN, "addressType: FQDN\nendpoints: []"), 1);
}
