//! The configuration: a directory with a file for every object, or for a few that belong together, so that a change
//! of one is a change of one file.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::Args;

/// The port of every service.
pub(super) const PORT: u16 = 80;

/// A directory that the server reads. Files are replaced by renaming, so that the server sees the old or the new.
pub(super) struct ConfigDir {
    path: PathBuf,
    /// New files are written here, on the same file system.
    staging: TempDir,
    endpoints: u32,
    namespaces: u32,
    pods: bool,
    /// Makes every change different from all before.
    revision: u16,
}

impl ConfigDir {
    /// Writes all objects.
    pub(super) fn create(args: &Args) -> Result<Self> {
        let (path, staging) = match &args.dir {
            None => {
                let staging = tempfile::tempdir()?;
                (staging.path().join("config"), staging)
            }
            Some(path) => {
                let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                (path.clone(), TempDir::new_in(beside.unwrap_or(Path::new(".")))?)
            }
        };
        fs::create_dir_all(&path).with_context(|| format!("make {}", path.display()))?;
        let empty = fs::read_dir(&path)?.next().is_none();
        ensure!(empty, "{} is not empty", path.display());
        let dir = Self {
            path,
            staging,
            endpoints: args.endpoints,
            namespaces: args.namespaces,
            pods: args.pods,
            revision: 0,
        };
        for namespace in 0..args.namespaces {
            let name = format!("ns-{namespace}");
            fs::create_dir_all(dir.path.join(&name))?;
            let object = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
            dir.write(&format!("{name}/namespace.yaml"), &object)?;
        }
        for service in 0..args.services {
            dir.write_service(service, args)?;
        }
        Ok(dir)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The name of the cluster of a service, and of its assignment.
    pub(super) fn cluster(&self, service: u32) -> String {
        format!("outbound|{PORT}||{}", self.host(service))
    }

    /// Gives the first endpoint of a service another address.
    pub(super) fn change_endpoint(&mut self, service: u32) -> Result<()> {
        self.revision = self.revision.wrapping_add(1);
        let [high, low] = self.revision.to_be_bytes();
        self.write(&self.file(service, "slice"), &self.slice(service, Some(&format!("10.160.{high}.{low}")), ""))
    }

    /// Changes a route of the VirtualService of a service.
    pub(super) fn change_virtual_service(&mut self, service: u32) -> Result<()> {
        self.revision = self.revision.wrapping_add(1);
        self.write(&self.file(service, "route"), &self.virtual_service(service, self.revision, ""))
    }

    /// Adds a service with endpoints, in one step.
    pub(super) fn add_service(&self, service: u32) -> Result<()> {
        let objects = format!("{}---\n{}", self.service(service, ""), self.slice(service, None, ""));
        self.write(&self.file(service, "service"), &objects)
    }

    /// Changes annotations of a service, its endpoints and its VirtualService, which must not have been changed before.
    pub(super) fn annotate(&mut self, service: u32, with_route: bool) -> Result<()> {
        self.revision = self.revision.wrapping_add(1);
        let note = format!(", annotations: {{example.com/note: \"{}\"}}", self.revision);
        self.write(&self.file(service, "service"), &self.service(service, &note))?;
        self.write(&self.file(service, "slice"), &self.slice(service, None, &note))?;
        if with_route {
            self.write(&self.file(service, "route"), &self.virtual_service(service, 0, &note))
        } else {
            Ok(())
        }
    }

    fn write_service(&self, service: u32, args: &Args) -> Result<()> {
        self.write(&self.file(service, "service"), &self.service(service, ""))?;
        self.write(&self.file(service, "slice"), &self.slice(service, None, ""))?;
        if service < args.virtual_services() {
            self.write(&self.file(service, "route"), &self.virtual_service(service, 0, ""))?;
        }
        if args.pods {
            self.write(&self.file(service, "pods"), &self.pods(service))?;
        }
        Ok(())
    }

    fn write(&self, name: &str, content: &str) -> Result<()> {
        let (new, path) = (self.staging.path().join("new"), self.path.join(name));
        fs::write(&new, content).with_context(|| format!("write {}", new.display()))?;
        fs::rename(&new, &path).with_context(|| format!("rename to {}", path.display()))
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
        // 172.16.0.0/12 has a million addresses.
        let [_, a, b, c] = (service + 1).to_be_bytes();
        format!(
            "apiVersion: v1
kind: Service
metadata: {{name: svc-{service}, namespace: ns-{}{more}}}
spec:
  clusterIP: 172.{}.{b}.{c}
  clusterIPs: [172.{}.{b}.{c}]
  selector: {{app: svc-{service}}}
  ports: [{{name: http, port: {PORT}, targetPort: 8080, protocol: TCP}}]
",
            self.namespace(service),
            16 + (a & 15),
            16 + (a & 15)
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
