//! From the `node` of a first request to a [`Proxy`] (contract §2.1).

use std::{
    collections::BTreeMap,
    net::{AddrParseError, IpAddr},
    sync::Arc,
};

use envoy_types::pb::{
    envoy::config::core::v3::{Node, node::UserAgentVersionType},
    google::protobuf::{Struct, Value, value::Kind},
};
use serde_json::Value as Json;

use crate::model::{Locality, Proxy, ProxyKind, proxy::InterceptionMode};

/// Why a node is not a proxy.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NodeError {
    /// The first request of a stream must say who asks.
    #[error("missing node information")]
    Missing,
    /// The id is `<type>~<ip>~<name>.<namespace>~<domain>`.
    #[error("missing parts in the service node {0:?}")]
    Parts(String),
    /// The type is none that is served.
    #[error("node type {kind:?} of the service node {id:?} is not served: it must be sidecar or router")]
    Kind {
        /// The first part of the id.
        kind: String,
        /// The whole id.
        id: String,
    },
    /// Neither `INSTANCE_IPS` nor the id has an address.
    #[error("no valid IP address in the service node id or metadata of {0:?}")]
    Address(String),
}

/// Reads a node.
pub fn parse(node: Option<&Node>) -> Result<Proxy, NodeError> {
    let node = node.filter(|n| !n.id.is_empty()).ok_or(NodeError::Missing)?;
    let parts: Vec<&str> = node.id.split('~').collect();
    let [kind, ip, id, domain] = parts[..] else { return Err(NodeError::Parts(node.id.clone())) };
    let metadata = node.metadata.as_ref().map_or(Json::Null, json);
    let meta = Metadata(&metadata);
    let labels = labels(meta);
    Ok(Proxy {
        kind: parse_kind(kind, &node.id)?,
        id: id.into(),
        namespace: namespace(meta, domain),
        ips: addresses(meta, ip).map_err(|_| NodeError::Address(node.id.clone()))?,
        dns_domain: domain.into(),
        locality: locality(&labels, node),
        labels,
        cluster_id: meta.text("CLUSTER_ID"),
        network: meta.text("NETWORK"),
        node_name: meta.text("NODE_NAME"),
        istio_version: meta.text("ISTIO_VERSION"),
        service_account: meta.text("SERVICE_ACCOUNT"),
        interception: match &*meta.text("INTERCEPTION_MODE") {
            "TPROXY" => InterceptionMode::Tproxy,
            "NONE" => InterceptionMode::None,
            _ => InterceptionMode::Redirect,
        },
        unprivileged: meta.is_true("UNPRIVILEGED_POD"),
        dns_capture: meta.is_true("DNS_CAPTURE"),
        http_proxy_port: meta.str("HTTP_PROXY_PORT").parse().ok(),
        discovers_hosts: kind == "sidecar" && discovers_hosts(node, meta),
        metadata: metadata.to_string().into(),
    })
}

/// The oldest Envoy whose VHDS is known to do what is relied on.
const OLDEST_WITH_HOSTS: (u32, u32) = (1, 40);

/// Metadata that says whether the proxy takes virtual hosts one by one, whatever its version.
const HOST_DISCOVERY: &str = "MIZZEN_VHDS";

/// Whether a proxy takes virtual hosts one by one, if it speaks incremental xDS. (Istio's agents hand on all of Envoy's
/// types there.)
fn discovers_hosts(node: &Node, meta: Metadata<'_>) -> bool {
    match meta.0.get(HOST_DISCOVERY) {
        Some(Json::Bool(said)) => return *said,
        Some(Json::String(said)) => return said == "true",
        _ => {}
    }
    let Some(UserAgentVersionType::UserAgentBuildVersion(build)) = &node.user_agent_version_type else { return false };
    let version = build.version.as_ref().map_or((0, 0), |v| (v.major_number, v.minor_number));
    node.user_agent_name == "envoy" && version >= OLDEST_WITH_HOSTS
}

fn parse_kind(kind: &str, id: &str) -> Result<ProxyKind, NodeError> {
    match kind {
        "sidecar" => Ok(ProxyKind::Sidecar),
        "router" => Ok(ProxyKind::Router),
        _ => Err(NodeError::Kind { kind: kind.to_owned(), id: id.to_owned() }),
    }
}

#[derive(Clone, Copy)]
struct Metadata<'a>(&'a Json);

impl<'a> Metadata<'a> {
    fn str(self, key: &str) -> &'a str {
        self.0.get(key).and_then(Json::as_str).unwrap_or_default()
    }

    fn text(self, key: &str) -> Arc<str> {
        self.str(key).into()
    }

    fn is_true(self, key: &str) -> bool {
        matches!(self.0.get(key), Some(Json::Bool(true))) || self.str(key) == "true"
    }

    fn map(self, key: &str) -> impl Iterator<Item = (String, String)> + 'a {
        let entries = self.0.get(key).and_then(Json::as_object).into_iter().flatten();
        entries.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
    }
}

