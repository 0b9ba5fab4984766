//! One stream: takes requests, snapshots and time to its [`Machine`] and answers to the transport.
//!
//! There is no task and no queue: the transport polls the stream when it can take more, and only then the next
//! response is made, of the newest snapshot. A slow peer costs nothing but its own lag.

use std::{sync::Arc, time::Instant};

use envoy_types::pb::{
    envoy::{
        config::core::v3::{ControlPlane, Node},
        service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse},
    },
    google::protobuf::Any,
};
use futures::{FutureExt, Stream, future};
use prost::Message as _;
use tokio::sync::watch;
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use super::{
    AttachError, Attachment, Machine, Peer, Protocol, Push, Received, Response, SecretGate, Shared, Verdict,
    auth::AccessError,
    body::Message,
    clients::Client,
    debug::{self, DebugError},
    frames::Frames,
    last_good::LastGood,
    node,
};
use crate::{
    model::Proxy,
    snapshot::{ResourceType, Snapshot},
};

/// How many requests are taken before the peer is looked after again.
const REQUESTS_AT_ONCE: usize = 64;

/// What differs between the two forms of ADS.
pub(super) trait Wire: prost::Message + Default + 'static {
    const PROTOCOL: Protocol;

    fn node(&self) -> Option<&Node>;
    fn type_url(&self) -> &str;
    fn names(&self) -> &[String];
    fn refusal(&self) -> Option<&str>;
    fn give(&self, machine: &mut Machine, t: ResourceType, now: Instant) -> Received;
    /// Whether the peer has whole route configurations and must go on with them.
    fn has_whole_routes(&self, machine: &Machine, t: ResourceType) -> bool;
    fn answer(response: &Response, frames: &Frames) -> Message;
    fn answer_debug(type_url: &str, resources: Vec<Any>, control_plane: Option<ControlPlane>) -> Message;
}

impl Wire for DeltaDiscoveryRequest {
    const PROTOCOL: Protocol = Protocol::Delta;

    fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }
    fn type_url(&self) -> &str {
        &self.type_url
    }
    fn names(&self) -> &[String] {
        &self.resource_names_subscribe
    }
    fn refusal(&self) -> Option<&str> {
        self.error_detail.as_ref().map(|e| e.message.as_str())
    }
    fn give(&self, machine: &mut Machine, t: ResourceType, now: Instant) -> Received {
        machine.delta_request(t, self, now)
    }
    fn has_whole_routes(&self, machine: &Machine, t: ResourceType) -> bool {
        machine.has_whole_routes(t, self)
    }
    fn answer(response: &Response, frames: &Frames) -> Message {
        Message::delta(response, frames)
    }
    fn answer_debug(type_url: &str, resources: Vec<Any>, control_plane: Option<ControlPlane>) -> Message {
        let resources = resources.into_iter().map(|any| envoy_types::pb::envoy::service::discovery::v3::Resource {
            resource: Some(any),
            ..Default::default()
        });
        let response = DeltaDiscoveryResponse {
            type_url: type_url.to_owned(),
            nonce: "debug".to_owned(),
            resources: resources.collect(),
            control_plane,
            ..Default::default()
        };
        Message::new([response.encode_to_vec().into()])
    }
}

impl Wire for DiscoveryRequest {
    const PROTOCOL: Protocol = Protocol::Sotw;

    fn node(&self) -> Option<&Node> {
        self.node.as_ref()
    }
    fn type_url(&self) -> &str {
        &self.type_url
    }
    fn names(&self) -> &[String] {
        &self.resource_names
    }
    fn refusal(&self) -> Option<&str> {
        self.error_detail.as_ref().map(|e| e.message.as_str())
    }
    fn give(&self, machine: &mut Machine, t: ResourceType, now: Instant) -> Received {
        machine.sotw_request(t, self, now)
    }
    fn has_whole_routes(&self, _: &Machine, _: ResourceType) -> bool {
        false
    }
    fn answer(response: &Response, frames: &Frames) -> Message {
        Message::sotw(response, frames)
    }
    fn answer_debug(type_url: &str, resources: Vec<Any>, control_plane: Option<ControlPlane>) -> Message {
        let response = DiscoveryResponse {
            type_url: type_url.to_owned(),
            nonce: "debug".to_owned(),
            resources,
            control_plane,
            ..Default::default()
        };
        Message::new([response.encode_to_vec().into()])
    }
}

/// A stream's place among the clients; leaves it when dropped.
struct Attached {
    shared: Arc<Shared>,
    number: u64,
    client: Arc<Client>,
    /// The proxy as it is served.
    proxy: Arc<Proxy>,
    /// Who the peer has proved to be.
    identity: Option<Arc<str>>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    last_good: watch::Receiver<LastGood>,
    _guard: Box<dyn Send + Sync>,
}

