//! The HTTP routes of a VirtualService.

use super::common::{Destination, StringMatch};
use super::rules::{alias, oneof};
use super::{Duration, is_unset, null_is_unset};
use k8s_openapi::ByteString;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What happens to requests that match.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = alias("mirrorPercent", "mirror_percent"))]
pub struct HttpRoute {
    /// Name of the route, shown in access logs.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
    /// Conditions, of which one must hold; none holds always.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub r#match: Vec<HttpMatch>,
    /// Destinations, by weight.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub route: Vec<HttpRouteDestination>,
    /// Answer with a redirect instead.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub redirect: Option<HttpRedirect>,
    /// Answer with a fixed response instead.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub direct_response: Option<HttpDirectResponse>,
    /// Another VirtualService that holds the routes; only without hosts of its own.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub delegate: Option<Delegate>,
    /// Changes path and authority before forwarding.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub rewrite: Option<HttpRewrite>,
    /// Longest time for a whole request; none by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub timeout: Option<Duration>,
    /// Retries of failed requests.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub retries: Option<HttpRetry>,
    /// Faults added on purpose.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub fault: Option<HttpFaultInjection>,
    /// A service that gets a copy of requests.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub mirror: Option<Destination>,
    /// Percentage of requests that are copied. Deprecated.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[serde(alias = "mirror_percent")]
    #[schemars(extend("nullable" = true))]
    pub mirror_percent: Option<u32>,
    /// Percentage of requests that are copied; all by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub mirror_percentage: Option<Percent>,
    /// Several services that get copies.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub mirrors: Vec<HttpMirrorPolicy>,
    /// Cross-origin rules.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub cors_policy: Option<CorsPolicy>,
    /// Header changes for all destinations.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub headers: Option<Headers>,
}

/// Names a VirtualService that holds routes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delegate {
    /// Its name.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
    /// Its namespace; by default that of the root.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub namespace: String,
}

/// A condition on a request; all members must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpMatch {
    /// Name of the condition, appended to the route's.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
    /// Path, without the query.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub uri: Option<StringMatch>,
    /// URI scheme.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub scheme: Option<StringMatch>,
    /// HTTP method.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub method: Option<StringMatch>,
    /// Host header.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub authority: Option<StringMatch>,
    /// Headers by name, in lower case; an empty condition asks for presence.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub headers: BTreeMap<String, StringMatch>,
    /// Port of the listener.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub port: u32,
    /// Labels of the workload that connects.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub source_labels: BTreeMap<String, String>,
    /// Replaces the object's gateways for this condition.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub gateways: Vec<String>,
    /// Query parameters by name.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub query_params: BTreeMap<String, StringMatch>,
    /// Compares the path without regard to case, for exact and prefix.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub ignore_uri_case: bool,
    /// Headers that must not match.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub without_headers: BTreeMap<String, StringMatch>,
    /// Namespace of the workload that connects.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub source_namespace: String,
    /// Prefix of the statistics that the route emits.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub stat_prefix: String,
}

/// One weighted destination of an HTTP route.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteDestination {
    /// The service.
    pub destination: Destination,
    /// Share of requests, relative to the sum of all weights.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub weight: i32,
    /// Header changes for this destination.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub headers: Option<Headers>,
}

/// An answer that sends the client elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = oneof(&["port", "derivePort"]))]
pub struct HttpRedirect {
    /// New path; `%PREFIX()%` stands for the part that matched a prefix.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub uri: String,
    /// New authority.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub authority: String,
    /// New port.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub port: Option<u32>,
    /// Where the new port comes from.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub derive_port: Option<RedirectPort>,
    /// New scheme.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub scheme: String,
    /// Status code; 301 by default.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub redirect_code: u32,
    /// Replaces only the part of the path that matched a prefix.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub prefix_rewrite: String,
}

/// Where a redirect's port comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RedirectPort {
    /// The scheme's usual port.
    #[default]
    FromProtocolDefault,
    /// The port of the request.
    FromRequestPort,
}

/// A fixed answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpDirectResponse {
    /// Status code.
    pub status: u32,
    /// Body.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub body: Option<HttpBody>,
}

