use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::model::code::without_code;
use crate::model::{
    ServerTlsMode,
    gateway::{Certificates, ClientCa, TlsVersion},
};

fn read(servers: &Value) -> (Vec<Server>, Vec<String>) {
    let object = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway",
        "metadata": {"name": "gw", "namespace": "ns", "creationTimestamp": "2024-01-01T00:00:00Z"},
        "spec": {"selector": {"istio": "ingressgateway"}, "servers": servers},
    });
    let gateway: api::Gateway = serde_json::from_value(object).expect("a Gateway");
    let (made, problems) = convert(&gateway);
    let made = made.expect("a Gateway");
    assert_eq!(made.age.created, 1_704_067_200);
    let text = |p: &Problem| without_code(p).trim_start_matches("Gateway ns/gw: ").to_owned();
    (made.servers, problems.iter().map(text).collect())
}

fn server(protocol: &str, tls: &Value) -> Value {
    json!([{"port": {"number": 443, "name": "p", "protocol": protocol}, "hosts": ["*"], "tls": tls}])
}

/// The TLS of a server without problems.
fn tls(protocol: &str, tls: &Value) -> ServerTls {
    let (mut servers, problems) = read(&server(protocol, tls));
    assert_eq!(problems, Vec::<String>::new());
    servers.remove(0).tls.expect("TLS")
}

