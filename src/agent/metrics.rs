//! What the agent counts of itself, as Prometheus reads it.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::UNIX_EPOCH,
};

use super::identity::Identity;

/// Counters and gauges.
#[derive(Debug, Default)]
pub struct Metrics {
    certificates: AtomicU64,
    refusals: AtomicU64,
    expiry: AtomicU64,
    streams: AtomicU64,
    stream_failures: AtomicU64,
    scrape_failures: AtomicU64,
    questions: AtomicU64,
    questions_handed_on: AtomicU64,
    questions_failed: AtomicU64,
}

impl Metrics {
    /// A certificate was issued.
    pub fn issued(&self, identity: &Identity) {
        self.certificates.fetch_add(1, Ordering::Relaxed);
        let expiry = identity.ends.duration_since(UNIX_EPOCH).unwrap_or_default();
        self.expiry.store(expiry.as_secs(), Ordering::Relaxed);
    }

    /// None was.
    pub fn refused(&self) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
    }

    /// A stream to the control plane began.
    pub fn stream(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
    }

    /// One could not.
    pub fn stream_failure(&self) {
        self.stream_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The workload or Envoy did not give its metrics.
    pub fn scrape_failure(&self) {
        self.scrape_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// The workload asked for a name.
    pub fn question(&self) {
        self.questions.fetch_add(1, Ordering::Relaxed);
    }

    /// One that the mesh does not have.
    pub fn question_handed_on(&self) {
        self.questions_handed_on.fetch_add(1, Ordering::Relaxed);
    }

    /// No server answered it.
    pub fn question_failed(&self) {
        self.questions_failed.fetch_add(1, Ordering::Relaxed);
    }

    /// In Prometheus' text format.
    #[must_use]
    pub fn text(&self) -> String {
        let value = |atomic: &AtomicU64| atomic.load(Ordering::Relaxed);
        [
            ("certificates_total", "counter", "Certificates that the workload was given", value(&self.certificates)),
            ("certificate_failures_total", "counter", "Requests for a certificate that failed", value(&self.refusals)),
            ("cert_expiry_timestamp_seconds", "gauge", "When the certificate ends", value(&self.expiry)),
            ("xds_streams_total", "counter", "Streams to the control plane", value(&self.streams)),
            ("xds_stream_failures_total", "counter", "Streams that could not begin", value(&self.stream_failures)),
            ("dns_requests_total", "counter", "Questions for names", value(&self.questions)),
            (
                "dns_upstream_requests_total",
                "counter",
                "Questions that other servers were asked",
                value(&self.questions_handed_on),
            ),
            (
                "dns_upstream_failures_total",
                "counter",
                "Questions that none of them answered",
                value(&self.questions_failed),
            ),
            ("scrape_failures_total", "counter", "Metrics that could not be had", value(&self.scrape_failures)),
        ]
        .map(|(name, kind, help, value)| {
            let name = format!("istio_agent_{name}");
            format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
        })
        .concat()
    }
}
