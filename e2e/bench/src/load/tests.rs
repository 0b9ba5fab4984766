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
    Args,
    churn::{Mix, Step},
    config::Config,
    crew::{Crew, Hand},
    fleet::{Setup, Wanted},
    names::Dictionary,
    order,
    population::{Population, Who},
    proxy::{Goal, Proxy},
    tally::Counts,
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
    crew: Crew,
    world: watch::Sender<World>,
    requests: Arc<Mutex<Vec<DeltaDiscoveryRequest>>>,
    _tasks: JoinSet<()>,
}

impl Lab {
    /// A server, and clients that are connected, in two processes.
    async fn connected(clients: usize) -> Self {
        let args = Args::parse_from(["load"]);
        let (world, receiver) = watch::channel(world());
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = socket.local_addr().unwrap();
        let fake = AggregatedDiscoveryServiceServer::new(Fake {
            world: receiver,
            requests: requests.clone(),
            streams: Mutex::default(),
        });
        let server = tonic::transport::Server::builder().add_service(fake);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { server.serve_with_incoming(TcpListenerStream::new(socket)).await.unwrap() });
        let mut process = || {
            let ((here, there), (answers, back)) = (tokio::io::duplex(1 << 10), tokio::io::duplex(1 << 10));
            tasks.spawn(async move { order::obey(tokio::io::BufReader::new(there), answers).await.unwrap() });
            Hand::new(here, back)
        };
        let hands = vec![process(), process()];
        let setup = Setup { target, population: Population::new(&args), clients: 0..clients };
        let mut crew = Crew::of(hands, setup).await.unwrap();
        crew.join(0..clients, true).await.unwrap();
        let arrivals = crew.wait(Instant::now(), PATIENCE).await.unwrap();
        assert_eq!((arrivals.times.len(), arrivals.waiting), (clients, None), "{}", arrivals.complaint);
        Self { crew, world, requests, _tasks: tasks }
    }

    async fn counts(&mut self) -> Counts {
        self.crew.look().await.unwrap().counts
    }

    /// Sends these with a new version, and waits until those have them; how many these are.
    async fn change(&mut self, by: Who, what: &[(Type, &str)]) -> usize {
        let wanted = |(kind, name): &(Type, &str)| Wanted { by, kind: *kind, name: (*name).to_owned(), gone: false };
        self.crew.aim(what.iter().map(wanted).collect()).await.unwrap();
        let start = Instant::now();
        self.world.send_modify(|world| {
            for (t, name) in what {
                let entry = world.get_mut(&(t.url().to_owned(), (*name).to_owned())).unwrap();
                entry.0.push('+');
            }
        });
        self.crew.wait(start, PATIENCE).await.unwrap().times.len()
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
    let lab = Lab::connected(1).await;
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
    let mut lab = Lab::connected(3).await;
    assert_eq!(lab.counts().await.resources(), 3 * 7);
    assert_eq!(lab.crew.encodings().await.unwrap(), [3, 2, 1, 1, 0, 0]);
    let before = lab.counts().await;
    assert_eq!(lab.change(Who::Everyone, &[(Type::Endpoint, "b"), (Type::Route, "80")]).await, 3);
    let counts = lab.counts().await.since(before);
    assert_eq!((counts.endpoints, counts.routes, counts.resources(), counts.broken), (3, 3, 6, 0));
    assert!(counts.bytes > 0);
    assert_eq!(counts.strays, 0);

    lab.requests.lock().unwrap().clear();
    let before = lab.counts().await;
    lab.crew.reconnect().await.unwrap();
    let says_what_it_has = |r: &DeltaDiscoveryRequest| !r.initial_resource_versions.is_empty();
    lab.until(|requests| requests.iter().filter(|r| says_what_it_has(r)).count() == 3 * 4).await;
    // Of what is changed now, the clients have nothing newer from the reconnect than the change.
    assert_eq!(lab.change(Who::Everyone, &[(Type::Endpoint, "a")]).await, 3);
    assert_eq!(lab.counts().await.since(before).resources(), 3);
    let requests = lab.requests.lock().unwrap();
    let endpoints = requests.iter().find(|r| r.type_url == Type::Endpoint.url() && says_what_it_has(r)).unwrap();
    assert_eq!(endpoints.initial_resource_versions["b"], "1+");
    assert_eq!(endpoints.resource_names_subscribe, ["a", "b"]);
}

