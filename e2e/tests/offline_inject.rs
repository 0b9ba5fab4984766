//! `mizzen inject` on files, as users run it, and what the containers that it makes then do.

use std::path::Path;

use anyhow::{Context, Result};
use mizzen_e2e::{Mizzen, Outcome, run_offline};
use serde::Deserialize as _;
use serde_json::{Value, json};

fn inject(input: &str, more: &[&str]) -> Result<Outcome> {
    run_offline(Path::new("."), &[&["inject", "-f", "-"][..], more].concat(), input)
}

/// The objects of a text.
fn objects(text: &str) -> Result<Vec<Value>> {
    serde_yaml_ng::Deserializer::from_str(text).map(|document| Ok(Value::deserialize(document)?)).collect()
}

/// What becomes of one object.
fn injected(object: &Value) -> Result<Value> {
    let outcome = inject(&object.to_string(), &[])?;
    anyhow::ensure!(outcome.code == 0 && outcome.errors.is_empty(), "{outcome:?}");
    objects(&outcome.output)?.pop().context("no object")
}

/// What a Pod consists of.
fn spec() -> Value {
    json!({"containers": [{"name": "web", "image": "web:1", "ports": [{"containerPort": 80}]}]})
}

/// The names of the containers of a Pod's spec, init containers first.
fn names(spec: &Value) -> Vec<&str> {
    let lists = [&spec["initContainers"], &spec["containers"]].into_iter().filter_map(Value::as_array);
    lists.flatten().filter_map(|container| container["name"].as_str()).collect()
}

/// A variable of a container.
fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    container["env"].as_array()?.iter().find(|v| v["name"] == name)?["value"].as_str()
}

const ALL: [&str; 3] = ["istio-init", "istio-proxy", "web"];

#[test]
fn workloads_of_each_kind_get_the_proxy_and_stay_what_they_are_else() -> Result<()> {
    let template = json!({"metadata": {"labels": {"app": "web"}, "creationTimestamp": null}, "spec": spec()});
    for kind in ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController"] {
        let object = json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "front", "namespace": "shop"},
            "spec": {"replicas": 2, "unheardOf": [1], "template": template}, "status": {},
        });
        let made = injected(&object)?;
        let template = &made["spec"]["template"];
        assert_eq!(names(&template["spec"]), ALL, "{kind}");
        assert_eq!(template["metadata"]["labels"]["security.istio.io/tlsMode"], "istio", "{kind}");
        assert!(template["metadata"].get("ownerReferences").is_none(), "{kind}: {template:#}");
        let proxy = &template["spec"]["initContainers"][1];
        assert_eq!(variable(proxy, "ISTIO_META_WORKLOAD_NAME"), Some("front"), "{kind}");
        let owner = format!("kubernetes://apis/apps/v1/namespaces/shop/{}s/front", kind.to_lowercase());
        assert_eq!(variable(proxy, "ISTIO_META_OWNER"), Some(owner.as_str()));
        let mut rest = made.clone();
        rest["spec"]["template"] = object["spec"]["template"].clone();
        assert_eq!(rest, object, "{kind}: nothing else changes");
    }
    // The templates of jobs need have no metadata.
    let job = json!({"spec": {"template": {"spec": spec()}}});
    let cron = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly"},
        "spec": {"schedule": "@daily", "jobTemplate": job},
    });
    let made = injected(&cron)?;
    let template = &made["spec"]["jobTemplate"]["spec"]["template"];
    assert_eq!(names(&template["spec"]), ALL);
    assert_eq!(variable(&template["spec"]["initContainers"][1], "ISTIO_META_WORKLOAD_NAME"), Some("nightly"));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": spec()});
    assert_eq!(names(&injected(&pod)?["spec"]), ALL);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [pod, cron, {"kind": "Service", "metadata": {}}]});
    let made = injected(&list)?;
    assert_eq!(made["items"][0], injected(&pod)?);
    assert_eq!(made["items"][1], injected(&cron)?);
    assert_eq!(made["items"][2], list["items"][2]);
    Ok(())
}

#[test]
fn what_has_no_pods_or_does_not_want_them_injected_passes_untouched() -> Result<()> {
    let others = [
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}),
        json!({"apiVersion": "example.com/v1", "kind": "Unheard", "spec": {"template": {"spec": spec()}}}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"sidecar.istio.io/inject": "false"}}, "spec": spec()}),
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"hostNetwork": true, "containers": []}}),
    ];
    for object in &others {
        assert_eq!(injected(object)?, *object);
    }
    let text = others.iter().map(|object| format!("---\n{object}\n")).collect::<String>() + "---\n# nothing\n";
    let outcome = inject(&text, &[])?;
    assert_eq!((outcome.code, objects(&outcome.output)?), (0, others.to_vec()), "all of a file, in its order");
    Ok(())
}

