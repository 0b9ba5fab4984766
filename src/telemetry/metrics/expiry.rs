//! When the certificates of the authority end: as a time, and as what is left of it when it is asked for.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::gauge::ConstGauge,
};

/// When the certificates of the authority end; nothing is told before it is known.
#[derive(Debug, Default)]
pub struct Expiry(Mutex<Option<Ends>>);

#[derive(Clone, Copy, Debug)]
struct Ends {
    root: SystemTime,
    chain: SystemTime,
}

impl Expiry {
    /// From now on: the root that ends first, and the authority's own certificate or one between it and a root.
    pub fn set(&self, root: SystemTime, chain: SystemTime) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Ends { root, chain });
    }
}

/// The gauges.
#[derive(Debug)]
pub(super) struct Expiring(pub(super) Arc<Expiry>);

impl Collector for Expiring {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let Some(Ends { root, chain }) = *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) else {
            return Ok(());
        };
        #[expect(clippy::disallowed_methods, reason = "metrics tell how much time is left; nothing is decided by it")]
        let now = SystemTime::now();
        let mut gauge = |name: &str, help: &str, value: f64| {
            let metric = ConstGauge::new(value);
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        for (name, end) in [("root_cert", root), ("cert_chain", chain)] {
            let timestamp = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            let left = end.duration_since(now).map_or_else(|late| -late.duration().as_secs_f64(), |d| d.as_secs_f64());
            let (what, prefix) = (name.replace('_', " "), format!("citadel_server_{name}_expiry"));
            gauge(&format!("{prefix}_timestamp"), &format!("When the {what} ends, in seconds since 1970"), timestamp)?;
            gauge(&format!("{prefix}_seconds"), &format!("Seconds until the {what} ends"), left)?;
        }
        Ok(())
    }
}
