use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use super::*;
use crate::{
    model::proxy_config::ProxyConfig,
    webhook::inject::{Settings, Target, workload::Workload},
};

fn pod() -> Pod {
    serde_json::from_value(json!({
        "metadata": {
            "name": "web-1",
            "labels": {"app": "web", "version": "v1"},
            "annotations": {"team": "blue", "status.sidecar.istio.io/port": "0"},
        },
        "spec": {"containers": [
            {"name": "web", "image": "web:1", "ports": [{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}],
             "livenessProbe": {"httpGet": {"path": "/", "port": 80}}},
            {"name": "side", "ports": [{"containerPort": 90, "protocol": "TCP"}]},
        ], "hostNetwork": true},
    }))
    .expect("a Pod")
}

const VALUES: &str =
    "{global: {hub: h.example, tag: t1, proxy: {resources: {limits: {cpu: 2}}, list: [a, b]}, network: ''}}";
const MESH: &str =
    "{trustDomain: td.example, defaultConfig: {concurrency: 3, drainDuration: 90s, proxyMetadata: {A: b}}}";

fn with_context<T>(work: impl FnOnce(&Context<'_>, &Pod) -> T) -> T {
    let settings = Settings::read("", VALUES, MESH).expect("settings");
    let pod = pod();
    let target = Target { pod: &pod, namespace: "shop", variables: &[] };
    let config = ProxyConfig::new(&[("the mesh", &settings.default_config)]).expect("a ProxyConfig");
    let workload = Workload::of(&pod, "shop");
    work(&Context { settings: &settings, target: &target, config, workload, native: true }, &pod)
}

fn rendered(text: &str) -> Result<String, String> {
    let told = |error: ActionsError| error.to_string();
    let actions = Actions::read(text).map_err(told)?;
    with_context(|context, pod| actions.render(&data::of(context, pod)).map_err(told))
}

fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        assert_eq!(rendered(text).as_deref(), Ok(*expected), "{text}");
    }
}

#[test]
fn a_template_sees_what_istios_see() {
    check(&[
        ("{{ .ObjectMeta.Name }}/{{ .ObjectMeta.Namespace }}/{{ .ObjectMeta.GenerateName }}", "web-1/shop/"),
        ("{{ .TypeMeta.Kind }} {{ .TypeMeta.APIVersion }} {{ .DeploymentMeta.Name }}", "Pod v1 web-1"),
        ("{{ .ObjectMeta.Labels.app }} {{ index .ObjectMeta.Labels `version` }}", "web v1"),
        ("[{{ index .ObjectMeta.Labels `none` }}]", "[]"),
        (
            "{{ range .Spec.Containers }}{{ .Name }}:{{ range .Ports }}{{ .ContainerPort }},{{ end }} {{ end }}",
            "web:80,53, side:90, ",
        ),
        ("{{ (index .Spec.Containers 0).LivenessProbe.HTTPGet.Path }} {{ .Spec.HostNetwork }}", "/ true"),
        ("{{ if .Spec.HostPID }}yes{{ else }}no{{ end }}", "no"),
        (
            "{{ .ProxyConfig.Concurrency.GetValue }} {{ .ProxyConfig.Concurrency.Value }} {{ .ProxyConfig.StatusPort }}",
            "3 3 15020",
        ),
        ("{{ range $k, $v := .ProxyConfig.ProxyMetadata }}{{ $k }}={{ $v }}{{ end }}", "A=b"),
        ("{{ formatDuration .ProxyConfig.DrainDuration }}", "1m30s"),
        ("{{ .MeshConfig.TrustDomain }} {{ .MeshConfig.EnablePrometheusMerge.GetValue }}", "td.example true"),
        ("{{ .Values.global.hub }}/{{ .Values.global.proxy.resources.limits.cpu }}", "h.example/2"),
        (
            "{{ .Revision }} {{ .NativeSidecars }} {{ .ProxyUID }} {{ .InboundTrafficPolicyMode }}",
            "default true 1337 PASSTHROUGH",
        ),
        ("{{ .ProxyImage }}", "h.example/mizzen-proxy:t1"),
        ("{{ \"{{\" }} in a text }}", "{{ in a text }}"),
    ]);
}

