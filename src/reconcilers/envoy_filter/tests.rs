use super::*;
use crate::model::code::without_code;

/// Decodes an object from YAML and converts it.
fn converted(yaml: &str) -> (Option<EnvoyFilter>, Vec<String>) {
    let value = serde_yaml_ng::from_str(yaml).unwrap();
    let (object, unknown) = api::decode(value).unwrap();
    assert_eq!(unknown, Vec::<String>::new());
    let api::Object::EnvoyFilter(filter) = object else { panic!("not an EnvoyFilter") };
    let (made, problems) = convert(&filter, &ConvertContext { domain_suffix: "cluster.local" });
    (made, problems.iter().map(without_code).collect())
}

/// An EnvoyFilter with this `spec`, indented by two.
fn with_spec(spec: &str) -> (Option<EnvoyFilter>, Vec<String>) {
    let head = "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {name: f, namespace: shop}\n";
    converted(&format!("{head}spec:\n{spec}"))
}

/// The patches and problems of an EnvoyFilter with one patch, given in YAML's flow style.
fn with_patch(patch: &str) -> (Vec<Patch>, Vec<String>) {
    let (made, problems) = with_spec(&format!("  configPatches:\n  - {patch}\n"));
    (made.unwrap().patches, problems)
}

const LOCAL_RATE_LIMIT: &str = r#"
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata:
  name: limit
  namespace: shop
  creationTimestamp: "1970-01-01T00:01:40Z"
spec:
  priority: -5
  workloadSelector:
    labels: {app: cart}
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: SIDECAR_INBOUND
      proxy:
        proxyVersion: ^1\.2
        metadata: {TIER: gold}
      listener:
        portNumber: 8080
        filterChain:
          applicationProtocols: "istio, http/1.1"
          filter:
            name: envoy.filters.network.http_connection_manager
            subFilter:
              name: envoy.filters.http.router
    patch:
      operation: INSERT_BEFORE
      value:
        name: envoy.filters.http.local_ratelimit
        typed_config:
          "@type": type.googleapis.com/udpa.type.v1.TypedStruct
          type_url: type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
          value:
            stat_prefix: limiter
            token_bucket: {max_tokens: 4, tokens_per_fill: 4, fill_interval: 60s}
"#;

#[test]
fn a_local_rate_limit_is_read() {
    let (made, problems) = converted(LOCAL_RATE_LIMIT);
    assert_eq!(problems, Vec::<String>::new());
    let made = made.unwrap();
    assert_eq!(made.object.to_string(), "EnvoyFilter shop/limit");
    assert_eq!((made.age.created, made.priority), (100, -5));
    assert_eq!(made.workload["app"], "cart");
    let [patch] = &made.patches[..] else { panic!("{:?}", made.patches) };
    assert_eq!((patch.index, patch.apply_to, patch.context), (0, ApplyTo::HttpFilter, PatchContext::SidecarInbound));
    assert_eq!(patch.operation, Operation::InsertBefore);
    assert_eq!(patch.proxy.version, Some(VersionPattern::new(r"^1\.2")));
    assert_eq!(patch.proxy.metadata["TIER"], "gold");
    assert_eq!(patch.listener.port, Some(8080));
    assert_eq!(patch.listener.chain.application_protocols, ["istio", "http/1.1"]);
    let filter = patch.listener.chain.filter.as_ref().unwrap();
    assert_eq!(filter.name, "envoy.filters.network.http_connection_manager");
    assert_eq!(filter.sub_filter.as_deref(), Some("envoy.filters.http.router"));
    assert_eq!(patch.value["typed_config"]["value"]["token_bucket"]["max_tokens"], 4);
    assert_eq!(patch.cluster, ClusterMatch::default());
}

#[test]
fn what_translation_makes_of_a_local_rate_limit_has_no_problem() {
    let filter = converted(LOCAL_RATE_LIMIT).0.unwrap();
    let (_, problems) = crate::translate::filters::envoy_filter::compile(&Arc::new(filter));
    assert_eq!(problems, []);
}

