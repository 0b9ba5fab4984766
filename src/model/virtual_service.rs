//! Routing rules (`VirtualService`; translation §6), checked and with every name qualified.
//!
//! What is in here is right: hosts are FQDNs, regular expressions compile, durations and percentages are in
//! range. An entry that was wrong is not here; the conversion reported it.

mod claim;
mod delegate;
mod l4;
mod source;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

pub use claim::{claim_path, is_claim};
pub use delegate::{Lookup, resolve_delegates};
pub use l4::{L4Destination, TcpMatch, TcpRoute, TlsMatch, TlsRoute};
pub use source::{SourceFacets, SourceMatch};

use super::{Age, Host, Namespace, ObjectRef, Visibility};

/// A gateway that a rule is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GatewayName {
    /// All sidecars (`mesh`).
    Mesh,
    /// A Gateway, as `namespace/name`.
    Named(Arc<str>),
}

impl fmt::Display for GatewayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mesh => "mesh",
            Self::Named(name) => name,
        })
    }
}

/// Whose rules of matching apply to a `VirtualService` (translation §6.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RouteSemantics {
    /// Istio's: a prefix is a prefix of characters.
    #[default]
    Istio,
    /// Made of a Gateway API route: a prefix ends at a `/`, missing clusters answer 500.
    GatewayApi,
    /// Made of an Ingress: a prefix ends at a `/`.
    Ingress,
}

impl RouteSemantics {
    /// Whether prefixes are prefixes of path segments.
    #[must_use]
    pub const fn path_separated(self) -> bool {
        !matches!(self, Self::Istio)
    }
}

/// Routing rules for some hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualService {
    /// The object.
    pub object: ObjectRef,
    /// Decides conflicts, oldest first.
    pub age: Age,
    /// The hosts, qualified, in lower case and in the order of the object; empty: it is a delegate, which is only
    /// used through other objects.
    pub hosts: Vec<Host>,
    /// What it is bound to; never empty ([`GatewayName::Mesh`] when the object says nothing).
    pub gateways: Vec<GatewayName>,
    /// Who sees it; `None` is the mesh's default.
    pub visibility: Option<Visibility>,
    /// Whose rules of matching apply.
    pub semantics: RouteSemantics,
    /// Rules for HTTP, in order of evaluation.
    pub http: Vec<HttpRoute>,
    /// Rules for TLS that is passed through.
    pub tls: Vec<TlsRoute>,
    /// Rules for opaque connections.
    pub tcp: Vec<TcpRoute>,
}

impl VirtualService {
    /// Whether it only serves as a target of `delegate`.
    #[must_use]
    pub fn is_delegate(&self) -> bool {
        self.hosts.is_empty()
    }

    /// Whether [`resolve_delegates`] has anything to do.
    #[must_use]
    pub fn has_delegates(&self) -> bool {
        self.delegates().next().is_some()
    }

    /// The delegates that it names, as (namespace, name), in order; one may occur twice.
    pub fn delegates(&self) -> impl Iterator<Item = (&Namespace, &Arc<str>)> {
        self.http.iter().filter_map(|h| match &h.action {
            HttpAction::Delegate { namespace, name } => Some((namespace, name)),
            _ => None,
        })
    }
}

/// Where traffic goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Destination {
    /// The qualified host; empty only for an invalid backend of a Gateway API route.
    pub host: Host,
    /// The subset of its DestinationRule; empty is none.
    pub subset: Arc<str>,
    /// The port, when the rule says so.
    pub port: Option<u16>,
}

/// What follows when the destination of requests does not exist.
pub const UNANSWERED: &str = "requests are answered with 503";
/// The same of copies of requests.
pub const UNMIRRORED: &str = "nothing is mirrored";
/// The same of connections.
pub const UNCONNECTED: &str = "connections are closed";

/// A destination with its share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpDestination {
    /// Where to.
    pub destination: Destination,
    /// The share among the entry's destinations; of no meaning for a single one.
    pub weight: u32,
    /// Changes of headers for this destination only.
    pub headers: Headers,
}

