//! What tests of translation share.

use std::{net::IpAddr, sync::Arc};

use crate::model::{
    Age, Endpoint, Labels, Locality, ObjectRef, Protocol, Service, ServicePort,
    service::{EndpointAddress, Health, Registry, Resolution},
    workload::parse_locality,
};

/// A Kubernetes Service `web` in the namespace `shop`, with an HTTP port 80.
pub(crate) fn service() -> Service {
    Service {
        host: "web.shop.svc.cluster.local".into(),
        namespace: "shop".into(),
        name: "web".into(),
        object: ObjectRef::new("Service", "shop", "web"),
        age: Age { created: 1, name: "web".into(), namespace: "shop".into() },
        registry: Registry::Kubernetes,
        resolution: Resolution::ClientSideLb,
        ports: [port(Protocol::Http)].into(),
        vips: [IpAddr::from([10, 96, 0, 1])].into(),
        cidrs: Arc::default(),
        primary_ipv6: false,
        visibility: None,
        mesh_external: false,
        headless: false,
        node_local: false,
        traffic_distribution: None,
        external_name: None,
        subject_alt_names: Arc::default(),
        service_accounts: Vec::new(),
        labels: Arc::default(),
        selector: None,
    }
}

/// Port 80, named `p`.
pub(crate) fn port(protocol: Protocol) -> ServicePort {
    ServicePort { name: "p".into(), number: 80, protocol, target: Some(8080), target_name: "".into() }
}

/// A healthy member on port 8080.
pub(crate) fn endpoint(address: &str, place: &str) -> Endpoint {
    let address = address.parse().map_or_else(|_| EndpointAddress::Hostname(address.into()), EndpointAddress::Ip);
    Endpoint {
        address,
        port: 8080,
        port_name: "p".into(),
        health: Health::Healthy,
        locality: if place.is_empty() { Locality::default() } else { parse_locality(place) },
        labels: Arc::default(),
        network: "".into(),
        cluster: "Kubernetes".into(),
        node: "".into(),
        tls_istio: false,
        identity: "".into(),
        weight: 1,
        workload: "".into(),
    }
}

/// Labels of pairs.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}