#[test]
fn attached_filters_are_for_nobody() {
    let (made, problems) = with_spec("  targetRefs: [{kind: Gateway, group: gateway.networking.k8s.io, name: web}]");
    assert_eq!(made, None);
    assert_eq!(problems, ["EnvoyFilter shop/f: spec.targetRefs: not honoured yet, so the filter is for no proxy"]);
}

#[test]
fn a_wrong_version_pattern_drops_its_patch_only() {
    let (made, problems) = with_spec(
        "  configPatches:
  - {applyTo: CLUSTER, match: {proxy: {proxyVersion: '1.(2'}}, patch: {operation: MERGE, value: {lb_policy: RANDOM}}}
  - {applyTo: CLUSTER, patch: {operation: MERGE, value: {lb_policy: RANDOM}}}",
    );
    assert_eq!(made.unwrap().patches.iter().map(|p| p.index).collect::<Vec<_>>(), [1]);
    assert_eq!(
        problems,
        ["EnvoyFilter shop/f: spec.configPatches[0].match.proxy.proxyVersion: \"1.(2\" is not an RE2 expression: \
          a bracket ( or ) has no counterpart; the patch is left out"]
    );
}

#[test]
fn patches_that_cannot_be_held_are_left_out() {
    let merge = "patch: {operation: MERGE, value: {name: a}}";
    let cases = [
        (format!("{{{merge}}}"), "applyTo: is missing"),
        (
            format!("{{applyTo: CLUSTER, match: {{context: WAYPOINT}}, {merge}}}"),
            "match.context: WAYPOINT is not honoured yet",
        ),
        (
            format!("{{applyTo: HTTP_FILTER, match: {{waypoint: {{portNumber: 80}}}}, {merge}}}"),
            "match.waypoint: does not go with applyTo HTTP_FILTER",
        ),
        (
            format!("{{applyTo: HTTP_FILTER, match: {{cluster: {{name: a}}}}, {merge}}}"),
            "match.cluster: does not go with applyTo HTTP_FILTER",
        ),
        (
            format!("{{applyTo: CLUSTER, match: {{routeConfiguration: {{name: a}}}}, {merge}}}"),
            "match.routeConfiguration: does not go with applyTo CLUSTER",
        ),
        ("{applyTo: CLUSTER}".into(), "patch: is missing"),
        ("{applyTo: CLUSTER, patch: {value: {name: a}}}".into(), "patch.operation: is missing"),
        ("{applyTo: CLUSTER, patch: {operation: ADD}}".into(), "patch.value: is missing for ADD"),
    ];
    for (patch, problem) in cases {
        let (patches, problems) = with_patch(&patch);
        assert_eq!(patches, [], "{patch}");
        assert_eq!(
            problems,
            [format!("EnvoyFilter shop/f: spec.configPatches[0].{problem}; the patch is left out")],
            "{patch}"
        );
    }
}

#[test]
fn what_has_no_effect_is_said() {
    let (patches, problems) = with_patch(
        "{applyTo: HTTP_FILTER, match: {listener: {portName: http, listenerFilter: tls}}, \
         patch: {operation: REMOVE, filterClass: AUTHZ, value: {name: a}}}",
    );
    assert_eq!(*patches[0].value, Value::Null);
    let problems: Vec<_> =
        problems.iter().filter_map(|p| p.strip_prefix("EnvoyFilter shop/f: spec.configPatches[0].")).collect();
    assert_eq!(
        problems,
        [
            "match.listener.portName: is reserved and has no effect",
            "match.listener.listenerFilter: has no effect on HTTP_FILTER",
            "patch.filterClass: not honoured yet; the operation says the place",
            "patch.value: has no effect with REMOVE",
        ]
    );
}

#[test]
fn clusters_are_matched_by_port_subset_and_service() {
    let (patches, problems) = with_patch(
        "{applyTo: CLUSTER, match: {cluster: {portNumber: 80, subset: v1, service: a.b}}, \
         patch: {operation: MERGE, value: {lb_policy: RANDOM}}}",
    );
    assert_eq!(problems, Vec::<String>::new());
    let expected = ClusterMatch { port: Some(80), subset: "v1".into(), service: "a.b".into(), name: String::new() };
    assert_eq!(patches[0].cluster, expected);
    assert_eq!(patches[0].context, PatchContext::Any);
}
