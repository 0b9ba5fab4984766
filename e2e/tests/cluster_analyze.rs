//! `mizzen analyze` on a real API server, and on files laid over it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use kube::{
    Api,
    api::PostParams,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use mizzen_e2e::{ApiServer, Outcome, PATIENCE, eventually, offline_fixture, run_offline};
use serde_json::{Value, json};

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec: {hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: elsewhere, namespace: istio-system}
spec: {host: nobody}
";

const RULE: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec: {host: web, subsets: [{name: v1}]}
";

/// An API server with our definitions.
async fn server() -> Result<ApiServer> {
    let server = ApiServer::start().await?;
    server.apply_path(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds"))?;
    established(&server)?;
    Ok(server)
}

fn established(server: &ApiServer) -> Result<()> {
    server.kubectl(&["wait", "--for=condition=Established", "--all", "crd", "--timeout=60s"])?;
    Ok(())
}

/// Analyses a cluster as whom a kubeconfig names.
fn analyze_as(kubeconfig: &Path, more: &[&str], input: &str) -> Result<Outcome> {
    let kubeconfig = kubeconfig.display().to_string();
    let args = [&["analyze", "--kubeconfig", &kubeconfig, "--fail-on", "warning"], more].concat();
    run_offline(&offline_fixture("analyze"), &args, input)
}

/// The paths of what is found by a code, by object.
fn found(outcome: &Outcome, code: &str) -> Result<Vec<String>> {
    let report: Value = serde_json::from_str(&outcome.output).with_context(|| format!("{outcome:?}"))?;
    let findings = report["findings"].as_array().into_iter().flatten().filter(|finding| finding["code"] == code);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(findings.map(|f| format!("{} {}", text(&f["object"]["name"]), text(&f["path"]))).collect())
}

#[tokio::test]
async fn a_cluster_is_analysed_with_files_and_without() -> Result<()> {
    let server = server().await?;
    server.apply(OBJECTS)?;
    let analyze = |more: &[&str], input: &str| analyze_as(&server.kubeconfig(), more, input);
    let missing = "warning: VirtualService default/web: spec.http[0].route[0].destination: ";

    // The namespace of the context is `default`.
    let own = analyze(&[], "")?;
    assert!(own.code == 1 && own.output.contains(missing) && !own.output.contains("nobody"), "{own:?}");
    let all = analyze(&["--all-namespaces"], "")?;
    assert!(all.output.contains(missing) && all.output.contains("DestinationRule istio-system/elsewhere"), "{all:?}");

    // With the file the cluster would be right, and with another Service it would be wrong in another way.
    let with_rule = analyze(&["-f", "-", "-n", "default", "--severity", "warning"], RULE)?;
    // Below the threshold: there are no Pods for the Service.
    assert!(with_rule.code == 0 && with_rule.output.starts_with("1 info in "), "{with_rule:?}");
    let other_port = OBJECTS.split("---").next().unwrap_or_default().replace("port: 80", "port: 81");
    let vs = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web, namespace: default}\n\
              spec: {hosts: [web], http: [{route: [{destination: {host: web, port: {number: 80}}}]}]}\n";
    let over = analyze(&["-f", "-", "-n", "default"], &format!("{other_port}{vs}"))?;
    let place = format!("-:10: {missing}");
    assert!(over.code == 1 && over.output.contains(&place) && over.output.contains("no port 80"), "{over:?}");
    Ok(())
}

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw, namespace: default}
spec:
  selector: {app: gw}
  servers: [{port: {number: 443, name: https, protocol: HTTPS}, hosts: [a.com], tls: {mode: SIMPLE, credentialName: gone}}]
";

/// Who may read all of it but these.
fn reader(hidden: &[&str]) -> String {
    let core = ["configmaps", "namespaces", "nodes", "pods", "secrets", "services"];
    let core: Vec<&str> = core.into_iter().filter(|resource| !hidden.contains(resource)).collect();
    let groups =
        ["discovery.k8s.io", "extensions.istio.io", "networking.istio.io", "security.istio.io", "telemetry.istio.io"];
    let verbs = ["get", "list"];
    let rules = json!([
        {"apiGroups": [""], "resources": core, "verbs": verbs},
        {"apiGroups": groups, "resources": ["*"], "verbs": verbs},
    ]);
    let api = "rbac.authorization.k8s.io";
    let role = json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRole", "metadata": {"name": "reader"}, "rules": rules,
    });
    let binding = json!({
        "apiVersion": format!("{api}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": api, "kind": "ClusterRole", "name": "reader"},
        "subjects": [{"apiGroup": api, "kind": "User", "name": "user"}],
    });
    format!("{role}\n---\n{binding}\n")
}

