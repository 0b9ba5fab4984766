//! Real gRPC over real sockets, with the clients that the protocol's own definitions generate.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use envoy_types::pb::{
    envoy::{
        config::core::v3::Node,
        service::{
            discovery::v3::{
                DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest,
                aggregated_discovery_service_client::AggregatedDiscoveryServiceClient,
            },
            status::v3::ClientConfig,
        },
    },
    google::{protobuf::value::Kind, rpc::Status as RpcStatus},
};
use futures::{FutureExt, StreamExt, future::BoxFuture};
use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Code, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use super::*;
use crate::{
    model::Proxy,
    snapshot::{ResourceType, Snapshot},
    xds::{
        AttachError, Attachment, Permission, Push, Verdict,
        auth::Scope,
        listen::{Socket, bind},
        serve::{Transport, serve},
        testing,
        tls::{self, Demands},
    },
};

mod crowd;
mod keepalive;
mod reconnect;

const DEADLINE: Duration = Duration::from_secs(20);

/// The rest of the house.
struct House {
    snapshots: watch::Sender<Arc<Snapshot>>,
    ready: bool,
    /// Whether it is known that peers may have the secrets of their namespace.
    permitted: AtomicBool,
    verdicts: Mutex<Vec<Verdict>>,
}

impl Proxies for House {
    fn attach(&self, _: Arc<Proxy>) -> BoxFuture<'_, Result<Attachment, AttachError>> {
        let attached = match self.ready {
            true => Ok(Attachment { snapshots: self.snapshots.subscribe(), guard: Box::new(()) }),
            false => Err(AttachError::NotReady("services".to_owned())),
        };
        async { attached }.boxed()
    }
}

impl Feedback for House {
    fn verdict(&self, verdict: Verdict) {
        self.verdicts.lock().expect("not poisoned").push(verdict);
    }

    fn pushed(&self, _: &Push) {}
}

impl SecretAccess for House {
    fn may_read(&self, peer: &Peer, proxy: &Proxy, name: &str) -> Permission {
        match !peer.identities.is_empty() && name.contains(&*proxy.namespace) {
            true if self.permitted.load(Ordering::Relaxed) => Permission::Granted,
            true => Permission::Unknown,
            false => Permission::Denied,
        }
    }
}

impl DebugSource for House {
    fn page<'a>(&'a self, page: &'a str, _: &'a Scope) -> BoxFuture<'a, Option<Bytes>> {
        async move { (page == "list").then(|| Bytes::from_static(b"[]")) }.boxed()
    }

    fn identifier(&self) -> String {
        r#"{"Component":"istiod"}"#.to_owned()
    }
}

/// A server under test; its tasks end with it.
struct Rig {
    house: Arc<House>,
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: JoinSet<()>,
}

impl Rig {
    async fn start(snapshot: &str) -> Self {
        Self::with(snapshot, true, None).await
    }

    async fn with(snapshot: &str, ready: bool, tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        Self::serving(snapshot, ready, tls, Transport::default()).await
    }

    async fn serving(
        snapshot: &str,
        ready: bool,
        tls: Option<Arc<rustls::ServerConfig>>,
        transport: Transport,
    ) -> Self {
        let snapshots = watch::Sender::new(Arc::new(testing::snapshot(snapshot)));
        let house = Arc::new(House { snapshots, ready, permitted: AtomicBool::new(false), verdicts: Mutex::default() });
        let shared = Arc::new(Shared {
            proxies: Arc::clone(&house) as _,
            feedback: Arc::clone(&house) as _,
            secrets: Arc::clone(&house) as _,
            tokens: None,
            debug: Arc::clone(&house) as _,
            access: Access::default(),
            settings: Settings::default(),
            shutdown: CancellationToken::new(),
            clients: Clients::default(),
        });
        let listener = bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a socket");
        let socket = match tls {
            None => Socket::of_listener(listener),
            Some(config) => Socket::of_tls_listener(listener, watch::Sender::new(config).subscribe()),
        };
        let address = socket.local_addr().expect("an address");
        let services = services(Arc::clone(&shared)).await;
        let (shutdown, mut tasks) = (shared.shutdown.clone(), JoinSet::new());
        tasks.spawn(async move {
            serve(socket, services, &transport, shutdown).await;
        });
        Self { house, shared, address, tasks }
    }

