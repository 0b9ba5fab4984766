//! Where resources are shared: scopes, and the layers made of them.

use std::{ops::Deref, sync::Arc};

use super::{
    clusters::{AssignmentItem, ClusterItem},
    graph::{Cx, Db, Emission, Emit, Layer, Query, Set},
    inputs::NamespacedName,
    stage,
};
use crate::{
    model::{Host, Namespace},
    snapshot::{Name, Slot},
    translate::client::{ClientFacts, Facets},
};

/// For whom a layer holds resources.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Scope {
    /// Everybody, unless a narrower scope says otherwise.
    Mesh,
    /// Proxies of a namespace.
    Namespace(Namespace),
    /// Sidecars of a namespace that a Sidecar object selects; complete, nothing lies beneath it.
    Sidecar(SidecarScope),
}

/// A Sidecar object as seen from a namespace (its own, or any for one of the root namespace). It is shared: each of the
/// thousands of keys beneath it has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SidecarScope(Arc<SidecarView>);

/// See [`SidecarScope`].
#[derive(Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct SidecarView {
    /// The object.
    pub(super) sidecar: NamespacedName,
    /// The namespace of the proxies.
    pub(super) namespace: Namespace,
}

impl SidecarScope {
    /// An object, seen from a namespace.
    pub(super) fn new(sidecar: NamespacedName, namespace: Namespace) -> Self {
        Self(Arc::new(SidecarView { sidecar, namespace }))
    }
}

impl Deref for SidecarScope {
    type Target = SidecarView;
    fn deref(&self) -> &SidecarView {
        &self.0
    }
}

impl Scope {
    /// The scope of a client's outlook; `None` is the mesh.
    pub(super) fn of(client: Option<&Namespace>) -> Self {
        client.map_or(Self::Mesh, |ns| Self::Namespace(ns.clone()))
    }

    /// The namespace of the proxies, `None` where it is anyone.
    pub(super) fn client(&self) -> Option<&Namespace> {
        match self {
            Self::Mesh => None,
            Self::Namespace(namespace) => Some(namespace),
            Self::Sidecar(scope) => Some(&scope.namespace),
        }
    }
}

/// What a layer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Family {
    /// Outbound clusters.
    Clusters,
    /// Their assignments.
    Assignments,
}

/// The elements of a family in a scope whose items depend on the same facets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ClusterLayer {
    pub(super) family: Family,
    pub(super) scope: Scope,
    pub(super) facets: Arc<Facets>,
}

/// A service port, or a subset of it, as clients of a namespace see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct ClusterKey {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) subset: Arc<str>,
    /// The namespace of the clients, `None` where it is nothing special.
    pub(super) client: Option<Namespace>,
}

impl Set for ClusterLayer {
    type Elem = ClusterKey;
    const STAGE: u8 = stage::LAYER;
}

/// The item of a [`ClusterLayer`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum ClusterLayerItem {
    Cluster(ClusterItem),
    Assignment(AssignmentItem),
}

impl Query for ClusterLayerItem {
    type Value = Slot;
    const STAGE: u8 = stage::ITEM;
    fn run(&self, cx: &mut Cx<'_, Self>) -> Slot {
        match self {
            Self::Cluster(item) => item.run(cx),
            Self::Assignment(item) => item.run(cx),
        }
    }
}

impl Layer for ClusterLayer {
    type Facets = Arc<ClientFacts>;
    type Item = ClusterLayerItem;
    fn item(&self, elem: &ClusterKey, client: &Arc<ClientFacts>) -> (Name, ClusterLayerItem) {
        let name = crate::translate::clusters::cluster_name(elem.port, &elem.subset, &elem.host).into();
        let (key, client) = (elem.clone(), client.clone());
        let item = match self.family {
            Family::Clusters => ClusterLayerItem::Cluster(ClusterItem { key, client }),
            Family::Assignments => ClusterLayerItem::Assignment(AssignmentItem { key, client }),
        };
        (name, item)
    }
}

/// Which facets the layers of a family and scope distinguish.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct FacetsIn {
    pub(super) family: Family,
    pub(super) scope: Scope,
}

impl Set for FacetsIn {
    type Elem = Arc<Facets>;
    const STAGE: u8 = stage::LAYERS;
}

/// Says of a layer that it has something.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct EmitFacets(ClusterLayer);

impl Emit for EmitFacets {
    type Into = FacetsIn;
    const STAGE: u8 = stage::LAYERS_EMIT;
    fn run(&self, _: &mut Cx<'_, Emission<Self>>) -> Vec<(FacetsIn, Arc<Facets>)> {
        let ClusterLayer { family, scope, facets } = &self.0;
        vec![(FacetsIn { family: *family, scope: scope.clone() }, facets.clone())]
    }
}

/// Registers what tells layers apart.
pub(super) fn register(db: &mut Db) {
    db.emit_for_sets::<ClusterLayer, EmitFacets>(|layer| EmitFacets(layer.clone()));
}
