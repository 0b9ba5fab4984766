//! EnvoyFilter: patches of the generated Envoy configuration.

use super::common::{FreeForm, PolicyTargetReference, Status, WorkloadSelector};
use super::rules::{at_most_one, keep_unknown, oneof, rule};
use super::{is_unset, null_is_unset};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};

const WAYPOINT_MATCH: &str = "has(self.waypoint) == (has(self.context) && self.context == 'WAYPOINT')";

/// Patches of the configuration of some proxies.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "networking.istio.io",
    version = "v1alpha3",
    kind = "EnvoyFilter",
    plural = "envoyfilters",
    namespaced,
    status = "Status",
    schema = "disabled",
    derive = "PartialEq",
    category = "istio-io",
    category = "networking-istio-io"
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = at_most_one(&["workloadSelector", "targetRefs"]))]
pub struct EnvoyFilterSpec {
    /// Workloads of the namespace whose proxies are patched; all by default.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub workload_selector: Option<WorkloadSelector>,
    /// Resources whose proxies are patched.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(length(max = 16))]
    pub target_refs: Vec<PolicyTargetReference>,
    /// Patches, applied in order.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub config_patches: Vec<EnvoyConfigObjectPatch>,
    /// Order among objects; lower first, negative before those of the mesh.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub priority: i32,
}

/// One patch.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnvoyConfigObjectPatch {
    /// Kind of thing that is patched.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub apply_to: ApplyTo,
    /// Which of them.
    #[serde(rename = "match", default, skip_serializing_if = "is_unset")]
    pub matches: Option<EnvoyConfigObjectMatch>,
    /// What is done to it.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub patch: Option<Patch>,
}

/// Things that can be patched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ApplyTo {
    /// Nothing; not allowed.
    #[default]
    Invalid,
    /// A listener.
    Listener,
    /// A filter chain of a listener.
    FilterChain,
    /// A network filter of a filter chain.
    NetworkFilter,
    /// An HTTP filter of a connection manager.
    HttpFilter,
    /// A route configuration.
    RouteConfiguration,
    /// A virtual host of a route configuration.
    VirtualHost,
    /// A route of a virtual host.
    HttpRoute,
    /// A cluster.
    Cluster,
    /// An extension configuration.
    ExtensionConfig,
    /// The bootstrap; read when the proxy starts.
    Bootstrap,
    /// A listener filter.
    ListenerFilter,
}

/// Roles of proxies and directions of traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PatchContext {
    /// All but waypoints.
    #[default]
    Any,
    /// Towards the workload.
    SidecarInbound,
    /// From the workload.
    SidecarOutbound,
    /// Gateways.
    Gateway,
    /// Waypoints.
    Waypoint,
}

/// Which things a patch is for.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = oneof(&["listener", "routeConfiguration", "cluster", "waypoint"]))]
#[schemars(transform = rule(WAYPOINT_MATCH, "waypoint must be set exactly when context is WAYPOINT"))]
pub struct EnvoyConfigObjectMatch {
    /// Role and direction.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub context: PatchContext,
    /// Properties of the proxy.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub proxy: Option<ProxyMatch>,
    /// Properties of the listener.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub listener: Option<ListenerMatch>,
    /// Properties of the route configuration.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub route_configuration: Option<RouteConfigurationMatch>,
    /// Properties of the cluster.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub cluster: Option<ClusterMatch>,
    /// Properties of what a waypoint serves.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub waypoint: Option<WaypointMatch>,
}

/// Properties of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProxyMatch {
    /// Regular expression on the Istio version it reports.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub proxy_version: String,
    /// Entries of its node metadata.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub metadata: BTreeMap<String, String>,
}

/// Properties of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterMatch {
    /// Port of the service; 0 for any.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub port_number: u32,
    /// Host of the service.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub service: String,
    /// Subset of the service.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub subset: String,
    /// Exact name of the cluster; the other members are then void.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
}

