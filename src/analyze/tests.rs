//! For each analysis a case that it finds, and one that is right.

use serde::Deserialize as _;
use serde_json::Value;

use super::*;
use crate::{
    api::Kind,
    engine::Offline,
    model::MeshConfig,
    reconcilers::{
        attachment,
        intake::{MeshSource, Reconcilers},
    },
    sources::{Reading, read},
};

/// What is found in objects, as `CODE object field`.
fn found(yaml: &str, complete: bool) -> Vec<String> {
    let source = MeshSource { namespace: "istio-system".into(), name: "istio".into() };
    let reconcilers = Reconcilers::new(MeshConfig::default(), source);
    let mut offline = Offline::default();
    reconcilers.initial().apply(offline.db());
    let mut around = Surroundings { complete, ..Surroundings::default() };
    if complete {
        GATEWAY_API_KINDS.into_iter().for_each(|(kind, _)| around.gateway_api.know(kind));
        around.gateway_api.add("Gateway", "default", "gw");
        around.gateway_api.add("GatewayClass", "", "class");
    }
    for document in serde_yaml_ng::Deserializer::from_str(yaml) {
        let value = Value::deserialize(document).unwrap();
        let group = value["apiVersion"].as_str().unwrap().split_once('/').map_or("", |(group, _)| group);
        if let Some(kind) = WorkloadKind::find(group, value["kind"].as_str().unwrap()) {
            around.workloads.push(Workload::of_object(kind, &value).unwrap());
            continue;
        }
        let Reading::Object { object, .. } = read(value) else { panic!("{yaml}") };
        if let crate::api::Object::Pod(pod) = &object {
            around.workloads.extend(Workload::of_pod(pod));
        }
        around.attachments.extend(attachment::of(&object));
        reconcilers.apply(&object).apply(offline.db());
    }
    offline.problems(Vec::new());
    let world = World::of(offline.db(), around);
    analyze(&world).iter().map(|p| format!("{} {} {}", p.code, p.object, p.field)).collect()
}

fn deployment(name: &str, labels: &str) -> String {
    deployment_with(name, labels, "", "containers: [{name: app, ports: [{name: web, containerPort: 8080}]}]")
}

fn deployment_with(name: &str, labels: &str, annotations: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec: {{template: {{metadata: {{labels: \
         {{{labels}}}, annotations: {{{annotations}}}}}, spec: {{{spec}}}}}}}\n"
    )
}

fn service(name: &str, rest: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n\
         spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80{rest}}}]}}\n"
    )
}