/// One rule: which requests, and what happens to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRoute {
    /// Its name; empty is none.
    pub name: Arc<str>,
    /// Which entry of its object it was made of (`spec.http[index]`), for problems.
    pub index: usize,
    /// The delegate that it was taken from, whose entry `index` is; `None`: its own object.
    pub delegate: Option<ObjectRef>,
    /// It applies when one of these does; empty is always.
    pub matches: Vec<HttpMatch>,
    /// Where requests go.
    pub action: HttpAction,
    /// Changes of path and authority.
    pub rewrite: Option<Rewrite>,
    /// Timeout of a request; `None` and zero are none.
    pub timeout: Option<Duration>,
    /// Retries; `None` is the mesh's default.
    pub retries: Option<Retries>,
    /// Faults to inject.
    pub fault: Option<Fault>,
    /// `mirror`: where copies of requests go.
    pub mirror: Option<Destination>,
    /// `mirrorPercentage` (or the older `mirrorPercent`): the share of [`Self::mirror`]; `None` is all.
    pub mirror_percent: Option<Percent>,
    /// `mirrors`: more places for copies.
    pub mirrors: Vec<Mirror>,
    /// Cross-origin requests.
    pub cors: Option<Cors>,
    /// Changes of headers.
    pub headers: Option<Headers>,
}

impl HttpRoute {
    /// Where requests and copies of them go.
    pub fn destinations(&self) -> impl Iterator<Item = &Destination> {
        let routed = match &self.action {
            HttpAction::Route(to) => &to[..],
            HttpAction::Redirect(_) | HttpAction::DirectResponse(_) | HttpAction::Delegate { .. } => &[],
        };
        let mirrors = self.mirrors.iter().map(|m| &m.destination);
        routed.iter().map(|d| &d.destination).chain(self.mirror.iter()).chain(mirrors)
    }
}

/// What a rule does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpAction {
    /// Sends it on; never empty.
    Route(Vec<HttpDestination>),
    /// Answers with a redirect.
    Redirect(Redirect),
    /// Answers itself.
    DirectResponse(DirectResponse),
    /// Another `VirtualService` without hosts says (translation §6.1). [`resolve_delegates`] replaces it.
    Delegate {
        /// Its namespace.
        namespace: Namespace,
        /// Its name.
        name: Arc<str>,
    },
}

/// A condition on a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StringMatch {
    /// It is there, whatever it is.
    Present,
    /// It equals this.
    Exact(Arc<str>),
    /// It starts with this.
    Prefix(Arc<str>),
    /// All of it matches this RE2 expression.
    Regex(Arc<str>),
}

/// A condition on requests: the conjunction of its fields.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct HttpMatch {
    /// Its name; empty is none.
    pub name: Arc<str>,
    /// The path; [`StringMatch::Present`] is any.
    pub uri: Option<StringMatch>,
    /// Whether letter case of the path does not matter.
    pub ignore_uri_case: bool,
    /// The scheme.
    pub scheme: Option<StringMatch>,
    /// The method.
    pub method: Option<StringMatch>,
    /// The authority (`Host`).
    pub authority: Option<StringMatch>,
    /// Headers that there are, or claims of the request's token (`@request.auth.claims…`).
    pub headers: BTreeMap<Arc<str>, StringMatch>,
    /// Headers or claims that there are not.
    pub without_headers: BTreeMap<Arc<str>, StringMatch>,
    /// Parameters of the query.
    pub query_params: BTreeMap<Arc<str>, StringMatch>,
    /// The port of the listener.
    pub port: Option<u16>,
    /// Which proxies have this rule.
    pub source: SourceMatch,
    /// Prefix of statistics; empty is none.
    pub stat_prefix: Arc<str>,
}

/// Changes of headers on the way there and back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// Of the request.
    pub request: HeaderOps,
    /// Of the response.
    pub response: HeaderOps,
}

/// Changes of headers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderOps {
    /// Replaced or added.
    pub set: BTreeMap<Arc<str>, Arc<str>>,
    /// Appended.
    pub add: BTreeMap<Arc<str>, Arc<str>>,
    /// Removed.
    pub remove: Vec<Arc<str>>,
}

/// A change of path or authority.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The path.
    pub path: Option<PathRewrite>,
    /// The authority.
    pub authority: Option<Arc<str>>,
}

