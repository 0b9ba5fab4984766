//! ProxyConfigs (contract §10): settings that proxies start with, of which only the mesh's and those of Pods are used yet.

use super::{Problems, checks, target::For};
use crate::{
    api,
    model::{Code, Problem},
};

/// As long as the CRD allows.
const MAX_VARIABLE: usize = 2048;

/// What is wrong with an object.
#[must_use]
pub fn check(config: &api::ProxyConfig) -> Vec<Problem> {
    let mut problems = Problems::of("ProxyConfig", &config.metadata);
    problems.kind_not_honoured();
    let spec = &config.spec;
    For { selector: spec.selector.as_ref(), ..For::default() }.check(&mut problems);
    if let Some(threads) = spec.concurrency.filter(|threads| *threads < 0) {
        let reason = format!("{threads} is negative: use 0 for one thread per CPU");
        problems.add(Code::NumberOutOfRange, "spec.concurrency", reason);
    }
    for (name, value) in &spec.environment_variables {
        let field = format!("spec.environmentVariables[{name}]");
        if name.is_empty() || name.contains(['=', '\0']) {
            problems.add(Code::EntryEmpty, &field, format!("{name:?} is not the name of a variable"));
        }
        checks::at_most(&field, value, MAX_VARIABLE, &mut problems);
    }
    problems.into_vec()
}
