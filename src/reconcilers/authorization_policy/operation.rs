//! Operations of a rule.

use super::{
    super::{Problems, checks},
    path_template,
};
use crate::{api::authorization_policy::Operation, model::Code};

pub(super) fn check(field: &str, operation: Option<&Operation>, problems: &mut Problems) {
    let Some(operation) = operation.filter(|operation| **operation != Operation::default()) else {
        problems.add(Code::ClauseEmpty, field, "is empty: ask for something, or leave the entry out");
        return;
    };
    let at = |name: &str| format!("{field}.{name}");
    for (name, list) in [
        ("hosts", &operation.hosts),
        ("notHosts", &operation.not_hosts),
        ("methods", &operation.methods),
        ("notMethods", &operation.not_methods),
        ("paths", &operation.paths),
        ("notPaths", &operation.not_paths),
    ] {
        checks::no_empty_entry(&at(name), list, problems);
    }
    for (name, list) in [("ports", &operation.ports), ("notPorts", &operation.not_ports)] {
        check_ports(&at(name), list, problems);
    }
    for (name, list) in [("paths", &operation.paths), ("notPaths", &operation.not_paths)] {
        for (i, path) in list.iter().enumerate() {
            if let Err(why) = path_template::check(path) {
                problems.add(Code::PathTemplateInvalid, format!("{}[{i}]", at(name)), format!("{path:?}: {why}"));
            }
        }
    }
}

/// Ports as texts.
pub(super) fn check_ports(field: &str, list: &[String], problems: &mut Problems) {
    for (i, text) in list.iter().enumerate() {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits || text.parse::<u16>().is_ok_and(|port| port == 0) || text.parse::<u16>().is_err() {
            let reason = format!("{text:?} is not a port: use \"1\" to \"65535\"");
            problems.add(Code::PortOutOfRange, format!("{field}[{i}]"), reason);
        }
    }
}

/// Whether an operation asks for what only requests of HTTP have.
pub(super) fn asks_http(operation: &Operation) -> bool {
    let lists = [
        &operation.hosts,
        &operation.not_hosts,
        &operation.methods,
        &operation.not_methods,
        &operation.paths,
        &operation.not_paths,
    ];
    lists.iter().any(|list| !list.is_empty())
}

/// Whether it says which ports it is for.
pub(super) fn names_ports(operation: &Operation) -> bool {
    !(operation.ports.is_empty() && operation.not_ports.is_empty())
}