    fn publish(&self, snapshot: &str) {
        self.house.snapshots.send_replace(Arc::new(testing::snapshot(snapshot)));
    }

    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).expect("a uri");
        endpoint.connect().await.expect("connects")
    }

    async fn delta(&self) -> Delta {
        Delta::open(self.channel().await).await
    }
}

/// A delta client.
struct Delta {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Delta {
    async fn open(channel: Channel) -> Self {
        let (requests, stream) = mpsc::channel(64);
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let responses = client.delta_aggregated_resources(ReceiverStream::new(stream)).await.expect("opens");
        Self { requests, responses: responses.into_inner() }
    }

    async fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).await.expect("the stream is open");
    }

    async fn subscribe(&self, t: ResourceType, names: &[&str]) {
        let request = DeltaDiscoveryRequest {
            node: Some(testing::node("shop", "web")),
            type_url: t.type_url().to_owned(),
            resource_names_subscribe: names.iter().map(|n| (*n).to_owned()).collect(),
            ..Default::default()
        };
        self.send(request).await;
    }

    async fn answer(&self, response: &DeltaDiscoveryResponse, refused: Option<&str>) {
        let request = DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: refused.map(|m| RpcStatus { message: m.to_owned(), ..Default::default() }),
            ..Default::default()
        };
        self.send(request).await;
    }

    async fn next(&mut self) -> DeltaDiscoveryResponse {
        self.result().await.expect("no error")
    }

    async fn result(&mut self) -> Result<DeltaDiscoveryResponse, Status> {
        let next = tokio::time::timeout(DEADLINE, self.responses.message()).await.expect("in time");
        next.transpose().expect("not the end")
    }

    /// The next response in short: names and bodies.
    async fn take(&mut self) -> String {
        let response = self.next().await;
        self.answer(&response, None).await;
        bodies(&response)
    }
}

fn bodies(response: &DeltaDiscoveryResponse) -> String {
    let body = |r: &envoy_types::pb::envoy::service::discovery::v3::Resource| {
        String::from_utf8_lossy(&r.resource.as_ref().expect("a body").value).into_owned()
    };
    let removed = response.removed_resources.iter().map(|n| format!("-{n}"));
    response.resources.iter().map(body).chain(removed).collect::<Vec<_>>().join(" ")
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("not in time: {what}"));
}

#[tokio::test]
async fn a_delta_stream_lives() {
    let rig = Rig::start("cds a@1 eds=a | eds a@1").await;
    let mut client = rig.delta().await;
    client.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(client.take().await, "a@1");
    client.subscribe(ResourceType::Endpoint, &["a"]).await;
    assert_eq!(client.take().await, "a@1");
    rig.publish("cds a@1 eds=a | eds a@2");
    let refused = client.next().await;
    assert_eq!(bodies(&refused), "a@2");
    client.answer(&refused, Some("no")).await;
    let verdicts = || rig.house.verdicts.lock().expect("not poisoned").len();
    until("the refusal is told", || verdicts() == 1).await;
    assert_eq!(rig.shared.clients.counters.rejects[ResourceType::Endpoint].get(), 1);
    assert_eq!(rig.shared.clients.list()[0].id, "pod.shop-1");
    drop(client);
    until("the client is gone", || rig.shared.clients.is_empty()).await;
    until("the refusal is withdrawn", || verdicts() == 2).await;
}

