//! What IstioOperators become.

mod properties;
mod settings;
mod webhooks;

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::webhook::inject::Settings;

/// A manifest of a `spec` and settings of the command line.
fn manifest(spec: &Value, settings: &[&str]) -> Manifest {
    let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    let object = json!({"apiVersion": "install.istio.io/v1alpha1", "kind": "IstioOperator", "spec": spec});
    Manifest::of_object(object, &settings).expect("a manifest")
}

/// An object of a manifest.
fn object<'a>(manifest: &'a Manifest, kind: &str, name: &str) -> &'a Value {
    let found = manifest.objects.iter().find(|object| object.id().kind == kind && object.id().name == name);
    &found.unwrap_or_else(|| panic!("no {kind} {name}")).value
}

/// What is there but definitions: `kind name`.
fn names(manifest: &Manifest) -> Vec<String> {
    let rest = manifest.objects.iter().map(Object::id).filter(|id| id.kind != "CustomResourceDefinition");
    rest.map(|id| format!("{} {}", id.kind, id.name)).collect()
}

#[test]
fn a_demo_is_a_control_plane_with_both_gateways() {
    let made = manifest(&json!({"profile": "demo"}), &[]);
    let mut expected = vec!["Namespace istio-system".to_owned()];
    let gateways = ["istio-ingressgateway", "istio-egressgateway"];
    let of_each = |kind: &str, suffix: &str| {
        let rest = gateways.iter().map(|name| format!("{kind} {name}{suffix}")).collect::<Vec<_>>();
        [vec![format!("{kind} istiod")], rest].concat()
    };
    expected.extend(of_each("ServiceAccount", "-service-account"));
    expected
        .extend(["ClusterRole", "ClusterRoleBinding"].map(|kind| format!("{kind} istiod-clusterrole-istio-system")));
    expected.extend(of_each("Role", "-sds"));
    expected.extend(of_each("RoleBinding", "-sds"));
    expected.extend(["istio", "istio-sidecar-injector"].map(|name| format!("ConfigMap {name}")));
    for kind in ["Service", "PodDisruptionBudget", "Deployment"] {
        expected.extend(of_each(kind, ""));
    }
    expected.push("MutatingWebhookConfiguration istio-sidecar-injector".to_owned());
    let validators = ["istio-validator-istio-system", "istiod-default-validator"];
    expected.extend(validators.map(|name| format!("ValidatingWebhookConfiguration {name}")));
    assert_eq!(names(&made), expected);
    let definitions = made.objects.iter().filter(|o| o.id().kind == "CustomResourceDefinition").count();
    assert_eq!(definitions, crate::api::crds::definitions().len());
    assert_eq!(made.warnings, Vec::<String>::new());
}

#[test]
fn profiles_differ_in_what_they_have() {
    let of = |profile: &str| names(&manifest(&json!({"profile": profile}), &[]));
    let usual = of("default");
    assert_eq!(usual, of(""), "the profile where none is named");
    for name in ["istiod", "istio-ingressgateway"] {
        assert!(usual.contains(&format!("HorizontalPodAutoscaler {name}")), "{usual:?}");
    }
    assert!(!usual.iter().any(|line| line.contains("egress")), "{usual:?}");
    let minimal = of("minimal");
    assert!(minimal.contains(&"Deployment istiod".to_owned()) && !minimal.iter().any(|line| line.contains("gateway")));
    assert_eq!(of("empty"), Vec::<String>::new());
    assert_eq!(of("remote"), ["Namespace istio-system"]);
}

#[test]
fn the_files_in_manifests_are_what_is_generated() {
    for profile in ["default", "demo"] {
        let spec = json!({"profile": profile, "values": {"base": {"enableCRDTemplates": false}}});
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("manifests/install/{profile}.yaml"));
        let written = std::fs::read_to_string(&file).expect("the file");
        let body = written.split_once("---\n").map(|(_, body)| format!("---\n{body}"));
        assert!(body == Some(manifest(&spec, &[]).to_yaml()), "{} is out of date: run `just gen`", file.display());
    }
}

#[test]
fn the_file_that_runs_the_operator_is_what_is_generated() {
    let written = include_str!("../../manifests/install/operator.yaml");
    let (made, warnings) = operator_manifest(None, None);
    let body = written.split_once("---\n").map(|(_, body)| format!("---\n{body}"));
    assert_eq!((body, warnings), (Some(made), Vec::new()), "it is out of date: run `just gen`");
    let (local, _) = operator_manifest(Some(""), Some("local"));
    assert!(local.contains("image: mizzen:local\n"), "{local}");
    assert_eq!(operator_manifest(Some("docker.io/istio"), None).1.len(), 1, "Istio's images have no such program");
}

