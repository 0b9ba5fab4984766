//! Builds what the control plane serves: engine, reconcilers and xDS server.

use std::{future::ready, io::Write, sync::Arc};

use futures::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};

use super::{
    control_plane::{Core, Parts},
    http::{ConfigDump, DebugData},
    translate::TranslateArgs,
};
use crate::sources::{Delivery, Intake};

/// Builds the core of a control plane.
///
/// # Errors
/// A part cannot be started.
pub(super) fn build(_parts: Parts) -> anyhow::Result<Core> {
    Ok(Core { intake: Arc::new(NoEngine), debug: Arc::new(NoEngine), servers: Vec::new() })
}

/// Writes what a proxy would be sent.
///
/// # Errors
/// A file cannot be read, or the output cannot be written.
pub(super) fn translate(args: &TranslateArgs, out: &mut impl Write) -> anyhow::Result<()> {
    for delivery in args.read()? {
        if let Delivery::Problem(problem) = delivery {
            writeln!(out, "# problem: {problem}")?;
        }
    }
    Ok(())
}

/// Takes objects and makes nothing of them.
struct NoEngine;

impl Intake for NoEngine {
    fn deliver(&self, delivery: Delivery) {
        tracing::debug!(?delivery, "delivered");
    }
}

impl DebugData for NoEngine {
    fn syncz(&self, _namespace: Option<String>) -> BoxFuture<'_, Value> {
        ready(json!([])).boxed()
    }

    fn adsz(&self) -> BoxFuture<'_, Value> {
        ready(json!({"totalClients": 0, "clients": []})).boxed()
    }

    fn config_dump(&self, _query: ConfigDump) -> BoxFuture<'_, Option<Value>> {
        ready(None).boxed()
    }

    fn configz(&self) -> BoxFuture<'_, Value> {
        ready(json!([])).boxed()
    }

    fn registryz(&self) -> BoxFuture<'_, Value> {
        ready(json!([])).boxed()
    }

    fn endpointz(&self) -> BoxFuture<'_, Value> {
        ready(json!([])).boxed()
    }
}
