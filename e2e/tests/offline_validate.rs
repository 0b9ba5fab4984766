//! `mizzen validate` on files, as users run it.

use anyhow::Result;
use mizzen_e2e::{each_format_as_stored, offline_fixture, run_offline};
use serde_json::Value;

const CONFIG: &[&str] = &["validate", "-f", "config"];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    [CONFIG, more].concat()
}

#[test]
fn each_format_says_the_same() -> Result<()> {
    each_format_as_stored(&offline_fixture("validate"), CONFIG)
}

#[test]
fn lines_are_those_of_the_fields() -> Result<()> {
    let outcome = run_offline(&offline_fixture("validate"), &with(&["-o", "json"]), "")?;
    let report: Value = serde_json::from_str(&outcome.output)?;
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    let line = |file: &str, path: &str| {
        let is_it = |f: &&Value| f["file"] == format!("config/{file}") && f["path"] == path;
        findings.iter().find(is_it).map(|f| f["line"].as_u64().unwrap_or_default())
    };
    for (file, path, expected) in [
        ("routes.yaml", "spec.http[1].retries.attempts", 18),
        ("routes.yaml", "spec.http[0].fualt", 29),
        ("routes.yaml", "kind", 36),
        ("nested.json", "spec.mtls.mode", 19),
        ("nested.json", "spec.portLevelMtls", 10),
        ("operator.yaml", "metadata.name", 0),
    ] {
        let expected = Some(expected).filter(|line| *line > 0);
        assert_eq!(line(file, path), expected, "{file} {path}\n{}", outcome.output);
    }
    let broken = findings.iter().find(|f| f["code"] == "MZ0012").and_then(|f| f["line"].as_u64());
    assert_eq!(broken, Some(47), "{}", outcome.output);
    Ok(())
}

#[test]
fn fields_of_a_mesh_configuration_have_lines_of_their_own() -> Result<()> {
    let map = "apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |-
    trustDomain: a b
    defaultConfig:
      concurrency: -1
  meshNetworks: |
    networks:
      one:
        gateways:
        - {address: 1.2.3.4, port: 0}
";
    let outcome = run_offline(&offline_fixture("validate"), &["validate", "-f", "-", "-o", "json"], map)?;
    let report: Value = serde_json::from_str(&outcome.output)?;
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    for (path, line) in [
        ("data.mesh: trustDomain", 6),
        ("data.mesh: defaultConfig.concurrency", 8),
        ("data.meshNetworks", 9),
        ("data.meshNetworks: networks.one.gateways[0].port", 13),
    ] {
        let found = findings.iter().find(|f| f["path"] == path).and_then(|f| f["line"].as_u64());
        assert_eq!(found, Some(line), "{path}\n{}", outcome.output);
    }
    Ok(())
}

#[test]
fn exit_codes_are_for_scripts() -> Result<()> {
    let dir = offline_fixture("validate");
    let code = |args: &[&str], input: &str| anyhow::Ok(run_offline(&dir, args, input)?.code);
    assert_eq!(code(&["validate", "-f", "config/good.yaml"], "")?, 0);
    assert_eq!(code(&["validate", "-f", "config/routes.yaml"], "")?, 1);
    assert_eq!(code(&with(&["--suppress", "MZ*"]), "")?, 0);
    assert_eq!(code(&["validate", "-f", "no-such-file.yaml"], "")?, 2);
    assert_eq!(code(&["validate"], "")?, 2);
    assert_eq!(code(&with(&["--suppress", "nonsense"]), "")?, 2);
    let unknown = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web}\n\
                   spec: {hosts: [web], http: [{nmae: a, route: [{destination: {host: web}}]}]}\n";
    assert_eq!(code(&["validate", "-f", "-"], unknown)?, 0, "a warning");
    assert_eq!(code(&["validate", "-f", "-", "--fail-on", "warning"], unknown)?, 1);
    let none = run_offline(&dir, &["validate", "-f", "no-such-file.yaml"], "")?;
    assert!(none.errors.starts_with("Error: cannot read no-such-file.yaml: "), "{}", none.errors);
    Ok(())
}

#[test]
fn findings_can_be_suppressed_and_are_counted() -> Result<()> {
    let dir = offline_fixture("validate");
    let all = run_offline(&dir, &with(&["--severity", "error"]), "")?.output;
    let suppressed = ["--severity", "error", "--suppress", "MZ*=PeerAuthentication/web/*"];
    let some = run_offline(&dir, &with(&suppressed), "")?.output;
    assert!(all.contains("PeerAuthentication web/mode") && !some.contains("PeerAuthentication web/mode"), "{some}");
    assert!(some.lines().last().is_some_and(|line| line.contains(" suppressed")), "{some}");
    Ok(())
}

#[test]
fn the_standard_input_may_be_json_or_yaml() -> Result<()> {
    let dir = offline_fixture("validate");
    let json = std::fs::read_to_string(dir.join("config/nested.json"))?;
    let outcome = run_offline(&dir, &["validate", "-f", "-"], &json)?;
    assert!(outcome.output.starts_with("-:"), "{}", outcome.output);
    assert!(outcome.output.ends_with("in 2 objects of 1 file\n"), "{}", outcome.output);
    assert!(!outcome.output.contains('\u{1b}'), "colours are for terminals");
    Ok(())
}

/// What a real API server accepts and refuses (`cluster_crds`) is judged alike here.
#[test]
fn what_an_api_server_refuses_is_refused() -> Result<()> {
    let dir = offline_fixture("../crds");
    let refused = run_offline(&dir, &["validate", "-f", "reject", "-o", "json"], "")?;
    let report: Value = serde_json::from_str(&refused.output)?;
    let wrong = |name: &str| {
        let findings = report["findings"].as_array().into_iter().flatten();
        findings.into_iter().any(|f| f["severity"] == "error" && f["object"]["name"] == name)
    };
    let mut count = 0;
    for entry in std::fs::read_dir(dir.join("reject"))? {
        for line in std::fs::read_to_string(entry?.path())?.lines() {
            if let Some(name) = line.strip_prefix("  name: ") {
                count += 1;
                assert!(wrong(name), "{name} is accepted");
            }
        }
    }
    assert!(count > 100);
    Ok(())
}
