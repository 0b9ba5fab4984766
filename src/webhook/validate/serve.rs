//! `/validate` (contract §1, §10).

use std::sync::Arc;

use axum::{
    Router,
    extract::{self, State},
    response::Response,
    routing::post,
};
use serde_json::Value;

use super::review::{Outcome, answer};
use crate::{
    telemetry::metrics::{Metrics, StatusLabel, ValidationFailure, ValidationLabels},
    validate::Context,
    webhook::{
        request::{Capacity, RequestError, json},
        review::Resource,
    },
};

/// Answers whether objects may be stored.
#[derive(Clone)]
pub struct Validator {
    /// What is known beside the objects.
    pub context: Arc<Context>,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// How much it may do at once.
    pub capacity: Capacity,
}

/// Where it is asked.
pub(in crate::webhook) fn routes(validator: Validator) -> Router {
    Router::new().route("/validate", post(serve)).route("/validate/{*rest}", post(serve)).with_state(validator)
}

async fn serve(State(validator): State<Validator>, request: extract::Request) -> Response {
    match validator.answer(request).await {
        Ok((review, outcome)) => {
            count(&validator.metrics, outcome);
            json(&review)
        }
        Err(error) => {
            let status = error.status().as_str().into();
            validator.metrics.validation_http_errors.get_or_create(&StatusLabel { status }).inc();
            error.tell("validate")
        }
    }
}

impl Validator {
    async fn answer(&self, request: extract::Request) -> Result<(Value, Outcome), RequestError> {
        let (head, body) = request.into_parts();
        let read = self.capacity.read(&head.headers, body).await?;
        let context = self.context.clone();
        self.capacity.work(read, move |body| Ok(answer(&context, body)?)).await
    }
}

fn count(metrics: &Metrics, outcome: Outcome) {
    let Outcome { resource: Resource { group, version, resource }, failure } = outcome;
    let (group, version, resource) = (group.into(), version.into(), resource.into());
    match failure {
        None => metrics.validations.get_or_create(&ValidationLabels { group, version, resource }).inc(),
        Some(reason) => {
            let labels = ValidationFailure { group, version, resource, reason: reason.into() };
            metrics.validation_failures.get_or_create(&labels).inc()
        }
    };
}