#[tokio::test]
async fn a_sotw_stream_lives() {
    let rig = Rig::start("cds a@1 | cds b@1").await;
    let (requests, stream) = mpsc::channel(8);
    let mut client = AggregatedDiscoveryServiceClient::new(rig.channel().await);
    let request = DiscoveryRequest {
        node: Some(testing::node("shop", "web")),
        type_url: ResourceType::Cluster.type_url().to_owned(),
        ..Default::default()
    };
    requests.send(request).await.expect("open");
    let stream = client.stream_aggregated_resources(ReceiverStream::new(stream)).await.expect("opens");
    let mut stream = stream.into_inner();
    let mut next = async || {
        let message = tokio::time::timeout(DEADLINE, stream.message()).await.expect("in time");
        message.expect("no error").expect("a response")
    };
    let first = next().await;
    assert_eq!(first.resources.iter().map(|a| &a.value[..]).collect::<Vec<_>>(), [b"a@1", b"b@1"]);
    rig.publish("cds a@1 | cds b@1 | cds c@1");
    let second = next().await;
    assert_eq!(second.resources.len(), 3);
    assert_ne!(first.version_info, second.version_info);
}

#[tokio::test]
async fn streams_that_may_not_be_are_refused_with_a_reason() {
    let rig = Rig::with("", false, None).await;
    let mut nobody = rig.delta().await;
    nobody.send(DeltaDiscoveryRequest::default()).await;
    let status = nobody.result().await.expect_err("refused");
    assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "missing node information"));
    for kind in ["waypoint", "ztunnel"] {
        let mut other = rig.delta().await;
        let id = format!("{kind}~10.0.0.1~pod.shop~shop.svc.cluster.local");
        let node = Some(Node { id: id.clone(), ..Default::default() });
        other.send(DeltaDiscoveryRequest { node, ..Default::default() }).await;
        let status = other.result().await.expect_err("refused");
        let reason =
            format!("node type {kind:?} of the service node {id:?} is not served: it must be sidecar or router");
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, reason.as_str()));
    }
    let mut early = rig.delta().await;
    early.subscribe(ResourceType::Cluster, &[]).await;
    let status = early.result().await.expect_err("refused");
    assert_eq!((status.code(), status.message()), (Code::Unavailable, "not ready: waiting for services"));
    assert_eq!(rig.shared.clients.counters.refused_streams.get(), 4);
}

#[tokio::test]
async fn types_that_are_not_served_do_no_harm() {
    let rig = Rig::start("cds a@1").await;
    let mut client = rig.delta().await;
    for type_url in ["", "type.googleapis.com/istio.v1.HealthInformation", "\u{1f4a5}"] {
        let node = Some(testing::node("shop", "web"));
        let request = DeltaDiscoveryRequest { node, type_url: type_url.to_owned(), ..Default::default() };
        client.send(request).await;
    }
    client.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(client.take().await, "a@1");
    assert_eq!(rig.shared.clients.counters.unknown_types.get(), 3);
}

#[tokio::test]
async fn a_peer_that_does_not_read_gets_the_newest_state_only() {
    let rig = Rig::start("cds a@0").await;
    let mut client = rig.delta().await;
    client.subscribe(ResourceType::Cluster, &[]).await;
    // Large enough to fill the windows of the connection in a few responses.
    let filler: String = (0..20_000).map(|i| format!("cds padding-of-the-name-of-a-cluster-{i}@1 | ")).collect();
    let pushes = || rig.shared.clients.counters.pushes[ResourceType::Cluster].get();
    until("the first response is made", || pushes() == 1).await;
    for version in 1..=60 {
        let filler = filler.replace("@1", &format!("@{version}"));
        rig.publish(&format!("{filler} cds a@{version}"));
        tokio::task::yield_now().await;
    }
    let mut last = String::new();
    while last != "a@60" {
        let response = client.next().await;
        let all = bodies(&response);
        last = all.split(' ').find(|b| b.starts_with("a@")).unwrap_or_default().to_owned();
    }
    assert!(pushes() < 40, "{} responses were made for a peer that did not read", pushes());
}

#[tokio::test]
async fn shutting_down_ends_streams_and_the_server() {
    let mut rig = Rig::start("cds a@1").await;
    let mut client = rig.delta().await;
    client.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(client.take().await, "a@1");
    rig.shared.shutdown.cancel();
    assert_eq!(client.result().await.expect_err("ended").code(), Code::Unavailable);
    drop(client);
    tokio::time::timeout(DEADLINE, rig.tasks.join_next()).await.expect("in time").expect("a task").expect("no panic");
}

