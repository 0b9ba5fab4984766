//! `mizzen analyze`: what is wrong between objects, in files, in a cluster, or in a cluster after files were applied to it.

mod cluster;
mod objects;
mod proxies;

use std::{collections::BTreeSet, path::PathBuf, process::ExitCode, sync::Arc};

use anyhow::{Context as _, ensure};
use clap::{ArgAction, Args};

use self::objects::Objects;
use super::{
    cluster_args::ClusterArgs,
    findings::{Finding, Report, ReportArgs, Scope},
    input,
};
use crate::{
    analyze::{Surroundings, World, analyze},
    api::Kind,
    engine::Offline,
    model::{MeshConfig, Problem},
    reconcilers::{
        attachment,
        intake::{MeshSource, Reconcilers},
    },
};

/// Shown with `--help`; the exit codes follow.
pub(super) const EXAMPLES: &str = "Examples:
  mizzen analyze                                               the cluster, the namespace of the kubeconfig's context
  mizzen analyze --all-namespaces
  mizzen analyze -f config/                                    the cluster as it would be with these files
  mizzen analyze -f config/ --use-kube=false -o json           the files alone
  mizzen analyze -A --suppress 'MZ1110=Service/legacy/*' --fail-on warning

It looks for what needs more than one object: hosts, subsets, gateways, secrets and ports that are named and do not exist,
rules that are never reached, objects of which another one counts, selectors that select nothing, clients and servers that
do not agree on mutual TLS, Pods without a proxy. `mizzen validate` judges objects one by one.";

/// Flags of `mizzen analyze`.
#[derive(Args, Clone, Debug)]
pub(super) struct AnalyzeArgs {
    /// YAML or JSON files with objects, directories of such files, or `-` for the standard input
    #[arg(short, long = "filename", value_name = "FILE|DIR", num_args = 1..)]
    files: Vec<PathBuf>,
    /// Look at the cluster too; objects of files take the place of those of the same name
    #[arg(short = 'k', long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set, num_args = 0..=1,
          default_missing_value = "true", require_equals = true)]
    use_kube: bool,
    /// Tell of the objects of this namespace; without files the default is that of the kubeconfig's context
    #[arg(short, long, conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Tell of the objects of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// The namespace of the control plane
    #[arg(short = 'i', long = "istioNamespace", value_name = "NAMESPACE", default_value = "istio-system")]
    istio_namespace: Arc<str>,
    /// The revision of the control plane, whose mesh configuration counts
    #[arg(long, default_value = "")]
    revision: String,
    /// The suffix of the cluster's host names
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    domain: Arc<str>,
    #[command(flatten)]
    cluster: ClusterArgs,
    #[command(flatten)]
    report: ReportArgs,
}

/// Runs the command.
///
/// # Errors
/// A file or the cluster cannot be read, or the output cannot be written.
pub(super) async fn run(args: AnalyzeArgs) -> anyhow::Result<ExitCode> {
    ensure!(args.use_kube || !args.files.is_empty(), "there is nothing to look at: give -f FILE, or --use-kube");
    let mesh = mesh_source(&args);
    let mut objects = Objects::of_files(input::read(&args.files)?);
    let mut namespace = args.namespace.clone();
    if args.use_kube {
        let found = look(&args, &mesh).await.context("cannot look at the cluster (--use-kube=false: only at files)")?;
        if namespace.is_none() && !args.all_namespaces && args.files.is_empty() {
            namespace = Some(found.namespace.clone());
        }
        objects.add_cluster(found);
    }
    let report = judge(&args, mesh, objects, namespace.as_deref());
    args.report.print(report)
}

async fn look(args: &AnalyzeArgs, mesh: &MeshSource) -> anyhow::Result<cluster::Cluster> {
    cluster::read(args.cluster.client().await?, mesh).await
}

fn mesh_source(args: &AnalyzeArgs) -> MeshSource {
    let suffix = if ["", "default"].contains(&&*args.revision) { String::new() } else { format!("-{}", args.revision) };
    MeshSource { namespace: args.istio_namespace.clone(), name: format!("istio{suffix}").into() }
}

fn judge(args: &AnalyzeArgs, source: MeshSource, mut objects: Objects, namespace: Option<&str>) -> Report {
    let base = MeshConfig {
        domain_suffix: args.domain.clone(),
        root_namespace: args.istio_namespace.clone(),
        ..MeshConfig::default()
    };
    let reconcilers = Reconcilers::new(base, source);
    let mut offline = Offline::default();
    reconcilers.initial().apply(offline.db());
    let mut attachments = Vec::new();
    for kind in Kind::ALL {
        let live = objects.take(kind);
        attachments.extend(live.iter().filter_map(attachment::of));
        reconcilers.reset(kind, &live, &[]).apply(offline.db());
    }
    let proxies = proxies::all(offline.db(), &objects.workloads, &args.istio_namespace);
    let mut problems = offline.problems(proxies);
    let surroundings = Surroundings {
        workloads: std::mem::take(&mut objects.workloads),
        attachments,
        gateway_api: std::mem::take(&mut objects.gateway_api),
        complete: args.use_kube,
    };
    let world = World::of(offline.db(), surroundings);
    problems.extend(analyze(&world));
    let scope = Scope { objects: objects.count, files: objects.file_count(), skipped: objects.skipped };
    let mut findings = std::mem::take(&mut objects.findings);
    for problem in distinct(problems) {
        if !objects.is_doubtful(&problem) {
            findings.push(objects.finding(problem));
        }
    }
    let here = |finding: &Finding| {
        let own = finding.object.as_ref().map(|o| if o.kind == "Namespace" { &*o.name } else { &*o.namespace });
        namespace.is_none_or(|only| own.is_none_or(|own| own == only))
    };
    findings.retain(here);
    Report { findings, scope, unchecked: objects.unchecked }
}

/// What several proxies tell counts once.
fn distinct(problems: Vec<Problem>) -> BTreeSet<Problem> {
    problems.into_iter().collect()
}
