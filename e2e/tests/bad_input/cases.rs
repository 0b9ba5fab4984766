//! What is wrong, and exactly what is told of it.

use std::net::SocketAddr;

use anyhow::Result;
use mizzen_e2e::Authority;
use serde_json::json;

/// Something bad.
pub(crate) struct Case {
    pub(crate) file: &'static str,
    pub(crate) content: Vec<u8>,
    /// What is told.
    pub(crate) problems: Vec<String>,
    /// The kind that the metric names.
    pub(crate) kind: &'static str,
    /// What the gateway then answers.
    pub(crate) requests: Vec<(&'static str, u16)>,
}

impl Case {
    pub(crate) fn new(kind: &'static str, content: impl Into<Vec<u8>>, problems: &[&str]) -> Self {
        Self {
            file: "bad.yaml",
            content: content.into(),
            problems: problems.iter().map(|&p| p.to_owned()).collect(),
            kind,
            requests: Vec::new(),
        }
    }

    pub(crate) fn answers(mut self, host: &'static str, status: u16) -> Self {
        self.requests.push((host, status));
        self
    }
}

/// All that works.
pub(crate) fn good(gateway: u16, upstream: SocketAddr) -> String {
    format!(
        r#"
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: gateway, namespace: default, creationTimestamp: "2020-01-01T00:00:00Z"}}
spec:
  selector: {{istio: ingressgateway}}
  servers: [{{port: {{number: {gateway}, name: http, protocol: HTTP}}, hosts: ["*"]}}]
---
{}
---
apiVersion: v1
kind: Service
metadata: {{name: good, namespace: default}}
spec: {{clusterIP: 10.96.0.77, ports: [{{name: http, port: 80}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: good-1, namespace: default, labels: {{kubernetes.io/service-name: good}}}}
addressType: IPv4
ports: [{{name: http, port: {}}}]
endpoints: [{{addresses: ["{}"]}}]
"#,
        virtual_service("good", "hosts: [good.test], gateways: [gateway]", "route: [{destination: {host: good}}]"),
        upstream.port(),
        upstream.ip(),
    )
}

/// A VirtualService with one HTTP rule.
pub(crate) fn virtual_service(name: &str, bound: &str, rule: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: default}}\n\
         spec: {{{bound}, http: [{{{rule}}}]}}"
    )
}

pub(crate) fn bad_route(rule: &str) -> String {
    virtual_service("bad", "hosts: [bad.test], gateways: [gateway]", rule)
}

pub(crate) const TO_GOOD: &str = "route: [{destination: {host: good}}]";

pub(crate) fn wrong_texts() -> Vec<Case> {
    let mut broken = bad_route(TO_GOOD).into_bytes();
    broken.extend_from_slice(b"\n# \xff\n");
    vec![
        Case::new(
            "",
            format!("{}\n---\na: 1\nb: c: d\n", bad_route(TO_GOOD)),
            &["bad.yaml:7: mapping values are not allowed in this context"],
        )
        .answers("bad.test", 200),
        Case::new("", broken, &["bad.yaml:5: invalid UTF-8: byte 0xff at offset 195"]).answers("bad.test", 404),
        Case::new(
            "VirtualService",
            virtual_service("bad", "hosts: 5, gateways: [gateway]", TO_GOOD),
            &["bad.yaml:1: VirtualService default/bad: spec.hosts: invalid type: integer `5`, expected a sequence"],
        ),
        Case::new(
            "VirtualService",
            virtual_service("bad", "hosts: [bad.test], gatewais: [], gateways: [gateway]", TO_GOOD),
            &["bad.yaml:1: VirtualService default/bad: spec.gatewais: unknown field"],
        )
        .answers("bad.test", 200),
    ]
}