#[test]
fn istios_functions_are_there() {
    check(&[
        ("{{ annotation .ObjectMeta `team` `red` }} {{ annotation .ObjectMeta `none` 7 }}", "blue 7"),
        ("{{ isset .ObjectMeta.Annotations `team` }} {{ isset .ObjectMeta.Annotations `x` }}", "true false"),
        ("{{ valueOrDefault .Values.global.network `n` }} {{ valueOrDefault .Values.none 1 }}", "n 1"),
        (
            "{{ excludeInboundPort 15020 `1,2` }} {{ excludeInboundPort `0` `1` }} {{ excludeInboundPort 2 `1, 2` }}",
            "1,2,15020 1 1, 2",
        ),
        ("{{ includeInboundPorts .Spec.Containers }} {{ applicationPorts .Spec.Containers }}", "80,90 80,90"),
        ("{{ toJSON .ObjectMeta.Labels }}", r#"{"app":"web","version":"v1"}"#),
        ("{{ (fromJSON `{\"a\": [1, {\"b\": 2}]}`).a }}", "[1 map[b:2]]"),
        ("{{ toYaml .Values.global.proxy.resources | trim | nindent 2 }}", "\n  limits:\n    cpu: 2"),
        ("{{ toYaml (index .Spec.Containers 1).Ports }}", "- containerPort: 90\n  protocol: TCP\n"),
        ("{{ protoToJSON .ProxyConfig }}", r#"{"concurrency":3,"drainDuration":"90s","proxyMetadata":{"A":"b"}}"#),
        ("{{ toJsonMap (strdict `a` 1) (omit .ObjectMeta.Labels `app`) }}", r#"{"a":"1","version":"v1"}"#),
        ("{{ directory `/a/b/c` }} {{ toLower `AbC` }} {{ env `NO_SUCH_VARIABLE` `d` }}", "/a/b/ abc d"),
        (
            "{{ appendMultusNetwork `` `n` }} {{ appendMultusNetwork `a` `n` }} {{ appendMultusNetwork `[{\"name\": \"n\"}]` `n` }}",
            r#"n a, n [{"name":"n"}]"#,
        ),
        ("{{ omitNil (dict `a` nil `b` 1) }}", "map[b:1]"),
    ]);
}

#[test]
fn sprigs_common_functions_are_there() {
    check(&[
        (
            "{{ default `d` .Values.global.network }} {{ .Values.global.hub | default `d` | upper | quote }}",
            r#"d "H.EXAMPLE""#,
        ),
        ("{{ indent 2 `a\nb` }}", "  a\n  b"),
        (
            "{{ contains `b` `abc` }} {{ hasPrefix `a` `abc` }} {{ trimSuffix `c` `abc` }} {{ replace `b` `-` `abc` }}",
            "true true ab a-c",
        ),
        (
            "{{ join `,` .Values.global.proxy.list }} {{ splitList `-` `a-b` | last }} {{ (split `-` `a-b`)._1 }}",
            "a,b b b",
        ),
        (
            "{{ $d := merge (dict `a` 1) (dict `a` 2 `b` (dict `c` 3)) }}{{ $d.a }} {{ dig `b` `c` 0 $d }} {{ dig `x` 0 $d }}",
            "1 3 0",
        ),
        (
            "{{ keys .ObjectMeta.Labels }} {{ hasKey .Values.global `tag` }} {{ has `a` (list `a` `b`) }}",
            "[app version] true true",
        ),
        (
            "{{ ternary 1 2 true }} {{ coalesce `` `x` }} {{ add 1 2 3 }} {{ sub 5 1 }} {{ int `7` }} {{ until 3 }}",
            "1 x 6 4 7 [0 1 2]",
        ),
        (
            "{{ b64enc `a` }} {{ b64dec `YQ==` }} {{ trunc 2 `abc` }} {{ trunc -2 `abc` }} {{ regexMatch `^a+$` `aa` }}",
            "YQ== a ab bc true",
        ),
        (
            "{{ define `one` }}<{{ . }}>{{ end }}{{ template `one` 5 }}{{ with .Values.none }}x{{ else }}-{{ end }}",
            "<5>-",
        ),
    ]);
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let cases = [
        ("a\n{{ if }}\n", "cannot be read: line 2: "),
        ("a\n\n{{ .Values | unheard }}", "cannot be used: line 3: there is no function \"unheard\""),
        (
            "{{ define `x` }}\n{{ if (eq (other 1) 1) }}{{ end }}{{ end }}",
            "cannot be used: line 2: there is no function \"other\"",
        ),
        ("a\n{{ b64dec `!` }}", "fails in line 2: function b64dec: "),
        ("a\n{{ if true }}\n{{ fail `no team` }}{{ end }}", "fails in line 3: function fail: no team"),
        ("{{ required `a team` .Values.team }}", "fails in line 1: function required: a team"),
        ("{{ toYaml 1 2 }}", "fails in line 1: function toYaml: takes 1 arguments, not 2"),
        ("\n{{ .Values.global.hub.name }}", "fails in line 2: can't evaluate field name in type string"),
        ("{{ template `none` }}", "fails in line 1: undefined template: none"),
    ];
    for (text, expected) in cases {
        let told = rendered(text).expect_err(text);
        assert!(told.starts_with(expected), "{text}: {told}");
    }
}

#[test]
fn templates_that_do_not_end_or_grow_are_stopped() {
    let cases = [
        ("{{ range until 10000 }}{{ range until 10000 }}{{ end }}{{ end }}", "range iteration budget exhausted"),
        ("{{ define `x` }}{{ template `x` }}{{ end }}{{ template `x` }}", "recursion limit exceeded"),
        ("{{ define `x` }}{{ template `x` }}{{ template `x` }}{{ end }}{{ template `x` }}", "recursion limit exceeded"),
        ("{{ $x := `0123456789` }}{{ range until 100 }}{{ $x = print $x $x }}{{ end }}", "a value has more than"),
        ("{{ $x := list 1 }}{{ range until 100 }}{{ $x = list $x $x }}{{ end }}", "a value has more than"),
        ("{{ range until 10000 }}{{ repeat 1000 `x` }}{{ end }}", "what it makes is longer than"),
        ("{{ repeat 100000 `x` }}", "function repeat: takes a number from 0 to 10000"),
        ("{{ div 1 0 }}", "or it is divided by 0"),
    ];
    for (text, expected) in cases {
        let told = rendered(text).expect_err(text);
        assert!(told.starts_with("fails in line 1: ") && told.contains(expected), "{text}: {told}");
    }
    let nested = |times: usize| "{{ if true }}".repeat(times) + &"{{ end }}".repeat(times);
    assert_eq!(rendered(&nested(50)).as_deref(), Ok(""));
    assert!(rendered(&nested(1000)).expect_err("too deep").contains("nesting depth"));
    let slow = "{{ define `x` }}{{ if lt (len .) 180 }}{{ $more := append . 1 }}{{ template `x` $more }}{{ template `x` $more }}{{ end }}{{ end }}\
                {{ template `x` list }}";
    let begin = Instant::now();
    assert!(rendered(slow).is_err());
    assert!(begin.elapsed() < PATIENCE * 3, "{:?}", begin.elapsed());
}

#[test]
fn what_is_made_is_laid_over_a_pod_or_is_an_error() {
    let carry_out = |text: &str| {
        let actions = Actions::read(text).expect("a template");
        with_context(|context, pod| actions.carry_out(context, pod))
    };
    assert_eq!(carry_out("{{ if .Spec.HostPID }}spec: {}{{ end }}\n").expect("nothing"), Pod::default());
    let made = carry_out("metadata: {labels: {team: {{ annotation .ObjectMeta `team` `` | quote }}}}").expect("a Pod");
    assert_eq!(made.metadata.labels.expect("labels")["team"], "blue");
    let error = carry_out("spec: {{ len .Spec.Containers }}").expect_err("no Pod");
    assert_eq!(error.to_string(), "makes no Pod in YAML for this Pod");
}
