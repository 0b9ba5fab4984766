//! `mizzen proxy-status`: what each proxy was sent and has acknowledged, told by all replicas of the control plane; for one
//! proxy, how what it has differs from what it should have.

mod age;
mod diff;
mod dump;
pub(super) mod state;
mod table;

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::SystemTime,
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;

use self::state::{Proxy, State};
use super::replicas::{CONFIG_DUMP, ReplicaArgs, SYNCZ, ask_all, http_get};

/// Shown with `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen proxy-status                                      all proxies, told by all replicas
  mizzen proxy-status -n default -o json
  mizzen proxy-status web-5d9c-x7k2p.default               what Envoy has that differs from what it was sent
  mizzen proxy-status --xds-address localhost:15010        without a cluster

States:
  SYNCED    everything sent was acknowledged; in brackets, how long ago it was sent
  STALE     sent, not acknowledged yet
  NOT SENT  asked for, not answered yet
  IGNORED   the proxy does not ask for it
  ERROR     the proxy refuses what it was sent; the reason is below the table

Exit status:
  0  all is as it should be
  1  it could not be found out
  3  something is STALE or NOT SENT, or Envoy has something else than it was sent
  4  a proxy refuses something";

/// Something is not as it should be yet, or differs.
const BEHIND: u8 = 3;
/// A proxy refuses something.
const REFUSED: u8 = 4;

/// Flags of `mizzen proxy-status`.
#[derive(Args, Clone, Debug)]
pub(super) struct ProxyStatusArgs {
    /// One proxy: NAME[.NAMESPACE] of its pod
    #[arg(value_name = "POD[.NAMESPACE]")]
    proxy: Option<String>,
    /// Only proxies of this namespace
    #[arg(short, long)]
    namespace: Option<String>,
    /// How to write it
    #[arg(short, long, value_enum, default_value_t = Output::Table, conflicts_with = "proxy")]
    output: Output,
    /// Read what Envoy has from this file, `-` for the standard input, instead of from its pod
    #[arg(short = 'f', long, value_name = "FILE", requires = "proxy")]
    file: Option<PathBuf>,
    /// Port of Envoy's admin interface
    #[arg(long = "proxy-admin-port", value_name = "PORT", default_value_t = 15000)]
    admin_port: u16,
    #[command(flatten)]
    replicas: ReplicaArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
    Yaml,
}

/// Runs the command.
///
/// # Errors
/// The control plane or the proxy cannot be asked.
pub(super) async fn run(args: ProxyStatusArgs) -> anyhow::Result<ExitCode> {
    match &args.proxy {
        None => all(&args).await,
        Some(proxy) => one(&args, proxy).await,
    }
}

async fn all(args: &ProxyStatusArgs) -> anyhow::Result<ExitCode> {
    let replicas = args.replicas.find().await?;
    let mut proxies = Vec::new();
    for answer in ask_all(&replicas, SYNCZ, &[]).await? {
        proxies.extend(state::proxies(&answer.from.id, &answer.response)?);
    }
    proxies.retain(|proxy| args.namespace.as_ref().is_none_or(|only| proxy.namespace == *only));
    proxies.sort_by(|a, b| (&a.name, &a.istiod).cmp(&(&b.name, &b.istiod)));
    print(&text(args.output, &proxies)?)?;
    Ok(exit_code(&proxies))
}

fn text(output: Output, proxies: &[Proxy]) -> anyhow::Result<String> {
    #[expect(clippy::disallowed_methods, reason = "ages are shown to people; nothing is decided by them")]
    let now = SystemTime::now();
    Ok(match output {
        Output::Table => table::table(proxies, now),
        Output::Json => serde_json::to_string_pretty(proxies)? + "\n",
        Output::Yaml => serde_yaml_ng::to_string(proxies)?,
    })
}

fn exit_code(proxies: &[Proxy]) -> ExitCode {
    let any = |wanted: &[State]| proxies.iter().flat_map(|p| p.types.values()).any(|t| wanted.contains(&t.status));
    if any(&[State::Error]) {
        ExitCode::from(REFUSED)
    } else if any(&[State::Stale, State::NotSent]) {
        ExitCode::from(BEHIND)
    } else {
        ExitCode::SUCCESS
    }
}

async fn one(args: &ProxyStatusArgs, proxy: &str) -> anyhow::Result<ExitCode> {
    let (pod, namespace) = match proxy.trim_start_matches("pod/").split_once('.') {
        Some((pod, namespace)) => (pod, namespace),
        None => (proxy.trim_start_matches("pod/"), args.namespace.as_deref().unwrap_or("default")),
    };
    let envoys = envoys_dump(args, pod, namespace).await?;
    let id = format!("{pod}.{namespace}");
    let replicas = args.replicas.find().await?;
    let answers = ask_all(&replicas, CONFIG_DUMP, &[&id]).await?;
    let Some(answer) = answers.into_iter().find(|answer| !answer.response.resources.is_empty()) else {
        let asked: Vec<&str> = replicas.iter().map(|replica| replica.name.as_str()).collect();
        bail!("{id} is connected to none of the control plane's replicas ({})", asked.join(", "));
    };
    let ours = dump::of_control_plane(answer.response.resources)?;
    let compared = diff::compare(&ours, &envoys, &answer.from.id);
    print(&compared.text)?;
    Ok(if compared.differs { ExitCode::from(BEHIND) } else { ExitCode::SUCCESS })
}

async fn envoys_dump(args: &ProxyStatusArgs, pod: &str, namespace: &str) -> anyhow::Result<dump::Held> {
    let bytes = match &args.file {
        Some(file) if file.as_os_str() == "-" => io::read_to_string(io::stdin())?.into(),
        Some(file) => fs::read(file).with_context(|| format!("read {}", file.display()))?.into(),
        None => {
            let pods: Api<Pod> = Api::namespaced(args.replicas.client().await?, namespace);
            http_get(&pods, pod, args.admin_port, "/config_dump").await?
        }
    };
    let dump = serde_json::from_slice(&bytes).with_context(|| format!("read the config_dump of {pod}.{namespace}"))?;
    Ok(dump::held(&dump))
}

fn print(text: &str) -> io::Result<()> {
    io::stdout().lock().write_all(text.as_bytes())
}
