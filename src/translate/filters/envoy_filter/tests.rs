use std::net::{IpAddr, Ipv4Addr};

use envoy_types::pb::{
    envoy::{
        config::{
            core::v3::{TransportSocket, transport_socket},
            listener::v3::{FilterChain, FilterChainMatch, filter},
        },
        extensions::{
            filters::{
                http::{local_ratelimit::v3::LocalRateLimit, router::v3::Router},
                network::{
                    http_connection_manager::v3::{HttpConnectionManager, http_filter::ConfigType},
                    tcp_proxy::v3::TcpProxy,
                },
            },
            transport_sockets::tls::v3::UpstreamTlsContext,
        },
    },
    google::protobuf::{Duration, UInt32Value},
};
use prost::Message;
use serde_json::{Value as Json, json};

use super::*;
use crate::model::code::without_code;
use crate::{
    model::{
        Age, ProxyKind,
        envoy_filter::{ApplyTo, ChainMatch, FilterMatch, Operation, Patch, VersionPattern},
    },
    snapshot::pack_any,
};

const ROUTER: &str = "envoy.filters.http.router";
const CORS: &str = "envoy.filters.http.cors";

fn filter(name: &str, patches: Vec<Patch>) -> EnvoyFilter {
    let patches = patches.into_iter().enumerate().map(|(index, patch)| Patch { index, ..patch }).collect();
    EnvoyFilter {
        object: ObjectRef::new("EnvoyFilter", "shop", name),
        age: Age { created: 1, name: name.into(), namespace: "shop".into() },
        priority: 0,
        workload: Labels::new(),
        patches,
    }
}

type Labels = crate::model::service::Labels;

fn proxy() -> Proxy {
    Proxy {
        kind: ProxyKind::Sidecar,
        id: "cart-1.shop".into(),
        namespace: "shop".into(),
        ips: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        dns_domain: "shop.svc.cluster.local".into(),
        labels: [("app".to_owned(), "cart".to_owned())].into(),
        locality: crate::model::Locality::default(),
        cluster_id: "".into(),
        network: "".into(),
        node_name: "".into(),
        istio_version: "1.27.3".into(),
        service_account: "".into(),
        interception: crate::model::proxy::InterceptionMode::Redirect,
        unprivileged: false,
        dns_capture: false,
        http_proxy_port: None,
        discovers_hosts: false,
        metadata: r#"{"APP_CONTAINERS":"cart","N":1}"#.into(),
    }
}

/// A patch to HTTP filters of inbound connection managers, anchored on `anchor`.
fn http(operation: Operation, anchor: Option<&str>, value: Json) -> Patch {
    let chain = ChainMatch {
        filter: Some(FilterMatch { name: HTTP_CONNECTION_MANAGER.to_owned(), sub_filter: anchor.map(str::to_owned) }),
        ..ChainMatch::default()
    };
    Patch {
        index: 0,
        apply_to: ApplyTo::HttpFilter,
        context: PatchContext::SidecarInbound,
        proxy: ProxyMatch::default(),
        listener: ListenerMatch { chain, ..ListenerMatch::default() },
        cluster: ClusterMatch::default(),
        operation,
        value: value.into(),
    }
}

/// An HTTP filter that is told apart by its name.
fn named(name: &str) -> Json {
    json!({"name": name, "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"}})
}

fn rate_limit() -> Json {
    json!({
        "name": "envoy.filters.http.local_ratelimit",
        "typed_config": {
            "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
            "type_url": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
            "value": {
                "stat_prefix": "cart",
                "token_bucket": {"max_tokens": 10, "tokens_per_fill": 10, "fill_interval": "1s"},
            },
        },
    })
}

