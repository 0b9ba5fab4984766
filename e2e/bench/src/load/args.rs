//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};

use super::population::Profile;

/// Measures what changes cost a control plane: writes a configuration, starts the server, connects clients that
/// speak delta ADS as Envoy does, changes files, and prints for every event how long it took until the last client
/// had it, what it cost the server, and what was sent.
#[derive(Clone, Debug, Parser)]
#[command(name = "load", version)]
pub struct Args {
    /// Services, spread over the namespaces.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    pub services: u32,
    /// Endpoints of each service.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub endpoints: u32,
    /// Namespaces.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=250))]
    pub namespaces: u32,
    /// Services that have a VirtualService; a tenth by default.
    #[arg(long)]
    pub virtual_services: Option<u32>,
    /// Write a Pod for every endpoint.
    #[arg(long)]
    pub pods: bool,
    /// Write the objects to a real API server, which is started for it, instead of files (`e2e/tools/fetch` gets it).
    #[arg(long, conflicts_with_all = ["pods", "dir", "target"])]
    pub api_server: bool,
    /// Clients, spread over the namespaces.
    #[arg(long, default_value_t = 1000, value_parser = parse_count)]
    pub clients: usize,
    /// Processes that these are spread over.
    #[arg(long, default_value_t = 1, value_parser = parse_count)]
    pub processes: usize,
    /// How the clients differ.
    #[arg(long, value_enum, default_value_t = Profile::Plain)]
    pub profile: Profile,
    /// Workloads of the diverse profile; they share the namespaces evenly.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub workloads: u32,
    /// Clients take whole route configurations; they take virtual hosts one by one (VHDS) by default.
    #[arg(long)]
    pub whole_routes: bool,
    /// How many EndpointSlices the event with many of them changes.
    #[arg(long, default_value_t = 100)]
    pub slices: u32,
    /// How often each event is repeated; the median of each figure is shown.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// The events, in this order, after all have connected; by default all but those amid changes and with more
    /// clients or Services.
    #[arg(long, value_enum, value_delimiter = ',')]
    pub events: Vec<EventKind>,
    /// Changes in each second, when changes keep coming.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rate: u32,
    /// Instead of events, change everything for so long (as `30s` or `20m`), undo it each minute, and fail unless memory
    /// stays and all clients have the same in the end.
    #[arg(long, value_parser = parse_duration, conflicts_with_all = ["events", "target", "table"])]
    pub soak: Option<Duration>,
    /// By how many kilobytes (1,000 bytes) each minute of changes memory may grow over the second half of `--soak`: what
    /// is resident, and what is in use, each time that all is undone.
    #[arg(long, default_value_t = 300.0, requires = "soak")]
    pub most_growth: f64,
    /// Run what the goals are for, also with whole route configurations and with the diverse profile, and print each goal
    /// with what was measured.
    #[arg(long, conflicts_with_all = ["events", "target", "whole_routes", "profile", "dir"])]
    pub table: bool,
    /// With `--table`, also run with so many clients, each number in a run of its own (it takes minutes).
    #[arg(long, requires = "table", value_name = "CLIENTS", num_args = 0..=1, default_missing_value = "5000,10000",
        value_delimiter = ',', value_parser = parse_count)]
    pub crowd: Vec<usize>,
    /// The server's program.
    #[arg(long, default_value = "target/release/mizzen")]
    pub mizzen: PathBuf,
    /// More arguments for the server, after `--`.
    #[arg(last = true)]
    pub server_args: Vec<String>,
    /// Use a server that runs already at this address. It must read `--dir`.
    #[arg(long, requires = "dir", conflicts_with = "mizzen")]
    pub target: Option<SocketAddr>,
    /// The process of the server at `--target`, to measure it.
    #[arg(long, requires = "target")]
    pub pid: Option<u32>,
    /// Write the configuration into this directory, which must be empty or absent, and keep it.
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Where the server's log goes; nowhere by default.
    #[arg(long)]
    pub server_log: Option<PathBuf>,
    /// Give up waiting for an event after so many seconds.
    #[arg(long, default_value = "120", value_parser = parse_seconds)]
    pub patience: Duration,
    /// An event has ended when nothing was received for so many milliseconds and the server is idle.
    #[arg(long, default_value = "500", value_parser = parse_milliseconds)]
    pub quiet: Duration,
    /// With `--table`, also compare what changes cost with that for so many services, for a tenth of the clients (it takes
    /// minutes).
    #[arg(long, requires = "table", value_name = "SERVICES", num_args = 0..=1, default_missing_value = "10000",
        value_parser = clap::value_parser!(u32).range(1..))]
    pub vast: Option<u32>,
    /// Where criterion has left the results of the bench `cold`, which `--table` prints too.
    #[arg(long, default_value = "target/criterion", requires = "table")]
    pub criterion: PathBuf,
    /// The form of the report.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Be a process with clients, which does what it is told.
    #[arg(long, hide = true)]
    pub worker: bool,
}

impl Args {
    /// How many services have a VirtualService.
    #[must_use]
    pub fn virtual_services(&self) -> u32 {
        self.virtual_services.unwrap_or(self.services.div_ceil(10)).min(self.services)
    }

    /// The events to run.
    #[must_use]
    pub fn events(&self) -> Vec<EventKind> {
        if !self.events.is_empty() {
            return self.events.clone();
        }
        let on_demand = [EventKind::Churn, EventKind::More, EventKind::Storm];
        EventKind::value_variants().iter().copied().filter(|event| !on_demand.contains(event)).collect()
    }
}

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EventKind {
    /// An endpoint gets another address.
    Endpoint,
    /// An endpoint of each of many services gets another address.
    Slices,
    /// A route of a VirtualService changes.
    VirtualService,
    /// A Service appears, with endpoints.
    Service,
    /// A Service goes.
    RemovedService,
    /// The DestinationRule of a service changes.
    DestinationRule,
    /// A Sidecar object imports one more service: of a workload, or of a namespace in the plain profile.
    Sidecar,
    /// An EnvoyFilter changes: of a workload, or of a namespace in the plain profile.
    EnvoyFilter,
    /// The mesh configuration changes.
    Mesh,
    /// Annotations of an object of every kind change: nothing is to be sent.
    Metadata,
    /// Everything is written again as it is: nothing is to be sent.
    Rewrite,
    /// The same is said otherwise: nothing is to be sent.
    Reword,
    /// All clients reconnect and say what they have: nothing is to be sent.
    Reconnect,
    /// An endpoint gets another address while `--rate` other changes each second keep coming.
    Churn,
    /// As many clients again, of the same classes, connect.
    More,
    /// Four times as many Services come, and go again: what they took of memory is given back.
    Storm,
}

/// The form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// A table.
    Table,
    /// An object with the settings and every round of every event.
    Json,
}

fn parse_count(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least one is needed".to_owned()),
        Ok(count) => Ok(count),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix('m') {
        Some(minutes) => (minutes, 60),
        None => (text.strip_suffix('s').unwrap_or(text), 1),
    };
    match number.parse::<u32>() {
        Ok(0) => Err("it must take some time".to_owned()),
        Ok(number) => Ok(Duration::from_secs(u64::from(number) * unit)),
        Err(error) => Err(error.to_string()),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_secs).map_err(|e: std::num::ParseIntError| e.to_string())
}

fn parse_milliseconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_millis).map_err(|e: std::num::ParseIntError| e.to_string())
}
