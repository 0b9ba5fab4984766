//! Sidecar objects: whom they select and which hosts they import (translation §2).

use std::{collections::BTreeSet, sync::Arc};

use super::{
    graph::{Cx, Db, Emission, Emit, Query, Set},
    index::{MeshRoutesAt, Place, ServicesAt, SidecarsIn},
    inputs::{Clients, NamespacedName, ServiceKey, Sidecars, VirtualServices},
    scope::SidecarScope,
    services::{Claims, mesh, sees, visibility_of_rules},
    stage,
};
use crate::model::{
    Host, Labels, Namespace, Sidecar, Visibility,
    host::{intersection, is_subset},
    sidecar::{EgressHost, NamespaceMatch},
};

/// Namespaces with connected proxies.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ClientNamespaces;

impl Set for ClientNamespaces {
    type Elem = Namespace;
    const STAGE: u8 = stage::INDEX;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct IndexClient(Clients);

impl Emit for IndexClient {
    type Into = ClientNamespaces;
    const STAGE: u8 = stage::INDEX_EMIT;
    fn run(&self, _: &mut Cx<'_, Emission<Self>>) -> Vec<(ClientNamespaces, Namespace)> {
        vec![(ClientNamespaces, self.0.0.clone())]
    }
}

/// Sidecar objects, as seen from namespaces where somebody may need them, that import something of a place.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Importers(Place);

impl Set for Importers {
    type Elem = SidecarScope;
    const STAGE: u8 = stage::FACT2;
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitImporters(Sidecars);

impl Emit for EmitImporters {
    type Into = Importers;
    const STAGE: u8 = stage::FACT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(Importers, SidecarScope)> {
        let Some(sidecar) = cx.input(&self.0) else { return Vec::new() };
        // One of the root namespace without a selector is the default of every namespace.
        let root = mesh(cx).root_namespace == sidecar.namespace && sidecar.workload_selector.is_none();
        let namespaces = if root { cx.set(&ClientNamespaces) } else { Arc::from([sidecar.namespace.clone()]) };
        let views = namespaces.iter().flat_map(|namespace| {
            let scope = SidecarScope::new(self.0.0.clone(), namespace.clone());
            places(&sidecar, namespace).into_iter().map(move |place| (Importers(place), scope.clone()))
        });
        views.collect()
    }
}

/// Where a Sidecar object imports from.
fn places(sidecar: &Sidecar, own: &Namespace) -> BTreeSet<Place> {
    let entries = sidecar.egress.iter().flat_map(|l| &l.hosts);
    let places = entries.filter_map(|entry| match &entry.namespace {
        NamespaceMatch::Own => Some(Place::Namespace(own.clone())),
        NamespaceMatch::Named(namespace) => Some(Place::Namespace(namespace.clone())),
        NamespaceMatch::Any => Some(Place::Anywhere),
        NamespaceMatch::Except(_) | NamespaceMatch::ExceptOwn | NamespaceMatch::Nothing => None,
    });
    places.collect()
}

/// The hosts that a Sidecar object imports.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Imports(pub(super) SidecarScope);

/// An imported host, with the egress listeners' ports through which it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Import {
    /// The host.
    pub(super) host: Host,
    /// The port it was imported for; `None` is every port that no listener names.
    pub(super) port: Option<u16>,
}

impl Set for Imports {
    type Elem = Import;
    const STAGE: u8 = stage::IMPORT;
}

/// A service that a Sidecar object may import.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitImport(SidecarScope, ServiceKey);

impl Emit for EmitImport {
    type Into = Imports;
    const STAGE: u8 = stage::IMPORT_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(Imports, Import)> {
        let Self(scope, key) = self;
        let Some(sidecar) = cx.input(&Sidecars(scope.sidecar.clone())) else { return Vec::new() };
        let through: Vec<_> = admitting(&sidecar, &scope.namespace, key).collect();
        if through.is_empty() || !sees(cx, Some(&scope.namespace), key) {
            return Vec::new();
        }
        let import = |port| (Imports(scope.clone()), Import { host: key.host.clone(), port });
        through.into_iter().map(import).collect()
    }
}

/// The egress listeners that admit a service, by their ports.
fn admitting<'a>(
    sidecar: &'a Sidecar,
    own: &'a Namespace,
    key: &'a ServiceKey,
) -> impl Iterator<Item = Option<u16>> + 'a {
    let meant = |e: &EgressHost| e.namespace.names(&key.object.namespace, own) && is_subset(&key.host, &e.host);
    let admits = move |entries: &[EgressHost]| {
        entries.iter().any(|e| !e.namespace.excludes() && meant(e))
            && !entries.iter().any(|e| e.namespace.excludes() && meant(e))
    };
    sidecar.egress.iter().filter(move |l| admits(&l.hosts)).map(|l| l.port.as_ref().map(|p| p.number))
}