impl Attached {
    fn tell(&self) {
        let (judgements, evidence, denied) = {
            let mut machine = self.client.machine();
            self.shared.clients.counters.barrier_timeouts.add(machine.take_barrier_timeouts());
            (machine.take_judgements(), machine.take_evidence(), machine.take_denied())
        };
        for name in denied {
            self.shared.clients.counters.denied_secrets.add(1);
            warn!(connection = self.client.id, secret = %name, "withheld: the peer may not have this secret");
        }
        self.shared.clients.hear(self.identity.as_ref(), evidence);
        for judgement in judgements {
            self.shared.feedback.verdict(Verdict {
                connection: self.client.id.as_str().into(),
                proxy: Arc::clone(&self.proxy),
                resource_type: judgement.resource_type,
                name: judgement.name,
                version: judgement.version,
                since: judgement.since,
                refused: judgement.refused,
            });
        }
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.shared.clients.leave(self.number);
        self.client.machine().end();
        self.tell();
        info!(connection = self.client.id, "stream closed");
    }
}

struct Session<R> {
    shared: Arc<Shared>,
    peer: Peer,
    requests: Streaming<R>,
    proxy: Option<Arc<Proxy>>,
    attached: Option<Attached>,
}

/// What a request leads to.
enum Next {
    Go,
    Reply(Message),
    End,
}

/// The answers to a stream of requests.
pub(super) fn answer<R: Wire>(
    shared: Arc<Shared>,
    peer: Peer,
    requests: Streaming<R>,
) -> impl Stream<Item = Result<Message, Status>> + Send {
    let session = Session { shared, peer, requests, proxy: None, attached: None };
    futures::stream::unfold(session, |mut session| async move {
        let item = session.next().await.transpose()?;
        Some((item, session))
    })
}

impl<R: Wire> Session<R> {
    async fn next(&mut self) -> Result<Option<Message>, Status> {
        loop {
            for _ in 0..REQUESTS_AT_ONCE {
                let Some(request) = self.requests.message().now_or_never() else { break };
                match self.take(request?).await? {
                    Next::Go => {}
                    Next::Reply(message) => return Ok(Some(message)),
                    Next::End => return Ok(None),
                }
            }
            if let Some(message) = self.advance() {
                return Ok(Some(message));
            }
            let event = self.wait().await?;
            if let Some(request) = event {
                match self.take(request?).await? {
                    Next::Go => {}
                    Next::Reply(message) => return Ok(Some(message)),
                    Next::End => return Ok(None),
                }
            }
        }
    }

