//! The objects that are analysed: of files, and of a cluster where no file has them.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value;

use super::cluster::Cluster;
use crate::{
    analyze::{GATEWAY_API, GATEWAY_API_KINDS, GatewayApi, Workload, WorkloadKind},
    api::{Kind, Object},
    cli::{
        findings::{Finding, Place},
        input::File,
        locate::{Locator, Whereabouts},
        validate::unreadable,
    },
    model::{Code, ObjectRef, Problem},
    reconcilers::intake::object_ref,
    sources::{self, Reading, files},
};

/// All of them, and where they are.
pub(super) struct Objects {
    by_kind: BTreeMap<Kind, Vec<Object>>,
    /// Pods and what makes Pods.
    pub(super) workloads: Vec<Workload>,
    /// What else policies attach to.
    pub(super) gateway_api: GatewayApi,
    /// What is wrong with the files.
    pub(super) findings: Vec<Finding>,
    /// How many objects there are.
    pub(super) count: usize,
    /// How many are of kinds that say nothing here.
    pub(super) skipped: usize,
    locator: Locator,
    places: HashMap<ObjectRef, Whereabouts>,
    /// What could not be looked at, and why.
    pub(super) unchecked: Vec<String>,
    /// Whether the cluster shows its Secrets: what seems to be missing may be there.
    sees_secrets: bool,
}

impl Objects {
    /// Those of files: of several of one name the first.
    pub(super) fn of_files(files: Vec<File>) -> Self {
        let mut objects = Self {
            by_kind: BTreeMap::new(),
            workloads: Vec::new(),
            gateway_api: GatewayApi::default(),
            findings: Vec::new(),
            count: 0,
            skipped: 0,
            locator: Locator::new(files),
            places: HashMap::new(),
            unchecked: Vec::new(),
            sees_secrets: true,
        };
        for file in 0..objects.locator.files().len() {
            objects.add_file(file);
        }
        objects
    }

    fn add_file(&mut self, file: usize) {
        let (path, content) = &self.locator.files()[file];
        let parsed = files::parse(path, content);
        let path = path.clone();
        self.findings.extend(parsed.errors.into_iter().map(|error| unreadable(&path, error)));
        for document in parsed.documents {
            let at = Whereabouts { file, spot: document.spot };
            self.add_document(document.value, at);
        }
    }

    fn add_document(&mut self, value: Value, at: Whereabouts) {
        if let Some(kind) = workload_kind(&value) {
            let workload = Workload::of_object(kind, &value);
            *(if workload.is_some() { &mut self.count } else { &mut self.skipped }) += 1;
            self.places.extend(workload.iter().map(|w| (w.object.clone(), at)));
            self.workloads.extend(workload);
            return;
        }
        if let Some((kind, namespace, name)) = of_gateway_api(&value) {
            self.count += 1;
            self.gateway_api.add(kind, namespace, name);
            return;
        }
        match sources::read(value) {
            Reading::Ignored => self.skipped += 1,
            Reading::Refused { reference, field, reason, code } => {
                self.count += 1;
                self.add_finding(code, reference, field, reason, at);
            }
            Reading::Object { reference, object, unknown_fields } => {
                self.count += 1;
                // Kubernetes' own kinds have fields of newer versions, which is as it should be.
                for field in unknown_fields.into_iter().filter(|_| object.kind().is_custom()) {
                    let reason = "unknown field".to_owned();
                    self.add_finding(Code::UnknownField, Some(reference.clone()), field, reason, at);
                }
                if let Some(first) = self.places.get(&reference) {
                    let Place { file, line } = self.locator.place(*first, "");
                    let reason = format!("is already given at {file}:{line}: this one is ignored");
                    let field = "metadata.name".to_owned();
                    self.add_finding(Code::ObjectDuplicate, Some(reference), field, reason, at);
                } else {
                    self.places.insert(reference, at);
                    self.add(object);
                }
            }
        }
    }

    fn add_finding(&mut self, code: Code, object: Option<ObjectRef>, path: String, message: String, at: Whereabouts) {
        let place = Some(self.locator.place(at, &path));
        self.findings.push(Finding { code, object, path, value: None, message, place });
    }

    fn add(&mut self, object: Object) {
        if let Object::Pod(pod) = &object {
            self.workloads.extend(Workload::of_pod(pod));
        }
        self.by_kind.entry(object.kind()).or_default().push(object);
    }

    /// Adds those of a cluster that no file has.
    pub(super) fn add_cluster(&mut self, cluster: Cluster) {
        for object in cluster.objects {
            if !self.places.contains_key(&object_ref(&object)) {
                self.count += 1;
                self.add(object);
            }
        }
        for (kind, objects) in cluster.gateway_api {
            self.gateway_api.know(kind);
            self.count += objects.len();
            objects.iter().for_each(|(namespace, name)| self.gateway_api.add(kind, namespace, name));
        }
        self.sees_secrets = cluster.sees_secrets;
        self.unchecked = cluster.unchecked;
        self.findings.extend(cluster.unreadable.into_iter().filter(|finding| {
            // A file has it.
            finding.object.as_ref().is_none_or(|object| !self.places.contains_key(object))
        }));
    }

    /// Takes those of a kind out.
    pub(super) fn take(&mut self, kind: Kind) -> Vec<Object> {
        self.by_kind.remove(&kind).unwrap_or_default()
    }

    /// How many files there are.
    pub(super) fn file_count(&self) -> usize {
        self.locator.files().len()
    }

    /// Whether what is missing may be there.
    pub(super) fn is_doubtful(&self, problem: &Problem) -> bool {
        problem.code == Code::CredentialUnknown && !self.sees_secrets
    }

    /// A problem with its place.
    pub(super) fn finding(&mut self, problem: Problem) -> Finding {
        let Problem { code, object, field, reason } = problem;
        let place = self.places.get(&object).copied();
        let place = place.map(|at| self.locator.place(at, &field));
        Finding { code, object: Some(object), path: field, value: None, message: reason, place }
    }
}

fn workload_kind(value: &Value) -> Option<WorkloadKind> {
    let (group, kind) = group_and_kind(value);
    WorkloadKind::find(group, kind)
}

/// Kind, namespace and name of an object of the Gateway API that policies attach to.
fn of_gateway_api(value: &Value) -> Option<(&'static str, &str, &str)> {
    let (group, kind) = group_and_kind(value);
    let (kind, _) = GATEWAY_API_KINDS.into_iter().find(|(known, _)| group == GATEWAY_API && *known == kind)?;
    let namespace = value["metadata"]["namespace"].as_str().filter(|namespace| !namespace.is_empty());
    Some((kind, namespace.unwrap_or("default"), value["metadata"]["name"].as_str()?))
}

fn group_and_kind(value: &Value) -> (&str, &str) {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    (text("apiVersion").split_once('/').map_or("", |(group, _)| group), text("kind"))
}