#[test]
fn all_that_is_installed_can_be_found_again() {
    let made = manifest(&json!({"profile": "demo"}), &["revision=canary"]);
    for object in &made.objects {
        let (id, labels) = (object.id(), &object.value["metadata"]["labels"]);
        if id.kind == "CustomResourceDefinition" {
            assert_eq!(labels["install.operator.istio.io/owning-resource"], Value::Null, "{id}");
            continue;
        }
        assert_eq!(labels["app.kubernetes.io/managed-by"], "mizzen", "{id}");
        assert_eq!(labels["install.operator.istio.io/owning-resource"], "unknown", "{id}");
        assert_eq!(labels["operator.istio.io/component"], object.component.to_string(), "{id}");
        // A namespace with a revision would be injected.
        let revision = if id.kind == "Namespace" { Value::Null } else { "canary".into() };
        assert_eq!(labels["istio.io/rev"], revision, "{id}");
    }
}

#[test]
fn a_revision_stands_beside_the_default_one() {
    let (usual, canary) =
        (manifest(&json!({"profile": "minimal"}), &[]), manifest(&json!({}), &["revision=1-23", "profile=minimal"]));
    let (usual, with_revision) = (names(&usual), names(&canary));
    let common: Vec<&String> = usual.iter().filter(|name| with_revision.contains(name)).collect();
    assert_eq!(common, ["Namespace istio-system"]);
    let deployment = object(&canary, "Deployment", "istiod-1-23");
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], json!({"app": "istiod", "istio.io/rev": "1-23"}));
    assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"], "1-23");
    let mesh = object(&canary, "ConfigMap", "istio-1-23")["data"]["mesh"].as_str().expect("a text");
    assert!(mesh.contains("discoveryAddress: istiod-1-23.istio-system.svc:15012"), "{mesh}");
    assert_eq!(manifest(&json!({"revision": "default"}), &[]).revision, "");
}

#[test]
fn what_is_not_known_is_named_and_changes_nothing() {
    let spec = json!({
        "profile": "demo",
        "installPackagePath": "/x",
        "components": {"pilot": {"k8s": {"hpaSpek": {}}}, "cni": {"enabled": true}, "ztunnel": {"enabled": false}},
        "values": {
            "pilot": {"traceSampling": 1.0},
            "gateways": {"istio-ingressgateway": {"sds": {"enabled": true}}},
            "global": {"proxy": {"tracer": "zipkin"}, "jwtPolicy": "third-party-jwt"},
            "kiali": {"enabled": true},
        },
    });
    let made = manifest(&spec, &[]);
    assert_eq!(made.objects, manifest_without_values(&made));
    let mut told: Vec<&str> =
        made.warnings.iter().map(|warning| warning.split(' ').next().unwrap_or_default()).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "spec.components.cni",
            "spec.components.pilot.k8s.hpaSpek",
            "spec.installPackagePath",
            "spec.values.gateways.istio-ingressgateway.sds",
            "spec.values.global.jwtPolicy",
            "spec.values.global.proxy.tracer",
            "spec.values.kiali",
            "spec.values.pilot.traceSampling",
        ]
    );
}

/// A demo, with the values that are shown to injection as those of another manifest.
fn manifest_without_values(other: &Manifest) -> Vec<Object> {
    let values = &object(other, "ConfigMap", "istio-sidecar-injector")["data"]["values"];
    let mut plain = manifest(&json!({"profile": "demo"}), &[]);
    let is_injector = |id: &ObjectId| id.kind == "ConfigMap" && id.name == "istio-sidecar-injector";
    for injector in plain.objects.iter_mut().filter(|made| is_injector(&made.id())) {
        injector.value["data"]["values"] = values.clone();
    }
    plain.objects
}

