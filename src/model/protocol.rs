//! Protocol selection (translation §1.2).

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1.
    Http,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// A forward proxy's port.
    HttpProxy,
    /// gRPC.
    Grpc,
    /// gRPC-Web.
    GrpcWeb,
    /// TLS, HTTP inside.
    Https,
    /// TLS.
    Tls,
    /// Opaque bytes.
    Tcp,
    /// MongoDB.
    Mongo,
    /// Redis.
    Redis,
    /// MySQL.
    Mysql,
    /// UDP: yields no listeners or clusters.
    Udp,
    /// Not said: sniffed.
    Auto,
}

/// How a listener treats a protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProtocolClass {
    /// Routed by HTTP.
    Http,
    /// Routed by connection.
    Tcp,
    /// Sniffed.
    Auto,
}

/// Ports that are TCP when nothing is said: SMTP, DNS, MySQL, MongoDB (server-first or not HTTP).
const WELL_KNOWN_TCP: [u16; 4] = [25, 53, 3306, 27017];

impl Protocol {
    /// The protocol of a word as port names and Gateway servers use it, any case; `None` when unknown.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "http" => Self::Http,
            "http2" => Self::Http2,
            "http_proxy" => Self::HttpProxy,
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "https" => Self::Https,
            "tls" => Self::Tls,
            "tcp" => Self::Tcp,
            "mongo" => Self::Mongo,
            "redis" => Self::Redis,
            "mysql" => Self::Mysql,
            "udp" => Self::Udp,
            _ => return None,
        })
    }

    /// The protocol of a service port: transport, then `appProtocol`, then the name, then well-known ports.
    #[must_use]
    pub fn of_port(udp: bool, app_protocol: Option<&str>, name: &str, number: u16) -> Self {
        if udp {
            return Self::Udp;
        }
        let said = match app_protocol {
            Some("kubernetes.io/h2c") => Some(Self::Http2),
            Some("kubernetes.io/ws") => Some(Self::Http),
            Some("kubernetes.io/wss") => Some(Self::Https),
            Some(other) => Self::parse(other),
            None => Self::of_name(name),
        };
        let by_number = WELL_KNOWN_TCP.contains(&number).then_some(Self::Tcp);
        said.filter(|p| *p != Self::Udp).or(by_number).unwrap_or(Self::Auto)
    }

    fn of_name(name: &str) -> Option<Self> {
        if name.get(..8).is_some_and(|p| p.eq_ignore_ascii_case("grpc-web")) {
            return Some(Self::GrpcWeb);
        }
        Self::parse(name.split('-').next().unwrap_or_default())
    }

    /// How listeners treat it.
    #[must_use]
    pub const fn class(self) -> ProtocolClass {
        match self {
            Self::Http | Self::Http2 | Self::HttpProxy | Self::Grpc | Self::GrpcWeb => ProtocolClass::Http,
            Self::Auto => ProtocolClass::Auto,
            _ => ProtocolClass::Tcp,
        }
    }

    /// Whether upstream connections speak HTTP/2 because the port says so.
    #[must_use]
    pub const fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// Whether the bytes are TLS (routed by SNI).
    #[must_use]
    pub const fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_transport_app_protocol_name_number() {
        let of = Protocol::of_port;
        assert_eq!(of(true, Some("http"), "http", 80), Protocol::Udp);
        assert_eq!(of(false, Some("kubernetes.io/h2c"), "tcp", 80), Protocol::Http2);
        assert_eq!(of(false, None, "http2-web", 80), Protocol::Http2);
        assert_eq!(of(false, None, "GRPC-WEB-x", 80), Protocol::GrpcWeb);
        assert_eq!(of(false, None, "svc-webport", 80), Protocol::Auto);
        assert_eq!(of(false, None, "", 3306), Protocol::Tcp);
        assert_eq!(of(false, None, "ünïcode", 80), Protocol::Auto);
    }
}
