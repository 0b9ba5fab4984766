//! What must hold for all that a proxy is sent together: rules that Envoy checks late, or not at all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use envoy_types::pb::envoy::{
    config::{
        cluster::v3::{
            Cluster,
            cluster::{ClusterDiscoveryType, DiscoveryType},
        },
        core::v3::{Address, address, socket_address::PortSpecifier},
        listener::v3::{Filter, FilterChain, Listener, filter::ConfigType},
        route::v3::{
            RouteAction, RouteConfiguration, VirtualHost, WeightedCluster,
            route::Action,
            route_action::{ClusterSpecifier, RequestMirrorPolicy},
        },
    },
    extensions::filters::network::{
        http_connection_manager::v3::{HttpConnectionManager, http_connection_manager::RouteSpecifier},
        tcp_proxy::v3::{TcpProxy, tcp_proxy},
    },
};
use prost::Message;

use crate::snapshot::{Name, ResourceType, Snapshot, View, host_name_parts};

/// A rule that resources break together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A resource's bytes are no message of its type.
    Unreadable,
    /// A message is sent under a name that is not its own.
    Misnamed,
    /// A virtual host, filter chain or route has the name of a sibling.
    DuplicateName,
    /// Two virtual hosts of a route configuration claim a domain: Envoy refuses all of it.
    DuplicateDomain,
    /// A virtual host without domains, or with an empty one.
    EmptyDomain,
    /// Two filter chains of a listener match the same: Envoy refuses the listener.
    DuplicateMatch,
    /// Two listeners have an address.
    DuplicateAddress,
    /// A cluster is named that is not sent. Its subject is the cluster.
    MissingCluster,
    /// An EDS cluster has no assignment: it warms for ever.
    MissingEndpoints,
    /// A listener asks for a route configuration that does not exist: it warms for ever.
    MissingRoutes,
    /// A secret is asked for that is not sent: who asks warms for ever.
    MissingSecret,
    /// Weights of which Envoy can choose none.
    ZeroWeights,
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Which.
    pub rule: Rule,
    /// Where: type and name of a resource.
    pub resource: String,
    /// What: a domain, a cluster, ….
    pub subject: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}: {}", self.resource, self.rule, self.subject)
    }
}

/// All rules that a snapshot breaks, in a stable order.
#[must_use]
pub fn lint(snapshot: &Snapshot) -> Vec<Finding> {
    let mut lint = Lint { snapshot, resource: String::new(), findings: BTreeSet::new() };
    lint.clusters();
    lint.listeners();
    let hosts = lint.decode::<VirtualHost>(ResourceType::VirtualHost, |h| &h.name);
    for mut routes in lint.decode::<RouteConfiguration>(ResourceType::Route, |r| &r.name) {
        routes.virtual_hosts.extend(hosts.iter().filter(|h| host_name_parts(&h.name).0 == routes.name).cloned());
        lint.at(ResourceType::Route, &routes.name);
        lint.routes(&routes);
    }
    lint.secrets();
    lint.findings.into_iter().collect()
}

struct Lint<'a> {
    snapshot: &'a Snapshot,
    /// The one that is looked at.
    resource: String,
    findings: BTreeSet<Finding>,
}

