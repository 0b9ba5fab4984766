//! The load of the validating webhook: see `--help`.

use std::process::ExitCode;

use clap::Parser;
use mizzen_bench::admit::{self, Args};

fn main() -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let good = runtime.block_on(admit::run(&Args::parse()))?;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
