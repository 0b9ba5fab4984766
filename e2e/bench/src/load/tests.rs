//! The clients against a small server that does what a control plane must, and what it must not.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use clap::Parser;
use envoy_types::pb::{
    envoy::{
        config::{
            cluster::v3::{
                Cluster,
                cluster::{ClusterDiscoveryType, DiscoveryType, EdsClusterConfig},
            },
            core::v3::Node,
            listener::v3::{Filter, FilterChain, Listener, filter::ConfigType},
            route::v3::{RouteConfiguration, Vhds},
        },
        extensions::filters::network::http_connection_manager::v3::{
            HttpConnectionManager, Rds, http_connection_manager::RouteSpecifier,
        },
        service::discovery::v3::{
            DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
            aggregated_discovery_service_server::{AggregatedDiscoveryService, AggregatedDiscoveryServiceServer},
        },
    },
    google::protobuf::Any,
};
use prost::{Message, Name};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream, wrappers::UnboundedReceiverStream};
use tonic::{Request, Status, Streaming};

use super::{
    Args, Fleet,
    config::Config,
    names::Dictionary,
    proxy::{Goal, Proxy},
    wire::{Response, Type},
};

const PATIENCE: Duration = Duration::from_secs(20);

fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

fn cluster(name: &str) -> Any {
    any(&Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig { service_name: String::new(), ..EdsClusterConfig::default() }),
        ..Cluster::default()
    })
}

fn listener() -> Any {
    let rds = Rds { route_config_name: "80".to_owned(), ..Rds::default() };
    let manager = any(&HttpConnectionManager {
        route_specifier: Some(RouteSpecifier::Rds(rds)),
        ..HttpConnectionManager::default()
    });
    let filter = Filter { name: "http".to_owned(), config_type: Some(ConfigType::TypedConfig(manager)) };
    let chain = FilterChain { filters: vec![filter], ..FilterChain::default() };
    any(&Listener { filter_chains: vec![chain.clone()], default_filter_chain: Some(chain), ..Listener::default() })
}

/// Resources by type URL and name, with versions.
type World = BTreeMap<(String, String), (String, Any)>;

fn resource(name: &str, version: &str, body: &Any) -> Resource {
    Resource { name: name.into(), version: version.into(), resource: Some(body.clone()), ..Resource::default() }
}

fn world() -> World {
    let empty = |t: Type| Any { type_url: t.url().to_owned(), value: Vec::new() };
    let all = [
        (Type::Cluster, "a", cluster("a")),
        (Type::Cluster, "b", cluster("b")),
        (Type::Cluster, "none", Any { value: Vec::new(), ..cluster("none") }),
        (Type::Endpoint, "a", empty(Type::Endpoint)),
        (Type::Endpoint, "b", empty(Type::Endpoint)),
        (Type::Listener, "l", listener()),
        (Type::Route, "80", empty(Type::Route)),
    ];
    all.into_iter().map(|(t, name, body)| ((t.url().to_owned(), name.to_owned()), ("1".to_owned(), body))).collect()
}

