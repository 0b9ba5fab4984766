//! Each annotation of contract §5.3, and what becomes of it in the Pod. Those that the agent reads are tested with its
//! bootstrap.

use super::*;

/// An injected Pod with annotations, as JSON: its place by a JSON pointer, where `@proxy` and `@init` stand for the
/// containers.
fn at(made: &Pod, place: &str) -> Value {
    let value = match place.split_once('/').expect("a place") {
        ("@proxy", rest) => (serde_json::to_value(container(made, PROXY)), rest),
        ("@init", rest) => (serde_json::to_value(container(made, INIT)), rest),
        (_, rest) => (serde_json::to_value(made), rest),
    };
    let (value, rest) = (value.0.expect("JSON"), value.1);
    value.pointer(&format!("/{rest}")).cloned().unwrap_or_default()
}

/// Whether the container `@proxy` or `@init` has these arguments, one after the other.
fn has_args(made: &Pod, container: &str, args: &[&str]) -> bool {
    let all: Vec<String> = serde_json::from_value(at(made, &format!("{container}/args"))).expect("arguments");
    all.windows(args.len()).any(|some| some == args)
}

#[test]
fn fields_are_as_annotations_say() {
    let cases = [
        ("sidecar.istio.io/proxyImage", "example.com/own:1", "@proxy/image", json!("example.com/own:1")),
        ("sidecar.istio.io/proxyCPU", "10m", "@proxy/resources", json!({"requests": {"cpu": "10m"}})),
        ("sidecar.istio.io/proxyMemory", "1Mi", "@proxy/resources", json!({"requests": {"memory": "1Mi"}})),
        ("sidecar.istio.io/proxyCPULimit", "3", "@proxy/resources", json!({"limits": {"cpu": "3"}})),
        ("sidecar.istio.io/proxyMemoryLimit", "1Gi", "@proxy/resources", json!({"limits": {"memory": "1Gi"}})),
        (
            "readiness.status.sidecar.istio.io/initialDelaySeconds",
            "7",
            "@proxy/readinessProbe/initialDelaySeconds",
            json!(7),
        ),
        ("readiness.status.sidecar.istio.io/periodSeconds", "8", "@proxy/readinessProbe/periodSeconds", json!(8)),
        ("readiness.status.sidecar.istio.io/failureThreshold", "9", "@proxy/readinessProbe/failureThreshold", json!(9)),
        (
            "sidecar.istio.io/capNetBindService",
            "true",
            "@proxy/securityContext/capabilities/add",
            json!(["NET_BIND_SERVICE"]),
        ),
        ("sidecar.istio.io/capNetBindService", "true", "@proxy/securityContext/runAsUser", json!(0)),
        (
            "sidecar.istio.io/interceptionMode",
            "TPROXY",
            "@proxy/securityContext/capabilities/add",
            json!(["NET_ADMIN"]),
        ),
        ("sidecar.istio.io/nativeSidecar", "false", "pod/spec/containers/1/name", json!("istio-proxy")),
    ];
    for (annotation, value, place, expected) in cases {
        let made = injected(&settings(), &annotated(&[(annotation, value)]));
        assert_eq!(at(&made, place), expected, "{annotation}");
        assert_eq!(warnings(&annotated(&[(annotation, value)])), Vec::<String>::new(), "{annotation}");
    }
}