pub(crate) fn wrong_routes() -> Vec<Case> {
    let long = format!("match: [{{uri: {{regex: \"{}\"}}}}], {TO_GOOD}", "a".repeat(1 << 20));
    vec![
        Case::new(
            "VirtualService",
            bad_route("route: [{destination: {host: nowhere}}]"),
            &["VirtualService default/bad: spec.http[0].route[0].destination: no service has host \
               \"nowhere.default.svc.cluster.local\"; requests are answered with 503"],
        )
        .answers("bad.test", 503),
        // Of the mesh, where no sidecar is connected.
        Case::new(
            "VirtualService",
            virtual_service("bad", "hosts: [bad.test]", "route: [{destination: {host: nowhere-1}}]"),
            &["VirtualService default/bad: spec.http[0].route[0].destination: no service has host \
               \"nowhere-1.default.svc.cluster.local\"; requests are answered with 503"],
        ),
        // On a Gateway that does not exist, which no proxy has.
        Case::new(
            "VirtualService",
            virtual_service("bad", "hosts: [bad.test], gateways: [none]", "route: [{destination: {host: nowhere-2}}]"),
            &[
                "VirtualService default/bad: spec.gateways: Gateway default/none does not exist: naming it has no effect",
                "VirtualService default/bad: spec.http[0].route[0].destination: no service has host \
                 \"nowhere-2.default.svc.cluster.local\"; requests are answered with 503",
            ],
        ),
        Case::new(
            "VirtualService",
            [("bad-1", "x.test"), ("bad-2", "X.test")]
                .map(|(name, host)| virtual_service(name, &format!("hosts: [{host}]"), TO_GOOD))
                .join("\n---\n"),
            &["VirtualService default/bad-2: spec.hosts: in the mesh, requests for \"x.test\" follow the older \
               VirtualService default/bad-1 instead"],
        ),
        Case::new(
            "VirtualService",
            bad_route("route: [{destination: {host: good, subset: v9}}]"),
            &["VirtualService default/bad: spec.http[0].route[0].destination: no DestinationRule of host \
               \"good.default.svc.cluster.local\" has subset \"v9\"; requests are answered with 503"],
        )
        .answers("bad.test", 503),
        Case::new(
            "VirtualService",
            bad_route(&format!("match: [{{uri: {{regex: \"a(b\"}}}}], {TO_GOOD}")),
            &[
                "VirtualService default/bad: spec.http[0].match[0].uri: \"a(b\" is not an RE2 expression: a bracket ( or ) has no counterpart; \
               the entry is left out",
            ],
        ),
        Case::new(
            "VirtualService",
            bad_route(&long),
            &["VirtualService default/bad: spec.http[0].match[0].uri: the expression is 1048576 bytes long: use at \
               most 1024; the entry is left out"],
        ),
    ]
}

pub(crate) fn wrong_others(gateway: u16) -> Result<Vec<Case>> {
    let authority = Authority::new("test")?;
    let (pair, other) = (authority.issue(&["a.test"])?, authority.issue(&["b.test"])?);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "bad", "namespace": "default"}, "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": pair.cert, "tls.key": other.key},
    });
    let claim = format!(
        "apiVersion: networking.istio.io/v1\nkind: Gateway\nmetadata: {{name: bad, namespace: default}}\n\
         spec: {{selector: {{istio: ingressgateway}}, servers: [{{port: {{number: {gateway}, name: tcp, \
         protocol: TCP}}, hosts: [\"*\"]}}]}}"
    );
    let claimed = format!(
        "Gateway default/bad: spec.servers[0]: port {gateway} on any address: TCP cannot share it with HTTP of the \
         older Gateway default/gateway (spec.servers[0]); the server is not programmed"
    );
    Ok(vec![
        Case::new("Gateway", claim, &[&claimed]),
        Case::new(
            "Secret",
            secret.to_string(),
            &["Secret default/bad: data: tls.key: the private key does not belong to the first certificate"],
        ),
        Case::new(
            "EndpointSlice",
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: bad, namespace: default, labels: \
             {kubernetes.io/service-name: good}}\naddressType: IPv6\nports: [{name: http, port: 80}]\n\
             endpoints: [{addresses: [\"fd00::1\"]}]",
            &["EndpointSlice default/bad: addressType: IPv6 addresses are not used: the first of the ipFamilies of \
               Service default/good is IPv4"],
        ),
    ])
}

/// What no connected proxy has: it is told all the same.
pub(crate) fn wrong_without_a_proxy() -> Vec<Case> {
    let object = |kind: &str, version: &str, spec: &str| {
        format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: bad, namespace: default}}\nspec: {spec}")
    };
    let networking = |kind: &str, spec: &str| object(kind, "networking.istio.io/v1", spec);
    let filter = "{workloadSelector: {labels: {app: nobody}}, configPatches: [{applyTo: CLUSTER, match: {context: GATEWAY}, \
                  patch: {operation: MERGE, value: {no_such_field: 1}}}, {applyTo: HTTP_ROUTE, patch: {operation: MERGE, \
                  value: {name: a}}}]}";
    let tls = |name: &str, mode: &str| {
        format!("port: {{number: 443, name: {name}, protocol: TLS}}, hosts: [\"*\"], tls: {{{mode}}}")
    };
    let gateway = format!(
        "{{selector: {{istio: nobody}}, servers: [{{{}}}, {{{}}}]}}",
        tls("a", "mode: AUTO_PASSTHROUGH"),
        tls("b", "mode: SIMPLE, credentialName: none")
    );
    let l4 = "{hosts: [bad.test], gateways: [gateway], tls: [{match: [{sniHosts: [bad.test, other.test]}], route: \
              [{destination: {host: good}, weight: 1}, {destination: {host: nowhere-3}, weight: 1}]}]}";
    let mesh = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata:\n  mesh: |\n    \
                enableAutoMtls: maybe\n    proxyListenPort: 0\n    tlsDefaults: {cipherSuites: [NULL-MD5]}";
    let peer = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: bad, namespace: default}\n\
                spec: {portLevelMtls: {80: {mode: STRICT}}}";
    vec![
        Case::new(
            "PeerAuthentication",
            peer,
            &["PeerAuthentication default/bad: spec.portLevelMtls: has no effect without a selector with labels"],
        ),
        Case::new(
            "EnvoyFilter",
            object("EnvoyFilter", "networking.istio.io/v1alpha3", filter),
            &[
                "EnvoyFilter default/bad: spec.configPatches[0].patch.value.no_such_field: `envoy.config.cluster.v3.Cluster` \
                 has no such field",
                "EnvoyFilter default/bad: spec.configPatches[1].applyTo: HTTP_ROUTE is not honoured yet",
            ],
        ),
        Case::new(
            "Gateway",
            networking("Gateway", &gateway),
            &[
                "Gateway default/bad: spec.servers[0].tls.mode: AUTO_PASSTHROUGH is not honoured yet; the server is not \
                 programmed",
                "Gateway default/bad: spec.servers[1].tls.credentialName: secret \"none\" (kubernetes://none) does not \
                 exist or lacks the keys; the server's filter chain is withheld until it is there",
            ],
        ),
        Case::new(
            "DestinationRule",
            networking(
                "DestinationRule",
                "{host: good, trafficPolicy: {tls: {mode: SIMPLE, credentialName: a, caCrl: /b}}, \
                       exportTo: [\"~\"]}",
            ),
            &[
                "DestinationRule default/bad: spec.trafficPolicy.tls.credentialName: only gateways read it, as the rule \
                 has no workloadSelector; requests of sidecars are answered with 503",
                "DestinationRule default/bad: spec.trafficPolicy.tls.caCrl: has no effect beside credentialName",
                "DestinationRule default/bad: spec.exportTo[0]: \"~\" (nobody) is only for ServiceEntries",
            ],
        ),
        Case::new(
            "VirtualService",
            networking("VirtualService", l4),
            &[
                "VirtualService default/bad: spec.tls[0].match[0].sniHosts[1]: \"other.test\" has no effect: it is \
                 outside of spec.hosts",
                "VirtualService default/bad: spec.tls[0].route[1].destination: no service has host \
                 \"nowhere-3.default.svc.cluster.local\"; connections are closed",
            ],
        ),
        Case::new(
            "ConfigMap",
            mesh,
            &[
                "ConfigMap istio-system/istio: data.mesh: enableAutoMtls: invalid type: string \"maybe\", expected a boolean",
                "ConfigMap istio-system/istio: data.mesh: proxyListenPort: 0 is not a port: 15001 is used",
                "ConfigMap istio-system/istio: data.mesh: tlsDefaults.cipherSuites[0]: \"NULL-MD5\" is not known; it is \
                 left out",
            ],
        ),
    ]
}

