use super::*;
use crate::model::code::without_code;

fn converted(metadata: &str, spec: &str, status: &str) -> (Option<WorkloadFacts>, Vec<String>) {
    let yaml = format!(
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: vm, namespace: shop{metadata}}}\nspec: {spec}\nstatus: {status}"
    );
    let (made, problems) = convert(&serde_yaml_ng::from_str(&yaml).expect("a WorkloadEntry"));
    (made, problems.iter().map(without_code).collect())
}

#[test]
fn facts_of_a_machine() {
    let (made, problems) = converted(
        ", labels: {a: meta}",
        "{address: 10.9.0.1, ports: {http: 8080}, labels: {a: spec, b: spec}, locality: r/z, serviceAccount: sa}",
        "{}",
    );
    let made = made.expect("facts");
    assert_eq!(problems, Vec::<String>::new());
    assert_eq!((made.weight, made.tls_istio, &*made.locality.zone), (1, true, "z"));
    assert_eq!((made.labels["a"].as_str(), made.labels["b"].as_str()), ("meta", "spec"));
}

#[test]
fn the_label_may_say_locality_and_tls_mode() {
    let labels = ", labels: {istio-locality: r9.z9, security.istio.io/tlsMode: disabled}";
    let made = converted(labels, "{address: 10.9.0.1, serviceAccount: sa}", "{}").0.expect("facts");
    assert_eq!((&*made.locality.region, made.tls_istio), ("r9", false));
}

#[test]
fn addresses_have_three_forms() {
    let of = |address: &str| converted("", &format!("{{address: '{address}'}}"), "{}").0.and_then(|f| f.address);
    assert_eq!(of("unix:///run/a"), Some(EndpointAddress::Pipe("/run/a".into())));
    assert_eq!(of("A.example"), Some(EndpointAddress::Hostname("a.example".into())));
    assert_eq!(of("fd00::1"), Some(EndpointAddress::Ip("fd00::1".parse().expect("an address"))));
    let (made, problems) = converted("", "{address: 'a b', ports: {x: 70000}}", "{}");
    assert_eq!(made, None);
    assert_eq!(
        problems,
        [
            "WorkloadEntry shop/vm: spec.ports[x]: 70000 is not a port: use 1 to 65535",
            "WorkloadEntry shop/vm: spec.address: \"a b\" is not an IP address, a host name or a path with unix://",
        ]
    );
}

#[test]
fn checked_workloads_take_part_while_healthy() {
    let meta = ", annotations: {proxy.istio.io/health-checks-enabled: 'true'}";
    let of = |status| converted(meta, "{address: 10.9.0.1}", status).0.is_some();
    assert!(!of("{}"));
    assert!(!of("{conditions: [{type: Healthy, status: 'False'}]}"));
    assert!(of("{conditions: [{type: Healthy, status: 'True'}]}"));
}

#[test]
fn what_makes_no_sense_of_a_socket_is_told() {
    let (made, problems) = converted("", "{address: 'unix:///run/', ports: {x: 80}}", "{}");
    assert!(made.is_some());
    assert_eq!(
        problems,
        [
            "WorkloadEntry shop/vm: spec.address: \"/run/\" is a directory, not a Unix socket",
            "WorkloadEntry shop/vm: spec.ports: have no effect with a Unix socket",
        ]
    );
}