#[test]
fn arguments_are_as_annotations_say() {
    let cases: [(&str, &str, &str, &[&str]); 15] = [
        ("sidecar.istio.io/logLevel", "debug", "@proxy", &["--proxyLogLevel=debug"]),
        ("sidecar.istio.io/componentLogLevel", "http:trace", "@proxy", &["--proxyComponentLogLevel=http:trace"]),
        ("sidecar.istio.io/agentLogLevel", "default:debug", "@proxy", &["--log_output_level=default:debug"]),
        ("sidecar.istio.io/agentLogLevel", "default:debug", "@init", &["--log_output_level=default:debug"]),
        ("sidecar.istio.io/interceptionMode", "TPROXY", "@init", &["-m", "TPROXY"]),
        ("traffic.sidecar.istio.io/includeInboundPorts", "80,81", "@init", &["-b", "80,81"]),
        ("traffic.sidecar.istio.io/excludeInboundPorts", "22", "@init", &["-d", "15090,15021,15020,22"]),
        ("traffic.sidecar.istio.io/includeOutboundPorts", "9000", "@init", &["-q", "9000"]),
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "25", "@init", &["-o", "25"]),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", "10.0.0.0/8", "@init", &["-i", "10.0.0.0/8"]),
        ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "10.1.0.0/16", "@init", &["-x", "10.1.0.0/16"]),
        ("traffic.sidecar.istio.io/excludeInterfaces", "eth1", "@init", &["-c", "eth1"]),
        ("traffic.sidecar.istio.io/kubevirtInterfaces", "net1", "@init", &["-k", "net1"]),
        ("istio.io/reroute-virtual-interfaces", "net2", "@init", &["-k", "net2"]),
        ("status.sidecar.istio.io/port", "15999", "@init", &["-d", "15090,15021,15999"]),
    ];
    for (annotation, value, container, args) in cases {
        let made = injected(&settings(), &annotated(&[(annotation, value)]));
        assert!(has_args(&made, container, args), "{annotation}: {}", at(&made, &format!("{container}/args")));
        assert!(!has_args(&injected(&settings(), &plain()), container, args), "{annotation}: it is so without");
        assert_eq!(warnings(&annotated(&[(annotation, value)])), Vec::<String>::new(), "{annotation}");
    }
    let both = [("traffic.sidecar.istio.io/kubevirtInterfaces", "old"), ("istio.io/reroute-virtual-interfaces", "new")];
    assert!(has_args(&injected(&settings(), &annotated(&both)), "@init", &["-k", "new"]));
}

#[test]
fn the_image_is_of_the_type_that_is_asked_for() {
    let values = |tag: &str| format!("{{global: {{hub: h, tag: {tag}}}}}");
    let image = |tag: &str, annotation: Option<&str>, mesh: &str| {
        let settings = Settings::read("", &values(tag), mesh).expect("settings");
        let pairs: Vec<_> = annotation.map(|t| ("sidecar.istio.io/proxyImageType", t)).into_iter().collect();
        let made = injected(&settings, &annotated(&pairs));
        let of = |place| at(&made, place).as_str().expect("an image").trim_start_matches("h/mizzen-proxy:").to_owned();
        (of("@proxy/image"), of("@init/image"))
    };
    let both = |tag: &str| (tag.to_owned(), tag.to_owned());
    let of_mesh = "defaultConfig: {image: {imageType: distroless}}";
    assert_eq!(image("'1'", None, ""), both("1"));
    assert_eq!(image("'1'", Some("debug"), ""), both("1-debug"));
    assert_eq!(image("1-debug", Some("distroless"), ""), both("1-distroless"));
    assert_eq!(image("1-debug", Some("default"), ""), both("1"));
    assert_eq!(image("'1'", None, of_mesh), ("1-distroless".to_owned(), "1".to_owned()));
    assert_eq!(image("'1'", Some("debug"), of_mesh), both("1-debug"));
    let whole = Settings::read("", "{global: {proxy: {image: 'example.com/own:1'}}}", "").expect("settings");
    let made = injected(&whole, &annotated(&[("sidecar.istio.io/proxyImageType", "debug")]));
    assert_eq!(at(&made, "@proxy/image"), "example.com/own:1", "a whole reference stays");
}

