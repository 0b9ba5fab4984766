//! Cold translation, pure, on one thread: from the model to encoded resources, and comparison of views.
//!
//! `cargo bench -p mizzen-bench --bench translate`

use std::{collections::BTreeSet, hint::black_box, net::IpAddr, sync::Arc};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mizzen::{
    model::{
        Age, EffectivePolicy, Endpoint, Gateway, IpFamilies, Labels, Locality, MeshConfig, ObjectRef, Protocol,
        SecretState, Server, ServerTls, ServerTlsMode, Service, ServicePort,
        gateway::{Certificates, ServerHost},
        peer_authentication::NamespacePeers,
        service::{EndpointAddress, Health, Registry, Resolution},
    },
    snapshot::{Encoder, Name, PartMap, PartState, Refs, ResourceType, View, canonical_bytes},
    translate::{
        client::ClientFacts,
        clusters::{ClusterInput, outbound_cluster},
        endpoints::{EndpointInput, load_assignment, resource},
        listeners::gateway::{GatewayInput, PortTranslation, gateway_listener, merge_servers},
    },
};

const SIZES: [u32; 3] = [100, 1_000, 10_000];

/// Members of each service.
const ENDPOINTS: u32 = 5;

fn port(protocol: Protocol) -> ServicePort {
    ServicePort { name: "http".into(), number: 80, protocol, target: Some(8080), target_name: "".into() }
}

fn service(index: u32, protocol: Protocol) -> Service {
    let name: Arc<str> = format!("svc-{index}").into();
    Service {
        host: format!("{name}.ns.svc.cluster.local").into(),
        namespace: "ns".into(),
        object: ObjectRef::new("Service", "ns", &name),
        age: Age { created: 0, name: name.clone(), namespace: "ns".into() },
        name,
        registry: Registry::Kubernetes,
        resolution: Resolution::ClientSideLb,
        ports: Arc::new([port(protocol)]),
        vips: Arc::new([address(index)]),
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

fn address(index: u32) -> IpAddr {
    let [_, a, b, c] = (index + 1).to_be_bytes();
    [10, a, b, c].into()
}

fn members(service: u32) -> Vec<Arc<Endpoint>> {
    let member = |index: u32| Endpoint {
        address: EndpointAddress::Ip(address(service * ENDPOINTS + index)),
        port: 8080,
        port_name: "http".into(),
        health: Health::Healthy,
        locality: Locality { region: "r".into(), zone: format!("z{}", index % 3).into(), subzone: "".into() },
        labels: Arc::new(Labels::from([("app".to_owned(), format!("svc-{service}"))])),
        network: "".into(),
        cluster: "Kubernetes".into(),
        node: "".into(),
        tls_istio: true,
        identity: "spiffe://cluster.local/ns/ns/sa/default".into(),
        weight: 1,
        workload: format!("svc-{service};ns;svc-{service};;Kubernetes").into(),
    };
    (0..ENDPOINTS).map(|index| Arc::new(member(index))).collect()
}

/// What all inputs share.
#[derive(Default)]
struct Surroundings {
    mesh: MeshConfig,
    policy: EffectivePolicy,
    client: ClientFacts,
    identities: BTreeSet<Arc<str>>,
    peers: NamespacePeers,
}

impl Surroundings {
    fn cluster<'a>(&'a self, service: &'a Service) -> ClusterInput<'a> {
        ClusterInput {
            service,
            port: &service.ports[0],
            subset: None,
            rule: None,
            policy: &self.policy,
            mesh: &self.mesh,
            members: &[],
            identities: &self.identities,
            peers: &self.peers,
            client: &self.client,
        }
    }

    fn endpoints<'a>(&'a self, service: &'a Service, members: &'a [Arc<Endpoint>]) -> EndpointInput<'a> {
        EndpointInput {
            service,
            port: &service.ports[0],
            subset: None,
            policy: &self.policy,
            mesh: &self.mesh,
            members,
            peers: &self.peers,
            client: &self.client,
        }
    }
}

fn clusters(c: &mut Criterion) {
    let around = Surroundings::default();
    for (label, protocol) in [("http", Protocol::Http), ("tcp", Protocol::Tcp), ("sniffed", Protocol::Auto)] {
        let mut group = c.benchmark_group(format!("clusters, {label}"));
        for size in SIZES {
            let services: Vec<Service> = (0..size).map(|index| service(index, protocol)).collect();
            group.throughput(Throughput::Elements(size.into()));
            group.bench_with_input(BenchmarkId::from_parameter(size), &services, |b, services| {
                b.iter(|| {
                    let made = |s| outbound_cluster(&around.cluster(s)).map(|cluster| black_box(cluster.resource()));
                    services.iter().filter_map(made).count()
                });
            });
        }
    }
}

