//! The configuration: what objects there are, how events change them, and where they are written.

mod cluster;
mod documents;
mod files;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
};

use anyhow::{Context, Result};
use mizzen_e2e::KeyPairPem;

pub(super) use self::documents::PORT;
use self::{
    cluster::Cluster,
    documents::{Documents, Scope},
    files::Files,
};
use super::{
    Args,
    population::{Population, Who, ZONES},
};

/// Where the server reads the objects.
enum Source {
    Files(Files),
    Cluster(Box<Cluster>),
}

/// All objects, a document for every object or for a few that belong together, so that a change of one is one write.
pub(super) struct Config {
    source: Source,
    documents: Documents,
    population: Population,
    /// What is written, by path.
    written: BTreeMap<String, String>,
    /// Those of Secrets, in turn; made when the first is needed.
    certificates: Vec<KeyPairPem>,
    /// Makes every change different from all before.
    revision: u16,
    /// Whether what can be said otherwise is.
    reworded: bool,
}

impl Config {
    /// Writes all objects: into a directory, or to an API server that is started for it.
    pub(super) async fn create(args: &Args) -> Result<Self> {
        let source = if args.api_server {
            Source::Cluster(Box::new(Cluster::start().await.context("start an API server")?))
        } else {
            Source::Files(Files::create(args.dir.as_deref())?)
        };
        let population = Population::new(args);
        let documents = Documents {
            namespaces: args.namespaces,
            endpoints: args.endpoints,
            pods: args.pods,
            zones: population.is_diverse(),
            assigns_addresses: matches!(source, Source::Cluster(_)),
        };
        let mut config = Self {
            source,
            documents,
            population,
            written: BTreeMap::new(),
            certificates: Vec::new(),
            revision: 0,
            reworded: false,
        };
        let namespaces = (0..args.namespaces).map(|n| format!("ns-{n}")).chain(["istio-system".to_owned()]);
        let namespaces = namespaces.map(|name| (format!("{name}/namespace.yaml"), documents::namespace(&name)));
        config.write_all(namespaces.collect()).await?;
        let services = (0..args.services).flat_map(|service| config.service_documents(service, args)).collect();
        config.write_all(services).await?;
        config.write_all(config.diverse_documents(args)).await?;
        Ok(config)
    }

    fn service_documents(&self, service: u32, args: &Args) -> Vec<(String, String)> {
        let of = &self.documents;
        let mut documents = vec![
            (self.file(service, "service"), of.service(service)),
            (self.file(service, "slice"), of.slice(service, None)),
        ];
        if service < args.virtual_services() {
            documents.push((self.file(service, "route"), of.virtual_service(service, 0)));
        }
        if args.pods {
            documents.push((self.file(service, "pods"), of.pods(service)));
        }
        documents
    }

    /// What makes the clients of the diverse profile differ.
    fn diverse_documents(&self, args: &Args) -> Vec<(String, String)> {
        if !self.population.is_diverse() {
            return Vec::new();
        }
        let mut documents: Vec<_> =
            (0..ZONES).map(|zone| (format!("nodes/node-{zone}.node.yaml"), documents::node(zone))).collect();
        for workload in self.population.narrowed() {
            let (who, scope) = (Who::Workload(workload), self.scope(Who::Workload(workload)));
            documents.push((path(scope, "sidecar"), documents::sidecar(scope, &self.own_hosts(who))));
        }
        for workload in self.population.ruled().filter(|w| *w < args.services) {
            let rule = self.documents.destination_rule(workload, Some(workload), 0);
            documents.push((self.file(workload, "own-rule"), rule));
        }
        for workload in self.population.patched() {
            let scope = self.scope(Who::Workload(workload));
            // Each says something else, and nothing that a change will say.
            let revision = u16::MAX - u16::try_from(workload % 1000).unwrap_or_default();
            documents.push((path(scope, "filter"), documents::envoy_filter(scope, revision)));
        }
        let failing_over = args.services - args.services / 10..args.services;
        documents.extend(failing_over.map(|s| (self.file(s, "failover"), self.documents.failover(s))));
        documents
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
        format!("outbound|{PORT}||{}", self.documents.host(service))
    }

    /// The name of the virtual host of a service, as a resource.
    pub(super) fn virtual_host(&self, service: u32) -> String {
        format!("{PORT}/{}:{PORT}", self.documents.host(service))
    }

