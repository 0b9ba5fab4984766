//! `mizzen version`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{self, Write as _},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    proxy_status::state,
    replicas::{Identifier, ReplicaArgs, SYNCZ, ask_all},
};

/// What this build is, under the names that istioctl reads (contract §7.3).
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct VersionInfo {
    /// The version.
    pub(super) version: &'static str,
    /// The commit, if it was known at build time.
    pub(super) revision: &'static str,
    /// Always empty: there is no Go in it. Clients expect the key.
    pub(super) golang_version: &'static str,
    /// `Clean`, or what is known of the source tree.
    pub(super) status: &'static str,
    /// The release.
    pub(super) tag: &'static str,
}

impl VersionInfo {
    /// Of this build. `MIZZEN_REVISION` and `MIZZEN_STATUS` are read when it is built.
    #[must_use]
    pub(super) const fn current() -> Self {
        const fn or(value: Option<&'static str>, default: &'static str) -> &'static str {
            match value {
                Some(value) => value,
                None => default,
            }
        }
        Self {
            version: env!("CARGO_PKG_VERSION"),
            revision: or(option_env!("MIZZEN_REVISION"), "unknown"),
            golang_version: "",
            status: or(option_env!("MIZZEN_STATUS"), "Clean"),
            tag: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// `<version>-<revision>-<status>`, which is what `/version` answers.
impl fmt::Display for VersionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.version, self.revision, self.status)
    }
}

/// Shown with `--help`.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen version
  mizzen version --short
  mizzen version --remote                                  with the control plane's and the proxies' versions
  mizzen version --remote --xds-address localhost:15010 -o json";

/// Flags of `mizzen version`.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct VersionArgs {
    /// Only the version
    #[arg(short, long)]
    short: bool,
    /// How to write it
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Ask the control plane for its version, and for those of its proxies
    #[arg(long)]
    remote: bool,
    #[command(flatten, next_help_heading = "With --remote")]
    replicas: ReplicaArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
    Yaml,
}

/// What a mesh runs, under the names that istioctl writes.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Mesh {
    mesh_version: Vec<Server>,
    data_plane_version: Vec<Proxy>,
}

/// A replica of the control plane.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Server {
    component: String,
    #[serde(rename = "ID")]
    id: String,
    info: serde_json::Map<String, Value>,
}

impl Server {
    fn version(&self) -> &str {
        self.info.get("version").and_then(Value::as_str).unwrap_or("unknown")
    }
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Proxy {
    #[serde(rename = "ID")]
    id: String,
    istio_version: String,
}

/// Prints the versions.
///
/// # Errors
/// The control plane cannot be asked, or nothing can be written.
pub(super) async fn run(args: VersionArgs) -> anyhow::Result<()> {
    let mesh = if args.remote { Some(ask(&args.replicas).await?) } else { None };
    Ok(io::stdout().lock().write_all(text(&args, mesh.as_ref())?.as_bytes())?)
}

async fn ask(replicas: &ReplicaArgs) -> anyhow::Result<Mesh> {
    let mut mesh = Mesh::default();
    for answer in ask_all(&replicas.find().await?, SYNCZ, &[]).await? {
        let proxies = state::proxies(&answer.from.id, &answer.response)?;
        mesh.data_plane_version.extend(proxies.into_iter().map(|p| Proxy { id: p.name, istio_version: p.version }));
        let Identifier { component, id, info } = answer.from;
        mesh.mesh_version.push(Server { component, id, info });
    }
    mesh.mesh_version.sort_by(|a, b| a.id.cmp(&b.id));
    mesh.data_plane_version.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(mesh)
}

fn text(args: &VersionArgs, mesh: Option<&Mesh>) -> anyhow::Result<String> {
    let info = VersionInfo::current();
    let mut versions = json!({"clientVersion": info});
    if let (Some(mesh), Some(all)) = (mesh, versions.as_object_mut()) {
        all.extend(serde_json::to_value(mesh)?.as_object().cloned().unwrap_or_default());
    }
    Ok(match (args.output, mesh) {
        (Output::Json, _) => format!("{versions:#}\n"),
        (Output::Yaml, _) => serde_yaml_ng::to_string(&versions)?,
        (Output::Text, Some(mesh)) => format!("client version: {}\n{}", info.version, lines(mesh)),
        (Output::Text, None) if args.short => format!("{}\n", info.version),
        (Output::Text, None) => format!("{info}\n"),
    })
}

/// As istioctl writes them: one line for replicas that are the same, and how many proxies are of each version.
fn lines(mesh: &Mesh) -> String {
    let servers: BTreeSet<&str> = mesh.mesh_version.iter().map(Server::version).collect();
    let mut text: String = match servers.first().filter(|_| servers.len() == 1) {
        Some(only) => format!("control plane version: {only}\n"),
        None => mesh.mesh_version.iter().map(|s| format!("{} version: {}\n", s.id, s.version())).collect(),
    };
    let mut proxies: BTreeMap<&str, usize> = BTreeMap::new();
    for proxy in &mesh.data_plane_version {
        *proxies.entry(&proxy.istio_version).or_default() += 1;
    }
    let proxies: Vec<String> = proxies.iter().map(|(version, count)| format!("{version} ({count} proxies)")).collect();
    text +=
        &format!("data plane version: {}\n", if proxies.is_empty() { "none".to_owned() } else { proxies.join(", ") });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mesh(servers: &[&str], proxies: &[&str]) -> Mesh {
        let server = |(n, version): (usize, &&str)| Server {
            component: "istiod".to_owned(),
            id: format!("istiod-{n}"),
            info: json!({"version": version}).as_object().cloned().unwrap_or_default(),
        };
        let proxy = |version: &&str| Proxy { id: "p".to_owned(), istio_version: (*version).to_owned() };
        Mesh {
            mesh_version: servers.iter().enumerate().map(server).collect(),
            data_plane_version: proxies.iter().map(proxy).collect(),
        }
    }

    #[test]
    fn equal_versions_are_told_once() {
        assert_eq!(lines(&mesh(&["1", "1"], &[])), "control plane version: 1\ndata plane version: none\n");
        let told = "istiod-0 version: 1\nistiod-1 version: 2\ndata plane version: 1.31 (1 proxies), 1.32 (2 proxies)\n";
        assert_eq!(lines(&mesh(&["1", "2"], &["1.32", "1.31", "1.32"])), told);
    }
}
