//! The load generator: see `--help`.

use std::process::ExitCode;

use clap::Parser;
use mizzen_bench::load::{self, Args};

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let good = runtime.block_on(load::run(&Args::parse()))?;
    // Connections end with the process: closing thousands of them one by one is not measured.
    runtime.shutdown_background();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
