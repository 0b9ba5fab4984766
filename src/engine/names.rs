//! Tables of names for proxies whose agents answer questions for names (contract §2.2): an entry for each host that they
//! see, kept up by insert and remove, and one resource that is put together for all proxies that see the same.

use std::{net::IpAddr, sync::Arc};

use super::{
    graph::{Cx, Db, Emission, Emit, Layer, OwnPart, Query, Set},
    index::{ServicesByHost, SlicesOf},
    inputs::{NamespacedName, ServiceKey, Slices},
    members::Members,
    scope::Scope,
    services::Claims,
    sidecars::Imports,
    stage,
};
use crate::{
    model::{
        Host, Namespace,
        service::{EndpointAddress, Health},
    },
    snapshot::{Name, PartState, Resource, Slot, View},
    translate::names::{self, Usable},
};

/// The hosts of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Names(Scope);

/// A host as clients of a namespace see it; `None` where that is nothing special.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct NameKey {
    host: Host,
    client: Option<Namespace>,
}

impl Set for Names {
    type Elem = NameKey;
    const STAGE: u8 = stage::LAYER;
}

/// A host of services, for the mesh and for each namespace that sees another service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitNames(Host);

impl Emit for EmitNames {
    type Into = Names;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(Names, NameKey)> {
        let claims = cx.get(&Claims(self.0.clone()));
        let of_mesh = claims.default.iter().map(|_| None);
        let clients = of_mesh.chain(claims.others.keys().cloned().map(Some));
        let key = |client| NameKey { host: self.0.clone(), client };
        clients.map(|client| (Names(Scope::of(client.as_ref())), key(client))).collect()
    }
}

/// A host that a Sidecar object imports.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitImportedName(Imports, Host);

impl Emit for EmitImportedName {
    type Into = Names;
    const STAGE: u8 = stage::LAYER_EMIT;
    fn run(&self, cx: &mut Cx<'_, Emission<Self>>) -> Vec<(Names, NameKey)> {
        let Self(Imports(scope), host) = self;
        let claims = cx.get(&Claims(host.clone()));
        let client = claims.others.contains_key(&scope.namespace).then(|| scope.namespace.clone());
        vec![(Names(Scope::Sidecar(scope.clone())), NameKey { host: host.clone(), client })]
    }
}

/// Registers the emitters of names.
pub(super) fn register(db: &mut Db) {
    db.emit_for_elements::<ServicesByHost, EmitNames>(|set, _| EmitNames(set.0.clone()));
    db.emit_for_elements::<Imports, EmitImportedName>(|set, i| EmitImportedName(set.clone(), i.host.clone()));
}

/// What a host adds to tables.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct NameItem {
    key: NameKey,
    usable: Usable,
}

impl Layer for Names {
    type Facets = Usable;
    type Item = NameItem;
    fn item(&self, key: &NameKey, usable: &Usable) -> (Name, NameItem) {
        (key.host.clone(), NameItem { key: key.clone(), usable: *usable })
    }
}

impl Query for NameItem {
    type Value = Slot;
    const STAGE: u8 = stage::ITEM;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Slot {
        let claims = cx.get(&Claims(self.key.host.clone()));
        let key = claims.seen_from(self.key.client.as_ref())?;
        let service = cx.input(key)?;
        let members = if service.headless { cx.get(&NamedMembers(key.clone())) } else { Arc::default() };
        names::piece(&service, &members, self.usable).map(Arc::new)
    }
}

/// The members of a headless Service that are ready.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct NamedMembers(ServiceKey);

impl Query for NamedMembers {
    type Value = Arc<names::Members>;
    const STAGE: u8 = stage::OUTLOOK;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Self::Value {
        let Some(service) = cx.input(&self.0) else { return Arc::default() };
        let mut made = names::Members::default();
        let name = NamespacedName { namespace: service.namespace.clone(), name: service.name.clone() };
        // Not only those of the first family: who asks says which one it wants.
        for slice in cx.set(&SlicesOf(name)).iter() {
            let Some(slice) = cx.input(&Slices(slice.clone())) else { continue };
            for entry in slice.entries.iter().filter(|entry| entry.ready) {
                made.all.extend(&entry.addresses);
                if !entry.hostname.is_empty() {
                    made.named.entry(entry.hostname.clone()).or_default().extend(&entry.addresses);
                }
            }
        }
        // WorkloadEntries that it selects.
        let members = cx.get(&Members(self.0.clone()));
        let healthy = members.iter().filter(|member| member.health == Health::Healthy);
        made.all.extend(healthy.filter_map(|member| ip(&member.address)));
        Arc::new(made)
    }
}

fn ip(address: &EndpointAddress) -> Option<IpAddr> {
    match address {
        EndpointAddress::Ip(ip) => Some(*ip),
        EndpointAddress::Hostname(_) | EndpointAddress::Pipe(_) => None,
    }
}

/// The table of proxies whose namespace is nothing special.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct MeshTable(Usable);

impl Query for MeshTable {
    type Value = OwnPart;
    const STAGE: u8 = stage::ASSEMBLY;
    fn run(&self, cx: &mut Cx<'_, Self>) -> OwnPart {
        let mesh = cx.part(&Names(Scope::Mesh), &self.0);
        assembled(self, vec![mesh])
    }
}

/// The table of proxies that see what some scopes hold, the deciding one first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Table {
    pub(super) scopes: Vec<Scope>,
    pub(super) usable: Usable,
}

impl Query for Table {
    type Value = OwnPart;
    const STAGE: u8 = stage::ASSEMBLY + 1;
    fn run(&self, cx: &mut Cx<'_, Self>) -> OwnPart {
        let narrow = self.scopes.iter().filter(|scope| **scope != Scope::Mesh);
        let mut parts: Vec<PartState> = narrow.map(|scope| cx.part(&Names(scope.clone()), &self.usable)).collect();
        if self.scopes.contains(&Scope::Mesh) {
            if parts.iter().all(|part| part.map.is_empty()) {
                return cx.get(&MeshTable(self.usable));
            }
            parts.push(cx.part(&Names(Scope::Mesh), &self.usable));
        }
        assembled(self, parts)
    }
}

fn assembled(query: &(impl std::hash::Hash + 'static), parts: Vec<PartState>) -> OwnPart {
    let mut pieces: Vec<Arc<Resource>> = Vec::with_capacity(parts.iter().map(|part| part.map.len()).sum());
    View::new(parts).for_each(|piece| pieces.push(Arc::clone(piece)));
    // Each part is in order already.
    pieces.sort_by(|a, b| a.name.cmp(&b.name));
    let table = names::table(&pieces);
    OwnPart::of(query, std::iter::once((table.name.clone(), Some(Arc::new(table)))))
}