/// Properties of a route configuration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteConfigurationMatch {
    /// Port it is for.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub port_number: u32,
    /// Name of the gateway's port it is for.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub port_name: String,
    /// Gateway it is for, as `namespace/name`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub gateway: String,
    /// Properties of the virtual host.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub vhost: Option<VirtualHostMatch>,
    /// Exact name of it.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
}

/// Properties of a virtual host.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct VirtualHostMatch {
    /// Its name, `host:port`.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
    /// One of its domains.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub domain_name: String,
    /// Properties of the route.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub route: Option<RouteMatch>,
}

/// Properties of a route.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteMatch {
    /// Its name.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
    /// What it does.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub action: RouteAction,
}

/// What a route does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RouteAction {
    /// Whatever.
    #[default]
    Any,
    /// Forwards.
    Route,
    /// Redirects.
    Redirect,
    /// Answers itself.
    DirectResponse,
}

/// Properties of a listener.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerMatch {
    /// Port it is for.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub port_number: u32,
    /// Reserved; not honoured.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub port_name: String,
    /// Properties of the filter chain.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub filter_chain: Option<FilterChainMatch>,
    /// Name of a listener filter.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub listener_filter: String,
    /// Exact name of it.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
}

/// Properties of a filter chain.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilterChainMatch {
    /// Its name.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
    /// Server name it matches.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub sni: String,
    /// Transport protocol it matches.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub transport_protocol: String,
    /// Application protocols it matches, comma-separated.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub application_protocols: String,
    /// Properties of the filter.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub filter: Option<FilterMatch>,
    /// Destination port it matches.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub destination_port: u32,
}

/// A network filter.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FilterMatch {
    /// Its name.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
    /// A filter inside it.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub sub_filter: Option<SubFilterMatch>,
}

/// An HTTP filter.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubFilterMatch {
    /// Its name.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
}

/// Properties of what a waypoint serves.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaypointMatch {
    /// A filter.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub filter: Option<FilterMatch>,
    /// Port of the service.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    #[schemars(range(min = 1, max = 65535))]
    pub port_number: u32,
    /// A route.
    #[serde(default, skip_serializing_if = "is_unset")]
    pub route: Option<WaypointRouteMatch>,
}

/// A route of a waypoint.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WaypointRouteMatch {
    /// Its name.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub name: String,
}

/// What is done.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Patch {
    /// How the value is used.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub operation: Operation,
    /// The Envoy configuration, in JSON form.
    #[serde(default, deserialize_with = "shared", skip_serializing_if = "is_unset")]
    #[schemars(with = "FreeForm", transform = keep_unknown)]
    pub value: Arc<Value>,
    /// Where filters are inserted when no match says it.
    #[serde(default, deserialize_with = "null_is_unset", skip_serializing_if = "is_unset")]
    pub filter_class: FilterClass,
}

/// An object of any form, null when it is empty. It may be most of what there is of an EnvoyFilter, and is kept as it is.
fn shared<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Value>, D::Error> {
    let given = Option::<FreeForm>::deserialize(from)?.filter(|fields| !fields.is_empty());
    Ok(given.map_or(Value::Null, Value::Object).into())
}

/// How a patch's value is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Operation {
    /// Not at all; not allowed.
    #[default]
    Invalid,
    /// Merged into what is there.
    Merge,
    /// Added at the end.
    Add,
    /// What is there is removed.
    Remove,
    /// Inserted before what matches.
    InsertBefore,
    /// Inserted after what matches.
    InsertAfter,
    /// Inserted first.
    InsertFirst,
    /// Replaces what matches.
    Replace,
    /// Merged, lists replaced as a whole.
    MergeAndReplaceList,
}

/// Places in the order of filters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FilterClass {
    /// By the operation alone.
    #[default]
    Unspecified,
    /// After authentication filters.
    Authn,
    /// After authorisation filters.
    Authz,
    /// Before statistics filters.
    Stats,
}
