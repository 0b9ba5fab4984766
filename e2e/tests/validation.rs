//! What `validate` finds in the cases of `e2e/fixtures/validation`, and what it says (`just bless` rewrites that).

use std::{
    collections::BTreeSet,
    env,
    fmt::Write,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use mizzen::validate::{Code, Context, Finding, validate};
use mizzen_e2e::{ValidationCase, large_objects};

/// How many there are at least: a case that goes is a rule that nobody looks after.
const LEAST_CASES: usize = 950;

/// What is said of every object of a kind: that nothing follows from it yet, or that it is an internal API.
const ALWAYS: [Code; 3] = [Code::KindNotHonoured, Code::PolicyNotEnforced, Code::InternalApi];

/// What no case here can break: files, objects of other kinds, or very large ones are needed for it.
const ELSEWHERE: [Code; 7] = [
    Code::ServiceUnusable,
    Code::SecretUnusable,
    Code::InjectorConfigInvalid,
    Code::InjectorTemplateUnused,
    Code::InstallationRefused,
    Code::InstallationPartial,
    Code::EntryTooLarge,
];

fn short(finding: &Finding) -> String {
    match finding.path.as_str() {
        "" => finding.code.to_string(),
        path => format!("{} {path}", finding.code),
    }
}

#[test]
fn each_case_has_its_findings() -> Result<()> {
    let mut wrong = String::new();
    for (kind, cases) in ValidationCase::all()? {
        for case in cases {
            let found: Vec<String> = validate(&case.object, &Context::default()).iter().map(short).collect();
            if found != case.findings {
                writeln!(wrong, "{kind}: {}:\n  expected {:?}\n  found    {found:?}", case.name, case.findings)?;
            }
        }
    }
    ensure!(wrong.is_empty(), "{wrong}");
    Ok(())
}

#[test]
fn what_is_said_is_as_stored() -> Result<()> {
    let bless = env::var_os("MIZZEN_BLESS").is_some_and(|v| v == "1");
    let mut wrong = Vec::new();
    for (kind, cases) in ValidationCase::all()? {
        let mut text = String::new();
        for case in &cases {
            writeln!(text, "{}", case.name)?;
            for finding in validate(&case.object, &Context::default()) {
                writeln!(text, "  {}: {finding}", finding.severity())?;
            }
        }
        let path = ValidationCase::golden(&kind);
        if bless {
            fs::create_dir_all(path.parent().unwrap_or(&path))?;
            fs::write(&path, &text)?;
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            wrong.push(path.display().to_string());
        }
    }
    ensure!(wrong.is_empty(), "`just bless` accepts changes of {}", wrong.join(", "));
    Ok(())
}

/// A rule holds both ways: some object breaks it, and others, without any finding, do not.
#[test]
fn each_rule_of_an_object_is_broken_by_some_case() -> Result<()> {
    let files = ValidationCase::all()?;
    let cases = || files.values().flatten();
    ensure!(cases().count() >= LEAST_CASES, "there are {} cases only", cases().count());
    let always: Vec<&str> = ALWAYS.iter().map(|code| code.id()).collect();
    let valid = cases().filter(|case| case.findings.iter().all(|finding| always.contains(&finding.as_str()))).count();
    ensure!(valid * 5 >= cases().count(), "{valid} cases without a finding are few");
    let found: BTreeSet<&str> = cases().flat_map(|c| &c.findings).filter_map(|f| f.split(' ').next()).collect();
    let all: BTreeSet<&str> = Code::ALL.iter().map(|code| code.id()).collect();
    let unknown: Vec<_> = found.difference(&all).collect();
    ensure!(unknown.is_empty(), "no such codes: {unknown:?}");
    let judged = |code: &&Code| ("MZ01".."MZ10").contains(&code.id()) && !ELSEWHERE.contains(code);
    let missing: Vec<_> = Code::ALL.iter().filter(judged).filter(|code| !found.contains(code.id())).collect();
    let missing: Vec<_> = missing.iter().map(|code| format!("{code} {}", code.name())).collect();
    ensure!(missing.is_empty(), "no case breaks {}", missing.join(", "));
    Ok(())
}

/// What is about as large as an API server takes is judged in bounded time: 50 ms when it is optimized. Without, and beside
/// other tests on a slow machine, it may take a hundred times as long; what grows with the square of the object takes minutes.
#[test]
fn large_objects_take_no_longer_than_their_size() {
    let most = Duration::from_millis(if cfg!(debug_assertions) { 5_000 } else { 50 });
    let mut slow = Vec::new();
    for (what, object) in large_objects() {
        let time = || {
            let start = Instant::now();
            drop(validate(&object, &Context::default()));
            start.elapsed()
        };
        // Something else may have had the processor: once in time is enough.
        let mut best = time();
        for _ in 0..2 {
            if best > most {
                best = best.min(time());
            }
        }
        if best > most {
            slow.push(format!("{what}: {best:?}"));
        }
    }
    assert!(slow.is_empty(), "{slow:#?}");
}
