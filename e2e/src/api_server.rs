//! A real Kubernetes API server, with its own etcd.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{
    certs::Authority,
    client::{Client, Request, Tls},
    kubectl::kubectl,
    ports::free_port,
    process::{Process, Signal},
    token::sign_token,
    tools::tool,
    wait::PATIENCE,
};

/// The name that clients ask for, and the certificate carries.
const SERVER_NAME: &str = "localhost";
/// The token of a member of `system:masters`.
const ADMIN_TOKEN: &str = "admin-token";

/// etcd and kube-apiserver on loopback, with RBAC. There are no controllers and no kubelet: objects stay as they are
/// written. Dropping it kills both.
#[derive(Debug)]
pub struct ApiServer {
    etcd: Process,
    server: Option<Process>,
    etcd_client: SocketAddr,
    address: SocketAddr,
    ca: String,
    dir: tempfile::TempDir,
}

impl ApiServer {
    /// Starts both and waits until the API server is ready (about 5 s on two cores).
    ///
    /// # Errors
    /// When a program is not in the cache, or does not start.
    pub async fn start() -> Result<Self> {
        let address = || anyhow::Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)));
        let dir = tempfile::tempdir()?;
        let authority = Authority::new("mizzen-e2e")?;
        write_credentials(dir.path(), &authority)?;
        let (etcd_client, etcd_peer) = (address()?, address()?);
        let etcd = start_etcd(dir.path(), etcd_client, etcd_peer)?;
        let ca = authority.pem().to_owned();
        let mut server = Self { etcd, server: None, etcd_client, address: address()?, ca, dir };
        let (name, token) = ("admin", ADMIN_TOKEN);
        server.write_kubeconfig(name, server.address, token)?;
        server.start_again().await?;
        // Where the control plane is: it keeps the root of its authority there.
        server.apply("{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}")?;
        Ok(server)
    }

    /// A token with these claims, signed as the API server signs those of service accounts.
    ///
    /// # Errors
    /// When its key cannot be read.
    pub fn sign_token(&self, claims: &Value) -> Result<String> {
        sign_token(&fs::read_to_string(self.dir.path().join("server.key"))?, claims)
    }

    /// Starts the API server after [`ApiServer::stop`] or [`ApiServer::kill`], on the same port and with what is in
    /// etcd, and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn start_again(&mut self) -> Result<()> {
        let program = tool("kube-apiserver")?;
        let mut server = Process::start("kube-apiserver", &program, &self.arguments(), self.dir.path())?;
        let client = Client::https(self.address, &self.tls())?;
        let etcd = &mut self.etcd;
        let request =
            Request::get("/readyz").host(SERVER_NAME).header("authorization", &format!("Bearer {ADMIN_TOKEN}"));
        server
            .until("the API server to be ready", PATIENCE * 2, || {
                let etcd = etcd.check_running();
                let (client, request) = (&client, &request);
                async move {
                    etcd?;
                    let reply = client.send(request).await?;
                    ensure!(reply.status == 200, "{} {}", reply.status, reply.text());
                    Ok(())
                }
            })
            .await?;
        self.server = Some(server);
        Ok(())
    }

    fn arguments(&self) -> Vec<String> {
        let file = |name: &str| self.dir.path().join(name).display().to_string();
        vec![
            format!("--etcd-servers=http://{}", self.etcd_client),
            // When compaction happens is for the tests to say.
            "--etcd-compaction-interval=0".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            // Else it looks for a default route, which a network namespace of a test has not.
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.address.port()),
            "--endpoint-reconciler-type=none".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            // There is no controller that would make service accounts for the pods that tests create.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            format!("--token-auth-file={}", file("tokens.csv")),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
            format!("--service-account-key-file={}", file("server.crt")),
            format!("--service-account-signing-key-file={}", file("server.key")),
            format!("--cert-dir={}", file("certs")),
        ]
    }

    /// Kills the API server with SIGKILL. etcd goes on.
    pub fn kill(&mut self) {
        self.server = None;
    }

    /// Asks the API server to end, and waits for that. etcd goes on.
    ///
    /// # Errors
    /// When it does not run or does not end.
    pub async fn stop(&mut self) -> Result<()> {
        let mut server = self.server.take().context("the API server does not run")?;
        server.terminate(PATIENCE).await.map(drop)
    }

    /// Sends a signal to the API server: frozen ([`Signal::Stop`]), it keeps connections and answers nothing.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.server.as_mut().context("the API server does not run")?.signal(signal)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The kubeconfig of an administrator.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("admin.kubeconfig")
    }

    /// Writes a kubeconfig of the administrator that leads through another address (a [`crate::Link`]).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig_through(&self, address: SocketAddr) -> Result<PathBuf> {
        self.write_kubeconfig(&format!("through-{}", address.port()), address, ADMIN_TOKEN)
    }

    /// Writes the kubeconfig of a user who has no rights but those of RBAC rules that name him.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig_of_user(&self) -> Result<PathBuf> {
        self.write_kubeconfig("user", self.address, "user-token")
    }

    /// Writes the kubeconfig of whom a token names.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kubeconfig_of(&self, name: &str, token: &str) -> Result<PathBuf> {
        self.write_kubeconfig(name, self.address, token)
    }

    fn write_kubeconfig(&self, name: &str, address: SocketAddr, token: &str) -> Result<PathBuf> {
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": {
                "server": format!("https://{address}"),
                "tls-server-name": SERVER_NAME,
                "certificate-authority": self.dir.path().join("ca.crt"),
            }}],
            "users": [{"name": name, "user": {"token": token}}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}],
            "current-context": "e2e",
        });
        let path = self.dir.path().join(format!("{name}.kubeconfig"));
        // YAML, of which JSON is a part.
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    fn tls(&self) -> Tls {
        Tls { server_name: SERVER_NAME.to_owned(), ca: self.ca.clone(), identity: None }
    }

    /// A client of `kube` with the administrator's rights.
    ///
    /// # Errors
    /// When the configuration is not accepted.
    pub async fn client(&self) -> Result<kube::Client> {
        let config = kube::config::Kubeconfig::read_from(self.kubeconfig())?;
        let config = kube::Config::from_custom_kubeconfig(config, &kube::config::KubeConfigOptions::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }

    /// Runs kubectl as the administrator, and returns what it prints.
    ///
    /// # Errors
    /// When it fails, with what it says.
    pub fn kubectl<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Result<String> {
        kubectl(&self.kubeconfig(), args)
    }

    /// Applies objects (YAML, any number of documents), server-side, and returns what kubectl prints.
    ///
    /// # Errors
    /// When one is refused, with the reason.
    pub fn apply(&self, yaml: &str) -> Result<String> {
        let file = self.dir.path().join("apply.yaml");
        fs::write(&file, yaml)?;
        self.apply_path(&file)
    }

    /// Applies a file or a folder of files, server-side, and returns what kubectl prints.
    ///
    /// # Errors
    /// When one is refused, with the reason.
    pub fn apply_path(&self, path: &Path) -> Result<String> {
        let path = path.display().to_string();
        self.kubectl(&["apply", "--server-side", "--force-conflicts", "-f", &path])
    }

    /// Makes etcd forget all history up to now: a watch that asks for an older version is told that it expired.
    /// The API server's own cache remembers until it is started again.
    ///
    /// # Errors
    /// When etcd does not answer.
    pub async fn compact(&self) -> Result<()> {
        let newest = self.etcd("/v3/kv/range", &json!({"key": "AA==", "limit": "1"})).await?;
        let revision = newest["header"]["revision"].as_str().context("etcd tells no revision")?;
        self.etcd("/v3/kv/compaction", &json!({"revision": revision, "physical": true})).await.map(drop)
    }

    /// Asks etcd by its JSON interface.
    async fn etcd(&self, path: &str, body: &Value) -> Result<Value> {
        let request = Request::get(path).method(http::Method::POST).body(body.to_string());
        let reply = Client::http(self.etcd_client).send(&request).await.with_context(|| format!("etcd {path}"))?;
        ensure!(reply.status == 200, "etcd {path}: {} {}", reply.status, reply.text());
        serde_json::from_slice(&reply.body).with_context(|| format!("etcd {path}"))
    }

    /// The log of the API server, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("kube-apiserver.err")).unwrap_or_default()
    }
}

