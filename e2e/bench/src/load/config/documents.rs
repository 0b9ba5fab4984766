//! The text of objects. Pure. Metadata stands on a line of its own that begins with `metadata: {`.

use anyhow::Result;
use mizzen_e2e::{Authority, KeyPairPem};

use crate::load::population::{ZONES, workload_name};

/// The port of every service.
pub(in crate::load) const PORT: u16 = 80;

/// What all objects depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Documents {
    pub(super) namespaces: u32,
    /// Of each service.
    pub(super) endpoints: u32,
    /// Whether endpoints name Pods.
    pub(super) pods: bool,
    /// Whether endpoints are spread over zones.
    pub(super) zones: bool,
    /// Whether addresses of services are the API server's to give.
    pub(super) assigns_addresses: bool,
}

/// The proxies that an object is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) namespace: u32,
    /// All of the namespace when there is none.
    pub(super) workload: Option<u32>,
}

impl Scope {
    /// What is written of it where labels select.
    fn selector(self, field: &str, labels: &str) -> String {
        self.workload.map_or_else(String::new, |w| format!("  {field}: {{{labels}: {{app: {}}}}}\n", workload_name(w)))
    }

    pub(super) fn name(self) -> String {
        self.workload.map_or_else(|| "all".to_owned(), workload_name)
    }
}

pub(super) fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

/// The node of a zone.
pub(super) fn node(zone: u32) -> String {
    format!(
        "apiVersion: v1
kind: Node
metadata: {{name: node-{zone}, labels: {{topology.kubernetes.io/region: region, topology.kubernetes.io/zone: zone-{zone}}}}}
"
    )
}

/// The mesh configuration; the revision shows in every listener.
pub(super) fn mesh(revision: u16) -> String {
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: istio, namespace: istio-system}}
data:
  mesh: |
    accessLogFile: /dev/stdout
    accessLogFormat: \"revision-{revision} %RESPONSE_CODE%\\n\"
"
    )
}

/// Imports services: `namespace/host` each.
pub(super) fn sidecar(scope: Scope, hosts: &[String]) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {{name: {}, namespace: ns-{}}}
spec:
{}  egress: [{{hosts: [{}]}}]
",
        scope.name(),
        scope.namespace,
        scope.selector("workloadSelector", "labels"),
        hosts.iter().map(|host| format!("'{host}'")).collect::<Vec<_>>().join(", "),
    )
}

/// Changes the listener of the services' port.
pub(super) fn envoy_filter(scope: Scope, revision: u16) -> String {
    format!(
        "apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: {}, namespace: ns-{}}}
spec:
{}  configPatches:
  - applyTo: NETWORK_FILTER
    match:
      context: SIDECAR_OUTBOUND
      listener: {{portNumber: {PORT}, filterChain: {{filter: {{name: envoy.filters.network.http_connection_manager}}}}}}
    patch:
      operation: MERGE
      value:
        typed_config:
          '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          max_request_headers_kb: {}
",
        scope.name(),
        scope.namespace,
        scope.selector("workloadSelector", "labels"),
        96 + revision % 4096,
    )
}

/// So many that two in a row differ.
const CERTIFICATES: usize = 4;

pub(super) fn certificates() -> Result<Vec<KeyPairPem>> {
    let authority = Authority::new("clients")?;
    (0..CERTIFICATES).map(|_| authority.issue(&["client.test"])).collect()
}

