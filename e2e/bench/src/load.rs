//! What changes cost a server, and how soon proxies have them.
//!
//! ```text
//!  Config ──objects──► server (child process) ──delta ADS──► Fleets of clients (child processes) ──► Tally
//!      ▲                   │ /proc: CPU, memory                    ▲ │ who has it, and when; bytes, resources
//!      └──── events ───────┴───────────────── Row ◄────────── Crew ┘ ◄┘
//! ```
//!
//! Each event writes objects, to files or to an API server, and waits until every client that it concerns has been
//! sent the resources that it must change, then until nothing moves any more: what comes late is counted too, and what
//! comes to clients that it does not concern.

mod args;
mod churn;
mod client;
mod clock;
mod config;
mod crew;
mod events;
mod fleet;
mod names;
mod order;
mod population;
mod process;
mod proxy;
mod report;
mod soak;
mod storm;
mod table;
mod tally;
#[cfg(test)]
mod tests;
mod wire;

use std::{io::Write, net::SocketAddr, time::Duration};

use anyhow::{Context, Result};
use tokio::{io::BufReader, net::unix::pipe};

pub use self::args::Args;
use self::{
    args::EventKind,
    config::Config,
    crew::Crew,
    events::Events,
    fleet::Setup,
    population::Population,
    process::{Meter, Server},
    report::{Report, Row},
    soak::Outcome,
};

/// Does what the arguments say and prints the report. Returns whether everything arrived, and nothing where nothing
/// had to.
///
/// # Errors
/// When the configuration cannot be written, the server does not start, or it cannot be reached.
pub async fn run(args: &Args) -> Result<bool> {
    if args.worker {
        return work().await.map(|()| true);
    }
    check_open_files(args)?;
    if args.table {
        return table::run(args).await;
    }
    if let Some(duration) = args.soak {
        let outcome = soaked(args, duration).await?;
        let mut out = std::io::stdout().lock();
        outcome.write(args.output, &mut out).context("print the report")?;
        out.flush()?;
        return Ok(outcome.is_good());
    }
    let report = once(args).await?;
    let mut out = std::io::stdout().lock();
    report.write(args.output, &mut out).context("print the report")?;
    out.flush()?;
    Ok(report.is_good())
}

/// Has clients, and does with them what comes on standard input.
async fn work() -> Result<()> {
    let orders = pipe::OpenOptions::new().open_receiver("/dev/stdin").context("orders come through a pipe")?;
    let answers = pipe::OpenOptions::new().open_sender("/dev/stdout").context("answers go through a pipe")?;
    order::obey(BufReader::new(orders), answers).await
}

/// Runs the events against one server.
async fn once(args: &Args) -> Result<Report> {
    let config = Config::create(args).await?;
    let mut report = Report::new(args);
    let (server, target, meter) = match args.target {
        Some(target) => (None, target, args.pid.map(Meter::new)),
        None => {
            let (server, took) = Server::start(args, &config).await?;
            let (target, mut meter) = (server.grpc, Meter::new(server.pid()));
            report.add(Row::new("start, until ready").started(took, &mut meter));
            (Some(server), target, Some(meter))
        }
    };
    let measure = async {
        let crew = crew(args, target).await?;
        Events::new(args, config, crew, meter).run(&mut report).await
    };
    let result = unless_interrupted(measure).await;
    if let Some(server) = server {
        server.stop().await;
    }
    result.map(|()| report)
}

/// Changes everything for long, against one server.
async fn soaked(args: &Args, duration: Duration) -> Result<Outcome> {
    let config = Config::create(args).await?;
    let (server, _) = Server::start(args, &config).await?;
    let measure = async {
        let crew = crew(args, server.grpc).await?;
        let mut events = Events::new(args, config, crew, Some(Meter::new(server.pid())));
        soak::run(&mut events, server.monitoring, duration).await
    };
    let result = unless_interrupted(measure).await;
    server.stop().await;
    result
}

async fn crew(args: &Args, target: SocketAddr) -> Result<Crew> {
    let setup = Setup { target, population: Population::new(args), clients: 0..most_clients(args) };
    Crew::start(args.processes, setup).await
}

/// How many clients there are at most at a time.
fn most_clients(args: &Args) -> usize {
    let more = args.table || args.events.contains(&EventKind::More);
    (if more { 2 * args.clients } else { args.clients }).max(args.crowd.iter().copied().max().unwrap_or_default())
}

async fn unless_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        result = work => result,
        () = interrupted() => Err(anyhow::anyhow!("interrupted")),
    }
}

/// Waits for a signal to end: the server must not outlive this process.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// A connection needs a file; the server, which inherits the limit, needs as many as there are clients.
fn check_open_files(args: &Args) -> Result<()> {
    /// Files besides connections.
    const OTHERS: usize = 100;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"));
    let limit = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<usize>().ok());
    let here = if args.target.is_some() { most_clients(args).div_ceil(args.processes) } else { most_clients(args) };
    match limit {
        Some(limit) if limit < here + OTHERS => {
            let needed = here + OTHERS;
            anyhow::bail!("so many clients need {needed} open files, but a process may have {limit} (ulimit -n)")
        }
        _ => Ok(()),
    }
}
