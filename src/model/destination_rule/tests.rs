use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::*;
use crate::model::{MeshConfig, Namespace, ObjectRef, Visibility};

/// A rule about `web.shop`, as old as its number.
fn rule(created: i64, namespace: &str) -> DestinationRule {
    let name = format!("r{created}");
    DestinationRule {
        object: ObjectRef::new("DestinationRule", namespace, &name),
        age: Age { created, name: name.as_str().into(), namespace: namespace.into() },
        namespace: namespace.into(),
        host: "web.shop".into(),
        policy: None,
        subsets: Vec::new(),
        visibility: None,
        workload_selector: None,
    }
}

fn to(namespaces: &[&str]) -> Option<Visibility> {
    Some(Visibility::Namespaces(namespaces.iter().map(|n| Namespace::from(*n)).collect()))
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn selecting(created: i64, namespace: &str, app: &str) -> DestinationRule {
    let visibility = to(&[namespace]);
    DestinationRule { workload_selector: Some(labels(&[("app", app)])), visibility, ..rule(created, namespace) }
}

fn subset(name: &str, policy: Option<TrafficPolicy>) -> Subset {
    Subset { name: name.into(), labels: Labels::new(), policy: policy.map(Arc::new) }
}

fn max_connections(count: u32) -> PolicyBlocks {
    let pool = ConnectionPool { max_connections: count, ..ConnectionPool::default() };
    PolicyBlocks { connection_pool: Some(Arc::new(pool)), ..PolicyBlocks::default() }
}

fn limited(count: u32) -> TrafficPolicy {
    TrafficPolicy { blocks: max_connections(count), ..TrafficPolicy::default() }
}

fn arcs(rules: Vec<DestinationRule>) -> Vec<Arc<DestinationRule>> {
    rules.into_iter().map(Arc::new).collect()
}

/// The names of the objects in each merged rule.
fn names(merged: &[Arc<MergedRule>]) -> Vec<Vec<String>> {
    merged.iter().map(|m| m.objects.iter().map(|o| o.name.to_string()).collect()).collect()
}

fn limit(policy: &EffectivePolicy) -> Option<u32> {
    policy.blocks.connection_pool.as_ref().map(|p| p.max_connections)
}

#[test]
fn equal_rules_become_one_and_the_oldest_wins() {
    let old = DestinationRule { subsets: vec![subset("a", None)], ..rule(1, "shop") };
    let young = DestinationRule {
        policy: Some(Arc::new(limited(7))),
        subsets: vec![subset("a", Some(limited(1))), subset("b", None)],
        ..rule(2, "shop")
    };
    let merged = merge(&arcs(vec![young, old]), Scope::Local);
    assert_eq!(names(&merged), [["r1", "r2"]]);
    assert_eq!(merged[0].policy, Some(Arc::new(limited(7))));
    let subsets: Vec<(&str, bool)> = merged[0].subsets.iter().map(|s| (&*s.name, s.policy.is_some())).collect();
    assert_eq!(subsets, [("a", false), ("b", false)]);
}

#[test]
fn visibility_decides_what_merges() {
    let narrow = DestinationRule { visibility: to(&["a"]), ..rule(1, "shop") };
    let wide = DestinationRule { visibility: to(&["a", "b"]), ..rule(2, "shop") };
    let other = DestinationRule { visibility: to(&["c"]), ..rule(3, "shop") };
    let merged = merge(&arcs(vec![narrow, wide, other]), Scope::Exported);
    assert_eq!(names(&merged), [vec!["r2"], vec!["r1", "r2"], vec!["r3"]]);
}

#[test]
fn scopes_split_private_and_exported_rules() {
    let private = DestinationRule { visibility: to(&["shop"]), ..rule(1, "shop") };
    let rules = arcs(vec![private, rule(2, "shop"), DestinationRule { visibility: to(&["x"]), ..rule(3, "shop") }]);
    assert_eq!(names(&merge(&rules, Scope::Private)), [["r1"]]);
    assert_eq!(names(&merge(&rules, Scope::Exported)), [["r2"], ["r3"]]);
    assert_eq!(names(&merge(&rules, Scope::Local)), [["r1"], ["r2"]]);
}

#[test]
fn rules_with_selectors_merge_by_selector_and_take_subsets_of_private_rules() {
    let private = DestinationRule { visibility: to(&["shop"]), subsets: vec![subset("v1", None)], ..rule(1, "shop") };
    let rules = arcs(vec![private, selecting(2, "shop", "a"), selecting(3, "shop", "a"), selecting(4, "shop", "b")]);
    let merged = merge(&rules, Scope::Local);
    assert_eq!(names(&merged), [vec!["r2", "r3", "r1"], vec!["r4", "r1"], vec!["r1"]]);
    assert!(merged[0].subset("v1").is_some());
}

#[test]
fn hosts_are_looked_up_from_the_most_specific() {
    let of = |host| host_patterns(host).collect::<Vec<_>>();
    assert_eq!(of("a.b.c"), ["a.b.c", "*.b.c", "*.c", "*"]);
    assert_eq!(of("*.b.c"), ["*.b.c", "*.c", "*"]);
    assert_eq!(of("*"), ["*"]);
    assert_eq!(of("a"), ["a", "*"]);
}

fn namespace_rules(rules: Vec<DestinationRule>) -> Arc<NamespaceRules> {
    let rules = arcs(rules);
    Arc::new(NamespaceRules::of([rules.as_slice()]))
}

fn picked(candidates: &Candidates<'_>, client: &str, own: Option<&Labels>) -> Option<String> {
    candidates.applicable(client, own).map(|r| r.objects[0].to_string())
}

#[test]
fn own_namespace_then_service_namespace_then_root() {
    let rules = BTreeMap::from([
        ("client".into(), namespace_rules(vec![rule(1, "client")])),
        ("shop".into(), namespace_rules(vec![DestinationRule { visibility: to(&["a"]), ..rule(2, "shop") }])),
        ("istio-system".into(), namespace_rules(vec![rule(3, "istio-system")])),
    ]);
    let candidates = Candidates { service_namespace: "shop", root_namespace: "istio-system", rules: &rules };
    let of = |client| picked(&candidates, client, None);
    assert_eq!(of("client").as_deref(), Some("DestinationRule client/r1"));
    assert_eq!(of("a").as_deref(), Some("DestinationRule shop/r2"));
    // The service's namespace exports something about the host, if not to this client: root is not asked.
    assert_eq!(of("elsewhere"), None);
    assert_eq!(candidates.exceptions(), ["a", "client"].map(Namespace::from).into());
}

#[test]
fn clients_of_the_root_namespace_look_at_its_private_rules_only_first() {
    let private = DestinationRule { visibility: to(&["istio-system"]), ..rule(3, "istio-system") };
    let rules = BTreeMap::from([
        ("shop".into(), namespace_rules(vec![rule(2, "shop")])),
        ("istio-system".into(), namespace_rules(vec![private, rule(4, "istio-system")])),
    ]);
    let candidates = Candidates { service_namespace: "shop", root_namespace: "istio-system", rules: &rules };
    assert_eq!(picked(&candidates, "istio-system", None).as_deref(), Some("DestinationRule istio-system/r3"));
    assert_eq!(picked(&candidates, "x", None).as_deref(), Some("DestinationRule shop/r2"));
    assert_eq!(candidates.exceptions(), ["istio-system"].map(Namespace::from).into());
}

#[test]
fn selectors_are_for_clients_of_the_same_namespace() {
    let rules = BTreeMap::from([("shop".into(), namespace_rules(vec![selecting(1, "shop", "a"), rule(2, "shop")]))]);
    let candidates = Candidates { service_namespace: "shop", root_namespace: "istio-system", rules: &rules };
    let own = labels(&[("app", "a"), ("x", "y")]);
    assert_eq!(picked(&candidates, "shop", Some(&own)).as_deref(), Some("DestinationRule shop/r1"));
    assert_eq!(picked(&candidates, "shop", Some(&Labels::new())).as_deref(), Some("DestinationRule shop/r2"));
    assert_eq!(picked(&candidates, "other", Some(&own)).as_deref(), Some("DestinationRule shop/r2"));
    assert_eq!(candidates.selectors("shop"), [&labels(&[("app", "a")])]);
    assert!(candidates.selectors("other").is_empty());
    assert!(candidates.exceptions().is_empty());
}

#[test]
fn ports_replace_all_blocks_and_subsets_override_one_by_one() {
    let outlier = Some(Arc::new(OutlierDetection::default()));
    let blocks = PolicyBlocks { outlier_detection: outlier.clone(), ..max_connections(1) };
    let base = TrafficPolicy { blocks, ports: vec![(81, max_connections(81))], ..TrafficPolicy::default() };
    let own = TrafficPolicy { ports: vec![(82, PolicyBlocks::default())], ..limited(2) };
    let source = DestinationRule {
        policy: Some(Arc::new(base)),
        subsets: vec![subset("plain", None), subset("own", Some(own))],
        ..rule(1, "shop")
    };
    let merged = merge(&arcs(vec![source]), Scope::Local).remove(0);
    let mesh = MeshConfig::default();
    let of = |subset, port| effective_policy(Some(&merged), subset, port, &mesh).expect("a policy");
    assert_eq!((limit(&of("", 80)), of("", 80).blocks.outlier_detection), (Some(1), outlier.clone()));
    assert_eq!((limit(&of("", 81)), of("", 81).blocks.outlier_detection), (Some(81), None));
    assert_eq!(limit(&of("plain", 80)), Some(1));
    assert_eq!((limit(&of("own", 80)), of("own", 80).blocks.outlier_detection), (Some(2), outlier));
    assert_eq!(of("own", 82).blocks, PolicyBlocks::default());
    assert_eq!(effective_policy(Some(&merged), "missing", 80, &mesh), None);
    assert_eq!(effective_policy(None, "", 80, &mesh), Some(EffectivePolicy::default()));
}

#[test]
fn the_mesh_fills_missing_blocks() {
    let pool = ConnectionPool { connect_timeout: Some(Duration::from_secs(1)), ..ConnectionPool::default() };
    let mesh = MeshConfig { default_connection_pool: Some(Arc::new(pool)), ..MeshConfig::default() };
    let merged = merge(&arcs(vec![rule(1, "shop")]), Scope::Local).remove(0);
    for of in [None, Some(&*merged)] {
        let made = effective_policy(of, "", 80, &mesh).expect("a policy");
        assert_eq!(made.blocks.connection_pool, mesh.default_connection_pool);
        assert_eq!(made.blocks.outlier_detection, None);
    }
}

#[test]
fn decimals_are_exact_enough_and_total() {
    for value in [0.0, 0.1, 12.5, 100.0] {
        assert_eq!(Decimal::from_f64(value).to_f64(), value);
    }
    for odd in [f64::NAN, -1.0, f64::NEG_INFINITY] {
        assert_eq!(Decimal::from_f64(odd), Decimal::default());
    }
}
