//! Everything that a gateway is sent, by the functions that the engine's queries call, in their order.

use std::collections::{BTreeMap, BTreeSet};

use mizzen::{
    model::{Age, Host, Labels, SecretState, VirtualService, host::intersection, virtual_service::GatewayName},
    snapshot::{Encoder, Refs, Resource, ResourceType},
    translate::{
        clusters::black_hole,
        listeners::gateway::{GatewayInput, MergedServer, PortTranslation, gateway_listener, merge_servers},
        routes::{RouteInput, RouteOutput, routes},
        virtual_hosts::{config_piece, gateway_host, virtual_host_piece},
    },
};

use super::model::{Made, Model};

/// Merges the Gateways and makes clusters, listeners and route configurations.
pub(super) fn everything(model: &Model) -> Made {
    let merged = merge_servers(&model.gateways, &PortTranslation::default(), model.proxy.unprivileged, model.families);
    let input = GatewayInput {
        mesh: &model.mesh,
        families: model.families,
        deny_all: false,
        secret_state: &|_| SecretState::Present,
        tcp_routes: &|_| Vec::new(),
    };
    let mut made = Made::default();
    made[ResourceType::Cluster] = model.clusters(&[black_hole(&model.mesh)]);
    for listener in &merged.listeners {
        made[ResourceType::Listener].extend(gateway_listener(listener, &input).resource());
        let routes = listener.routes();
        made[ResourceType::Route].extend(routes.iter().map(|(name, servers)| configuration(model, name, servers)));
    }
    made
}

/// The route configuration of servers that share it.
fn configuration(model: &Model, name: &str, servers: &[&MergedServer]) -> Resource {
    let gateways: Vec<_> = servers.iter().map(|s| gateway_name(s)).collect::<BTreeSet<_>>().into_iter().collect();
    let first = servers.first().expect("routes are those of servers").server();
    let mut pieces = vec![config_piece(name)];
    let mut clusters = BTreeSet::new();
    for (host, rules) in hosts(model, servers) {
        let made = host_routes(model, &gateways, (first.port, first.is_tls()), rules.into_values());
        pieces.push(virtual_host_piece(&gateway_host(&host, first.port, made.routes, false)));
        clusters.extend(made.clusters);
    }
    let refs = Refs { clusters: clusters.into_iter().collect(), ..Refs::default() };
    Encoder::pieces(ResourceType::Route, name.into(), pieces, refs)
}

fn gateway_name(server: &MergedServer) -> GatewayName {
    GatewayName::Named(format!("{}/{}", server.gateway.namespace, server.gateway.name).into())
}

/// The hosts of servers with the VirtualServices bound to them, the oldest first.
fn hosts<'a>(model: &'a Model, servers: &[&MergedServer]) -> BTreeMap<Host, BTreeMap<&'a Age, &'a VirtualService>> {
    let mut hosts: BTreeMap<Host, BTreeMap<_, _>> = BTreeMap::new();
    for merged in servers {
        for vs in model.bound_to(&gateway_name(merged)) {
            let admitting = merged.server().hosts.iter().filter(|h| h.admits(&vs.object.namespace));
            for host in admitting.flat_map(|h| vs.hosts.iter().filter_map(|own| intersection(own, &h.host))) {
                hosts.entry(host.into()).or_default().insert(&vs.age, vs);
            }
        }
    }
    hosts
}

/// The routes of the VirtualServices of a host, for a server's port, with or without TLS.
fn host_routes<'a>(
    model: &Model,
    gateways: &[GatewayName],
    (port, tls): (u16, bool),
    rules: impl Iterator<Item = &'a VirtualService>,
) -> RouteOutput {
    let labels = Labels::new();
    let mut all = RouteOutput::default();
    for vs in rules {
        let input = RouteInput {
            object: &vs.object,
            semantics: vs.semantics,
            gateways,
            labels: &labels,
            namespace: &model.proxy.namespace,
            listener_port: port,
            tls,
            http3: false,
            default_retries: model.mesh.default_retries.as_ref(),
            append_x_forwarded_host: false,
        };
        let made = routes(&input, &vs.http, &mut |destination| model.resolve(destination, port));
        all.routes.extend(made.routes);
        all.clusters.extend(made.clusters);
    }
    all
}
