//! The command line: one file per command. This is where everything is wired together.

mod agent;
mod analyze;
mod authority_args;
mod cluster_args;
pub mod control_plane;
mod core;
pub mod crds;
mod discovery;
mod findings;
pub mod http;
mod inject;
mod injector_args;
mod input;
mod install;
mod iptables;
mod locate;
mod log_args;
mod manifest;
mod names;
pub mod offline;
mod operator;
mod operator_args;
mod progress;
mod proxy_status;
mod replicas;
mod standalone;
mod terminal;
mod translate;
mod uninstall;
mod validate;
mod validator_args;
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
    /// Run an Envoy with what it needs beside it, as `pilot-agent` does
    #[command(after_help = agent::EXAMPLES, subcommand)]
    Agent(Box<agent::AgentCommand>),
    /// Redirect the traffic of this network namespace to a proxy, as `istio-iptables` does
    #[command(after_help = iptables::EXAMPLES, args_override_self = true)]
    Iptables(Box<iptables::IptablesArgs>),
    /// Print what a proxy would be sent
    #[command(after_help = translate::EXAMPLES)]
    Translate(translate::TranslateArgs),
    /// Judge objects in files, as an API server and the control plane's webhook would
    #[command(after_help = format!("{}\n\n{}", validate::EXAMPLES, findings::EXIT_STATUS))]
    Validate(validate::ValidateArgs),
    /// Find what is wrong between objects, in files and in a cluster
    #[command(after_help = format!("{}\n\n{}", analyze::EXAMPLES, findings::EXIT_STATUS))]
    Analyze(Box<analyze::AnalyzeArgs>),
    /// Put the proxy into the Pods of workloads, and print them
    #[command(after_help = inject::EXAMPLES)]
    Inject(inject::InjectArgs),
    /// Install a control plane and its gateways into a cluster
    #[command(after_help = install::EXAMPLES)]
    Install(install::InstallArgs),
    /// Print what would be installed, or how a cluster differs from it
    #[command(after_help = manifest::EXAMPLES, subcommand)]
    Manifest(manifest::ManifestCommand),
    /// Remove what was installed
    #[command(after_help = uninstall::EXAMPLES)]
    Uninstall(uninstall::UninstallArgs),
    /// Keep a cluster as the IstioOperators in it say
    #[command(after_help = operator::EXAMPLES)]
    Operator(operator::RunArgs),
    /// Print the custom resource definitions of Istio's kinds
    #[command(after_help = crds::EXAMPLES)]
    Crds(crds::CrdsArgs),
    /// Print what each proxy was sent and has acknowledged, or how one differs from that
    #[command(visible_alias = "ps", after_help = proxy_status::EXAMPLES)]
    ProxyStatus(proxy_status::ProxyStatusArgs),
    /// Print the version, and those of the control plane and its proxies
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
    let args = names::switches(&command, names::resolve(args.into_iter().collect()));
    let is_tolerant = names::tolerates_unknown_flags(args.get(1));
    let (args, unknown) = if is_tolerant { values::split_unknown(&command, args) } else { (args, Vec::new()) };
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
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, unknown_flags: &[String]) -> anyhow::Result<ExitCode> {
    let done = match command {
        Command::Agent(command) => return block_on(agent::run(*command, unknown_flags)),
        Command::Iptables(args) => return args.run(unknown_flags),
        Command::Manifest(command) => return block_on(command.run()),
        Command::Validate(args) => return findings::or_failed(validate::run(&args)),
        Command::Analyze(args) => return findings::or_failed(block_on(analyze::run(*args))),
        Command::ProxyStatus(args) => return block_on(proxy_status::run(args)),
        Command::Discovery(args) => block_on(discovery::run(*args, unknown_flags)),
        Command::Standalone(args) => block_on(standalone::run(args)),
        Command::Translate(args) => offline::run(&args, &mut io::stdout().lock()),
        Command::Inject(args) => args.run(&mut io::stdout().lock()),
        Command::Install(args) => block_on(args.run()),
        Command::Uninstall(args) => block_on(args.run()),
        Command::Operator(args) => block_on(args.run()),
        Command::Crds(args) => args.run(),
        Command::Version(args) => block_on(version::run(args)),
        Command::Completion { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "mizzen", &mut io::stdout());
            Ok(())
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn block_on<T>(task: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
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