#[tokio::test]
async fn what_comes_to_those_whom_it_does_not_concern_is_counted() {
    let mut lab = Lab::connected(3).await;
    // Each of the first clients has a namespace of its own.
    assert_eq!(lab.change(Who::Namespace(1), &[(Type::Endpoint, "a")]).await, 1);
    let deadline = Instant::now() + PATIENCE;
    while lab.counts().await.strays < 2 {
        assert!(Instant::now() < deadline, "{:?}", lab.counts().await);
    }
    assert_eq!(lab.counts().await.strays, 2);
}

#[tokio::test]
async fn clients_that_come_back_get_everything_and_equal_clients_have_equal_digests() {
    let mut lab = Lab::connected(4).await;
    let before = lab.counts().await;
    lab.crew.leave(1..3).await.unwrap();
    let left = lab.crew.digests().await.unwrap();
    assert_eq!(left.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [0, 3]);
    lab.crew.join(0..4, true).await.unwrap();
    assert_eq!(lab.crew.look().await.unwrap().concerned, 4);
    assert_eq!(lab.crew.wait(Instant::now(), PATIENCE).await.unwrap().waiting, None);
    assert_eq!(lab.counts().await.since(before).resources(), 2 * 7);
    let digests = lab.crew.digests().await.unwrap();
    assert_eq!(digests.len(), 4);
    assert!(digests.iter().all(|(_, digest)| *digest != 0 && *digest == left[0].1), "{digests:?}");
}

#[test]
fn profiles_tell_clients_apart() {
    let population = |arguments: &[&str]| Population::new(&Args::parse_from([&["load"], arguments].concat()));
    let classes = |population: &Population| (0..1000).map(|i| population.resident(i).class()).collect::<BTreeSet<_>>();
    assert_eq!(classes(&population(&[])).len(), 10);
    let diverse = population(&["--profile", "diverse"]);
    // Five clients of each workload: three zones, and the second version in two of them.
    assert_eq!(classes(&diverse).len(), 1000);
    let first = diverse.resident(0);
    assert!(diverse.narrowed().contains(&0));
    for (who, is) in [
        (Who::Everyone, true),
        (Who::Workload(0), true),
        (Who::Workload(1), false),
        (Who::Namespace(0), true),
        (Who::Seeing(0), true),
        (Who::Seeing(1), false),
    ] {
        assert_eq!(diverse.is(&first, who), is, "{who:?}");
    }
    assert!(diverse.is(&diverse.resident(199), Who::Seeing(1)));
    assert!(population(&[]).narrowed().is_empty());
}

