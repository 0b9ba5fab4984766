//! How long `mizzen validate` and `mizzen analyze` take for a large mesh, and how much memory, against their goals.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use mizzen_e2e::large_mesh;

/// Measure `mizzen validate` and `mizzen analyze`
#[derive(Parser)]
struct Args {
    /// The program
    #[arg(long)]
    mizzen: PathBuf,
    /// Services
    #[arg(long, default_value_t = 2_000)]
    services: usize,
    /// VirtualServices
    #[arg(long, default_value_t = 5_000)]
    virtual_services: usize,
    /// How often; the best counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Fail when a goal is not reached
    #[arg(long)]
    strict: bool,
}

const MOST_TIME: Duration = Duration::from_secs(1);
const MOST_KILOBYTES: u64 = 200_000;

fn main() -> Result<ExitCode> {
    let args = Args::parse();
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("mesh.yaml"), large_mesh(args.services, args.virtual_services))?;
    let mut reached = true;
    for command in [&["validate"][..], &["analyze", "--use-kube=false", "--severity", "warning"]] {
        let mut best: Option<(Duration, u64)> = None;
        for _ in 0..args.rounds.max(1) {
            let measured = run(&args.mizzen, command, dir.path())?;
            best = Some(best.map_or(measured, |(time, memory)| (time.min(measured.0), memory.min(measured.1))));
        }
        let (time, kilobytes) = best.context("a round")?;
        reached &= time <= MOST_TIME && kilobytes <= MOST_KILOBYTES;
        let (vs, services, name) = (args.virtual_services, args.services, command[0]);
        let line = format!(
            "{name}: {vs} VirtualServices, {services} Services: {time:.0?} (goal {MOST_TIME:?}), {} MB (goal 200)\n",
            kilobytes / 1_000
        );
        std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes())?;
    }
    Ok(if reached || !args.strict { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The time, and the most memory that was resident while it ran.
fn run(program: &Path, command: &[&str], dir: &Path) -> Result<(Duration, u64)> {
    let started = Instant::now();
    let mut child = Command::new(program).args(command).arg("-f").arg(dir).stdout(Stdio::null()).spawn()?;
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak = high_water(child.id()).unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(1));
    };
    ensure!(status.success(), "{command:?}: {status}");
    Ok((started.elapsed(), peak))
}

/// Kilobytes; `None` when the process has ended.
fn high_water(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}