fn labels(meta: Metadata<'_>) -> BTreeMap<String, String> {
    // Static labels lie under those of the workload.
    meta.map("STATIC_LABELS").chain(meta.map("LABELS")).collect()
}

fn namespace(meta: Metadata<'_>, domain: &str) -> Arc<str> {
    match (meta.str("NAMESPACE"), domain.split_once('.')) {
        ("", Some((first, _))) => first.into(),
        (namespace, _) => namespace.into(),
    }
}

/// `INSTANCE_IPS` when every entry parses, else the id's.
fn addresses(meta: Metadata<'_>, ip: &str) -> Result<Vec<IpAddr>, AddrParseError> {
    let listed: Result<Vec<IpAddr>, _> =
        meta.str("INSTANCE_IPS").split(',').map(|t| t.trim().parse::<IpAddr>()).collect();
    match listed {
        Ok(listed) if !listed.is_empty() => Ok(listed),
        _ => ip.parse().map(|ip| vec![ip]),
    }
}

fn locality(labels: &BTreeMap<String, String>, node: &Node) -> Locality {
    let label = |key: &str| labels.get(key).map(String::as_str).unwrap_or_default();
    let [region, zone, subzone] =
        ["topology.kubernetes.io/region", "topology.kubernetes.io/zone", "topology.istio.io/subzone"].map(label);
    if !(region.is_empty() && zone.is_empty() && subzone.is_empty()) {
        return Locality { region: region.into(), zone: zone.into(), subzone: subzone.into() };
    }
    for key in ["topology.istio.io/locality", "istio-locality"] {
        let text = label(key);
        if !text.is_empty() {
            // A label's value cannot hold a slash: dots stand for them.
            let separator = if text.contains('/') { '/' } else { '.' };
            let mut parts = text.splitn(3, separator).map(Arc::from);
            let mut next = || parts.next().unwrap_or_default();
            return Locality { region: next(), zone: next(), subzone: next() };
        }
    }
    node.locality.as_ref().map_or_else(Locality::default, |l| Locality {
        region: l.region.as_str().into(),
        zone: l.zone.as_str().into(),
        subzone: l.sub_zone.as_str().into(),
    })
}

/// A struct as JSON with sorted keys: the wire's order is that of a hash map. (Depth is bounded by the decoder.)
fn json(fields: &Struct) -> Json {
    let sorted: BTreeMap<&String, &Value> = fields.fields.iter().collect();
    Json::Object(sorted.into_iter().map(|(k, v)| (k.clone(), json_value(v))).collect())
}

