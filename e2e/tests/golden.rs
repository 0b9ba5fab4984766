//! Every golden case is translated to what its folder holds, and breaks none of the rules of `translate::lint`.
//!
//! `MIZZEN_BLESS=1` (`just bless`) rewrites the folders instead, and removes files that are no longer made.

use std::{collections::BTreeMap, env, fs, process::ExitCode};

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};
use mizzen::{
    cli::offline::Translation,
    translate::lint::{Finding, Rule, lint},
};
use mizzen_e2e::GoldenCase;

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
    if bless {
        write(case, &made, &stored)?;
    } else {
        let names = made.keys().chain(stored.keys().filter(|name| !made.contains_key(*name)));
        wrong.extend(names.filter_map(|name| difference(name, stored.get(name), made.get(name))));
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