fn object(version: &str, kind: &str, name: &str, spec: &str) -> String {
    format!("---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

fn networking(kind: &str, name: &str, spec: &str) -> String {
    object("networking.istio.io/v1", kind, name, spec)
}

fn security(kind: &str, name: &str, spec: &str) -> String {
    object("security.istio.io/v1", kind, name, spec)
}

#[track_caller]
fn assert_found(objects: &[&str], expected: &[&str]) {
    assert_eq!(found(&objects.concat(), false), expected);
}

const NOTHING: &[&str] = &[];

const GATEWAY: &str =
    "selector: {app: gw}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.com, ./b.com]}]";

#[test]
fn gateways_have_pods_and_ports() {
    let (gateway, pods) = (networking("Gateway", "gw", GATEWAY), deployment("gw", "app: gw"));
    assert_found(&[&gateway, &pods, &service("gw", "")], NOTHING);
    // Without any workloads nobody knows.
    assert_found(&[&gateway], NOTHING);
    assert_found(&[&gateway, &deployment("web", "app: web")], &["MZ1101 Gateway default/gw spec.selector"]);
    let other = service("gw", "").replace("port: 80", "port: 81");
    assert_found(&[&gateway, &pods, &other], &["MZ1102 Gateway default/gw spec.servers[0].port.number"]);
}

#[test]
fn hosts_are_served_by_gateways() {
    let gateway = networking("Gateway", "gw", &GATEWAY.replace("selector: {app: gw}, ", ""));
    let vs = |hosts: &str| {
        networking(
            "VirtualService",
            "vs",
            &format!("hosts: [{hosts}], gateways: [gw], http: [{{directResponse: {{status: 200}}}}]"),
        )
    };
    assert_found(&[&gateway, &vs("a.com, b.com")], NOTHING);
    assert_found(&[&gateway, &vs("a.com, c.com")], &["MZ1103 VirtualService default/vs spec.hosts"]);
    assert_found(&[&gateway, &vs("c.com")], &["MZ1103 VirtualService default/vs spec.gateways"]);
    let elsewhere = vs("b.com").replace("name: vs", "name: vs, namespace: other").replace("[gw]", "[default/gw]");
    assert_found(&[&gateway, &elsewhere], &["MZ1103 VirtualService other/vs spec.gateways"]);
}

#[test]
fn rules_of_several_objects_are_one_list() {
    let gateway = networking("Gateway", "gw", &GATEWAY.replace("selector: {app: gw}, ", ""));
    let vs = |name: &str, conditions: &str| {
        let rule = format!("{{{conditions}directResponse: {{status: 200}}}}");
        networking("VirtualService", name, &format!("hosts: [a.com], gateways: [gw], http: [{rule}]"))
    };
    let (a, all) = ("match: [{uri: {prefix: /a}}], ", "match: [{uri: {prefix: /}}], ");
    assert_found(&[&gateway, &vs("v1", a), &vs("v2", all)], NOTHING);
    let shadowed = ["MZ1104 VirtualService default/v2 spec.http[0]"];
    assert_found(&[&gateway, &vs("v1", all), &vs("v2", a)], &shadowed);
    assert_found(&[&gateway, &vs("v1", ""), &vs("v2", a)], &shadowed);
    let same = ["MZ1104 VirtualService default/v2 spec.http[0].match[0]"];
    assert_found(&[&gateway, &vs("v1", a), &vs("v2", a)], &same);
    // What a delegate leaves goes on.
    let root = "hosts: [a.com], gateways: [gw], http: [{delegate: {name: d}}]";
    let delegate = "http: [{match: [{uri: {prefix: /d}}], directResponse: {status: 200}}]";
    let delegating = [networking("VirtualService", "v1", root), networking("VirtualService", "d", delegate)].concat();
    assert_found(&[&gateway, &delegating, &vs("v2", a)], NOTHING);
}

#[test]
fn destination_rules_have_services_and_members() {
    let (pods, web) = (deployment("web", "app: web, version: v1"), service("web", ""));
    let rule = |host: &str, version: &str| {
        let subset = format!("{{name: s, labels: {{version: {version}}}}}");
        networking("DestinationRule", "dr", &format!("host: {host}, subsets: [{subset}]"))
    };
    assert_found(&[&pods, &web, &rule("web", "v1")], NOTHING);
    assert_found(&[&pods, &web, &rule("\"*.default.svc.cluster.local\"", "v1")], NOTHING);
    assert_found(&[&pods, &web, &rule("api", "v1")], &["MZ1105 DestinationRule default/dr spec.host"]);
    assert_found(&[&pods, &web, &rule("web", "v2")], &["MZ1106 DestinationRule default/dr spec.subsets[0].labels"]);
    let second = rule("web", "v1").replace("name: dr", "name: dr2");
    assert_found(
        &[&pods, &web, &rule("web", "v1"), &second],
        &["MZ1107 DestinationRule default/dr2 spec.subsets[0].name"],
    );
    let two = |name: &str| networking("DestinationRule", name, "host: web, subsets: [{name: s}, {name: t}]");
    let both = [
        "MZ1107 DestinationRule default/b spec.subsets[0].name",
        "MZ1107 DestinationRule default/b spec.subsets[1].name",
    ];
    assert_found(&[&web, &two("a"), &two("b")], &both);
    let policy =
        |name: &str| networking("DestinationRule", name, "host: web, trafficPolicy: {loadBalancer: {simple: RANDOM}}");
    assert_found(&[&web, &policy("a"), &policy("b")], &["MZ1107 DestinationRule default/b spec.trafficPolicy"]);
}

#[test]
fn selectors_select() {
    let pods = deployment("web", "app: web");
    let by = |key: &str, app: &str| format!("{key}: {{app: {app}}}");
    let labels = |app: &str| format!("selector: {{matchLabels: {{app: {app}}}}}, mtls: {{mode: STRICT}}");
    let sidecar = |app: &str| {
        let selector = format!("workloadSelector: {{{}}}", by("labels", app));
        networking("Sidecar", "s", &format!("{selector}, egress: [{{hosts: [\"*/*\"]}}]"))
    };
    assert_found(&[&pods, &sidecar("web"), &security("PeerAuthentication", "p", &labels("web"))], NOTHING);
    assert_found(&[&pods, &sidecar("api")], &["MZ1108 Sidecar default/s spec.workloadSelector"]);
    let peer = security("PeerAuthentication", "p", &labels("api"));
    assert_found(&[&pods, &peer], &["MZ1108 PeerAuthentication default/p spec.selector"]);
    let second = security("PeerAuthentication", "q", &labels("web"));
    let first = security("PeerAuthentication", "p", &labels("web"));
    assert_found(&[&pods, &first, &second], &["MZ1109 PeerAuthentication default/q spec.selector"]);
}

#[test]
fn whoever_selects_workloads_selects_some() {
    let pods = deployment("web", "app: web");
    let extension = |kind: &str, app: &str, rest: &str| {
        object("extensions.istio.io/v1alpha1", kind, "o", &format!("selector: {{matchLabels: {{app: {app}}}}}, {rest}"))
    };
    let one = |version: &str, kind: &str, field: &str, app: &str, rest: &str| {
        object(version, kind, "o", &format!("{field}: {{app: {app}}}}}{rest}"))
    };
    let (labels, match_labels) = ("workloadSelector: {labels", "selector: {matchLabels");
    let telemetry = "telemetry.istio.io/v1";
    let entry = ", hosts: [a.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: STATIC";
    for app in ["web", "api"] {
        for (made, kind, field) in [
            (extension("WasmPlugin", app, "url: oci://a/b"), "WasmPlugin", "spec.selector"),
            (extension("TrafficExtension", app, "lua: {inlineCode: x}"), "TrafficExtension", "spec.selector"),
            (one(telemetry, "Telemetry", match_labels, app, ""), "Telemetry", "spec.selector"),
            (one("networking.istio.io/v1beta1", "ProxyConfig", match_labels, app, ""), "ProxyConfig", "spec.selector"),
            (
                security("AuthorizationPolicy", "o", &format!("{match_labels}: {{app: {app}}}}}")),
                "AuthorizationPolicy",
                "spec.selector",
            ),
            (
                security("RequestAuthentication", "o", &format!("{match_labels}: {{app: {app}}}}}")),
                "RequestAuthentication",
                "spec.selector",
            ),
            (
                one("networking.istio.io/v1alpha3", "EnvoyFilter", labels, app, ""),
                "EnvoyFilter",
                "spec.workloadSelector",
            ),
            (
                one("networking.istio.io/v1", "ServiceEntry", labels, app, entry),
                "ServiceEntry",
                "spec.workloadSelector",
            ),
            (
                networking(
                    "DestinationRule",
                    "o",
                    &format!("host: web, workloadSelector: {{matchLabels: {{app: {app}}}}}"),
                ),
                "DestinationRule",
                "spec.workloadSelector",
            ),
        ] {
            let nothing = format!("MZ1108 {kind} default/o {field}");
            let expected: &[&str] = if app == "web" { NOTHING } else { &[&nothing] };
            assert_found(&[&pods, &service("web", ""), &made], expected);
        }
    }
    let all = |name: &str, rest: &str| object(telemetry, "Telemetry", name, rest);
    assert_found(&[&all("a", ""), &all("b", "")], &["MZ1109 Telemetry default/b spec.selector"]);
    assert_found(
        &[&all("a", ""), &all("b", "targetRefs: [{kind: Gateway, name: gw, group: gateway.networking.k8s.io}]")],
        NOTHING,
    );
}

#[test]
fn services_say_protocols_and_have_pods() {
    let pods = deployment("web", "app: web");
    assert_found(&[&pods, &service("web", ", targetPort: web")], NOTHING);
    let target = service("web", ", targetPort: other");
    assert_found(&[&pods, &target], &["MZ1112 Service default/web spec.ports[0].targetPort"]);
    assert_found(&[&pods, &service("api", "")], &["MZ1111 Service default/api spec.selector"]);
    let unnamed = service("web", "").replace("name: http, ", "");
    assert_found(&[&pods, &unnamed], &["MZ1110 Service default/web spec.ports[0].name"]);
}

#[test]
fn names_lead_somewhere() {
    let web = service("web", "");
    let sidecar = |host: &str| networking("Sidecar", "s", &format!("egress: [{{hosts: [\"{host}\"]}}]"));
    assert_found(&[&web, &sidecar("./web.default.svc.cluster.local")], NOTHING);
    assert_found(&[&web, &sidecar("other/*")], NOTHING);
    let unknown = ["MZ1114 Sidecar default/s spec.egress[0].hosts"];
    assert_found(&[&web, &sidecar("other/web.default.svc.cluster.local")], &unknown);
    let policy = |name: &str| {
        let target = format!("targetRefs: [{{kind: Service, group: \"\", name: {name}}}], rules: [{{}}]");
        security("AuthorizationPolicy", "p", &target)
    };
    assert_found(&[&web, &policy("web")], NOTHING);
    assert_found(&[&web, &policy("api")], &["MZ1115 AuthorizationPolicy default/p spec.targetRefs[0].name"]);
    let vs = networking(
        "VirtualService",
        "vs",
        "hosts: [web], exportTo: [nowhere], http: [{route: [{destination: {host: web}}]}]",
    );
    let namespace =
        "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: default, labels: {istio-injection: disabled}}\n";
    let all = [namespace, &deployment("web", "app: web"), &web, &vs].concat();
    assert_eq!(found(&all, true), ["MZ1113 VirtualService default/vs spec.exportTo"]);
    assert_eq!(found(&all, false), NOTHING, "files do not say which namespaces there are");
}

#[test]
fn what_something_is_attached_to_exists() {
    let attached = |field: &str, group: &str, kind: &str, name: &str| {
        let target = format!("{{group: {group}, kind: {kind}, name: {name}}}");
        let spec =
            if field == "targetRef" { format!("targetRef: {target}") } else { format!("targetRefs: [{target}]") };
        object("telemetry.istio.io/v1", "Telemetry", "t", &spec)
    };
    let missing = |objects: &str, complete: bool| {
        let mut all = found(objects, complete);
        all.retain(|line| line.starts_with("MZ1115 "));
        all
    };
    let entry = "hosts: [a.com], ports: [{number: 80, name: http, protocol: HTTP}], resolution: DNS";
    let known = [service("web", ""), networking("ServiceEntry", "a", entry)].concat();
    for (group, kind, name) in [
        ("core", "Service", "web"),
        ("networking.istio.io", "ServiceEntry", "a"),
        (GATEWAY_API, "Gateway", "gw"),
        (GATEWAY_API, "GatewayClass", "class"),
    ] {
        for field in ["targetRef", "targetRefs"] {
            let at = if field == "targetRef" { "spec.targetRef.name" } else { "spec.targetRefs[0].name" };
            let good = [&known, attached(field, group, kind, name).as_str()].concat();
            assert_eq!(missing(&good, true), NOTHING, "{kind}");
            let bad = [&known, attached(field, group, kind, "other").as_str()].concat();
            assert_eq!(missing(&bad, true), [format!("MZ1115 Telemetry default/t {at}")]);
        }
    }
    let gateway = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: other}]";
    let filter = object("networking.istio.io/v1alpha3", "EnvoyFilter", "f", gateway);
    assert_eq!(found(&filter, true), ["MZ1115 EnvoyFilter default/f spec.targetRefs[0].name"]);
    assert_found(&[&filter], NOTHING);
}