/// The VirtualServices that a Sidecar object imports.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ImportedRules(pub(super) SidecarScope);

impl Set for ImportedRules {
    type Elem = NamespacedName;
    const STAGE: u8 = stage::IMPORT;
}

/// What decides who imports a VirtualService on the mesh gateway: its rules may change without it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RuleFace(NamespacedName);

impl Query for RuleFace {
    type Value = Option<Arc<(Vec<Host>, Visibility)>>;
    const STAGE: u8 = stage::FACT;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let vs = cx.input(&VirtualServices(self.0.clone()))?;
        let visibility = visibility_of_rules(cx, &vs).into_owned();
        Some(Arc::new((vs.hosts.clone(), visibility)))
    }
}

/// A VirtualService that a Sidecar object may import.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitImportedRule(SidecarScope, NamespacedName);

impl Emit for EmitImportedRule {
    type Into = ImportedRules;
    const STAGE: u8 = stage::IMPORT_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(ImportedRules, NamespacedName)> {
        let Self(scope, key) = self;
        let visible = cx.get(&RuleFace(key.clone())).is_some_and(|face| face.1.admits(&scope.namespace));
        let imported = visible && imports_rules(cx, scope, key);
        imported.then(|| (ImportedRules(scope.clone()), key.clone())).into_iter().collect()
    }
}

/// Whether a Sidecar object imports a VirtualService that its proxies see.
pub(super) fn imports_rules<Q: Query>(cx: &mut Cx<'_, Q>, scope: &SidecarScope, rules: &NamespacedName) -> bool {
    cx.get(&ImportsRules { scope: scope.clone(), rules: rules.clone() })
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ImportsRules {
    scope: SidecarScope,
    rules: NamespacedName,
}

impl Query for ImportsRules {
    type Value = bool;
    const STAGE: u8 = stage::FACT2;
    fn run(&self, cx: &mut Cx<'_, Self>) -> bool {
        let Self { scope, rules } = self;
        let Some(sidecar) = cx.input(&Sidecars(scope.sidecar.clone())) else { return false };
        let face = cx.get(&RuleFace(rules.clone()));
        face.is_some_and(|face| admits_rules(&sidecar, &scope.namespace, &rules.namespace, &face.0))
    }
}

/// Whether an egress listener admits one of the hosts of a VirtualService: one of the two contains the other
/// (translation §2).
fn admits_rules(sidecar: &Sidecar, own: &Namespace, namespace: &Namespace, hosts: &[Host]) -> bool {
    let admits = |entries: &[EgressHost], host: &Host| {
        let meant = |e: &EgressHost| e.namespace.names(namespace, own);
        entries.iter().any(|e| !e.namespace.excludes() && meant(e) && intersection(host, &e.host).is_some())
            && !entries.iter().any(|e| e.namespace.excludes() && meant(e) && is_subset(host, &e.host))
    };
    sidecar.egress.iter().any(|listener| hosts.iter().any(|host| admits(&listener.hosts, host)))
}

/// The ports through which a host is imported; `None` is all.
pub(super) fn imported_ports<Q: Query>(cx: &mut Cx<'_, Q>, imports: &Imports, host: &Host) -> Option<BTreeSet<u16>> {
    let sidecar = cx.input(&Sidecars(imports.0.sidecar.clone()))?;
    if sidecar.egress.iter().all(|l| l.port.is_none()) {
        return None;
    }
    let through = cx.get(&ImportedThrough { imports: imports.clone(), host: host.clone() });
    let named: BTreeSet<u16> = through.iter().filter_map(|p| *p).collect();
    (!through.contains(&None)).then_some(named)
}

/// Whether a service's host is imported.
pub(super) fn imports_host<Q: Query>(cx: &mut Cx<'_, Q>, scope: &SidecarScope, host: &Host) -> bool {
    !cx.get(&ImportedThrough { imports: Imports(scope.clone()), host: host.clone() }).is_empty()
}

/// The listeners' ports through which a host is imported.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ImportedThrough {
    imports: Imports,
    host: Host,
}

