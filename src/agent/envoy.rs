//! The Envoy of this pod: its command line, state, drain and end (contract §6.2, §6.4).

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use http::{HeaderMap, Method};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{
    chain,
    client::{ClientError, Server},
    node::Role,
};

/// Between two looks at how many connections there are.
const LOOK: Duration = Duration::from_millis(500);

/// Replaces itself by a program that is killed when its parent ends.
const SETPRIV: &str = "/usr/bin/setpriv";

/// Which statistics tell whether Envoy serves.
const READY_STATS: &str = "/stats?usedonly&filter=%5E(server%5C.state%7Clistener_manager%5C.workers_started%7C\
                           listener_manager%5C.lds%5C.update_success%7Ccluster_manager%5C.cds%5C.update_success)%24";
/// And how many connections listeners have.
const ACTIVE_STATS: &str = "/stats?usedonly&filter=%5Elistener%5C..*%5C.downstream_cx_active%24";

/// How an Envoy is started.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program.
    pub binary: PathBuf,
    /// Its bootstrap.
    pub bootstrap: PathBuf,
    /// What is laid over it, if anything.
    pub overlay: Option<String>,
    /// How long listeners are drained.
    pub drain: Duration,
    /// Whether the pod has IPv6 only.
    pub is_ipv6: bool,
    /// The level of its log.
    pub log_level: String,
    /// The levels of parts of it.
    pub component_log_level: String,
    /// How many threads handle connections; `None` is one for each processor.
    pub concurrency: Option<u64>,
}

impl Launch {
    /// The command line.
    #[must_use]
    pub fn args(&self) -> Vec<String> {
        let mut args: Vec<String> = vec!["-c".to_owned(), self.bootstrap.display().to_string()];
        let mut add = |flag: &str, value: String| args.extend([flag.to_owned(), value]);
        add("--drain-time-s", self.drain.as_secs().to_string());
        add("--drain-strategy", "immediate".to_owned());
        add("--local-address-ip-version", if self.is_ipv6 { "v6" } else { "v4" }.to_owned());
        add("--file-flush-interval-msec", "1000".to_owned());
        add("-l", self.log_level.clone());
        if !self.component_log_level.is_empty() {
            add("--component-log-level", self.component_log_level.clone());
        }
        if let Some(overlay) = &self.overlay {
            add("--config-yaml", overlay.clone());
        }
        if let Some(threads) = self.concurrency {
            add("--concurrency", threads.to_string());
        }
        args.extend(["--disable-hot-restart".to_owned(), "--allow-unknown-static-fields".to_owned()]);
        args
    }

    /// Starts it. It ends with this process, however that ends, where the program `setpriv` is there to see to it.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(&self) -> io::Result<Child> {
        if !self.binary.is_file() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut command = if Path::new(SETPRIV).is_file() {
            let mut command = Command::new(SETPRIV);
            command.args(["--pdeathsig", "KILL", "--"]).arg(&self.binary);
            command
        } else {
            Command::new(&self.binary)
        };
        // Signals of a terminal are for the agent, which drains first.
        command.args(self.args()).stdin(Stdio::null()).process_group(0).kill_on_drop(true).spawn()
    }
}

/// A running Envoy's admin interface.
#[derive(Clone, Debug)]
pub struct Admin {
    server: Server,
    role: Role,
}

impl Admin {
    /// That of a pod's proxy.
    #[must_use]
    pub fn new(server: Server, role: Role) -> Self {
        Self { server, role }
    }

    /// Why it does not serve yet; `None` when it does.
    pub async fn not_ready(&self) -> Option<String> {
        match self.stats(READY_STATS).await {
            Ok(stats) => missing(&stats),
            Err(error) => Some(format!("Envoy's admin interface does not answer: {}", chain(&error))),
        }
    }

    /// Lets connections end and takes no new ones, of sidecars from outside; with `goes_on`, it does not stop at the end
    /// of the drain.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub async fn drain(&self, goes_on: bool) -> Result<(), ClientError> {
        let inbound = if self.role == Role::Sidecar { "&inboundonly" } else { "" };
        let goes_on = if goes_on { "&skip_exit" } else { "" };
        let path = format!("/drain_listeners?graceful{inbound}{goes_on}");
        self.server.send(Method::POST, &path, &HeaderMap::new()).await.map(drop)
    }

    /// Asks it to end.
    ///
    /// # Errors
    /// Envoy does not answer.
    pub async fn quit(&self) -> Result<(), ClientError> {
        self.server.send(Method::POST, "/quitquitquit", &HeaderMap::new()).await.map(drop)
    }

    /// Waits until listeners of traffic have no connection, as long as Envoy answers.
    pub async fn idle(&self, minimum: Duration) {
        let begin = Instant::now();
        sleep(minimum).await;
        loop {
            match self.stats(ACTIVE_STATS).await {
                Ok(stats) => match active(&stats, self.role) {
                    0 => return tracing::info!("no connection is left after {:?}", begin.elapsed()),
                    some => tracing::debug!(some, "connections are open"),
                },
                Err(error) => return tracing::warn!("Envoy does not tell its connections: {}", chain(&error)),
            }
            sleep(LOOK).await;
        }
    }

    async fn stats(&self, path: &str) -> Result<BTreeMap<String, u64>, ClientError> {
        Ok(parse(&self.server.get(path).await?.text()))
    }
}

