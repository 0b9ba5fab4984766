//! TrafficExtensions (contract §10), of which nothing is made yet.

use super::{
    Problems, checks,
    target::For,
    wasm_plugin::{Module, check_match, check_module},
};
use crate::{
    api::{
        self,
        traffic_extension::{LuaConfig, WasmConfig},
    },
    model::{Code, Problem},
};

/// As long as a program may be.
const MAX_CODE: usize = 65536;

/// What is wrong with an object.
#[must_use]
pub fn check(extension: &api::TrafficExtension) -> Vec<Problem> {
    let mut problems = Problems::of("TrafficExtension", &extension.metadata);
    problems.kind_not_honoured();
    let spec = &extension.spec;
    For { selector: spec.selector.as_ref(), targets: &spec.target_refs, ..For::default() }.check(&mut problems);
    match (&spec.wasm, &spec.lua) {
        (None, None) => problems.add(Code::ExtensionAmbiguous, "spec", "has neither wasm nor lua"),
        (Some(_), Some(_)) => problems.add(Code::ExtensionAmbiguous, "spec", "has both wasm and lua"),
        _ => {}
    }
    if let Some(wasm) = &spec.wasm {
        check_module("spec.wasm", &module(wasm), &mut problems);
    }
    if let Some(lua) = &spec.lua {
        check_lua(lua, &mut problems);
    }
    check_match(&spec.r#match, &mut problems);
    problems.into_vec()
}

fn module(wasm: &WasmConfig) -> Module<'_> {
    Module {
        url: &wasm.url,
        sha256: &wasm.sha256,
        image_pull_secret: &wasm.image_pull_secret,
        plugin_name: &wasm.plugin_name,
        verification_key: &wasm.verification_key,
        vm: wasm.vm_config.as_ref(),
    }
}

fn check_lua(lua: &LuaConfig, problems: &mut Problems) {
    checks::required("spec.lua.inlineCode", &lua.inline_code, problems);
    checks::at_most("spec.lua.inlineCode", &lua.inline_code, MAX_CODE, problems);
}
