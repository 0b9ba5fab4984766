//! Load balancing settings of a traffic policy.

use super::rules::{oneof, oneofs};
use super::{Duration, is_unset, null_is_unset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a hash can be of.
const HASHED: &[&str] = &["httpHeaderName", "httpCookie", "useSourceIp", "httpQueryParameterName"];

/// How endpoints are chosen.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = oneof(&["simple", "consistentHash"]))]
pub struct LoadBalancerSettings {
    /// A standard algorithm.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub simple: Option<SimpleLb>,
    /// By hash of the request, so that equal requests go to one endpoint.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub consistent_hash: Option<ConsistentHashLb>,
    /// Preference for near endpoints; replaces the mesh's.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub locality_lb_setting: Option<LocalityLbSetting>,
    /// Preference for the own zone.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub zone_aware_lb_setting: Option<ZoneAwareLbSetting>,
    /// How long new endpoints are spared. Deprecated.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub warmup_duration_secs: Option<Duration>,
    /// How new endpoints are spared.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub warmup: Option<WarmupConfiguration>,
}

/// Standard algorithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleLb {
    /// The mesh's default.
    #[default]
    Unspecified,
    /// As `LEAST_REQUEST`. Deprecated.
    LeastConn,
    /// Any healthy endpoint.
    Random,
    /// The original destination.
    Passthrough,
    /// In turn.
    RoundRobin,
    /// The less busy of two at random.
    LeastRequest,
}

/// Choice by hash.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = oneofs(&[HASHED, &["ringHash", "maglev"]]))]
pub struct ConsistentHashLb {
    /// Hashes a header.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub http_header_name: Option<String>,
    /// Hashes a cookie, made when absent.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub http_cookie: Option<HttpCookie>,
    /// Hashes the client's address.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub use_source_ip: Option<bool>,
    /// Hashes a query parameter.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub http_query_parameter_name: Option<String>,
    /// On a ring; the default.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub ring_hash: Option<RingHash>,
    /// By Maglev tables.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub maglev: Option<Maglev>,
    /// Smallest ring. Deprecated, see `ringHash`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub minimum_ring_size: u64,
}

/// A hash ring.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RingHash {
    /// Smallest number of places on the ring; 1024 by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub minimum_ring_size: u64,
}

/// A Maglev table.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Maglev {
    /// Number of places, a prime; 65537 by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub table_size: u64,
}

/// A cookie to hash.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpCookie {
    /// Its name.
    pub name: String,
    /// Path it is set for.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub path: String,
    /// How long it lives; `0s` for the session. Absent: the cookie is never made.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(with = "Option<String>")]
    pub ttl: Option<Duration>,
    /// More attributes of it.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub attributes: Vec<HttpCookieAttribute>,
}

/// An attribute of a cookie.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpCookieAttribute {
    /// Its name.
    pub name: String,
    /// Its value.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub value: String,
}

/// How new endpoints are spared.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WarmupConfiguration {
    /// How long it takes until they get a full share.
    pub duration: Duration,
    /// Share they start with, in percent; 10 by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(range(min = 0, max = 100), extend("nullable" = true))]
    pub minimum_percent: Option<f64>,
    /// How fast the share grows; 1 (linear) by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(range(min = 0), extend("nullable" = true))]
    pub aggression: Option<f64>,
}

/// Preference for near endpoints. At most one of distribution, failover and priorities takes effect.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalityLbSetting {
    /// Fixed shares by locality.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub distribute: Vec<LocalityDistribute>,
    /// Which region takes over for which.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub failover: Vec<LocalityFailover>,
    /// Labels, most important first; endpoints that share more of them are preferred.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub failover_priority: Vec<String>,
    /// Replaces the mesh's choice.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub enabled: Option<bool>,
}

/// Preference for the own zone, as far as its endpoints suffice.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneAwareLbSetting {
    /// Whether it is on.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub enabled: Option<bool>,
    /// Which region takes over for which.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub failover: Vec<LocalityFailover>,
    /// Labels, most important first; endpoints that share more of them are preferred.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub failover_priority: Vec<String>,
    /// Endpoints below which zones are disregarded.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(range(min = 1), extend("nullable" = true))]
    pub min_cluster_size: Option<u64>,
}

/// Shares of traffic from one locality.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalityDistribute {
    /// Where traffic starts: `region/zone/subzone`, `*` allowed at the end.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub from: String,
    /// Where it goes, in percent; the sum is 100.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub to: BTreeMap<String, u32>,
}

/// One region stands in for another.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocalityFailover {
    /// Region without healthy endpoints.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub from: String,
    /// Region that takes over.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub to: String,
}