    /// Waits for a request, or for something else that the machine may act on.
    async fn wait(&mut self) -> Result<Option<Result<Option<R>, Status>>, Status> {
        let deadline = self.attached.as_ref().and_then(|a| a.client.machine().next_deadline());
        let tick = async {
            match deadline {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => future::pending().await,
            }
        };
        let client = self.attached.as_ref().map(|a| Arc::clone(&a.client));
        let changed = async {
            match &mut self.attached {
                Some(attached) => tokio::select! {
                    changed = attached.snapshots.changed() => changed,
                    changed = attached.last_good.changed() => changed,
                },
                None => future::pending().await,
            }
        };
        let woken = async {
            match &client {
                Some(client) => client.woken().await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.shared.shutdown.cancelled() => Err(Status::unavailable("the server is shutting down")),
            request = self.requests.message() => Ok(Some(request)),
            changed = changed => match changed {
                Ok(()) => Ok(None),
                Err(_) => Err(Status::unavailable(AttachError::ShuttingDown.to_string())),
            },
            () = tick => Ok(None),
            () = woken => Ok(None),
        }
    }

    /// The next response that the machine has, made of the newest snapshot.
    fn advance(&mut self) -> Option<Message> {
        let attached = self.attached.as_mut()?;
        let (start, response, follows) = {
            let mut machine = attached.client.machine();
            let before = machine.generation();
            machine.set_last_good(&attached.last_good.borrow_and_update());
            machine.set_snapshot(&attached.snapshots.borrow_and_update());
            let start = Instant::now();
            let response = machine.next_response(start);
            (start, response, (machine.generation() > before).then_some(before))
        };
        attached.tell();
        let response = response?;
        let (t, message) = (response.resource_type, R::answer(&response, &self.shared.clients.frames));
        let counters = &self.shared.clients.counters;
        counters.pushes[t].add(1);
        counters.resources[t].add(response.resources.len() as u64);
        counters.bytes[t].add(message.len() as u64);
        let push = Push { resource_type: t, bytes: message.len(), took: start.elapsed(), follows };
        self.shared.feedback.pushed(&push);
        debug!(
            connection = attached.client.id,
            resource_type = t.short_name(),
            resources = response.resources.len(),
            removed = response.removed.len(),
            bytes = message.len(),
            "push"
        );
        Some(message)
    }

    async fn take(&mut self, request: Option<R>) -> Result<Next, Status> {
        let Some(request) = request else { return Ok(Next::End) };
        let proxy = match &self.proxy {
            Some(proxy) => Arc::clone(proxy),
            None => self.introduce(&request).inspect_err(|_| self.shared.clients.counters.refused_streams.add(1))?,
        };
        if debug::is_debug(request.type_url()) {
            return self.debug(&request).await.map(Next::Reply);
        }
        let Some(t) = ResourceType::from_type_url(request.type_url()) else {
            self.shared.clients.counters.unknown_types.add(1);
            debug!(proxy = %proxy.id, type_url = request.type_url(), "a type that is not served");
            return Ok(Next::Go);
        };
        if self.attached.is_none() {
            self.attach(proxy).await?;
        }
        self.keep_whole_routes(&request, t).await?;
        if let Some(attached) = &self.attached {
            let received = {
                let mut machine = attached.client.machine();
                // What is acknowledged now may be what others refused a moment ago.
                machine.set_last_good(&attached.last_good.borrow());
                request.give(&mut machine, t, Instant::now())
            };
            self.count(t, received, &request, &attached.client.id);
            attached.tell();
        }
        Ok(Next::Go)
    }

    fn count(&self, t: ResourceType, received: Received, request: &R, connection: &str) {
        let counters = &self.shared.clients.counters;
        match received {
            Received::Subscription | Received::Ack => {}
            Received::Nack => {
                counters.rejects[t].add(1);
                let reason = request.refusal().unwrap_or_default();
                warn!(connection, resource_type = t.short_name(), reason, "the proxy refused a response");
            }
            Received::Stale => counters.expired_nonces[t].add(1),
        }
    }

    /// The first request says who asks.
    fn introduce(&mut self, request: &R) -> Result<Arc<Proxy>, Status> {
        let mut proxy = node::parse(request.node()).map_err(|e| Status::invalid_argument(e.to_string()))?;
        proxy.discovers_hosts &= R::PROTOCOL == Protocol::Delta && self.shared.settings.discover_hosts;
        self.shared.access.check(&self.peer, &proxy).map_err(|e| status_of(&e))?;
        let proxy = Arc::new(proxy);
        self.proxy = Some(Arc::clone(&proxy));
        Ok(proxy)
    }

    /// Serves the proxy as one that takes no virtual hosts, if that is what it has so far.
    async fn keep_whole_routes(&mut self, request: &R, t: ResourceType) -> Result<(), Status> {
        let has_whole = |a: &Attached| a.proxy.discovers_hosts && request.has_whole_routes(&a.client.machine(), t);
        if !self.attached.as_ref().is_some_and(has_whole) {
            return Ok(());
        }
        let Some(proxy) = &self.proxy else { return Ok(()) };
        let proxy = Arc::new(Proxy { discovers_hosts: false, ..(**proxy).clone() });
        let mut attachment = self.attachment(&proxy).await?;
        if let Some(attached) = &mut self.attached {
            info!(connection = attached.client.id, "goes on with whole route configurations");
            attached.client.machine().set_snapshot(&attachment.snapshots.borrow_and_update());
            (attached.snapshots, attached._guard, attached.proxy) = (attachment.snapshots, attachment.guard, proxy);
        }
        Ok(())
    }

    async fn attachment(&self, proxy: &Arc<Proxy>) -> Result<Attachment, Status> {
        self.shared.proxies.attach(Arc::clone(proxy)).await.map_err(|e| {
            self.shared.clients.counters.refused_streams.add(1);
            Status::unavailable(e.to_string())
        })
    }

    async fn attach(&mut self, proxy: Arc<Proxy>) -> Result<(), Status> {
        let shared = Arc::clone(&self.shared);
        let mut attachment = self.attachment(&proxy).await?;
        let gate: SecretGate = {
            let (secrets, peer, proxy) = (Arc::clone(&shared.secrets), self.peer.clone(), Arc::clone(&proxy));
            Box::new(move |name| secrets.may_read(&peer, &proxy, name))
        };
        let number = shared.clients.number();
        let snapshot = Arc::clone(&attachment.snapshots.borrow_and_update());
        let machine = Machine::new(R::PROTOCOL, snapshot, gate, shared.settings, format!("{number:x}-"));
        let client = shared.clients.enter(number, Arc::clone(&proxy), &self.peer, machine);
        info!(connection = client.id, address = ?client.peer.address, protocol = ?R::PROTOCOL, "stream opened");
        let (identity, last_good) = (shared.access.identity(&self.peer), shared.clients.last_good());
        let (snapshots, _guard) = (attachment.snapshots, attachment.guard);
        self.attached = Some(Attached { shared, number, client, proxy, identity, snapshots, last_good, _guard });
        Ok(())
    }

    async fn debug(&self, request: &R) -> Result<Message, Status> {
        let scope = self.shared.access.scope(&self.peer).map_err(|e| status_of(&e))?;
        let type_url = request.type_url();
        let answer = debug::answer(&self.shared, type_url, request.names(), &scope).await.map_err(|e| match e {
            DebugError::Names(_) => Status::invalid_argument(e.to_string()),
            DebugError::Forbidden(_) => Status::permission_denied(e.to_string()),
        })?;
        Ok(R::answer_debug(type_url, answer.resources, answer.control_plane))
    }
}

fn status_of(error: &AccessError) -> Status {
    let text = error.to_string();
    match error {
        AccessError::NoIdentity => Status::unauthenticated(text),
        AccessError::Mismatch { .. } => Status::permission_denied(text),
    }
}