#[test]
fn injection_reads_what_is_written_for_it() {
    let spec = json!({
        "profile": "demo", "hub": "", "tag": "local",
        "meshConfig": {"trustDomain": "example.org", "enablePrometheusMerge": false},
        "values": {
            "global": {"proxy": {"image": "proxyv2", "resources": {"requests": {"cpu": 1}}}, "network": "n1"},
            "sidecarInjectorWebhook": {"neverInjectSelector": [{"matchLabels": {"a": "b"}}]},
        },
    });
    let made = manifest(&spec, &[]);
    let data = &object(&made, "ConfigMap", "istio-sidecar-injector")["data"];
    let mesh = &object(&made, "ConfigMap", "istio")["data"]["mesh"];
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let read = Settings::read(&text(&data["config"]), &text(&data["values"]), &text(mesh)).expect("settings");
    assert_eq!((read.trust_domain.as_str(), read.merges_metrics, read.enabled), ("example.org", false, true));
    assert_eq!(read.never_inject_selector.len(), 1);
    let global = &read.values.global;
    assert_eq!((global.hub.as_str(), global.tag.as_str(), global.proxy.image.as_str()), ("", "local", "mizzen-proxy"));
    assert_eq!((global.network.as_str(), global.istio_namespace.as_str()), ("n1", "istio-system"));
    let resources = serde_json::to_value(&global.proxy.resources).expect("resources");
    assert_eq!(resources["requests"], json!({"cpu": "1", "memory": "40Mi"}));
    assert_eq!(resources["limits"]["cpu"], "2000m", "what is said of requests leaves limits");
    let image =
        |name: &str| object(&made, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!((image("istiod"), image("istio-ingressgateway")), (json!("mizzen:local"), json!("mizzen-proxy:local")));
}

#[test]
fn templates_of_values_are_those_of_injection() {
    let webhook = json!({
        "defaultTemplates": ["sidecar", "greeting", "absent"],
        "templates": {
            "greeting": "metadata: {labels: {greeted: 'yes'}}",
            "actions": "spec: {{ .Values.global.hub | quote }}",
            "broken": "spec: 3",
            "sidecar": "spec: {}",
        },
    });
    let made = manifest(&json!({"profile": "demo", "values": {"sidecarInjectorWebhook": webhook}}), &[]);
    let data = &object(&made, "ConfigMap", "istio-sidecar-injector")["data"];
    let text = |key: &str| data[key].as_str().expect("a text");
    let read = Settings::read(text("config"), text("values"), "").expect("settings");
    assert_eq!(read.templates.keys().collect::<Vec<_>>(), ["actions", "broken", "greeting"]);
    assert_eq!(read.default_templates, ["sidecar", "greeting", "absent"]);
    assert_eq!(read.ignored_templates, Vec::<&str>::new(), "it was told, and is left out");
    let field = "spec.values.sidecarInjectorWebhook";
    let [ours, broken, absent] = made.warnings.as_slice() else { panic!("{:?}", made.warnings) };
    assert_eq!(*ours, format!("{field}.templates.sidecar is not used: mizzen has its own template of that name"));
    assert!(broken.starts_with(&format!("{field}.templates.broken is no Pod in YAML: ")), "{broken}");
    assert_eq!(*absent, format!("{field}.defaultTemplates: there is no template \"absent\"; Pods are refused"));
    let usual = manifest(&json!({"profile": "demo"}), &[]);
    let data = &object(&usual, "ConfigMap", "istio-sidecar-injector")["data"];
    let read = Settings::read(data["config"].as_str().expect("a text"), "", "").expect("settings");
    assert_eq!((read.default_templates, read.templates.len()), (vec!["sidecar".to_owned()], 0));
}

#[test]
fn rights_are_named_one_by_one() {
    let made = manifest(&json!({"profile": "demo"}), &[]);
    for object in made.objects.iter().filter(|object| object.id().kind.ends_with("Role")) {
        for rule in object.value["rules"].as_array().expect("rules") {
            for list in ["apiGroups", "resources", "verbs"] {
                let words = rule[list].as_array().expect("a list");
                assert!(!words.is_empty() && !words.contains(&json!("*")), "{}: {rule}", object.id());
            }
            let writes_secrets =
                rule["resources"] == json!(["secrets"]) && rule["verbs"].to_string().contains("update");
            assert!(!writes_secrets || object.id().kind == "Role", "{}: {rule}", object.id());
        }
    }
}

#[test]
fn files_are_told_apart_from_others() {
    let of = |text: &str| {
        let input = Input { files: vec![("file.yaml".to_owned(), text.to_owned())], settings: Vec::new() };
        Manifest::of(&input).map(|made| made.owner).map_err(|error| error.to_string())
    };
    let head = "apiVersion: install.istio.io/v1alpha1\nkind: IstioOperator\n";
    assert_eq!(of(&format!("{head}metadata: {{name: a, namespace: b}}\n---\n")), Ok(("a".into(), "b".into())));
    assert_eq!(of(head), Ok(("unknown".into(), "istio-system".into())));
    assert_eq!(of("a: ["), Err("file.yaml is no YAML".into()));
    let wrong = "file.yaml holds something without a kind: it must hold an IstioOperator of install.istio.io/v1alpha1";
    assert_eq!(of("[1]"), Err(wrong.into()));
}
