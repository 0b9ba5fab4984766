//! One stream: takes requests, snapshots and time to its [`Machine`] and answers to the transport.
//!
//! There is no task and no queue: the transport polls the stream when it can take more, and only then the next
//! response is made, of the newest snapshot. A slow peer costs nothing but its own lag.

use std::{
    error::Error,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use futures::{Stream, StreamExt, future::poll_fn};
use http_body::Body;
use tokio::time::Sleep;
use tokio_stream::wrappers::WatchStream;
use tonic::Status;
use tracing::{debug, info, warn};

use super::{
    AttachError, Attachment, Machine, Peer, Proof, Protocol, Push, Received, Request, Response, SecretGate, Shared,
    Verdict,
    auth::AccessError,
    body::Message,
    clients::Client,
    debug::{self, DebugError},
    incoming::Incoming,
    node,
    signal::Signal,
};
use crate::{
    model::Proxy,
    snapshot::{Generation, ResourceType, Snapshot},
};

/// How many requests are taken before the peer is looked after again.
const REQUESTS_AT_ONCE: usize = 64;

/// What a stream does next.
enum Event {
    Request(Bytes),
    Answer(Message),
    End,
}

/// The answers to a stream of requests.
pub(super) fn answer<B>(
    shared: Arc<Shared>,
    peer: Peer,
    proof: Option<Proof>,
    protocol: Protocol,
    requests: Incoming<B>,
) -> impl Stream<Item = Result<Message, Status>> + Send
where
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (number, signal) = shared.clients.begin();
    let session = Session {
        number,
        signal,
        peer,
        proof,
        protocol,
        requests,
        taken: 0,
        proxy: None,
        attached: None,
        shared,
        tick: None,
    };
    futures::stream::unfold(session, |mut session| async move {
        let item = session.next().await.transpose()?;
        Some((item, session))
    })
}

struct Session<B> {
    shared: Arc<Shared>,
    number: u64,
    signal: Arc<Signal>,
    peer: Peer,
    /// Tells who the peer is; taken with the first request.
    proof: Option<Proof>,
    protocol: Protocol,
    requests: Incoming<B>,
    /// Requests since the peer was looked after.
    taken: usize,
    proxy: Option<Arc<Proxy>>,
    attached: Option<Attached>,
    /// Ends when the machine may have something to say without anything else happening.
    tick: Option<(Instant, Pin<Box<Sleep>>)>,
}

impl<B> Drop for Session<B> {
    fn drop(&mut self) {
        self.shared.clients.end(self.number);
    }
}