fn json_value(value: &Value) -> Json {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::NumberValue(n)) if n.fract() == 0.0 && n.abs() < 9e15 => Json::from(*n as i64),
        Some(Kind::NumberValue(n)) => Json::from(*n),
        Some(Kind::StringValue(s)) => Json::from(s.as_str()),
        Some(Kind::BoolValue(b)) => Json::from(*b),
        Some(Kind::StructValue(s)) => json(s),
        Some(Kind::ListValue(l)) => l.values.iter().map(json_value).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &Json) -> Value {
        let kind = match json {
            Json::Null => Kind::NullValue(0),
            Json::Bool(b) => Kind::BoolValue(*b),
            Json::Number(n) => Kind::NumberValue(n.as_f64().expect("a number")),
            Json::String(s) => Kind::StringValue(s.clone()),
            Json::Object(_) => Kind::StructValue(structure(json)),
            Json::Array(_) => unreachable!("not used here"),
        };
        Value { kind: Some(kind) }
    }

    fn structure(json: &Json) -> Struct {
        let fields = json.as_object().expect("an object").iter().map(|(k, v)| (k.clone(), value(v))).collect();
        Struct { fields }
    }

    fn read(id: &str, metadata: &Json) -> Result<Proxy, NodeError> {
        parse(Some(&Node { id: id.to_owned(), metadata: Some(structure(metadata)), ..Node::default() }))
    }

    #[test]
    fn a_sidecar_is_read() {
        let proxy = read(
            "sidecar~10.0.0.1~web-1.shop~shop.svc.cluster.local",
            &serde_json::json!({
                "NAMESPACE": "shop", "CLUSTER_ID": "Kubernetes", "INSTANCE_IPS": "10.0.0.1,2001:db8::1",
                "LABELS": {"app": "web", "v": "1"}, "STATIC_LABELS": {"v": "0", "extra": "x"},
                "UNPRIVILEGED_POD": "true", "INTERCEPTION_MODE": "TPROXY", "HTTP_PROXY_PORT": "15080", "B": 1, "A": 1.5,
            }),
        )
        .expect("a proxy");
        assert_eq!((proxy.kind, &*proxy.id, &*proxy.namespace), (ProxyKind::Sidecar, "web-1.shop", "shop"));
        assert_eq!(proxy.ips.len(), 2);
        assert_eq!(proxy.labels["v"], "1");
        assert_eq!(proxy.labels["extra"], "x");
        assert!(proxy.unprivileged);
        assert_eq!((proxy.interception, proxy.http_proxy_port), (InterceptionMode::Tproxy, Some(15080)));
        assert!(proxy.metadata.starts_with(r#"{"A":1.5,"B":1,"CLUSTER_ID":"#), "{}", proxy.metadata);
    }

    #[test]
    fn gaps_are_filled_from_the_id() {
        let id = "router~10.0.0.9~gw.istio-system~istio-system.svc.cluster.local";
        let proxy = read(id, &serde_json::json!({"INSTANCE_IPS": "10.0.0.1,nonsense"})).expect("a proxy");
        assert_eq!((&*proxy.namespace, proxy.ips[0].to_string()), ("istio-system", "10.0.0.9".to_owned()));
        assert_eq!(proxy.metadata.as_ref(), r#"{"INSTANCE_IPS":"10.0.0.1,nonsense"}"#);
    }

    #[test]
    fn locality_comes_from_labels_first() {
        let at = |labels: Json| {
            let id = "sidecar~1.1.1.1~a.b~c.d";
            read(id, &serde_json::json!({ "LABELS": labels })).expect("a proxy").locality.to_string()
        };
        assert_eq!(at(serde_json::json!({"topology.kubernetes.io/region": "r", "istio-locality": "x.y"})), "r");
        assert_eq!(at(serde_json::json!({"istio-locality": "r.z.s"})), "r/z/s");
        assert_eq!(at(serde_json::json!({})), "");
    }

    #[test]
    fn what_is_no_proxy_is_refused_with_a_reason() {
        let none = serde_json::json!({});
        assert_eq!(parse(None), Err(NodeError::Missing));
        assert_eq!(parse(Some(&Node::default())), Err(NodeError::Missing));
        assert_eq!(NodeError::Missing.to_string(), "missing node information");
        assert!(matches!(read("sidecar~1.1.1.1~a.b", &none), Err(NodeError::Parts(_))));
        assert!(matches!(read("sidecar~1.1.1.1~a.b~c~d", &none), Err(NodeError::Parts(_))));
        assert!(matches!(read("ztunnel~1.1.1.1~a.b~c.d", &none), Err(NodeError::Kind { .. })));
        assert!(matches!(read("router~~a.b~c.d", &none), Err(NodeError::Address(_))));
    }

    #[test]
    fn virtual_hosts_come_one_by_one_from_a_version_on_or_as_the_metadata_says() {
        use envoy_types::pb::envoy::{config::core::v3::BuildVersion, r#type::v3::SemanticVersion};
        let takes = |kind: &str, agent: &str, (major_number, minor_number): (u32, u32), metadata: &Json| {
            let version = Some(SemanticVersion { major_number, minor_number, patch: 3 });
            let build = BuildVersion { version, ..BuildVersion::default() };
            let node = Node {
                id: format!("{kind}~10.0.0.1~web.shop~shop.svc.cluster.local"),
                metadata: Some(structure(metadata)),
                user_agent_name: agent.to_owned(),
                user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(build)),
                ..Node::default()
            };
            parse(Some(&node)).expect("a proxy").discovers_hosts
        };
        let (nothing, yes) = (serde_json::json!({}), serde_json::json!({"MIZZEN_VHDS": "true"}));
        let cases = [
            ("sidecar", "envoy", (1, 39), &nothing, false),
            ("sidecar", "envoy", (1, 40), &nothing, true),
            ("sidecar", "envoy", (2, 0), &nothing, true),
            ("sidecar", "other", (1, 40), &nothing, false),
            ("router", "envoy", (1, 40), &nothing, false),
            ("sidecar", "envoy", (1, 39), &yes, true),
            ("router", "envoy", (1, 40), &yes, false),
            ("sidecar", "envoy", (1, 40), &serde_json::json!({"MIZZEN_VHDS": "false"}), false),
            ("sidecar", "envoy", (1, 40), &serde_json::json!({"MIZZEN_VHDS": false}), false),
        ];
        for (kind, agent, version, metadata, expected) in cases {
            assert_eq!(takes(kind, agent, version, metadata), expected, "{kind} {agent} {version:?} {metadata}");
        }
    }
}
