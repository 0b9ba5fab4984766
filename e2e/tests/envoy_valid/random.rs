//! Random objects: what validation accepts of them, Envoy takes. They are the same in every run, so that what fails is a
//! change; `PROPTEST_RNG_SEED` and `PROPTEST_CASES` (objects of each kind) look further. What fails tells its seed.

mod destination_rule;
mod gateway;
mod others;
mod policies;
mod services;
mod shape;
mod virtual_service;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use mizzen::validate::{Context, Severity, is_valid, validate};
use mizzen_e2e::{Acceptance, Made};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::{Config, RngSeed, TestRunner},
};
use serde_json::Value;

use self::shape::Json;
use super::smaller::smallest;

/// Objects of each kind, unless `PROPTEST_CASES` says how many.
const OBJECTS: u32 = 60;

/// Of so many refused objects the smallest forms are looked for.
const SHOWN: usize = 10;

fn kinds() -> Vec<(&'static str, Json)> {
    vec![
        ("VirtualService", virtual_service::virtual_service()),
        ("DestinationRule", destination_rule::destination_rule()),
        ("Gateway", gateway::gateway()),
        ("ServiceEntry", services::service_entry()),
        ("WorkloadEntry", services::workload_entry()),
        ("Sidecar", services::sidecar()),
        ("PeerAuthentication", policies::peer_authentication()),
        ("AuthorizationPolicy", policies::authorization_policy()),
        ("RequestAuthentication", policies::request_authentication()),
        ("EnvoyFilter", others::envoy_filter()),
        ("ConfigMap", others::mesh_config()),
    ]
}

/// The seed of runs that name none.
const SEED: u64 = 1;

/// With the seed that it has.
fn runner() -> (TestRunner, u64) {
    let config = Config::default();
    let seed = match config.rng_seed {
        RngSeed::Random => SEED,
        RngSeed::Fixed(given) => given,
    };
    let config = Config { rng_seed: RngSeed::Fixed(seed), failure_persistence: None, ..config };
    (TestRunner::new(config), seed)
}

/// Objects of each kind that are valid, in percent, and objects that change what proxies get; of fewer than the usual number it
/// may be less by chance.
const VALID: usize = 50;
const REACH: usize = 15;

/// What of random objects of a kind is valid, with what Envoy would get.
fn valid_ones(kind: &str, strategy: &Json, count: u32, runner: &mut TestRunner) -> Result<Vec<(Value, Made)>> {
    let mut valid = Vec::new();
    let mut broken: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..count {
        let object = strategy.new_tree(runner).map_err(|why| anyhow!("{kind}: {why}"))?.current();
        let findings = validate(&object, &Context::default());
        if is_valid(&findings) {
            let made = Made::of(&object).with_context(|| object.to_string())?;
            valid.push((object, made));
        }
        let errors = findings.iter().filter(|finding| finding.severity() == Severity::Error);
        let codes: BTreeSet<&str> = errors.map(|finding| finding.code.id()).collect();
        codes.into_iter().for_each(|code| *broken.entry(code).or_default() += 1);
    }
    let reached = valid.iter().filter(|(_, made)| !made.is_nothing()).count();
    if count < OBJECTS {
        return Ok(valid);
    }
    let count = count as usize;
    ensure!(valid.len() * 100 >= count * VALID, "{} of {count} objects of {kind} are valid: {broken:?}", valid.len());
    ensure!(reached * 100 >= count * REACH, "{reached} of {count} objects of {kind} reach a proxy");
    Ok(valid)
}

#[tokio::test]
async fn envoy_takes_what_validation_accepts_of_random_objects() -> Result<()> {
    let (mut runner, seed) = runner();
    let count = if std::env::var_os("PROPTEST_CASES").is_some() { runner.config().cases } else { OBJECTS };
    check(&mut runner, count).await.with_context(|| format!("PROPTEST_RNG_SEED={seed} PROPTEST_CASES={count}"))
}

async fn check(runner: &mut TestRunner, count: u32) -> Result<()> {
    let (mut objects, mut made) = (Vec::new(), Vec::new());
    for (kind, strategy) in kinds() {
        let (of_kind, of): (Vec<_>, Vec<_>) = valid_ones(kind, &strategy, count, runner)?.into_iter().unzip();
        objects.extend(of_kind);
        made.extend(of);
    }
    let said = Acceptance::of(&made).await?;
    let mut refused = String::new();
    for (n, why) in said.refused.iter().take(SHOWN) {
        let object = smallest(&objects[*n]).await?;
        write!(refused, "---\n# {}\n{}", why.replace('\n', "\n# "), serde_yaml_ng::to_string(&object)?)?;
    }
    ensure!(refused.is_empty(), "Envoy refuses {} of {} valid objects:\n{refused}", said.refused.len(), objects.len());
    ensure!(said.given == said.taken, "of {:?} clusters and listeners Envoy has {:?}", said.given, said.taken);
    Ok(())
}
