//! The `mizzen` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    mizzen::cli::main(std::env::args_os())
}
