//! Access logs by the mesh configuration (translation §9.2).

use envoy_types::pb::{
    envoy::{
        config::{
            accesslog::v3::{
                AccessLog, AccessLogFilter, ResponseFlagFilter, access_log::ConfigType,
                access_log_filter::FilterSpecifier,
            },
            core::v3::{
                DataSource, SubstitutionFormatString, data_source::Specifier, substitution_format_string::Format,
            },
        },
        extensions::access_loggers::file::v3::{FileAccessLog, file_access_log::AccessLogFormat},
    },
    google::protobuf::{Struct, Value, value::Kind},
};

use super::metrics::{self, Reporter};
use crate::{
    model::mesh::{AccessLogEncoding, MeshConfig},
    snapshot::pack_any,
};

/// The keys of Istio's JSON lines, with the command operators that fill them.
const FIELDS: [(&str, &str); 24] = [
    ("authority", "%REQ(:AUTHORITY)%"),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("duration", "%DURATION%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("route_name", "%ROUTE_NAME%"),
    ("start_time", "%START_TIME%"),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"),
    ("upstream_transport_failure_reason", "%UPSTREAM_TRANSPORT_FAILURE_REASON%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
];

/// Istio's text line.
const TEXT: &str = concat!(
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% ",
    "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% ",
    "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% %DURATION% ",
    "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" ",
    "\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% ",
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% ",
    "%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"
);

/// Access logs of an HTTP connection manager: the file that the mesh writes, if it does, and metrics.
#[must_use]
pub fn of_http(mesh: &MeshConfig, reporter: Reporter) -> Vec<AccessLog> {
    file_log(mesh).into_iter().chain(metrics::http_logger(reporter, mesh)).collect()
}

/// The same of a TCP proxy, which nobody may report, and whether it must log when a connection has reached its upstream,
/// not only at its end.
#[must_use]
pub fn of_tcp(mesh: &MeshConfig, reporter: Option<Reporter>) -> (Vec<AccessLog>, bool) {
    let file = file_log(mesh);
    match reporter.and_then(|reporter| metrics::tcp_loggers(reporter, mesh)) {
        None => (file.into_iter().collect(), false),
        // A connection is one line of the file.
        Some(loggers) => (file.map(metrics::at_the_end).into_iter().chain(loggers).collect(), true),
    }
}

/// The access log of a listener: only connections that no filter chain takes, which no filter can log.
#[must_use]
pub fn of_listener(mesh: &MeshConfig) -> Vec<AccessLog> {
    let no_route = FilterSpecifier::ResponseFlagFilter(ResponseFlagFilter { flags: vec!["NR".to_owned()] });
    file_log(mesh)
        .map(|log| AccessLog { filter: Some(AccessLogFilter { filter_specifier: Some(no_route) }), ..log })
        .into_iter()
        .collect()
}

fn file_log(mesh: &MeshConfig) -> Option<AccessLog> {
    if mesh.access_log_file.is_empty() {
        return None;
    }
    let format = match mesh.access_log_encoding {
        AccessLogEncoding::Text => text_format(&mesh.access_log_format),
        AccessLogEncoding::Json => json_format(&mesh.access_log_format),
    };
    let log_format = SubstitutionFormatString { format: Some(format), ..SubstitutionFormatString::default() };
    let config = FileAccessLog {
        path: mesh.access_log_file.to_string(),
        access_log_format: Some(AccessLogFormat::LogFormat(log_format)),
    };
    Some(AccessLog {
        name: "envoy.access_loggers.file".to_owned(),
        config_type: Some(ConfigType::TypedConfig(pack_any(&config))),
        ..AccessLog::default()
    })
}

/// Lines of text; a format that does not end its line gets a line break, as two requests would share one line.
fn text_format(custom: &str) -> Format {
    let text = match custom {
        "" => TEXT.to_owned(),
        own if own.ends_with('\n') => own.to_owned(),
        own => format!("{own}\n"),
    };
    Format::TextFormatSource(DataSource { specifier: Some(Specifier::InlineString(text)), ..DataSource::default() })
}

/// JSON objects; a format that is not a JSON object is not used.
fn json_format(custom: &str) -> Format {
    let own = match serde_json::from_str(custom) {
        Ok(serde_json::Value::Object(map)) if !map.is_empty() => Some(structure(map)),
        _ => None,
    };
    let default = || {
        let string = |text: &str| Value { kind: Some(Kind::StringValue(text.to_owned())) };
        Struct { fields: FIELDS.iter().map(|(k, v)| ((*k).to_owned(), string(v))).collect() }
    };
    Format::JsonFormat(own.unwrap_or_else(default))
}

fn structure(map: serde_json::Map<String, serde_json::Value>) -> Struct {
    Struct { fields: map.into_iter().map(|(k, v)| (k, value(v))).collect() }
}

fn value(json: serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(b) => Kind::BoolValue(b),
        serde_json::Value::Number(n) => Kind::NumberValue(n.as_f64().unwrap_or_default()),
        serde_json::Value::String(s) => Kind::StringValue(s),
        serde_json::Value::Array(items) => {
            let values = items.into_iter().map(value).collect();
            Kind::ListValue(envoy_types::pb::google::protobuf::ListValue { values })
        }
        serde_json::Value::Object(map) => Kind::StructValue(structure(map)),
    };
    Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::data::accesslog::v3::AccessLogType;
    use prost::Message as _;

    use super::*;

    fn format_of(mesh: &MeshConfig) -> Format {
        let Some(ConfigType::TypedConfig(any)) = of_http(mesh, Reporter::Source).remove(0).config_type else {
            panic!("no config")
        };
        let file = FileAccessLog::decode(&any.value[..]).expect("a file log");
        assert_eq!(file.path, "/dev/stdout");
        let Some(AccessLogFormat::LogFormat(log)) = file.access_log_format else { panic!("no format") };
        log.format.expect("a format")
    }

    fn mesh(encoding: AccessLogEncoding, format: &str) -> MeshConfig {
        MeshConfig {
            access_log_file: "/dev/stdout".into(),
            access_log_encoding: encoding,
            access_log_format: format.into(),
            ..MeshConfig::default()
        }
    }

    #[test]
    fn off_without_a_file() {
        let silent = MeshConfig { metrics: false, ..MeshConfig::default() };
        assert!(of_http(&silent, Reporter::Source).is_empty());
        assert_eq!(of_tcp(&silent, Some(Reporter::Source)), (Vec::new(), false));
        assert!(of_listener(&MeshConfig::default()).is_empty());
        let log = of_listener(&mesh(AccessLogEncoding::Text, "")).remove(0);
        assert!(log.filter.is_some());
    }

    #[test]
    fn a_connection_is_one_line() {
        let mesh = mesh(AccessLogEncoding::Text, "");
        let (alone, early) = of_tcp(&mesh, None);
        assert!(alone[0].filter.is_none() && !early);
        let (logs, early) = of_tcp(&mesh, Some(Reporter::Source));
        assert_eq!((logs.len(), early), (3, true));
        let Some(FilterSpecifier::LogTypeFilter(types)) = logs[0].filter.clone().and_then(|f| f.filter_specifier)
        else {
            panic!("lines of all times")
        };
        assert_eq!(types.types, [i32::from(AccessLogType::TcpConnectionEnd)]);
    }

    #[test]
    fn text_lines_end() {
        let text = |custom: &str| match format_of(&mesh(AccessLogEncoding::Text, custom)) {
            Format::TextFormatSource(DataSource { specifier: Some(Specifier::InlineString(s)), .. }) => s,
            other => panic!("not text: {other:?}"),
        };
        assert!(text("").starts_with("[%START_TIME%] \"%REQ(:METHOD)%"));
        assert!(text("").ends_with("%REQUESTED_SERVER_NAME% %ROUTE_NAME%\n"));
        assert_eq!(text("%PROTOCOL%"), "%PROTOCOL%\n");
        assert_eq!(text("x\n"), "x\n");
    }

    #[test]
    fn json_lines_have_istios_keys_or_the_users() {
        let fields = |custom: &str| match format_of(&mesh(AccessLogEncoding::Json, custom)) {
            Format::JsonFormat(s) => s.fields,
            other => panic!("not JSON: {other:?}"),
        };
        assert_eq!(fields("").len(), 24);
        assert_eq!(fields("not json").len(), 24);
        assert_eq!(fields(r#"{"a":{"b":["%PROTOCOL%",1,true,null]}}"#).len(), 1);
    }
}
