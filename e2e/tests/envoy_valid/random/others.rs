//! Random EnvoyFilters, whose values Envoy takes wherever they land, and mesh configurations.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::shape::{
    Json, always, boolean, duration, either, fields, header_value, list, mostly, object, pick, port, some,
};

pub(super) fn envoy_filter() -> Json {
    let spec = fields(vec![
        (
            "workloadSelector",
            0.5,
            pick(&[json!({"labels": {"app": "web"}}), json!({"labels": {"istio": "ingressgateway"}})]),
        ),
        ("priority", 0.2, pick(&[-10, 0, 10])),
        ("configPatches", 1.0, list(patch(), 1, 3)),
    ]);
    object("networking.istio.io/v1alpha3", "EnvoyFilter", spec)
}

fn context() -> Json {
    pick(&["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY"])
}

fn patch() -> Json {
    let of = |apply: &'static str, matches: Json, operations: &[&'static str], value: Value| {
        fields(vec![
            ("applyTo", 1.0, always(apply.into())),
            ("match", 0.9, matches),
            ("patch", 1.0, fields(vec![("operation", 1.0, pick(operations)), ("value", 1.0, always(value))])),
        ])
    };
    let lua = json!({
        "name": "lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": "function envoy_on_request(h) end"},
        },
    });
    let stats = json!({
        "name": "more",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.rbac.v3.RBAC", "stat_prefix": "more"},
    });
    let manager = json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "use_remote_address": true,
            "common_http_protocol_options": {"idle_timeout": "3s"},
        },
    });
    let inserts = ["INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST", "ADD"];
    either(vec![
        (
            2,
            of(
                "CLUSTER",
                matched("cluster", cluster()),
                &["MERGE"],
                json!({"connect_timeout": "3s", "circuit_breakers": {"thresholds": [{"max_retries": 7}]}}),
            ),
        ),
        (
            1,
            of(
                "LISTENER",
                matched("listener", listener()),
                &["MERGE"],
                json!({"per_connection_buffer_limit_bytes": 1024}),
            ),
        ),
        (3, of("HTTP_FILTER", matched("listener", http_filter()), &inserts, lua)),
        (1, of("NETWORK_FILTER", matched("listener", listener()), &["INSERT_FIRST", "INSERT_BEFORE"], stats)),
        (1, of("NETWORK_FILTER", matched("listener", network_filter()), &["MERGE"], manager)),
        (
            1,
            of(
                "VIRTUAL_HOST",
                matched("routeConfiguration", routes()),
                &["MERGE"],
                json!({"include_request_attempt_count": true}),
            ),
        ),
        (
            1,
            of(
                "HTTP_ROUTE",
                matched("routeConfiguration", routes()),
                &["MERGE"],
                json!({"response_headers_to_remove": ["x-b"]}),
            ),
        ),
        (
            1,
            of(
                "ROUTE_CONFIGURATION",
                matched("routeConfiguration", routes()),
                &["MERGE"],
                json!({"response_headers_to_add": [{"header": {"key": "x-c", "value": "%PROTOCOL%"}}]}),
            ),
        ),
    ])
}

fn matched(what: &'static str, inner: Json) -> Json {
    fields(vec![("context", 0.9, context()), (what, 0.7, inner)])
}

fn cluster() -> Json {
    fields(vec![
        ("service", 0.5, pick(&["web.shop.svc.cluster.local"])),
        ("portNumber", 0.5, port()),
        ("subset", 0.1, pick(&["v1"])),
    ])
}

fn listener() -> Json {
    fields(vec![
        ("portNumber", 0.5, pick(&[80, 443, 8080, 15006, 15001])),
        ("name", 0.1, pick(&["virtualInbound", "virtualOutbound"])),
    ])
}

fn network_filter() -> Json {
    let filter = json!({"filterChain": {"filter": {"name": "envoy.filters.network.http_connection_manager"}}});
    always(filter)
}

fn http_filter() -> Json {
    let manager = "envoy.filters.network.http_connection_manager";
    pick(&[
        json!({"filterChain": {"filter": {"name": manager}}}),
        json!({"filterChain": {"filter": {"name": manager, "subFilter": {"name": "envoy.filters.http.router"}}}}),
        json!({"filterChain": {"filter": {"name": manager, "subFilter": {"name": "envoy.filters.http.cors"}}}}),
    ])
}

fn routes() -> Json {
    fields(vec![
        ("name", 0.2, pick(&["80", "http.80"])),
        ("portNumber", 0.2, pick(&[80, 8080])),
        ("vhost", 0.4, fields(vec![("name", 0.7, pick(&["web.shop.svc.cluster.local:80", "scenery.test:80"]))])),
    ])
}

/// ConfigMaps: JSON is YAML.
pub(super) fn mesh_config() -> Json {
    let keepalive =
        fields(vec![("time", 0.7, duration()), ("interval", 0.7, duration()), ("probes", 0.7, pick(&[1, 9]))]);
    let labels =
        header_value().prop_map(|format| json!({"a": format, "b": [1, null, true]}).to_string().into()).boxed();
    let logs = either(vec![
        (2, fields(vec![("accessLogFormat", 0.7, header_value()), ("accessLogEncoding", 0.4, always("TEXT".into()))])),
        (1, fields(vec![("accessLogFormat", 0.8, labels), ("accessLogEncoding", 1.0, always("JSON".into()))])),
    ]);
    let basics = fields(vec![
        ("accessLogFile", 0.8, always("/dev/stdout".into())),
        ("connectTimeout", 0.4, mostly(&["1ms", "10s", "1h"], &["0s", "2h"])),
        ("protocolDetectionTimeout", 0.4, duration()),
        ("dnsRefreshRate", 0.3, mostly(&["1ms", "5s"], &["0s"])),
        ("h2UpgradePolicy", 0.3, pick(&["UPGRADE", "DO_NOT_UPGRADE"])),
        ("outboundTrafficPolicy", 0.4, fields(vec![("mode", 1.0, pick(&["ALLOW_ANY", "REGISTRY_ONLY"]))])),
        ("tcpKeepalive", 0.4, keepalive),
        ("trustDomain", 0.2, mostly(&["a.b", "td"], &["a b"])),
        ("enableAutoMtls", 0.3, boolean()),
        ("proxyHttpPort", 0.2, port()),
        (
            "pathNormalization",
            0.4,
            fields(vec![("normalization", 1.0, pick(&["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"]))]),
        ),
        (
            "defaultHttpRetryPolicy",
            0.3,
            fields(vec![("attempts", 1.0, pick(&[0, 1, 5])), ("retryOn", 0.5, pick(&["5xx", "reset"]))]),
        ),
        (
            "meshMTLS",
            0.3,
            fields(vec![
                ("minProtocolVersion", 1.0, pick(&["TLSV1_2", "TLSV1_3"])),
                ("cipherSuites", 0.3, some(&["ECDHE-RSA-AES128-GCM-SHA256"], 1, 1)),
            ]),
        ),
    ]);
    super::shape::both(basics, logs)
        .prop_map(|mesh| {
            json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "istio", "namespace": "istio-system"},
                "data": {"mesh": mesh.to_string()},
            })
        })
        .boxed()
}
