//! What a proxy has, read from a `config_dump` of Envoy or of the control plane.

use std::collections::BTreeMap;

use anyhow::Context as _;
use envoy_types::pb::{envoy::admin::v3::ConfigDump, google::protobuf::Any};
use prost::Message as _;
use serde_json::Value;

use crate::{snapshot::host_name_parts, translate::json::message_to_json};

/// The resources that are compared, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Held {
    pub(super) clusters: BTreeMap<String, Value>,
    pub(super) listeners: BTreeMap<String, Value>,
    pub(super) routes: BTreeMap<String, Value>,
}

/// What a control plane answers to `istio.io/debug/config_dump`.
///
/// # Errors
/// It is no dump.
pub(super) fn of_control_plane(configs: Vec<Any>) -> anyhow::Result<Held> {
    let bytes = ConfigDump { configs }.encode_to_vec();
    let dump = message_to_json("envoy.admin.v3.ConfigDump", &bytes).context("read the control plane's config_dump")?;
    Ok(held(&dump))
}

/// What came by xDS in a dump of Envoy's form, as far as it is in use.
pub(super) fn held(dump: &Value) -> Held {
    Held {
        clusters: resources(dump, "dynamic_active_clusters", "/cluster"),
        listeners: resources(dump, "dynamic_listeners", "/active_state/listener"),
        routes: resources(dump, "dynamic_route_configs", "/route_config").into_iter().map(with_plain_hosts).collect(),
    }
}

fn resources(dump: &Value, list: &str, content: &str) -> BTreeMap<String, Value> {
    let sections = dump["configs"].as_array().into_iter().flatten();
    let entries = sections.flat_map(|section| section[list].as_array().into_iter().flatten());
    let named = entries.filter_map(|entry| {
        let mut resource = entry.pointer(content)?.clone();
        resource.sort_all_objects();
        Some((resource["name"].as_str()?.to_owned(), resource))
    });
    named.collect()
}

/// Virtual hosts that were sent one by one have the name of their resource, and come in any order.
fn with_plain_hosts((name, mut route): (String, Value)) -> (String, Value) {
    let prefix = format!("{name}/");
    if let Some(hosts) = route.get_mut("virtual_hosts").and_then(Value::as_array_mut) {
        for host in hosts.iter_mut() {
            let plain = match host["name"].as_str() {
                Some(long) if long.starts_with(&prefix) => host_name_parts(long).1.to_owned(),
                _ => continue,
            };
            host["name"] = plain.into();
        }
        hosts.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    }
    (name, route)
}