#[tokio::test]
async fn what_may_not_be_read_is_said_not_to_be_checked() -> Result<()> {
    let server = server().await?;
    server.apply(GATEWAY)?;
    let json = ["-o", "json"];
    let credential = "gw spec.servers[0].tls.credentialName";
    let all = analyze_as(&server.kubeconfig(), &json, "")?;
    assert_eq!(found(&all, "MZ1006")?, [credential]);
    assert_eq!(serde_json::from_str::<Value>(&all.output)?["unchecked"], json!([]));

    server.apply(&reader(&["secrets"]))?;
    let user = server.kubeconfig_of_user()?;
    let some = eventually("the rights to be known", PATIENCE, || async {
        let some = analyze_as(&user, &json, "")?;
        ensure!(some.code != 2, "{some:?}");
        anyhow::Ok(some)
    })
    .await?;
    assert_eq!(found(&some, "MZ1006")?, Vec::<String>::new());
    assert_eq!(found(&some, "MZ1101")?, ["gw spec.selector"], "the rest is looked at");
    let text = analyze_as(&user, &[], "")?.output;
    let said: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("not checked: ")).collect();
    ensure!(said.len() == 3 && said[0].starts_with("whether secrets that are named exist"), "{text}");
    ensure!(said[0].contains("cannot list resource \"secrets\""), "{text}");
    ensure!(said[1].contains("Gateway") && said[2].contains("GatewayClass"), "{text}");

    // Without Services all would seem to be missing.
    server.apply(&reader(&["services"]))?;
    eventually("a refusal", PATIENCE, || async {
        let none = analyze_as(&user, &json, "")?;
        ensure!(none.code == 2 && none.errors.contains("not allowed to list services"), "{none:?}");
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn objects_of_all_pages_are_read() -> Result<()> {
    /// More than two pages.
    const MANY: usize = 1_020;
    let server = server().await?;
    let kind = GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService");
    let resource = ApiResource::from_gvk_with_plural(&kind, "virtualservices");
    let api: Api<DynamicObject> = Api::namespaced_with(server.client().await?, "default", &resource);
    let create = |n: usize| {
        let api = api.clone();
        async move {
            let route = json!({"route": [{"destination": {"host": format!("nobody-{n}")}}]});
            let object = serde_json::from_value(json!({
                "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": format!("v-{n}")},
                "spec": {"hosts": [format!("h-{n}")], "http": [route]},
            }))?;
            api.create(&PostParams::default(), &object).await?;
            anyhow::Ok(())
        }
    };
    futures::stream::iter(0..MANY).map(create).buffer_unordered(32).try_collect::<()>().await?;
    let all = analyze_as(&server.kubeconfig(), &["-o", "json"], "")?;
    let mut found = found(&all, "MZ1002")?;
    found.sort();
    found.dedup();
    assert_eq!(found.len(), MANY);
    Ok(())
}

/// A definition of a kind that may hold anything.
fn definition(group: &str, kind: &str, plural: &str, scope: &str) -> Value {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let names =
        json!({"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, for a test"},
        },
        "spec": {
            "group": group, "names": names, "scope": scope,
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

#[tokio::test]
async fn what_is_not_of_istio_or_cannot_be_read_counts_too() -> Result<()> {
    let server = server().await?;
    let target = |name: &str, kind: &str| {
        format!(
            "---\napiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {{name: {name}, namespace: default}}\n\
             spec: {{targetRefs: [{{group: gateway.networking.k8s.io, kind: {kind}, name: {name}}}]}}\n"
        )
    };
    server
        .apply(&[target("front", "Gateway"), target("class", "GatewayClass"), target("other", "Gateway")].concat())?;
    let analyze = || analyze_as(&server.kubeconfig(), &["-o", "json"], "");
    let name = |name: &str| format!("{name} spec.targetRefs[0].name");
    // Nobody has installed the Gateway API.
    assert_eq!(found(&analyze()?, "MZ1115")?, ["class", "front", "other"].map(name));
    let group = "gateway.networking.k8s.io";
    for (kind, plural, scope) in [("Gateway", "gateways", "Namespaced"), ("GatewayClass", "gatewayclasses", "Cluster")]
    {
        server.apply(&definition(group, kind, plural, scope).to_string())?;
    }
    // Stored before its kind had our schema.
    server.kubectl(&["delete", "crd", "destinationrules.networking.istio.io"])?;
    let lax = definition("networking.istio.io", "DestinationRule", "destinationrules", "Namespaced");
    server.apply(&lax.to_string())?;
    established(&server)?;
    let version = format!("{group}/v1");
    for (version, kind, name, spec) in [
        (version.as_str(), "Gateway", "front", json!({})),
        (version.as_str(), "GatewayClass", "class", json!({})),
        ("networking.istio.io/v1", "DestinationRule", "d", json!({"host": 5})),
    ] {
        let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec});
        if kind != "GatewayClass" {
            object["metadata"]["namespace"] = "default".into();
        }
        eventually("an object to be taken", PATIENCE, || async { server.apply(&object.to_string()) }).await?;
    }
    let all = analyze()?;
    assert_eq!(found(&all, "MZ1115")?, [name("other")]);
    assert_eq!(found(&all, "MZ0004")?, ["d spec.host"]);
    Ok(())
}
