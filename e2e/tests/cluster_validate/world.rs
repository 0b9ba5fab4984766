//! An API server that asks a control plane about configuration, by the webhook configurations and with the rights of an
//! installation.

use std::{fs, path::Path, process::Output};

use anyhow::{Context, Result, ensure};
use http::Method;
use kube::{
    Api,
    api::{DynamicObject, ListParams},
    core::{ApiResource, GroupVersionKind},
};
use mizzen_e2e::{ApiServer, Client, HttpVersion, Mizzen, MizzenOptions, PATIENCE, Request, Tls, eventually, tool};
use serde::Deserialize as _;
use serde_json::{Value, json};

/// The name of this machine, in the control plane's certificate.
pub(crate) const HOST: &str = "localhost";
/// The configuration that asks about objects of no revision.
pub(crate) const DEFAULT: &str = "validatingwebhookconfiguration/istiod-default-validator";
/// The one that asks about objects of the default revision.
pub(crate) const OF_REVISION: &str = "validatingwebhookconfiguration/istio-validator-istio-system";

pub(crate) struct World {
    pub(crate) server: ApiServer,
    pub(crate) mizzen: Mizzen,
    manifest: Vec<Value>,
    dir: tempfile::TempDir,
}

/// What an installation has.
fn manifest() -> Result<Vec<Value>> {
    let made = Mizzen::run(&["manifest", "generate", "--set", "profile=minimal"])?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = String::from_utf8(made.stdout)?;
    let documents = serde_yaml_ng::Deserializer::from_str(&text);
    documents.map(|document| Value::deserialize(document).context("a manifest")).collect()
}

impl World {
    /// With a control plane and its webhooks, which refuse what is invalid.
    pub(crate) async fn start() -> Result<Self> {
        let world = Self::without_webhooks(&[]).await?;
        world.install("Ignore", world.mizzen.https().port())?;
        world.until_closed().await?;
        Ok(world)
    }

    /// With a control plane that has variables in its environment, and without webhooks.
    pub(crate) async fn without_webhooks(variables: &[(&str, &str)]) -> Result<Self> {
        let server = ApiServer::start().await?;
        let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds");
        server.apply_path(&crds)?;
        server.kubectl(&["wait", "--for=condition=Established", "--all", "crd", "--timeout=60s"])?;
        let manifest = manifest()?;
        grant(&server, &manifest)?;
        let kubeconfig = server.kubeconfig_of_user()?;
        let options = MizzenOptions::cluster(&kubeconfig).env("ISTIOD_CUSTOM_HOST", HOST).env("POD_NAME", "one");
        let options = variables.iter().fold(options, |all, (name, value)| all.env(name, value));
        let mizzen = Mizzen::start(options).await?;
        Ok(Self { server, mizzen, manifest, dir: tempfile::tempdir()? })
    }

