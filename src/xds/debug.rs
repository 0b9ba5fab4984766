//! What debug surfaces show of streams: `syncz`, `adsz`, `connections` and `config_dump` (contract §1.1, §7), over
//! HTTP (someone else's) and over xDS itself (types `istio.io/debug…`).

pub mod dump;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use envoy_types::pb::{
    envoy::{
        admin::v3::UpdateFailureState,
        config::core::v3::{ControlPlane, Node},
        service::{
            discovery::v3::{DeltaDiscoveryResponse, DiscoveryResponse, Resource},
            status::v3::{ClientConfig, ConfigStatus, client_config::GenericXdsConfig},
        },
    },
    google::protobuf::{Any, Struct, Timestamp, Value, value::Kind},
};
use futures::future::BoxFuture;
use prost::Message;
use serde::Serialize;
use serde_json::{Map, Value as Json};

use super::{
    Protocol, Shared, Status,
    auth::Scope,
    body::Message as Framed,
    clients::{Client, Clients, wall_clock},
};
use crate::{model::ProxyKind, snapshot::ResourceType};

pub use dump::{config_dump, name_table};

const DEBUG: &str = "istio.io/debug";
const SYNCZ: &str = "istio.io/debug/syncz";
/// A page about one proxy, under the general type.
const NDSZ: &str = "ndsz";
const CONFIG_DUMP: &str = "istio.io/debug/config_dump";

/// What callers outside the system namespace may ask for (contract §7.4).
const OPEN_PAGES: [&str; 3] = ["config_dump", NDSZ, "edsz"];

/// What the server of streams does not know and debug surfaces show.
pub trait DebugSource: Send + Sync + 'static {
    /// The body of the HTTP page `/debug/<page>`, query included, for someone who may see what `scope` says;
    /// `None` when there is no such page.
    fn page<'a>(&'a self, page: &'a str, scope: &'a Scope) -> BoxFuture<'a, Option<Bytes>>;

    /// The JSON that identifies this control plane: `{"Component":…,"ID":…,"Info":{…}}` (contract §2.3).
    fn identifier(&self) -> String;
}

/// One proxy in `/debug/syncz`. Values of `…_sent` and `…_acked` are nonces.
#[derive(Clone, Debug, Serialize)]
pub struct SyncStatus {
    cluster_id: String,
    proxy: String,
    proxy_type: &'static str,
    proxy_version: String,
    istio_version: String,
    cluster_sent: String,
    cluster_acked: String,
    listener_sent: String,
    listener_acked: String,
    route_sent: String,
    route_acked: String,
    endpoint_sent: String,
    endpoint_acked: String,
    extensionconfig_sent: String,
    extensionconfig_acked: String,
    resources: Map<String, Json>,
}

/// `/debug/adsz` and `/debug/connections`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connections {
    total_clients: usize,
    clients: Vec<Connection>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Connection {
    connection_id: String,
    connected_at: String,
    address: String,
    labels: Map<String, Json>,
    metadata: Json,
    locality: Json,
    #[serde(skip_serializing_if = "Map::is_empty")]
    watches: Map<String, Json>,
}

/// Why a debug request is refused.
#[derive(Debug, thiserror::Error)]
pub enum DebugError {
    /// A request names one page.
    #[error("expected exactly one resource name, got {0}")]
    Names(usize),
    /// Someone outside the system namespace asks for a page about the whole mesh.
    #[error("the debug page {0:?} is not open to callers outside the system namespace")]
    Forbidden(String),
}

/// What a debug request is answered with, once.
pub(super) struct Answer {
    resources: Vec<Any>,
    control_plane: Option<ControlPlane>,
}

impl Answer {
    pub(super) fn into_message(self, protocol: Protocol, type_url: &str) -> Framed {
        let Self { resources, control_plane } = self;
        let (type_url, nonce) = (type_url.to_owned(), "debug".to_owned());
        let body = match protocol {
            Protocol::Delta => {
                let resources = resources.into_iter().map(|any| Resource { resource: Some(any), ..Default::default() });
                let resources = resources.collect();
                DeltaDiscoveryResponse { type_url, nonce, resources, control_plane, ..Default::default() }
                    .encode_to_vec()
            }
            Protocol::Sotw => {
                DiscoveryResponse { type_url, nonce, resources, control_plane, ..Default::default() }.encode_to_vec()
            }
        };
        Framed::new([body.into()])
    }
}