fn assignments(c: &mut Criterion) {
    let around = Surroundings::default();
    let mut group = c.benchmark_group("assignments of 5 endpoints");
    for size in SIZES {
        let services: Vec<_> = (0..size).map(|index| (service(index, Protocol::Http), members(index))).collect();
        group.throughput(Throughput::Elements(size.into()));
        group.bench_with_input(BenchmarkId::from_parameter(size), &services, |b, services| {
            b.iter(|| {
                for (service, members) in services {
                    black_box(resource(&around.endpoints(service, members)));
                }
            });
        });
    }
}

fn encoding(c: &mut Criterion) {
    let around = Surroundings::default();
    let mut group = c.benchmark_group("canonical encoding of an assignment");
    for size in [5, 100, 1_000] {
        let all: Vec<_> = (0..size).flat_map(members).take(size as usize).collect();
        let service = service(0, Protocol::Http);
        let message = load_assignment(&around.endpoints(&service, &all));
        group.throughput(Throughput::Elements(size.into()));
        group.bench_with_input(BenchmarkId::from_parameter(size), &message, |b, message| {
            b.iter(|| canonical_bytes(message));
        });
    }
}

/// A Gateway with an HTTPS server; `index` makes its host.
fn gateway(index: u32) -> Arc<Gateway> {
    let name: Arc<str> = format!("gw-{index}").into();
    let certificates = Certificates::Credentials(vec![name.clone()]);
    let server = Server {
        index: 0,
        name: "".into(),
        port: 443,
        port_name: format!("https-{index}").into(),
        protocol: Protocol::Https,
        bind: None,
        hosts: vec![ServerHost { namespace: None, host: format!("host-{index}.example.com").into() }],
        https_redirect: false,
        tls: Some(ServerTls { certificates, ..ServerTls::of_mode(ServerTlsMode::Simple) }),
    };
    Arc::new(Gateway {
        object: ObjectRef::new("Gateway", "ns", &name),
        age: Age { created: 0, name: name.clone(), namespace: "ns".into() },
        namespace: "ns".into(),
        name,
        selector: None,
        servers: vec![server],
    })
}

fn gateways(c: &mut Criterion) {
    let mesh = MeshConfig::default();
    let input = GatewayInput {
        mesh: &mesh,
        families: IpFamilies::V4,
        deny_all: false,
        secret_state: &|_| SecretState::Present,
        tcp_routes: &|_| Vec::new(),
    };
    let mut group = c.benchmark_group("listener of Gateways with TLS");
    group.sample_size(10);
    for size in SIZES {
        let gateways: Vec<_> = (0..size).map(gateway).collect();
        group.throughput(Throughput::Elements(size.into()));
        group.bench_with_input(BenchmarkId::from_parameter(size), &gateways, |b, gateways| {
            b.iter(|| {
                let merged = merge_servers(gateways, &PortTranslation::default(), false, IpFamilies::V4);
                for listener in &merged.listeners {
                    black_box(gateway_listener(listener, &input));
                }
            });
        });
    }
}

fn views(c: &mut Criterion) {
    let mut group = c.benchmark_group("one change of a view");
    for size in SIZES {
        let slot = |body: String| {
            Some(Arc::new(Encoder::bytes(ResourceType::Endpoint, "n".into(), body.into(), Refs::default())))
        };
        let name = |index: u32| Name::from(format!("outbound|80||svc-{index}.ns.svc.cluster.local"));
        let map: PartMap = (0..size).map(|index| (name(index), slot(index.to_string()))).collect();
        let changed = map.update(name(size / 2), slot("changed".to_owned()));
        let view = |map: PartMap| View::new(vec![PartState { id: 1, map }]);
        let (old, new) = (view(map), view(changed));
        assert_eq!(new.changed_since(&old).len(), 1);
        group.bench_function(BenchmarkId::from_parameter(size), |b| b.iter(|| new.changed_since(&old)));
    }
}

criterion_group!(benches, clusters, assignments, encoding, gateways, views);
criterion_main!(benches);