impl<B> Session<B>
where
    B: Body<Data = Bytes> + Send + Unpin,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    async fn next(&mut self) -> Result<Option<Message>, Status> {
        loop {
            match poll_fn(|cx| self.poll_event(cx)).await? {
                Event::Answer(message) => return Ok(Some(message)),
                Event::End => return Ok(None),
                Event::Request(bytes) => {
                    if let Some(answer) = self.take(&bytes).await? {
                        return Ok(Some(answer));
                    }
                }
            }
        }
    }

    /// Looks at everything that can move the stream, once, and is woken by all of it.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Status>> {
        self.signal.register(cx.waker());
        loop {
            self.signal.take();
            if self.shared.shutdown.is_cancelled() {
                return Poll::Ready(Err(Status::unavailable("the server is shutting down")));
            }
            let full = self.taken == REQUESTS_AT_ONCE;
            if !full && let Poll::Ready(request) = self.requests.poll_message(cx) {
                self.taken += 1;
                return Poll::Ready(request.map(|request| request.map_or(Event::End, Event::Request)));
            }
            self.taken = 0;
            self.poll_snapshot(cx)?;
            if let Some(message) = self.advance() {
                return Poll::Ready(Ok(Event::Answer(message)));
            }
            if !full && !self.signal.take() && self.poll_tick(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_snapshot(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        let Some(attached) = &mut self.attached else { return Ok(()) };
        while let Poll::Ready(newest) = attached.snapshots.poll_next_unpin(cx) {
            let newest = newest.ok_or_else(|| Status::unavailable(AttachError::ShuttingDown.to_string()))?;
            let mut machine = attached.client.machine();
            let before = machine.generation();
            attached.follows = attached.follows.or((newest.generation > before).then_some(before));
            let class = machine.snapshot().class;
            machine.set_snapshot(&newest);
            drop(machine);
            attached.shared.clients.follow(attached.number, &attached.client, class, &newest);
        }
        Ok(())
    }

    /// Ready when the time has come that the machine waits for.
    fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.attached.as_ref().and_then(|a| a.client.machine().next_deadline());
        let Some(at) = deadline else {
            self.tick = None;
            return Poll::Pending;
        };
        let (set_to, sleep) = self.tick.get_or_insert_with(|| (at, Box::pin(tokio::time::sleep_until(at.into()))));
        if *set_to != at {
            *set_to = at;
            sleep.as_mut().reset(at.into());
        }
        ready!(sleep.as_mut().poll(cx));
        self.tick = None;
        Poll::Ready(())
    }

    /// The next response that the machine has.
    fn advance(&mut self) -> Option<Message> {
        let shared = Arc::clone(&self.shared);
        let attached = self.attached.as_mut()?;
        let start = Instant::now();
        let Some(response) = attached.with(|machine| machine.next_response(start)) else {
            attached.follows = None;
            return None;
        };
        let t = response.resource_type;
        let message = match self.protocol {
            Protocol::Delta => Message::delta(&response, &shared.clients.frames),
            Protocol::Sotw => Message::sotw(&response, &shared.clients.frames),
        };
        attached.pushed(&response, &message, start);
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

    /// Takes a request; what it is answered with at once, if it is.
    async fn take(&mut self, bytes: &[u8]) -> Result<Option<Message>, Status> {
        let request = Request::decode(self.protocol, bytes).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let proxy = match &self.proxy {
            Some(proxy) => Arc::clone(proxy),
            None => {
                let introduced = self.introduce(&request).await;
                introduced.inspect_err(|_| self.shared.clients.counters.refused_streams.add(1))?
            }
        };
        if debug::is_debug(request.type_url) {
            return self.debug(&request).await.map(Some);
        }
        let Some(t) = ResourceType::from_type_url(request.type_url) else {
            self.shared.clients.counters.unknown_types.add(1);
            debug!(proxy = %proxy.id, type_url = request.type_url, "a type that is not served");
            return Ok(None);
        };
        if self.attached.is_none() {
            self.attach(proxy).await?;
        }
        self.keep_whole_routes(&request, t).await?;
        if let Some(attached) = &self.attached {
            let received = attached.with(|machine| machine.request(t, &request, Instant::now()));
            self.count(t, received, &request, &attached.client.id);
        }
        Ok(None)
    }

    fn count(&self, t: ResourceType, received: Received, request: &Request<'_>, connection: &str) {
        let counters = &self.shared.clients.counters;
        match received {
            Received::Subscription | Received::Ack => {}
            Received::Nack => {
                counters.rejects[t].add(1);
                let reason = request.refused.as_deref().unwrap_or_default();
                warn!(connection, resource_type = t.short_name(), reason, "the proxy refused a response");
            }
            Received::Stale => counters.expired_nonces[t].add(1),
        }
    }

    /// The first request says who asks.
    async fn introduce(&mut self, request: &Request<'_>) -> Result<Arc<Proxy>, Status> {
        if let Some(proof) = self.proof.take() {
            self.peer.identities = proof.await?;
        }
        let mut proxy = node::parse(request.node.as_ref()).map_err(|e| Status::invalid_argument(e.to_string()))?;
        proxy.discovers_hosts &= self.protocol == Protocol::Delta && self.shared.settings.discover_hosts;
        self.shared.access.check(&self.peer, &proxy).map_err(|e| status_of(&e))?;
        let proxy = Arc::new(proxy);
        self.proxy = Some(Arc::clone(&proxy));
        Ok(proxy)
    }

    /// Serves the proxy as one that takes no virtual hosts, if that is what it has so far.
    async fn keep_whole_routes(&mut self, request: &Request<'_>, t: ResourceType) -> Result<(), Status> {
        let has_whole = |a: &Attached| a.proxy.discovers_hosts && a.client.machine().has_whole_routes(t, request);
        if !self.attached.as_ref().is_some_and(has_whole) {
            return Ok(());
        }
        let Some(proxy) = &self.proxy else { return Ok(()) };
        let proxy = Arc::new(Proxy { discovers_hosts: false, ..(**proxy).clone() });
        let mut attachment = self.attachment(&proxy).await?;
        if let Some(attached) = &mut self.attached {
            info!(connection = attached.client.id, "goes on with whole route configurations");
            let newest = Arc::clone(&attachment.snapshots.borrow_and_update());
            let mut machine = attached.client.machine();
            let class = machine.snapshot().class;
            machine.set_snapshot(&newest);
            drop(machine);
            attached.shared.clients.follow(attached.number, &attached.client, class, &newest);
            attached.snapshots = WatchStream::from_changes(attachment.snapshots);
            (attached._guard, attached.proxy) = (attachment.guard, proxy);
        }
        Ok(())
    }

    async fn attachment(&mut self, proxy: &Arc<Proxy>) -> Result<Attachment, Status> {
        self.shared.proxies.attach(Arc::clone(proxy)).await.map_err(|e| {
            self.shared.clients.counters.refused_streams.add(1);
            Status::unavailable(e.to_string())
        })
    }

    async fn attach(&mut self, proxy: Arc<Proxy>) -> Result<(), Status> {
        let shared = Arc::clone(&self.shared);
        let Attachment { mut snapshots, guard } = self.attachment(&proxy).await?;
        let gate: SecretGate = {
            let (secrets, peer, proxy) = (Arc::clone(&shared.secrets), self.peer.clone(), Arc::clone(&proxy));
            Box::new(move |name| secrets.may_read(&peer, &proxy, name))
        };
        let (number, snapshot) = (self.number, Arc::clone(&snapshots.borrow_and_update()));
        let machine = Machine::new(self.protocol, snapshot, gate, shared.settings, format!("{number:x}-")).sharing(
            &shared.clients.names,
            &shared.clients.openings,
            &shared.clients.resumptions,
        );
        let client = shared.clients.enter(number, &self.signal, Arc::clone(&proxy), &self.peer, machine);
        info!(connection = client.id, address = ?client.peer.address, protocol = ?self.protocol, "stream opened");
        let (identity, snapshots) = (shared.access.identity(&self.peer), WatchStream::from_changes(snapshots));
        let attached = Attached { shared, number, client, proxy, identity, snapshots, follows: None, _guard: guard };
        self.attached = Some(attached);
        Ok(())
    }

    async fn debug(&mut self, request: &Request<'_>) -> Result<Message, Status> {
        let scope = self.shared.access.scope(&self.peer).map_err(|e| status_of(&e))?;
        let type_url = request.type_url;
        let answer = debug::answer(&self.shared, type_url, &request.names, &scope).await.map_err(|e| match e {
            DebugError::Names(_) => Status::invalid_argument(e.to_string()),
            DebugError::Forbidden(_) => Status::permission_denied(e.to_string()),
        })?;
        Ok(answer.into_message(self.protocol, type_url))
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
    snapshots: WatchStream<Arc<Snapshot>>,
    /// The generation before the newest snapshot, until a response is made of that.
    follows: Option<Generation>,
    _guard: Box<dyn Send + Sync>,
}

impl Attached {
    /// Does something with the machine, and tells what it found out.
    fn with<T>(&self, act: impl FnOnce(&mut Machine) -> T) -> T {
        let (result, judgements, evidence, denied) = {
            let mut machine = self.client.machine();
            // What is acknowledged now may be what others refused a moment ago.
            self.shared.clients.inform(&mut machine);
            let result = act(&mut machine);
            self.shared.clients.counters.barrier_timeouts.add(machine.take_barrier_timeouts());
            (result, machine.take_judgements(), machine.take_evidence(), machine.take_denied())
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
        result
    }

    fn pushed(&mut self, response: &Response, message: &Message, start: Instant) {
        let (t, counters) = (response.resource_type, &self.shared.clients.counters);
        counters.pushes[t].add(1);
        counters.resources[t].add(response.resources.len() as u64);
        counters.bytes[t].add(message.len() as u64);
        let (took, follows) = (start.elapsed(), self.follows.take());
        self.shared.feedback.pushed(&Push { resource_type: t, bytes: message.len(), took, follows });
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let class = self.client.machine().snapshot().class;
        self.shared.clients.leave(self.number, class);
        self.with(Machine::end);
        info!(connection = self.client.id, "stream closed");
    }
}

fn status_of(error: &AccessError) -> Status {
    let text = error.to_string();
    match error {
        AccessError::NoIdentity => Status::unauthenticated(text),
        AccessError::Mismatch { .. } => Status::permission_denied(text),
    }
}