/// Whether requests of a type are answered at once and never watched.
pub(super) fn is_debug(type_url: &str) -> bool {
    type_url.strip_prefix(DEBUG).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a debug request over xDS.
pub(super) async fn answer(
    shared: &Shared,
    type_url: &str,
    names: &[&str],
    scope: &Scope,
) -> Result<Answer, DebugError> {
    if type_url == SYNCZ {
        let identifier = shared.debug.identifier();
        let resources = client_configs(&shared.clients, scope).iter().map(any).collect();
        return Ok(Answer { resources, control_plane: Some(ControlPlane { identifier }) });
    }
    let [name] = names else { return Err(DebugError::Names(names.len())) };
    if type_url == CONFIG_DUMP {
        let of_name = |c: &&Arc<Client>| &*c.proxy.id == *name && scope.covers(&c.proxy.namespace);
        let dump = shared.clients.list().iter().find(of_name).map(|c| config_dump(c, false));
        return Ok(Answer { resources: dump.map(|d| d.configs).unwrap_or_default(), control_plane: None });
    }
    let (page, query) = name.split_once('?').unwrap_or((name, ""));
    if *scope != Scope::Mesh && !OPEN_PAGES.contains(&page) {
        return Err(DebugError::Forbidden(page.to_owned()));
    }
    if page == NDSZ {
        return Ok(Answer { resources: vec![name_table_of(shared, name, scope)], control_plane: None });
    }
    let body = match page {
        "syncz" => {
            let only = query.split('&').find_map(|pair| pair.strip_prefix("namespace="));
            let scope = only.map_or_else(|| scope.clone(), |namespace| Scope::Namespace(namespace.to_owned()));
            json(&syncz(&shared.clients, &scope))
        }
        "adsz" | "connections" => json(&connections(&shared.clients, scope)),
        _ => shared.debug.page(name, scope).await,
    };
    let value = body.map_or_else(|| b"404 page not found\n".to_vec(), |b| b.to_vec());
    Ok(Answer { resources: vec![Any { type_url: DEBUG.to_owned(), value }], control_plane: None })
}

/// The table of names of the proxy that a page's query names.
fn name_table_of(shared: &Shared, page: &str, scope: &Scope) -> Any {
    let proxy = page.split(['?', '&']).find_map(|part| part.strip_prefix("proxyID=")).unwrap_or_default();
    let of_name = |c: &&Arc<Client>| &*c.proxy.id == proxy && scope.covers(&c.proxy.namespace);
    let table = shared.clients.list().iter().find(of_name).and_then(|client| name_table(client));
    let value = serde_json::to_vec(&table.unwrap_or_default()).unwrap_or_default();
    Any { type_url: DEBUG.to_owned(), value }
}

fn json(page: &impl Serialize) -> Option<Bytes> {
    serde_json::to_vec(page).ok().map(Bytes::from)
}

fn any<M: Message + prost::Name>(message: &M) -> Any {
    Any { type_url: M::type_url(), value: message.encode_to_vec() }
}

/// The state of all proxies (connections that say they are one) that `scope` covers.
#[must_use]
pub fn syncz(clients: &Clients, scope: &Scope) -> Vec<SyncStatus> {
    proxies(clients, scope).map(|c| sync_status(&c)).collect()
}

fn proxies<'a>(clients: &Clients, scope: &'a Scope) -> impl Iterator<Item = Arc<Client>> + 'a {
    clients.list().into_iter().filter(|c| scope.covers(&c.proxy.namespace) && is_proxy(c))
}

/// The metadata tells proxies from tools such as istioctl (contract §2.1).
fn is_proxy(client: &Client) -> bool {
    metadata(client).get("PROXY_CONFIG").is_some()
}

fn metadata(client: &Client) -> Json {
    serde_json::from_str(&client.proxy.metadata).unwrap_or_default()
}

fn sync_status(client: &Client) -> SyncStatus {
    let machine = client.machine();
    let nonces = |t| machine.status(t).map(|s| (s.nonce_sent.clone(), s.nonce_acked.clone())).unwrap_or_default();
    let (cluster_sent, cluster_acked) = nonces(ResourceType::Cluster);
    let (listener_sent, listener_acked) = nonces(ResourceType::Listener);
    let (route_sent, route_acked) = nonces(ResourceType::Route);
    let (endpoint_sent, endpoint_acked) = nonces(ResourceType::Endpoint);
    let (extensionconfig_sent, extensionconfig_acked) = nonces(ResourceType::ExtensionConfig);
    let resources = ResourceType::ALL.into_iter().filter_map(|t| {
        let status = machine.status(t)?;
        let entry = serde_json::json!({
            "sent": status.nonce_sent,
            "acked": status.nonce_acked,
            "sentTime": status.last_sent.map(time).unwrap_or_default(),
            "lastError": status.last_error.as_deref().unwrap_or_default(),
        });
        Some((t.type_url().to_owned(), entry))
    });
    let proxy = &client.proxy;
    SyncStatus {
        cluster_id: proxy.cluster_id.to_string(),
        proxy: proxy.id.to_string(),
        proxy_type: kind(proxy.kind),
        proxy_version: proxy.istio_version.to_string(),
        istio_version: proxy.istio_version.to_string(),
        cluster_sent,
        cluster_acked,
        listener_sent,
        listener_acked,
        route_sent,
        route_acked,
        endpoint_sent,
        endpoint_acked,
        extensionconfig_sent,
        extensionconfig_acked,
        resources: resources.collect(),
    }
}

