//! Who asks for injection (contract §5.1).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use serde_json::{Value, json};

use super::{manifest, names, object};

/// The webhooks, of those in a configuration, that are asked about a Pod by the labels of its namespace and its own.
fn asked(configuration: &Value, namespace: &[(&str, &str)], pod: &[(&str, &str)]) -> Vec<String> {
    let hooks = configuration["webhooks"].as_array().expect("webhooks").iter();
    let matches = |selector: &Value, labels: &[(&str, &str)]| {
        let selector: LabelSelector = serde_json::from_value(selector.clone()).expect("a selector");
        selector.match_expressions.iter().flatten().all(|requirement| is_met(requirement, labels))
    };
    hooks
        .filter(|hook| matches(&hook["namespaceSelector"], namespace) && matches(&hook["objectSelector"], pod))
        .map(|hook| hook["name"].as_str().expect("a name").trim_end_matches(".sidecar-injector.istio.io").to_owned())
        .collect()
}

fn is_met(requirement: &LabelSelectorRequirement, labels: &[(&str, &str)]) -> bool {
    let value = labels.iter().find(|(key, _)| *key == requirement.key).map(|(_, value)| *value);
    let is_one = value.is_some_and(|value| requirement.values.iter().flatten().any(|one| one == value));
    match requirement.operator.as_str() {
        "In" => is_one,
        "NotIn" => !is_one,
        "DoesNotExist" => value.is_none(),
        other => panic!("{other}"),
    }
}

#[test]
fn each_pod_is_asked_about_once_or_not_at_all() {
    let usual = manifest(&json!({"profile": "minimal"}), &[]);
    let usual = object(&usual, "MutatingWebhookConfiguration", "istio-sidecar-injector");
    let by_default =
        manifest(&json!({"profile": "minimal"}), &["values.sidecarInjectorWebhook.enableNamespacesByDefault=true"]);
    let by_default = object(&by_default, "MutatingWebhookConfiguration", "istio-sidecar-injector");
    let (on, off, rev) = (("istio-injection", "enabled"), ("istio-injection", "disabled"), ("istio.io/rev", "default"));
    let (yes, no, other) =
        (("sidecar.istio.io/inject", "true"), ("sidecar.istio.io/inject", "false"), ("istio.io/rev", "canary"));
    let system = ("kubernetes.io/metadata.name", "kube-system");
    for (namespace, pod, expected, where_enabled) in [
        (&[on][..], &[][..], Some("namespace"), Some("namespace")),
        (&[on], &[yes], Some("namespace"), Some("namespace")),
        (&[on], &[no], None, None),
        (&[rev], &[], Some("rev.namespace"), Some("rev.namespace")),
        (&[rev], &[no], None, None),
        (&[rev, on], &[], Some("namespace"), Some("namespace")),
        (&[other], &[], None, None),
        (&[], &[rev], Some("rev.object"), Some("rev.object")),
        (&[], &[other], None, None),
        (&[], &[yes], Some("object"), Some("object")),
        (&[off], &[yes], None, None),
        (&[], &[], None, Some("auto")),
        (&[], &[no], None, None),
        (&[system], &[], None, None),
    ] {
        let of = |configuration| asked(configuration, namespace, pod);
        assert_eq!(of(usual), expected.into_iter().collect::<Vec<_>>(), "{namespace:?} {pod:?}");
        assert_eq!(of(by_default), where_enabled.into_iter().collect::<Vec<_>>(), "{namespace:?} {pod:?}");
    }
}

#[test]
fn webhooks_lead_to_the_revision_and_close_only_when_somebody_answers() {
    let made = manifest(
        &json!({"profile": "minimal", "values": {"global": {"istioNamespace": "mesh"}}}),
        &["revision=canary"],
    );
    let configuration = object(&made, "MutatingWebhookConfiguration", "istio-sidecar-injector-canary-mesh");
    assert_eq!(configuration["metadata"]["labels"]["istio.io/rev"], "canary");
    for hook in configuration["webhooks"].as_array().expect("webhooks") {
        let service = json!({"name": "istiod-canary", "namespace": "mesh", "path": "/inject", "port": 443});
        assert_eq!(hook["clientConfig"], json!({"service": service}));
        assert_eq!((&hook["failurePolicy"], &hook["sideEffects"]), (&json!("Ignore"), &json!("None")));
    }
    assert_eq!(asked(configuration, &[("istio.io/rev", "canary")], &[]), ["rev.namespace"]);
    assert_eq!(asked(configuration, &[("istio-injection", "enabled")], &[]), Vec::<String>::new());
}

#[test]
fn a_revision_has_other_names() {
    let made = manifest(
        &json!({"profile": "minimal"}),
        &["revision=canary", "values.defaultRevision=canary", "values.revisionTags=[prod]"],
    );
    let of = |name: &str| object(&made, "MutatingWebhookConfiguration", &format!("istio-revision-tag-{name}"));
    assert_eq!(asked(of("default"), &[("istio-injection", "enabled")], &[]), ["namespace"]);
    assert_eq!(asked(of("prod"), &[("istio.io/rev", "prod")], &[]), ["rev.namespace"]);
    assert_eq!(of("prod")["metadata"]["labels"]["istio.io/tag"], "prod");
    assert_eq!(of("prod")["webhooks"][0]["clientConfig"]["service"]["name"], "istiod-canary");
    let none = manifest(&json!({"profile": "minimal"}), &["values.global.operatorManageWebhooks=true"]);
    assert!(!names(&none).iter().any(|name| name.contains("MutatingWebhook")));
}

#[test]
fn each_object_is_judged_by_its_revision_or_else_by_the_default_one() {
    let of = |settings: &[&str]| -> Vec<(String, Value)> {
        let made = manifest(&json!({"profile": "minimal"}), settings);
        let all = made.objects.iter().filter(|o| o.id().kind == "ValidatingWebhookConfiguration");
        all.map(|o| (o.id().name, o.value["webhooks"][0].clone())).collect()
    };
    let usual = of(&[]);
    let named: Vec<_> = usual.iter().map(|(name, hook)| (name.as_str(), hook["name"].as_str())).collect();
    assert_eq!(
        named,
        [
            ("istio-validator-istio-system", Some("rev.validation.istio.io")),
            ("istiod-default-validator", Some("validation.istio.io")),
        ]
    );
    let selected = |hook: &Value| hook["objectSelector"]["matchExpressions"][0].clone();
    assert_eq!(selected(&usual[0].1), json!({"key": "istio.io/rev", "operator": "In", "values": ["default"]}));
    assert_eq!(selected(&usual[1].1), json!({"key": "istio.io/rev", "operator": "DoesNotExist"}));
    for (_, hook) in &usual {
        let service = json!({"name": "istiod", "namespace": "istio-system", "path": "/validate", "port": 443});
        assert_eq!(hook["clientConfig"], json!({"service": service}));
        assert_eq!((&hook["failurePolicy"], &hook["sideEffects"]), (&json!("Ignore"), &json!("None")));
    }
    let canary = of(&["revision=canary"]);
    assert_eq!(canary.len(), 1, "the objects of nobody are the default revision's");
    assert_eq!(canary[0].0, "istio-validator-canary-istio-system");
    assert_eq!(canary[0].1["clientConfig"]["service"]["name"], "istiod-canary");
    assert_eq!(of(&["revision=canary", "values.defaultRevision=canary"])[1].0, "istiod-default-validator");
    assert!(of(&["values.global.configValidation=false"]).is_empty());
}
