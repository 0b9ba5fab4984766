//! The command line: one file per command. This is where everything is wired together.

pub mod control_plane;
mod core;
pub mod crds;
mod discovery;
pub mod http;
mod inject;
mod log_args;
pub mod offline;
mod standalone;
mod translate;
mod values;
mod version;

use std::{
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

const COMPLETION_EXAMPLES: &str = "Examples:
  source <(mizzen completion bash)
  mizzen completion zsh > ~/.zfunc/_mizzen";

/// A service-mesh control plane for stock Envoy
#[derive(Parser, Debug)]
#[command(name = "mizzen", version, max_term_width = 120, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the control plane
    #[command(after_help = discovery::EXAMPLES)]
    Discovery(Box<discovery::DiscoveryArgs>),
    /// Run the control plane and a local Envoy gateway on a directory of files
    #[command(after_help = standalone::EXAMPLES)]
    Standalone(standalone::StandaloneArgs),
    /// Print what a proxy would be sent
    #[command(after_help = translate::EXAMPLES)]
    Translate(translate::TranslateArgs),
    /// Put the proxy into the Pods of workloads, and print them
    #[command(after_help = inject::EXAMPLES)]
    Inject(inject::InjectArgs),
    /// Print the custom resource definitions of Istio's kinds
    #[command(after_help = crds::EXAMPLES)]
    Crds(crds::CrdsArgs),
    /// Print the version
    #[command(after_help = version::EXAMPLES)]
    Version(version::VersionArgs),
    /// Print a completion script
    #[command(after_help = COMPLETION_EXAMPLES)]
    Completion {
        /// For which shell
        shell: Shell,
    },
}

/// Runs the command line; errors are printed with their causes.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let mut command = Cli::command();
    command.build();
    let args: Vec<OsString> = args.into_iter().collect();
    let is_discovery = args.get(1).is_some_and(|name| name == "discovery");
    let (args, unknown) = if is_discovery { values::split_unknown(&command, args) } else { (args, Vec::new()) };
    let parsed = command.try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Nobody can be told that nobody can be told.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(cli.command, &unknown) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, unknown_flags: &[String]) -> anyhow::Result<()> {
    match command {
        Command::Discovery(args) => block_on(discovery::run(*args, unknown_flags)),
        Command::Standalone(args) => block_on(standalone::run(args)),
        Command::Translate(args) => offline::run(&args, &mut io::stdout().lock()),
        Command::Inject(args) => args.run(&mut io::stdout().lock()),
        Command::Crds(args) => args.run(),
        Command::Version(args) => Ok(io::stdout().write_all(version::text(&args)?.as_bytes())?),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "mizzen", &mut io::stdout());
            Ok(())
        }
    }
}

fn block_on(task: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(task)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_shows_examples() {
        for command in Cli::command().get_subcommands() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains(&format!("mizzen {}", command.get_name())), "{}: {help}", command.get_name());
        }
    }
}