    /// Makes the API server take VirtualServices of any form, or only those of its definition.
    pub(crate) async fn be_lax(&self, lax: bool) -> Result<()> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds/networking.istio.io_virtualservices.yaml");
        let mut definition: Value = serde_yaml_ng::from_str(&fs::read_to_string(file)?)?;
        for version in definition["spec"]["versions"].as_array_mut().into_iter().flatten().filter(|_| lax) {
            version["schema"] =
                json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
        }
        self.server.apply(&definition.to_string())?;
        eventually("the definition to be followed", PATIENCE, || async {
            let taken = self.apply(&undecodable("any"), &["--dry-run=server"])?.status.success();
            ensure!(taken == lax, "taken: {taken}");
            anyhow::Ok(())
        })
        .await
    }

    /// Applies the webhook configurations of the installation, which lead to a port of this machine.
    pub(crate) fn install(&self, failure_policy: &str, port: u16) -> Result<()> {
        self.install_at(failure_policy, port, "/validate")
    }

    /// The same with another path.
    pub(crate) fn install_at(&self, failure_policy: &str, port: u16, path: &str) -> Result<()> {
        let ours = self.manifest.iter().filter(|object| object["kind"] == "ValidatingWebhookConfiguration");
        let mut count = 0;
        for object in ours {
            let mut object = object.clone();
            let hook = &mut object["webhooks"][0];
            hook["clientConfig"] = json!({"url": format!("https://{HOST}:{port}{path}")});
            hook["failurePolicy"] = failure_policy.into();
            self.server.apply(&object.to_string())?;
            count += 1;
        }
        ensure!(count == 2, "{count} configurations");
        Ok(())
    }

    /// A field of the webhook of a configuration.
    pub(crate) fn field(&self, configuration: &str, field: &str) -> Result<String> {
        self.server.kubectl(&["get", configuration, &format!("-o=jsonpath={{.webhooks[0]{field}}}")])
    }

    pub(crate) fn policies(&self) -> Result<[String; 2]> {
        Ok([self.field(DEFAULT, ".failurePolicy")?, self.field(OF_REVISION, ".failurePolicy")?])
    }

    /// Waits until the control plane has seen that it is asked, and the API server has noticed that it is so sure.
    pub(crate) async fn until_closed(&self) -> Result<()> {
        eventually("both webhooks to be Fail", PATIENCE, || async {
            let policies = self.policies()?;
            ensure!(policies == ["Fail", "Fail"], "{policies:?}");
            anyhow::Ok(())
        })
        .await
        .with_context(|| self.mizzen.log())?;
        self.until_asked().await
    }

    /// Waits until the API server refuses an invalid object for the control plane's sake.
    pub(crate) async fn until_asked(&self) -> Result<()> {
        eventually("a refusal", PATIENCE, || async {
            let said = self.fails(&invalid("refused"), &["--dry-run=server"])?;
            ensure!(said.contains("denied the request: configuration is invalid: "), "{said}");
            anyhow::Ok(())
        })
        .await
        .with_context(|| self.mizzen.log())
    }

    /// Runs `kubectl apply`.
    pub(crate) fn apply(&self, object: &Value, args: &[&str]) -> Result<Output> {
        let file = self.dir.path().join("object.json");
        fs::write(&file, object.to_string())?;
        let mut command = std::process::Command::new(tool("kubectl")?);
        command.env("HOME", self.dir.path()).arg("--kubeconfig").arg(self.server.kubeconfig());
        command.args(["apply", "-f"]).arg(file).args(args).output().context("run kubectl")
    }

    /// The same, which must succeed; the warnings that it prints.
    pub(crate) fn applies(&self, object: &Value, args: &[&str]) -> Result<String> {
        let output = self.apply(object, args)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{said}");
        Ok(said)
    }

    /// The same, which must fail; what it says.
    pub(crate) fn fails(&self, object: &Value, args: &[&str]) -> Result<String> {
        let output = self.apply(object, args)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(!output.status.success(), "it is taken: {}", String::from_utf8_lossy(&output.stdout));
        Ok(said)
    }

    /// The root that the control plane is verified with.
    fn root(&self) -> Result<String> {
        let path = "-o=jsonpath={.data.ca-cert\\.pem}";
        let root = self.server.kubectl(&["get", "secret/istio-ca-secret", "--namespace=istio-system", path])?;
        let root = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, root)?;
        Ok(String::from_utf8(root)?)
    }

    /// Makes the webhooks trust the control plane, where it does not do so itself.
    pub(crate) fn trust(&self) -> Result<()> {
        let root = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, self.root()?);
        let patch = json!([{"op": "add", "path": "/webhooks/0/clientConfig/caBundle", "value": root}]).to_string();
        for configuration in [DEFAULT, OF_REVISION] {
            self.server.kubectl(&["patch", configuration, "--type=json", "-p", &patch])?;
        }
        Ok(())
    }

    /// A client that verifies the control plane as the API server does.
    pub(crate) fn client(&self) -> Result<Client> {
        let tls = Tls { server_name: HOST.to_owned(), ca: self.root()?, identity: None };
        // Over HTTP/2 an answer comes also while the request is being sent.
        Ok(Client::https(self.mizzen.https(), &tls)?.version(HttpVersion::Http2))
    }

    pub(crate) async fn objects(&self, kind: &str, plural: &str) -> Result<Api<DynamicObject>> {
        let resource =
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("networking.istio.io", "v1", kind), plural);
        Ok(Api::namespaced_with(self.server.client().await?, "default", &resource))
    }

    /// The events about an object: their notes.
    pub(crate) async fn events(&self, name: &str) -> Result<Vec<String>> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("events.k8s.io", "v1", "Event"));
        let api: Api<DynamicObject> = Api::namespaced_with(self.server.client().await?, "default", &resource);
        let all = api.list(&ListParams::default()).await?.items;
        let of =
            all.iter().filter(|event| event.data["regarding"]["name"] == name && event.data["reason"] == "Invalid");
        Ok(of.map(|event| event.data["note"].as_str().unwrap_or_default().to_owned()).collect())
    }
}

/// Gives the rights of an installation to the user of the tests.
fn grant(server: &ApiServer, manifest: &[Value]) -> Result<()> {
    let kinds = ["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"];
    for object in manifest.iter().filter(|object| kinds.iter().any(|kind| object["kind"] == *kind)) {
        let mut object = object.clone();
        if object.get("subjects").is_some() {
            let user = json!({"kind": "User", "name": "user", "apiGroup": "rbac.authorization.k8s.io"});
            object["subjects"] = json!([user]);
        }
        server.apply(&object.to_string())?;
    }
    Ok(())
}

/// What is posted to a webhook.
pub(crate) fn post(body: impl Into<bytes::Bytes>) -> Request {
    Request::get("/validate").method(Method::POST).header("content-type", "application/json").body(body)
}

/// A review of an object that is to be made.
pub(crate) fn review(object: &Value) -> Vec<u8> {
    let resource = json!({"group": "networking.istio.io", "version": "v1", "resource": "virtualservices"});
    let request =
        json!({"uid": "u", "operation": "CREATE", "resource": resource, "namespace": "default", "object": object});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string().into_bytes()
}

/// A VirtualService whose route matches a regular expression.
pub(crate) fn matching(name: &str, regex: &str) -> Value {
    let route = json!({"match": [{"uri": {"regex": regex}}], "route": [{"destination": {"host": "a"}}]});
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"hosts": ["a.example.com"], "http": [route]},
    })
}

pub(crate) fn valid(name: &str) -> Value {
    matching(name, "/a+")
}

/// What only a validator can know.
pub(crate) fn invalid(name: &str) -> Value {
    matching(name, "/(a")
}

/// What is no VirtualService.
pub(crate) fn undecodable(name: &str) -> Value {
    let mut object = valid(name);
    object["spec"]["hosts"] = 5.into();
    object
}