#[test]
fn clients_and_servers_agree_on_mutual_tls() {
    let (pods, web) = (deployment("web", "app: web"), service("web", ""));
    let peer = |mode: &str| security("PeerAuthentication", "p", &format!("mtls: {{mode: {mode}}}"));
    let rule = |mode: &str| {
        let port = format!("portLevelSettings: [{{port: {{number: 80}}, tls: {{mode: {mode}}}}}]");
        networking("DestinationRule", "dr", &format!("host: web, trafficPolicy: {{{port}}}"))
    };
    for (client, server) in [("DISABLE", "PERMISSIVE"), ("ISTIO_MUTUAL", "STRICT"), ("SIMPLE", "DISABLE")] {
        assert_found(&[&pods, &web, &peer(server), &rule(client)], NOTHING);
    }
    let clash = ["MZ1116 DestinationRule default/dr spec.trafficPolicy.portLevelSettings[0].tls.mode"];
    for (client, server) in [("DISABLE", "STRICT"), ("SIMPLE", "STRICT"), ("ISTIO_MUTUAL", "DISABLE")] {
        assert_found(&[&pods, &web, &peer(server), &rule(client)], &clash);
    }
    // What a workload's own policy says counts, on its own port.
    let own = "selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}, portLevelMtls: {80: {mode: PERMISSIVE}}";
    assert_found(&[&pods, &web, &security("PeerAuthentication", "p", own), &rule("DISABLE")], NOTHING);
}

