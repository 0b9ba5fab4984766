mod said;

use serde_json::json;

use super::*;

fn settings() -> Settings {
    Settings { values: Values::default(), ..Settings::default() }
}

fn pod(text: &str) -> Pod {
    serde_yaml_ng::from_str(text).expect("a Pod")
}

fn plain() -> Pod {
    pod("metadata: {name: web-1, labels: {app: web}}\n\
         spec: {initContainers: [{name: setup, image: i}], containers: [{name: web, image: w, ports: [{name: http, containerPort: 80}]}]}")
}

fn injected(settings: &Settings, pod: &Pod) -> Pod {
    let target = Target { pod, namespace: "default", variables: &[] };
    inject(settings, &target).expect("no error").expect("injected")
}

fn refused(pod: &Pod) -> String {
    let target = Target { pod, namespace: "default", variables: &[] };
    let error = inject(&settings(), &target).expect_err("an error");
    std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

fn names(containers: &[Container]) -> Vec<&str> {
    containers.iter().map(|c| c.name.as_str()).collect()
}

fn all(pod: &Pod) -> (Vec<&str>, Vec<&str>) {
    let spec = pod.spec.as_ref().expect("a spec");
    (names(spec.init_containers.as_deref().unwrap_or_default()), names(&spec.containers))
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> &'a str {
    annotations::text(pod, name)
}

fn variable(pod: &Pod, name: &str) -> Option<String> {
    container(pod, PROXY)?.env.iter().flatten().find(|v| v.name == name)?.value.clone()
}

fn annotated(pairs: &[(&str, &str)]) -> Pod {
    let mut made = plain();
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    made.metadata.annotations = Some(pairs.collect());
    made
}

#[test]
fn the_decision_follows_the_order_of_the_contract() {
    let decided = |settings: &Settings, text: &str, namespace: &str| decide(settings, &pod(text), namespace);
    let all = settings();
    let none = Settings { enabled: false, ..settings() };
    assert_eq!(decided(&all, "metadata: {}", "default"), Decision::Inject);
    assert_eq!(decided(&none, "metadata: {}", "default"), Decision::Policy);
    assert_eq!(decided(&all, "{spec: {hostNetwork: true, containers: []}}", "default"), Decision::HostNetwork);
    let wanted =
        "metadata: {labels: {sidecar.istio.io/inject: 'true'}, annotations: {sidecar.istio.io/inject: 'false'}}";
    assert_eq!(decided(&none, wanted, "default"), Decision::Inject, "the label counts before the annotation");
    assert_eq!(decided(&all, wanted, "kube-system"), Decision::IgnoredNamespace);
    let refused = "metadata: {annotations: {sidecar.istio.io/inject: 'no'}}";
    assert_eq!(decided(&all, refused, "default"), Decision::Refused);
    let config = "policy: disabled\nneverInjectSelector: [{matchLabels: {a: '1'}}]\n\
                  alwaysInjectSelector: [{matchExpressions: [{key: b, operator: Exists}]}, {}]\n";
    let selective = Settings::read(config, "", "").expect("settings");
    assert_eq!(decided(&selective, "metadata: {labels: {a: '1', b: x}}", "x"), Decision::NeverSelected);
    assert_eq!(decided(&selective, "metadata: {labels: {b: x}}", "x"), Decision::Inject);
    assert_eq!(decided(&selective, "metadata: {labels: {c: x}}", "x"), Decision::Policy, "an empty selector is none");
}

#[test]
fn a_native_sidecar_starts_before_the_pods_own_init_containers() {
    let made = injected(&settings(), &plain());
    assert_eq!(all(&made), (vec!["istio-init", "istio-proxy", "setup"], vec!["web"]));
    let proxy = container(&made, PROXY).expect("a proxy");
    assert_eq!(proxy.restart_policy.as_deref(), Some("Always"));
    assert_eq!(proxy.args.as_ref().expect("arguments")[..2], ["proxy", "sidecar"]);
    assert!(proxy.startup_probe.is_some() && proxy.readiness_probe.is_some());
}

#[test]
fn a_classic_sidecar_runs_beside_the_workload_and_redirects_last() {
    let settings = Settings { native_sidecars: false, ..settings() };
    assert_eq!(all(&injected(&settings, &plain())), (vec!["setup", "istio-init"], vec!["web", "istio-proxy"]));
    let holding = annotated(&[("proxy.istio.io/config", "holdApplicationUntilProxyStarts: true")]);
    let made = injected(&settings, &holding);
    assert_eq!(all(&made).1, ["istio-proxy", "web"]);
    assert!(container(&made, PROXY).expect("a proxy").lifecycle.is_some());
    let native = annotated(&[("sidecar.istio.io/nativeSidecar", "true")]);
    assert_eq!(all(&injected(&settings, &native)).1, ["web"]);
}

#[test]
fn what_others_look_for_is_noted() {
    let mut of_deployment = plain();
    of_deployment.metadata.labels.get_or_insert_default().insert("pod-template-hash".to_owned(), "abc".to_owned());
    of_deployment.metadata.owner_references = serde_json::from_value(
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "front-abc", "uid": "u", "controller": true}]),
    )
    .expect("owners");
    let made = injected(&settings(), &of_deployment);
    let label = |name: &str| annotations::label(&made, name).to_owned();
    assert_eq!(label("security.istio.io/tlsMode"), "istio");
    assert_eq!(label("service.istio.io/canonical-name"), "web", "its label app says so");
    assert_eq!(label("service.istio.io/canonical-revision"), "latest");
    assert_eq!(variable(&made, "ISTIO_META_WORKLOAD_NAME").as_deref(), Some("front"));
    let owner = "kubernetes://apis/apps/v1/namespaces/default/deployments/front";
    assert_eq!(variable(&made, "ISTIO_META_OWNER").as_deref(), Some(owner));
    assert_eq!(variable(&made, "ISTIO_META_POD_PORTS").as_deref(), Some("[{\"name\":\"http\",\"containerPort\":80}]"));
    assert_eq!(variable(&made, "ISTIO_META_APP_CONTAINERS").as_deref(), Some("web"));
    assert_eq!(variable(&made, "CA_ADDR").as_deref(), Some("istiod.istio-system.svc:15012"));
    assert_eq!(annotation(&made, "kubectl.kubernetes.io/default-container"), "web");
    let status: Value = serde_json::from_str(annotation(&made, "sidecar.istio.io/status")).expect("JSON");
    assert_eq!(status["initContainers"], json!(["istio-init", "istio-proxy"]));
    assert_eq!((&status["containers"], &status["revision"]), (&Value::Null, &json!("default")));
}