impl Query for ImportedThrough {
    type Value = Arc<BTreeSet<Option<u16>>>;
    const STAGE: u8 = stage::IMPORT;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let Some(sidecar) = cx.input(&Sidecars(self.imports.0.sidecar.clone())) else { return Arc::default() };
        let own = &self.imports.0.namespace;
        let claims = cx.get(&Claims(self.host.clone()));
        let Some(key) = claims.seen_from(Some(own)) else { return Arc::default() };
        Arc::new(admitting(&sidecar, own, key).collect())
    }
}

/// The Sidecar object of a sidecar proxy: of its own namespace and selecting it, of its own namespace, of the root
/// namespace; the oldest of each (translation §2).
pub(super) fn selected<Q: Query>(
    cx: &mut Cx<'_, Q>,
    namespace: &Namespace,
    labels: &Labels,
) -> Option<(SidecarScope, Arc<Sidecar>)> {
    let scope = |name: &NamespacedName| SidecarScope::new(name.clone(), namespace.clone());
    let own = all_in(cx, namespace);
    let selecting = own.iter().find(|(_, s)| s.workload_selector.is_some() && s.selects(labels));
    let plain = own.iter().find(|(_, s)| s.workload_selector.is_none());
    if let Some((name, sidecar)) = selecting.or(plain) {
        return Some((scope(name), sidecar.clone()));
    }
    let root = mesh(cx).root_namespace.clone();
    let of_root = all_in(cx, &root).into_iter().find(|(_, s)| s.workload_selector.is_none());
    of_root.map(|(name, sidecar)| (scope(&name), sidecar))
}

fn all_in<Q: Query>(cx: &mut Cx<'_, Q>, namespace: &Namespace) -> Vec<(NamespacedName, Arc<Sidecar>)> {
    let keys = cx.set(&SidecarsIn(namespace.clone()));
    keys.iter().filter_map(|(_, key)| Some((key.clone(), cx.input(&Sidecars(key.clone()))?))).collect()
}

/// Registers the emitters of Sidecars.
pub(super) fn register(db: &mut Db) {
    db.emit_for_input::<Clients, IndexClient>(|c| IndexClient(c.clone()));
    db.emit_for_input::<Sidecars, EmitImporters>(|s| EmitImporters(s.clone()));
    db.emit_for_pairs::<Importers, ServicesAt, EmitImport>(
        |importers| ServicesAt(importers.0.clone()),
        |services| Importers(services.0.clone()),
        |scope, key| EmitImport(scope.clone(), key.clone()),
    );
    db.emit_for_pairs::<Importers, MeshRoutesAt, EmitImportedRule>(
        |importers| MeshRoutesAt(importers.0.clone()),
        |rules| Importers(rules.0.clone()),
        |scope, key| EmitImportedRule(scope.clone(), key.clone()),
    );
}