#[test]
fn a_mix_of_changes_can_be_undone() {
    let mut mix = Mix::new(&Args::parse_from(["load", "--services", "40", "--clients", "20", "--soak", "1s"]));
    let (mut services, mut rules, mut clients) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut others = [const { BTreeSet::new() }; 4];
    let steps: Vec<_> = (0..5_800).map(|_| mix.next()).collect();
    let undone = mix.undo();
    for step in steps.iter().chain(&undone) {
        match *step {
            // The last one is left alone, and there are four VirtualServices.
            Step::Endpoint(service) => assert!(service < 39),
            Step::VirtualService(service) => assert!(service < 4),
            Step::Rule(service) => _ = rules.insert(service),
            Step::Unrule(service) => assert!(rules.remove(&service)),
            Step::Add(service) => assert!(service >= 40 && services.insert(service)),
            Step::Remove(service) => assert!(services.remove(&service)),
            Step::Leave(client) => assert!(client < 2 && clients.insert(client)),
            Step::Join(client) => assert!(clients.remove(&client)),
            // The last service is of namespace 9.
            Step::Narrow(namespace, without) => {
                assert!(without != namespace && without < 9);
                others[0].insert(namespace);
            }
            Step::Widen(namespace) => assert!(others[0].remove(&namespace)),
            Step::Filter(namespace) => _ = others[1].insert(namespace),
            Step::Unfilter(namespace) => assert!(others[1].remove(&namespace)),
            Step::Secure(service) => _ = others[2].insert(service),
            Step::Unsecure(service) => assert!(others[2].remove(&service)),
            Step::Open(namespace) => assert!(others[3].insert(namespace)),
            Step::Close(namespace) => assert!(others[3].remove(&namespace)),
        }
    }
    assert!(services.is_empty() && rules.is_empty() && clients.is_empty() && others.iter().all(BTreeSet::is_empty));
    assert_eq!(mix.undo(), []);
    let endpoints = steps.iter().filter(|step| matches!(step, Step::Endpoint(_))).count();
    assert!((2_250..2_750).contains(&endpoints), "{endpoints}");
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
    proxy.pursue(&Goal { sent: vec![(Type::Cluster, all.names.id("a"))], gone: Vec::new() });
    assert!(!proxy.is_content());
    let gone = |all: &mut Dictionary| Goal { sent: Vec::new(), gone: vec![(Type::Cluster, all.names.id("a"))] };
    proxy.pursue(&gone(&mut all));
    assert!(!proxy.is_content());
    let removed = give(&mut proxy, &mut all, Type::Cluster, &[], &["a"]);
    assert_eq!(removed, ["ClusterLoadAssignment ", "Cluster  ack"]);
    let count = |t| proxy.versions(t).count();
    assert_eq!((count(Type::Cluster), count(Type::Endpoint)), (0, 0));
    assert!(proxy.is_content());
    proxy.pursue(&gone(&mut all));
    assert!(proxy.is_content(), "what it does not have is gone");
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
    assert_eq!(proxy.versions(Type::Host).count(), 2);
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
    let args = ["load", "--services", "13", "--namespaces", "2", "--pods", "--virtual-services", "1"];
    let args = Args::parse_from(args.into_iter().chain(["--profile", "diverse", "--workloads", "10"]));
    let mut config = Config::create(&args).await.unwrap();
    config.change_endpoints(1..2).await.unwrap();
    config.change_virtual_service(0).await.unwrap();
    config.add_service(13).await.unwrap();
    config.add_service(14).await.unwrap();
    config.remove_service(14).await.unwrap();
    config.change_destination_rule(3).await.unwrap();
    config.set_sidecar(Who::Namespace(1), &[config.service_entry(4)]).await.unwrap();
    config.change_envoy_filter(Who::Workload(7)).await.unwrap();
    config.change_mesh().await.unwrap();
    let plain = contents(&config);
    config.rewrite().await.unwrap();
    assert!(contents(&config) == plain);
    config.reword().await.unwrap();
    assert_ne!(contents(&config), plain);
    config.reword().await.unwrap();
    assert!(contents(&config) == plain);
    config.annotate().await.unwrap();
    let texts = contents(&config);
    let mut kinds = BTreeMap::<String, usize>::new();
    let mut annotated = BTreeSet::new();
    for text in texts.values().flat_map(|text| text.split("---\n").filter(|text| !text.is_empty())) {
        let (object, unknown) = mizzen::api::decode(serde_yaml_ng::from_str(text).unwrap()).unwrap();
        assert_eq!(unknown, Vec::<String>::new());
        *kinds.entry(object.kind().to_string()).or_default() += 1;
        if text.contains("annotations: {revision:") {
            annotated.insert(object.kind().to_string());
        }
    }
    let expected = [
        ("ConfigMap", 1),
        // Of one workload, of the last of the services, and the one that was changed.
        ("DestinationRule", 3),
        ("EndpointSlice", 14),
        ("EnvoyFilter", 2),
        ("Namespace", 3),
        ("Node", 3),
        ("Pod", 65),
        ("Service", 14),
        ("Sidecar", 2),
        ("VirtualService", 1),
    ];
    assert_eq!(kinds, expected.into_iter().map(|(kind, count)| (kind.to_owned(), count)).collect());
    assert_eq!(annotated, kinds.into_keys().collect());
    assert_eq!(config.cluster(3), "outbound|80||svc-3.ns-1.svc.cluster.local");
    assert!(texts["ns-1/svc-1.slice.yaml"].contains("[10.160.0.1]"));
    assert!(!texts.contains_key("ns-0/svc-14.service.yaml"));
}

/// The files by path.
fn contents(config: &Config) -> BTreeMap<String, String> {
    let [_, dir] = config.server_args();
    let dir = std::path::Path::new(&dir);
    let mut texts = BTreeMap::new();
    for folder in std::fs::read_dir(dir).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
            texts.insert(name, std::fs::read_to_string(path).unwrap());
        }
    }
    texts
}
