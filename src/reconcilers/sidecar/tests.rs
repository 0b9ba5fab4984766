use serde_json::{Value, json};

use super::*;
use crate::model::{
    code::without_code,
    sidecar::{EgressHost, NamespaceMatch},
};

fn read(spec: &Value) -> (Sidecar, Vec<String>) {
    let object = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Sidecar",
        "metadata": {"name": "s", "namespace": "ns"}, "spec": spec,
    });
    let (made, problems) = convert(&serde_json::from_value(object).expect("a Sidecar"));
    let text = |p: &Problem| without_code(p).trim_start_matches("Sidecar ns/s: ").to_owned();
    (made.expect("a Sidecar"), problems.iter().map(text).collect())
}

#[test]
fn nothing_said_imports_everything() {
    let (sidecar, problems) = read(&json!({}));
    assert_eq!(sidecar.egress.len(), 1);
    assert_eq!(sidecar.egress[0].hosts, [EgressHost::everything()]);
    assert_eq!((sidecar.workload_selector, sidecar.outbound_policy, problems.len()), (None, None, 1));
    assert_eq!(sidecar.age.created, i64::MAX);
}

#[test]
fn hosts_name_namespaces() {
    let (sidecar, problems) =
        read(&json!({"egress": [{"hosts": ["*/*", "./a.com", "other/*.B.com", "~old/*", "~/x.com", "a.com", "A/x"]}]}));
    let namespaces: Vec<_> = sidecar.egress[0].hosts.iter().map(|h| (h.namespace.clone(), &*h.host)).collect();
    assert_eq!(
        namespaces,
        [
            (NamespaceMatch::Any, "*"),
            (NamespaceMatch::Own, "a.com"),
            (NamespaceMatch::Named("other".into()), "*.b.com"),
            (NamespaceMatch::Except("old".into()), "*"),
            (NamespaceMatch::Nothing, "x.com"),
        ]
    );
    assert_eq!(
        problems,
        [
            "spec.egress[0].hosts[0]: \"*/*\" stands for everything: the other hosts have no effect",
            "spec.egress[0].hosts[5]: \"a.com\" is not of the form namespace/host; it is left out",
            "spec.egress[0].hosts[6]: \"A\" of \"A/x\" is not a namespace, \".\", \"*\" or \"~\"; it is left out",
        ]
    );
}

#[test]
fn listeners_have_ports_and_sockets() {
    let (sidecar, problems) = read(&json!({"egress": [
        {"port": {"number": 9080, "protocol": "HTTP", "name": "h"}, "captureMode": "NONE", "hosts": ["./*"]},
        {"port": {"number": 0, "protocol": "HTTP"}, "bind": "unix:///run/x", "hosts": ["./*"]},
        {"port": {"number": 3306, "protocol": "MYSQL"}, "bind": "127.0.0.9", "hosts": ["./*"]},
        {"port": {"number": 1, "protocol": "NEW"}, "hosts": ["./*"]},
        {"hosts": ["istio-system/*"]},
    ]}));
    let ports: Vec<_> = sidecar.egress.iter().map(|e| e.port.as_ref().map(|p| (p.number, p.protocol))).collect();
    assert_eq!(
        ports,
        [
            Some((9080, Protocol::Http)),
            Some((0, Protocol::Http)),
            Some((3306, Protocol::Mysql)),
            Some((1, Protocol::Auto)),
            None
        ]
    );
    let sockets: Vec<_> = sidecar.egress.iter().map(|e| e.socket().map(|b| b.to_string())).collect();
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(sockets, [some("127.0.0.1"), some("unix:///run/x"), some("127.0.0.9"), None, None]);
    assert_eq!(
        problems,
        ["spec.egress[3].port.protocol: protocol \"NEW\" is not known; it is told by looking at the bytes"]
    );
}

#[test]
fn wrong_listeners_are_left_out() {
    let (sidecar, problems) = read(&json!({"egress": [
        {"hosts": ["./*"]},
        {"port": {"number": 80, "protocol": "HTTP"}, "hosts": ["./*"]},
        {"hosts": ["*/*"]},
        {"port": {"number": 70000, "protocol": "HTTP"}, "hosts": ["./*"]},
        {"bind": "1.1.1.1", "hosts": ["./*"]},
        {"port": {"number": 81, "protocol": "HTTP"}, "bind": "somewhere", "hosts": ["./*"]},
        {"port": {"number": 82, "protocol": "HTTP"}, "hosts": ["x"]},
    ]}));
    assert_eq!(sidecar.egress.iter().map(|e| e.port.is_some()).collect::<Vec<_>>(), [true, false]);
    assert_eq!(
        problems,
        [
            "spec.egress[1]: listeners with a port come before the one without; it is used as if it did",
            "spec.egress[2]: another listener without a port comes before it; it is left out",
            "spec.egress[3].port.number: 70000 is not a port, 1 to 65535; the listener is left out",
            "spec.egress[3]: listeners with a port come before the one without; it is used as if it did",
            "spec.egress[4].bind: it needs a port; the listener is left out",
            "spec.egress[4]: another listener without a port comes before it; it is left out",
            "spec.egress[5].bind: \"somewhere\" is neither an IP address nor unix://<path>; it is left out",
            "spec.egress[5]: listeners with a port come before the one without; it is used as if it did",
            "spec.egress[6].hosts[0]: \"x\" is not of the form namespace/host; it is left out",
            "spec.egress[6].hosts: no usable host is left; the listener is left out",
            "spec.egress[6]: listeners with a port come before the one without; it is used as if it did",
        ]
    );
}

#[test]
fn policies_and_what_is_missing() {
    let policy = |spec: Value| read(&json!({"outboundTrafficPolicy": spec}));
    assert_eq!(policy(json!({})).0.outbound_policy, Some(OutboundPolicy::RegistryOnly));
    assert_eq!(policy(json!({"mode": "ALLOW_ANY"})).0.outbound_policy, Some(OutboundPolicy::AllowAny));
    let (_, problems) = read(&json!({
        "workloadSelector": {"labels": {"app": "a"}},
        "ingress": [{"port": {"number": 80, "protocol": "HTTP", "name": "x"}}],
        "inboundConnectionPool": {},
        "outboundTrafficPolicy": {"mode": "ALLOW_ANY", "egressProxy": {"host": "x"}},
    }));
    assert_eq!(
        problems,
        [
            "spec.ingress: not honoured yet",
            "spec.inboundConnectionPool: not honoured yet",
            "spec.inboundConnectionPool: says nothing: set tcp or http, or remove it",
            "spec.outboundTrafficPolicy.egressProxy: not honoured yet",
            "spec.outboundTrafficPolicy.egressProxy.port: is missing: name the port of the service",
        ]
    );
}
