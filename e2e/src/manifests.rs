//! Objects of a workload in a whole Kubernetes (`e2e/cluster`).

use std::fmt;

use serde_json::{Value, json};

/// A Deployment whose Pods have the label `app` with its name and one container, and what belongs to it. Displayed, it is YAML
/// that other documents may follow.
#[derive(Clone, Debug)]
pub struct Deployment {
    name: String,
    deployment: Value,
    others: Vec<Value>,
}

impl Deployment {
    /// One Pod, with a container of an image of `e2e/cluster` and of its name.
    #[must_use]
    pub fn new(name: &str, image: &str) -> Self {
        let container = json!({"name": image, "image": format!("{image}:local"), "imagePullPolicy": "IfNotPresent"});
        let labels = json!({"app": name});
        let deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
            },
        });
        Self { name: name.to_owned(), deployment, others: Vec::new() }
    }

    /// So many Pods.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.deployment["spec"]["replicas"] = replicas.into();
        self
    }

    /// With a label of the Pods.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.deployment["spec"]["template"]["metadata"]["labels"][key] = value.into();
        self
    }

    /// With annotations of the Pods.
    #[must_use]
    pub fn annotated(mut self, annotations: &[(&str, &str)]) -> Self {
        for (key, value) in annotations {
            self.deployment["spec"]["template"]["metadata"]["annotations"][key] = (*value).into();
        }
        self
    }

    /// With a service account of its own, of its name.
    #[must_use]
    pub fn with_account(mut self) -> Self {
        let name = self.name.clone();
        self.others.push(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}));
        self.pod("serviceAccountName", name)
    }

    /// With Pods that wait for nothing when they are to end.
    #[must_use]
    pub fn ending_at_once(self) -> Self {
        self.pod("terminationGracePeriodSeconds", 1)
    }

    /// With a field of the Pods' `spec`.
    #[must_use]
    pub fn pod(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.deployment["spec"]["template"]["spec"][field] = value.into();
        self
    }

    /// With a field of the container.
    #[must_use]
    pub fn container(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.deployment["spec"]["template"]["spec"]["containers"][0][field] = value.into();
        self
    }

    /// With Pods that are ready when a port takes connections.
    #[must_use]
    pub fn ready_at(self, port: u16) -> Self {
        self.container("readinessProbe", json!({"tcpSocket": {"port": port}, "periodSeconds": 1}))
    }

    /// With a Service of some name for its Pods: what its `spec` has, but for the selector.
    #[must_use]
    pub fn service(mut self, name: &str, mut spec: Value) -> Self {
        spec["selector"] = json!({"app": self.name});
        self.others.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}));
        self
    }

    /// The YAML.
    #[must_use]
    pub fn yaml(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // JSON is YAML.
        self.others.iter().chain([&self.deployment]).try_for_each(|object| writeln!(f, "{object}\n---"))
    }
}