/// What sidecars alone have.
pub(crate) fn wrong_in_the_mesh() -> Vec<Case> {
    let entry = |name: &str, created: &str, host: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: {name}, namespace: default, \
             creationTimestamp: \"{created}\"}}\nspec: {{hosts: [{host}], addresses: [10.9.0.1], resolution: DNS, \
             ports: [{{number: 80, name: http, protocol: HTTP}}]}}"
        )
    };
    let old = "2021-01-01T00:00:00Z";
    let two = format!("{}\n---\n{}", entry("b", "2022-01-01T00:00:00Z", "b.test"), entry("a", old, "a.test"));
    let in_mesh = |name: &str, host: &str| virtual_service(name, &format!("hosts: [{host}]"), TO_GOOD);
    vec![
        Case::new(
            "ServiceEntry",
            two,
            &["ServiceEntry default/b: spec.addresses: requests for 10.9.0.1 on port 80 are those of the older \
               ServiceEntry default/a, which has the same address"],
        ),
        Case::new(
            "VirtualService",
            format!("{}\n---\n{}", in_mesh("bad-1", "x.test"), in_mesh("bad-2", "X.test")),
            &["VirtualService default/bad-2: spec.hosts: in the mesh, requests for \"x.test\" follow the older \
               VirtualService default/bad-1 instead"],
        ),
        Case::new(
            "Service",
            in_mesh("bad", "good.default"),
            &["Service default/good: metadata.name: requests for \"good.default\" are those of VirtualService \
               default/bad, which has the same domain"],
        ),
    ]
}

pub(crate) fn not_honoured() -> Vec<Case> {
    let kinds = [
        ("Telemetry", "telemetry.istio.io/v1", "{}"),
        ("ProxyConfig", "networking.istio.io/v1beta1", "{}"),
        ("WasmPlugin", "extensions.istio.io/v1alpha1", "{url: \"oci://a.test/b\"}"),
        ("WorkloadGroup", "networking.istio.io/v1", "{template: {}}"),
        ("TrafficExtension", "extensions.istio.io/v1alpha1", "{lua: {inlineCode: \"--\"}}"),
    ];
    let case = |(kind, version, spec): (&'static str, &str, &str)| {
        let content =
            format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: bad, namespace: default}}\nspec: {spec}");
        let told = format!("{kind} default/bad: {kind} is not honoured yet; it has no effect");
        Case::new(kind, content, &[&told])
    };
    kinds.into_iter().map(case).collect()
}
