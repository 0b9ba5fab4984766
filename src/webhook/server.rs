//! What the API server calls over HTTPS: `/inject` and `/ready` (contract §1, §5.1).
//!
//! Nobody has to say who they are: an answer tells no more than what a Pod of the mesh looks like. Bodies are bounded in
//! size and in time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use tokio::time::timeout;

use super::inject::{
    live::Live,
    review::{self, LARGEST, Outcome},
};
use crate::telemetry::metrics::Metrics;

/// How long a body may take; an API server gives up on an answer after ten seconds, if nothing else is said.
const BODY: Duration = Duration::from_secs(10);

/// Answers requests to inject Pods.
#[derive(Clone)]
pub struct Injector {
    /// What it knows.
    pub settings: Live,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error("content type {0:?}: it must be application/json")]
    ContentType(String),
    #[error("the body has more than {LARGEST} bytes")]
    TooLong,
    #[error("the body did not arrive within {BODY:?}")]
    TooSlow,
    #[error("the body cannot be read")]
    Broken(#[source] axum::Error),
    #[error("the body is empty")]
    Empty,
    #[error(transparent)]
    Review(#[from] review::ReviewError),
    #[error("the settings of the injector are not read yet")]
    NotReady,
    #[error("the settings of the injector are wrong: {0}")]
    Settings(Arc<str>),
}

impl RequestError {
    const fn status(&self) -> StatusCode {
        match self {
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Broken(_) | Self::Empty | Self::Review(_) => StatusCode::BAD_REQUEST,
            Self::NotReady => StatusCode::SERVICE_UNAVAILABLE,
            Self::Settings(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// What `--httpsAddr` serves.
pub fn router(injector: Injector) -> Router {
    Router::new().route("/ready", get(ready)).with_state(injector.clone()).merge(injection_routes(injector))
}

/// The same without `/ready`, which the HTTP address has itself.
pub fn injection_routes(injector: Injector) -> Router {
    Router::new().route("/inject", post(inject)).route("/inject/{*variables}", post(inject)).with_state(injector)
}

/// Whoever gets an answer has found it listening: all that is missing can be its settings.
async fn ready(State(injector): State<Injector>) -> StatusCode {
    match &*injector.settings.borrow() {
        Some(Ok(_)) => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

async fn inject(State(injector): State<Injector>, request: Request) -> Response {
    let (metrics, begun) = (&injector.metrics, Instant::now());
    metrics.injection_requests.inc();
    let answered = injector.answer(request).await;
    let count = match &answered {
        Ok((_, Outcome::Injected)) => &metrics.injections,
        Ok((_, Outcome::Skipped)) => &metrics.injections_skipped,
        Ok((_, Outcome::Failed)) | Err(_) => &metrics.injection_failures,
    };
    count.inc();
    metrics.injection_time.observe(begun.elapsed().as_secs_f64());
    match answered {
        Ok((review, _)) => ([(header::CONTENT_TYPE, "application/json")], review.to_string()).into_response(),
        Err(error) => {
            let (status, reason) = (error.status(), chain(&error));
            tracing::warn!(%status, reason, "a request to inject is not answered");
            (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], reason + "\n").into_response()
        }
    }
}

impl Injector {
    async fn answer(&self, request: Request) -> Result<(serde_json::Value, Outcome), RequestError> {
        is_json(request.headers())?;
        let variables = review::variables_of_path(request.uri().path());
        let body = read(request.into_body(), BODY).await?;
        let settings = match &*self.settings.borrow() {
            None => return Err(RequestError::NotReady),
            Some(Err(reason)) => return Err(RequestError::Settings(reason.clone())),
            Some(Ok(settings)) => settings.clone(),
        };
        Ok(review::answer(&settings, &body, &variables)?)
    }
}

fn is_json(headers: &HeaderMap) -> Result<(), RequestError> {
    let said = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = said.split(';').next().unwrap_or_default().trim();
    let is = media_type.eq_ignore_ascii_case("application/json");
    if is { Ok(()) } else { Err(RequestError::ContentType(said.to_owned())) }
}

async fn read(body: Body, patience: Duration) -> Result<Bytes, RequestError> {
    use http_body::Body as _;
    // What says itself that it is too long is not read at all.
    if body.size_hint().lower() > LARGEST as u64 {
        return Err(RequestError::TooLong);
    }
    let read = timeout(patience, to_bytes(body, LARGEST)).await.map_err(|_| RequestError::TooSlow)?;
    let read = read.map_err(|error| {
        let is_length = |e: &(dyn std::error::Error + 'static)| e.is::<http_body_util::LengthLimitError>();
        let mut causes = std::iter::successors(Some(&error as &(dyn std::error::Error + 'static)), |e| e.source());
        if causes.any(is_length) { RequestError::TooLong } else { RequestError::Broken(error) }
    })?;
    if read.is_empty() { Err(RequestError::Empty) } else { Ok(read) }
}

fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |e| e.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
