//! Outbound clusters and their assignments: which exist, for whom, and their resources.

use std::sync::Arc;

use super::{
    credentials::secret_state,
    destinations::{self, RuleDestinations},
    graph::{Cx, Db, Emission, Emit, Query},
    inbound::Peers,
    index::ServicesByHost,
    inputs::{DestinationRules, NamespacedName},
    members::{Identities, Members},
    scope::{ClusterKey, ClusterLayer, ClusterLayerItem, Family, Scope},
    services::{Exceptions, Outlook, Seen, mesh},
    sidecars::{ImportedRules, Imports, imported_ports},
    stage,
};
use crate::{
    model::{
        Code, EffectivePolicy, Host, MeshConfig, Namespace, Problem, Protocol, SecretState, ServicePort,
        destination_rule::{Subset, effective_policy},
    },
    snapshot::{Name, Slot},
    translate::{
        client::{ClientFacts, Facets},
        clusters::{self, ClusterInput},
        endpoints::{self, EndpointInput},
    },
};

/// A cluster that clients of a host have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) port: u16,
    pub(super) subset: Arc<str>,
    /// What the cluster depends on.
    pub(super) cluster: Arc<Facets>,
    /// What the assignment depends on.
    pub(super) assignment: Arc<Facets>,
}

/// The clusters of a host for clients of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClusterPlan {
    pub(super) host: Host,
    pub(super) client: Option<Namespace>,
}

impl Query for ClusterPlan {
    type Value = Arc<[Planned]>;
    const STAGE: u8 = stage::PLAN;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let Some(seen) = cx.get(&outlook(&self.host, self.client.as_ref(), None)) else { return Arc::default() };
        let mesh = mesh(cx);
        // Rules that need labels may bring subsets of their own; those are found with the labels at hand.
        let own = seen.rule.iter().chain(&seen.label_rules).flat_map(|r| r.subsets.iter().map(|s| s.name.clone()));
        let mut subsets: Vec<Arc<str>> = std::iter::once("".into()).chain(own).collect();
        if self.client.is_some() {
            // What the mesh has and this namespace has not must be hidden from it.
            let mesh_wide = cx.get(&outlook(&self.host, None, None)).and_then(|s| s.rule.clone());
            subsets.extend(mesh_wide.iter().flat_map(|r| r.subsets.iter().map(|s| s.name.clone())));
        }
        subsets.sort();
        subsets.dedup();
        let ports = seen.service.ports.iter().filter(|p| p.protocol != Protocol::Udp);
        let each = ports.flat_map(|port| subsets.iter().map(move |subset| (port, subset)));
        each.map(|(port, subset)| plan(&seen, port, subset, &mesh)).collect()
    }
}

fn plan(seen: &Seen, port: &ServicePort, subset: &Arc<str>, mesh: &MeshConfig) -> Planned {
    let (mut cluster, mut assignment) = (Facets::default(), Facets::default());
    for rule in std::iter::once(seen.rule.as_deref()).chain(seen.label_rules.iter().map(|r| Some(&**r))) {
        let Some(policy) = effective_policy(rule, subset, port.number, mesh) else { continue };
        cluster = cluster.union(clusters::facets(&seen.service, port, &policy, mesh));
        assignment = assignment.union(endpoints::facets(&seen.service, &policy, mesh));
    }
    let selectors = seen.label_rules.iter().filter_map(|r| r.workload_selector.as_ref());
    let labels: Vec<Arc<str>> = selectors.flat_map(|s| s.keys().map(|k| k.as_str().into())).collect();
    if !labels.is_empty() {
        let by_labels = Facets { labels, ..Facets::default() };
        cluster = cluster.union(by_labels.clone());
        assignment = assignment.union(by_labels);
    }
    Planned { port: port.number, subset: subset.clone(), cluster: Arc::new(cluster), assignment: Arc::new(assignment) }
}

fn outlook(host: &Host, client: Option<&Namespace>, labels: Option<&ClientFacts>) -> Outlook {
    let labels = labels.filter(|c| !c.labels.is_empty()).map(|c| Arc::new(c.labels.clone()));
    Outlook { host: host.clone(), client: client.cloned(), labels }
}

/// Puts the clusters of a host into the layers of the mesh and of the namespaces that differ.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitClusters(Host);

/// The same for one host that a Sidecar object imports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitImportedClusters(Imports, Host);

/// The same for where a VirtualService leads that a Sidecar object imports, whether it imports that or not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitRuledClusters(ImportedRules, NamespacedName);

