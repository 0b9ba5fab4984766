//! `mizzen analyze` on files, as users run it.

use std::time::{Duration, Instant};

use anyhow::Result;
use mizzen_e2e::{each_format_as_stored, large_mesh, offline_fixture, run_offline};
use serde_json::Value;

const CONFIG: &[&str] = &["analyze", "--use-kube=false", "-f", "config"];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    [CONFIG, more].concat()
}

#[test]
fn each_format_says_the_same() -> Result<()> {
    each_format_as_stored(&offline_fixture("analyze"), CONFIG)
}

#[test]
fn what_is_wrong_between_objects_is_found_on_its_line() -> Result<()> {
    let outcome = run_offline(&offline_fixture("analyze"), &with(&["-o", "json"]), "")?;
    let report: Value = serde_json::from_str(&outcome.output)?;
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    for (code, path, line) in [
        ("MZ1001", "spec.gateways", 26),
        ("MZ1002", "spec.http[0].route[1].destination", 34),
        ("MZ1014", "spec.http[0].route[0].destination", 50),
        ("MZ1006", "spec.servers[0].tls.credentialName", 13),
        ("MZ1103", "spec.hosts", 23),
        ("MZ1104", "spec.http[0]", 46),
        ("MZ1106", "spec.subsets[0].labels", 64),
        ("MZ1108", "spec.workloadSelector", 81),
        ("MZ1112", "spec.ports[0].targetPort", 19),
        ("MZ1116", "spec.trafficPolicy.tls.mode", 61),
        ("MZ1120", "spec.template.spec.hostNetwork", 35),
    ] {
        let found = findings.iter().any(|f| f["code"] == code && f["path"] == path && f["line"] == line);
        assert!(found, "{code} {path} {line}\n{}", outcome.output);
    }
    Ok(())
}

#[test]
fn one_namespace_and_exit_codes_can_be_chosen() -> Result<()> {
    let dir = offline_fixture("analyze");
    let system = run_offline(&dir, &with(&["-n", "istio-system"]), "")?;
    assert!(
        system.output.contains("Gateway istio-system/public") && !system.output.contains("shop/"),
        "{}",
        system.output
    );
    assert_eq!(system.code, 0, "a warning");
    assert_eq!(run_offline(&dir, &with(&["-n", "istio-system", "--fail-on", "warning"]), "")?.code, 1);
    let nothing = run_offline(&dir, &["analyze", "--use-kube=false"], "")?;
    assert_eq!(nothing.code, 2, "{}", nothing.errors);
    let nowhere = run_offline(&dir, &["analyze", "--kubeconfig", "no-such-file"], "")?;
    assert!(nowhere.code == 2 && nowhere.errors.contains("no-such-file"), "{}", nowhere.errors);
    Ok(())
}

/// A large mesh: the release build takes less than a second and 200 MB (`just bench`); this one only has to end in time.
#[test]
fn a_large_mesh_without_problems_has_none() -> Result<()> {
    let started = Instant::now();
    let args = ["analyze", "--use-kube=false", "-f", "-", "--severity", "warning", "--fail-on", "warning"];
    let outcome = run_offline(&offline_fixture("analyze"), &args, &large_mesh(200, 500))?;
    assert_eq!(outcome.code, 0, "{}", outcome.output);
    assert_eq!(outcome.output, "no problems in 701 objects of 1 file\n");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
    Ok(())
}
