//! Annotations and labels of Pods, read strictly: what is written wrong is told, not guessed.

use k8s_openapi::api::core::v1::Pod;

use super::InjectError;

/// The text of an annotation; nothing where there is none.
pub(super) fn text<'a>(pod: &'a Pod, name: &str) -> &'a str {
    pod.metadata.annotations.as_ref().and_then(|all| all.get(name)).map(String::as_str).unwrap_or_default()
}

/// The text of an annotation that is there, even an empty one.
pub(super) fn given<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

/// The value of a label; nothing where there is none.
pub(super) fn label<'a>(pod: &'a Pod, name: &str) -> &'a str {
    pod.metadata.labels.as_ref().and_then(|all| all.get(name)).map(String::as_str).unwrap_or_default()
}

/// `true` or `false`.
pub(super) fn flag(pod: &Pod, name: &str) -> Result<Option<bool>, InjectError> {
    match text(pod, name) {
        "" => Ok(None),
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        other => Err(wrong(name, other, "\"true\" or \"false\"")),
    }
}

/// A whole number.
pub(super) fn number(pod: &Pod, name: &str) -> Result<Option<i32>, InjectError> {
    match text(pod, name) {
        "" => Ok(None),
        digits => digits.parse().map(Some).map_err(|_| wrong(name, digits, "a number")),
    }
}

/// A list of ports, or `*`, as it is written.
pub(super) fn ports<'a>(pod: &'a Pod, name: &str) -> Result<Option<&'a str>, InjectError> {
    let Some(list) = given(pod, name) else { return Ok(None) };
    let is_port = |port: &str| port.trim().parse::<u16>().is_ok_and(|port| port > 0);
    match list == "*" || list.is_empty() || list.split(',').all(is_port) {
        true => Ok(Some(list)),
        false => Err(wrong(name, list, "\"*\" or ports, separated by commas")),
    }
}

/// A list of address ranges, or `*`, as it is written.
pub(super) fn ranges<'a>(pod: &'a Pod, name: &str) -> Result<Option<&'a str>, InjectError> {
    let Some(list) = given(pod, name) else { return Ok(None) };
    let is_range = |range: &str| range.trim().parse::<ipnet::IpNet>().is_ok();
    match list == "*" || list.is_empty() || list.split(',').all(is_range) {
        true => Ok(Some(list)),
        false => Err(wrong(name, list, "\"*\" or ranges such as 10.0.0.0/8, separated by commas")),
    }
}

pub(super) fn wrong(name: &str, value: &str, expected: &str) -> InjectError {
    InjectError::Annotation { name: name.to_owned(), value: value.to_owned(), expected: expected.to_owned() }
}