/// Registers the emitters of clusters.
pub(super) fn register(db: &mut Db) {
    db.emit_for_elements::<ServicesByHost, EmitClusters>(|set, _| EmitClusters(set.0.clone()));
    db.emit_for_elements::<Imports, EmitImportedClusters>(|set, i| EmitImportedClusters(set.clone(), i.host.clone()));
    db.emit_for_elements::<ImportedRules, EmitRuledClusters>(|set, key| EmitRuledClusters(set.clone(), key.clone()));
}

type ClusterElements = Vec<(ClusterLayer, ClusterKey)>;

impl Emit for EmitClusters {
    type Into = ClusterLayer;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> ClusterElements {
        let plans = plans(cx, &self.0);
        plans.iter().flat_map(|(client, plan)| elements(&Scope::of(client.as_ref()), &self.0, client, plan)).collect()
    }
}

impl Emit for EmitImportedClusters {
    type Into = ClusterLayer;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> ClusterElements {
        let (client, plan) = imported(cx, &self.0, &self.1);
        elements(&Scope::Sidecar(self.0.0.clone()), &self.1, &client, &plan)
    }
}

impl Emit for EmitRuledClusters {
    type Into = ClusterLayer;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> ClusterElements {
        let scope = Scope::Sidecar(self.0.0.clone());
        let plans = ruled(cx, &self.0, &self.1);
        plans.iter().flat_map(|(host, client, plan)| elements(&scope, host, client, plan)).collect()
    }
}

/// The plan of the mesh and of each namespace that differs.
fn plans<Q: Query>(cx: &mut Cx<'_, Q>, host: &Host) -> Vec<(Option<Namespace>, Arc<[Planned]>)> {
    let special = cx.get(&Exceptions(host.clone()));
    let clients = std::iter::once(None).chain(special.iter().cloned().map(Some));
    clients
        .map(|client| {
            let plan = cx.get(&ClusterPlan { host: host.clone(), client: client.clone() });
            (client, plan)
        })
        .collect()
}

/// The plan of an imported host, cut to the imported ports.
fn imported<Q: Query>(cx: &mut Cx<'_, Q>, imports: &Imports, host: &Host) -> (Option<Namespace>, Vec<Planned>) {
    let special = cx.get(&Exceptions(host.clone()));
    let client = special.get(&imports.0.namespace).cloned();
    let plan = cx.get(&ClusterPlan { host: host.clone(), client: client.clone() });
    let ports = imported_ports(cx, imports, host);
    let admitted = plan.iter().filter(|p| ports.as_ref().is_none_or(|ports| ports.contains(&p.port)));
    (client, admitted.cloned().collect())
}

/// The plans of the hosts where a VirtualService leads, cut to the ports that it uses (translation §2).
fn ruled<Q: Query>(
    cx: &mut Cx<'_, Q>,
    scope: &ImportedRules,
    rules: &NamespacedName,
) -> Vec<(Host, Option<Namespace>, Vec<Planned>)> {
    let mut all = Vec::new();
    for (host, port) in cx.get(&RuleDestinations(rules.clone())).iter() {
        let host = destinations::target(cx, host, &scope.0.namespace);
        let client = cx.get(&Exceptions(host.clone())).get(&scope.0.namespace).cloned();
        let plan = cx.get(&ClusterPlan { host: host.clone(), client: client.clone() });
        let used = plan.iter().filter(|p| port.is_none_or(|port| port == p.port));
        all.push((host, client, used.cloned().collect()));
    }
    all
}

fn elements(scope: &Scope, host: &Host, client: &Option<Namespace>, plan: &[Planned]) -> ClusterElements {
    let each = plan.iter().flat_map(|p| {
        let key = ClusterKey { host: host.clone(), port: p.port, subset: p.subset.clone(), client: client.clone() };
        [(Family::Clusters, &p.cluster), (Family::Assignments, &p.assignment)].map(|(family, facets)| {
            (ClusterLayer { family, scope: scope.clone(), facets: facets.clone() }, key.clone())
        })
    });
    each.collect()
}

/// What a cluster or assignment is made of.
struct Ingredients {
    seen: Arc<Seen>,
    port: ServicePort,
    subset: Option<Subset>,
    policy: EffectivePolicy,
    mesh: Arc<MeshConfig>,
}

