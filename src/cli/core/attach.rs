//! The engine as the xDS server sees it.

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};

use crate::{
    engine::{Attached, Engine},
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
            let Attached { snapshots, lease } = attached.map_err(|_| AttachError::ShuttingDown)?;
            Ok(Attachment { snapshots, guard: Box::new(lease) })
        }
        .boxed()
    }
}