/// Content of a fixed answer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = oneof(&["string", "bytes"]))]
pub struct HttpBody {
    /// As text.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub string: Option<String>,
    /// As base64.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(with = "Option<String>", extend("format" = "byte"))]
    pub bytes: Option<ByteString>,
}

/// Changes a request before it is forwarded.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRewrite {
    /// Replaces the path, or the prefix of it that matched.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub uri: String,
    /// Replaces the Host header.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub authority: String,
    /// Replaces by regular expression.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// A substitution in the path.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegexRewrite {
    /// What to look for, RE2 syntax.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub r#match: String,
    /// The replacement, with `\\1` for groups.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub rewrite: String,
}

/// How failed requests are tried again.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpRetry {
    /// How often at most; 0 turns retries off.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub attempts: i32,
    /// Longest time of one try.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub per_try_timeout: Option<Duration>,
    /// Conditions, comma-separated, as Envoy names them.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub retry_on: String,
    /// Whether other localities are tried.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub retry_remote_localities: Option<bool>,
    /// Whether hosts already tried are avoided; so by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub retry_ignore_previous_hosts: Option<bool>,
    /// Shortest pause between tries; 25 ms by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub backoff: Option<Duration>,
}

/// Faults added on purpose.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpFaultInjection {
    /// Slows requests down.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub delay: Option<FaultDelay>,
    /// Fails requests.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub abort: Option<FaultAbort>,
}

/// Slows requests down.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = oneof(&["fixedDelay", "exponentialDelay"]))]
pub struct FaultDelay {
    /// Percentage of requests, whole. Deprecated.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub percent: i32,
    /// How long they wait.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub fixed_delay: Option<Duration>,
    /// Reserved; not honoured.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub exponential_delay: Option<Duration>,
    /// Percentage of requests.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub percentage: Option<Percent>,
}

/// Fails requests.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = oneof(&["httpStatus", "grpcStatus", "http2Error"]))]
pub struct FaultAbort {
    /// HTTP status of the answer.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub http_status: Option<i32>,
    /// gRPC status of the answer, by name.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub grpc_status: Option<String>,
    /// Reserved; not honoured.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub http2_error: Option<String>,
    /// Percentage of requests.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub percentage: Option<Percent>,
}

/// A service that gets copies of requests.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HttpMirrorPolicy {
    /// The service.
    pub destination: Destination,
    /// Percentage of requests; all by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub percentage: Option<Percent>,
}

/// A share in percent, 0.0 to 100.0.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Percent {
    /// The number.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub value: f64,
}

/// Cross-origin rules.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CorsPolicy {
    /// Origins, exact. Deprecated.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub allow_origin: Vec<String>,
    /// Origins that may ask.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub allow_origins: Vec<StringMatch>,
    /// Methods, for Access-Control-Allow-Methods.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub allow_methods: Vec<String>,
    /// Request headers, for Access-Control-Allow-Headers.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub allow_headers: Vec<String>,
    /// Response headers, for Access-Control-Expose-Headers.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub expose_headers: Vec<String>,
    /// How long a preflight may be cached.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub max_age: Option<Duration>,
    /// Whether credentials may be sent.
    #[serde(default, skip_serializing_if = "is_unset")]
    #[schemars(extend("nullable" = true))]
    pub allow_credentials: Option<bool>,
    /// What happens to preflights of other origins.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub unmatched_preflights: UnmatchedPreflights,
}

/// What happens to preflights whose origin does not match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UnmatchedPreflights {
    /// As `FORWARD`.
    #[default]
    Unspecified,
    /// They go upstream.
    Forward,
    /// They are answered here, without CORS headers.
    Ignore,
}

/// Header changes in both directions.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Headers {
    /// Before forwarding.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub request: Option<HeaderOperations>,
    /// Before answering.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub response: Option<HeaderOperations>,
}

/// Header changes in one direction.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeaderOperations {
    /// Overwritten.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub set: BTreeMap<String, String>,
    /// Appended.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub add: BTreeMap<String, String>,
    /// Removed.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub remove: Vec<String>,
}
