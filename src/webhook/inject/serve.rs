//! `/inject` (contract §1, §5.1).

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{self, State},
    response::Response,
    routing::post,
};
use serde_json::Value;

use super::{
    live::Live,
    review::{Outcome, answer, variables_of_path},
};
use crate::{
    telemetry::metrics::Metrics,
    webhook::request::{Capacity, RequestError, json},
};

/// Answers requests to inject Pods.
#[derive(Clone)]
pub struct Injector {
    /// What it knows.
    pub settings: Live,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// How much it may do at once.
    pub capacity: Capacity,
}

/// Where it is asked.
pub(in crate::webhook) fn routes(injector: Injector) -> Router {
    Router::new().route("/inject", post(inject)).route("/inject/{*variables}", post(inject)).with_state(injector)
}

async fn inject(State(injector): State<Injector>, request: extract::Request) -> Response {
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
        Ok((review, _)) => json(&review),
        Err(error) => error.tell("inject"),
    }
}

impl Injector {
    async fn answer(&self, request: extract::Request) -> Result<(Value, Outcome), RequestError> {
        let (head, body) = request.into_parts();
        let variables = variables_of_path(head.uri.path());
        let read = self.capacity.read(&head.headers, body).await?;
        let settings = match &*self.settings.borrow() {
            None => return Err(RequestError::NotReady),
            Some(Err(reason)) => return Err(RequestError::Settings(reason.clone())),
            Some(Ok(settings)) => settings.clone(),
        };
        self.capacity.work(read, move |body| Ok(answer(&settings, body, &variables)?)).await
    }
}