fn http_filters() -> Vec<HttpFilter> {
    let filter = |name: &str, config| HttpFilter {
        name: name.to_owned(),
        config_type: Some(ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    };
    let cors =
        Any { type_url: "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors".to_owned(), value: vec![] };
    vec![filter(CORS, cors), filter(ROUTER, pack_any(&Router::default()))]
}

fn chain() -> FilterChain {
    let manager = HttpConnectionManager { http_filters: http_filters(), ..HttpConnectionManager::default() };
    FilterChain {
        name: "0.0.0.0_8080".to_owned(),
        filter_chain_match: Some(FilterChainMatch {
            destination_port: Some(UInt32Value { value: 8080 }),
            transport_protocol: "tls".to_owned(),
            application_protocols: vec!["istio-http/1.1".to_owned(), "istio-h2".to_owned()],
            server_names: vec!["cart.example".to_owned()],
            ..FilterChainMatch::default()
        }),
        filters: vec![Filter {
            name: HTTP_CONNECTION_MANAGER.to_owned(),
            config_type: Some(filter::ConfigType::TypedConfig(pack_any(&manager))),
        }],
        ..FilterChain::default()
    }
}

const INBOUND: ListenerFacts<'_> =
    ListenerFacts { context: PatchContext::SidecarInbound, name: "virtualInbound", port: Some(15006) };

fn set(filters: Vec<EnvoyFilter>) -> PatchSet {
    let compiled: Vec<_> = filters
        .into_iter()
        .map(|filter| {
            let (compiled, problems) = compile(&Arc::new(filter));
            assert_eq!(problems, []);
            compiled
        })
        .collect();
    PatchSet::select(&compiled, &proxy(), "istio-system")
}

fn http_after(patches: Vec<Patch>) -> Vec<HttpFilter> {
    let mut filters = http_filters();
    let problems = patch_http_filters(&set(vec![filter("f", patches)]), INBOUND, &chain(), &mut filters);
    assert_eq!(problems, []);
    filters
}

fn names(filters: &[HttpFilter]) -> Vec<&str> {
    filters.iter().map(|filter| &filter.name[..]).collect()
}

fn problems_of(patch: Patch) -> Vec<String> {
    compile(&Arc::new(filter("f", vec![patch]))).1.iter().map(without_code).collect()
}

#[test]
fn a_local_rate_limit_is_inserted_before_the_router() {
    let mut patch = http(Operation::InsertBefore, Some(ROUTER), rate_limit());
    patch.listener.port = Some(8080);
    let set = set(vec![filter("limit", vec![patch])]);
    let mut patched = chain();
    assert_eq!(patch_filter_chain(&set, INBOUND, &mut patched), []);
    let manager = HttpConnectionManager::decode(&patched.filters[0].typed_config().expect("given").value[..]);
    let filters = manager.expect("decodes").http_filters;
    assert_eq!(names(&filters), [CORS, "envoy.filters.http.local_ratelimit", ROUTER]);
    let config = filters[1].typed_config().expect("given");
    assert_eq!(config.type_url, "type.googleapis.com/udpa.type.v1.TypedStruct");

    // Another port, another context, another listener: nothing changes, not even bytes.
    for (facts, port) in [
        (INBOUND, 8081),
        (ListenerFacts { context: PatchContext::Gateway, ..INBOUND }, 8080),
        (ListenerFacts { name: "0.0.0.0_15006", ..INBOUND }, 8080),
    ] {
        let mut other = chain();
        let destination = other.filter_chain_match.as_mut().expect("given");
        destination.destination_port = Some(UInt32Value { value: port });
        let before = other.clone();
        patch_filter_chain(&set, facts, &mut other);
        assert_eq!(other, before);
    }
}

#[test]
fn filters_are_inserted_where_the_patch_says() {
    let cases = [
        (Operation::InsertBefore, Some(ROUTER), vec![CORS, "x", ROUTER]),
        (Operation::InsertBefore, None, vec!["x", CORS, ROUTER]),
        (Operation::InsertAfter, Some(CORS), vec![CORS, "x", ROUTER]),
        (Operation::InsertFirst, Some(ROUTER), vec!["x", CORS, ROUTER]),
        (Operation::Replace, Some(CORS), vec!["x", ROUTER]),
        (Operation::Remove, Some(CORS), vec![ROUTER]),
        (Operation::Remove, None, vec![CORS, ROUTER]),
        // Envoy refuses filters behind the router.
        (Operation::InsertAfter, Some(ROUTER), vec![CORS, "x", ROUTER]),
        (Operation::InsertAfter, None, vec![CORS, "x", ROUTER]),
        (Operation::Add, None, vec![CORS, "x", ROUTER]),
        // Nothing is named so.
        (Operation::InsertBefore, Some("absent"), vec![CORS, ROUTER]),
        (Operation::InsertAfter, Some("absent"), vec![CORS, ROUTER]),
        (Operation::Replace, Some("absent"), vec![CORS, ROUTER]),
    ];
    for (operation, anchor, expected) in cases {
        let filters = http_after(vec![http(operation, anchor, named("x"))]);
        assert_eq!(names(&filters), expected, "{operation:?} {anchor:?}");
    }
}

#[test]
fn patches_go_by_priority_then_root_then_age_then_name() {
    let make = |name: &str, namespace: &str, priority, created| {
        let mut made = filter(name, vec![http(Operation::Add, None, named(name))]);
        made.object = ObjectRef::new("EnvoyFilter", namespace, name);
        made.priority = priority;
        made.age.created = created;
        made
    };
    let mut all = vec![
        make("late", "shop", 10, 0),
        make("z-old", "shop", 0, 1),
        make("b-new", "shop", 0, 2),
        make("a-new", "shop", 0, 2),
        make("root", "istio-system", 0, 9),
        make("early", "shop", -1, 9),
        make("elsewhere", "other", 0, 0),
    ];
    for _ in 0..all.len() {
        all.rotate_left(1);
        let mut filters = http_filters();
        patch_http_filters(&set(all.clone()), INBOUND, &chain(), &mut filters);
        assert_eq!(names(&filters), [CORS, "early", "root", "z-old", "a-new", "b-new", "late", ROUTER]);
    }
}

#[test]
fn a_proxy_is_chosen_by_labels_version_and_metadata() {
    let chosen = |change: fn(&mut EnvoyFilter)| {
        let mut made = filter("f", vec![http(Operation::Add, None, named("x"))]);
        change(&mut made);
        !set(vec![made]).is_empty()
    };
    let version = |pattern| Some(VersionPattern::new(pattern));
    assert!(chosen(|made| made.workload = [("app".to_owned(), "cart".to_owned())].into()));
    assert!(!chosen(|made| made.workload = [("app".to_owned(), "till".to_owned())].into()));
    assert!(chosen(|made| made.patches[0].proxy.version = Some(VersionPattern::new(r"^1\.27.*"))));
    assert!(!chosen(|made| made.patches[0].proxy.version = Some(VersionPattern::new(r"^1\.2\..*"))));
    assert!(chosen(|made| made.patches[0].proxy.metadata = [("APP_CONTAINERS".to_owned(), "cart".to_owned())].into()));
    assert!(!chosen(|made| made.patches[0].proxy.metadata = [("N".to_owned(), "1".to_owned())].into()));
    let unversioned = Proxy { istio_version: "".into(), ..proxy() };
    assert!(!ProxyMatch { version: version(".*"), ..ProxyMatch::default() }.matches(&unversioned));
}

#[test]
fn a_chain_is_chosen_by_all_it_shows() {
    let changed = |change: fn(&mut ChainMatch)| {
        let mut patch = http(Operation::Remove, Some(CORS), Json::Null);
        change(&mut patch.listener.chain);
        http_after(vec![patch]).len() == 1
    };
    assert!(changed(|chain| chain.name = "0.0.0.0_8080".to_owned()));
    assert!(!changed(|chain| chain.name = "x".to_owned()));
    assert!(changed(|chain| chain.sni = "cart.example".to_owned()));
    assert!(!changed(|chain| chain.sni = "x".to_owned()));
    assert!(changed(|chain| chain.transport_protocol = "tls".to_owned()));
    assert!(!changed(|chain| chain.transport_protocol = "raw_buffer".to_owned()));
    assert!(changed(|chain| chain.application_protocols = vec!["istio-h2".to_owned()]));
    assert!(!changed(|chain| chain.application_protocols = vec!["istio-h2".to_owned(), "h3".to_owned()]));
    assert!(changed(|chain| chain.destination_port = Some(8080)));
    assert!(!changed(|chain| chain.destination_port = Some(80)));
    assert!(
        !changed(|chain| chain.filter.as_mut().expect("given").name = "envoy.filters.network.tcp_proxy".to_owned())
    );
}

#[test]
fn a_merge_changes_what_it_names() {
    let limit = |fields: Json| {
        let mut config = json!({
            "@type": "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
        });
        let (Json::Object(config_fields), Json::Object(fields)) = (&mut config, fields) else { panic!("objects") };
        config_fields.extend(fields);
        json!({"name": "limit", "typed_config": config})
    };
    let header = |name: &str| json!([{"header": {"key": name, "value": "1"}}]);
    let original = limit(json!({
        "stat_prefix": "a",
        "token_bucket": {"max_tokens": 1, "fill_interval": "5.5s"},
        "response_headers_to_add": header("a"),
    }));
    let patch = limit(json!({
        "token_bucket": {"tokens_per_fill": 7, "fill_interval": "3s"},
        "response_headers_to_add": header("b"),
    }));
    for (operation, headers) in [(Operation::Merge, vec!["a", "b"]), (Operation::MergeAndReplaceList, vec!["b"])] {
        let filters = http_after(vec![
            http(operation, Some("limit"), patch.clone()),
            http(Operation::InsertFirst, None, original.clone()),
        ]);
        let merged = LocalRateLimit::decode(&filters[0].typed_config().expect("given").value[..]).expect("decodes");
        let bucket = merged.token_bucket.expect("given");
        assert_eq!((&merged.stat_prefix[..], bucket.max_tokens), ("a", 1));
        assert_eq!(bucket.tokens_per_fill, Some(UInt32Value { value: 7 }));
        assert_eq!(bucket.fill_interval, Some(Duration { seconds: 3, nanos: 0 }));
        let keys = merged.response_headers_to_add.into_iter().map(|option| option.header.expect("given").key);
        assert_eq!(keys.collect::<Vec<_>>(), headers);
    }
}

#[test]
fn a_merge_of_another_type_is_a_problem_and_changes_nothing() {
    let set = set(vec![filter("f", vec![http(Operation::Merge, Some(ROUTER), named("y"))])]);
    let mut filters = http_filters();
    let problems = patch_http_filters(&set, INBOUND, &chain(), &mut filters);
    assert_eq!(filters, http_filters());
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].field, "spec.configPatches[0].patch.value");
    assert!(problems[0].reason.contains("the types must be equal"), "{}", problems[0].reason);
}