    /// Those who see a service.
    pub(super) fn seeing(&self, service: u32) -> Who {
        Who::Seeing(self.documents.namespace(service))
    }

    /// Gives the first endpoint of some services another address.
    pub(super) async fn change_endpoints(&mut self, services: impl Iterator<Item = u32>) -> Result<()> {
        let mut slices = Vec::new();
        for service in services {
            let [high, low] = self.next_revision().to_be_bytes();
            let slice = self.documents.slice(service, Some(&format!("10.160.{high}.{low}")));
            slices.push((self.file(service, "slice"), slice));
        }
        self.write_all(slices).await
    }

    /// Changes a route of the VirtualService of a service.
    pub(super) async fn change_virtual_service(&mut self, service: u32) -> Result<()> {
        let revision = self.next_revision();
        self.write(self.file(service, "route"), self.documents.virtual_service(service, revision)).await
    }

    /// Changes the DestinationRule of a service, or adds it.
    pub(super) async fn change_destination_rule(&mut self, service: u32) -> Result<()> {
        let revision = self.next_revision();
        self.write(self.file(service, "rule"), self.documents.destination_rule(service, None, revision)).await
    }

    pub(super) async fn remove_destination_rule(&mut self, service: u32) -> Result<()> {
        self.remove(&self.file(service, "rule")).await
    }

    /// Adds a service with endpoints, in one step.
    pub(super) async fn add_service(&mut self, service: u32) -> Result<()> {
        let objects = format!("{}---\n{}", self.documents.service(service), self.documents.slice(service, None));
        self.write(self.file(service, "service"), objects).await
    }

    /// Adds services with endpoints.
    pub(super) async fn add_services(&mut self, services: impl Iterator<Item = u32>) -> Result<()> {
        for service in services {
            self.add_service(service).await?;
        }
        Ok(())
    }

    /// Removes services that were added.
    pub(super) async fn remove_services(&mut self, services: impl Iterator<Item = u32>) -> Result<()> {
        for service in services {
            self.remove_service(service).await?;
        }
        Ok(())
    }

    /// Removes a service that was added.
    pub(super) async fn remove_service(&mut self, service: u32) -> Result<()> {
        self.remove(&self.file(service, "service")).await
    }

    /// The services of a namespace, as an entry of a Sidecar object.
    pub(super) fn namespace_entry(namespace: u32) -> String {
        format!("ns-{namespace}/*")
    }

    /// A service, as an entry of a Sidecar object.
    pub(super) fn service_entry(&self, service: u32) -> String {
        format!("ns-{}/{}", self.documents.namespace(service), self.documents.host(service))
    }

    /// What those import who have a Sidecar object in the diverse profile.
    pub(super) fn own_hosts(&self, who: Who) -> Vec<String> {
        vec![Self::namespace_entry(self.scope(who).namespace), "istio-system/*".to_owned()]
    }

    /// Writes the Sidecar object of a namespace or workload.
    pub(super) async fn set_sidecar(&mut self, of: Who, hosts: &[String]) -> Result<()> {
        let scope = self.scope(of);
        self.write(path(scope, "sidecar"), documents::sidecar(scope, hosts)).await
    }

    pub(super) async fn remove_sidecar(&mut self, of: Who) -> Result<()> {
        self.remove(&path(self.scope(of), "sidecar")).await
    }

    /// Changes the EnvoyFilter of a namespace or workload, or adds it.
    pub(super) async fn change_envoy_filter(&mut self, of: Who) -> Result<()> {
        let (scope, revision) = (self.scope(of), self.next_revision());
        self.write(path(scope, "filter"), documents::envoy_filter(scope, revision)).await
    }

    pub(super) async fn remove_envoy_filter(&mut self, of: Who) -> Result<()> {
        self.remove(&path(self.scope(of), "filter")).await
    }

    /// What those import who see nothing of one namespace.
    pub(super) fn hosts_without(&self, namespace: u32) -> Vec<String> {
        let others = (0..self.documents.namespaces).filter(|n| *n != namespace).map(Self::namespace_entry);
        others.chain(["istio-system/*".to_owned()]).collect()
    }

