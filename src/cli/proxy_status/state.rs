//! The state of proxies, read from what `istio.io/debug/syncz` answers.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use envoy_types::pb::{
    envoy::service::{
        discovery::v3::DiscoveryResponse,
        status::v3::{ClientConfig, ConfigStatus, client_config::GenericXdsConfig},
    },
    google::protobuf::value::Kind,
};
use prost::Message as _;
use serde::Serialize;

use crate::snapshot::ResourceType;

/// How far a proxy is with a type. The worse is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(in crate::cli) enum State {
    /// It does not ask for it.
    #[serde(rename = "IGNORED")]
    Ignored,
    /// It has acknowledged all.
    #[serde(rename = "SYNCED")]
    Synced,
    /// It has not acknowledged all.
    #[serde(rename = "STALE")]
    Stale,
    /// It was not answered.
    #[serde(rename = "NOT SENT")]
    NotSent,
    /// It refuses something.
    #[serde(rename = "ERROR")]
    Error,
}

impl State {
    /// As tables and JSON write it.
    pub(in crate::cli) fn name(self) -> &'static str {
        match self {
            Self::Ignored => "IGNORED",
            Self::Synced => "SYNCED",
            Self::Stale => "STALE",
            Self::NotSent => "NOT SENT",
            Self::Error => "ERROR",
        }
    }
}

/// The state of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct TypeState {
    pub(in crate::cli) status: State,
    /// When it was sent last.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "written")]
    pub(in crate::cli) last_sent: Option<SystemTime>,
    /// Why it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) error: Option<String>,
}

/// A proxy, as the replica that it is connected to tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(in crate::cli) struct Proxy {
    /// `<pod>.<namespace>`.
    pub(in crate::cli) name: String,
    pub(in crate::cli) namespace: String,
    pub(in crate::cli) cluster: String,
    /// The replica.
    pub(in crate::cli) istiod: String,
    pub(in crate::cli) version: String,
    /// By short name (`CDS`), those that it asks for.
    pub(in crate::cli) types: BTreeMap<String, TypeState>,
}

fn written<S: serde::Serializer>(at: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = at.map(|at| prost_types::Timestamp::from(at).to_string());
    serializer.serialize_some(&text)
}

/// The proxies in an answer of a replica.
///
/// # Errors
/// It is not an answer to `syncz`.
pub(in crate::cli) fn proxies(istiod: &str, response: &DiscoveryResponse) -> anyhow::Result<Vec<Proxy>> {
    let made = response.resources.iter().map(|any| {
        let client = ClientConfig::decode(any.value.as_slice());
        Ok(proxy(istiod, client.with_context(|| format!("read the answer of {istiod} ({})", any.type_url))?))
    });
    made.collect()
}

fn proxy(istiod: &str, client: ClientConfig) -> Proxy {
    let node = client.node.unwrap_or_default();
    let metadata = node.metadata.unwrap_or_default();
    let text = |key: &str| match metadata.fields.get(key).and_then(|value| value.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text.clone(),
        _ => String::new(),
    };
    Proxy {
        name: node.id,
        namespace: text("NAMESPACE"),
        cluster: text("CLUSTER_ID"),
        istiod: istiod.to_owned(),
        version: text("ISTIO_VERSION"),
        types: client.generic_xds_configs.iter().map(|config| (name(&config.type_url), state(config))).collect(),
    }
}

/// `CDS` and so on; what is not known by such a name, by the last part of its URL.
fn name(type_url: &str) -> String {
    match ResourceType::from_type_url(type_url) {
        Some(known) => known.short_name().to_uppercase(),
        None => type_url.rsplit(['.', '/']).next().unwrap_or(type_url).to_owned(),
    }
}

fn state(config: &GenericXdsConfig) -> TypeState {
    let status = match config.config_status() {
        ConfigStatus::Unknown => State::Ignored,
        ConfigStatus::Synced => State::Synced,
        ConfigStatus::NotSent => State::NotSent,
        ConfigStatus::Stale => State::Stale,
        ConfigStatus::Error => State::Error,
    };
    let sent = config.last_updated.as_ref().and_then(|at| {
        let (seconds, nanos) = (u64::try_from(at.seconds).ok()?, u32::try_from(at.nanos).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
    });
    let error = config.error_state.as_ref().map(|state| state.details.trim().to_owned());
    TypeState { status, last_sent: sent, error: error.filter(|error| !error.is_empty()) }
}