#[test]
fn files_settings_and_exit_codes() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let pod = |annotations: &Value| {
        json!({"kind": "Pod", "metadata": {"name": "web", "annotations": annotations}, "spec": spec()}).to_string()
    };
    for (file, text) in [
        ("pod.yaml", pod(&json!({}))),
        ("values.json", json!({"global": {"hub": "example.com/own", "tag": "7-debug"}}).to_string()),
        ("mesh.yaml", "trustDomain: td\ndefaultConfig: {image: {imageType: distroless}}\n".to_owned()),
        ("config.yaml", "templates: {sidecar: 'spec: {}'}\ninjectedAnnotations: {noted: 'yes'}\n".to_owned()),
    ] {
        std::fs::write(dir.path().join(file), text)?;
    }
    let run = |args: &[&str], input: &str| run_offline(dir.path(), &[&["inject"][..], args].concat(), input);
    let settings = [
        "--valuesFile",
        "values.json",
        "--meshConfigFile",
        "mesh.yaml",
        "--injectConfigFile",
        "config.yaml",
        "--revision",
        "c",
    ];
    let outcome = run(&[&["-f", "pod.yaml"][..], &settings].concat(), "")?;
    assert_eq!(outcome.code, 0, "{outcome:?}");
    let warning = "Warning: the template \"sidecar\" is not used: mizzen has its own of that name\n";
    assert_eq!(outcome.errors, warning);
    let made = objects(&outcome.output)?.pop().context("no Pod")?;
    let proxy = &made["spec"]["initContainers"][1];
    assert_eq!(proxy["image"], "example.com/own/mizzen-proxy:7-distroless");
    assert_eq!(variable(proxy, "TRUST_DOMAIN"), Some("td"));
    assert_eq!(variable(proxy, "CA_ADDR"), Some("istiod-c.istio-system.svc:15012"));
    assert_eq!(made["metadata"]["annotations"]["noted"], "yes");
    // What changes nothing is told, by name, and is no failure.
    let told = run(&["-f", "-"], &pod(&json!({"readiness.status.sidecar.istio.io/applicationPorts": "80"})))?;
    let start = "Warning: Pod default/web: annotation readiness.status.sidecar.istio.io/applicationPorts has no effect";
    assert!(told.code == 0 && told.errors.starts_with(start), "{told:?}");
    for (annotation, value) in [
        ("prometheus.io/port", "15090"),
        ("sidecar.istio.io/statsEvictionInterval", "7s"),
        ("proxy.istio.io/config", "["),
    ] {
        let refused = run(&["-f", "-"], &pod(&json!({annotation: value})))?;
        assert!(refused.code == 1 && refused.errors.contains(annotation), "{refused:?}");
    }
    let broken = run(&["-f", "-"], "{kind: Deployment, metadata: {name: a}, spec: {}}")?;
    assert!(broken.code == 1 && broken.errors.contains("Deployment default/a has no template of Pods"), "{broken:?}");
    let absent = run(&["-f", "nowhere.yaml"], "")?;
    assert!(absent.code == 1 && absent.errors.contains("nowhere.yaml"), "{absent:?}");
    assert_eq!(run(&[], "")?.code, 2, "there must be a file");
    Ok(())
}

#[test]
fn a_pod_whose_agent_answers_requests_for_names_redirects_them_to_it() -> Result<()> {
    let pod = |config: &str| {
        let annotations = json!({"proxy.istio.io/config": config});
        json!({"kind": "Pod", "metadata": {"name": "web", "annotations": annotations}, "spec": spec()})
    };
    // What the init container of such a Pod writes.
    let rules = |config: &str| {
        let made = injected(&pod(config))?;
        let init = &made["spec"]["initContainers"][0];
        assert_eq!(init["name"], "istio-init");
        let args = init["args"].as_array().into_iter().flatten().filter_map(Value::as_str).skip(1).map(str::to_owned);
        let args: Vec<String> =
            ["iptables".to_owned()].into_iter().chain(args).chain(["--dry-run".to_owned()]).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let variables = init["env"].as_array().into_iter().flatten();
        let variables = variables.filter_map(|v| Some((v["name"].as_str()?, v["value"].as_str()?)));
        let ran = Mizzen::command(&args)?.envs(variables).output()?;
        anyhow::ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        anyhow::Ok(String::from_utf8(ran.stdout)?)
    };
    let names = "proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true', CAPTURE_ALL_DNS: 'true'}";
    let with = rules(names)?;
    assert!(with.lines().any(|line| line.contains("--dport 53 -j REDIRECT") && line.contains("15053")), "{with}");
    assert!(!rules("{}")?.contains("15053"));
    Ok(())
}