/// The only problem of a server that is left out.
fn refused(servers: &Value) -> String {
    let (servers, mut problems) = read(servers);
    assert!(servers.is_empty(), "{servers:?}");
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

#[test]
fn hosts_have_namespaces() {
    let (servers, problems) = read(&json!([{
        "port": {"number": 80, "name": "http", "protocol": "HTTP"},
        "hosts": ["A.com", "*/b.com", "./c.com", "other/*.d.com", "./*", "A b", "Up/x.com"],
    }]));
    let hosts: Vec<_> =
        servers[0].hosts.iter().map(|h| format!("{}/{}", h.namespace.as_deref().unwrap_or("*"), h.host)).collect();
    assert_eq!(hosts, ["*/a.com", "*/b.com", "ns/*", "ns/c.com", "other/*.d.com"]);
    assert_eq!(
        problems,
        [
            "spec.servers[0].hosts[5]: \"A b\" is not a host name, optionally with a leading \"*.\"; it is left out",
            "spec.servers[0].hosts[6]: \"Up\" of \"Up/x.com\" is not a namespace, \".\" or \"*\"; it is left out",
        ]
    );
}

#[test]
fn a_wrong_server_is_left_out_and_the_others_stay() {
    let (servers, problems) = read(&json!([
        {"port": {"number": 0, "name": "a", "protocol": "HTTP"}, "hosts": ["*"]},
        {"port": {"number": 70000, "name": "b", "protocol": "HTTP"}, "hosts": ["*"]},
        {"port": {"number": 80, "name": "c", "protocol": "HTPP"}, "hosts": ["*"]},
        {"port": {"number": 80, "name": "d", "protocol": "UDP"}, "hosts": ["*"]},
        {"port": {"number": 80, "name": "e", "protocol": "HTTP"}, "hosts": []},
        {"port": {"number": 80, "name": "f", "protocol": "HTTP"}, "hosts": ["*"], "bind": "10.0.0.1:80"},
        {"port": {"number": 80, "name": "good", "protocol": "http", "targetPort": 8080}, "hosts": ["*"]},
    ]));
    assert_eq!(servers.iter().map(|s| (s.index, &*s.port_name)).collect::<Vec<_>>(), [(6, "good")]);
    assert_eq!(
        problems,
        [
            "spec.servers[0].port.number: 0 is not a port, 1 to 65535; the server is not programmed",
            "spec.servers[1].port.number: 70000 is not a port, 1 to 65535; the server is not programmed",
            "spec.servers[2].port.protocol: protocol \"HTPP\" is not one of HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, \
             MONGO, TCP, TLS; the server is not programmed",
            "spec.servers[3].port.protocol: protocol \"UDP\" is not one of HTTP, HTTPS, HTTP2, GRPC, GRPC-WEB, \
             MONGO, TCP, TLS; the server is not programmed",
            "spec.servers[4].hosts: no usable host is left; the server is not programmed",
            "spec.servers[5].bind: \"10.0.0.1:80\" is neither an IP address nor unix:// with an absolute path; the \
             server is not programmed",
            "spec.servers[6].port.targetPort: has no effect on a Gateway",
        ]
    );
}

#[test]
fn modes_find_their_certificates() {
    let simple = tls("HTTPS", &json!({"mode": "SIMPLE", "credentialName": "c"}));
    assert_eq!((simple.mode, simple.client_ca), (ServerTlsMode::Simple, ClientCa::None));
    assert_eq!(simple.certificates, Certificates::Credentials(vec!["c".into()]));
    let mutual = tls("HTTPS", &json!({"mode": "MUTUAL", "credentialName": "c"}));
    assert_eq!(mutual.client_ca, ClientCa::Credential("c".into()));
    let own_ca = tls("TLS", &json!({"mode": "OPTIONAL_MUTUAL", "credentialName": "c", "caCertCredentialName": "d"}));
    assert_eq!(own_ca.client_ca, ClientCa::Credential("d".into()));
    let files = tls(
        "HTTPS",
        &json!({"mode": "MUTUAL", "serverCertificate": "/c", "privateKey": "/k", "caCertificates": "/a",
                "caCrl": "/r", "minProtocolVersion": "TLSV1_2", "maxProtocolVersion": "TLSV1_3"}),
    );
    assert_eq!((files.client_ca, files.ca_crl.as_deref()), (ClientCa::File("/a".into()), Some("/r")));
    assert_eq!((files.min_version, files.max_version), (Some(TlsVersion::V1_2), Some(TlsVersion::V1_3)));
    let two = json!({"mode": "SIMPLE", "tlsCertificates": [{"serverCertificate": "/a", "privateKey": "/b"},
                     {"serverCertificate": "/c", "privateKey": "/d"}]});
    assert!(matches!(tls("HTTPS", &two).certificates, Certificates::Files(f) if f.len() == 2));
    assert_eq!(tls("TLS", &json!({"mode": "ISTIO_MUTUAL"})).certificates, Certificates::None);
    assert_eq!(tls("HTTPS", &json!({})).mode, ServerTlsMode::Passthrough);
}

#[test]
fn tls_that_cannot_be_as_it_is_written_is_left_out() {
    for (protocol, settings, problem) in [
        ("HTTPS", Value::Null, "spec.servers[0].tls: protocols HTTPS and TLS need it; the server is not programmed"),
        (
            "HTTPS",
            json!({"mode": "SIMPLE"}),
            "spec.servers[0].tls: mode SIMPLE needs credentialName, credentialNames, tlsCertificates, or \
             serverCertificate with privateKey; the server is not programmed",
        ),
        (
            "HTTPS",
            json!({"mode": "SIMPLE", "credentialName": "c", "serverCertificate": "/c", "privateKey": "/k"}),
            "spec.servers[0].tls: only one of credentialName, serverCertificate can be used; the server is not \
             programmed",
        ),
        (
            "HTTPS",
            json!({"mode": "MUTUAL", "serverCertificate": "/c", "privateKey": "/k"}),
            "spec.servers[0].tls.caCertificates: mode MUTUAL needs it (or caCertCredentialName) to check clients; \
             the server is not programmed",
        ),
        (
            "HTTP",
            json!({"mode": "SIMPLE", "credentialName": "c"}),
            "spec.servers[0].tls: it needs protocol HTTPS or TLS; the server is not programmed",
        ),
        (
            "TCP",
            json!({"mode": "SIMPLE", "credentialName": "c"}),
            "spec.servers[0].tls: it needs protocol HTTPS or TLS; the server is not programmed",
        ),
        (
            "HTTPS",
            json!({"mode": "MUTUAL", "credentialName": "c", "verifyCertificateHash": ["zz"]}),
            "spec.servers[0].tls.verifyCertificateHash[0]: not a SHA-256 in 64 hexadecimal digits; the server is \
             not programmed",
        ),
        (
            "TLS",
            json!({"mode": "AUTO_PASSTHROUGH"}),
            "spec.servers[0].tls.mode: AUTO_PASSTHROUGH is not honoured yet; the server is not programmed",
        ),
        (
            "HTTPS",
            json!({"mode": "SIMPLE", "credentialNames": ["a", "b", "c"]}),
            "spec.servers[0].tls.credentialNames: there are 3, of which 2 can be used; the server is not programmed",
        ),
        (
            "HTTPS",
            json!({"mode": "SIMPLE", "credentialName": "c", "minProtocolVersion": "TLSV1_3",
                   "maxProtocolVersion": "TLSV1_2"}),
            "spec.servers[0].tls.maxProtocolVersion: it is below minProtocolVersion, so no version is left; the \
             server is not programmed",
        ),
    ] {
        assert_eq!(refused(&server(protocol, &settings)), problem);
    }
}

#[test]
fn what_does_no_harm_is_left_away_and_told() {
    let (servers, problems) = read(&server(
        "HTTPS",
        &json!({"mode": "SIMPLE", "credentialName": "c", "httpsRedirect": true, "insecureSkipVerify": true,
                "cipherSuites": ["AES128-SHA", "NULL", "AES128-SHA"]}),
    ));
    assert_eq!(servers[0].tls.as_ref().map(|t| t.cipher_suites.len()), Some(1));
    assert!(!servers[0].https_redirect);
    assert_eq!(
        problems,
        [
            "spec.servers[0].tls.insecureSkipVerify: not honoured yet",
            "spec.servers[0].tls.cipherSuites[2]: \"AES128-SHA\" is there twice",
            "spec.servers[0].tls.cipherSuites[1]: \"NULL\" is not known; it is left out",
            "spec.servers[0].tls.httpsRedirect: only plaintext HTTP can be redirected to HTTPS; it is ignored",
        ]
    );
    let (servers, problems) = read(&server("HTTP", &json!({"httpsRedirect": true})));
    assert_eq!((servers[0].https_redirect, servers[0].tls.is_none(), problems.len()), (true, true, 0));
    let (_, problems) = read(&server("TLS", &json!({"mode": "PASSTHROUGH", "credentialName": "c"})));
    assert_eq!(
        problems,
        ["spec.servers[0].tls.credentialName: mode PASSTHROUGH uses no certificate of its own; it is ignored"]
    );
}

#[test]
fn fields_of_tls_that_nothing_follows_from_are_told() {
    let hash = "ab".repeat(32);
    let checks = json!({"caCertificates": "/a", "caCertCredentialName": "d", "caCrl": "/r", "subjectAltNames": ["s"],
                        "verifyCertificateHash": [hash]});
    let all = ["caCertificates", "caCertCredentialName", "caCrl", "subjectAltNames", "verifyCertificateHash"];
    let simple = "has no effect with mode SIMPLE: no certificate of a client is looked at";
    let passthrough = "has no effect with mode PASSTHROUGH: no certificate of a client is looked at";
    let ends = "has no effect with mode PASSTHROUGH: TLS does not end here";
    let mesh = "has no effect with mode ISTIO_MUTUAL: clients have certificates of the mesh";
    let told = |fields: &[&str], why: &str| fields.iter().map(|f| format!("{f}: {why}")).collect::<Vec<_>>();
    let beside = "has no effect beside credentialName";
    for (mode, given, expected) in [
        (json!({"mode": "SIMPLE", "credentialName": "c"}), &checks, told(&all, simple)),
        (json!({"mode": "PASSTHROUGH"}), &checks, told(&all, passthrough)),
        (json!({"mode": "ISTIO_MUTUAL"}), &checks, told(&all[..2], mesh)),
        (
            json!({"mode": "PASSTHROUGH"}),
            &json!({"minProtocolVersion": "TLSV1_2", "maxProtocolVersion": "TLSV1_2", "cipherSuites": ["AES128-SHA"]}),
            told(&["minProtocolVersion", "maxProtocolVersion", "cipherSuites"], ends),
        ),
        (json!({"mode": "MUTUAL", "credentialName": "c"}), &json!({"caCertificates": "/a"}), told(&all[..1], beside)),
        (
            json!({"mode": "MUTUAL", "tlsCertificates": [
                {"serverCertificate": "/a", "privateKey": "/b", "caCertificates": "/c"},
                {"serverCertificate": "/d", "privateKey": "/e", "caCertificates": "/f"}]}),
            &json!({}),
            told(&["tlsCertificates[1].caCertificates"], "has no effect beside tlsCertificates[0].caCertificates"),
        ),
        (
            json!({"mode": "SIMPLE", "credentialName": "c"}),
            &json!({"serverCertificate": "/c", "tlsCertificates": [{"privateKey": "/k"}]}),
            vec![
                "privateKey: is missing: serverCertificate has no effect without it".to_owned(),
                "tlsCertificates[0].serverCertificate: is missing: privateKey has no effect without it".to_owned(),
            ],
        ),
    ] {
        let mut settings = mode.clone();
        let (target, more) = (settings.as_object_mut().expect("a map"), given.as_object().expect("a map"));
        target.extend(more.clone());
        let (servers, problems) = read(&server("TLS", &settings));
        let problems: Vec<&str> = problems.iter().map(|p| p.trim_start_matches("spec.servers[0].tls.")).collect();
        assert_eq!((servers.len(), problems), (1, expected.iter().map(String::as_str).collect()), "{settings}");
    }
}

#[test]
fn names_tell_servers_apart() {
    let named = |name: &str, port: u16| json!({"name": name, "port": {"number": port, "name": format!("p{port}"), "protocol": "HTTP"}, "hosts": ["*"]});
    let (servers, problems) = read(&json!([named("a", 80), named("", 81), named("", 82), named("a", 83)]));
    assert_eq!(servers.len(), 4);
    assert_eq!(problems, ["spec.servers[3].name: \"a\" is the name of servers[0] as well"]);
}

#[test]
fn a_gateway_without_servers_is_told() {
    let (servers, problems) = read(&json!([]));
    assert!(servers.is_empty());
    assert_eq!(problems, ["spec.servers: a Gateway without servers opens no port"]);
}

proptest! {
    #[test]
    fn no_text_panics(host in ".*", bind in ".*", protocol in ".*", credential in ".*", number in any::<u32>()) {
        let (servers, _) = read(&json!([{
            "port": {"number": number, "name": "p", "protocol": protocol}, "hosts": [host], "bind": bind,
            "tls": {"mode": "MUTUAL", "credentialName": credential, "verifyCertificateSpki": [credential]},
        }]));
        for server in servers {
            prop_assert!(!server.hosts.is_empty());
        }
    }
}
