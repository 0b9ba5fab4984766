use std::collections::BTreeMap;

use super::*;
use crate::agent::node::Role;

fn map(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// What the injector and the downward API give a sidecar.
fn pod() -> Surroundings {
    Surroundings {
        variables: map(&[
            ("POD_NAME", "web-6f7-x"),
            ("POD_NAMESPACE", "shop"),
            ("SERVICE_ACCOUNT", "web"),
            ("ISTIO_META_CLUSTER_ID", "Kubernetes"),
            ("ISTIO_META_WORKLOAD_NAME", "web"),
            ("ISTIO_META_POD_PORTS", "[{\"containerPort\":80}]"),
            ("ISTIO_METAJSON_LABELS", "{\"LABELS\":{\"app\":\"not this\"},\"MESH_ID\":\"m\"}"),
            ("PATH", "/bin"),
        ]),
        labels: map(&[("app", "web"), ("pod-template-hash", "6f7"), ("topology.kubernetes.io/region", "r")]),
        annotations: map(&[
            ("istio.io/rev", "default"),
            ("sidecar.istio.io/statsInclusionPrefixes", "http.{pod_ip}_,upstream_rq"),
            ("sidecar.istio.io/extraStatTags", "my_tag"),
            ("sidecar.istio.io/statsHistogramBuckets", "{\"istio\":[1,5,10]}"),
        ]),
        addresses: vec!["10.0.0.7".parse().expect("an address")],
    }
}

fn build(pod: &Surroundings, role: Role, config: &ProxyConfig) -> Value {
    let node = Node::new(role, "shop.svc.cluster.local", pod, config);
    let bootstrap = Bootstrap {
        node: &node,
        pod,
        config,
        xds: Path::new("./etc/istio/proxy/XDS"),
        secrets: Path::new("./var/run/secrets/workload-spiffe-uds/socket"),
        log_as_json: false,
    };
    bootstrap.to_json().expect("a bootstrap")
}

#[test]
fn a_sidecar_is_told_what_the_contract_says() {
    let config =
        ProxyConfig::new(&[("x", "{concurrency: 2, proxyMetadata: {ISTIO_META_NETWORK: n1}}")]).expect("a map");
    let made = build(&pod(), Role::Sidecar, &config);
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/agent/bootstrap/sidecar.json");
    let text = format!("{made:#}\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).expect("written");
    }
    assert_eq!(std::fs::read_to_string(&golden).unwrap_or_default(), text, "UPDATE_GOLDEN=1 writes it");
    let node = &made["node"];
    assert_eq!(node["id"], "sidecar~10.0.0.7~web-6f7-x.shop~shop.svc.cluster.local");
    assert_eq!(node["cluster"], "web.shop");
    assert_eq!(node["metadata"]["NETWORK"], "n1");
    assert_eq!(node["metadata"]["LABELS"]["app"], "web");
    assert_eq!(node["metadata"]["LABELS"]["pod-template-hash"], Value::Null);
    assert_eq!(node["metadata"]["PROXY_CONFIG"]["concurrency"], 2);
    assert_eq!(node["metadata"]["PILOT_SAN"], json!(["istiod.istio-system.svc"]));
}

#[test]
fn a_gateway_in_ipv6_listens_there_and_settings_win() {
    let pod = Surroundings {
        addresses: vec!["fd00::7".parse().expect("an address")],
        variables: map(&[("POD_NAME", "gw"), ("POD_NAMESPACE", "istio-system"), ("ISTIO_DELTA_XDS", "false")]),
        ..Surroundings::default()
    };
    let text = "{proxyAdminPort: 1, runtimeValues: {overload.global_downstream_max_connections: '5'}}";
    let made = build(&pod, Role::Router, &ProxyConfig::new(&[("x", text)]).expect("a map"));
    assert_eq!(made["node"]["id"], "router~fd00::7~gw.istio-system~shop.svc.cluster.local");
    assert_eq!(made["node"]["cluster"], "istio-proxy.istio-system");
    assert_eq!(
        made["admin"]["address"]["socket_address"],
        json!({"protocol": "TCP", "address": "::1", "port_value": 1})
    );
    assert_eq!(made["static_resources"]["listeners"][1]["name"], "::_15021");
    assert_eq!(made["dynamic_resources"]["ads_config"]["api_type"], "GRPC");
    let layer = &made["layered_runtime"]["layers"][0]["static_layer"];
    assert_eq!(layer["overload.global_downstream_max_connections"], "5");
}

#[test]
fn files_of_the_downward_api_are_read() {
    let read = crate::agent::node::parse_pod_info("app=\"web\"\nnote=\"a \\\"b\\\"\\nc\"\nbroken\n");
    assert_eq!(read, map(&[("app", "web"), ("note", "a \"b\"\nc")]));
}
