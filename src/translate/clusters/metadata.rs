//! Metadata that telemetry filters and consoles read (translation §0).

use std::collections::HashMap;

use envoy_types::pb::{
    envoy::config::core::v3::Metadata,
    google::protobuf::{ListValue, Struct, Value, value::Kind},
};

use super::ClusterInput;
use crate::model::{Service, destination_rule::ClientTlsMode};

const ISTIO: &str = "istio";

pub(super) fn of(input: &ClusterInput<'_>) -> Metadata {
    let Service { host, name, namespace, .. } = input.service;
    let mut fields = HashMap::from([("services".to_owned(), services(host, name, namespace))]);
    if input.service.mesh_external && input.subset.is_none() {
        fields.insert("external".to_owned(), Value { kind: Some(Kind::BoolValue(true)) });
    }
    if let Some(object) = input.rule.and_then(|r| r.objects.first()) {
        let path =
            format!("/apis/networking.istio.io/v1/namespaces/{}/destination-rule/{}", object.namespace, object.name);
        fields.insert("config".to_owned(), text(&path));
    }
    if let Some(subset) = input.subset {
        fields.insert("subset".to_owned(), text(&subset.name));
    }
    let mode = input.policy.blocks.tls.as_ref().map_or(ClientTlsMode::Disable, |t| t.mode);
    if matches!(mode, ClientTlsMode::Simple | ClientTlsMode::Mutual) {
        fields.insert("alpn_override".to_owned(), text("false"));
    }
    of_istio(fields)
}

/// The service alone, for clusters without policy: inbound ones. It stands there in one text too, which metrics tell
/// (format strings do not reach into lists).
pub(super) fn of_services(host: &str, name: &str, namespace: &str) -> Metadata {
    let one = text(&format!("{host};{name};{namespace}"));
    of_istio(HashMap::from([("service".to_owned(), one), ("services".to_owned(), services(host, name, namespace))]))
}

fn of_istio(fields: HashMap<String, Value>) -> Metadata {
    let filter_metadata = HashMap::from([(ISTIO.to_owned(), Struct { fields })]);
    Metadata { filter_metadata, ..Metadata::default() }
}

fn services(host: &str, name: &str, namespace: &str) -> Value {
    let fields = [("host", host), ("name", name), ("namespace", namespace)];
    let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), text(value))).collect();
    let one = Value { kind: Some(Kind::StructValue(Struct { fields })) };
    Value { kind: Some(Kind::ListValue(ListValue { values: vec![one] })) }
}

pub(super) fn text(value: &str) -> Value {
    Value { kind: Some(Kind::StringValue(value.to_owned())) }
}