#[tokio::test]
async fn health_and_a_unix_socket_are_served() {
    let rig = Rig::start("cds a@1").await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(rig.channel().await);
    let request = tonic_health::pb::HealthCheckRequest { service: Ads::NAME.to_owned() };
    assert_eq!(health.check(request).await.expect("answers").into_inner().status, 1);

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("xds.sock");
    std::fs::write(&path, "left behind").expect("writes");
    let socket = Socket::unix(&path).expect("a socket");
    let (services, mut tasks) = (services(Arc::clone(&rig.shared)).await, JoinSet::new());
    tasks.spawn(async move {
        serve(socket, services, &Transport::default(), CancellationToken::new()).await;
    });
    let uri = format!("unix://{}", path.display());
    let channel = Endpoint::from_shared(uri).expect("a uri").connect().await.expect("connects");
    let mut client = Delta::open(channel).await;
    client.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(client.take().await, "a@1");
    assert_eq!(rig.shared.clients.list()[0].peer.address, None);
}

#[tokio::test]
async fn reflection_describes_what_is_served() {
    let rig = Rig::start("").await;
    let ask = async |request: MessageRequest| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let mut client = ServerReflectionClient::new(rig.channel().await);
        let mut answers = client.server_reflection_info(futures::stream::iter([request])).await.expect("opens");
        let answer = answers.get_mut().message().await.expect("no error").expect("an answer");
        answer.message_response.expect("a message")
    };
    let MessageResponse::ListServicesResponse(list) = ask(MessageRequest::ListServices(String::new())).await else {
        panic!("no list");
    };
    let names: Vec<&str> = list.service.iter().map(|s| s.name.as_str()).collect();
    assert!(names.contains(&Ads::NAME) && names.contains(&"grpc.health.v1.Health"), "{names:?}");

    // As grpcurl does: the file of the service, then its imports.
    let files = async |request| match ask(request).await {
        MessageResponse::FileDescriptorResponse(found) => {
            let decode = |bytes: &Vec<u8>| FileDescriptorProto::decode(&bytes[..]).expect("a descriptor");
            found.file_descriptor_proto.iter().map(decode).collect::<Vec<_>>()
        }
        other => panic!("no file: {other:?}"),
    };
    let mut known = files(MessageRequest::FileContainingSymbol(Ads::NAME.to_owned())).await;
    let methods: Vec<&str> = known[0].service[0].method.iter().map(|m| m.name()).collect();
    assert_eq!(methods, ["StreamAggregatedResources", "DeltaAggregatedResources"]);
    let mut wanted: Vec<String> = known[0].dependency.clone();
    while let Some(name) = wanted.pop() {
        if !known.iter().any(|f| f.name() == name) {
            let found = files(MessageRequest::FileByFilename(name)).await;
            wanted.extend(found.iter().flat_map(|f| f.dependency.clone()));
            known.extend(found);
        }
    }
    let pool = DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file: known }).expect("nothing is missing");
    let request = pool.get_message_by_name("envoy.service.discovery.v3.DeltaDiscoveryRequest").expect("a message");
    assert!(request.get_field_by_name("initial_resource_versions").is_some());
}

#[tokio::test]
async fn two_identities_that_refuse_spare_the_third() {
    let pki = Pki::new();
    let (certificate, key) = pki.sign(vec![SanType::DnsName("istiod".try_into().expect("ascii"))]);
    let config = tls::server_config(
        certificate.as_bytes(),
        key.as_bytes(),
        Some(pki.authority.pem().as_bytes()),
        None,
        &Demands::default(),
    );
    let rig = Rig::with("lds l@1", true, Some(config.expect("a configuration"))).await;
    let connect = async |account: &str| {
        let identity = pki.identity(&[&format!("spiffe://cluster.local/ns/shop/sa/{account}")]);
        let client = tls_client(&rig, &pki, Some(identity)).await;
        let request = DeltaDiscoveryRequest {
            node: Some(testing::node("shop", account)),
            type_url: ResourceType::Listener.type_url().to_owned(),
            ..Default::default()
        };
        client.send(request).await;
        client
    };
    let (mut first, mut again, mut second) = (connect("a").await, connect("a").await, connect("b").await);
    for client in [&mut first, &mut again, &mut second] {
        assert_eq!(client.take().await, "l@1");
    }
    rig.publish("lds l@2");
    let verdicts = || rig.house.verdicts.lock().expect("not poisoned").len();
    // The same identity twice is one.
    for (n, client) in [&mut first, &mut again].into_iter().enumerate() {
        let response = client.next().await;
        assert_eq!(bodies(&response), "l@2");
        client.answer(&response, Some("no")).await;
        until("the refusal is told", || verdicts() == n + 1).await;
    }
    let mut early = connect("c").await;
    let response = early.next().await;
    assert_eq!(bodies(&response), "l@2");
    let refused = second.next().await;
    second.answer(&refused, Some("no")).await;
    until("the second identity refuses", || verdicts() == 3).await;
    let mut third = connect("d").await;
    assert_eq!(third.take().await, "l@1");
    // Somebody takes it after all: everybody may have it.
    early.answer(&response, None).await;
    assert_eq!(third.take().await, "l@2");
}

