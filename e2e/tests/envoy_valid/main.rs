//! What validation accepts, a real Envoy takes: the accepted cases of `e2e/fixtures/validation`, and random objects.
//!
//! Each object is translated by itself, among what it needs to reach a sidecar or a gateway; what that changes is loaded.

mod random;
mod smaller;

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use mizzen::validate::{Context, is_valid, validate};
use mizzen_e2e::{Acceptance, Made, ValidationCase};
use serde_json::Value;

/// Of the accepted cases of a kind, in percent, those that change what proxies get; fewer would prove little. Of other kinds
/// nothing follows yet, or what most of their cases say is not honoured yet.
const REACH: [(&str, usize); 11] = [
    ("VirtualService", 80),
    ("DestinationRule", 95),
    ("Gateway", 60),
    ("ServiceEntry", 80),
    ("WorkloadEntry", 30),
    ("PeerAuthentication", 70),
    ("RequestAuthentication", 80),
    ("AuthorizationPolicy", 60),
    ("Sidecar", 10),
    ("EnvoyFilter", 20),
    ("ConfigMap", 15),
];

fn accepted(object: &Value) -> bool {
    is_valid(&validate(object, &Context::default()))
}

#[tokio::test]
async fn envoy_takes_what_validation_accepts_of_the_cases() -> Result<()> {
    let (mut names, mut made) = (Vec::new(), Vec::new());
    let mut reach: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for (file, cases) in ValidationCase::all()? {
        for case in cases.into_iter().filter(|case| accepted(&case.object)) {
            let name = format!("{file}: {}", case.name);
            let of = Made::of(&case.object).with_context(|| name.clone())?;
            let (reached, all) = reach.entry(case.object["kind"].as_str().unwrap_or_default().to_owned()).or_default();
            *all += 1;
            *reached += usize::from(!of.is_nothing());
            names.push(name);
            made.push(of);
        }
    }
    for (kind, least) in REACH {
        let (reached, all) = reach.get(kind).copied().unwrap_or_default();
        ensure!(reached * 100 >= all * least && reached > 0, "{reached} of {all} cases of {kind} reach a proxy");
    }
    let said = Acceptance::of(&made).await?;
    let refused: Vec<_> = said.refused.iter().map(|(n, why)| format!("{}: {why}", names[*n])).collect();
    ensure!(refused.is_empty(), "Envoy refuses what validation accepts:\n{}", refused.join("\n"));
    ensure!(said.given == said.taken, "of {:?} clusters and listeners Envoy has {:?}", said.given, said.taken);
    Ok(())
}
