use super::*;

fn own() -> Own {
    let labels = [("app", "web"), ("version", "v1")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    let pod = Surroundings {
        labels: labels.into(),
        variables: [("POD_NAMESPACE".to_owned(), "shop".to_owned())].into(),
        ..Surroundings::default()
    };
    Own::new(&pod, "web-deploy", "Kubernetes", "spiffe://cluster.local/ns/shop/sa/web")
}

/// The sample's name, its labels that are not `unknown`, in order, and its value.
fn known_labels(line: &str) -> (String, Vec<String>, String) {
    let made = finish(line, &own());
    let (name, rest) = made.trim_end().split_once('{').expect("labels");
    let (labels, value) = rest.rsplit_once('}').expect("labels");
    let labels = parse(labels).expect("labels").into_iter().filter(|(_, value)| *value != UNKNOWN);
    (name.to_owned(), labels.map(|(key, value)| format!("{key}={value}")).collect(), value.to_owned())
}

#[test]
fn a_client_tells_of_the_service_and_the_workload_that_answers() {
    let (name, labels, value) = known_labels(
        "envoy_istio_requests_total{reporter=\"source\",upstream_cluster=\"outbound|80|v1|pay.bank.svc.cluster.local\",\
         upstream_workload=\"pay-deploy;bank;pay;v2;Kubernetes\",\
         destination_principal=\"spiffe://cluster.local/ns/bank/sa/pay\",response_code=\"200\",\
         grpc_response_status=\"\",response_flags=\"-\"} 7",
    );
    assert_eq!((&*name, &*value), ("istio_requests_total", " 7"));
    let expected = [
        "reporter=source",
        "source_workload=web-deploy",
        "source_workload_namespace=shop",
        "source_app=web",
        "source_version=v1",
        "source_canonical_service=web",
        "source_canonical_revision=v1",
        "source_cluster=Kubernetes",
        "destination_workload=pay-deploy",
        "destination_workload_namespace=bank",
        "destination_canonical_service=pay",
        "destination_canonical_revision=v2",
        "destination_cluster=Kubernetes",
        "source_principal=spiffe://cluster.local/ns/shop/sa/web",
        "destination_principal=spiffe://cluster.local/ns/bank/sa/pay",
        "destination_service=pay.bank.svc.cluster.local",
        "destination_service_name=pay",
        "destination_service_namespace=bank",
        "request_protocol=http",
        "response_code=200",
        "grpc_response_status=",
        "response_flags=-",
    ];
    assert_eq!(labels, expected);
}

#[test]
fn a_server_tells_of_itself_and_of_the_clients_identity() {
    let (name, labels, _) = known_labels(
        "envoy_istio_request_duration_milliseconds_bucket{reporter=\"destination\",\
         upstream_service=\"web.shop.svc.cluster.local;web;shop\",\
         source_principal=\"spiffe://cluster.local/ns/bank/sa/pay\",response_code=\"200\",\
         grpc_response_status=\"0\",response_flags=\"-\",le=\"0.5\"} 1",
    );
    assert_eq!(name, "istio_request_duration_milliseconds_bucket");
    for label in [
        "source_workload_namespace=bank",
        "source_principal=spiffe://cluster.local/ns/bank/sa/pay",
        "destination_principal=spiffe://cluster.local/ns/shop/sa/web",
        "destination_workload=web-deploy",
        "destination_service=web.shop.svc.cluster.local",
        "request_protocol=grpc",
        "connection_security_policy=mutual_tls",
        "le=0.5",
    ] {
        assert!(labels.iter().any(|l| l == label), "no {label} in {labels:?}");
    }
}

#[test]
fn what_nobody_knows_is_unknown() {
    let (name, labels, _) = known_labels(
        "envoy_istio_tcp_sent_bytes_total{reporter=\"source\",upstream_cluster=\"PassthroughCluster\",\
         upstream_workload=\"\",destination_principal=\"\",response_flags=\"UF,URX\"} 0",
    );
    assert_eq!(name, "istio_tcp_sent_bytes_total");
    let others: Vec<_> = labels.iter().filter(|label| !label.starts_with("source_")).collect();
    assert_eq!(
        others,
        [
            "reporter=source",
            "destination_service_name=PassthroughCluster",
            "request_protocol=tcp",
            "response_flags=UF,URX"
        ]
    );
    let (_, labels, _) = known_labels("envoy_istio_requests_total{reporter=\"destination\",response_code=\"0\"} 1");
    assert!(labels.contains(&"connection_security_policy=none".to_owned()), "{labels:?}");
    let host = "envoy_istio_requests_total{reporter=\"source\",upstream_cluster=\"outbound|443||www.example.com\"} 1";
    let (_, labels, _) = known_labels(host);
    assert!(labels.contains(&"destination_service_name=www.example.com".to_owned()), "{labels:?}");
}

#[test]
fn all_else_stays_as_it_is() {
    let page = "# TYPE envoy_server_live gauge\nenvoy_server_live{} 1\nenvoy_istio_broken{reporter= 1\n# HELP x y\n";
    assert_eq!(finish(page, &own()), page);
    assert_eq!(finish("# TYPE envoy_istio_requests_total counter\n", &own()), "# TYPE istio_requests_total counter\n");
    let escaped = r#"a="b\"c\\",d="e""#;
    assert_eq!(parse(escaped), Some(vec![("a", r#"b\"c\\"#), ("d", "e")]));
}
