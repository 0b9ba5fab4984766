//! Whatever a file says, it becomes objects or an error.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Manifest;

/// Places that say something.
const PLACES: [&str; 30] = [
    "spec",
    "spec.profile",
    "spec.hub",
    "spec.tag",
    "spec.revision",
    "spec.meshConfig",
    "spec.meshConfig.defaultConfig",
    "spec.meshConfig.trustDomain",
    "spec.components",
    "spec.components.pilot",
    "spec.components.pilot.k8s",
    "spec.components.pilot.k8s.env",
    "spec.components.pilot.k8s.overlays",
    "spec.components.pilot.k8s.service",
    "spec.components.pilot.k8s.resources.limits",
    "spec.components.pilot.k8s.hpaSpec",
    "spec.components.ingressGateways",
    "spec.values",
    "spec.values.global",
    "spec.values.global.proxy",
    "spec.values.global.proxy.image",
    "spec.values.global.proxy.resources",
    "spec.values.global.istioNamespace",
    "spec.values.gateways",
    "spec.values.gateways.istio-ingressgateway",
    "spec.values.pilot",
    "spec.values.pilot.env",
    "spec.values.revisionTags",
    "spec.values.sidecarInjectorWebhook.neverInjectSelector",
    "metadata",
];

fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z0-9/:.~é-]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let key =
            prop_oneof![Just("name".to_owned()), Just("enabled".to_owned()), Just("k8s".to_owned()), "[a-z]{1,4}"];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..3).prop_map(|all| all.into_iter().collect()),
        ]
    })
}

/// Puts a value at a place, whatever is on the way.
fn put(tree: &mut Value, place: &str, value: Value) {
    let mut at = tree;
    for key in place.split('.') {
        if !at.is_object() {
            *at = json!({});
        }
        at = &mut at[key];
    }
    *at = value;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn anything_is_objects_or_an_error(said in prop::collection::vec((prop::sample::select(&PLACES[..]), anything()), 1..4)) {
        let mut object = json!({"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator"});
        for (place, value) in said {
            put(&mut object, place, value);
        }
        let made = Manifest::of_object(object.clone(), &[]);
        if let Ok(made) = made {
            let again = Manifest::of_object(object, &[]).expect("the same");
            prop_assert_eq!(made.to_yaml(), again.to_yaml());
        }
    }

    #[test]
    fn any_setting_is_taken_or_an_error(text in r"[a-z.\[\]:0-9=\\]{0,24}") {
        let object = json!({"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator"});
        let _ = Manifest::of_object(object, &[text]);
    }
}
