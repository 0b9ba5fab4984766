//! Settings of components: those of `k8s`, and the values that say the same.

use serde_json::{Value, json};

use super::{manifest, names, object};

fn pod(deployment: &Value) -> &Value {
    &deployment["spec"]["template"]["spec"]
}

#[test]
fn settings_of_a_component_are_in_its_objects() {
    let k8s = json!({
        "affinity": {"podAntiAffinity": {}},
        "env": [{"name": "PILOT_CERT_PROVIDER", "value": "x"}, {"name": "ADDED", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        "imagePullPolicy": "Always",
        "nodeSelector": {"disk": "ssd"},
        "podAnnotations": {"a": 1},
        "podDisruptionBudget": {"maxUnavailable": 1},
        "priorityClassName": "high",
        "readinessProbe": {"periodSeconds": 7},
        "replicaCount": 3,
        "resources": {"limits": {"cpu": 2}},
        "serviceAnnotations": {"s": "t"},
        "strategy": {"type": "Recreate"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "volumes": [{"name": "v", "emptyDir": {}}],
        "volumeMounts": [{"name": "v", "mountPath": "/v"}],
    });
    let made = manifest(&json!({"profile": "demo", "components": {"pilot": {"k8s": k8s}}}), &[]);
    assert_eq!(made.warnings, Vec::<String>::new());
    let deployment = object(&made, "Deployment", "istiod");
    let (spec, pod) = (&deployment["spec"], pod(deployment));
    let container = &pod["containers"][0];
    assert_eq!((&spec["replicas"], &spec["strategy"]), (&json!(3), &json!({"type": "Recreate"})));
    assert_eq!(spec["template"]["metadata"]["annotations"]["a"], "1");
    assert_eq!((&pod["nodeSelector"], &pod["priorityClassName"]), (&json!({"disk": "ssd"}), &json!("high")));
    assert_eq!(pod["affinity"], json!({"podAntiAffinity": {}}));
    assert_eq!(pod["tolerations"], json!([{"key": "k", "operator": "Exists"}]));
    assert_eq!(container["imagePullPolicy"], "Always");
    assert_eq!(container["resources"]["limits"], json!({"cpu": "2"}));
    assert_eq!(
        (&container["readinessProbe"]["periodSeconds"], &container["readinessProbe"]["httpGet"]["path"]),
        (&json!(7), &json!("/ready"))
    );
    let env = container["env"].as_array().expect("variables");
    let variable = |name: &str| env.iter().filter(|v| v["name"] == name).collect::<Vec<_>>();
    assert_eq!(variable("PILOT_CERT_PROVIDER"), [&json!({"name": "PILOT_CERT_PROVIDER", "value": "x"})]);
    assert_eq!(variable("ADDED").len(), 1);
    assert!(container["volumeMounts"].to_string().contains("\"/v\"") && pod["volumes"].to_string().contains("\"v\""));
    let budget = &object(&made, "PodDisruptionBudget", "istiod")["spec"];
    assert_eq!((&budget["maxUnavailable"], &budget["minAvailable"]), (&json!(1), &Value::Null));
    assert_eq!(object(&made, "Service", "istiod")["metadata"]["annotations"], json!({"s": "t"}));
}

#[test]
fn the_number_of_pods_follows_the_load_where_that_is_asked_for() {
    let hpa = json!({"minReplicas": 2, "maxReplicas": 4});
    let by_component = json!({"profile": "demo", "components": {"pilot": {"k8s": {"hpaSpec": hpa}}}});
    let by_values = json!({"profile": "demo", "values": {"pilot": {"autoscaleEnabled": true, "autoscaleMin": 2, "autoscaleMax": 4}}});
    for spec in [by_component, by_values] {
        let made = manifest(&spec, &[]);
        let scaler = &object(&made, "HorizontalPodAutoscaler", "istiod")["spec"];
        assert_eq!((&scaler["minReplicas"], &scaler["maxReplicas"]), (&json!(2), &json!(4)), "{spec}");
        assert_eq!(scaler["scaleTargetRef"], json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "istiod"}));
        assert_eq!(object(&made, "Deployment", "istiod")["spec"].get("replicas"), None, "it is the autoscaler's");
    }
    let made = manifest(&json!({"profile": "default"}), &["values.pilot.autoscaleEnabled=false"]);
    assert!(!names(&made).contains(&"HorizontalPodAutoscaler istiod".to_owned()));
}

#[test]
fn values_say_the_same_and_components_win() {
    let spec = json!({
        "profile": "demo",
        "components": {"ingressGateways": [{"name": "istio-ingressgateway", "k8s": {"service": {"type": "NodePort"}}}]},
        "values": {
            "global": {"defaultTolerations": [{"key": "all", "operator": "Exists"}], "priorityClassName": "low", "imagePullSecrets": ["pull"]},
            "pilot": {"env": {"A": true, "B": 2}, "nodeSelector": {"n": "m"}, "extraContainerArgs": ["--vhds=false"], "image": "pilot"},
            "gateways": {"istio-ingressgateway": {
                "type": "ClusterIP", "loadBalancerIP": "192.0.2.7", "externalTrafficPolicy": "Local",
                "ports": [{"name": "http2", "port": 8000, "targetPort": 8080}], "serviceAnnotations": {"x": "y"},
                "labels": {"zone": "edge"}, "resources": {"limits": {"memory": "1Gi"}},
            }},
        },
    });
    let made = manifest(&spec, &[]);
    assert_eq!(made.warnings, Vec::<String>::new());
    let service = object(&made, "Service", "istio-ingressgateway");
    assert_eq!(service["spec"]["type"], "NodePort");
    assert_eq!(
        (&service["spec"]["loadBalancerIP"], &service["spec"]["externalTrafficPolicy"]),
        (&json!("192.0.2.7"), &json!("Local"))
    );
    assert_eq!(service["metadata"]["annotations"], json!({"x": "y"}));
    // The profile's component names its ports.
    assert_eq!(service["spec"]["ports"].as_array().map(Vec::len), Some(5));
    let gateway = object(&made, "Deployment", "istio-ingressgateway");
    assert_eq!(gateway["spec"]["template"]["metadata"]["labels"]["zone"], "edge");
    assert_eq!(pod(gateway)["containers"][0]["resources"]["limits"]["memory"], "1Gi");
    assert_eq!(pod(gateway)["priorityClassName"], "low");
    assert_eq!(pod(gateway)["imagePullSecrets"], json!([{"name": "pull"}]));
    let control_plane = object(&made, "Deployment", "istiod");
    let container = &pod(control_plane)["containers"][0];
    assert!(container["args"].as_array().expect("arguments").contains(&json!("--vhds=false")));
    for (name, value) in [("A", "true"), ("B", "2")] {
        assert!(container["env"].as_array().expect("variables").contains(&json!({"name": name, "value": value})));
    }
    assert_eq!(pod(control_plane)["tolerations"], json!([{"key": "all", "operator": "Exists"}]));
    assert_eq!(pod(control_plane)["nodeSelector"], json!({"n": "m"}));
    assert_eq!(object(&made, "ServiceAccount", "istiod")["imagePullSecrets"], json!([{"name": "pull"}]));
}

#[test]
fn a_gateway_of_ones_own_has_its_name_labels_and_namespace() {
    let gateway = json!({"name": "edge", "namespace": "edge-ns", "enabled": true, "label": {"istio": "edge"}});
    let made = manifest(&json!({"profile": "demo", "components": {"ingressGateways": [gateway]}}), &[]);
    let deployment = object(&made, "Deployment", "edge");
    assert_eq!(deployment["metadata"]["namespace"], "edge-ns");
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], json!({"app": "istio-ingressgateway", "istio": "edge"}));
    let annotations = &deployment["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["sidecar.istio.io/status"], Value::Null, "it is not injected");
    assert_eq!(deployment["spec"]["template"]["metadata"]["labels"]["sidecar.istio.io/inject"], "false");
    let args = pod(deployment)["containers"][0]["args"].as_array().expect("arguments");
    assert_eq!(args[..4], ["proxy", "router", "--domain", "$(POD_NAMESPACE).svc.cluster.local"]);
    let env = pod(deployment)["containers"][0]["env"].to_string();
    assert!(env.contains("kubernetes://apis/apps/v1/namespaces/edge-ns/deployments/edge"), "{env}");
    assert_eq!(object(&made, "Namespace", "edge-ns")["metadata"]["name"], "edge-ns");
    assert_eq!(object(&made, "Role", "edge-sds")["metadata"]["namespace"], "edge-ns");
    assert!(names(&made).contains(&"Deployment istio-ingressgateway".to_owned()), "the profile's stays");
}

#[test]
fn overlays_change_what_comes_out() {
    let overlays = json!([
        {"kind": "Deployment", "name": "istiod", "patches": [
            {"path": "spec.template.spec.containers.[name:discovery].args.[99]", "value": "--added"},
            {"path": "spec.template.spec.containers.[name:discovery].readinessProbe"},
            {"path": r"metadata.annotations.a\.b", "value": "c"},
        ]},
        {"kind": "Deployment", "name": "none", "patches": []},
    ]);
    let made = manifest(&json!({"profile": "demo", "components": {"pilot": {"k8s": {"overlays": overlays}}}}), &[]);
    let deployment = object(&made, "Deployment", "istiod");
    let container = &pod(deployment)["containers"][0];
    assert_eq!(container["args"].as_array().and_then(|args| args.last()), Some(&json!("--added")));
    assert_eq!(container.get("readinessProbe"), None);
    assert_eq!(deployment["metadata"]["annotations"]["a.b"], "c");
    assert_eq!(made.warnings, ["an overlay of Pilot is for Deployment none, which is not among its objects"]);
}