#[test]
fn a_merge_without_anchor_is_for_filters_of_its_type() {
    let router = json!({"typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        "suppress_envoy_headers": true,
    }});
    let filters = http_after(vec![http(Operation::Merge, None, router)]);
    assert_eq!(filters[0], http_filters()[0]);
    let config = &filters[1].typed_config().expect("given").value;
    assert!(Router::decode(&config[..]).expect("decodes").suppress_envoy_headers);
}

#[test]
fn network_filters_are_patched_too() {
    let value = json!({
        "name": "rbac",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC", "stat_prefix": "x"},
    });
    let mut add = http(Operation::Add, None, value);
    add.apply_to = ApplyTo::NetworkFilter;
    let mut tcp = http(
        Operation::Merge,
        None,
        json!({"name": "", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "idle_timeout": "9s",
        }}),
    );
    tcp.apply_to = ApplyTo::NetworkFilter;
    tcp.listener.chain.filter =
        Some(FilterMatch { name: "envoy.filters.network.tcp_proxy".to_owned(), sub_filter: None });
    let mut chain = chain();
    chain.filters = vec![Filter {
        name: "envoy.filters.network.tcp_proxy".to_owned(),
        config_type: Some(filter::ConfigType::TypedConfig(pack_any(&TcpProxy::default()))),
    }];
    assert_eq!(patch_filter_chain(&set(vec![filter("f", vec![tcp, add])]), INBOUND, &mut chain), []);
    assert_eq!(
        chain.filters.iter().map(|filter| &filter.name[..]).collect::<Vec<_>>(),
        ["rbac", "envoy.filters.network.tcp_proxy"]
    );
    let proxy = TcpProxy::decode(&chain.filters[1].typed_config().expect("given").value[..]).expect("decodes");
    assert_eq!(proxy.idle_timeout, Some(Duration { seconds: 9, nanos: 0 }));
}

