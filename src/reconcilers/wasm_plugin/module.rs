//! Modules in WebAssembly, and the machines that they run in.

use std::collections::HashSet;

use super::super::{Problems, checks};
use crate::{
    api::wasm_plugin::{EnvValueSource, EnvVar, VmConfig},
    model::Code,
};

/// As much as the CRD allows.
const MAX_SECRET: usize = 253;
const MAX_NAME: usize = 256;
const MAX_VALUE: usize = 2048;
const MAX_VARIABLES: usize = 256;

const SCHEMES: [&str; 4] = ["http", "https", "file", "oci"];

/// A module, as two kinds have it.
pub(in super::super) struct Module<'a> {
    pub(in super::super) url: &'a str,
    pub(in super::super) sha256: &'a str,
    pub(in super::super) image_pull_secret: &'a str,
    pub(in super::super) plugin_name: &'a str,
    pub(in super::super) verification_key: &'a str,
    pub(in super::super) vm: Option<&'a VmConfig>,
}

/// Reports what is wrong with a module.
pub(in super::super) fn check_module(field: &str, module: &Module<'_>, problems: &mut Problems) {
    if let Err(why) = check_url(module.url) {
        problems.add(Code::ModuleUrlInvalid, format!("{field}.url"), format!("{:?} {why}", module.url));
    }
    let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if !module.sha256.is_empty() && (module.sha256.len() != 64 || !module.sha256.bytes().all(digit)) {
        let reason = format!("{:?} is not a SHA-256 in 64 digits of 0 to 9 and a to f", module.sha256);
        problems.add(Code::ChecksumInvalid, format!("{field}.sha256"), reason);
    }
    checks::at_most(&format!("{field}.imagePullSecret"), module.image_pull_secret, MAX_SECRET, problems);
    checks::at_most(&format!("{field}.pluginName"), module.plugin_name, MAX_NAME, problems);
    if !module.verification_key.is_empty() {
        problems.not_honoured(format!("{field}.verificationKey"));
    }
    let variables = module.vm.map(|vm| vm.env.as_slice()).unwrap_or_default();
    check_variables(&format!("{field}.vmConfig.env"), variables, problems);
}

/// A URL, or an OCI reference without scheme.
fn check_url(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        return Err("says nothing: write where the module is");
    }
    if text.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err("has blanks or control characters");
    }
    let Some((scheme, rest)) = text.split_once("://") else {
        // A path, or `registry.example.com:5000/plugin:1`.
        let host = text.split('/').next().unwrap_or_default();
        let port = host.split_once(':').map(|(_, port)| port);
        let no_port = |port: &str| text.contains('/') && (port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()));
        return if port.is_some_and(no_port) { Err("is not a URL") } else { Ok(()) };
    };
    if !SCHEMES.contains(&scheme) {
        return Err("has a scheme that is not http, https, file or oci");
    }
    if rest.trim_start_matches('/').is_empty() {
        return Err("names nothing behind its scheme");
    }
    Ok(())
}

fn check_variables(field: &str, variables: &[EnvVar], problems: &mut Problems) {
    checks::list_of_at_most(field, variables, MAX_VARIABLES, problems);
    let mut seen = HashSet::new();
    for (i, variable) in variables.iter().enumerate() {
        let field = format!("{field}[{i}]");
        checks::required(&format!("{field}.name"), &variable.name, problems);
        checks::at_most(&format!("{field}.name"), &variable.name, MAX_NAME, problems);
        checks::at_most(&format!("{field}.value"), &variable.value, MAX_VALUE, problems);
        if !seen.insert(variable.name.as_str()) {
            let reason = format!("{:?} is there already", variable.name);
            problems.add(Code::NameDuplicate, format!("{field}.name"), reason);
        }
        if variable.value_from == EnvValueSource::Host && !variable.value.is_empty() {
            let reason = "cannot be set with valueFrom HOST, which takes it from the proxy";
            problems.add(Code::VariableValueUnexpected, format!("{field}.value"), reason);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_fetched_or_pulled() {
        for good in [
            "oci://r.example/p:1",
            "r.example/p:1",
            "r.example:5000/p@sha256:ab",
            "image:tag",
            "https://a/b.wasm",
            "file:///opt/p.wasm",
            "/opt/p.wasm",
        ] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for bad in ["", "ftp://a/b", "a b", "https://", "://a", "r:x/p", "oci:///"] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
