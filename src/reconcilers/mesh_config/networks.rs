//! The key `meshNetworks`: which workloads are in which network, and through which gateways the others reach them. Nothing
//! follows from it yet.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::{
    super::{
        Problems,
        rules::{domain, is_dns_label},
    },
    at::At,
};
use crate::model::Code;

const PATH: &str = "data.meshNetworks";

/// Reports what is wrong with the text, and that it is not honoured.
pub(super) fn check(text: &str, problems: &mut Problems) {
    let read = match serde_yaml_ng::from_str::<Value>(text) {
        Ok(read) => read,
        Err(error) => return problems.add(Code::MeshConfigUnreadable, PATH, error.to_string()),
    };
    let Value::Object(fields) = &read else {
        if !read.is_null() {
            problems.add(Code::MeshConfigUnreadable, PATH, "is not a map of fields");
        }
        return;
    };
    for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let field = At { path: format!("{PATH}: {key}"), value };
        if key != "networks" {
            field.wrong(Code::UnknownField, "networks are the only field", problems);
            continue;
        }
        let networks = field.members(problems);
        // Installers write an empty map when there are none.
        if !networks.is_empty() {
            problems.not_honoured(PATH);
        }
        networks.iter().for_each(|(_, network)| check_network(network, problems));
    }
}

fn check_network(network: &At<'_>, problems: &mut Problems) {
    for (key, list) in network.members(problems) {
        let check_entry = match key {
            "endpoints" => check_endpoints,
            "gateways" => check_gateway,
            _ => {
                list.wrong(Code::UnknownField, "a network has no such field: it has endpoints and gateways", problems);
                continue;
            }
        };
        list.entries(problems).iter().for_each(|entry| check_entry(entry, problems));
    }
}

/// Workloads by their addresses, or by the cluster that tells of them.
fn check_endpoints(entry: &At<'_>, problems: &mut Problems) {
    one_of(entry, ["fromCidr", "fromRegistry"], problems);
    if let Some(range) = entry.get("fromCidr")
        && let Some(text) = range.text(problems)
        && text.parse::<IpNet>().is_err()
        && text.parse::<IpAddr>().is_err()
    {
        let reason = format!("{text:?} is not an address or a range such as 10.0.0.0/8");
        range.wrong(Code::AddressInvalid, reason, problems);
    }
    if let Some(registry) = entry.get("fromRegistry")
        && let Some(text) = registry.text(problems)
        && !is_dns_label(text)
    {
        registry.wrong(Code::MeshFieldInvalid, format!("{text:?} is not the name of a cluster"), problems);
    }
}

/// Where a network is entered: an address or a service, and a port.
fn check_gateway(gateway: &At<'_>, problems: &mut Problems) {
    one_of(gateway, ["address", "registryServiceName"], problems);
    for key in ["address", "registryServiceName"] {
        let Some(field) = gateway.get(key) else { continue };
        let Some(text) = field.text(problems) else { continue };
        if key == "address" && text.parse::<IpAddr>().is_ok() {
            continue;
        }
        if let Err(flaw) = domain(text) {
            field.wrong(flaw.code, flaw.reason, problems);
        }
    }
    match gateway.get("port") {
        Some(port) => port.port(problems),
        None => gateway.wrong(Code::FieldMissing, "has no port", problems),
    }
}

/// Exactly one of two fields is given.
fn one_of(entry: &At<'_>, names: [&str; 2], problems: &mut Problems) {
    let [one, other] = names;
    match names.map(|name| entry.get(name).is_some()) {
        [true, true] => {
            entry.wrong(Code::FieldsExclusive, format!("only one of {one} and {other} can be set"), problems);
        }
        [false, false] => entry.wrong(Code::FieldMissing, format!("needs {one} or {other}"), problems),
        _ => {}
    }
}
