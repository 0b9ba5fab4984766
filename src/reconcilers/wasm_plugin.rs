//! WasmPlugins (contract §10), of which nothing is made yet.

mod module;

use std::collections::HashSet;

pub(super) use self::module::{Module, check_module};
use super::{Problems, checks, target::For};
use crate::{
    api::{self, wasm_plugin::TrafficSelector},
    model::{Code, Problem},
};

/// What is wrong with an object.
#[must_use]
pub fn check(plugin: &api::WasmPlugin) -> Vec<Problem> {
    let mut problems = Problems::of("WasmPlugin", &plugin.metadata);
    problems.kind_not_honoured();
    let spec = &plugin.spec;
    For { selector: spec.selector.as_ref(), target: spec.target_ref.as_ref(), targets: &spec.target_refs }
        .check(&mut problems);
    let module = Module {
        url: &spec.url,
        sha256: &spec.sha256,
        image_pull_secret: &spec.image_pull_secret,
        plugin_name: &spec.plugin_name,
        verification_key: &spec.verification_key,
        vm: spec.vm_config.as_ref(),
    };
    check_module("spec", &module, &mut problems);
    check_match(&spec.r#match, &mut problems);
    problems.into_vec()
}

/// What traffic a filter sees.
pub(super) fn check_match(selectors: &[TrafficSelector], problems: &mut Problems) {
    for (i, selector) in selectors.iter().enumerate() {
        let mut seen = HashSet::new();
        for (j, port) in selector.ports.iter().enumerate() {
            let field = || format!("spec.match[{i}].ports[{j}].number");
            let number = checks::port(field, port.number.into(), problems);
            if number.is_some_and(|number| !seen.insert(number)) {
                problems.add(Code::PortDuplicate, field(), format!("{} is there already", port.number));
            }
        }
    }
}
