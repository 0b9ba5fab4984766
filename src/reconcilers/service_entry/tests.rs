use super::*;
use crate::model::{Protocol, Visibility, code::without_code};

fn converted(spec: &str) -> (Option<Converted>, Vec<String>) {
    let yaml = format!(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: ext, namespace: shop}}\nspec: {spec}"
    );
    let object = serde_yaml_ng::from_str(&yaml).expect("a ServiceEntry");
    let (made, problems) = convert(&object);
    (made, problems.iter().map(|p| without_code(p).replace("ServiceEntry shop/ext: ", "")).collect())
}

#[test]
fn every_host_is_a_service_with_the_same_members() {
    let (made, problems) = converted(
        "{hosts: [A.example, b.example], addresses: [10.1.0.1, 10.2.0.0/16, 10.3.0.1/32], location: MESH_INTERNAL, \
         resolution: STATIC, ports: [{number: 443, name: tls, protocol: TLS, targetPort: 8443}], exportTo: ['.'], \
         subjectAltNames: [san], endpoints: [{address: 10.9.0.1, ports: {tls: 9443}, weight: 2}, {address: 'unix:///run/s'}]}",
    );
    assert_eq!(problems, Vec::<String>::new());
    let made = made.expect("services");
    let hosts: Vec<&str> = made.services.iter().map(|s| &*s.host).collect();
    assert_eq!((hosts, made.members.endpoints.len()), (vec!["a.example", "b.example"], 2));
    let one = &made.services[0];
    assert_eq!((one.vips.len(), one.cidrs.len(), one.mesh_external), (2, 1, false));
    assert_eq!((one.ports[0].protocol, one.ports[0].target), (Protocol::Tls, Some(8443)));
    assert_eq!(one.visibility.as_deref(), Some(&Visibility::Namespaces(["shop".into()].into())));
    assert_eq!(one.resolution, Resolution::ClientSideLb);
}

#[test]
fn resolutions() {
    let of = |resolution: &str| {
        let spec =
            format!("{{hosts: [a.b], ports: [{{number: 80, name: p, protocol: HTTP}}], resolution: {resolution}}}");
        let (made, problems) = converted(&spec);
        (made.map(|m| m.services[0].resolution), problems.len())
    };
    assert_eq!(of("NONE"), (Some(Resolution::Passthrough), 0));
    assert_eq!(of("STATIC"), (Some(Resolution::ClientSideLb), 0));
    assert_eq!(of("DNS"), (Some(Resolution::Dns), 0));
    assert_eq!(of("DNS_ROUND_ROBIN"), (Some(Resolution::DnsRoundRobin), 0));
    assert_eq!(of("DYNAMIC_DNS"), (None, 2));
}

#[test]
fn what_is_wrong_is_said_and_the_rest_stays() {
    let (made, problems) = converted(
        "{hosts: ['*.w', a.b, a.b, 'x y'], addresses: [10.0.0.0/8, z], resolution: DNS, ports: [{number: 80, name: p, protocol: HTTP}, \
         {number: 80, name: q, protocol: HTTP}, {number: 70000, name: r, protocol: HTTP}, {number: 81, name: s, protocol: SMTP}]}",
    );
    let made = made.expect("services");
    assert_eq!((made.services.len(), made.services[0].ports.len()), (1, 2));
    assert_eq!(
        problems,
        [
            "spec.ports[3].protocol: with protocol SMTP nothing tells the 4 hosts apart",
            "spec.addresses[0]: \"10.0.0.0/8\": a range needs resolution NONE or STATIC",
            "spec.addresses[1]: \"z\" is not an IP address or a range such as 10.0.0.0/8",
            "spec.ports[1].number: 80 is there twice: the first counts",
            "spec.ports[2].number: 70000 is not a port: use 1 to 65535",
            "spec.ports[3].protocol: \"SMTP\" is not known: it is detected",
            "spec.hosts[2]: \"a.b\" is there already",
            "spec.hosts[3]: \"x y\" is not a host name: its part \"x y\" is no label of a DNS name",
            "spec.hosts[0]: \"*.w\" cannot be resolved: resolution DNS of a wildcard needs endpoints",
        ]
    );
}

#[test]
fn endpoints_fit_the_resolution() {
    let problems = |resolution: &str, rest: &str| {
        let spec = format!(
            "{{hosts: [a.b], ports: [{{number: 80, name: p, protocol: HTTP}}], resolution: {resolution}, {rest}}}"
        );
        let (made, problems) = converted(&spec);
        (made.map_or(0, |m| m.members.endpoints.len()), problems.len())
    };
    assert_eq!(problems("STATIC", "endpoints: [{address: a.b}, {address: 10.0.0.1}]"), (1, 1));
    assert_eq!(problems("DNS", "endpoints: [{address: 'unix:///a'}, {address: a.b}]"), (1, 1));
    assert_eq!(problems("NONE", "endpoints: [{address: 10.0.0.1}]"), (0, 1));
    assert_eq!(problems("STATIC", "endpoints: [{network: n}, {}]"), (1, 2));
    assert_eq!(problems("STATIC", "workloadSelector: {labels: {a: b}}, endpoints: [{address: 10.0.0.1}]"), (0, 1));
}

/// A ServiceEntry with so many hosts, ports and addresses.
fn sized(hosts: usize, ports: usize, addresses: usize) -> (Option<Converted>, Vec<Problem>) {
    let list = |count: usize, text: &dyn Fn(usize) -> String| (0..count).map(text).collect::<Vec<_>>().join(", ");
    let entry = format!(
        "{{metadata: {{name: ext, namespace: shop}}, spec: {{resolution: STATIC, hosts: [{}], ports: [{}], addresses: [{}]}}}}",
        list(hosts, &|n| format!("h{n}.example")),
        list(ports, &|n| format!("{{number: {}, name: p{n}, protocol: HTTP}}", n + 1)),
        list(addresses, &|n| format!("10.0.{}.{}", n / 256, n % 256)),
    );
    convert(&serde_yaml_ng::from_str(&entry).expect("a ServiceEntry"))
}

#[test]
fn an_object_that_multiplies_to_more_than_proxies_can_hold_is_left_out() {
    let found = |hosts: usize, ports: usize, addresses: usize| {
        let (made, problems) = sized(hosts, ports, addresses);
        let large = problems.iter().find(|p| p.code == Code::EntryTooLarge);
        assert_eq!(made.is_none(), large.is_some(), "{problems:?}");
        large.map(ToString::to_string).unwrap_or_default()
    };
    // What grows with the object only has no limit of its own.
    for (hosts, ports, addresses) in [(20_000, 1, 0), (1, 1, 20_000), (1, 20_000, 1), (100, 2, 50), (20_000, 1, 1)] {
        assert_eq!(found(hosts, ports, addresses), "", "{hosts} {ports} {addresses}");
    }
    let entries = found(500, 1, 500);
    assert!(
        entries.contains("spec: 500 hosts with 1 ports, and 500 addresses") && entries.contains("250500"),
        "{entries}"
    );
    assert!(found(600, 500, 0).contains("300000 entries"), "hosts with many ports");
}
