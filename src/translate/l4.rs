//! `tls` and `tcp` rules of VirtualServices as routes of connections (translation §3.2, §7.5).

use std::sync::Arc;

use ipnet::IpNet;

use super::{filters::tcp_proxy::TcpTarget, listeners::tcp::TcpRoute};
use crate::model::{
    Host, Labels, VirtualService,
    destination_rule::{EffectivePolicy, HashKey, LbAlgorithm},
    host::is_subset,
    virtual_service::{Destination, GatewayName, L4Destination, SourceMatch},
};

/// Where a destination leads.
#[derive(Clone, Debug)]
pub struct L4Cluster {
    /// The cluster's name; a cluster that does not exist closes connections.
    pub name: Arc<str>,
    /// Its policy, when it exists.
    pub policy: Option<EffectivePolicy>,
}

/// For whom rules are evaluated.
#[derive(Clone, Copy, Debug)]
pub struct L4Site<'a> {
    /// The gateways in play: `mesh`, or those of the server.
    pub gateways: &'a [GatewayName],
    /// The proxy's labels.
    pub labels: &'a Labels,
    /// The proxy's namespace.
    pub namespace: &'a str,
    /// The port as users write it.
    pub port: u16,
    /// The hosts in play: of the service, or those that the server admits.
    pub hosts: &'a [Host],
    /// TLS connections, told by server name; else opaque ones.
    pub tls: bool,
}

/// Finds the cluster of a destination, which stands at a field of its object.
pub type Resolve<'a> = dyn FnMut(&str, &Destination) -> L4Cluster + 'a;

/// The routes of a VirtualService at a site, the deciding one first.
#[must_use]
pub fn routes(vs: &VirtualService, site: &L4Site<'_>, resolve: &mut Resolve<'_>) -> Vec<TcpRoute> {
    if site.tls { tls_routes(vs, site, resolve) } else { tcp_routes(vs, site, resolve) }
}

/// All connections to a service that no rule leads elsewhere.
#[must_use]
pub fn to_service(cluster: L4Cluster) -> TcpRoute {
    TcpRoute { target: target(vec![(cluster, 1)], "".into()), ..TcpRoute::default() }
}

fn tls_routes(vs: &VirtualService, site: &L4Site<'_>, resolve: &mut Resolve<'_>) -> Vec<TcpRoute> {
    let mut made = Vec::new();
    for route in &vs.tls {
        for (at, matching) in route.matches.iter().enumerate() {
            if !admits(site, &matching.source, matching.port) {
                continue;
            }
            let overlaps = |sni: &&Arc<str>| site.hosts.iter().any(|h| is_subset(sni, h) || is_subset(h, sni));
            let names: Vec<Arc<str>> = matching.sni_hosts.iter().filter(overlaps).cloned().collect();
            if names.is_empty() {
                continue;
            }
            let field = format!("spec.tls[{}].match[{at}]", route.index);
            made.push(built(vs, &field, names, &matching.destination_subnets, &route.destinations, resolve));
        }
    }
    made
}

fn tcp_routes(vs: &VirtualService, site: &L4Site<'_>, resolve: &mut Resolve<'_>) -> Vec<TcpRoute> {
    let mut made = Vec::new();
    for route in &vs.tcp {
        if route.matches.is_empty() {
            let field = format!("spec.tcp[{}]", route.index);
            made.push(built(vs, &field, Vec::new(), &[], &route.destinations, resolve));
            return made;
        }
        for (at, matching) in route.matches.iter().enumerate() {
            if !admits(site, &matching.source, matching.port) {
                continue;
            }
            let field = format!("spec.tcp[{}].match[{at}]", route.index);
            made.push(built(vs, &field, Vec::new(), &matching.destination_subnets, &route.destinations, resolve));
            // Without a destination to tell them apart, nothing behind it would ever match.
            if matching.destination_subnets.is_empty() {
                return made;
            }
        }
    }
    made
}

fn admits(site: &L4Site<'_>, source: &SourceMatch, port: Option<u16>) -> bool {
    port.is_none_or(|p| p == site.port) && source.admits_l4(site.gateways, site.labels, site.namespace)
}

fn built(
    vs: &VirtualService,
    field: &str,
    server_names: Vec<Arc<str>>,
    prefix_ranges: &[IpNet],
    destinations: &[L4Destination],
    resolve: &mut Resolve<'_>,
) -> TcpRoute {
    let (name, namespace) = (&vs.object.name, &vs.object.namespace);
    let rule = field.split_once(".match").map_or(field, |(rule, _)| rule);
    let destinations = destinations.iter().enumerate();
    let clusters = destinations
        .map(|(at, d)| (resolve(&format!("{rule}.route[{at}].destination"), &d.destination), d.weight))
        .collect();
    TcpRoute {
        name: format!("{name}.{namespace}.{}", field.trim_start_matches("spec.")).into(),
        origin: Some((vs.object.clone(), field.to_owned())),
        server_names,
        prefix_ranges: prefix_ranges.to_vec(),
        target: target(clusters, format!("{name}.{namespace}").into()),
    }
}

/// What the policy of the first cluster says of connections holds for all of them.
fn target(clusters: Vec<(L4Cluster, u32)>, weighted_stat_prefix: Arc<str>) -> TcpTarget {
    let policy = clusters.first().and_then(|(c, _)| c.policy.as_ref());
    let pool = policy.and_then(|p| p.blocks.connection_pool.as_deref());
    let balancer = policy.and_then(|p| p.blocks.load_balancer.as_deref());
    let hash_source_ip = balancer
        .is_some_and(|lb| matches!(&lb.algorithm, LbAlgorithm::ConsistentHash { key: Some(HashKey::SourceIp), .. }));
    TcpTarget {
        weighted_stat_prefix,
        idle_timeout: pool.and_then(|p| p.tcp_idle_timeout),
        max_connection_duration: pool.and_then(|p| p.max_connection_duration),
        hash_source_ip,
        tunnel: policy.and_then(|p| p.tunnel.clone()),
        after_handshake: false,
        clusters: clusters.into_iter().map(|(c, weight)| (c.name, weight)).collect(),
    }
}
