//! Injection by a real API server, which asks about each Pod by the webhook configuration of an installation.

mod world;

use std::{
    io::{Read as _, Write as _},
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};
use http::Method;
use mizzen_e2e::{ApiServer, Client, HttpVersion, Mizzen, PATIENCE, Request, eventually, run_offline, tool};
use serde_json::{Value, json};

use self::world::{CONFIGURATION, World, is_injected, options, pod, proxy};

#[tokio::test]
async fn who_is_injected_is_said_by_labels_annotations_and_selectors() -> Result<()> {
    let world = World::start().await?;
    let config = "neverInjectSelector: [{matchLabels: {never: 'yes'}}]\ninjectedAnnotations: {noted: 'yes'}\n";
    world.config_map("istio-sidecar-injector", &json!({"config": config, "values": "{}"}))?;
    world.until_pods("noted Pods", |pod| pod["metadata"]["annotations"]["noted"] == "yes").await?;
    world.namespace("enabled", &json!({"istio-injection": "enabled"}))?;
    world.namespace("disabled", &json!({"istio-injection": "disabled"}))?;
    world.namespace("revision", &json!({"istio.io/rev": "default"}))?;
    world.namespace("other", &json!({"istio.io/rev": "canary"}))?;
    let inject = |value: &str| json!({"sidecar.istio.io/inject": value});
    let none = json!({});
    let cases = [
        ("default", &none, &none, false),
        ("default", &inject("true"), &none, true),
        ("default", &json!({"istio.io/rev": "default"}), &none, true),
        ("default", &json!({"istio.io/rev": "canary", "sidecar.istio.io/inject": "true"}), &none, false),
        ("enabled", &none, &none, true),
        ("enabled", &inject("false"), &none, false),
        ("enabled", &none, &inject("false"), false),
        ("enabled", &json!({"never": "yes"}), &none, false),
        ("enabled", &json!({"never": "yes", "sidecar.istio.io/inject": "true"}), &none, true),
        ("disabled", &inject("true"), &none, false),
        ("revision", &none, &none, true),
        ("other", &none, &none, false),
        ("other", &inject("true"), &none, false),
    ];
    for (namespace, labels, annotations, expected) in cases {
        let case = format!("{namespace}: labels {labels}, annotations {annotations}");
        let made = world.create(namespace, &pod(labels, annotations)).with_context(|| case.clone())?;
        assert_eq!(is_injected(&made), expected, "{case}");
    }
    let mut on_host = pod(&none, &none);
    on_host["spec"]["hostNetwork"] = true.into();
    assert!(!is_injected(&world.create("enabled", &on_host)?));
    let mut gateway = pod(&inject("true"), &json!({"inject.istio.io/templates": "gateway"}));
    gateway["spec"]["containers"] = json!([{"name": "istio-proxy", "image": "auto"}]);
    let made = world.create("default", &gateway)?;
    let proxy = proxy(&made).context("no proxy")?;
    assert_eq!(proxy["args"][1], "router");
    assert_ne!(proxy["image"], "auto");
    assert!(made["spec"].get("imagePullSecrets").is_none(), "{made:#}");
    // A Pod that cannot be injected is refused, and told why.
    let wrong = pod(&none, &json!({"traffic.sidecar.istio.io/includeInboundPorts": "http"}));
    let told = format!("{:#}", world.create("enabled", &wrong).expect_err("refused"));
    assert!(told.contains("denied the request: annotation traffic.sidecar.istio.io/includeInboundPorts"), "{told}");
    for name in ["requests", "success", "skip", "failure"] {
        assert_ne!(world.count(&format!("sidecar_injection_{name}_total")).await?, 0, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn the_command_does_what_the_webhook_does() -> Result<()> {
    let world = World::start().await?;
    let labels = json!({"sidecar.istio.io/inject": "true", "app": "web"});
    let annotations = json!({
        "prometheus.io/port": "9090",
        "proxy.istio.io/config": "{holdApplicationUntilProxyStarts: true, proxyMetadata: {ISTIO_META_DNS_CAPTURE: 'true'}}",
        "sidecar.istio.io/bootstrapOverride": "own",
        "sidecar.istio.io/nativeSidecar": "true",
    });
    let asked = pod(&labels, &annotations);
    let by_webhook = world.create("default", &asked)?;
    let ran = run_offline(Path::new("."), &["inject", "-f", "-"], &asked.to_string())?;
    ensure!(ran.code == 0, "{ran:?}");
    let by_command: Value = serde_yaml_ng::from_str(ran.output.trim_start_matches("---"))?;
    // What the API server fills in is not compared.
    let parts = |pod: &Value| {
        let containers = [&pod["spec"]["initContainers"], &pod["spec"]["containers"]];
        let containers = containers.into_iter().filter_map(Value::as_array).flatten();
        let of = |container: &Value| {
            let variables = container["env"].as_array().into_iter().flatten();
            let variables: Vec<Value> = variables.map(|v| json!([v["name"], v["value"]])).collect();
            let (mounts, image) = (container["volumeMounts"].as_array(), &container["image"]);
            let mounts = mounts.into_iter().flatten().map(|m| m["mountPath"].clone());
            let own = mounts.filter(|path| path != "/var/run/secrets/kubernetes.io/serviceaccount").collect::<Vec<_>>();
            json!([container["name"], image, container["args"], variables, container["lifecycle"], own])
        };
        let (containers, metadata) = (containers.map(of).collect::<Vec<_>>(), &pod["metadata"]);
        json!([containers, metadata["labels"], metadata["annotations"]])
    };
    assert_eq!(parts(&by_command), parts(&by_webhook));
    // What changes nothing is told to whoever makes the Pod.
    let unread = "readiness.status.sidecar.istio.io/applicationPorts";
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), pod(&labels, &json!({unread: "80"})).to_string())?;
    let config = world.server.kubeconfig();
    let kubectl = Command::new(tool("kubectl")?)
        .args(["--kubeconfig".as_ref(), config.as_os_str(), "create".as_ref(), "--dry-run=server".as_ref()])
        .args(["-f".as_ref(), file.path().as_os_str()])
        .output()?;
    let told = String::from_utf8_lossy(&kubectl.stderr);
    assert!(told.contains(&format!("Warning: annotation {unread} has no effect")), "{told}");
    Ok(())
}

#[tokio::test]
async fn settings_are_taken_while_it_runs_and_broken_ones_leave_the_last_good_ones() -> Result<()> {
    let world = World::start().await?;
    let image = |hub: &'static str| {
        move |pod: &Value| {
            let image = proxy(pod).and_then(|proxy| proxy["image"].as_str());
            image.is_some_and(|image| image.starts_with(&format!("{hub}/")))
        }
    };
    let values = |text: &str| world.config_map("istio-sidecar-injector", &json!({"values": text}));
    values(r#"{"global": {"hub": "one.example"}}"#)?;
    world.until_pods("the new hub", image("one.example")).await?;
    values("{")?;
    let problems = |count: usize| {
        let mizzen = &world.mizzen;
        eventually("the problem", PATIENCE, move || async move {
            let all = mizzen.json("/debug/problems").await?;
            let of_values = all.as_array().into_iter().flatten().filter(|p| p["field"] == "data.values").count();
            ensure!(of_values == count, "{all:#}");
            anyhow::Ok(())
        })
    };
    problems(1).await?;
    let series = "mizzen_config_problems{kind=\"ConfigMap\"}";
    assert_eq!(world.mizzen.metric(series).await?, Some(1.0));
    world.until_pods("the last good hub", image("one.example")).await?;
    values(r#"{"global": {"hub": "two.example"}}"#)?;
    world.until_pods("the mended hub", image("two.example")).await?;
    problems(0).await?;
    // The mesh's settings of proxies.
    let mesh = "defaultConfig: {terminationDrainDuration: 7s}\ntrustDomain: cluster.local\n";
    world.config_map("istio", &json!({"mesh": mesh}))?;
    let variable = |pod: &Value, name: &str| {
        let all = proxy(pod).and_then(|proxy| proxy["env"].as_array().cloned()).unwrap_or_default();
        all.iter().find(|v| v["name"] == name).map(|v| v["value"].to_string()).unwrap_or_default()
    };
    world.until_pods("the mesh's ProxyConfig", |pod| variable(pod, "PROXY_CONFIG").contains("7s")).await?;
    assert_eq!(world.mizzen.json("/debug/problems").await?, json!([]));
    Ok(())
}

#[tokio::test]
async fn templates_with_actions_are_carried_out_for_each_pod() -> Result<()> {
    let world = World::start().await?;
    let team = r#"
{{- define "team" }}{{ annotation .ObjectMeta "team" (index .Values.teams .ObjectMeta.Namespace | default "nobody") }}{{ end }}
metadata:
  labels:
    team: {{ template "team" . }}
spec:
  containers:
  - name: istio-proxy
    env:
    {{- range $name, $value := .ProxyConfig.ProxyMetadata }}
    - {name: {{ $name | lower | quote }}, value: {{ $value | quote }}}
    {{- end }}
  {{- if contains "debug" (join "," (keys .ObjectMeta.Annotations)) }}
  - name: debug
    image: {{ .Values.global.hub }}/debug:{{ .Values.global.tag }}
    resources:
      {{- toYaml .Values.resources | nindent 6 }}
  {{- end }}
"#;
    let wrong = "spec:\n  nodeName: {{ required `each Pod needs a zone` .ObjectMeta.Labels.zone }}\n";
    let config = json!({"defaultTemplates": ["sidecar", "team"], "templates": {"team": team, "wrong": wrong}});
    let values = json!({
        "global": {"hub": "h.example", "tag": "t"}, "teams": {"default": "blue"}, "resources": {"limits": {"cpu": "2"}},
    });
    world.config_map("istio-sidecar-injector", &json!({"config": config.to_string(), "values": values.to_string()}))?;
    let mesh = "defaultConfig: {proxyMetadata: {GREETING: 'hello: you'}}\n";
    world.config_map("istio", &json!({"mesh": mesh}))?;
    let has = |pod: &Value, name: &str| proxy(pod).is_some_and(|proxy| proxy["env"].to_string().contains(name));
    world.until_pods("the variable", |pod| has(pod, r#"{"name":"greeting","value":"hello: you"}"#)).await?;
    let inject = json!({"sidecar.istio.io/inject": "true"});
    let made = world.create("default", &pod(&inject, &json!({})))?;
    assert_eq!(made["metadata"]["labels"]["team"], "blue");
    let debug = |pod: &Value| {
        let containers = pod["spec"]["containers"].as_array().cloned().unwrap_or_default();
        containers.into_iter().find(|container| container["name"] == "debug")
    };
    assert_eq!(debug(&made), None);
    let made = world.create("default", &pod(&inject, &json!({"team": "red", "debug": "yes"})))?;
    assert_eq!(made["metadata"]["labels"]["team"], "red");
    let debug = debug(&made).context("the container")?;
    assert_eq!((&debug["image"], &debug["resources"]["limits"]["cpu"]), (&json!("h.example/debug:t"), &json!("2")));
    let wrong = pod(&inject, &json!({"inject.istio.io/templates": "sidecar,wrong"}));
    let told = format!("{:#}", world.create("default", &wrong).expect_err("refused"));
    let expected = "the template \"wrong\": fails in line 2: function required: each Pod needs a zone";
    assert!(told.contains(expected), "{told}");
    Ok(())
}

#[tokio::test]
async fn sidecars_are_native_while_all_nodes_can() -> Result<()> {
    let world = World::start().await?;
    let is_native = |pod: &Value| pod["spec"]["initContainers"][1]["name"] == "istio-proxy";
    world.until_pods("native sidecars", is_native).await?;
    world.server.apply("{apiVersion: v1, kind: Node, metadata: {name: old}}")?;
    let info = [
        "architecture",
        "bootID",
        "containerRuntimeVersion",
        "kernelVersion",
        "kubeProxyVersion",
        "machineID",
        "operatingSystem",
        "osImage",
        "systemUUID",
    ];
    let mut info: serde_json::Map<String, Value> = info.iter().map(|name| ((*name).to_owned(), "x".into())).collect();
    let mut set = |version: &str| -> Result<()> {
        info.insert("kubeletVersion".to_owned(), version.into());
        let status = json!({"status": {"nodeInfo": info}}).to_string();
        world.server.kubectl(&["patch", "node/old", "--subresource=status", "--type=merge", "-p", &status]).map(drop)
    };
    set("v1.28.15")?;
    world.until_pods("classic sidecars", |pod| pod["spec"]["containers"][1]["name"] == "istio-proxy").await?;
    let asked = pod(&json!({"sidecar.istio.io/inject": "true"}), &json!({"sidecar.istio.io/nativeSidecar": "true"}));
    assert!(is_native(&world.create("default", &asked)?), "the annotation counts");
    set("v1.29.0")?;
    world.until_pods("native sidecars again", is_native).await
}

#[tokio::test]
async fn the_bundle_is_repaired_and_follows_the_root() -> Result<()> {
    let mut world = World::start().await?;
    let first = world.root()?;
    // Somebody breaks it.
    let broken = r#"[{"op": "replace", "path": "/webhooks/2/clientConfig/caBundle", "value": "Cg=="}]"#;
    world.server.kubectl(&["patch", CONFIGURATION, "--type=json", "-p", broken])?;
    world.until_trusted().await?;
    // It is installed again, without it.
    world.server.kubectl(&["delete", CONFIGURATION])?;
    world.install("Fail", world.mizzen.https().port())?;
    world.until_trusted().await?;
    // Another root.
    world.mizzen.terminate().await?;
    world.server.kubectl(&["delete", "secret/istio-ca-secret", "--namespace=istio-system"])?;
    let told = world.create("default", &pod(&json!({"sidecar.istio.io/inject": "true"}), &json!({})));
    let told = format!("{:#}", told.expect_err("nobody answers"));
    assert!(told.contains("failed calling webhook"), "{told}");
    world.mizzen.restart().await?;
    world.until_trusted().await?;
    assert_ne!(world.root()?, first);
    let attempts = "webhook_patch_attempts_total{name=\"istio-sidecar-injector\"}";
    assert!(world.mizzen.metric(attempts).await?.is_some_and(|n| n >= 1.0));
    // One of another revision is left alone.
    world.server.kubectl(&["label", CONFIGURATION, "--overwrite", "istio.io/rev=canary"])?;
    world.server.kubectl(&["patch", CONFIGURATION, "--type=json", "-p", broken])?;
    // What was to be done is done when something that comes later is.
    world.server.kubectl(&["delete", "configmap/istio-ca-root-cert", "--namespace=default"])?;
    eventually("the roots in the namespace", PATIENCE, || async {
        world.server.kubectl(&["get", "configmap/istio-ca-root-cert", "--namespace=default"])
    })
    .await?;
    assert_eq!(world.webhooks(".clientConfig.caBundle")?[2], "Cg==");
    Ok(())
}

#[tokio::test]
async fn a_root_that_is_renewed_is_followed_at_once() -> Result<()> {
    // Each look at it finds that it is to be renewed.
    let variables = [
        ("CITADEL_SELF_SIGNED_ROOT_CERT_GRACE_PERIOD_PERCENTILE", "100"),
        ("CITADEL_SELF_SIGNED_ROOT_CERT_CHECK_INTERVAL", "4s"),
    ];
    let world = World::with(&variables).await?;
    world.install("Fail", world.mizzen.https().port())?;
    for _ in 0..3 {
        world.until_trusted().await?;
        let before = world.root()?;
        eventually("another root", PATIENCE, || async {
            ensure!(world.root()? != before, "the same");
            anyhow::Ok(())
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn pods_are_refused_without_an_answer_only_once_there_was_one() -> Result<()> {
    let world = World::without_webhooks().await?;
    // Nobody listens there.
    world.install("Ignore", mizzen_e2e::free_port()?)?;
    let failures = "webhook_patch_failures_total{name=\"istio-sidecar-injector\",reason=\"no_answer\"}";
    eventually("a failure", PATIENCE, || async {
        ensure!(world.mizzen.metric(failures).await?.is_some(), "none");
        anyhow::Ok(())
    })
    .await
    .with_context(|| world.mizzen.log())?;
    assert_eq!(world.webhooks(".failurePolicy")?, ["Ignore"; 4]);
    let wish = pod(&json!({"sidecar.istio.io/inject": "true"}), &json!({}));
    assert!(!is_injected(&world.create("default", &wish)?), "by whom?");
    world.install("Ignore", world.mizzen.https().port())?;
    eventually("the policy to be Fail", PATIENCE, || async {
        let policies = world.webhooks(".failurePolicy")?;
        ensure!(policies == ["Fail"; 4], "{policies:?}");
        anyhow::Ok(())
    })
    .await
    .with_context(|| world.mizzen.log())?;
    world.until_trusted().await
}

/// Sends something that is no TLS, or no HTTP inside of it, and reads until the server has enough.
fn disturb(address: std::net::SocketAddr, bytes: &[u8]) -> Result<usize> {
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(bytes)?;
    let mut said = Vec::new();
    // A connection that is reset is as good as closed.
    Ok(stream.read_to_end(&mut said).unwrap_or_default())
}

#[tokio::test]
async fn bad_actors_are_refused_and_the_server_is_unharmed() -> Result<()> {
    let world = World::start().await?;
    // Over HTTP/2 an answer comes also while the request is being sent.
    let client = world.client()?.version(HttpVersion::Http2);
    let send = |content_type: &str, body: Vec<u8>| {
        let request = Request::get("/inject").method(Method::POST).header("content-type", content_type).body(body);
        let client = &client;
        async move { client.send(&request).await }
    };
    let review = |request: &Value| {
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        review.to_string().into_bytes()
    };
    let before = world.count("sidecar_injection_failure_total").await?;
    let deep = [b"{\"request\":{\"object\":".to_vec(), vec![b'['; 1 << 20]].concat();
    let cases = [
        ("text/plain", review(&json!({})), 415, "content type \"text/plain\""),
        ("application/json", Vec::new(), 400, "the body is empty"),
        ("application/json", b"\xff\xfe{".to_vec(), 400, "the body is no AdmissionReview"),
        ("application/json", b"{}".to_vec(), 400, "it must be AdmissionReview"),
        ("application/json", deep, 400, "the body is no AdmissionReview"),
        ("application/json", vec![b' '; 4 << 20], 413, "more than"),
    ];
    let count = cases.len() as u64;
    for (content_type, body, status, message) in cases {
        let reply = send(content_type, body).await.with_context(|| message.to_owned())?;
        assert_eq!(reply.status, status, "{}", reply.text());
        assert!(reply.text().contains(message), "{}", reply.text());
    }
    let refused = send("application/json", review(&json!({"uid": "u", "object": {"spec": "none"}}))).await?;
    let refused: Value = serde_json::from_slice(&refused.body)?;
    assert_eq!((&refused["response"]["allowed"], &refused["response"]["uid"]), (&json!(false), &json!("u")));
    assert_eq!(world.count("sidecar_injection_failure_total").await?, before + count + 1);
    assert_eq!(client.send(&Request::get("/inject")).await?.status, 405);
    assert_eq!(client.send(&Request::get("/")).await?.status, 404);
    assert_eq!(client.send(&Request::get("/ready")).await?.status, 200);
    assert_eq!(client.version(HttpVersion::Http1).send(&Request::get("/ready")).await?.status, 200);
    // Not even TLS.
    disturb(world.mizzen.https(), b"POST /inject HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")?;
    disturb(world.mizzen.https(), &[0x16, 0x03, 0x01, 0xff, 0xff, 0x01])?;
    world.until_pods("injected Pods", is_injected).await
}

#[tokio::test]
async fn a_new_start_is_ready_when_it_injects() -> Result<()> {
    let mut world = World::start().await?;
    world.mizzen.kill();
    let wish = pod(&json!({"sidecar.istio.io/inject": "true"}), &json!({}));
    assert!(world.create("default", &wish).is_err(), "a Pod went through without its proxy");
    world.mizzen.restart().await?;
    assert!(is_injected(&world.create("default", &wish)?), "it was ready too soon");
    Ok(())
}

#[tokio::test]
async fn without_an_address_of_its_own_it_is_on_the_http_address() -> Result<()> {
    let server = ApiServer::start().await?;
    let mizzen = Mizzen::start(options(&server).arg("--httpsAddr=")).await?;
    let object = pod(&json!({}), &json!({}));
    let request = json!({"uid": "u", "namespace": "default", "object": object});
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    let request = Request::get("/inject/net/n1").method(Method::POST).header("content-type", "application/json");
    let reply = Client::http(mizzen.http()).send(&request.body(review.to_string())).await?;
    let said: Value = serde_json::from_slice(&reply.body)?;
    assert_eq!(said["response"]["patchType"], "JSONPatch", "{said}");
    let without = Mizzen::start(options(&server).env("INJECT_ENABLED", "false").arg("--httpsAddr=")).await?;
    assert_eq!(without.get("/validate").await?.status, 405, "objects are validated all the same");
    assert_eq!(without.get("/inject").await?.status, 404);
    Ok(())
}