/// A change of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathRewrite {
    /// The part that matched is replaced.
    Prefix(Arc<str>),
    /// What matches is replaced.
    Regex {
        /// RE2.
        pattern: Arc<str>,
        /// With references `\1`.
        substitution: Arc<str>,
    },
}

/// A redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The new path.
    pub path: Option<RedirectPath>,
    /// The new host.
    pub authority: Option<Arc<str>>,
    /// The new scheme, `http` or `https`.
    pub scheme: Option<Arc<str>>,
    /// The new port.
    pub port: Option<RedirectPort>,
    /// The status.
    pub code: RedirectCode,
}

/// The path of a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedirectPath {
    /// All of it.
    Full(Arc<str>),
    /// The prefix that matched.
    Prefix(Arc<str>),
}

/// The port of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedirectPort {
    /// This one.
    Number(u16),
    /// That of the scheme.
    ProtocolDefault,
    /// That of the listener.
    Request,
}

/// The statuses Envoy redirects with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RedirectCode {
    /// 301.
    #[default]
    MovedPermanently,
    /// 302.
    Found,
    /// 303.
    SeeOther,
    /// 307.
    TemporaryRedirect,
    /// 308.
    PermanentRedirect,
}

/// An answer that no service gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// The status, 200 to 599.
    pub status: u16,
    /// The body.
    pub body: Option<Body>,
}

/// A body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Text.
    Text(Arc<str>),
    /// Bytes.
    Bytes(Arc<[u8]>),
}

/// A share, 0 to 100 percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Percent {
    /// Whole percent: how Istio writes its defaults and the older integer fields.
    Hundredths(u32),
    /// Millionths.
    Millionths(u32),
}

impl Percent {
    /// All of it.
    pub const ALL: Self = Self::Hundredths(100);

    /// Whether it is nothing.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        matches!(self, Self::Hundredths(0) | Self::Millionths(0))
    }
}

/// Where copies of requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Where to.
    pub destination: Destination,
    /// How many of them; `None` is all.
    pub percent: Option<Percent>,
}

/// Retries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retries {
    /// How often; zero is never.
    pub attempts: u32,
    /// Timeout of each try; `None`: that of the request.
    pub per_try_timeout: Option<Duration>,
    /// Conditions, status codes left out; empty is the default set when `status_codes` is empty too.
    pub conditions: Vec<Arc<str>>,
    /// Statuses that are tried again.
    pub status_codes: Vec<u32>,
    /// Whether to try in other localities too.
    pub remote_localities: bool,
    /// Whether hosts tried before are avoided; `None`: unless consistent hashing decides the host.
    pub ignore_previous_hosts: Option<bool>,
    /// The base of the growing pause between tries.
    pub backoff: Option<Duration>,
}

/// Faults to inject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// A delay.
    pub delay: Option<Delay>,
    /// An error.
    pub abort: Option<Abort>,
}

/// A delay before the request goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delay {
    /// How long.
    pub fixed: Duration,
    /// How many requests.
    pub percent: Percent,
}

/// An error instead of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abort {
    /// Which error.
    pub status: AbortStatus,
    /// How many requests; `None` is none of them (Istio's API says all, its control plane and Envoy do none).
    pub percent: Option<Percent>,
}

/// The error of an abort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AbortStatus {
    /// An HTTP status.
    Http(u16),
    /// A gRPC status code.
    Grpc(u32),
}

/// Cross-origin resource sharing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// Origins that may.
    pub allow_origins: Vec<StringMatch>,
    /// `Access-Control-Allow-Methods`.
    pub allow_methods: Vec<Arc<str>>,
    /// `Access-Control-Allow-Headers`.
    pub allow_headers: Vec<Arc<str>>,
    /// `Access-Control-Expose-Headers`.
    pub expose_headers: Vec<Arc<str>>,
    /// How long a preflight may be cached; whole seconds.
    pub max_age: Option<Duration>,
    /// `Access-Control-Allow-Credentials`.
    pub allow_credentials: Option<bool>,
    /// Whether preflights that match no origin go to the service.
    pub forward_unmatched_preflights: bool,
}
