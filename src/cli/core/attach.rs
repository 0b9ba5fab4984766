//! The engine as the xDS server sees it.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};

use crate::{
    engine::{Engine, Ticket},
    model::Proxy,
    telemetry::ready::Readiness,
    xds::{AttachError, Attachment, Proxies},
};

/// Attaches proxies to the engine once every source is complete (design §2 truth 1).
pub(super) struct Attach {
    pub(super) engine: Engine,
    pub(super) readiness: Readiness,
}

impl Proxies for Attach {
    fn attach(&self, proxy: Arc<Proxy>) -> BoxFuture<'_, Result<Attachment, AttachError>> {
        async move {
            if !self.readiness.is_ready() {
                return Err(AttachError::NotReady(self.readiness.waiting_for().join(", ")));
            }
            let attached = self.engine.attach(proxy).await;
            let (ticket, snapshots) = attached.map_err(|_| AttachError::ShuttingDown)?;
            let guard = Box::new(Detach { engine: self.engine.clone(), ticket });
            Ok(Attachment { snapshots, guard })
        }
        .boxed()
    }
}

/// Detaches when dropped.
struct Detach {
    engine: Engine,
    ticket: Ticket,
}

impl Drop for Detach {
    fn drop(&mut self) {
        self.engine.detach(self.ticket);
    }
}