/// A server that sends what was asked for and is not known.
struct Fake {
    world: watch::Receiver<World>,
    requests: Arc<Mutex<Vec<DeltaDiscoveryRequest>>>,
    streams: Mutex<JoinSet<()>>,
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for Fake {
    type StreamAggregatedResourcesStream = Answers<DiscoveryResponse>;
    type DeltaAggregatedResourcesStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<tonic::Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<tonic::Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (answers, outgoing) = mpsc::unbounded_channel();
        let (mut incoming, mut world, log) = (request.into_inner(), self.world.clone(), self.requests.clone());
        self.streams.lock().unwrap().spawn(async move {
            let (mut names, mut types) = (BTreeSet::new(), BTreeSet::new());
            let mut known = BTreeMap::new();
            loop {
                tokio::select! {
                    request = incoming.next() => {
                        let Some(Ok(request)) = request else { return };
                        log.lock().unwrap().push(request.clone());
                        let url = &request.type_url;
                        types.insert(url.clone());
                        names.extend(request.resource_names_subscribe.iter().map(|n| (url.clone(), n.clone())));
                        let has = request.initial_resource_versions.iter();
                        known.extend(has.map(|(n, v)| ((url.clone(), n.clone()), v.clone())));
                    }
                    changed = world.changed() => if changed.is_err() { return },
                }
                let wanted = |(url, name): &(String, String)| {
                    let wildcard = [Type::Cluster.url(), Type::Listener.url()].contains(&url.as_str());
                    types.contains(url) && (wildcard || names.contains(&(url.clone(), name.clone())))
                };
                for t in Type::ALL {
                    let mut resources = Vec::new();
                    for (key, (version, body)) in world.borrow_and_update().iter() {
                        if key.0 == t.url() && wanted(key) && known.get(key) != Some(version) {
                            known.insert(key.clone(), version.clone());
                            resources.push(resource(&key.1, version, body));
                        }
                    }
                    if !resources.is_empty() {
                        let nonce = format!("nonce of {}", t.url());
                        let type_url = t.url().to_owned();
                        let answer = DeltaDiscoveryResponse { resources, nonce, type_url, ..Default::default() };
                        if answers.send(Ok(answer)).is_err() {
                            return;
                        }
                    }
                }
            }
        });
        Ok(tonic::Response::new(Box::pin(UnboundedReceiverStream::new(outgoing))))
    }
}

struct Lab {
    fleet: Fleet,
    world: watch::Sender<World>,
    requests: Arc<Mutex<Vec<DeltaDiscoveryRequest>>>,
    _server: JoinSet<()>,
}

impl Lab {
    /// A server, and clients that are connected.
    async fn connected(clients: &str) -> Self {
        let args = Args::parse_from(["load", "--clients", clients]);
        let (world, receiver) = watch::channel(world());
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let fake = AggregatedDiscoveryServiceServer::new(Fake {
            world: receiver,
            requests: requests.clone(),
            streams: Mutex::default(),
        });
        let server = tonic::transport::Server::builder().add_service(fake);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { server.serve_with_incoming(TcpListenerStream::new(socket)).await.unwrap() });
        let mut fleet = Fleet::new(&args, address);
        let (start, goal) = (Instant::now(), fleet.aim(&[]));
        fleet.connect();
        let arrivals = fleet.wait(goal, start, PATIENCE).await;
        assert_eq!((arrivals.times.len(), arrivals.waiting), (args.clients, None), "{}", fleet.complaint());
        Self { fleet, world, requests, _server: tasks }
    }

    /// Sends these with a new version, and waits until every client has them.
    async fn change(&mut self, what: &[(Type, &str)]) -> usize {
        let wanted: Vec<_> = what.iter().map(|(t, name)| (*t, (*name).to_owned())).collect();
        let (start, goal) = (Instant::now(), self.fleet.aim(&wanted));
        self.world.send_modify(|world| {
            for (t, name) in what {
                let entry = world.get_mut(&(t.url().to_owned(), (*name).to_owned())).unwrap();
                entry.0.push('+');
            }
        });
        self.fleet.wait(goal, start, PATIENCE).await.times.len()
    }

    async fn until(&self, what: impl Fn(&[DeltaDiscoveryRequest]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !what(&self.requests.lock().unwrap()) {
            assert!(Instant::now() < deadline, "{:#?}", self.requests.lock().unwrap());
            tokio::task::yield_now().await;
        }
    }
}

/// A request in short: the type's last word, what it subscribes, whether it acknowledges.
fn brief(request: &DeltaDiscoveryRequest) -> String {
    let kind = request.type_url.rsplit('.').next().unwrap();
    let names = request.resource_names_subscribe.join(",");
    let ack = if request.response_nonce.is_empty() { "" } else { " ack" };
    format!("{kind} {names}{ack}")
}

