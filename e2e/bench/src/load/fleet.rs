//! All clients.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use envoy_types::pb::{
    envoy::config::core::v3::Node,
    google::protobuf::{Struct, Value, value::Kind},
};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::{Instant as Deadline, timeout_at},
};
use tonic::transport::Endpoint;

use super::{
    Args,
    client::{Client, Reached, Shared},
    names::SharedNames,
    proxy::{Goal, Proxy},
    tally::{Counts, Tally},
    wire::Type,
};

/// An address has 28,000 ephemeral ports; clients beyond this number use the next loopback address.
const CLIENTS_PER_ADDRESS: usize = 20_000;

/// Handshakes under way at once: well below the length of a listener's queue.
const HANDSHAKES: usize = 256;

/// Envoy's own windows.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 24 << 20;

/// When the clients reached a goal.
#[derive(Clone, Debug, Default)]
pub(super) struct Arrivals {
    /// Ascending; as many as reached it in time.
    pub(super) times: Vec<Duration>,
    /// A client that did not.
    pub(super) waiting: Option<String>,
}

/// All clients.
pub(super) struct Fleet {
    size: usize,
    namespaces: usize,
    whole_routes: bool,
    target: SocketAddr,
    shared: Arc<Shared>,
    reached: mpsc::UnboundedReceiver<Reached>,
    epoch: watch::Sender<u64>,
    tasks: JoinSet<()>,
}

impl Fleet {
    pub(super) fn new(args: &Args, target: SocketAddr) -> Self {
        let (sender, reached) = mpsc::unbounded_channel();
        let shared = Shared {
            names: SharedNames::default(),
            tally: Tally::default(),
            goal: RwLock::default(),
            reached: sender,
            handshakes: Semaphore::new(HANDSHAKES),
            complaint: RwLock::default(),
        };
        Self {
            size: args.clients,
            namespaces: args.namespaces as usize,
            whole_routes: args.whole_routes,
            target,
            shared: Arc::new(shared),
            reached,
            epoch: watch::Sender::new(0),
            tasks: JoinSet::new(),
        }
    }

    /// Starts all clients.
    pub(super) fn connect(&mut self) {
        for index in 0..self.size {
            let client = Client {
                index,
                endpoint: self.endpoint(index),
                proxy: Proxy::new(node(index, index % self.namespaces, self.whole_routes)),
                shared: self.shared.clone(),
                epoch: self.epoch.subscribe(),
                reported: 0,
            };
            self.tasks.spawn(client.run());
        }
    }

    /// Makes all clients reconnect.
    pub(super) fn reconnect(&self) {
        self.epoch.send_modify(|epoch| *epoch += 1);
    }

    /// Sets what is to be sent to each client; returns the number of the goal.
    pub(super) fn aim(&self, wanted: &[(Type, String)]) -> u64 {
        let mut dictionary = self.shared.names.lock();
        let wanted = wanted.iter().map(|(t, name)| (*t, dictionary.names.id(name))).collect();
        drop(dictionary);
        let mut goal = self.shared.goal.write().unwrap_or_else(PoisonError::into_inner);
        let number = goal.number + 1;
        *goal = Arc::new(Goal { number, wanted });
        number
    }

    /// Waits until all clients have reached a goal.
    pub(super) async fn wait(&mut self, goal: u64, start: Instant, patience: Duration) -> Arrivals {
        let deadline = Deadline::from_std(start + patience);
        let mut times = Vec::with_capacity(self.size);
        let mut waiting: HashSet<usize> = (0..self.size).collect();
        while !waiting.is_empty() {
            let Ok(Some(reached)) = timeout_at(deadline, self.reached.recv()).await else { break };
            if reached.goal == goal && waiting.remove(&reached.client) {
                times.push(reached.at.duration_since(start));
            }
        }
        times.sort_unstable();
        let waiting = waiting.into_iter().min().map(|index| node_id(index, index % self.namespaces));
        Arrivals { times, waiting }
    }

    pub(super) fn counts(&self) -> Counts {
        self.shared.tally.counts()
    }

    /// The last reason for which a stream has broken; empty if none has.
    pub(super) fn complaint(&self) -> String {
        self.shared.complaint.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn len(&self) -> usize {
        self.size
    }

    fn endpoint(&self, index: usize) -> Endpoint {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.target)).expect("an address makes a URI");
        let endpoint = endpoint
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let address = u8::try_from(index / CLIENTS_PER_ADDRESS + 1).unwrap_or(u8::MAX);
        let here = self.target.ip().is_loopback() && self.target.is_ipv4() && address > 1;
        endpoint.local_address(here.then_some(IpAddr::V4(Ipv4Addr::new(127, 0, 0, address))))
    }
}

fn node_id(index: usize, namespace: usize) -> String {
    // 10.0.0.0/9 has room for all of them; configuration uses the other half.
    let [_, a, b, c] = u32::try_from(index + 1).unwrap_or(u32::MAX).to_be_bytes();
    format!("sidecar~10.{a}.{b}.{c}~pod-{index}.ns-{namespace}~ns-{namespace}.svc.cluster.local")
}

fn node(index: usize, namespace: usize, whole_routes: bool) -> Node {
    let text = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
    let object = |fields: &[(&str, Value)]| Struct {
        fields: fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
    };
    let nested = |fields: &[(&str, Value)]| Value { kind: Some(Kind::StructValue(object(fields))) };
    let metadata = object(&[
        ("NAMESPACE", text(&format!("ns-{namespace}"))),
        ("CLUSTER_ID", text("Kubernetes")),
        ("MIZZEN_VHDS", text(if whole_routes { "false" } else { "true" })),
        ("ISTIO_VERSION", text("1.29.0")),
        ("LABELS", nested(&[("app", text("client"))])),
        ("PROXY_CONFIG", nested(&[("discoveryAddress", text("istiod.istio-system.svc:15012"))])),
    ]);
    Node {
        id: node_id(index, namespace),
        cluster: format!("client.ns-{namespace}"),
        metadata: Some(metadata),
        ..Node::default()
    }
}
