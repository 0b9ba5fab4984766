//! Requests over HTTP: their bodies, bounded in size, in time and in number.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};

use super::review::ReviewError;

/// The longest request that is looked at, in bytes: an object of the API server has at most 1.5 MiB, and may be there
/// twice.
pub(super) const LARGEST: usize = 3 * 1024 * 1024 + 512 * 1024;
/// How long a body may take; an API server gives up on an answer after ten seconds, if nothing else is said.
const PATIENCE: Duration = Duration::from_secs(10);
/// Up to this size a request is an ordinary one, in bytes: those of the API server are. It is read at any time.
const ORDINARY: usize = 128 * 1024;
/// How many bytes of all others are held at once.
const HELD: usize = 64 * 1024 * 1024;
/// How many ordinary requests are worked on at once. A value in memory can be fifty times as large as in JSON.
const AT_ONCE: usize = 16;

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error("content type {0:?}: it must be application/json")]
    ContentType(String),
    #[error("the body has more than {LARGEST} bytes")]
    TooLong,
    #[error("the body did not arrive within {0:?}")]
    TooSlow(Duration),
    #[error("the body cannot be read")]
    Broken(#[source] axum::Error),
    #[error("the body is empty")]
    Empty,
    #[error("there are too many large requests at once: try again")]
    Busy,
    #[error(transparent)]
    Review(#[from] ReviewError),
    #[error("the settings of the injector are not read yet")]
    NotReady,
    #[error("the settings of the injector are wrong: {0}")]
    Settings(Arc<str>),
    #[error("the answer could not be made")]
    Failed,
}

impl RequestError {
    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) | Self::Empty | Self::Review(_) => StatusCode::BAD_REQUEST,
            Self::Busy | Self::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            Self::Settings(_) | Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Tells it to who asked, and in the log.
    pub(super) fn tell(&self, what: &str) -> Response {
        let (status, reason) = (self.status(), chain(self));
        tracing::warn!(%status, reason, "a request to {what} is not answered");
        (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], reason + "\n").into_response()
    }
}

/// An answer.
pub(super) fn json(review: &serde_json::Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], review.to_string()).into_response()
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |e| e.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// How many requests there may be at once, over all connections. What it allows bounds the memory that strangers can
/// take; ordinary requests never wait for large ones.
#[derive(Clone, Debug)]
pub struct Capacity {
    /// Pieces of [`ORDINARY`] size.
    held: Arc<Semaphore>,
    ordinary: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            held: Arc::new(Semaphore::new(HELD / ORDINARY)),
            ordinary: Arc::new(Semaphore::new(AT_ONCE)),
            large: Arc::new(Semaphore::new(1)),
        }
    }
}

/// The body of a request.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) bytes: Bytes,
    /// What it takes of the capacity.
    _held: Option<OwnedSemaphorePermit>,
}

impl Capacity {
    /// Reads a body of JSON.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Read, RequestError> {
        is_json(headers)?;
        self.read_within(body, PATIENCE).await
    }

    pub(super) async fn read_within(&self, mut body: Body, patience: Duration) -> Result<Read, RequestError> {
        // What says itself that it is too long is not read at all.
        if body.size_hint().lower() > LARGEST as u64 {
            return Err(RequestError::TooLong);
        }
        let deadline = Instant::now() + patience;
        let (mut bytes, mut held) = (BytesMut::new(), None);
        loop {
            let frame = timeout_at(deadline, body.frame()).await.map_err(|_| RequestError::TooSlow(patience))?;
            let Some(frame) = frame else { break };
            let Ok(data) = frame.map_err(RequestError::Broken)?.into_data() else { continue };
            if bytes.len() + data.len() > LARGEST {
                return Err(RequestError::TooLong);
            }
            bytes.extend_from_slice(&data);
            self.hold(&mut held, bytes.len())?;
        }
        if bytes.is_empty() { Err(RequestError::Empty) } else { Ok(Read { bytes: bytes.freeze(), _held: held }) }
    }

    /// Takes as much as a body of this size needs.
    fn hold(&self, held: &mut Option<OwnedSemaphorePermit>, size: usize) -> Result<(), RequestError> {
        let have = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = u32::try_from((size / ORDINARY).saturating_sub(have)).unwrap_or(u32::MAX);
        if missing > 0 {
            let more = self.held.clone().try_acquire_many_owned(missing).map_err(|_| RequestError::Busy)?;
            match held {
                Some(held) => held.merge(more),
                None => *held = Some(more),
            }
        }
        Ok(())
    }

    /// Does the work for a body where it keeps nobody else from going on. It is bounded in time by its own means.
    pub(super) async fn work<T: Send + 'static>(
        &self,
        read: Read,
        work: impl FnOnce(&[u8]) -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let turns = if read.bytes.len() > ORDINARY { &self.large } else { &self.ordinary };
        let turn = turns.clone().acquire_owned().await.map_err(|_| RequestError::Failed)?;
        // A request whose client has gone away is finished all the same, and holds its turn until then.
        let working = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&read.bytes)
        });
        // A panic is told where it happens.
        working.await.map_err(|_| RequestError::Failed)?
    }
}

fn is_json(headers: &HeaderMap) -> Result<(), RequestError> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = said.split(';').next().unwrap_or_default().trim();
    let is = media_type.eq_ignore_ascii_case("application/json");
    if is { Ok(()) } else { Err(RequestError::ContentType(said.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
        let read = Capacity::default().read_within(never, Duration::from_millis(1)).await;
        assert_eq!(read.expect_err("no body").status(), 408);
    }

    #[tokio::test]
    async fn large_bodies_are_bounded_together_and_ordinary_ones_are_read_all_the_same() {
        let capacity = Capacity::default();
        let body = |size: usize| capacity.read_within(Body::from(vec![b' '; size]), PATIENCE);
        let mut held = Vec::new();
        let refused = loop {
            match body(LARGEST).await {
                Ok(read) => held.push(read),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.status(), 503);
        assert_eq!(held.len(), HELD / LARGEST);
        assert!(body(ORDINARY - 1).await.is_ok());
        held.pop();
        assert!(body(LARGEST).await.is_ok(), "what was answered is held no more");
    }

    #[tokio::test]
    async fn ordinary_requests_do_not_wait_for_large_ones() {
        let capacity = Capacity::default();
        let read = |size: usize| capacity.read_within(Body::from(vec![b' '; size]), PATIENCE);
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let large = read(ORDINARY + 1).await.expect("a body");
        let (working, small) =
            (capacity.work(large, move |_| Ok(wait.recv().is_err())), read(3).await.expect("a body"));
        let answered = async {
            let answer = capacity.work(small, |bytes| Ok(bytes.len())).await;
            drop(release);
            answer
        };
        let (worked, answered) = tokio::join!(working, answered);
        assert!(worked.expect("an answer"));
        assert_eq!(answered.expect("an answer"), 3);
        let small = read(3).await.expect("a body");
        let panics = capacity.work(small, |_| -> Result<(), _> { panic!("as a test") }).await;
        assert_eq!(panics.expect_err("no answer").status(), 500);
    }
}