#[test]
fn pods_are_injected_where_they_should_be() {
    let namespace = |labels: &str| {
        format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: default, labels: {{{labels}}}}}\n")
    };
    let (plain, enabled) = (deployment("web", "app: web"), namespace("istio-injection: enabled"));
    assert_found(&[&enabled, &plain], NOTHING);
    assert_found(&[&namespace("istio-injection: disabled"), &plain], NOTHING);
    assert_found(&[&namespace(""), &plain], &["MZ1118 Namespace /default metadata.labels"]);
    let both = namespace("istio-injection: enabled, istio.io/rev: canary");
    assert_found(&[&both, &plain], &["MZ1117 Namespace /default metadata.labels[istio.io/rev]"]);
    assert_found(
        &[&namespace("istio-injection: on1"), &plain],
        &["MZ1117 Namespace /default metadata.labels[istio-injection]"],
    );
    let expecting = deployment("web", "app: web, sidecar.istio.io/inject: \"true\"");
    let refused = ["MZ1117 Deployment default/web spec.template.metadata.labels"];
    assert_found(&[&namespace("istio-injection: disabled"), &expecting], &refused);
    let host = deployment_with("web", "app: web", "", "hostNetwork: true, containers: [{name: app}]");
    assert_found(&[&enabled, &host], &["MZ1120 Deployment default/web spec.template.spec.hostNetwork"]);
    let user = deployment_with("web", "app: web", "", "containers: [{name: app, securityContext: {runAsUser: 1337}}]");
    let proxy_user = ["MZ1121 Deployment default/web spec.template.spec.containers[0].securityContext.runAsUser"];
    assert_found(&[&enabled, &user], &proxy_user);
    assert_found(&[&namespace("istio-injection: disabled"), &user], NOTHING);
    let annotated =
        deployment_with("web", "app: web", "sidecar.istio.io/inject: \"true\"", "containers: [{name: app}]");
    let field = "spec.template.metadata.annotations[sidecar.istio.io/inject]";
    assert_found(&[&enabled, &annotated], &[&format!("MZ1122 Deployment default/web {field}")]);
    let pod = |containers: &str| {
        format!("---\napiVersion: v1\nkind: Pod\nmetadata: {{name: web}}\nspec: {{containers: [{containers}]}}\n")
    };
    assert_found(&[&enabled, &pod("{name: app}")], &["MZ1119 Pod default/web spec.containers"]);
    assert_found(&[&enabled, &pod("{name: app}, {name: istio-proxy, image: proxyv2}")], NOTHING);
}

#[test]
fn every_kind_has_its_place() {
    assert_eq!(WorkloadKind::find("apps", "Deployment").map(WorkloadKind::kind), Some("Deployment"));
    assert_eq!(WorkloadKind::find("", Kind::Pod.kind()), None);
}