#[tokio::test]
async fn a_client_asks_as_envoy_does() {
    let lab = Lab::connected("1").await;
    lab.until(|requests| requests.len() == 8).await;
    let requests = lab.requests.lock().unwrap();
    assert_eq!(
        requests.iter().map(brief).collect::<Vec<_>>(),
        [
            "Cluster ",
            "ClusterLoadAssignment a,b",
            "Cluster  ack",
            "Listener ",
            "ClusterLoadAssignment  ack",
            "RouteConfiguration 80",
            "Listener  ack",
            "RouteConfiguration  ack"
        ]
    );
    let node = requests[0].node.as_ref().unwrap();
    assert_eq!(node.id, "sidecar~10.0.0.1~pod-0.ns-0~ns-0.svc.cluster.local");
    assert!(requests[1..].iter().all(|request| request.node.is_none()));
}

#[tokio::test]
async fn changes_are_counted_and_a_reconnect_costs_nothing() {
    let mut lab = Lab::connected("3").await;
    assert_eq!(lab.fleet.counts().resources(), 3 * 7);
    let before = lab.fleet.counts();
    assert_eq!(lab.change(&[(Type::Endpoint, "b"), (Type::Route, "80")]).await, 3);
    let counts = lab.fleet.counts().since(before);
    assert_eq!((counts.endpoints, counts.routes, counts.resources(), counts.broken), (3, 3, 6, 0));
    assert!(counts.bytes > 0);

    lab.requests.lock().unwrap().clear();
    let before = lab.fleet.counts();
    lab.fleet.reconnect();
    let says_what_it_has = |r: &DeltaDiscoveryRequest| !r.initial_resource_versions.is_empty();
    lab.until(|requests| requests.iter().filter(|r| says_what_it_has(r)).count() == 3 * 4).await;
    // Of what is changed now, the clients have nothing newer from the reconnect than the change.
    assert_eq!(lab.change(&[(Type::Endpoint, "a")]).await, 3);
    assert_eq!(lab.fleet.counts().since(before).resources(), 3);
    let requests = lab.requests.lock().unwrap();
    let endpoints = requests.iter().find(|r| r.type_url == Type::Endpoint.url() && says_what_it_has(r)).unwrap();
    assert_eq!(endpoints.initial_resource_versions["b"], "1+");
    assert_eq!(endpoints.resource_names_subscribe, ["a", "b"]);
}

/// Gives a client a response; returns what it says, in short.
fn give(
    proxy: &mut Proxy,
    dictionary: &mut Dictionary,
    t: Type,
    resources: &[(&str, Any)],
    removed: &[&str],
) -> Vec<String> {
    let message = DeltaDiscoveryResponse {
        type_url: t.url().to_owned(),
        nonce: "n".to_owned(),
        resources: resources.iter().map(|(name, body)| resource(name, "1", body)).collect(),
        removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
        ..DeltaDiscoveryResponse::default()
    };
    let bytes = message.encode_to_vec().into();
    proxy.receive(&Response::parse(&bytes).unwrap(), dictionary).unwrap().iter().map(brief).collect()
}

#[test]
fn a_cluster_that_is_sent_again_needs_its_endpoints_again() {
    let (mut proxy, mut all) = (Proxy::new(Node::default()), Dictionary::default());
    assert_eq!(proxy.open(&all).len(), 1);
    let assignment = Any::default();
    give(&mut proxy, &mut all, Type::Cluster, &[("a", cluster("a"))], &[]);
    assert_eq!(
        give(&mut proxy, &mut all, Type::Endpoint, &[("a", assignment.clone())], &[]),
        ["Listener ", "ClusterLoadAssignment  ack"]
    );
    assert!(!proxy.is_content());
    give(&mut proxy, &mut all, Type::Listener, &[], &[]);
    assert!(proxy.is_content());
    assert_eq!(give(&mut proxy, &mut all, Type::Cluster, &[("a", cluster("a"))], &[]), ["Cluster  ack"]);
    assert!(!proxy.is_content());
    give(&mut proxy, &mut all, Type::Endpoint, &[("a", assignment)], &[]);
    assert!(proxy.is_content());
    let goal = Goal { number: 1, wanted: vec![(Type::Cluster, all.names.id("a"))] };
    proxy.pursue(&goal);
    assert!(!proxy.is_content());
    let removed = give(&mut proxy, &mut all, Type::Cluster, &[], &["a"]);
    assert_eq!(removed, ["ClusterLoadAssignment ", "Cluster  ack"]);
    assert_eq!((proxy.count(Type::Cluster), proxy.count(Type::Endpoint)), (0, 0));
}