impl Lint<'_> {
    fn at(&mut self, t: ResourceType, name: &str) {
        self.resource = format!("{} {name}", t.short_name());
    }

    fn find(&mut self, rule: Rule, subject: impl Into<String>) {
        self.findings.insert(Finding { rule, resource: self.resource.clone(), subject: subject.into() });
    }

    fn view(&self, t: ResourceType) -> &View {
        &self.snapshot.views[t]
    }

    fn decode<M: Message + Default>(&mut self, t: ResourceType, own_name: fn(&M) -> &str) -> Vec<M> {
        let mut messages = Vec::new();
        for (name, resource) in self.view(t).resources() {
            self.at(t, &name);
            match M::decode(resource.body_bytes()) {
                Ok(message) => {
                    if own_name(&message) != &*name {
                        self.find(Rule::Misnamed, own_name(&message));
                    }
                    messages.push(message);
                }
                Err(error) => self.find(Rule::Unreadable, error.to_string()),
            }
        }
        messages
    }

    /// Reports what comes more than once.
    fn unique<T: Ord>(&mut self, rule: Rule, items: impl IntoIterator<Item = (T, String)>) {
        let mut seen = BTreeSet::new();
        for (item, subject) in items {
            if !seen.insert(item) {
                self.find(rule, subject);
            }
        }
    }

    fn clusters(&mut self) {
        for cluster in self.decode::<Cluster>(ResourceType::Cluster, |c| &c.name) {
            self.at(ResourceType::Cluster, &cluster.name);
            let eds = ClusterDiscoveryType::Type(DiscoveryType::Eds.into());
            let service = cluster.eds_cluster_config.as_ref().map_or("", |c| &*c.service_name);
            let assignment = if service.is_empty() { &*cluster.name } else { service };
            if cluster.cluster_discovery_type == Some(eds)
                && self.view(ResourceType::Endpoint).get(assignment).is_none()
            {
                self.find(Rule::MissingEndpoints, assignment);
            }
        }
    }

    fn listeners(&mut self) {
        let mut addresses: BTreeMap<String, String> = BTreeMap::new();
        for listener in self.decode::<Listener>(ResourceType::Listener, |l| &l.name) {
            self.at(ResourceType::Listener, &listener.name);
            let more = listener.additional_addresses.iter().filter_map(|a| a.address.as_ref());
            for address in listener.address.iter().chain(more).map(address_text) {
                if let Some(other) = addresses.insert(address.clone(), listener.name.clone()) {
                    self.find(Rule::DuplicateAddress, format!("{address}, as {other}"));
                }
            }
            self.filter_chains(&listener);
        }
    }

    fn filter_chains(&mut self, listener: &Listener) {
        let named = |c: &FilterChain| (!c.name.is_empty()).then(|| (c.name.clone(), c.name.clone()));
        let all = || listener.filter_chains.iter().chain(&listener.default_filter_chain);
        self.unique(Rule::DuplicateName, all().filter_map(named));
        let matched = |c: &FilterChain| {
            let bytes = c.filter_chain_match.as_ref().map(Message::encode_to_vec).unwrap_or_default();
            (bytes, c.name.clone())
        };
        self.unique(Rule::DuplicateMatch, listener.filter_chains.iter().map(matched));
        for filter in all().flat_map(|c| &c.filters) {
            self.network_filter(filter);
        }
    }

    fn network_filter(&mut self, filter: &Filter) {
        let Some(ConfigType::TypedConfig(any)) = &filter.config_type else { return };
        let decoded = match any.type_url.rsplit('.').next() {
            Some("HttpConnectionManager") => {
                HttpConnectionManager::decode(&*any.value).map(|hcm| self.http_connection_manager(&hcm))
            }
            Some("TcpProxy") => TcpProxy::decode(&*any.value).map(|proxy| self.tcp_proxy(&proxy)),
            _ => Ok(()),
        };
        if let Err(error) = decoded {
            self.find(Rule::Unreadable, format!("filter {}: {error}", filter.name));
        }
    }

    fn http_connection_manager(&mut self, hcm: &HttpConnectionManager) {
        match &hcm.route_specifier {
            Some(RouteSpecifier::RouteConfig(routes)) => self.routes(routes),
            Some(RouteSpecifier::Rds(rds)) => {
                if self.view(ResourceType::Route).get(&rds.route_config_name).is_none() {
                    self.find(Rule::MissingRoutes, &*rds.route_config_name);
                }
            }
            Some(RouteSpecifier::ScopedRoutes(_)) | None => self.find(Rule::MissingRoutes, "(none named)"),
        }
    }

    fn tcp_proxy(&mut self, proxy: &TcpProxy) {
        match &proxy.cluster_specifier {
            Some(tcp_proxy::ClusterSpecifier::Cluster(name)) => self.cluster(name),
            Some(tcp_proxy::ClusterSpecifier::WeightedClusters(weighted)) => {
                weighted.clusters.iter().for_each(|c| self.cluster(&c.name));
                if weighted.clusters.iter().all(|c| c.weight == 0) {
                    self.find(Rule::ZeroWeights, &*proxy.stat_prefix);
                }
            }
            None => {}
        }
    }

    fn routes(&mut self, routes: &RouteConfiguration) {
        let hosts = &routes.virtual_hosts;
        self.unique(Rule::DuplicateName, hosts.iter().map(|h| (&h.name, h.name.clone())));
        // Envoy compares domains without case.
        let domains = hosts.iter().flat_map(|h| h.domains.iter().map(move |d| (d.to_lowercase(), h)));
        self.unique(Rule::DuplicateDomain, domains.map(|(d, h)| (d.clone(), format!("{d} of {}", h.name))));
        hosts.iter().for_each(|host| self.virtual_host(host));
    }

    fn virtual_host(&mut self, host: &VirtualHost) {
        if host.domains.is_empty() || host.domains.iter().any(String::is_empty) {
            self.find(Rule::EmptyDomain, &*host.name);
        }
        self.mirrors(&host.request_mirror_policies);
        for route in &host.routes {
            if let Some(Action::Route(action)) = &route.action {
                self.route_action(action, &host.name);
            }
        }
    }

    fn route_action(&mut self, action: &RouteAction, host: &str) {
        self.mirrors(&action.request_mirror_policies);
        match &action.cluster_specifier {
            Some(ClusterSpecifier::Cluster(name)) => self.cluster(name),
            Some(ClusterSpecifier::WeightedClusters(weighted)) => self.weighted(weighted, host),
            _ => {}
        }
    }

    fn weighted(&mut self, weighted: &WeightedCluster, host: &str) {
        weighted.clusters.iter().filter(|c| c.cluster_header.is_empty()).for_each(|c| self.cluster(&c.name));
        if weighted.clusters.iter().all(|c| c.weight.as_ref().is_none_or(|w| w.value == 0)) {
            self.find(Rule::ZeroWeights, host);
        }
    }

    fn mirrors(&mut self, policies: &[RequestMirrorPolicy]) {
        policies.iter().filter(|p| p.cluster_header.is_empty()).for_each(|p| self.cluster(&p.cluster));
    }

    fn cluster(&mut self, name: &str) {
        if self.view(ResourceType::Cluster).get(name).is_none() {
            self.find(Rule::MissingCluster, name);
        }
    }

    fn secrets(&mut self) {
        for t in ResourceType::ALL {
            let asked: BTreeMap<Name, _> = self.view(t).resources();
            for (name, resource) in asked {
                self.at(t, &name);
                for secret in resource.refs.secrets.iter() {
                    if self.view(ResourceType::Secret).get(secret).is_none() {
                        self.find(Rule::MissingSecret, &**secret);
                    }
                }
            }
        }
    }
}

fn address_text(address: &Address) -> String {
    match &address.address {
        Some(address::Address::SocketAddress(socket)) => {
            let port = match &socket.port_specifier {
                Some(PortSpecifier::PortValue(port)) => port.to_string(),
                Some(PortSpecifier::NamedPort(name)) => name.clone(),
                None => String::new(),
            };
            format!("{:?} {}:{port}", socket.protocol(), socket.address)
        }
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests;