/// Lines of `name: value`; others, as of text, do not count.
fn parse(text: &str) -> BTreeMap<String, u64> {
    let stats = text.lines().filter_map(|line| line.rsplit_once(": "));
    stats.filter_map(|(name, value)| Some((name.to_owned(), value.trim().parse().ok()?))).collect()
}

fn missing(stats: &BTreeMap<String, u64>) -> Option<String> {
    let stat = |name: &str| stats.get(name).copied();
    if stat("cluster_manager.cds.update_success").unwrap_or_default() == 0 {
        return Some("no configuration of clusters was accepted yet".to_owned());
    }
    if stat("listener_manager.lds.update_success").unwrap_or_default() == 0 {
        return Some("no configuration of listeners was accepted yet".to_owned());
    }
    match (stat("server.state"), stat("listener_manager.workers_started")) {
        (Some(0), Some(1)) => None,
        (Some(0), _) => Some("Envoy's workers have not started".to_owned()),
        (state, _) => {
            let names = ["live", "draining", "pre-initializing", "initializing"];
            let name = state.and_then(|state| names.get(usize::try_from(state).ok()?)).unwrap_or(&"unknown");
            Some(format!("Envoy is {name}"))
        }
    }
}

/// Connections that a drain waits for: not those of probes and scrapes, nor, beside a workload, its own ones.
fn active(stats: &BTreeMap<String, u64>, role: Role) -> u64 {
    let counts = |name: &str| {
        let own = ["_15021.", "_15090.", "admin."].iter().any(|part| name.contains(part));
        !own && !name.contains(".worker_") && (role == Role::Router || name.contains("_15006."))
    };
    stats.iter().filter(|(name, _)| counts(name)).map(|(_, count)| count).sum()
}

/// The exit code that stands for how a process ended, as a shell has it.
#[must_use]
pub fn exit_code(status: ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt as _;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_needs_configuration_and_life() {
        let stats = |cds: u64, lds: u64, state: u64, workers: u64| {
            missing(&parse(&format!(
                "cluster_manager.cds.update_success: {cds}\nlistener_manager.lds.update_success: {lds}\n\
                 server.state: {state}\nlistener_manager.workers_started: {workers}\ncluster_manager.cds.version_text: \"a\"\n"
            )))
        };
        assert_eq!(stats(1, 1, 0, 1), None);
        for (told, part) in [
            (stats(0, 1, 0, 1), "clusters"),
            (stats(1, 0, 0, 1), "listeners"),
            (stats(1, 1, 0, 0), "workers"),
            (stats(1, 1, 1, 1), "is draining"),
            (stats(1, 1, 3, 1), "is initializing"),
            (missing(&BTreeMap::new()), "clusters"),
        ] {
            assert!(told.as_deref().is_some_and(|told| told.contains(part)), "{told:?} {part}");
        }
    }

    #[test]
    fn a_drain_waits_for_connections_of_traffic() {
        let stats = parse(
            "listener.0.0.0.0_15006.downstream_cx_active: 2\nlistener.0.0.0.0_15006.worker_0.downstream_cx_active: 2\n\
             listener.0.0.0.0_15021.downstream_cx_active: 4\nlistener.0.0.0.0_8080.downstream_cx_active: 8\n\
             listener.admin.downstream_cx_active: 16\n",
        );
        assert_eq!((active(&stats, Role::Sidecar), active(&stats, Role::Router)), (2, 10));
    }

    #[test]
    fn the_command_line_is_that_of_the_contract() {
        let launch = Launch {
            binary: "/usr/local/bin/envoy".into(),
            bootstrap: "etc/istio/proxy/envoy-rev.json".into(),
            overlay: None,
            drain: Duration::from_secs(45),
            is_ipv6: false,
            log_level: "warning".to_owned(),
            component_log_level: "misc:error".to_owned(),
            concurrency: Some(2),
        };
        let expected = "-c etc/istio/proxy/envoy-rev.json --drain-time-s 45 --drain-strategy immediate \
                        --local-address-ip-version v4 --file-flush-interval-msec 1000 -l warning \
                        --component-log-level misc:error --concurrency 2 --disable-hot-restart \
                        --allow-unknown-static-fields";
        assert_eq!(launch.args().join(" "), expected);
    }
}
