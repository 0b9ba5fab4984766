//! Which names of a host are another one's: each domain stands once in a route configuration, or Envoy refuses it.
//!
//! Hosts are looked up by the names in question, so that this costs nothing per virtual host of a configuration.

use std::sync::Arc;

use super::{
    HostKey,
    plan::{Viewer, routed_ports},
};
use crate::{
    engine::{
        gateway_routes::{Site, http_routes},
        graph::{Cx, Query},
        index::MeshRoutesByHost,
        scope::{Scope, SidecarScope},
        sidecar_listeners::mesh_routes,
    },
    model::{Host, Labels, Namespace, ObjectRef, VirtualService, service::Resolution, virtual_service::GatewayName},
    translate::routes::RouteOutput,
};

/// Proxies that look at the route configuration of a port.
pub(super) struct Onlooker<'a> {
    viewer: Viewer,
    client: Option<&'a Namespace>,
    narrowed: Option<&'a SidecarScope>,
    labels: &'a Labels,
    port: u16,
}

impl<'a> Onlooker<'a> {
    /// Those that have a virtual host.
    pub(super) fn of(key: &'a HostKey, labels: &'a Labels, port: u16) -> Self {
        match &key.narrowed {
            Some(scope) => Self::behind(scope, labels, port),
            None => {
                let client = key.client.as_ref();
                Self { viewer: Viewer::Client(client.cloned()), client, narrowed: None, labels, port }
            }
        }
    }

    /// Those of scopes, the narrowest first.
    pub(super) fn within(scopes: &'a [Scope], labels: &'a Labels, port: u16) -> Self {
        match scopes.first() {
            Some(Scope::Sidecar(scope)) => Self::behind(scope, labels, port),
            first => {
                let client = first.and_then(Scope::client);
                Self { viewer: Viewer::Client(client.cloned()), client, narrowed: None, labels, port }
            }
        }
    }

    fn behind(scope: &'a SidecarScope, labels: &'a Labels, port: u16) -> Self {
        let viewer = Viewer::Sidecar(scope.clone());
        Self { viewer, client: Some(&scope.namespace), narrowed: Some(scope), labels, port }
    }

    /// Whether the configuration has a virtual host of a host.
    pub(super) fn meets<Q: Query>(&self, cx: &mut Cx<'_, Q>, host: &Host) -> bool {
        let of_service = self.viewer.service(cx, host).is_some_and(|seen| {
            let mut ports = routed_ports(&seen.service);
            seen.service.resolution != Resolution::Alias && ports.any(|p| p.number == self.port)
        });
        of_service || self.is_ruled(cx, host)
    }

    /// Whether it has one because of VirtualServices.
    fn is_ruled<Q: Query>(&self, cx: &mut Cx<'_, Q>, host: &Host) -> bool {
        if cx.set(&MeshRoutesByHost(host.clone())).is_empty() || !self.viewer.ruled_ports(cx, host).contains(&self.port)
        {
            return false;
        }
        let found = mesh_routes(cx, host, self.client, self.narrowed);
        first_routes(cx, &found, self.client, self.labels, self.port).is_some()
    }

    /// The object that a host is of.
    pub(super) fn object_of<Q: Query>(&self, cx: &mut Cx<'_, Q>, host: &Host) -> Option<ObjectRef> {
        match self.viewer.service(cx, host) {
            Some(seen) => Some(seen.service.object.clone()),
            None => mesh_routes(cx, host, self.client, self.narrowed).first().map(|vs| vs.object.clone()),
        }
    }
}

/// The routes of the first VirtualService that has any for a proxy and a port, with its place.
pub(super) fn first_routes<Q: Query>(
    cx: &mut Cx<'_, Q>,
    found: &[Arc<VirtualService>],
    client: Option<&Namespace>,
    labels: &Labels,
    port: u16,
) -> Option<(usize, RouteOutput)> {
    let namespace: Namespace = client.cloned().unwrap_or_else(|| "".into());
    let site = Site { gateways: &[GatewayName::Mesh], labels, namespace: &namespace, port, tls: false };
    let mut all = found.iter().enumerate();
    all.find_map(|(place, vs)| Some((place, http_routes(cx, vs, &site))).filter(|(_, made)| !made.routes.is_empty()))
}