#[test]
fn volumes_and_a_bootstrap_of_ones_own_are_mounted() {
    let made = injected(
        &settings(),
        &annotated(&[
            ("sidecar.istio.io/userVolume", r#"[{"name": "own", "emptyDir": {}}]"#),
            ("sidecar.istio.io/userVolumeMount", r#"[{"name": "own", "mountPath": "/own", "readOnly": true}]"#),
            ("sidecar.istio.io/bootstrapOverride", "of-mine"),
        ]),
    );
    let spec = made.spec.as_ref().expect("a spec");
    let volume = |name: &str| spec.volumes.iter().flatten().find(|volume| volume.name == name).expect("a volume");
    assert!(volume("own").empty_dir.is_some());
    assert_eq!(volume("custom-bootstrap-volume").config_map.as_ref().map(|map| &*map.name), Some("of-mine"));
    let mounts = container(&made, PROXY).and_then(|c| c.volume_mounts.clone()).expect("mounts");
    let mount = |name: &str| mounts.iter().find(|mount| mount.name == name).expect("a mount");
    assert_eq!((&*mount("own").mount_path, mount("own").read_only), ("/own", Some(true)));
    let folder = &mount("custom-bootstrap-volume").mount_path;
    // The agent lays over the bootstrap what this file has.
    let file = variable(&made, "ISTIO_BOOTSTRAP_OVERRIDE").expect("told");
    assert_eq!(file, format!("{folder}/custom_bootstrap.json"));
    assert_eq!(variable(&injected(&settings(), &plain()), "ISTIO_BOOTSTRAP_OVERRIDE"), None);
    let message = refused(&annotated(&[("sidecar.istio.io/userVolume", "[1]")]));
    assert!(message.starts_with("annotation sidecar.istio.io/userVolume of the Pod is \"[1]\""), "{message}");
}

#[test]
fn metrics_of_several_ports_are_read_through_the_agent_and_of_none_of_the_proxys() {
    let told =
        |pairs: &[(&str, &str)]| variable(&injected(&settings(), &annotated(pairs)), "ISTIO_PROMETHEUS_ANNOTATIONS");
    let places = told(&[
        ("prometheus.istio.io/scrape-targets", " 8080:/own , 9100"),
        ("prometheus.io/port", "http, which does not count here"),
    ]);
    let targets = json!([{"port": "8080", "path": "/own"}, {"port": "9100", "path": "/metrics"}]);
    let expected = json!({"scrape": "true", "path": "/own", "port": "8080", "targets": targets});
    assert_eq!(places, Some(expected.to_string()));
    assert_eq!(
        told(&[("prometheus.io/port", "9090")]).as_deref(),
        Some(r#"{"scrape":"true","path":"/metrics","port":"9090"}"#)
    );
    let dotted = [("prometheus.io.scrape", "true"), ("prometheus_io/port", "+0081"), ("prometheus.io/path", "own")];
    let made = injected(&settings(), &annotated(&dotted));
    assert_eq!(
        variable(&made, "ISTIO_PROMETHEUS_ANNOTATIONS").as_deref(),
        Some(r#"{"scrape":"true","path":"/own","port":"81"}"#)
    );
    let left = made.metadata.annotations.as_ref().expect("annotations");
    let left: Vec<_> =
        left.iter().filter(|(name, _)| name.starts_with("prometheus")).map(|(_, value)| &**value).collect();
    assert_eq!(left, ["/stats/prometheus", "15020", "true"], "no other spelling is left");
    assert_eq!(injected(&settings(), &made), made, "again");
    assert_eq!(told(&[("prometheus.io/port", "15020")]), None, "it is led to the agent already");
    for (name, value) in [
        ("prometheus.io/port", "15090"),
        ("prometheus.io/port", "015006"),
        ("prometheus.io/port", "http"),
        ("prometheus.io/port", "0"),
        ("prometheus.io/port", "70000"),
        ("prometheus_io_port", "15021"),
        ("prometheus.istio.io/scrape-targets", "80,15020:/x"),
        ("prometheus.istio.io/scrape-targets", ":/x"),
    ] {
        let message = refused(&annotated(&[(name, value)]));
        assert!(message.starts_with(&format!("annotation {name} of the Pod is {value:?}: it must be ")), "{message}");
        assert!(message.contains("none of the proxy (15000, 15001, "), "{message}");
        // Who is not read through the agent may say what he likes.
        let alone = [(name, value), ("prometheus.istio.io/merge-metrics", "false")];
        assert_eq!(annotation(&injected(&settings(), &annotated(&alone)), name), value);
    }
    let moved = annotated(&[("prometheus.io/port", "16000"), ("status.sidecar.istio.io/port", "16000")]);
    assert_eq!(variable(&injected(&settings(), &moved), "ISTIO_PROMETHEUS_ANNOTATIONS"), None);
}

#[test]
fn what_the_agent_reads_is_checked_before() {
    for (name, value) in [
        ("sidecar.istio.io/statsFlushInterval", "often"),
        ("sidecar.istio.io/statsFlushInterval", "0s"),
        ("sidecar.istio.io/statsEvictionInterval", "7s"),
        ("sidecar.istio.io/statsCompression", "gzip"),
        ("sidecar.istio.io/statsHistogramBuckets", "[1]"),
        ("readiness.status.sidecar.istio.io/applicationPorts", "http"),
    ] {
        let message = refused(&annotated(&[(name, value)]));
        assert!(message.starts_with(&format!("annotation {name} of the Pod is {value:?}: it must be ")), "{message}");
    }
    for right in [
        &[("sidecar.istio.io/statsFlushInterval", "500ms"), ("sidecar.istio.io/statsEvictionInterval", "2s")][..],
        &[("sidecar.istio.io/statsEvictionInterval", "1m")],
        &[
            ("sidecar.istio.io/statsCompression", "false"),
            ("sidecar.istio.io/statsHistogramBuckets", "{\"istio\": [1, 2.5]}"),
        ],
        &[("sidecar.istio.io/statsInclusionPrefixes", "a"), ("sidecar.istio.io/extraStatTags", "b")],
    ] {
        let pod = annotated(right);
        assert_eq!((warnings(&pod), annotation(&injected(&settings(), &pod), right[0].0)), (Vec::new(), right[0].1));
    }
}

#[test]
fn variables_of_the_container_are_those_of_the_contract() {
    let mesh = "extensionProviders: [{name: o, opentelemetry: {service: s, serviceAttributeEnrichment: OTEL_SEMANTIC_CONVENTIONS}}]";
    let settings =
        Settings { compliance_policy: "fips-140-2".to_owned(), ..Settings::read("", "", mesh).expect("settings") };
    let own = pod(
        "metadata: {name: a, labels: {app.kubernetes.io/version: v1}}\nspec: {containers: [{name: web, image: 'r:5000/w:2@sha256:d'}]}",
    );
    let made = injected(&settings, &own);
    let expected = "service.namespace=default,service.version=v1,service.instance.id=default.$(POD_NAME).web";
    assert_eq!(variable(&made, "OTEL_RESOURCE_ATTRIBUTES").as_deref(), Some(expected));
    assert_eq!(variable(&made, "COMPLIANCE_POLICY").as_deref(), Some("fips-140-2"));
    let variables = container(&made, PROXY).and_then(|c| c.env.clone()).expect("variables");
    let of_memory = variables.iter().find(|v| v.name == "GOMEMLIMIT").and_then(|v| v.value_from.clone()).expect("told");
    assert_eq!(of_memory.resource_field_ref.expect("a field").resource, "limits.memory");
    let position = |name: &str| variables.iter().position(|v| v.name == name);
    assert!(position("POD_NAME") < position("OTEL_RESOURCE_ATTRIBUTES"), "one can name the other");
    let said = pod(
        "metadata: {name: a, annotations: {resource.opentelemetry.io/service.namespace: n, resource.opentelemetry.io/service.instance.id: i}}\n\
         spec: {containers: [{name: web, image: 'r:5000/w:2@sha256:d'}]}",
    );
    let expected = "service.namespace=n,service.version=2@sha256:d,service.instance.id=i";
    assert_eq!(variable(&injected(&settings, &said), "OTEL_RESOURCE_ATTRIBUTES").as_deref(), Some(expected));
    let usual = injected(&super::settings(), &own);
    assert_eq!((variable(&usual, "OTEL_RESOURCE_ATTRIBUTES"), variable(&usual, "COMPLIANCE_POLICY")), (None, None));
}

#[test]
fn the_list_of_who_is_revoked_is_mounted_in_sidecars_and_gateways() {
    let gateway = pod(
        "metadata: {name: gw, annotations: {inject.istio.io/templates: gateway}}\nspec: {containers: [{name: istio-proxy, image: auto}]}",
    );
    for pod in [plain(), gateway] {
        let made = injected(&settings(), &pod);
        let mounts = container(&made, PROXY).and_then(|c| c.volume_mounts.clone()).expect("mounts");
        let mount = mounts.iter().find(|mount| mount.mount_path == "/var/run/secrets/istio/crl").expect("a mount");
        let volumes = made.spec.as_ref().and_then(|spec| spec.volumes.clone()).expect("volumes");
        let map = volumes.iter().find(|volume| volume.name == mount.name).and_then(|volume| volume.config_map.clone());
        let map = map.expect("a ConfigMap");
        assert_eq!((&*map.name, map.optional), ("istio-ca-crl", Some(true)));
    }
}