fn write_credentials(dir: &Path, authority: &Authority) -> Result<()> {
    let pair = authority.issue(&[SERVER_NAME, "127.0.0.1", "kubernetes.default.svc"])?;
    fs::write(dir.join("ca.crt"), authority.pem())?;
    fs::write(dir.join("server.crt"), pair.cert)?;
    fs::write(dir.join("server.key"), pair.key)?;
    fs::write(dir.join("tokens.csv"), format!("{ADMIN_TOKEN},admin,1,\"system:masters\"\nuser-token,user,2\n"))?;
    Ok(())
}

fn start_etcd(dir: &Path, client: SocketAddr, peer: SocketAddr) -> Result<Process> {
    let data = dir.join("etcd").display().to_string();
    let (client, peer) = (format!("http://{client}"), format!("http://{peer}"));
    let args = [
        "--data-dir".to_owned(),
        data,
        "--listen-client-urls".to_owned(),
        client.clone(),
        "--advertise-client-urls".to_owned(),
        client,
        "--listen-peer-urls".to_owned(),
        peer.clone(),
        "--initial-advertise-peer-urls".to_owned(),
        peer.clone(),
        "--initial-cluster".to_owned(),
        format!("default={peer}"),
        // What is in there does not outlive the test.
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ];
    Process::start("etcd", &tool("etcd")?, &args, dir)
}
