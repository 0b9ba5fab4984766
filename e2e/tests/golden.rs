//! Every golden case is translated to what its folder holds, and breaks none of the rules of `translate::lint`.
//!
//! `MIZZEN_BLESS=1` (`just bless`) rewrites the folders instead, and removes files that are no longer made.

use std::{collections::BTreeMap, env, fs, process::ExitCode};

use anyhow::{Result, ensure};
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use libtest_mimic::{Arguments, Failed, Trial};
use mizzen::{
    cli::offline::Translation,
    snapshot::{ResourceType, host_name_parts},
    translate::lint::{Finding, Rule, lint},
};
use mizzen_e2e::GoldenCase;
use prost::Message;

fn main() -> Result<ExitCode> {
    let bless = env::var_os("MIZZEN_BLESS").is_some_and(|v| v == "1");
    let trial = |case: GoldenCase| {
        Trial::test(case.name.clone(), move || passes(&case, bless).map_err(|e| Failed::from(format!("{e:#}"))))
    };
    let trials = GoldenCase::all()?.into_iter().map(trial).collect();
    Ok(libtest_mimic::run(&Arguments::from_args(), trials).exit_code())
}

fn passes(case: &GoldenCase, bless: bool) -> Result<()> {
    let wrong = check(case, bless)?;
    ensure!(wrong.is_empty(), "`just bless` accepts changes:\n{}", wrong.join("\n"));
    Ok(())
}

/// What is wrong with a case.
fn check(case: &GoldenCase, bless: bool) -> Result<Vec<String>> {
    let translation = case.translate()?;
    let made = GoldenCase::outputs(&translation)?;
    let stored = case.stored()?;
    let findings = lint(&translation.snapshot).into_iter().filter(|f| !reported(f, &translation));
    let mut wrong: Vec<String> = findings.map(|f| format!("lint: {f}")).collect();
    wrong.extend(both_forms(case)?);
    if bless {
        write(case, &made, &stored)?;
    } else {
        let names = made.keys().chain(stored.keys().filter(|name| !made.contains_key(*name)));
        wrong.extend(names.filter_map(|name| difference(name, stored.get(name), made.get(name))));
    }
    Ok(wrong)
}

/// Virtual hosts that are discovered one by one are those of the whole route configurations.
fn both_forms(case: &GoldenCase) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    if case.node.kind != "sidecar" {
        return Ok(wrong);
    }
    let (whole, apart) = (case.translate_for(false)?, case.translate_for(true)?);
    let found = lint(&apart.snapshot).into_iter().filter(|f| !reported(f, &apart));
    wrong.extend(found.map(|f| format!("lint of virtual hosts: {f}")));
    if whole.problems != apart.problems {
        wrong.push(format!("other problems with virtual hosts apart: {:?}", apart.problems));
    }
    let views = |t: &Translation, of: ResourceType| t.snapshot.views[of].resources();
    let hosts = views(&apart, ResourceType::VirtualHost);
    let others = views(&apart, ResourceType::Route);
    for (name, resource) in views(&whole, ResourceType::Route) {
        let mut expected = RouteConfiguration::decode(resource.body_bytes())?;
        let Some(other) = others.get(&name) else {
            wrong.push(format!("no route configuration {name} with virtual hosts apart"));
            continue;
        };
        let mut other = RouteConfiguration::decode(other.body_bytes())?;
        if other.vhds.take().is_some() {
            for (full, host) in hosts.iter().filter(|(full, _)| host_name_parts(full).0 == &*name) {
                let host = VirtualHost::decode(host.body_bytes())?;
                other.virtual_hosts.push(VirtualHost { name: host_name_parts(full).1.to_owned(), ..host });
            }
        }
        expected.virtual_hosts.sort_by(|a, b| a.name.cmp(&b.name));
        other.virtual_hosts.sort_by(|a, b| a.name.cmp(&b.name));
        if other != expected {
            wrong.push(format!("route configuration {name} with virtual hosts apart is another: {other:#?}"));
        }
    }
    Ok(wrong)
}

/// A cluster that an object asks for in vain is the object's problem, if it is told.
fn reported(finding: &Finding, translation: &Translation) -> bool {
    let host = finding.subject.rsplit('|').next().unwrap_or_default();
    finding.rule == Rule::MissingCluster && translation.problems.iter().any(|p| p.contains(host))
}

fn write(case: &GoldenCase, made: &BTreeMap<String, String>, stored: &BTreeMap<String, String>) -> Result<()> {
    for (name, content) in made.iter().filter(|(name, content)| stored.get(*name) != Some(content)) {
        fs::write(case.dir.join(name), content)?;
    }
    for name in stored.keys().filter(|name| !made.contains_key(*name)) {
        fs::remove_file(case.dir.join(name))?;
    }
    Ok(())
}

/// The first line that differs, with its number.
fn difference(name: &str, stored: Option<&String>, made: Option<&String>) -> Option<String> {
    let (stored, made) = match (stored, made) {
        (Some(stored), Some(made)) if stored == made => return None,
        (Some(stored), Some(made)) => (stored, made),
        (Some(_), None) => return Some(format!("{name}: no longer made")),
        _ => return Some(format!("{name}: not stored")),
    };
    let same = stored.lines().zip(made.lines()).take_while(|(a, b)| a == b).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(end)").to_owned();
    Some(format!("{name}:{}: stored {:?}, made {:?}", same + 1, line(stored), line(made)))
}
