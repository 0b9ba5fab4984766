//! Reading of responses without decoding them: only names, versions and references are looked at, since the clients
//! share the processors with the server that they measure.

use bytes::Bytes;
use prost::{
    bytes::Buf,
    encoding::{WireType, decode_key, decode_varint},
};
use serde::{Deserialize, Serialize};

/// A type of resource that the clients ask for. The order is that in which Envoy asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Type {
    Cluster,
    Endpoint,
    Listener,
    Route,
    /// Virtual hosts of route configurations that have none inline.
    Host,
    /// Certificates and authorities that clusters name.
    Secret,
}

impl Type {
    pub(super) const COUNT: usize = 6;
    pub(super) const ALL: [Self; Self::COUNT] =
        [Self::Cluster, Self::Endpoint, Self::Listener, Self::Route, Self::Host, Self::Secret];

    pub(super) const fn url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Host => "type.googleapis.com/envoy.config.route.v3.VirtualHost",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
        }
    }

    pub(super) fn from_url(url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.url() == url)
    }
}

/// What is not protobuf, or not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

/// A `DeltaDiscoveryResponse`; everything points into the message that was received.
#[derive(Debug, Default)]
pub(super) struct Response<'a> {
    pub(super) type_url: &'a str,
    pub(super) nonce: &'a str,
    pub(super) resources: Vec<Resource<'a>>,
    pub(super) removed: Vec<&'a str>,
}

/// A resource of it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Resource<'a> {
    pub(super) name: &'a str,
    pub(super) version: &'a str,
    /// The encoded message.
    pub(super) body: &'a [u8],
}

impl<'a> Response<'a> {
    pub(super) fn parse(message: &'a Bytes) -> Result<Self, Malformed> {
        let mut response = Self::default();
        for field in Fields(message) {
            match field? {
                (2, Value::Bytes(bytes)) => response.resources.push(Resource::parse(bytes)?),
                (4, Value::Bytes(bytes)) => response.type_url = text(bytes)?,
                (5, Value::Bytes(bytes)) => response.nonce = text(bytes)?,
                (6, Value::Bytes(bytes)) => response.removed.push(text(bytes)?),
                _ => {}
            }
        }
        Ok(response)
    }
}

impl<'a> Resource<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let mut resource = Self::default();
        for field in Fields(message) {
            match field? {
                (1, Value::Bytes(bytes)) => resource.version = text(bytes)?,
                (2, Value::Bytes(bytes)) => resource.body = member(bytes, 2)?.unwrap_or_default(),
                (3, Value::Bytes(bytes)) => resource.name = text(bytes)?,
                _ => {}
            }
        }
        Ok(resource)
    }
}

/// The name under which a cluster asks for its endpoints; `None` when it does not ask.
pub(super) fn assignment_of<'a>(cluster: &Resource<'a>) -> Result<Option<&'a str>, Malformed> {
    /// `Cluster.DiscoveryType.EDS`.
    const EDS: u64 = 3;
    let (mut is_eds, mut service_name) = (false, "");
    for field in Fields(cluster.body) {
        match field? {
            (2, Value::Number(kind)) => is_eds = kind == EDS,
            (3, Value::Bytes(config)) => service_name = text(member(config, 2)?.unwrap_or_default())?,
            _ => {}
        }
    }
    Ok(is_eds.then_some(if service_name.is_empty() { cluster.name } else { service_name }))
}

/// The names of the secrets by which a cluster connects with TLS, as far as the server of the stream has them.
pub(super) fn secrets_of<'a>(cluster: &Resource<'a>) -> Result<Vec<&'a str>, Malformed> {
    /// The agent beside an Envoy has those without it.
    const SERVED: &str = "kubernetes://";
    // The socket, its `Any`, the upstream's context, and what it has in common with that of a listener.
    let mut common = cluster.body;
    for number in [24, 3, 2, 1] {
        let Some(inner) = member(common, number)? else { return Ok(Vec::new()) };
        common = inner;
    }
    let validation = member(common, 8)?.map(|combined| member(combined, 2)).transpose()?.flatten();
    let configs = [member(common, 6)?, member(common, 7)?, validation];
    let names = configs.into_iter().flatten().filter_map(|config| member(config, 1).transpose());
    let names: Vec<_> = names.map(|name| name.and_then(text)).collect::<Result<_, _>>()?;
    Ok(names.into_iter().filter(|name| name.starts_with(SERVED)).collect())
}

/// Whether the virtual hosts of a route configuration are to be discovered.
pub(super) fn discovers_hosts(config: &Resource<'_>) -> Result<bool, Malformed> {
    Ok(member(config.body, 9)?.is_some())
}

/// The route configuration that a virtual host is of.
pub(super) fn config_of<'a>(host: &Resource<'a>) -> &'a str {
    host.name.split('/').next().unwrap_or_default()
}

/// The names of the route configurations that a listener asks for, in the order of its filter chains.
pub(super) fn routes_of<'a>(listener: &Resource<'a>) -> Result<Vec<&'a str>, Malformed> {
    let mut names = Vec::new();
    for field in Fields(listener.body) {
        if let (3 | 25, Value::Bytes(chain)) = field? {
            for field in Fields(chain) {
                if let (3, Value::Bytes(filter)) = field? {
                    names.extend(route_of(filter)?);
                }
            }
        }
    }
    Ok(names)
}

/// The name of the route configuration that a filter asks for, when it is an HTTP connection manager.
fn route_of(filter: &[u8]) -> Result<Option<&str>, Malformed> {
    const MANAGER: &[u8] =
        b"type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
    let Some(any) = member(filter, 4)? else { return Ok(None) };
    if member(any, 1)? != Some(MANAGER) {
        return Ok(None);
    }
    let Some(manager) = member(any, 2)? else { return Ok(None) };
    let Some(rds) = member(manager, 3)? else { return Ok(None) };
    member(rds, 2)?.map(text).transpose()
}

/// A field of a message that is a message or string itself; the last one counts.
fn member(message: &[u8], number: u32) -> Result<Option<&[u8]>, Malformed> {
    let mut found = None;
    for field in Fields(message) {
        if let (n, Value::Bytes(bytes)) = field?
            && n == number
        {
            found = Some(bytes);
        }
    }
    Ok(found)
}

fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    std::str::from_utf8(bytes).map_err(|_| Malformed("a string is not UTF-8"))
}

/// The value of a field, as far as it is of interest.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a message, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<(u32, Value<'a>), Malformed> {
        let (number, wire_type) = decode_key(&mut self.0).map_err(|_| Malformed("a key is wrong"))?;
        let value = match wire_type {
            WireType::Varint => Value::Number(self.number()?),
            WireType::LengthDelimited => {
                let length = usize::try_from(self.number()?).map_err(|_| Malformed("a length is wrong"))?;
                Value::Bytes(self.take(length)?)
            }
            WireType::ThirtyTwoBit => self.take(4).map(|_| Value::Other)?,
            WireType::SixtyFourBit => self.take(8).map(|_| Value::Other)?,
            WireType::StartGroup | WireType::EndGroup => return Err(Malformed("a group is not expected")),
        };
        Ok((number, value))
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        decode_varint(&mut self.0).map_err(|_| Malformed("a number is cut off"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (value, rest) = self.0.split_at_checked(length).ok_or(Malformed("a field is cut off"))?;
        self.0 = rest;
        Ok(value)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.0.has_remaining() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}
