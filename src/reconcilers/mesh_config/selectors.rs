//! Lists of hosts and namespaces.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    super::{
        Problems,
        rules::{check_label_syntax, wildcard_domain},
    },
    at::At,
};
use crate::model::Code;

/// `discoverySelectors`: label selectors of namespaces.
pub(super) fn check(list: &At<'_>, problems: &mut Problems) {
    for selector in list.entries(problems) {
        for (key, field) in selector.members(problems) {
            match key {
                "matchLabels" => check_labels(&field, problems),
                "matchExpressions" => {
                    for requirement in field.entries(problems) {
                        check_requirement(&requirement, problems);
                    }
                }
                _ => field.wrong(Code::UnknownField, "a label selector has no such field", problems),
            }
        }
    }
}

fn check_labels(field: &At<'_>, problems: &mut Problems) {
    let members = field.members(problems);
    let texts = members.iter().filter_map(|(key, value)| Some(((*key).to_owned(), value.text(problems)?.to_owned())));
    let labels: BTreeMap<String, String> = texts.collect();
    check_label_syntax(&field.path, &labels, problems);
}

fn check_requirement(requirement: &At<'_>, problems: &mut Problems) {
    if requirement.value["key"].as_str().is_none_or(str::is_empty) {
        requirement.wrong(Code::LabelSelectorInvalid, "has no key", problems);
    }
    let values = requirement.value["values"].as_array().map_or(0, Vec::len);
    let reason = match requirement.value["operator"].as_str() {
        Some(word @ ("In" | "NotIn")) if values == 0 => format!("operator {word} needs values"),
        Some(word @ ("Exists" | "DoesNotExist")) if values > 0 => format!("operator {word} takes no values"),
        Some("In" | "NotIn" | "Exists" | "DoesNotExist") => return,
        _ => {
            let given = requirement.value.get("operator").unwrap_or(&Value::Null);
            format!("operator {given} is not one of In, NotIn, Exists, DoesNotExist")
        }
    };
    requirement.wrong(Code::LabelSelectorInvalid, reason, problems);
}

/// `serviceSettings`: settings of services by their hosts.
pub(super) fn check_services(list: &At<'_>, problems: &mut Problems) {
    for settings in list.entries(problems) {
        for host in settings.get("hosts").iter().flat_map(|hosts| hosts.entries(problems)).collect::<Vec<_>>() {
            if let Some(text) = host.text(problems)
                && let Err(flaw) = wildcard_domain(text)
            {
                host.wrong(flaw.code, flaw.reason, problems);
            }
        }
    }
}
