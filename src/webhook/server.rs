//! What the API server calls over HTTPS: `/inject`, `/validate` and `/ready` (contract §1, §5.1, §10).
//!
//! Nobody has to say who they are: an answer tells no more than what a Pod of the mesh looks like, or what is wrong with
//! what was asked about. Bodies are bounded in size, in time and in number.

use axum::{Router, http::StatusCode, routing::get};

use super::{
    inject::{
        live::Live,
        serve::{self as injection, Injector},
    },
    validate::serve::{self as validation, Validator},
};

/// What answers: each where it is wanted.
#[derive(Clone, Default)]
pub struct Webhooks {
    /// Answers about Pods.
    pub injector: Option<Injector>,
    /// Answers about configuration.
    pub validator: Option<Validator>,
}

impl Webhooks {
    /// What `--httpsAddr` serves.
    pub fn router(self) -> Router {
        let settings = self.injector.as_ref().map(|injector| injector.settings.clone());
        Router::new().route("/ready", get(move || std::future::ready(ready(settings.as_ref())))).merge(self.routes())
    }

    /// The same without `/ready`, which the HTTP address has itself.
    pub fn routes(self) -> Router {
        let injection = self.injector.map(injection::routes);
        let validation = self.validator.map(validation::routes);
        Router::new().merge(injection.unwrap_or_default()).merge(validation.unwrap_or_default())
    }
}

/// Whoever gets an answer has found it listening: all that is missing can be the injector's settings.
fn ready(settings: Option<&Live>) -> StatusCode {
    match settings.map(|settings| matches!(&*settings.borrow(), Some(Ok(_)))) {
        None | Some(true) => StatusCode::OK,
        Some(false) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

#[cfg(test)]
mod tests;