#[test]
fn traffic_is_redirected_as_annotations_say() {
    let made = injected(
        &settings(),
        &annotated(&[
            ("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/8,192.168.0.0/16"),
            ("traffic.sidecar.istio.io/excludeInboundPorts", "22"),
            ("traffic.sidecar.istio.io/excludeOutboundPorts", "3306"),
        ]),
    );
    let args = container(&made, INIT).and_then(|c| c.args.clone()).expect("arguments").join(" ");
    assert_eq!(
        args,
        "istio-iptables -p 15001 -z 15006 -u 1337 -m REDIRECT -i 10.0.0.0/8,192.168.0.0/16 -x  -b * \
         -d 15090,15021,15020,22 -o 3306 --log_output_level=default:info"
    );
    let none = injected(&settings(), &annotated(&[("sidecar.istio.io/interceptionMode", "NONE")]));
    assert!(container(&none, INIT).is_none());
    let message = refused(&annotated(&[("traffic.sidecar.istio.io/excludeInboundPorts", "80,x")]));
    assert_eq!(
        message,
        "annotation traffic.sidecar.istio.io/excludeInboundPorts of the Pod is \"80,x\": it must be \"*\" or ports, separated by commas"
    );
}

#[test]
fn probes_lead_through_the_agent() {
    let mut probed = plain();
    let spec = probed.spec.as_mut().expect("a spec");
    spec.containers[0] = serde_json::from_value(json!({
        "name": "web",
        "ports": [{"name": "http", "containerPort": 8080}],
        "livenessProbe": {"httpGet": {"path": "/live", "port": "http"}, "timeoutSeconds": 3},
        "readinessProbe": {"tcpSocket": {"port": 8081}},
        "startupProbe": {"exec": {"command": ["true"]}},
        "lifecycle": {"preStop": {"httpGet": {"path": "/bye", "port": 8080}}},
    }))
    .expect("a container");
    let made = injected(&settings(), &probed);
    let told: Value = serde_json::from_str(&variable(&made, "ISTIO_KUBE_APP_PROBERS").expect("told")).expect("JSON");
    assert_eq!(
        told,
        json!({
            "/app-health/web/livez": {"httpGet": {"path": "/live", "port": 8080}, "timeoutSeconds": 3},
            "/app-health/web/readyz": {"tcpSocket": {"port": 8081}, "timeoutSeconds": 1},
            "/app-lifecycle/web/prestopz": {"httpGet": {"path": "/bye", "port": 8080}},
        })
    );
    let web = container(&made, "web").expect("the workload");
    let live = web.liveness_probe.as_ref().and_then(|p| p.http_get.clone()).expect("HTTP");
    assert_eq!(live.path.as_deref(), Some("/app-health/web/livez"));
    let ready = web.readiness_probe.as_ref().expect("a probe");
    assert!(ready.tcp_socket.is_none() && ready.http_get.is_some());
    assert!(web.startup_probe.as_ref().is_some_and(|p| p.exec.is_some() && p.http_get.is_none()));
    probed.metadata.annotations =
        Some([("sidecar.istio.io/rewriteAppHTTPProbers".to_owned(), "false".to_owned())].into());
    assert_eq!(variable(&injected(&settings(), &probed), "ISTIO_KUBE_APP_PROBERS"), None);
}