#[test]
fn virtual_hosts_are_asked_for_once_and_awaited_for_each_configuration() {
    let (mut proxy, mut all) = (Proxy::new(Node::default()), Dictionary::default());
    let configs =
        ["80", "81"].map(|name| (name, any(&RouteConfiguration { vhds: Some(Vhds::default()), ..Default::default() })));
    proxy.open(&all);
    give(&mut proxy, &mut all, Type::Cluster, &[], &[]);
    give(&mut proxy, &mut all, Type::Listener, &[], &[]);
    let said = give(&mut proxy, &mut all, Type::Route, &configs[..1], &[]);
    assert_eq!(said, ["VirtualHost ", "RouteConfiguration  ack"]);
    assert!(!proxy.is_content());
    give(&mut proxy, &mut all, Type::Host, &[("80/a", Any::default())], &[]);
    assert!(proxy.is_content());
    assert_eq!(give(&mut proxy, &mut all, Type::Route, &configs, &[]), ["RouteConfiguration  ack"]);
    assert!(!proxy.is_content());
    give(&mut proxy, &mut all, Type::Host, &[("81/a", Any::default()), ("81/b", Any::default())], &["80/a"]);
    assert!(proxy.is_content());
    assert_eq!(proxy.count(Type::Host), 2);
    let hosts = proxy.open(&all);
    assert!(hosts.iter().any(|r| r.type_url == Type::Host.url() && r.initial_resource_versions.len() == 2));
}

#[test]
fn broken_bytes_are_no_response() {
    let good = DeltaDiscoveryResponse {
        type_url: Type::Cluster.url().to_owned(),
        resources: vec![resource("a", "1", &cluster("a"))],
        ..DeltaDiscoveryResponse::default()
    };
    let bytes = good.encode_to_vec();
    assert!((1..bytes.len()).any(|cut| Response::parse(&bytes[..cut].to_vec().into()).is_err()));
}

#[tokio::test]
async fn what_is_written_is_what_the_server_reads() {
    let args = Args::parse_from(["load", "--services", "3", "--namespaces", "2", "--pods", "--virtual-services", "1"]);
    let mut config = Config::create(&args).await.unwrap();
    config.change_endpoints(1..2).await.unwrap();
    config.change_virtual_service(0).await.unwrap();
    config.add_service(3).await.unwrap();
    let [_, dir] = config.server_args();
    let dir = std::path::Path::new(&dir);
    let mut kinds = BTreeMap::<String, usize>::new();
    let mut read = |path: std::path::PathBuf| {
        for text in std::fs::read_to_string(path).unwrap().split("---\n").filter(|text| !text.is_empty()) {
            let (object, unknown) = mizzen::api::decode(serde_yaml_ng::from_str(text).unwrap()).unwrap();
            assert_eq!(unknown, Vec::<String>::new());
            *kinds.entry(object.kind().to_string()).or_default() += 1;
        }
    };
    for namespace in std::fs::read_dir(dir).unwrap() {
        std::fs::read_dir(namespace.unwrap().path()).unwrap().for_each(|file| read(file.unwrap().path()));
    }
    let expected = [("EndpointSlice", 4), ("Namespace", 2), ("Pod", 15), ("Service", 4), ("VirtualService", 1)];
    assert_eq!(kinds, expected.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect());
    assert_eq!(config.cluster(3), "outbound|80||svc-3.ns-1.svc.cluster.local");
    assert!(std::fs::read_to_string(dir.join("ns-1/svc-1.slice.yaml")).unwrap().contains("[10.160.0.1]"));
}
