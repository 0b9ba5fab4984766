//! The two directions of a stream. Without a table of names to ask for, bytes pass as they are.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
};

use super::{
    chain,
    frames::Frames,
    names::{Asker, Protocol, Taker},
};
use crate::agent::names::Learner;

/// What the agent says on Envoy's stream.
#[derive(Debug)]
struct Says {
    asker: Asker,
    frames: Frames,
    ready: VecDeque<Bytes>,
    /// Answers to what the control plane tells; there is one for each, at most.
    replies: UnboundedReceiver<Bytes>,
}

/// What the agent hears there.
#[derive(Debug)]
pub(super) struct Hears {
    taker: Taker,
    frames: Frames,
    ready: VecDeque<Bytes>,
    replies: UnboundedSender<Bytes>,
}

/// Envoy's side of a stream.
#[derive(Debug)]
pub(super) struct Requests {
    envoy: Incoming,
    says: Option<Says>,
}

impl Requests {
    /// With a learner, its part is added, and comes to an end on the other side.
    pub(super) fn new(envoy: Incoming, protocol: Protocol, learner: Option<&Arc<Learner>>) -> (Self, Option<Hears>) {
        let Some(learner) = learner else { return (Self { envoy, says: None }, None) };
        let (sender, replies) = unbounded_channel();
        let asker = Asker { protocol, learner: Arc::clone(learner), has_asked: false };
        let taker = Taker { protocol, learner: Arc::clone(learner) };
        let says = Says { asker, frames: Frames::default(), ready: VecDeque::new(), replies };
        let hears = Hears { taker, frames: Frames::default(), ready: VecDeque::new(), replies: sender };
        (Self { envoy, says: Some(says) }, Some(hears))
    }
}

impl Says {
    fn hear(&mut self, bytes: Bytes) {
        let Self { asker, frames, ready, .. } = self;
        frames.push(bytes, |message| {
            let more = asker.after(&message);
            ready.push_back(message);
            ready.extend(more);
        });
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, hyper::Error>>>;

impl Body for Requests {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let Self { envoy, says } = &mut *self;
        let Some(says) = says else { return Pin::new(envoy).poll_frame(cx) };
        loop {
            if let Some(message) = says.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(message))));
            }
            // The other side goes when the stream ends; that is not told here.
            if let Poll::Ready(Some(reply)) = says.replies.poll_recv(cx) {
                says.ready.push_back(reply);
                continue;
            }
            match ready!(Pin::new(&mut *envoy).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => says.hear(bytes),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                ended => return Poll::Ready(ended),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.says.as_ref().is_none_or(|says| says.ready.is_empty()) && self.envoy.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.says.is_some() { SizeHint::default() } else { self.envoy.size_hint() }
    }
}

/// The control plane's side of a stream, and what keeps it alive; it ends with Envoy's.
pub(super) struct Guarded {
    pub(super) body: Incoming,
    pub(super) hears: Option<Hears>,
    pub(super) address: String,
    pub(super) _sender: SendRequest<Requests>,
    pub(super) _driver: JoinSet<()>,
}

impl Hears {
    fn hear(&mut self, bytes: Bytes) {
        let Self { taker, frames, ready, replies } = self;
        frames.push(bytes, |message| match taker.take(&message) {
            // Nobody listens any more when the stream has ended.
            Some(reply) => _ = replies.send(reply),
            None => ready.push_back(message),
        });
    }
}

impl Body for Guarded {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let Self { body, hears, address, .. } = &mut *self;
        loop {
            if let Some(message) = hears.as_mut().and_then(|hears| hears.ready.pop_front()) {
                return Poll::Ready(Some(Ok(Frame::data(message))));
            }
            let polled = ready!(Pin::new(&mut *body).poll_frame(cx));
            if let Some(Err(error)) = &polled {
                tracing::warn!("the stream of configuration from {address} ended: {}", chain(error));
            }
            match (polled, hears.as_mut()) {
                (Some(Ok(frame)), Some(hears)) => match frame.into_data() {
                    Ok(bytes) => hears.hear(bytes),
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                (polled, _) => return Poll::Ready(polled),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.hears.as_ref().is_none_or(|hears| hears.ready.is_empty()) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.hears.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}