/// A namespace with a service and its VirtualService.
pub(super) fn extra_namespace(number: u32) -> String {
    let (name, host) = (format!("extra-{number}"), format!("web.extra-{number}.svc.cluster.local"));
    format!(
        "{}---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {name}}}
spec:
  clusterIP: 10.97.0.{number}
  clusterIPs: [10.97.0.{number}]
  ports: [{{name: http, port: {PORT}, targetPort: 8080, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-0, namespace: {name}, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints: [{{addresses: [10.191.0.{number}], conditions: {{ready: true}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: web, namespace: {name}}}
spec:
  hosts: [{host}]
  http: [{{route: [{{destination: {{host: {host}}}}}], timeout: 5s}}]
",
        namespace(&name)
    )
}

impl Documents {
    pub(super) fn namespace(&self, service: u32) -> u32 {
        service % self.namespaces
    }

    pub(super) fn host(&self, service: u32) -> String {
        format!("svc-{service}.ns-{}.svc.cluster.local", self.namespace(service))
    }

    pub(super) fn service(&self, service: u32) -> String {
        let address = if self.assigns_addresses {
            String::new()
        } else {
            // 172.16.0.0/12 has a million addresses.
            let [_, a, b, c] = (service + 1).to_be_bytes();
            let address = format!("172.{}.{b}.{c}", 16 + (a & 15));
            format!("  clusterIP: {address}\n  clusterIPs: [{address}]\n")
        };
        format!(
            "apiVersion: v1
kind: Service
metadata: {{name: svc-{service}, namespace: ns-{}}}
spec:
{address}  selector: {{app: svc-{service}}}
  ports: [{{name: http, port: {PORT}, targetPort: 8080, protocol: TCP}}]
",
            self.namespace(service)
        )
    }

    /// The address of an endpoint, in the half of 10.0.0.0/8 that clients do not use.
    fn address(&self, service: u32, endpoint: u32) -> String {
        let [_, a, b, c] = (service * self.endpoints + endpoint + 1).to_be_bytes();
        format!("10.{}.{b}.{c}", 192 + (a & 63))
    }

    /// An EndpointSlice whose first endpoint may have another address.
    pub(super) fn slice(&self, service: u32, first: Option<&str>) -> String {
        let namespace = self.namespace(service);
        let mut text = format!(
            "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: svc-{service}-0, namespace: ns-{namespace}, labels: {{kubernetes.io/service-name: svc-{service}}}}}
addressType: IPv4
ports: [{{name: http, port: 8080, protocol: TCP}}]
endpoints:
"
        );
        for endpoint in 0..self.endpoints {
            let address = match first {
                Some(address) if endpoint == 0 => address.to_owned(),
                _ => self.address(service, endpoint),
            };
            // An endpoint that names a Pod is not used before the Pod is known.
            let pod = if self.pods {
                format!(", targetRef: {{kind: Pod, name: svc-{service}-{endpoint}, namespace: ns-{namespace}}}")
            } else {
                String::new()
            };
            let zone = endpoint % ZONES;
            let place = if self.zones { format!(", nodeName: node-{zone}, zone: zone-{zone}") } else { String::new() };
            text.push_str(&format!("- {{addresses: [{address}], conditions: {{ready: true}}{place}{pod}}}\n"));
        }
        text
    }

    pub(super) fn virtual_service(&self, service: u32, revision: u16) -> String {
        let host = self.host(service);
        format!(
            "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: svc-{service}, namespace: ns-{}}}
spec:
  hosts: [{host}]
  http:
  - match: [{{uri: {{prefix: /revision-{revision}/}}}}]
    rewrite: {{uri: /}}
    route: [{{destination: {{host: {host}}}}}]
  - route: [{{destination: {{host: {host}}}}}]
    timeout: 5s
",
            self.namespace(service)
        )
    }

    /// Settings of a service's clusters, for everyone or for one workload of its namespace.
    pub(super) fn destination_rule(&self, service: u32, workload: Option<u32>, revision: u16) -> String {
        let namespace = self.namespace(service);
        let scope = Scope { namespace, workload };
        format!(
            "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: svc-{service}-{}, namespace: ns-{namespace}}}
spec:
  host: {}
{}  trafficPolicy: {{connectionPool: {{tcp: {{maxConnections: {}}}}}}}
",
            scope.name(),
            self.host(service),
            scope.selector("workloadSelector", "matchLabels"),
            1_000 + u32::from(revision),
        )
    }

    /// A certificate for those who reach a service, and the authority that they trust.
    pub(super) fn secret(&self, service: u32, certificate: &KeyPairPem) -> String {
        let entry = |key: &str, pem: &str| format!("  {key}: {}\n", serde_json::json!(pem));
        format!(
            "apiVersion: v1
kind: Secret
metadata: {{name: svc-{service}, namespace: ns-{}}}
stringData:
{}{}{}",
            self.namespace(service),
            entry("tls.crt", &certificate.cert),
            entry("tls.key", &certificate.key),
            entry("ca.crt", &certificate.cert),
        )
    }

    /// Makes clients of a service's namespace reach it with its secret: those whose label `app` is this.
    pub(super) fn secured(&self, service: u32, app: &str) -> String {
        format!(
            "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: svc-{service}-tls, namespace: ns-{}}}
spec:
  host: {}
  workloadSelector: {{matchLabels: {{app: {app}}}}}
  trafficPolicy: {{tls: {{mode: MUTUAL, credentialName: svc-{service}}}}}
",
            self.namespace(service),
            self.host(service),
        )
    }

    /// Makes a service fail over between zones.
    pub(super) fn failover(&self, service: u32) -> String {
        format!(
            "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: svc-{service}-failover, namespace: ns-{}}}
spec:
  host: {}
  trafficPolicy:
    outlierDetection: {{consecutive5xxErrors: 5}}
    loadBalancer: {{localityLbSetting: {{enabled: true}}}}
",
            self.namespace(service),
            self.host(service),
        )
    }

    pub(super) fn pods(&self, service: u32) -> String {
        let mut text = String::new();
        for endpoint in 0..self.endpoints {
            let ip = self.address(service, endpoint);
            text.push_str(&format!(
                "---
apiVersion: v1
kind: Pod
metadata: {{name: svc-{service}-{endpoint}, namespace: ns-{}, labels: {{app: svc-{service}}}}}
spec: {{serviceAccountName: svc-{service}, containers: [{{name: app, image: app}}]}}
status: {{podIP: {ip}, podIPs: [{{ip: {ip}}}], phase: Running}}
",
                self.namespace(service)
            ));
        }
        text
    }
}

/// The same with another annotation on every object.
pub(super) fn annotated(text: &str, revision: u16) -> String {
    text.replace("\nmetadata: {", &format!("\nmetadata: {{annotations: {{revision: '{revision}'}}, "))
}

/// The same said otherwise, as far as there is another way.
pub(super) fn reworded(text: &str) -> String {
    text.replace("timeout: 5s", "timeout: 5000ms").replace("{ready: true}", "{ready: true, serving: true}")
}
