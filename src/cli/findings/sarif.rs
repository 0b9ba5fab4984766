//! SARIF 2.1.0, which code hosts and editors read.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Finding, Place};
use crate::{
    cli::input::STANDARD_INPUT,
    model::{Code, Severity},
};

/// A log with one run. Its rules are those that something was found by.
pub(super) fn log(findings: &[Finding], unchecked: &[String]) -> Value {
    let codes: BTreeMap<&str, Code> = findings.iter().map(|f| (f.code.id(), f.code)).collect();
    let index: BTreeMap<&str, usize> = codes.keys().enumerate().map(|(n, id)| (*id, n)).collect();
    let rules: Vec<Value> = codes.values().map(|code| rule(*code)).collect();
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, index[finding.code.id()])).collect();
    let notes: Vec<Value> =
        unchecked.iter().map(|what| json!({ "level": "warning", "message": { "text": what } })).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "mizzen", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "invocations": [{ "executionSuccessful": true, "toolExecutionNotifications": notes }],
            "columnKind": "utf16CodeUnits",
            "results": results,
        }],
    })
}

const fn level(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Info => "note",
    }
}

fn rule(code: Code) -> Value {
    json!({
        "id": code.id(),
        "name": code.name(),
        "shortDescription": { "text": code.rule() },
        "help": { "text": code.hint() },
        "defaultConfiguration": { "level": level(code.severity()) },
    })
}

fn result(finding: &Finding, rule: usize) -> Value {
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = finding.write_subject(&mut text);
    text.push_str(&finding.message);
    let mut location = json!({});
    if let Some(Place { file, line }) = &finding.place {
        let uri = if &**file == STANDARD_INPUT { "stdin".to_owned() } else { uri(file) };
        location["physicalLocation"] = json!({
            "artifactLocation": { "uri": uri },
            "region": { "startLine": line },
        });
    }
    if let Some(object) = &finding.object {
        let path = if finding.path.is_empty() { String::new() } else { format!("/{}", finding.path) };
        let name = format!("{}/{}/{}{path}", object.kind, object.namespace, object.name);
        location["logicalLocations"] = json!([{ "fullyQualifiedName": name, "kind": "resource" }]);
    }
    json!({
        "ruleId": finding.code.id(),
        "ruleIndex": rule,
        "level": level(finding.code.severity()),
        "message": { "text": text },
        "locations": [location],
    })
}

/// A path as a relative reference or, where it is absolute, as a URI.
fn uri(path: &str) -> String {
    let mut made = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.strip_prefix("./").unwrap_or(path).bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => made.push(char::from(byte)),
            other => made.push_str(&format!("%{other:02X}")),
        }
    }
    made
}

#[cfg(test)]
mod tests {
    use super::uri;

    #[test]
    fn paths_become_references() {
        assert_eq!(uri("./a b/c.yaml"), "a%20b/c.yaml");
        assert_eq!(uri("/etc/é.yaml"), "file:///etc/%C3%A9.yaml");
    }
}
