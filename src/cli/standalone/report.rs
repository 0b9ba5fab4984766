//! Says what is programmed and what is wrong, as it changes.

use std::{collections::BTreeSet, fmt::Write as _, io::Write, net::SocketAddr, sync::Arc, time::Duration};

use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::admin;
use crate::telemetry::problems::Problems;

/// How often Envoy is asked what it runs: it does not tell by itself.
const INTERVAL: Duration = Duration::from_millis(500);

/// Watches problems and Envoy.
pub(super) struct Report {
    problems: Arc<Problems>,
    admin: SocketAddr,
    said: BTreeSet<String>,
    programmed: BTreeSet<String>,
}

impl Report {
    pub(super) fn new(problems: Arc<Problems>, admin: SocketAddr) -> Self {
        Self { problems, admin, said: BTreeSet::new(), programmed: BTreeSet::new() }
    }

    /// Writes changes until dropped.
    pub(super) async fn run(mut self, out: &mut impl Write) -> anyhow::Result<()> {
        let mut changed = self.problems.subscribe();
        changed.mark_changed();
        let mut tick = interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let text = tokio::select! {
                // The sender lives as long as `self.problems`.
                _ = changed.changed() => {
                    let now = self.problems.lines().into_iter().collect();
                    difference(&mut self.said, now, "problem      ", "fixed        ")
                }
                _ = tick.tick() => match programmed(self.admin).await {
                    Ok(now) => difference(&mut self.programmed, now, "programmed   ", "removed      "),
                    // It starts, or ends.
                    Err(_) => continue,
                },
            };
            out.write_all(text.as_bytes())?;
            out.flush()?;
        }
    }
}

/// What is new and what is gone, as lines.
fn difference(before: &mut BTreeSet<String>, now: BTreeSet<String>, new: &str, gone: &str) -> String {
    let mut text = String::new();
    for line in before.difference(&now) {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{gone}{line}");
    }
    for line in now.difference(before) {
        let _ = writeln!(text, "{new}{line}");
    }
    *before = now;
    text
}

/// Listeners and virtual hosts that Envoy runs.
async fn programmed(address: SocketAddr) -> anyhow::Result<BTreeSet<String>> {
    let listeners = admin::json(address, "/listeners?format=json").await?;
    let routes = admin::json(address, "/config_dump?resource=dynamic_route_configs").await?;
    Ok(listener_lines(&listeners).chain(route_lines(&routes)).collect())
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[key].as_array().into_iter().flatten()
}

fn listener_lines(listeners: &Value) -> impl Iterator<Item = String> {
    items(listeners, "listener_statuses").map(|listener| {
        let address = &listener["local_address"]["socket_address"];
        let (ip, port) = (address["address"].as_str().unwrap_or("?"), &address["port_value"]);
        format!("listener {} on {ip}:{port}", listener["name"].as_str().unwrap_or("?"))
    })
}

fn route_lines(routes: &Value) -> impl Iterator<Item = String> {
    items(routes, "configs").flat_map(|config| {
        let config = &config["route_config"];
        let name = config["name"].as_str().unwrap_or("?").to_owned();
        items(config, "virtual_hosts").map(move |host| {
            let domains: Vec<_> = items(host, "domains").filter_map(Value::as_str).collect();
            format!("routes {name} {}: {}", domains.join(" "), items(host, "routes").count())
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_changes_are_said() {
        let mut before = BTreeSet::new();
        let set = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(difference(&mut before, set(&["a", "b"]), "+", "-"), "+a\n+b\n");
        assert_eq!(difference(&mut before, set(&["b", "c"]), "+", "-"), "-a\n+c\n");
        assert_eq!(difference(&mut before, set(&["b", "c"]), "+", "-"), "");
    }

    #[test]
    fn what_envoy_runs_is_named() {
        let address = json!({"socket_address": {"address": "0.0.0.0", "port_value": 80}});
        let listeners = json!({"listener_statuses": [{"name": "0.0.0.0_80", "local_address": address}]});
        assert_eq!(listener_lines(&listeners).collect::<Vec<_>>(), ["listener 0.0.0.0_80 on 0.0.0.0:80"]);
        let hosts = json!([{"domains": ["a", "b"], "routes": [{}, {}]}]);
        let routes = json!({"configs": [{"route_config": {"name": "http.80", "virtual_hosts": hosts}}]});
        assert_eq!(route_lines(&routes).collect::<Vec<_>>(), ["routes http.80 a b: 2"]);
    }
}