fn on_cluster(operation: Operation, service: &str, value: Json) -> Patch {
    Patch {
        apply_to: ApplyTo::Cluster,
        context: PatchContext::Any,
        listener: ListenerMatch::default(),
        cluster: ClusterMatch { service: service.to_owned(), ..ClusterMatch::default() },
        ..http(operation, None, value)
    }
}

#[test]
fn clusters_are_merged_removed_and_added() {
    let socket = |fields: &UpstreamTlsContext| TransportSocket {
        name: "tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(pack_any(fields))),
    };
    let cluster = |name: &str| Cluster {
        name: name.to_owned(),
        connect_timeout: Some(Duration { seconds: 10, nanos: 5 }),
        transport_socket: Some(socket(&UpstreamTlsContext { sni: "old".to_owned(), ..UpstreamTlsContext::default() })),
        ..Cluster::default()
    };
    let merge = json!({
        "connect_timeout": "1s",
        "transport_socket": {"name": "tls", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "allow_renegotiation": true,
        }},
    });
    let set = set(vec![filter(
        "f",
        vec![
            on_cluster(Operation::Merge, "cart.shop", merge),
            on_cluster(Operation::Remove, "till.shop", Json::Null),
            on_cluster(Operation::Add, "", json!({"name": "mine", "type": "STATIC"})),
        ],
    )]);

    let patch = |name: &str, context, hosts: &[&str]| {
        let (patched, problems) = patch_cluster(&set, context, hosts, cluster(name));
        assert_eq!(problems, []);
        patched
    };
    let merged = patch("outbound|80||cart.shop", PatchContext::SidecarOutbound, &[]).expect("stays");
    assert_eq!(merged.connect_timeout, Some(Duration { seconds: 1, nanos: 0 }));
    let both = UpstreamTlsContext { sni: "old".to_owned(), allow_renegotiation: true, ..UpstreamTlsContext::default() };
    assert_eq!(merged.transport_socket, Some(socket(&both)));
    assert!(patch("inbound|80||", PatchContext::SidecarInbound, &["till.shop"]).is_none());
    let other = "outbound|80||other.shop";
    assert_eq!(patch(other, PatchContext::SidecarOutbound, &[]), Some(cluster(other)));

    let added = |context| added_clusters(&set, context).map(|cluster| &cluster.name[..]).collect::<Vec<_>>();
    assert_eq!(added(PatchContext::Gateway), ["mine"]);
    assert!(added(PatchContext::SidecarInbound).is_empty());
}

