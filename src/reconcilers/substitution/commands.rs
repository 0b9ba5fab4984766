//! The commands of Envoy 1.40 and what each takes; found by asking it. `PER_REQUEST_STATE`, which Envoy still
//! takes in headers, is told by no document of it, and is not among them.

use serde_json::Value;

use super::{super::telemetry::expression::Expressions, Command};

/// What a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    /// Neither parameters nor a length.
    Nothing,
    /// Any parameters or none.
    Anything,
    /// A format of strftime, or none.
    Time,
    /// A header and another one in its place; a length.
    Headers,
    /// A text; a length.
    Text,
    /// A text.
    Keys,
    /// A key, how it is written, and a field; a length.
    State,
    /// A kind of metadata and its keys; a length.
    Metadata,
    /// A word of each list or none; a length if true.
    Words(&'static [&'static [&'static str]], bool),
    /// Two points in time and a unit.
    Span,
    /// An expression of CEL; a length.
    Expression,
    /// Other commands, as JSON; a length.
    Others,
}

impl Takes {
    /// Whether it takes a length.
    const fn length(self) -> bool {
        match self {
            Self::Nothing | Self::Anything | Self::Time | Self::Keys | Self::Span => false,
            Self::Words(_, length) => length,
            Self::Headers | Self::Text | Self::State | Self::Metadata | Self::Expression | Self::Others => true,
        }
    }
}

/// Words of `REQUESTED_SERVER_NAME`.
const SERVER_NAMES: &[&[&str]] = &[&["SNI_ONLY", "SNI_FIRST", "HOST_FIRST"], &["ORIG_OR_HOST", "HOST", "ORIG"]];
/// Words of `PATH`.
const PATHS: &[&[&str]] = &[&["WQ", "NQ"], &["ORIG", "PATH", "ORIG_OR_PATH"]];
/// Kinds of metadata.
const METADATA: [&str; 7] =
    ["CLUSTER", "ROUTE", "UPSTREAM_HOST", "DYNAMIC", "LISTENER", "LISTENER_FILTER_CHAIN", "VIRTUAL_HOST"];

/// Commands that take something, by name.
#[rustfmt::skip]
const TAKING: [(&str, Takes); 37] = [
    ("CEL", Takes::Expression),
    ("CLUSTER_METADATA", Takes::Keys),
    ("COALESCE", Takes::Others),
    ("COMMON_DURATION", Takes::Span),
    ("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT", Takes::Anything),
    ("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", Takes::Anything),
    ("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Takes::Anything),
    ("DOWNSTREAM_PEER_CERT_V_END", Takes::Time),
    ("DOWNSTREAM_PEER_CERT_V_START", Takes::Time),
    ("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Takes::Anything),
    ("DYNAMIC_METADATA", Takes::Text),
    ("EMIT_TIME", Takes::Time),
    ("EMIT_TIME_LOCAL", Takes::Time),
    ("ENVIRONMENT", Takes::Text),
    ("FILTER_STATE", Takes::State),
    ("GRPC_STATUS", Takes::Words(&[&["CAMEL_STRING", "SNAKE_STRING", "NUMBER"]], false)),
    ("METADATA", Takes::Metadata),
    ("PATH", Takes::Words(PATHS, true)),
    ("QUERY_PARAM", Takes::Text),
    ("QUERY_PARAMS", Takes::Words(&[&["ORIG", "DECODED"]], true)),
    ("REQ", Takes::Headers),
    ("REQUESTED_SERVER_NAME", Takes::Words(SERVER_NAMES, false)),
    ("REQUEST_HEADER", Takes::Headers),
    ("RESP", Takes::Headers),
    ("RESPONSE_CODE_DETAILS", Takes::Anything),
    ("RESPONSE_HEADER", Takes::Headers),
    ("RESPONSE_TRAILER", Takes::Headers),
    ("START_TIME", Takes::Time),
    ("START_TIME_LOCAL", Takes::Time),
    ("STREAM_INFO_REQ", Takes::Headers),
    ("TRAILER", Takes::Headers),
    ("UPSTREAM_FILTER_STATE", Takes::State),
    ("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", Takes::Anything),
    ("UPSTREAM_METADATA", Takes::Keys),
    ("UPSTREAM_PEER_CERT_V_END", Takes::Time),
    ("UPSTREAM_PEER_CERT_V_START", Takes::Time),
    ("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", Takes::Anything),
];

/// Commands that take nothing, by name.
#[rustfmt::skip]
const PLAIN: [&str; 125] = [
    "ACCESS_LOG_TYPE", "BYTES_RECEIVED", "BYTES_RETRANSMITTED", "BYTES_SENT", "CONNECTION_ID",
    "CONNECTION_TERMINATION_DETAILS", "CUSTOM_FLAGS", "DOWNSTREAM_CX_RTT",
    "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", "DOWNSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
    "DOWNSTREAM_DETECTED_CLOSE_TYPE", "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
    "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID", "DOWNSTREAM_DIRECT_LOCAL_PORT", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS",
    "DOWNSTREAM_DIRECT_REMOTE_PORT", "DOWNSTREAM_HANDSHAKE_DURATION", "DOWNSTREAM_HEADER_BYTES_RECEIVED",
    "DOWNSTREAM_HEADER_BYTES_SENT", "DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID",
    "DOWNSTREAM_LOCAL_CLOSE_REASON", "DOWNSTREAM_LOCAL_DNS_SAN", "DOWNSTREAM_LOCAL_EMAIL_SAN",
    "DOWNSTREAM_LOCAL_IP_SAN", "DOWNSTREAM_LOCAL_OTHERNAME_SAN", "DOWNSTREAM_LOCAL_PORT", "DOWNSTREAM_LOCAL_SUBJECT",
    "DOWNSTREAM_LOCAL_URI_SAN", "DOWNSTREAM_PEER_CERT", "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1",
    "DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256", "DOWNSTREAM_PEER_CHAIN_SERIALS", "DOWNSTREAM_PEER_DNS_SAN",
    "DOWNSTREAM_PEER_EMAIL_SAN", "DOWNSTREAM_PEER_FINGERPRINT_1", "DOWNSTREAM_PEER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_IP_SAN", "DOWNSTREAM_PEER_ISSUER", "DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256",
    "DOWNSTREAM_PEER_ISSUER_SERIAL", "DOWNSTREAM_PEER_OTHERNAME_SAN", "DOWNSTREAM_PEER_SERIAL",
    "DOWNSTREAM_PEER_SUBJECT", "DOWNSTREAM_PEER_URI_SAN", "DOWNSTREAM_REMOTE_ADDRESS", "DOWNSTREAM_REMOTE_PORT",
    "DOWNSTREAM_TLS_CIPHER", "DOWNSTREAM_TLS_GROUP", "DOWNSTREAM_TLS_SESSION_ID", "DOWNSTREAM_TLS_VERSION",
    "DOWNSTREAM_TRANSPORT_FAILURE_REASON", "DOWNSTREAM_WIRE_BYTES_RECEIVED", "DOWNSTREAM_WIRE_BYTES_SENT", "DURATION",
    "FILTER_CHAIN_NAME", "GRPC_STATUS_NUMBER", "HOSTNAME", "LISTENER_NAME", "LOCAL_REPLY_BODY",
    "PACKETS_RETRANSMITTED", "PROTOCOL", "REQUEST_DURATION", "REQUEST_HEADERS_BYTES", "REQUEST_TX_DURATION",
    "RESPONSE_CODE", "RESPONSE_DURATION", "RESPONSE_FLAGS", "RESPONSE_FLAGS_LONG", "RESPONSE_HEADERS_BYTES",
    "RESPONSE_TRAILERS_BYTES", "RESPONSE_TX_DURATION", "ROUNDTRIP_DURATION", "ROUTE_NAME", "ROUTE_RESOLUTION_COUNT",
    "ROUTE_RESOLUTION_TIME_US", "SPAN_ID", "STREAM_ID", "TLS_JA3_FINGERPRINT", "TLS_JA4_FINGERPRINT", "TRACE_ID",
    "UNIQUE_ID", "UPSTREAM_CLUSTER", "UPSTREAM_CLUSTER_RAW", "UPSTREAM_CONNECTION_ID",
    "UPSTREAM_CONNECTION_IDS_ATTEMPTED", "UPSTREAM_CONNECTION_POOL_READY_DURATION",
    "UPSTREAM_DECOMPRESSED_HEADER_BYTES_RECEIVED", "UPSTREAM_DECOMPRESSED_HEADER_BYTES_SENT",
    "UPSTREAM_DETECTED_CLOSE_TYPE", "UPSTREAM_HEADER_BYTES_RECEIVED", "UPSTREAM_HEADER_BYTES_SENT", "UPSTREAM_HOST",
    "UPSTREAM_HOSTS_ATTEMPTED", "UPSTREAM_HOSTS_ATTEMPTED_WITHOUT_PORT", "UPSTREAM_HOST_NAME",
    "UPSTREAM_HOST_NAMES_ATTEMPTED", "UPSTREAM_HOST_NAMES_ATTEMPTED_WITHOUT_PORT", "UPSTREAM_HOST_NAME_WITHOUT_PORT",
    "UPSTREAM_LOCAL_ADDRESS", "UPSTREAM_LOCAL_CLOSE_REASON", "UPSTREAM_LOCAL_DNS_SAN", "UPSTREAM_LOCAL_IP_SAN",
    "UPSTREAM_LOCAL_PORT", "UPSTREAM_LOCAL_URI_SAN", "UPSTREAM_PEER_CERT", "UPSTREAM_PEER_DNS_SAN",
    "UPSTREAM_PEER_IP_SAN", "UPSTREAM_PEER_ISSUER", "UPSTREAM_PEER_SUBJECT", "UPSTREAM_PEER_URI_SAN",
    "UPSTREAM_PROTOCOL", "UPSTREAM_REMOTE_ADDRESS", "UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", "UPSTREAM_REMOTE_PORT",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT", "UPSTREAM_SERVER_NAME", "UPSTREAM_TLS_CIPHER", "UPSTREAM_TLS_GROUP",
    "UPSTREAM_TLS_SESSION_ID", "UPSTREAM_TLS_VERSION", "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "UPSTREAM_WIRE_BYTES_RECEIVED", "UPSTREAM_WIRE_BYTES_SENT", "VIRTUAL_CLUSTER_NAME",
];

/// Whether Envoy has a command and it takes what it is given; the error says what is wrong.
pub(super) fn check(command: &Command<'_>, expressions: &mut Expressions) -> Result<(), String> {
    let name = command.name;
    let Some(takes) = takes(name) else { return Err(format!("Envoy has no command {name}")) };
    if command.length.is_some() && !takes.length() {
        return Err(format!("{name} takes no length"));
    }
    parameters(takes, command.parameters, expressions).map_err(|why| format!("{name} {why}"))
}

fn takes(name: &str) -> Option<Takes> {
    if PLAIN.binary_search(&name).is_ok() {
        return Some(Takes::Nothing);
    }
    TAKING.binary_search_by_key(&name, |(known, _)| known).ok().map(|at| TAKING[at].1)
}

fn parameters(takes: Takes, given: &str, expressions: &mut Expressions) -> Result<(), String> {
    let must = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("takes {what}")) };
    match takes {
        Takes::Nothing => must(given.is_empty(), "no parameters"),
        Takes::Anything => Ok(()),
        Takes::Time => must(!has_line_break(given), "a format without line breaks"),
        Takes::Headers => must(are_headers(given), "the name of a header, or two with `?` between them"),
        Takes::Text | Takes::Keys => must(!given.is_empty(), "parameters, such as (a)"),
        Takes::State => {
            must(is_state(given), "a key, and PLAIN, TYPED, or FIELD with the name of a field: (key:FIELD:name)")
        }
        Takes::Metadata => {
            let kind = given.split(':').next().unwrap_or_default();
            must(METADATA.contains(&kind), &format!("one of {} and keys: (ROUTE:a:b)", METADATA.join(", ")))
        }
        Takes::Words(lists, _) => words(lists, given),
        Takes::Span => must(is_span(given), "two points in time and one of ms, us, ns: (a:b:ms)"),
        Takes::Expression => expressions.check(given).map_err(|why| format!("takes an expression: {why}")),
        Takes::Others => others(given, expressions),
    }
}

/// `%n` of strftime, whatever stands between its signs.
fn has_line_break(format: &str) -> bool {
    format.split('%').skip(1).any(|part| {
        let part = part.trim_start_matches(['-', '_', '0', '^', '#']);
        let part = part.trim_start_matches(|b| ('1'..='9').contains(&b));
        part.strip_prefix(['E', 'O']).unwrap_or(part).starts_with('n')
    })
}

fn are_headers(given: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let is_name = |name: &str| {
        let rest = name.strip_prefix(':').unwrap_or(name);
        rest.bytes().all(token) && (name.is_empty() || !rest.is_empty())
    };
    !given.is_empty() && given.split('?').count() <= 2 && given.split('?').all(is_name)
}

fn is_state(given: &str) -> bool {
    let parts: Vec<&str> = given.splitn(3, ':').collect();
    match parts[..] {
        [key] | [key, "" | "PLAIN" | "TYPED"] | [key, "PLAIN" | "TYPED", ""] => !key.is_empty(),
        [key, "FIELD", field] => !key.is_empty() && !field.is_empty(),
        _ => false,
    }
}

/// Of a single list there is one word; more of several are passed over.
fn words(lists: &[&[&str]], given: &str) -> Result<(), String> {
    let parts: Vec<&str> = if lists.len() == 1 { vec![given] } else { given.split(':').collect() };
    for (list, part) in lists.iter().zip(parts) {
        if !part.is_empty() && !list.contains(&part) {
            return Err(format!("takes one of {}: {part:?} is none of them", list.join(", ")));
        }
    }
    Ok(())
}

fn is_span(given: &str) -> bool {
    let parts: Vec<&str> = given.split(':').collect();
    matches!(parts[..], [_, _] | [_, _, "ms" | "us" | "ns"])
}

fn others(given: &str, expressions: &mut Expressions) -> Result<(), String> {
    const FORM: &str = r#"takes JSON: ({"operators": ["PROTOCOL", {"command": "REQ", "param": "a"}]})"#;
    let read: Value = serde_json::from_str(given).map_err(|why| format!("{FORM}: {why}"))?;
    let operators = read["operators"].as_array().filter(|list| !list.is_empty()).ok_or(FORM)?;
    operators.iter().try_for_each(|operator| {
        let (name, rest) = match operator {
            Value::String(name) => (name.as_str(), None),
            object => (object["command"].as_str().ok_or(FORM)?, Some(object)),
        };
        let part = |key| rest.and_then(|object| object.get(key));
        let parameters = part("param").map_or(Some(""), Value::as_str).ok_or(FORM)?;
        let length = part("max_length").map(|length| length.as_u64().filter(|n| *n > 0).ok_or(FORM)).transpose()?;
        check(&Command { name, parameters, length }, expressions)
    })
}
