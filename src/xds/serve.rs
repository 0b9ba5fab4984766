//! HTTP/2 on connections.
//!
//! Beside tonic's server: there a connection and each of its streams are tasks of their own, which wake each other for
//! every message. A proxy has one connection with one stream, so both are one task here.
//!
//! ```text
//!  a snapshot ──wakes──► task ─┬─ stream: makes the response ─┐
//!  a request  ──wakes──►       └─ connection: reads, writes ◄─┘
//! ```

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Either, Ready, poll_fn, ready},
    stream::FuturesUnordered,
};
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::{body::Incoming, rt::Executor, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::task::{JoinSet, unconstrained};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;
use tracing::debug;

use super::{
    Peer, Services,
    body::GrpcBody,
    keepalive::Patience,
    listen::{Connection, Socket, connections},
    pieces::Pieces,
    server::Ads,
};

/// Limits of HTTP/2 connections (contract §1).
#[derive(Clone, Debug)]
pub struct Transport {
    /// How often an idle peer is pinged.
    pub keepalive_interval: Duration,
    /// How long it may take to answer, counted from the last sign of it.
    pub keepalive_timeout: Duration,
    /// How many streams a connection may have.
    pub max_concurrent_streams: u32,
    /// How old a connection may become.
    pub max_connection_age: Option<Duration>,
    /// How long its streams may live on after that.
    pub max_connection_age_grace: Duration,
    /// Whether HTTP/1.1 is taken too, for plain HTTP on the same port.
    pub http1: bool,
}

impl Default for Transport {
    fn default() -> Self {
        Self {
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(10),
            max_concurrent_streams: 100_000,
            max_connection_age: None,
            max_connection_age_grace: Duration::from_secs(10),
            http1: false,
        }
    }
}

/// How much of a response waits in a connection, in bytes, beside what the kernel takes. The chunks are shared, but each
/// has an entry in a list that stays.
const SEND_BUFFER: usize = 64 * 1024;

/// Serves until `shutdown`, then takes no more connections and returns when those that are open have ended.
pub async fn serve(socket: Socket, services: Services, limits: &Transport, shutdown: CancellationToken) {
    let mut open = JoinSet::new();
    let accept = async {
        // The socket closes before the open connections have ended.
        let mut incoming = std::pin::pin!(connections(socket));
        while let Some(Some(connection)) = shutdown.run_until_cancelled(incoming.next()).await {
            open.spawn(run(connection, services.clone(), limits.clone(), shutdown.clone()));
            while open.try_join_next().is_some() {}
        }
    };
    // A turn may be long in coming where thousands of streams have theirs: it takes all that wait, however many.
    unconstrained(accept).await;
    services.ads.wake_all();
    open.join_all().await;
}

/// What happens to a connection beside its bytes.
enum Event {
    StreamEnded,
    /// No more streams; those that are open may go on.
    WindDown,
    Cut,
}

async fn run(connection: Connection, services: Services, limits: Transport, shutdown: CancellationToken) {
    let (begun, peer) = (Streams::default(), connection.peer.clone());
    let patience = Patience { activity: connection.activity.clone(), limit: limits.keepalive_timeout };
    let builder = builder(&limits, begun.clone(), patience);
    let connection = if limits.http1 { Pieces::whole(connection) } else { Pieces::new(connection) };
    let http = builder.serve_connection(TokioIo::new(connection), Dispatch { services, peer });
    let mut http = std::pin::pin!(http);
    // Each is polled only when it has been woken: waiting costs nothing while others move.
    let mut running = FuturesUnordered::<BoxFuture<'static, Event>>::new();
    running.push(shutdown.cancelled_owned().map(|()| Event::WindDown).boxed());
    if let Some(age) = limits.max_connection_age {
        running.push(after(age, Event::WindDown));
        running.push(after(age + limits.max_connection_age_grace, Event::Cut));
    }
    let ended = poll_fn(|cx| {
        loop {
            // First the streams: what they send goes out at once.
            while let Poll::Ready(Some(event)) = running.poll_next_unpin(cx) {
                match event {
                    Event::StreamEnded => {}
                    Event::WindDown => http.as_mut().graceful_shutdown(),
                    Event::Cut => return Poll::Ready(Ok(())),
                }
            }
            if let Poll::Ready(ended) = http.as_mut().poll(cx) {
                return Poll::Ready(ended);
            }
            let new = begun.take();
            if new.is_empty() {
                return Poll::Pending;
            }
            running.extend(new.into_iter().map(|stream| stream.map(|()| Event::StreamEnded).boxed()));
        }
    });
    if let Err(error) = ended.await {
        debug!(error, "the connection has ended");
    }
}

fn after(time: Duration, event: Event) -> BoxFuture<'static, Event> {
    tokio::time::sleep(time).map(|()| event).boxed()
}

fn builder(limits: &Transport, streams: Streams, patience: Patience) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
    if !limits.http1 {
        builder = builder.http2_only();
    }
    builder.http1().timer(TokioTimer::new());
    builder
        .http2()
        .timer(patience)
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(limits.keepalive_interval)
        .keep_alive_timeout(limits.keepalive_timeout);
    builder
}

/// Streams that have begun, on their way into the task of their connection.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl Streams {
    fn take(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(stream.boxed());
    }
}

/// Hands requests of one peer to the services.
#[derive(Clone)]
struct Dispatch {
    services: Services,
    peer: Peer,
}

impl Service<Request<Incoming>> for Dispatch {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future =
        Either<Ready<Result<Self::Response, Infallible>>, BoxFuture<'static, Result<Self::Response, Infallible>>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if Ads::is_for(&request) {
            let response = self.services.ads.open(request, self.peer.clone());
            return Either::Left(ready(Ok(response.map(Answer::Messages))));
        }
        request.extensions_mut().insert(self.peer.clone());
        let response = self.services.others.clone().oneshot(request.map(tonic::body::Body::new));
        Either::Right(response.map(|response| response.map(|r| r.map(Answer::Other))).boxed())
    }
}

/// The body of an answer.
enum Answer {
    Messages(GrpcBody),
    Other(tonic::body::Body),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        match self.get_mut() {
            Self::Messages(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Other(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Messages(body) => body.is_end_stream(),
            Self::Other(body) => body.is_end_stream(),
        }
    }
}
