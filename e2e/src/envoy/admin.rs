//! Envoy's admin interface.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::{Context, Result, bail};
use http::Method;
use serde_json::Value;

use crate::client::{Client, Request};

/// What Envoy has been given but does not serve yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warming {
    /// `cluster_manager.warming_clusters`.
    pub clusters: u64,
    /// `listener_manager.total_listeners_warming`.
    pub listeners: u64,
}

/// The admin interface of a running Envoy.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

impl Admin {
    /// The one at this address.
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { client: Client::http(address) }
    }

    /// The body of a page.
    ///
    /// # Errors
    /// When it does not answer 200, with what it says.
    pub async fn get(&self, path: &str) -> Result<String> {
        self.ask(Request::get(path)).await
    }

    /// Does something: `/drain_listeners?graceful`, `/logging?level=debug`.
    ///
    /// # Errors
    /// When it does not answer 200, with what it says.
    pub async fn post(&self, path: &str) -> Result<String> {
        self.ask(Request::get(path).method(Method::POST)).await
    }

    async fn ask(&self, request: Request) -> Result<String> {
        let reply = self.client.send(&request).await?;
        if reply.status != 200 {
            bail!("{} {}", reply.status, reply.text().trim());
        }
        Ok(reply.text())
    }

    /// A page of JSON.
    ///
    /// # Errors
    /// When it does not answer 200, or not with JSON.
    pub async fn json(&self, path: &str) -> Result<Value> {
        serde_json::from_str(&self.get(path).await?).with_context(|| format!("parse {path}"))
    }

    /// Counters and gauges whose names match a regular expression, used ones only.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub async fn stats(&self, filter: &str) -> Result<BTreeMap<String, u64>> {
        let filter = escape(filter);
        let page = self.get(&format!("/stats?usedonly&filter={filter}")).await?;
        // Histograms and text readouts have values that are no numbers; they are left out.
        let number = |line: &str| {
            let (name, value) = line.rsplit_once(": ")?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Ok(page.lines().filter_map(number).collect())
    }

    /// One counter or gauge; 0 when it was never touched.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub async fn stat(&self, name: &str) -> Result<u64> {
        let quoted: String =
            name.chars().flat_map(|c| if c.is_alphanumeric() { vec![c] } else { vec!['\\', c] }).collect();
        Ok(self.stats(&format!("^{quoted}$")).await?.get(name).copied().unwrap_or(0))
    }

    /// What warms.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub async fn warming(&self) -> Result<Warming> {
        Ok(Warming {
            clusters: self.stat("cluster_manager.warming_clusters").await?,
            listeners: self.stat("listener_manager.total_listeners_warming").await?,
        })
    }

    /// All configuration, endpoints included.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub async fn config_dump(&self) -> Result<Value> {
        self.json("/config_dump?include_eds").await
    }

    /// The `configs` entry of one kind, by the end of its type: `ListenersConfigDump`, `RoutesConfigDump`, ….
    ///
    /// # Errors
    /// When Envoy does not answer or has no such entry.
    pub async fn config_of(&self, kind: &str) -> Result<Value> {
        let dump = self.config_dump().await?;
        let configs = dump["configs"].as_array().map_or(&[][..], Vec::as_slice);
        let suffix = format!(".{kind}");
        let found = configs.iter().find(|c| c["@type"].as_str().is_some_and(|t| t.ends_with(&suffix)));
        found.cloned().with_context(|| format!("no {kind} in the configuration dump"))
    }

    /// Clusters with their hosts and counters.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub async fn clusters(&self) -> Result<Value> {
        self.json("/clusters?format=json").await
    }

    /// The addresses (`ip:port`) of a cluster's hosts, sorted; empty when there is no such cluster.
    ///
    /// # Errors
    /// When Envoy does not answer.
    pub async fn hosts(&self, cluster: &str) -> Result<Vec<String>> {
        let page = self.clusters().await?;
        let all = page["cluster_statuses"].as_array().map_or(&[][..], Vec::as_slice);
        let statuses = all.iter().filter(|c| c["name"] == cluster).filter_map(|c| c["host_statuses"].as_array());
        let address = |host: &Value| {
            let socket = &host["address"]["socket_address"];
            format!("{}:{}", socket["address"].as_str().unwrap_or("?"), socket["port_value"])
        };
        let mut hosts: Vec<_> = statuses.flatten().map(address).collect();
        hosts.sort();
        Ok(hosts)
    }
}

/// Escapes what a query value may not hold.
fn escape(text: &str) -> String {
    let escaped = |b: u8| {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") }
    };
    text.bytes().map(escaped).collect()
}
