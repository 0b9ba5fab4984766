use serde_json::json;

use super::*;

fn findings(object: &Value) -> Vec<String> {
    validate(object, &Context::default()).iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_not_known_is_refused() {
    assert_eq!(findings(&json!([])), ["apiVersion: is missing: every object says its apiVersion and kind [MZ0001]"]);
    let object = json!({"apiVersion": "networking.istio.io/v1", "kind": "VirtualServce", "metadata": {"name": "a"}});
    assert_eq!(
        findings(&object),
        ["kind: unrecognized type networking.istio.io/v1 VirtualServce: did you mean networking.istio.io/v1 \
            VirtualService? [MZ0002]"]
    );
    assert_eq!(validate(&object, &Context::default())[0].value, Some(json!("VirtualServce")));
}

#[test]
fn all_findings_are_told_errors_first() {
    let object = json!({
        "apiVersion": "networking.istio.io/v7", "kind": "VirtualService", "extra": 1,
        "metadata": {"name": "v", "annotations": {"internal.istio.io/parents": "x"}},
        "spec": {"hosts": ["a"], "hots": [], "http": [
            {"match": [{"port": 1}], "route": [{"destination": {"host": "a"}, "weight": -1}], "timeout": "1"},
            {"route": [{"destination": {"host": "b c"}}]},
        ]},
    });
    let found = validate(&object, &Context::default());
    let short: Vec<_> = found.iter().map(|f| format!("{} {} {}", f.severity(), f.code, f.path)).collect();
    assert_eq!(
        short,
        [
            "error MZ0005 extra",
            "error MZ0010 metadata.annotations[internal.istio.io/parents]",
            "error MZ0124 spec.http[0].route[0].weight",
            "error MZ0120 spec.http[0].timeout",
            "error MZ0110 spec.http[1].route[0].destination.host",
            "warning MZ0003 apiVersion",
            "warning MZ0006 spec.hots",
        ]
    );
    assert_eq!(found[2].value, Some(json!(-1)));
    assert!(!is_valid(&found) && is_valid(&found[5..]));
}

#[test]
fn a_value_of_another_type_is_told_with_its_path() {
    let object = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g"},
        "spec": {"servers": [{"port": {"number": "x"}}]},
    });
    let found = findings(&object);
    assert!(found[0].starts_with("spec.servers[0].port.number: invalid type: string \"x\""), "{found:?}");
    assert!(found[0].ends_with("[MZ0004]"), "{found:?}");
}

#[test]
fn dry_runs_are_of_policies_that_refuse() {
    let object = |kind: &str, action: &str, value: &str| {
        let object = json!({
            "apiVersion": "security.istio.io/v1", "kind": kind, "spec": {"action": action},
            "metadata": {"name": "p", "annotations": {"istio.io/dry-run": value}},
        });
        findings(&object).iter().filter(|f| f.contains("dry run") || f.contains("boolean")).count()
    };
    assert_eq!(object("AuthorizationPolicy", "DENY", "true"), 0);
    assert_eq!(object("AuthorizationPolicy", "DENY", "yes"), 1);
    assert_eq!(object("AuthorizationPolicy", "AUDIT", "true"), 1);
    assert_eq!(object("PeerAuthentication", "", "true"), 1);
}

#[test]
fn a_mesh_configuration_is_judged_by_its_fields() {
    let found = validate_mesh_config("connectTimeout: 1\ntrustDomain: td\n");
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].path.as_str(), &found[0].value), ("connectTimeout", &Some(json!(1))));
    assert!(validate_mesh_config("").is_empty() && !is_valid(&validate_mesh_config("[")));
}