#[tokio::test]
async fn istioctl_can_ask_over_sotw() {
    let rig = Rig::start("cds a@1").await;
    let mut proxy = rig.delta().await;
    let mut node = testing::node("shop", "web");
    let empty = envoy_types::pb::google::protobuf::Value { kind: Some(Kind::StringValue(String::new())) };
    node.metadata.as_mut().expect("metadata").fields.insert("PROXY_CONFIG".to_owned(), empty);
    let type_url = ResourceType::Cluster.type_url().to_owned();
    proxy.send(DeltaDiscoveryRequest { node: Some(node), type_url, ..Default::default() }).await;
    assert_eq!(proxy.take().await, "a@1");
    let ask = async |type_url: &str, names: &[&str]| {
        let request = DiscoveryRequest {
            node: Some(testing::node("istio-system", "default")),
            type_url: type_url.to_owned(),
            resource_names: names.iter().map(|n| (*n).to_owned()).collect(),
            // istioctl's first request has a nonce.
            response_nonce: "2026-01-01".to_owned(),
            ..Default::default()
        };
        let mut client = AggregatedDiscoveryServiceClient::new(rig.channel().await);
        let requests = futures::stream::iter([request]).chain(futures::stream::pending());
        let mut answers = client.stream_aggregated_resources(requests).await.expect("opens").into_inner();
        let answer = tokio::time::timeout(DEADLINE, answers.message()).await.expect("in time");
        let answer = answer.expect("no error").expect("an answer");
        assert_eq!(answer.type_url, type_url);
        answer
    };
    let syncz = ask("istio.io/debug/syncz", &[]).await;
    assert_eq!(syncz.control_plane.expect("filled").identifier, r#"{"Component":"istiod"}"#);
    let config = ClientConfig::decode(&syncz.resources[0].value[..]).expect("decodes");
    assert_eq!(config.node.expect("a node").id, "pod.shop");
    assert_eq!(config.generic_xds_configs.len(), 1);
    let dump = ask("istio.io/debug/config_dump", &["pod.shop"]).await;
    let types: Vec<&str> = dump.resources.iter().filter_map(|a| a.type_url.rsplit('.').next()).collect();
    let expected = ["Bootstrap", "Clusters", "Listeners", "ScopedRoutes", "Routes", "Secrets", "Ecds"];
    assert_eq!(types, expected.map(|t| format!("{t}ConfigDump")));
    assert_eq!(ask("istio.io/debug/config_dump", &["elsewhere.shop"]).await.resources.len(), 0);
    assert_eq!(ask("istio.io/debug", &["list"]).await.resources[0].value, b"[]");
    assert_eq!(ask("istio.io/debug", &["nothing"]).await.resources[0].value, b"404 page not found\n");
    assert_eq!(rig.shared.clients.len(), 1, "a tool is no client");
}

/// A certificate authority and what it signed, PEM.
struct Pki {
    authority: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self { authority: CertifiedIssuer::self_signed(params, key).expect("an authority") }
    }

    fn sign(&self, names: Vec<SanType>) -> (String, String) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.authority).expect("signs").pem(), key.serialize_pem())
    }

    fn identity(&self, uris: &[&str]) -> Identity {
        let uri = |u: &&str| SanType::URI((*u).try_into().expect("ascii"));
        let (certificate, key) = self.sign(uris.iter().map(uri).collect());
        Identity::from_pem(certificate, key)
    }
}