#[test]
fn what_cannot_be_applied_is_told() {
    let unsupported = Patch { apply_to: ApplyTo::VirtualHost, ..http(Operation::Merge, None, json!({})) };
    assert_eq!(
        problems_of(unsupported),
        ["EnvoyFilter shop/f: spec.configPatches[0].applyTo: VIRTUAL_HOST is not honoured yet"]
    );
    let stats = problems_of(http(Operation::InsertBefore, Some("istio.stats"), named("x")));
    assert!(stats[0].contains("subFilter.name: `istio.stats` is a filter of Istio's own Envoy"), "{stats:?}");
    let untyped = problems_of(http(Operation::InsertBefore, Some(ROUTER), json!({"name": "x"})));
    assert!(untyped[0].contains("patch.value.typed_config: is missing"), "{untyped:?}");
    let nameless = problems_of(http(Operation::InsertFirst, None, json!({})));
    assert!(nameless[1].contains("patch.value.name: is empty"), "{nameless:?}");
    let wrong = problems_of(http(Operation::Add, None, json!({"name": 1})));
    assert!(wrong[0].contains("patch.value.name: is the number 1, but must be a string"), "{wrong:?}");
    let missing = problems_of(http(Operation::Add, None, Json::Null));
    assert!(missing[0].contains("patch.value: is null, but must be an object"), "{missing:?}");
}

#[test]
fn an_unknown_field_is_told_and_the_rest_applied() {
    let mut value = named("x");
    value["typo"] = json!(1);
    let (compiled, problems) = compile(&Arc::new(filter("f", vec![http(Operation::Add, None, value)])));
    assert_eq!(problems[0].field, "spec.configPatches[0].patch.value.typo");
    let mut filters = http_filters();
    let set = PatchSet::select([&compiled], &proxy(), "istio-system");
    patch_http_filters(&set, INBOUND, &chain(), &mut filters);
    assert_eq!(names(&filters), [CORS, "x", ROUTER]);
}
