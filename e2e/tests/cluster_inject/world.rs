//! An API server that asks a control plane about each Pod, by the webhook configuration of an installation.

use std::fs;

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{ApiServer, Client, Mizzen, MizzenOptions, PATIENCE, Tls, eventually};
use serde_json::{Value, json};

/// The name of this machine, in the control plane's certificate.
const HOST: &str = "localhost";
pub(crate) const CONFIGURATION: &str = "mutatingwebhookconfiguration/istio-sidecar-injector";

pub(crate) struct World {
    pub(crate) server: ApiServer,
    pub(crate) mizzen: Mizzen,
    dir: tempfile::TempDir,
}

/// Options of a control plane that is to be found on this machine.
pub(crate) fn options(server: &ApiServer) -> MizzenOptions {
    MizzenOptions::cluster(&server.kubeconfig()).env("ISTIOD_CUSTOM_HOST", HOST).env("POD_NAME", "one")
}

impl World {
    /// With a control plane, and the webhook configuration, whose `caBundle` is right.
    pub(crate) async fn start() -> Result<Self> {
        let world = Self::without_webhooks().await?;
        world.install("Fail", world.mizzen.https().port())?;
        world.until_trusted().await?;
        Ok(world)
    }

    pub(crate) async fn without_webhooks() -> Result<Self> {
        Self::with(&[]).await
    }

    /// With variables of the control plane's environment, and without webhooks.
    pub(crate) async fn with(variables: &[(&str, &str)]) -> Result<Self> {
        let server = ApiServer::start().await?;
        let set = |all: MizzenOptions, (name, value): &(&str, &str)| all.env(name, value);
        let mizzen = Mizzen::start(variables.iter().fold(options(&server), set)).await?;
        Ok(Self { server, mizzen, dir: tempfile::tempdir()? })
    }

