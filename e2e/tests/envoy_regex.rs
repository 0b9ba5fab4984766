//! Regular expressions, judged by a real Envoy: what validation takes is taken there, and what it refuses is refused.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use mizzen::validate::{Context, is_valid, validate};
use mizzen_e2e::tool;
use serde_json::{Value, json};

const GOOD: [&str; 52] = [
    "/a.*",
    "^/(v1|v2)/(.*)$",
    "/users/{id}",
    r"a{2,3}\p{Greek}\x{41}",
    r"\{x",
    "a{01}",
    "a{,3}",
    "a{",
    "(?i)[[:alpha:]_-]+",
    "[[]",
    "[]a]",
    "[^]a]",
    "[a&&b]",
    "[a-]",
    "[-a]",
    "[a-c-e]",
    "[[:]",
    r"[\d-z]",
    r"[\pN-z]",
    "[[:^alpha:][:word:]]",
    r"[\n\t\-\]]",
    r"\Q(a\E",
    r"\Qa",
    r"\Q\E",
    r"a*\Q\E*",
    "(?P<n>a)(?:b)",
    "(?<n>a)",
    r"\012",
    r"\01",
    r"\0",
    r"\377",
    r"\C",
    r"\_\-\/",
    r"\x41\x{0000041}",
    r"\xff",
    r"\pL\PN\p{^Lu}\p{Any}",
    r"\bx\B",
    r"\Ax\z",
    "(?i)k(?-i)s",
    "(?ims-U:a)",
    "(?)a",
    "()",
    "(|a)*",
    "^*",
    "a(?i)*",
    "(a{0}){1000}",
    "(a{30}){33}",
    "(?s).{1000}",
    r"\pL{900}",
    "a{1000}",
    "\u{e9}[\u{e9}-\u{8a9e}]",
    "\u{e9}{2}",
];

const BAD: [&str; 55] = [
    "*",
    "+a",
    "(*)",
    "a|+",
    "(a",
    "a)",
    "a(?=b)",
    "(?<=a)b",
    "(?!a)",
    "[",
    "[]",
    "[^]",
    "[a",
    r"\1",
    r"\8",
    r"\p{Klingon}",
    r"\p",
    r"\p{",
    "[z-a]",
    "[\u{e9}-a]",
    "(?P<\u{e4}>x)",
    r"\400",
    r"\x{100}",
    "a**",
    "a++",
    "a*?+",
    "a{2}{3}",
    "a{2}*",
    "(?x)a",
    "(?u)a",
    "(?R)a",
    "(?i-)a",
    "(?-)a",
    "(?P<a.b>x)",
    "(?P<>x)",
    "(?P=n)",
    "(?>a)",
    "(?#a)",
    r"\u0041",
    r"\U00000041",
    r"\u{41}",
    r"\x{110000}",
    r"\x{}",
    r"\x4",
    r"\Z",
    r"\G",
    r"\e",
    "\\",
    "[[:foo:]]",
    r"\p{sc=Greek}",
    r"[\b]",
    r"[a-\d]",
    "a{1001}",
    "a{3,2}",
    "(a{50}){50}",
];

/// A bootstrap whose routes match by the expressions, with the runtime flags of our own.
fn bootstrap(patterns: &[&str]) -> Value {
    let route =
        |pattern: &&str| json!({"match": {"safe_regex": {"regex": pattern}}, "direct_response": {"status": 200}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "http_filters": [{"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        }}],
        "route_config": {"virtual_hosts": [
            {"name": "all", "domains": ["*"], "routes": patterns.iter().map(route).collect::<Vec<_>>()},
        ]},
    });
    json!({
        "layered_runtime": {"layers": [
            {"name": "flags", "static_layer": {"re2.max_program_size.error_level": "32768"}},
        ]},
        "static_resources": {"listeners": [{
            "name": "l",
            "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }]},
    })
}

/// What Envoy says against expressions; `None` when it takes them.
fn refusal(patterns: &[&str]) -> Result<Option<String>> {
    let dir = tempfile::tempdir()?;
    let config = dir.path().join("bootstrap.json");
    fs::write(&config, bootstrap(patterns).to_string())?;
    let run = Command::new(tool("envoy")?)
        .args(["--mode", "validate", "--log-level", "critical", "--config-path"])
        .arg(&config)
        .output()
        .context("run envoy")?;
    Ok((!run.status.success()).then(|| String::from_utf8_lossy(&run.stderr).into_owned()))
}

/// Whether validation takes an expression.
fn is_taken(pattern: &str) -> bool {
    let object = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "v"},
        "spec": {"hosts": ["a.example.com"], "http": [
            {"match": [{"uri": {"regex": pattern}}], "route": [{"destination": {"host": "b.example.com"}}]},
        ]},
    });
    is_valid(&validate(&object, &Context::default()))
}

#[test]
fn what_validation_takes_envoy_takes() -> Result<()> {
    for pattern in GOOD {
        ensure!(is_taken(pattern), "{pattern:?} is refused");
    }
    if refusal(&GOOD)?.is_some() {
        for pattern in GOOD {
            let said = refusal(&[pattern])?;
            ensure!(said.is_none(), "{pattern:?}: Envoy refuses it: {said:?}");
        }
    }
    Ok(())
}

#[test]
fn what_validation_refuses_envoy_refuses() -> Result<()> {
    let large = "(a{1000})".repeat(40);
    for pattern in BAD.into_iter().chain([large.as_str()]) {
        ensure!(!is_taken(pattern), "{pattern:?} is taken");
        let said = refusal(&[pattern])?.with_context(|| format!("{pattern:?}: Envoy takes it"))?;
        ensure!(said.contains("error initializing configuration"), "{pattern:?}: {said}");
    }
    Ok(())
}