fn kind(kind: ProxyKind) -> &'static str {
    match kind {
        ProxyKind::Sidecar => "sidecar",
        ProxyKind::Router => "router",
    }
}

fn time(moment: Instant) -> String {
    prost_types::Timestamp::from(wall_clock(moment)).to_string()
}

/// All connections that `scope` covers.
#[must_use]
pub fn connections(clients: &Clients, scope: &Scope) -> Connections {
    let clients = clients.list().into_iter().filter(|c| scope.covers(&c.proxy.namespace));
    let clients: Vec<Connection> = clients.map(|c| connection(&c)).collect();
    Connections { total_clients: clients.len(), clients }
}

fn connection(client: &Client) -> Connection {
    let (proxy, machine) = (&client.proxy, client.machine());
    let watches = ResourceType::ALL.into_iter().filter_map(|t| {
        let (names, wildcard) = machine.subscription(t)?;
        Some((t.type_url().to_owned(), serde_json::json!({ "names": names, "wildcard": wildcard })))
    });
    Connection {
        connection_id: client.id.clone(),
        connected_at: prost_types::Timestamp::from(client.connected).to_string(),
        address: client.peer.address.map(|a| a.to_string()).unwrap_or_default(),
        labels: proxy.labels.iter().map(|(k, v)| (k.clone(), Json::from(v.as_str()))).collect(),
        metadata: metadata(client),
        locality: serde_json::json!({
            "region": &*proxy.locality.region,
            "zone": &*proxy.locality.zone,
            "subZone": &*proxy.locality.subzone,
        }),
        watches: watches.collect(),
    }
}

/// The state of all proxies as `istioctl proxy-status` reads it (contract §7.2).
#[must_use]
pub fn client_configs(clients: &Clients, scope: &Scope) -> Vec<ClientConfig> {
    proxies(clients, scope).map(|c| client_config(&c)).collect()
}

fn client_config(client: &Client) -> ClientConfig {
    let proxy = &client.proxy;
    let machine = client.machine();
    let mut configs: Vec<GenericXdsConfig> =
        ResourceType::ALL.into_iter().filter_map(|t| Some(generic(t, machine.status(t)?))).collect();
    configs.sort_by(|a, b| a.type_url.cmp(&b.type_url));
    let fields =
        [("CLUSTER_ID", &proxy.cluster_id), ("NAMESPACE", &proxy.namespace), ("ISTIO_VERSION", &proxy.istio_version)];
    let value = |text: &Arc<str>| Value { kind: Some(Kind::StringValue(text.to_string())) };
    let metadata = Struct { fields: fields.into_iter().map(|(k, v)| (k.to_owned(), value(v))).collect() };
    let node = Node { id: proxy.id.to_string(), metadata: Some(metadata), ..Node::default() };
    ClientConfig { node: Some(node), generic_xds_configs: configs, ..ClientConfig::default() }
}

fn generic(t: ResourceType, status: &Status) -> GenericXdsConfig {
    let sent = status.last_sent.map(|at| timestamp(wall_clock(at).into()));
    let config_status = match status {
        Status { last_error: Some(_), .. } => ConfigStatus::Error,
        Status { last_sent: None, .. } => ConfigStatus::NotSent,
        _ if status.nonce_sent == status.nonce_acked => ConfigStatus::Synced,
        _ => ConfigStatus::Stale,
    };
    let error_state = status.last_error.as_ref().map(|error| UpdateFailureState {
        last_update_attempt: sent,
        details: error.to_string(),
        ..UpdateFailureState::default()
    });
    GenericXdsConfig {
        type_url: t.type_url().to_owned(),
        config_status: config_status.into(),
        last_updated: sent,
        error_state,
        ..GenericXdsConfig::default()
    }
}

fn timestamp(at: prost_types::Timestamp) -> Timestamp {
    Timestamp { seconds: at.seconds, nanos: at.nanos }
}
