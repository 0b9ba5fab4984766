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
            ("sidecar.istio.io/statsEvictionInterval", "10s"),
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

#[test]
fn statistics_are_as_annotations_say() {
    let with = |annotations: &[(&str, &str)], config: &str| {
        let annotations =
            annotations.iter().map(|(name, value)| (format!("sidecar.istio.io/{name}"), (*value).to_owned()));
        let pod = Surroundings { annotations: annotations.collect(), ..pod() };
        build(&pod, Role::Sidecar, &ProxyConfig::new(&[("x", config)]).expect("a map"))
    };
    let patterns = |made: &Value| made["stats_config"]["stats_matcher"]["inclusion_list"]["patterns"].clone();
    let has = |made: &Value, pattern: &Value| patterns(made).as_array().is_some_and(|all| all.contains(pattern));
    let lists =
        with(&[("statsInclusionSuffixes", "rq_total, cx_total"), ("statsInclusionRegexps", r"http\..*\.rq_.*")], "");
    for pattern in [
        json!({"suffix": "rq_total"}),
        json!({"suffix": "cx_total"}),
        json!({"safe_regex": {"regex": r"http\..*\.rq_.*"}}),
    ] {
        assert!(has(&lists, &pattern), "{pattern}");
    }
    assert!(has(&lists, &json!({"prefix": "istio"})), "what is always kept is");
    let of_mesh = "proxyStatsMatcher: {inclusionSuffixes: [of_mesh]}";
    assert!(has(&with(&[], of_mesh), &json!({"suffix": "of_mesh"})));
    assert!(
        !has(&with(&[("statsInclusionSuffixes", "own")], of_mesh), &json!({"suffix": "of_mesh"})),
        "the pod's own word"
    );
    let intervals = |annotations: &[(&str, &str)]| {
        let made = with(annotations, "");
        (made["stats_flush_interval"].clone(), made["stats_eviction_interval"].clone())
    };
    assert_eq!(intervals(&[]), (Value::Null, Value::Null));
    let both = [("statsFlushInterval", "500ms"), ("statsEvictionInterval", "1m30s")];
    assert_eq!(intervals(&both), (json!("0.5s"), json!("90s")));
    assert_eq!(intervals(&[("statsEvictionInterval", "10s")]), (Value::Null, json!("10s")));
    for wrong in ["7s", "often", "0s"] {
        assert_eq!(intervals(&[("statsEvictionInterval", wrong)]).1, Value::Null, "{wrong}");
    }
}

#[test]
fn metrics_are_compressed_unless_the_pod_or_its_settings_say_no() {
    let filters = |annotation: Option<&str>, config: &str| {
        let annotations = annotation.map(|said| ("sidecar.istio.io/statsCompression".to_owned(), said.to_owned()));
        let pod = Surroundings { annotations: annotations.into_iter().collect(), ..pod() };
        let made = build(&pod, Role::Sidecar, &ProxyConfig::new(&[("x", config)]).expect("a map"));
        let of = |listener: usize| {
            let manager = &made["static_resources"]["listeners"][listener]["filter_chains"][0]["filters"][0];
            manager["typed_config"]["http_filters"].as_array().map_or(0, Vec::len)
        };
        (of(0), of(1))
    };
    assert_eq!(filters(None, ""), (4, 1), "three ways to compress, and the router");
    assert_eq!(filters(None, "statsCompression: false"), (1, 1));
    assert_eq!(filters(Some("true"), "statsCompression: false"), (4, 1), "the pod's own word");
    assert_eq!(filters(Some("false"), ""), (1, 1));
}
