//! Metrics of Envoy, the workload and the agent on one page.

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, Method, header};
use futures::future::join_all;
use serde::Deserialize;

use super::istio::{Own, finish};
use crate::{
    agent::{chain, client::Server, metrics::Metrics},
    model::proxy_config::RESERVED_PORTS,
};

/// What is served.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The most that a workload may tell.
const LIMIT: usize = 10 << 20;

/// How long a workload may take, if the one who asks does not say.
const PATIENCE: Duration = Duration::from_secs(10);

/// Says how long the one who asks waits, in seconds.
const TIMEOUT_HEADER: &str = "x-prometheus-scrape-timeout-seconds";

/// The end of what is in OpenMetrics.
const END: &str = "# EOF";

/// Why the workload's metrics cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ScrapeError {
    /// The variable is none.
    #[error("ISTIO_PROMETHEUS_ANNOTATIONS cannot be read")]
    Syntax(#[from] serde_json::Error),
    /// The port is none, or ours.
    #[error("ISTIO_PROMETHEUS_ANNOTATIONS: {0:?} is no port of a workload")]
    Port(String),
}

/// What the injector took from the pod's annotations.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    scrape: String,
    path: String,
    port: String,
    targets: Vec<Target>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Target {
    path: String,
    port: String,
}

/// Where metrics come from.
#[derive(Clone, Debug)]
pub struct Scrape {
    envoy: Server,
    workload: Vec<(Server, String)>,
    own: Arc<Metrics>,
    /// Whom Istio's metrics are about.
    beside: Own,
}

impl Scrape {
    /// `annotations` is the variable ISTIO_PROMETHEUS_ANNOTATIONS, empty where it is not set; `status_port` is the
    /// agent's; `beside` the workload.
    ///
    /// # Errors
    /// The variable is wrong.
    pub fn new(
        envoy: Server,
        annotations: &str,
        status_port: u16,
        own: Arc<Metrics>,
        beside: Own,
    ) -> Result<Self, ScrapeError> {
        let mut scrape = Self { envoy, workload: Vec::new(), own, beside };
        if annotations.is_empty() {
            return Ok(scrape);
        }
        let asked: Annotations = serde_json::from_str(annotations)?;
        if asked.scrape == "false" {
            return Ok(scrape);
        }
        let only = Target { path: asked.path, port: if asked.port.is_empty() { "80".to_owned() } else { asked.port } };
        let targets = if asked.targets.is_empty() { vec![only] } else { asked.targets };
        for Target { path, port } in targets {
            // Asking one of ours would go in circles, or give what is there already.
            let is_theirs = |port: &u16| *port != status_port && !RESERVED_PORTS.contains(port) && *port > 0;
            let number = port.parse().ok().filter(is_theirs);
            let number = number.ok_or(ScrapeError::Port(port))?;
            let path = if path.is_empty() { "/metrics".to_owned() } else { path };
            let server = Server { port: number, limit: LIMIT, ..scrape.envoy.clone() };
            scrape.workload.push((server, path));
        }
        Ok(scrape)
    }

    /// All of them. What cannot be had is left out, and counted.
    pub async fn collect(&self, asked: &HeaderMap) -> String {
        let patience = asked.get(TIMEOUT_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
        let patience = patience.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(PATIENCE);
        let mut headers = HeaderMap::new();
        if let Some(accept) =
            asked.get(header::ACCEPT).filter(|accept| accept.to_str().is_ok_and(|a| a.contains("text")))
        {
            headers.insert(header::ACCEPT, accept.clone());
        }
        let workload = self.workload.iter().map(|(server, path)| {
            let server = Server { patience, ..server.clone() };
            let headers = &headers;
            async move { self.ask(&server, path, headers).await }
        });
        let envoy = Server { patience, ..self.envoy.clone() };
        let none = HeaderMap::new();
        let (envoy, workload) = tokio::join!(self.ask(&envoy, "/stats/prometheus", &none), join_all(workload));
        let mut text = finish(&envoy, &self.beside);
        workload.iter().for_each(|part| text.push_str(part));
        text + &self.own.text()
    }

    async fn ask(&self, server: &Server, path: &str, headers: &HeaderMap) -> String {
        let reason = match server.send(Method::GET, path, headers).await {
            Ok(answer) if answer.status.is_success() => return lines(&answer.text()),
            Ok(answer) => format!("it answers {}", answer.status),
            Err(error) => chain(&error),
        };
        tracing::warn!("no metrics of {}:{}{path}: {reason}", server.host, server.port);
        self.own.scrape_failure();
        String::new()
    }
}

/// Text to which more can be added.
fn lines(text: &str) -> String {
    let kept = text.lines().filter(|line| line.trim_end() != END);
    kept.fold(String::with_capacity(text.len() + 1), |all, line| all + line + "\n")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use axum::{Router, routing::get};
    use tokio::{net::TcpListener, task::JoinSet};

    use super::*;

    async fn page(path: &'static str, text: &'static str) -> (u16, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut tasks = JoinSet::new();
        let router = Router::new().route(path, get(move || async move { text }));
        tasks.spawn(async move { axum::serve(listener, router).await.expect("served") });
        (port, tasks)
    }

    fn new(envoy: u16, annotations: &str) -> Result<Scrape, ScrapeError> {
        Scrape::new(
            Server::local(Ipv4Addr::LOCALHOST.into(), envoy),
            annotations,
            15020,
            Arc::default(),
            Own::default(),
        )
    }

    #[tokio::test]
    async fn all_that_can_be_had_is_on_one_page() {
        let (envoy, _envoy) = page("/stats/prometheus", "envoy_a 1\n").await;
        let (app, _app) = page("/own", "app_b 2\n# EOF").await;
        let annotations = format!(r#"{{"targets": [{{"port": "{app}", "path": "/own"}}, {{"port": "{app}"}}]}}"#);
        let text = new(envoy, &annotations).expect("it is right").collect(&HeaderMap::new()).await;
        assert!(text.starts_with("envoy_a 1\napp_b 2\n# HELP istio_agent"), "{text}");
        assert!(text.ends_with("istio_agent_scrape_failures_total 1\n") && !text.contains(END), "{text}");
    }

    #[test]
    fn our_own_ports_are_no_workload() {
        assert!(new(1, "").expect("nothing").workload.is_empty());
        assert!(new(1, r#"{"scrape": "false", "port": "15020"}"#).expect("nothing").workload.is_empty());
        let usual = new(1, r#"{"scrape": "true"}"#).expect("the usual").workload;
        assert_eq!((usual[0].0.port, &*usual[0].1), (80, "/metrics"));
        for port in ["15020", "015020", "15090", "http", "0"] {
            assert!(new(1, &format!(r#"{{"port": "{port}"}}"#)).is_err(), "{port}");
        }
    }
}