#[test]
fn metrics_of_the_workload_are_read_through_the_agent() {
    let made = injected(&settings(), &annotated(&[("prometheus.io/scrape", "true"), ("prometheus.io/port", "9090")]));
    let told = variable(&made, "ISTIO_PROMETHEUS_ANNOTATIONS").expect("told");
    assert_eq!(told, "{\"scrape\":\"true\",\"path\":\"/metrics\",\"port\":\"9090\"}");
    assert_eq!(
        (annotation(&made, "prometheus.io/port"), annotation(&made, "prometheus.io/path")),
        ("15020", "/stats/prometheus")
    );
    let unwilling = injected(&settings(), &annotated(&[("prometheus.io/scrape", "false")]));
    assert_eq!(annotation(&unwilling, "prometheus.io/scrape"), "false");
    let alone = injected(&settings(), &annotated(&[("prometheus.istio.io/merge-metrics", "false")]));
    assert_eq!(annotation(&alone, "prometheus.io/port"), "");
}

#[test]
fn what_the_pod_says_of_the_proxy_wins() {
    let own = pod(
        "metadata: {name: a}\nspec: {containers: [{name: web}, {name: istio-proxy, image: auto, resources: {limits: {cpu: 3}}, \
                   env: [{name: X, value: '1'}]}]}",
    );
    let made = injected(&settings(), &own);
    let proxy = container(&made, PROXY).expect("a proxy");
    assert_eq!(proxy.image.as_deref(), Some(format!("mizzen/mizzen-proxy:{}", env!("CARGO_PKG_VERSION")).as_str()));
    assert_eq!(variable(&made, "X").as_deref(), Some("1"));
    assert!(variable(&made, "TRUST_DOMAIN").is_some(), "the template's stay");
    let limits = proxy.resources.as_ref().and_then(|r| r.limits.as_ref()).expect("limits");
    assert_eq!(limits["cpu"].0, "3");
    assert_eq!(all(&made), (vec!["istio-init", "istio-proxy"], vec!["web"]));
}

#[test]
fn injecting_again_changes_nothing() {
    for native_sidecars in [true, false] {
        let settings = Settings { native_sidecars, ..settings() };
        let own = pod(
            "metadata: {name: a}\nspec: {containers: [{name: web}, {name: istio-proxy, image: auto, env: [{name: X, value: '1'}]}]}",
        );
        let probed = pod(
            "metadata: {name: a, annotations: {prometheus.io/scrape: 'true', prometheus.io/port: '9090'}}\n\
             spec: {containers: [{name: web, livenessProbe: {httpGet: {port: 80}}, lifecycle: {preStop: {httpGet: {port: 80}}}}]}",
        );
        for before in [plain(), own, probed] {
            let once = injected(&settings, &before);
            assert_eq!(injected(&settings, &once), once);
        }
    }
}