impl Ingredients {
    fn gather<Q: Query>(cx: &mut Cx<'_, Q>, key: &ClusterKey, client: &ClientFacts) -> Option<Self> {
        let seen = cx.get(&outlook(&key.host, key.client.as_ref(), Some(client)))?;
        let mesh = mesh(cx);
        let port = seen.service.ports.iter().find(|p| p.number == key.port)?.clone();
        let policy = effective_policy(seen.rule.as_deref(), &key.subset, key.port, &mesh)?;
        let subset = seen.rule.as_ref().and_then(|r| r.subset(&key.subset)).cloned();
        Some(Self { port, subset, policy, mesh, seen })
    }
}

/// The cluster of a key for proxies with some facts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClusterItem {
    pub(super) key: ClusterKey,
    pub(super) client: Arc<ClientFacts>,
}

impl ClusterItem {
    pub(super) fn run(&self, cx: &mut Cx<'_, ClusterLayerItem>) -> Slot {
        let of = Ingredients::gather(cx, &self.key, &self.client)?;
        let service = &of.seen.service;
        let peers = cx.get(&Peers(service.namespace.clone()));
        let members =
            if clusters::needs_all_members(service) { cx.get(&Members(of.seen.key.clone())) } else { Arc::default() };
        let identities = if clusters::needs_identities(service, &of.policy, &of.mesh, &peers) {
            cx.get(&Identities(of.seen.key.clone()))
        } else {
            Arc::default()
        };
        let built = clusters::outbound_cluster(&ClusterInput {
            service,
            port: &of.port,
            subset: of.subset.as_ref(),
            rule: of.seen.rule.as_deref(),
            policy: &of.policy,
            mesh: &of.mesh,
            members: &members,
            identities: &identities,
            peers: &peers,
            client: &self.client,
        })?;
        let lacking = self.lacking(cx, &of, &built.refs.secrets);
        let built = if lacking.is_empty() { built } else { built.without_members() };
        lacking.into_iter().for_each(|p| cx.problem(p));
        Some(Arc::new(built.resource()))
    }

    /// What is wrong with the secrets that the cluster asks for over ADS, as problems of the rule that names them.
    fn lacking<Q: Query>(&self, cx: &mut Cx<'_, Q>, of: &Ingredients, secrets: &[Name]) -> Vec<Problem> {
        // A sidecar reads Secrets only for rules of its own namespace, which is therefore a special one; ConfigMaps
        // are the same for everybody.
        let namespace = self.client.gateway_namespace.clone().or_else(|| self.key.client.clone()).unwrap_or_default();
        let whose = if namespace.is_empty() { String::new() } else { format!(" for proxies of namespace {namespace}") };
        let mut problems = Vec::new();
        for resource in secrets {
            let because = match secret_state(cx, &namespace, resource) {
                SecretState::Present => continue,
                SecretState::Missing => "does not exist or lacks the keys".to_owned(),
                SecretState::Broken(reason) => format!("cannot be used: {reason}"),
            };
            let reason =
                format!("secret {resource} {because}{whose}; their requests are answered with 503 until it is there");
            problems.extend(self.at_rule(cx, of, &reason));
        }
        problems
    }

    /// A problem of the `credentialName` that the cluster follows.
    fn at_rule<Q: Query>(&self, cx: &mut Cx<'_, Q>, of: &Ingredients, reason: &str) -> Option<Problem> {
        let tls = of.policy.blocks.tls.as_ref()?;
        of.seen.rule.iter().flat_map(|r| &r.objects).find_map(|object| {
            let rule = cx.input(&DestinationRules(NamespacedName::of(object)))?;
            let field = format!("{}.credentialName", rule.path_of_tls(tls)?);
            Some(Problem { object: object.clone(), field, reason: reason.to_owned(), code: Code::CredentialUnknown })
        })
    }
}

/// The assignment of a key for proxies with some facts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct AssignmentItem {
    pub(super) key: ClusterKey,
    pub(super) client: Arc<ClientFacts>,
}

impl AssignmentItem {
    pub(super) fn run(&self, cx: &mut Cx<'_, ClusterLayerItem>) -> Slot {
        let of = Ingredients::gather(cx, &self.key, &self.client)?;
        let members = cx.get(&Members(of.seen.key.clone()));
        let peers = cx.get(&Peers(of.seen.service.namespace.clone()));
        let assignment = endpoints::resource(&EndpointInput {
            service: &of.seen.service,
            port: &of.port,
            subset: of.subset.as_ref(),
            policy: &of.policy,
            mesh: &of.mesh,
            members: &members,
            peers: &peers,
            client: &self.client,
        });
        Some(Arc::new(assignment))
    }
}
