use super::*;
use crate::model::Visibility;
use crate::model::code::without_code;

fn converted(spec: &str, metadata: &str) -> (Option<Service>, Vec<String>) {
    let yaml =
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop{metadata}}}\nspec: {spec}");
    let object = serde_yaml_ng::from_str(&yaml).expect("a Service");
    let (made, problems) = convert(&object, &ConvertContext { domain_suffix: "cluster.local" });
    (made, problems.iter().map(without_code).collect())
}

fn clean(spec: &str, metadata: &str) -> Service {
    let (made, problems) = converted(spec, metadata);
    assert_eq!(problems, Vec::<String>::new());
    made.expect("a service")
}

#[test]
fn a_cluster_ip_service() {
    let made = clean(
        "{clusterIP: 10.0.0.1, clusterIPs: [10.0.0.1, 'fd00::1'], selector: {app: web}, internalTrafficPolicy: Local, \
         trafficDistribution: PreferSameNode, ports: [{name: http-web, port: 80, targetPort: 8080}, \
         {name: a, port: 81, targetPort: named, appProtocol: grpc}, {name: u, port: 82, protocol: UDP}]}",
        "",
    );
    assert_eq!(
        (&*made.host, made.resolution, made.age.created),
        ("web.shop.svc.cluster.local", Resolution::ClientSideLb, i64::MAX)
    );
    assert_eq!(made.vips.len(), 2);
    assert!(made.node_local && !made.headless && made.selector.is_some());
    assert_eq!(made.traffic_distribution, Some(TrafficDistribution::PreferSameNode));
    let ports: Vec<_> = made.ports.iter().map(|p| (p.number, p.protocol, p.target)).collect();
    let expected = [(80, Protocol::Http, Some(8080)), (81, Protocol::Grpc, None), (82, Protocol::Udp, Some(82))];
    assert_eq!(ports, expected);
}

#[test]
fn headless_and_external_services() {
    let headless = clean("{clusterIP: None, ports: [{port: 80}]}", "");
    assert_eq!((headless.resolution, headless.headless, headless.vips.len()), (Resolution::Passthrough, true, 0));
    let external = clean("{type: ExternalName, externalName: API.example.}", "");
    assert_eq!((external.resolution, external.external_name.as_deref()), (Resolution::Alias, Some("api.example")));
}

#[test]
fn annotations_count() {
    let made = clean(
        "{ports: [{port: 80}]}",
        ", creationTimestamp: '1970-01-01T00:01:00Z', annotations: {networking.istio.io/exportTo: '., other', \
         networking.istio.io/traffic-distribution: PreferClose, alpha.istio.io/kubernetes-serviceaccounts: 'a, b', \
         alpha.istio.io/canonical-serviceaccounts: x}",
    );
    assert_eq!(made.age.created, 60);
    assert_eq!(made.visibility.as_deref(), Some(&Visibility::Namespaces(["shop", "other"].map(Arc::from).into())));
    assert_eq!(made.traffic_distribution, Some(TrafficDistribution::PreferSameZone));
    assert_eq!(*made.subject_alt_names, [Arc::from("x")]);
    assert_eq!(made.service_accounts, ["a", "b"].map(Arc::from));
}

#[test]
fn what_is_wrong_is_said_and_the_rest_stays() {
    let (made, problems) = converted(
        "{clusterIP: nonsense, trafficDistribution: Far, ports: [{port: 0}, {port: 99999}, {port: 80, protocol: SCTP}, {port: 81, targetPort: 70000}]}",
        ", labels: {topology.istio.io/network: n}, annotations: {istio.io/connect-strategy: FIRST_HEALTHY_RACE}",
    );
    assert_eq!(made.expect("a service").ports.len(), 2);
    assert_eq!(
        problems,
        [
            "Service shop/web: metadata.labels[topology.istio.io/network]: not honoured yet",
            "Service shop/web: metadata.annotations[istio.io/connect-strategy]: not honoured yet",
            "Service shop/web: spec.ports[0].port: 0 is not a port",
            "Service shop/web: spec.ports[1].port: 99999 is not a port",
            "Service shop/web: spec.ports[2].protocol: SCTP is not supported: the port is left alone",
            "Service shop/web: spec.ports[3].targetPort: 70000 is not a port",
            "Service shop/web: spec.clusterIPs: \"nonsense\" is not an IP address",
            "Service shop/web: spec.trafficDistribution: \"Far\" is not one of PreferSameZone, PreferSameNode, PreferClose",
        ]
    );
}

#[test]
fn the_first_family_is_that_of_members() {
    for (spec, ipv6) in [
        ("{clusterIP: 10.0.0.1}", false),
        ("{clusterIP: 'fd00::1'}", true),
        ("{clusterIP: None, ipFamilies: [IPv6, IPv4]}", true),
        ("{clusterIP: 10.0.0.1, ipFamilies: [IPv4, IPv6]}", false),
        ("{}", false),
    ] {
        assert_eq!(clean(spec, "").primary_ipv6, ipv6, "{spec}");
    }
}