#[test]
fn a_gateway_is_the_proxy_alone() {
    let gateway = pod(
        "metadata: {name: gw, labels: {istio: ingressgateway, sidecar.istio.io/inject: 'true'}, annotations: {inject.istio.io/templates: gateway}}\n\
         spec: {containers: [{name: istio-proxy, image: auto}]}",
    );
    let made = injected(&settings(), &gateway);
    assert_eq!(all(&made), (vec![], vec!["istio-proxy"]));
    let proxy = container(&made, PROXY).expect("a proxy");
    assert_eq!(proxy.args.as_ref().expect("arguments")[..2], ["proxy", "router"]);
    assert!(proxy.startup_probe.is_none());
    let sysctls = made.spec.as_ref().and_then(|s| s.security_context.as_ref()?.sysctls.clone()).expect("sysctls");
    assert_eq!(sysctls[0].name, "net.ipv4.ip_unprivileged_port_start");
    let message = refused(&annotated(&[("inject.istio.io/templates", "grpc-agent")]));
    assert!(message.starts_with("the template \"grpc-agent\" is not there: there are sidecar, gateway"), "{message}");
}

#[test]
fn templates_of_ones_own_are_laid_over_the_proxy() {
    let config = r"
defaultTemplates: [usual]
aliases: {usual: [sidecar, greeting]}
templates:
  sidecar: 'spec: {{ whatever Istio has }}'
  greeting: |
    metadata: {labels: {greeted: 'yes'}}
    spec:
      containers:
      - {name: istio-proxy, env: [{name: GREETING, value: hello}]}
      - {name: greeter, image: g}
  actions: 'spec: {{ .Values | unheard }}'
  broken: 'spec: 3'
";
    for native_sidecars in [true, false] {
        let settings = Settings { native_sidecars, ..Settings::read(config, "", "").expect("settings") };
        let made = injected(&settings, &plain());
        assert_eq!(variable(&made, "GREETING").as_deref(), Some("hello"));
        assert!(variable(&made, "TRUST_DOMAIN").is_some(), "the proxy is there");
        assert_eq!(annotations::label(&made, "greeted"), "yes");
        assert!(all(&made).1.contains(&"greeter"));
        assert_eq!(injected(&settings, &made), made, "again");
        let told = |templates: &str| {
            let pod = annotated(&[("inject.istio.io/templates", templates)]);
            inject(&settings, &Target { pod: &pod, namespace: "default", variables: &[] }).map(Option::unwrap)
        };
        let error = |templates: &str| told(templates).expect_err("refused").to_string();
        let actions = error("sidecar,actions");
        assert_eq!(actions, "the template \"actions\" cannot be used: line 1: there is no function \"unheard\"");
        assert!(error("broken").starts_with("the template \"broken\" is no Pod in YAML: "));
        assert!(error("sidecar, gateway").contains("excludes the other one"));
        let alone = told("greeting").expect("a Pod");
        assert_eq!(all(&alone), (vec!["setup"], vec!["web", "greeter", "istio-proxy"]));
        assert_eq!(annotations::label(&alone, "security.istio.io/tlsMode"), "", "it has no proxy that is ours");
    }
}

#[test]
fn settings_are_read_as_installations_write_them() {
    let settings = Settings::read(
        "policy: enabled\ninjectedAnnotations: {a: b}\n",
        r#"{"global": {"hub": "example.com/mesh", "tag": "1", "proxy": {"image": "p"}, "imagePullSecrets": ["s"], "unknown": 1}}"#,
        "trustDomain: td\ndefaultConfig: {concurrency: 2, proxyMetadata: {M: '1'}}\n",
    )
    .expect("settings");
    let made = injected(&settings, &plain());
    assert_eq!(container(&made, PROXY).and_then(|c| c.image.as_deref()), Some("example.com/mesh/p:1"));
    assert_eq!((annotation(&made, "a"), variable(&made, "TRUST_DOMAIN").as_deref()), ("b", Some("td")));
    assert_eq!(variable(&made, "M").as_deref(), Some("1"));
    let config: Value = serde_json::from_str(&variable(&made, "PROXY_CONFIG").expect("told")).expect("JSON");
    assert_eq!(config, json!({"concurrency": 2, "proxyMetadata": {"M": "1"}}));
    let secrets = made.spec.and_then(|s| s.image_pull_secrets).expect("secrets");
    assert_eq!(secrets[0].name, "s");
    let error = Settings::read("policy: maybe\n", "", "").expect_err("wrong");
    assert!(error.to_string().contains("\"maybe\""), "{error}");
}

#[test]
fn a_former_status_that_nobody_wrote_is_told() {
    let message = refused(&annotated(&[("sidecar.istio.io/status", "yes")]));
    assert!(
        message.starts_with("annotation sidecar.istio.io/status of the Pod was not written by an injection"),
        "{message}"
    );
}
