//! Every golden case is accepted by a real Envoy: nothing is refused, nothing warms for ever, and what is in service
//! is what the case says.

use std::{collections::BTreeSet, process::ExitCode};

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use mizzen::snapshot::ResourceType;
use mizzen_e2e::{ConfigDir, Envoy, EnvoyOptions, GoldenCase, Mizzen, MizzenOptions, PATIENCE, eventually};
use serde_json::Value;

fn main() -> Result<ExitCode> {
    let trial = |case: GoldenCase| {
        Trial::test(case.name.clone(), move || loads(&case).map_err(|e| Failed::from(format!("{e:#}"))))
    };
    let trials = GoldenCase::all()?.into_iter().flat_map(forms).map(trial).collect();
    Ok(libtest_mimic::run(&Arguments::from_args(), trials).exit_code())
}

/// A sidecar's case in both forms: virtual hosts one by one, and whole route configurations.
fn forms(case: GoldenCase) -> Vec<GoldenCase> {
    if case.node.kind != "sidecar" {
        return vec![case];
    }
    let whole = GoldenCase {
        name: format!("{} (whole)", case.name),
        node: case.node.clone().metadata("MIZZEN_VHDS", false),
        ..case.clone()
    };
    vec![whole, case]
}

fn loads(case: &GoldenCase) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(load(case))
}

async fn load(case: &GoldenCase) -> Result<()> {
    let snapshot = case.translate()?.snapshot;
    let dir = ConfigDir::new()?;
    for (file, text) in case.objects() {
        dir.write(file, text)?;
    }
    let mizzen = Mizzen::start(MizzenOptions::files(dir.path())).await?;
    let mut envoy = Envoy::start(&EnvoyOptions::dynamic(case.node.clone(), mizzen.grpc())).await?;
    let names = |t: ResourceType| snapshot.views[t].resources().keys().map(ToString::to_string).collect();
    let loaded = async {
        envoy.wait_ready(PATIENCE).await?;
        envoy.wait_warm(PATIENCE).await?;
        in_service(
            &envoy,
            "ClustersConfigDump",
            "/dynamic_active_clusters",
            "/cluster/name",
            &names(ResourceType::Cluster),
        )
        .await?;
        let at = "/active_state/listener/name";
        in_service(&envoy, "ListenersConfigDump", "/dynamic_listeners", at, &names(ResourceType::Listener)).await?;
        nothing_is_refused(&envoy, &mizzen).await
    };
    loaded.await.with_context(|| format!("Envoy says:\n{}", interesting(&envoy.log())))
}

/// Waits until what Envoy has in service bears exactly these names.
async fn in_service(envoy: &Envoy, dump: &str, list: &str, name: &str, expected: &BTreeSet<String>) -> Result<()> {
    eventually(dump, PATIENCE, || async {
        let config = envoy.admin().config_of(dump).await?;
        let entries = config.pointer(list).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let names = entries.iter().filter_map(|e| e.pointer(name)?.as_str().map(str::to_owned));
        let actual: BTreeSet<String> = names.collect();
        let more: Vec<_> = actual.difference(expected).collect();
        let less: Vec<_> = expected.difference(&actual).collect();
        ensure!(more.is_empty() && less.is_empty(), "not in service: {less:?}; not in the golden files: {more:?}");
        Ok(())
    })
    .await
}

async fn nothing_is_refused(envoy: &Envoy, mizzen: &Mizzen) -> Result<()> {
    let stats = envoy.admin().stats("update_rejected$").await?;
    let refused: Vec<_> = stats.iter().filter(|(_, count)| **count > 0).collect();
    ensure!(refused.is_empty(), "Envoy refused: {refused:?}");
    let metrics = mizzen.metrics().await?;
    let refused = metrics.lines().filter(|l| l.starts_with("pilot_total_xds_rejects") && !l.ends_with(" 0"));
    let refused: Vec<_> = refused.collect();
    ensure!(refused.is_empty(), "mizzen counts refusals: {refused:?}");
    Ok(())
}

/// The lines of a log that tell of trouble with configuration.
fn interesting(log: &str) -> String {
    let lines = log.lines().filter(|l| l.contains("rejected") || l.contains("[error]") || l.contains("[critical]"));
    lines.collect::<Vec<_>>().join("\n")
}