    /// Renews the Secret with which the clients of its namespace reach a service, or makes them reach it so. The Secret goes
    /// last, so that nobody is left with one that a new client is not given.
    pub(super) async fn change_secret(&mut self, service: u32) -> Result<()> {
        let revision = usize::from(self.next_revision());
        if self.certificates.is_empty() {
            self.certificates = documents::certificates()?;
        }
        let certificate = &self.certificates[revision % self.certificates.len()];
        let secret = (self.file(service, "secret"), self.documents.secret(service, certificate));
        let app = self.population.app(self.documents.namespace(service));
        let rule = (self.file(service, "tls"), self.documents.secured(service, &app));
        self.write_all(vec![secret, rule]).await
    }

    pub(super) async fn remove_secret(&mut self, service: u32) -> Result<()> {
        self.remove(&self.file(service, "tls")).await?;
        self.remove(&self.file(service, "secret")).await
    }

    /// Adds a namespace in which there is a service with a VirtualService.
    pub(super) async fn add_namespace(&mut self, number: u32) -> Result<()> {
        self.write(format!("extra-{number}/all.namespace.yaml"), documents::extra_namespace(number)).await
    }

    pub(super) async fn remove_namespace(&mut self, number: u32) -> Result<()> {
        self.remove(&format!("extra-{number}/all.namespace.yaml")).await
    }

    /// Changes the mesh configuration, or adds it.
    pub(super) async fn change_mesh(&mut self) -> Result<()> {
        let revision = self.next_revision();
        self.write("istio-system/istio.mesh.yaml".to_owned(), documents::mesh(revision)).await
    }

    /// Changes annotations of an object of every kind that there is.
    pub(super) async fn annotate(&mut self) -> Result<()> {
        let revision = self.next_revision();
        let annotated = |(path, text): (&String, &String)| (path.clone(), documents::annotated(text, revision));
        let documents = self.one_of_each_kind().map(annotated).collect();
        self.send(documents).await
    }

    /// Writes everything again as it is.
    pub(super) async fn rewrite(&mut self) -> Result<()> {
        let documents = self.written.iter().map(|(path, text)| (path.clone(), text.clone())).collect();
        self.send(documents).await
    }

    /// Says the same otherwise in an object of every kind, or as before.
    pub(super) async fn reword(&mut self) -> Result<()> {
        self.reworded = !self.reworded;
        let reworded = |(path, text): (&String, &String)| {
            (path.clone(), if self.reworded { documents::reworded(text) } else { text.clone() })
        };
        let documents = self.one_of_each_kind().map(reworded).collect();
        self.send(documents).await
    }

    /// Paths end with what the document holds.
    fn one_of_each_kind(&self) -> impl Iterator<Item = (&String, &String)> {
        let mut seen = BTreeSet::new();
        self.written.iter().filter(move |(path, _)| seen.insert(path.rsplit('.').nth(1).unwrap_or_default().to_owned()))
    }

    fn next_revision(&mut self) -> u16 {
        self.revision = self.revision.wrapping_add(1);
        self.revision
    }

    fn scope(&self, who: Who) -> Scope {
        match who {
            Who::Workload(workload) => {
                Scope { namespace: workload % self.documents.namespaces, workload: Some(workload) }
            }
            Who::Namespace(namespace) | Who::Seeing(namespace) => Scope { namespace, workload: None },
            Who::Everyone => Scope { namespace: 0, workload: None },
        }
    }

    async fn write(&mut self, path: String, text: String) -> Result<()> {
        self.write_all(vec![(path, text)]).await
    }

    async fn write_all(&mut self, documents: Vec<(String, String)>) -> Result<()> {
        self.written.extend(documents.iter().cloned());
        self.send(documents).await
    }

    async fn send(&self, documents: Vec<(String, String)>) -> Result<()> {
        match &self.source {
            Source::Files(files) => documents.iter().try_for_each(|(path, text)| files.write(path, text)),
            Source::Cluster(cluster) => cluster.write(documents).await,
        }
    }

    async fn remove(&mut self, path: &str) -> Result<()> {
        let Some(text) = self.written.remove(path) else { return Ok(()) };
        match &self.source {
            Source::Files(files) => files.remove(path),
            Source::Cluster(cluster) => cluster.remove(path, &text).await,
        }
    }

    fn file(&self, service: u32, what: &str) -> String {
        format!("ns-{}/svc-{service}.{what}.yaml", self.documents.namespace(service))
    }
}

fn path(scope: Scope, what: &str) -> String {
    format!("ns-{}/{}.{what}.yaml", scope.namespace, scope.name())
}
