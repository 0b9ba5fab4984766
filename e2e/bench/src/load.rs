//! What changes cost a server, and how soon proxies have them.
//!
//! ```text
//!  Config ──objects──► server (child process) ──delta ADS──► Fleet of clients ──► Tally (bytes, resources)
//!      ▲                   │ /proc: CPU, memory                    │ who has it, and when
//!      └──── events ───────┴───────────────── Row ◄────────────────┘
//! ```
//!
//! Each event writes objects, to files or to an API server, and waits until every client has been sent the resources
//! that it must change, then until nothing moves any more: what comes late is counted too.

mod args;
mod client;
mod config;
mod events;
mod fleet;
mod names;
mod process;
mod proxy;
mod report;
mod tally;
#[cfg(test)]
mod tests;
mod wire;

use std::{io::Write, net::SocketAddr};

use anyhow::{Context, Result};

pub use self::args::Args;
use self::{
    config::Config,
    events::Events,
    fleet::Fleet,
    process::{Meter, Server},
    report::{Report, Row},
};

/// Runs all events and prints the report. Returns whether everything arrived, and nothing where nothing had to.
///
/// # Errors
/// When the configuration cannot be written, the server does not start, or it cannot be reached.
pub async fn run(args: &Args) -> Result<bool> {
    check_open_files(args.clients)?;
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
    let result = tokio::select! {
        result = measure(args, config, target, meter, &mut report) => result,
        () = interrupted() => Err(anyhow::anyhow!("interrupted")),
    };
    if let Some(server) = server {
        server.stop().await;
    }
    result?;
    let mut out = std::io::stdout().lock();
    report.write(args.output, &mut out).context("print the report")?;
    out.flush()?;
    Ok(report.is_good())
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

async fn measure(
    args: &Args,
    config: Config,
    target: SocketAddr,
    meter: Option<Meter>,
    report: &mut Report,
) -> Result<()> {
    let fleet = Fleet::new(args, target);
    Events::new(args, config, fleet, meter).run(report).await
}

/// A connection needs a file; the server, which inherits the limit, needs as many.
fn check_open_files(clients: usize) -> Result<()> {
    /// Files besides connections.
    const OTHERS: usize = 100;
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"));
    let limit = line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse::<usize>().ok());
    match limit {
        Some(limit) if limit < clients + OTHERS => anyhow::bail!(
            "{clients} clients need {} open files, but a process may have {limit} (ulimit -n); run several load \
             generators with --target, and a server that may have more",
            clients + OTHERS
        ),
        _ => Ok(()),
    }
}
