//! Random Gateways.

use serde_json::json;

use super::shape::{Json, always, boolean, both, either, fields, list, mostly, object, pick, some};

pub(super) fn gateway() -> Json {
    let spec = fields(vec![
        ("selector", 1.0, pick(&[json!({"istio": "ingressgateway"}), json!({"istio": "ingressgateway", "app": "x"})])),
        ("servers", 1.0, list(server(), 1, 2)),
    ]);
    object("networking.istio.io/v1", "Gateway", spec)
}

fn server() -> Json {
    let common = || {
        fields(vec![
            (
                "hosts",
                1.0,
                some(&["*", "a.example.com", "*.example.com", "shop/b.example.com", "./*.c.test", "*/*"], 1, 2),
            ),
            ("bind", 0.2, mostly(&["0.0.0.0", "10.0.0.1", "127.0.0.1"], &["::", "a"])),
            ("name", 0.2, pick(&["a", "b", "c", "d"])),
        ])
    };
    let port = |numbers: &[u64], protocols: &[&'static str]| {
        fields(vec![
            ("number", 1.0, pick(numbers)),
            ("name", 1.0, mostly(&["a", "b", "c", "d"], &["A b"])),
            ("protocol", 1.0, pick(protocols)),
        ])
    };
    let plain = fields(vec![
        ("port", 1.0, port(&[80, 8080, 9000, 65535], &["HTTP", "HTTP2", "GRPC", "TCP", "MONGO", "http"])),
        ("tls", 0.1, fields(vec![("httpsRedirect", 1.0, boolean())])),
    ]);
    let secure = fields(vec![("port", 1.0, port(&[443, 8443], &["HTTPS", "TLS"])), ("tls", 1.0, tls())]);
    either(vec![(2, both(plain, common())), (3, both(secure, common()))])
}

fn tls() -> Json {
    let versions = || {
        fields(vec![
            ("minProtocolVersion", 0.3, pick(&["TLSV1_0", "TLSV1_1", "TLSV1_2", "TLS_AUTO"])),
            ("maxProtocolVersion", 0.3, pick(&["TLSV1_2", "TLSV1_3", "TLS_AUTO"])),
            (
                "cipherSuites",
                0.3,
                some(&["ECDHE-RSA-AES128-GCM-SHA256", "AES256-SHA", "ECDHE-ECDSA-CHACHA20-POLY1305", "NOPE"], 1, 2),
            ),
        ])
    };
    let credential = fields(vec![
        ("mode", 1.0, pick(&["SIMPLE", "MUTUAL", "OPTIONAL_MUTUAL"])),
        (
            "credentialName",
            1.0,
            mostly(&["cred", "a.b"], &["kubernetes://cred", "other/cred", "kubernetes-gateway://a/b"]),
        ),
    ]);
    let names = fields(vec![
        ("subjectAltNames", 0.3, some(&["a.b", "spiffe://a/b", "*.c"], 1, 2)),
        ("verifyCertificateSpki", 0.1, some(&["a", "NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A="], 1, 1)),
        (
            "verifyCertificateHash",
            0.1,
            some(
                &[
                    "a",
                    "E0:F3:C8:CE:5E:2E:A3:05:F0:70:1F:F5:12:E3:6E:2E:97:92:82:84:A2:28:BC:F7:73:32:D3:39:30:A1:B6:FD",
                ],
                1,
                1,
            ),
        ),
    ]);
    let files = fields(vec![
        ("mode", 1.0, pick(&["MUTUAL", "OPTIONAL_MUTUAL", "SIMPLE"])),
        ("serverCertificate", 1.0, always("/etc/cert.pem".into())),
        ("privateKey", 1.0, always("/etc/key.pem".into())),
        ("caCertificates", 0.9, always("/etc/ca.pem".into())),
    ]);
    let others = fields(vec![("mode", 1.0, pick(&["PASSTHROUGH", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL"]))]);
    either(vec![
        (3, both(both(credential, names.clone()), versions())),
        (2, both(both(files, names), versions())),
        (1, others),
    ])
}
