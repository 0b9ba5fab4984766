//! The configuration: what objects there are, how events change them, and where they are written.

mod cluster;
mod files;

use std::ffi::OsString;

use anyhow::{Context, Result};

use self::{cluster::Cluster, files::Files};
use super::Args;

/// The port of every service.
pub(super) const PORT: u16 = 80;

/// Where the server reads the objects.
enum Source {
    Files(Files),
    Cluster(Box<Cluster>),
}

/// All objects, a document for every object or for a few that belong together, so that a change of one is one write.
pub(super) struct Config {
    source: Source,
    endpoints: u32,
    namespaces: u32,
    pods: bool,
    /// Makes every change different from all before.
    revision: u16,
}

impl Config {
    /// Writes all objects: into a directory, or to an API server that is started for it.
    pub(super) async fn create(args: &Args) -> Result<Self> {
        let source = if args.api_server {
            Source::Cluster(Box::new(Cluster::start().await.context("start an API server")?))
        } else {
            Source::Files(Files::create(args.dir.as_deref())?)
        };
        let (endpoints, namespaces) = (args.endpoints, args.namespaces);
        let config = Self { source, endpoints, namespaces, pods: args.pods, revision: 0 };
        let namespaces = (0..args.namespaces).map(|n| {
            let name = format!("ns-{n}");
            let object = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
            (format!("{name}/namespace.yaml"), object)
        });
        config.write_all(namespaces.collect()).await?;
        let services = (0..args.services).flat_map(|service| config.documents(service, args));
        config.write_all(services.collect()).await?;
        Ok(config)
    }

    /// How the server is told where the objects are.
    pub(super) fn server_args(&self) -> [OsString; 2] {
        match &self.source {
            Source::Files(files) => ["--configDir".into(), files.path().into()],
            Source::Cluster(cluster) => ["--kubeconfig".into(), cluster.kubeconfig().into()],
        }
    }

    /// The name of the cluster of a service, and of its assignment.
    pub(super) fn cluster(&self, service: u32) -> String {
        format!("outbound|{PORT}||{}", self.host(service))
    }

    /// The name of the virtual host of a service, as a resource.
    pub(super) fn virtual_host(&self, service: u32) -> String {
        format!("{PORT}/{}:{PORT}", self.host(service))
    }

    /// Gives the first endpoint of some services another address.
    pub(super) async fn change_endpoints(&mut self, services: impl Iterator<Item = u32>) -> Result<()> {
        let mut slices = Vec::new();
        for service in services {
            let [high, low] = self.next_revision().to_be_bytes();
            let slice = self.slice(service, Some(&format!("10.160.{high}.{low}")), "");
            slices.push((self.file(service, "slice"), slice));
        }
        self.write_all(slices).await
    }

    /// Changes a route of the VirtualService of a service.
    pub(super) async fn change_virtual_service(&mut self, service: u32) -> Result<()> {
        let revision = self.next_revision();
        self.write(self.file(service, "route"), self.virtual_service(service, revision, "")).await
    }

    /// Adds a service with endpoints, in one step.
    pub(super) async fn add_service(&self, service: u32) -> Result<()> {
        let objects = format!("{}---\n{}", self.service(service, ""), self.slice(service, None, ""));
        self.write(self.file(service, "service"), objects).await
    }

    /// Changes annotations of a service, its endpoints and its VirtualService, which must not have been changed before.
    pub(super) async fn annotate(&mut self, service: u32, with_route: bool) -> Result<()> {
        let note = format!(", annotations: {{example.com/note: \"{}\"}}", self.next_revision());
        let mut documents = vec![
            (self.file(service, "service"), self.service(service, &note)),
            (self.file(service, "slice"), self.slice(service, None, &note)),
        ];
        if with_route {
            documents.push((self.file(service, "route"), self.virtual_service(service, 0, &note)));
        }
        self.write_all(documents).await
    }

    fn next_revision(&mut self) -> u16 {
        self.revision = self.revision.wrapping_add(1);
        self.revision
    }

    fn documents(&self, service: u32, args: &Args) -> Vec<(String, String)> {
        let mut documents = vec![
            (self.file(service, "service"), self.service(service, "")),
            (self.file(service, "slice"), self.slice(service, None, "")),
        ];
        if service < args.virtual_services() {
            documents.push((self.file(service, "route"), self.virtual_service(service, 0, "")));
        }
        if args.pods {
            documents.push((self.file(service, "pods"), self.pods(service)));
        }
        documents
    }

    async fn write(&self, name: String, content: String) -> Result<()> {
        self.write_all(vec![(name, content)]).await
    }

    async fn write_all(&self, documents: Vec<(String, String)>) -> Result<()> {
        match &self.source {
            Source::Files(files) => documents.iter().try_for_each(|(name, content)| files.write(name, content)),
            Source::Cluster(cluster) => cluster.write(documents).await,
        }
    }

    /// Whether addresses of services are the API server's to give.
    fn assigns_addresses(&self) -> bool {
        matches!(self.source, Source::Cluster(_))
    }

    fn namespace(&self, service: u32) -> u32 {
        service % self.namespaces
    }

    fn host(&self, service: u32) -> String {
        format!("svc-{service}.ns-{}.svc.cluster.local", self.namespace(service))
    }

    fn file(&self, service: u32, what: &str) -> String {
        format!("ns-{}/svc-{service}.{what}.yaml", self.namespace(service))
    }

    fn service(&self, service: u32, more: &str) -> String {
        let address = if self.assigns_addresses() {
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
metadata: {{name: svc-{service}, namespace: ns-{}{more}}}
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

    fn slice(&self, service: u32, first: Option<&str>, more: &str) -> String {
        let namespace = self.namespace(service);
        let mut text = format!(
            "apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: svc-{service}-0, namespace: ns-{namespace}, labels: {{kubernetes.io/service-name: svc-{service}}}{more}}}
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
            text.push_str(&format!("- {{addresses: [{address}], conditions: {{ready: true}}{pod}}}\n"));
        }
        text
    }

    fn virtual_service(&self, service: u32, revision: u16, more: &str) -> String {
        let host = self.host(service);
        format!(
            "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: svc-{service}, namespace: ns-{}{more}}}
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

    fn pods(&self, service: u32) -> String {
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