    /// Applies the webhook configuration of the default revision (contract §5.1), without `caBundle`.
    pub(crate) fn install(&self, failure_policy: &str, port: u16) -> Result<()> {
        let absent = |key: &str| json!({"key": key, "operator": "DoesNotExist"});
        let one = |key: &str, operator: &str, value: &str| json!({"key": key, "operator": operator, "values": [value]});
        let (no_label, no_revision) = (absent("istio-injection"), absent("istio.io/rev"));
        let wanted = one("sidecar.istio.io/inject", "NotIn", "false");
        let selectors = [
            ("rev.namespace", json!([one("istio.io/rev", "In", "default"), no_label]), json!([wanted])),
            ("rev.object", json!([no_label, no_revision]), json!([wanted, one("istio.io/rev", "In", "default")])),
            ("namespace", json!([one("istio-injection", "In", "enabled")]), json!([wanted])),
            (
                "object",
                json!([no_label, no_revision]),
                json!([one("sidecar.istio.io/inject", "In", "true"), no_revision]),
            ),
        ];
        let webhooks = selectors.map(|(name, namespaces, objects)| {
            json!({
                "name": format!("{name}.sidecar-injector.istio.io"),
                "clientConfig": {"url": format!("https://{HOST}:{port}/inject")},
                "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
                "failurePolicy": failure_policy,
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
                "reinvocationPolicy": "Never",
                "namespaceSelector": {"matchExpressions": namespaces},
                "objectSelector": {"matchExpressions": objects},
            })
        });
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "istio-sidecar-injector", "labels": {"istio.io/rev": "default", "app": "sidecar-injector"}},
            "webhooks": webhooks,
        });
        self.server.apply(&configuration.to_string()).map(drop)
    }

    /// A field of each webhook.
    pub(crate) fn webhooks(&self, field: &str) -> Result<Vec<String>> {
        let path = format!("-o=jsonpath={{range .webhooks[*]}}{{{field}}}{{\"\\n\"}}{{end}}");
        Ok(self.server.kubectl(&["get", CONFIGURATION, &path])?.lines().map(str::to_owned).collect())
    }

    /// The root that the Secret has, in base64.
    pub(crate) fn root(&self) -> Result<String> {
        let path = "-o=jsonpath={.data.ca-cert\\.pem}";
        self.server.kubectl(&["get", "secret/istio-ca-secret", "--namespace=istio-system", path])
    }

    /// Waits until all webhooks have the root, and the API server has noticed.
    pub(crate) async fn until_trusted(&self) -> Result<()> {
        eventually("the root in all webhooks", PATIENCE, || async {
            let (root, bundles) = (self.root()?, self.webhooks(".clientConfig.caBundle")?);
            ensure!(bundles.len() == 4 && bundles.iter().all(|bundle| *bundle == root), "{bundles:?}");
            anyhow::Ok(())
        })
        .await
        .with_context(|| self.mizzen.log())?;
        eventually("an injected Pod", PATIENCE, || async {
            let made = self.create("default", &pod(&json!({"sidecar.istio.io/inject": "true"}), &json!({})))?;
            ensure!(is_injected(&made), "{made}");
            anyhow::Ok(())
        })
        .await
        .with_context(|| self.mizzen.log())
    }

    /// What the API server would make of a new Pod.
    pub(crate) fn create(&self, namespace: &str, pod: &Value) -> Result<Value> {
        let file = self.dir.path().join("pod.json");
        fs::write(&file, pod.to_string())?;
        let (file, namespace) = (file.display().to_string(), format!("--namespace={namespace}"));
        let said = self.server.kubectl(&["create", "--dry-run=server", "-o=json", &namespace, "-f", &file])?;
        Ok(serde_json::from_str(&said)?)
    }

    /// Makes a namespace with labels.
    pub(crate) fn namespace(&self, name: &str, labels: &Value) -> Result<()> {
        let metadata = json!({"name": name, "labels": labels});
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata});
        self.server.apply(&object.to_string()).map(drop)
    }

    /// Applies a ConfigMap of the control plane.
    pub(crate) fn config_map(&self, name: &str, data: &Value) -> Result<()> {
        let metadata = json!({"name": name, "namespace": "istio-system"});
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data});
        self.server.apply(&object.to_string()).map(drop)
    }

    /// Waits until new Pods of a namespace that wish to be injected are so.
    pub(crate) async fn until_pods(&self, what: &str, are: impl Fn(&Value) -> bool) -> Result<()> {
        eventually(what, PATIENCE, || async {
            let made = self.create("default", &pod(&json!({"sidecar.istio.io/inject": "true"}), &json!({})))?;
            ensure!(are(&made), "{made:#}");
            anyhow::Ok(())
        })
        .await
        .with_context(|| self.mizzen.log())
    }

    /// A client that verifies the control plane as the API server does.
    pub(crate) fn client(&self) -> Result<Client> {
        let root = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, self.root()?)?;
        let tls = Tls { server_name: HOST.to_owned(), ca: String::from_utf8(root)?, identity: None };
        Client::https(self.mizzen.https(), &tls)
    }

    /// The value of a counter without labels.
    pub(crate) async fn count(&self, name: &str) -> Result<u64> {
        Ok(self.mizzen.metric(name).await?.with_context(|| format!("no {name}"))? as u64)
    }
}

/// A Pod with labels and annotations.
pub(crate) fn pod(labels: &Value, annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": labels, "annotations": annotations},
        // Said by admission where there are controllers.
        "spec": {"serviceAccountName": "default", "containers": [{"name": "web", "image": "web"}]},
    })
}

/// The proxy of a Pod, as a native sidecar or a classic one.
pub(crate) fn proxy(pod: &Value) -> Option<&Value> {
    let lists = [&pod["spec"]["initContainers"], &pod["spec"]["containers"]];
    lists.into_iter().filter_map(Value::as_array).flatten().find(|container| container["name"] == "istio-proxy")
}

pub(crate) fn is_injected(pod: &Value) -> bool {
    proxy(pod).is_some() && pod["metadata"]["annotations"]["sidecar.istio.io/status"].is_string()
}