async fn tls_client(rig: &Rig, pki: &Pki, identity: Option<Identity>) -> Delta {
    let mut config =
        ClientTlsConfig::new().domain_name("istiod").ca_certificate(Certificate::from_pem(pki.authority.pem()));
    if let Some(identity) = identity {
        config = config.identity(identity);
    }
    let endpoint = Endpoint::from_shared(format!("https://{}", rig.address)).expect("a uri");
    Delta::open(endpoint.tls_config(config).expect("tls").connect().await.expect("connects")).await
}

#[tokio::test]
async fn identities_decide_over_tls() {
    let pki = Pki::new();
    let (certificate, key) = pki.sign(vec![SanType::DnsName("istiod".try_into().expect("ascii"))]);
    let config = tls::server_config(
        certificate.as_bytes(),
        key.as_bytes(),
        Some(pki.authority.pem().as_bytes()),
        None,
        &Demands::default(),
    );
    let snapshot = "cds a@1 | sds shop-cert@1 | sds other-cert@1 | eds late@1";
    let rig = Rig::with(snapshot, true, Some(config.expect("a configuration"))).await;

    let own = pki.identity(&["spiffe://cluster.local/ns/shop/sa/web"]);
    let mut client = tls_client(&rig, &pki, Some(own)).await;
    client.subscribe(ResourceType::Cluster, &[]).await;
    assert_eq!(client.take().await, "a@1");
    client.subscribe(ResourceType::Secret, &["shop-cert", "other-cert"]).await;
    client.subscribe(ResourceType::Endpoint, &["late"]).await;
    assert_eq!(client.take().await, "late@1", "nothing else waits until it is known who may have a secret");
    rig.house.permitted.store(true, Ordering::Relaxed);
    rig.shared.clients.list().iter().for_each(|c| c.retry_secrets());
    assert_eq!(client.take().await, "shop-cert@1");
    assert_eq!(rig.shared.clients.counters.denied_secrets.get(), 1);

    let foreign = pki.identity(&["spiffe://cluster.local/ns/other/sa/web"]);
    let two = pki.identity(&["spiffe://cluster.local/ns/shop/sa/web", "spiffe://cluster.local/ns/other/sa/web"]);
    for (identity, code) in
        [(Some(foreign), Code::PermissionDenied), (Some(two), Code::Unauthenticated), (None, Code::Unauthenticated)]
    {
        let mut client = tls_client(&rig, &pki, identity).await;
        client.subscribe(ResourceType::Cluster, &[]).await;
        assert_eq!(client.result().await.expect_err("refused").code(), code);
    }
}

#[test]
fn broken_tls_files_are_named() {
    let pki = Pki::new();
    let (certificate, key) = pki.sign(Vec::new());
    let (_, other_key) = pki.sign(Vec::new());
    let make = |c: &str, k: &str, a: Option<&str>| {
        tls::server_config(c.as_bytes(), k.as_bytes(), a.map(str::as_bytes), None, &Demands::default())
            .map_err(|e| e.to_string())
    };
    assert!(make(&certificate, &key, None).is_ok());
    assert_eq!(make("", &key, None).expect_err("empty"), "the certificate holds no certificate");
    assert_eq!(make(&certificate, "x", None).expect_err("no key"), "the private key is not valid PEM");
    assert_eq!(make(&certificate, &other_key, None).expect_err("no fit"), "the certificate cannot be used");
    assert_eq!(
        make(&certificate, &key, Some("x")).expect_err("no authority"),
        "the client certificate authority holds no certificate"
    );
    let missing = tls::Files {
        certificate: "/nowhere/c".into(),
        key: "/nowhere/k".into(),
        client_authority: None,
        demands: Demands::default(),
    };
    assert_eq!(missing.load(None, None).expect_err("missing").to_string(), "cannot read /nowhere/c");
}
