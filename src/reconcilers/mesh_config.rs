//! The mesh configuration: the key `mesh` of the ConfigMap `istio` (translation §9.5). A field that is wrong or not
//! honoured is reported, and its default stays.

mod at;
mod networks;
mod providers;
mod proxy;
mod selectors;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ConfigMap;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use self::at::At;
use super::{
    Problems, rules,
    substitution::{self, Fault},
    telemetry::expression::Expressions,
    tls_names,
    traffic_policy::{Reader, connection_pool, keepalive, locality, outlier_detection},
    virtual_service::default_retries,
    visibility::default_visibility,
};
use crate::{
    api,
    model::{
        Code, DefaultVisibility, MeshConfig, Problem,
        gateway::TlsVersion,
        mesh::{AccessLogEncoding, OutboundPolicy, PathNormalization},
    },
};

const KEY: &str = "mesh";
const NETWORKS: &str = "meshNetworks";

/// The provider of metrics that proxies serve themselves.
const PROMETHEUS: &str = "prometheus";

/// Whether a ConfigMap says anything of the mesh.
#[must_use]
pub fn is_of_mesh(map: &ConfigMap) -> bool {
    map.data.as_ref().is_some_and(|data| [KEY, NETWORKS].iter().any(|key| data.contains_key(*key)))
}

/// The configuration of a ConfigMap over `base` (defaults and the command line); `None` when its text cannot be read
/// at all: the last good one stays.
#[must_use]
pub fn convert(map: &ConfigMap, base: &MeshConfig) -> (Option<MeshConfig>, Vec<Problem>) {
    let mut problems = Problems::of("ConfigMap", &map.metadata);
    let text = |key| map.data.as_ref().and_then(|data| data.get(key)).map_or("", String::as_str);
    networks::check(text(NETWORKS), &mut problems);
    let text = text(KEY);
    let made = parse(text, base, &mut problems);
    (made, problems.into_vec())
}

/// The same for a file of `--meshConfig`; `file` names it in problems.
#[must_use]
pub fn convert_file(text: &str, file: &str, base: &MeshConfig) -> (Option<MeshConfig>, Vec<Problem>) {
    let meta = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
        name: Some(file.to_owned()),
        ..Default::default()
    };
    let mut problems = Problems::of("MeshConfig", &meta);
    let made = parse(text, base, &mut problems);
    (made, problems.into_vec())
}

fn parse(text: &str, base: &MeshConfig, problems: &mut Problems) -> Option<MeshConfig> {
    let fields = match serde_yaml_ng::from_str::<Value>(text) {
        Ok(Value::Object(fields)) => fields,
        Ok(Value::Null) => Map::new(),
        Ok(_) => {
            problems.add(Code::MeshConfigUnreadable, "data.mesh", "is not a map of fields");
            return None;
        }
        Err(error) => {
            problems.add(Code::MeshConfigUnreadable, "data.mesh", error.to_string());
            return None;
        }
    };
    let mut mesh = base.clone();
    for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let mut field = Field { key, value, problems };
        if !(basics(&mut mesh, &mut field) || traffic(&mut mesh, &mut field)) {
            field.unknown();
        }
    }
    if let Err(fault) = log_format(&mesh) {
        let reason = format!("{}; the format of Istio is used", fault.of(&mesh.access_log_format));
        problems.add(Code::CommandInvalid, "data.mesh: accessLogFormat", reason);
        mesh.access_log_format = "".into();
    }
    Some(mesh)
}

/// Whether Envoy can read the format of access logs: a wrong one would have all listeners refused.
fn log_format(mesh: &MeshConfig) -> Result<(), Fault> {
    let (format, expressions) = (&mesh.access_log_format, &mut Expressions::default());
    match mesh.access_log_encoding {
        AccessLogEncoding::Text => substitution::check(format, expressions),
        // What is no object is not used.
        AccessLogEncoding::Json => match serde_json::from_str(format) {
            Ok(Value::Object(fields)) => {
                fields.values().try_for_each(|value| substitution::check_all(value, expressions))
            }
            _ => Ok(()),
        },
    }
}

/// One top-level field.
struct Field<'a> {
    key: &'a str,
    value: &'a Value,
    problems: &'a mut Problems,
}

impl Field<'_> {
    fn path(&self) -> String {
        format!("data.mesh: {}", self.key)
    }

    fn wrong(&mut self, code: Code, reason: impl fmt::Display) {
        let path = self.path();
        self.problems.add(code, path, reason.to_string());
    }

    /// The value as a type; a problem otherwise.
    fn read<T: DeserializeOwned>(&mut self) -> Option<T> {
        match serde_json::from_value(self.value.clone()) {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(Code::MeshFieldInvalid, error);
                None
            }
        }
    }

    fn set<T: DeserializeOwned>(&mut self, target: &mut T) {
        if let Some(value) = self.read() {
            *target = value;
        }
    }

    /// A text that must say something.
    fn set_name(&mut self, target: &mut Arc<str>) {
        match self.read::<Arc<str>>() {
            Some(text) if text.is_empty() => {
                self.wrong(Code::MeshFieldInvalid, format!("is empty: {target:?} is used"));
            }
            Some(text) => *target = text,
            None => {}
        }
    }

    /// The name of a trust domain.
    fn set_trust_domain(&mut self, target: &mut Arc<str>) {
        match self.read::<Arc<str>>() {
            Some(text) if !is_trust_domain(&text) => {
                self.wrong(
                    Code::TrustDomainInvalid,
                    format!("{text:?} is not the name of a trust domain: {target:?} is used"),
                );
            }
            Some(text) => *target = text,
            None => {}
        }
    }

    /// Several of them: those that are names of trust domains.
    fn set_trust_domains(&mut self, target: &mut Vec<Arc<str>>) {
        let Some(mut names) = self.read::<Vec<Arc<str>>>() else { return };
        for (i, name) in names.iter().enumerate().filter(|(_, name)| !is_trust_domain(name)) {
            let reason = format!("{name:?} is not the name of a trust domain; it is left out");
            let path = format!("{}[{i}]", self.path());
            self.problems.add(Code::TrustDomainInvalid, path, reason);
        }
        names.retain(|name| is_trust_domain(name));
        *target = names;
    }

    /// Looks at it by a check that reads the value itself.
    fn look(&mut self, check: impl FnOnce(&At<'_>, &mut Problems)) {
        check(&At { path: self.path(), value: self.value }, self.problems);
    }

    fn set_port(&mut self, target: &mut u16) {
        match self.read() {
            Some(0) => self.wrong(Code::PortOutOfRange, format!("0 is not a port: {target} is used")),
            Some(port) => *target = port,
            None => {}
        }
    }

    /// Those of some names that are known.
    fn set_known(&mut self, target: &mut Vec<Arc<str>>, names: &[&str]) {
        let Some(list) = self.read::<Vec<String>>() else { return };
        *target = tls_names::known(&list, names, |i, reason| {
            let path = format!("{}[{i}]", self.path());
            self.problems.add(Code::CipherUnknown, path, reason);
        });
    }

    fn set_duration(&mut self, target: &mut Duration, minimum: Duration, maximum: Duration) {
        let Some(text) = self.read::<api::Duration>() else { return };
        match Duration::try_from(&text) {
            Ok(duration) if duration > maximum => {
                self.wrong(Code::DurationTooLong, format!("{duration:?} is more than {maximum:?}"));
            }
            Ok(duration) if duration >= minimum => {
                if duration.subsec_nanos() % 1_000_000 != 0 {
                    self.wrong(Code::DurationTooFine, format!("{duration:?} is not a whole number of milliseconds"));
                }
                *target = duration;
            }
            Ok(duration) => self.wrong(Code::DurationTooShort, format!("{duration:?} is less than {minimum:?}")),
            Err(error) => self.wrong(Code::DurationMalformed, error),
        }
    }

    /// One of some words, as it is or with a number in place of it, which nobody writes: words only.
    fn set_word<T: Copy>(&mut self, target: &mut T, words: &[(&str, T)]) {
        let Some(text) = self.read::<String>() else { return };
        match words.iter().find(|(word, _)| *word == text) {
            Some((_, value)) => *target = *value,
            None => {
                let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                self.wrong(Code::ValueUnknown, format!("{text:?} is not one of {}", all.join(", ")));
            }
        }
    }

    /// Whether the only provider of metrics that there is is among some.
    fn set_metrics(&mut self, target: &mut bool) {
        let Some(names) = self.read::<Vec<String>>() else { return };
        *target = names.iter().any(|name| name == PROMETHEUS);
        for (i, name) in names.iter().enumerate().filter(|(_, name)| *name != PROMETHEUS) {
            let path = format!("{}[{i}]", self.path());
            self.problems.add(
                Code::ProviderUnknown,
                path,
                format!("{name:?} is not a provider of metrics that is honoured: {PROMETHEUS} is"),
            );
        }
    }

    fn set_visibility(&mut self, target: &mut DefaultVisibility) {
        let Some(words) = self.read::<Vec<String>>() else { return };
        *target = default_visibility(&words, &self.path(), self.problems);
    }

    /// A reader for what a field holds.
    fn reader<T>(&mut self, read: impl FnOnce(&mut Reader<'_>) -> T) -> T {
        let path = self.path();
        read(&mut Reader { path: &path, problems: self.problems })
    }

    /// A member of a field that holds a map.
    fn inside(&mut self, read: &mut dyn FnMut(&mut Field<'_>) -> bool) {
        let Value::Object(fields) = self.value else {
            self.wrong(Code::MeshFieldInvalid, "is not a map of fields");
            return;
        };
        for (key, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
            let key = format!("{}.{key}", self.key);
            let mut field = Field { key: &key, value, problems: self.problems };
            if !read(&mut field) {
                field.unknown();
            }
        }
    }

    fn unknown(&mut self) {
        let path = self.path();
        self.problems.not_honoured(path);
    }
}

/// Labels of a DNS name; a dot at the end is fine.
fn is_trust_domain(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    name.split('.').all(rules::is_dns_label)
}

/// Names, ports, logs. Returns whether the field is one of them.
fn basics(mesh: &mut MeshConfig, field: &mut Field<'_>) -> bool {
    match field.key {
        "trustDomain" => field.set_trust_domain(&mut mesh.trust_domain),
        "rootNamespace" => field.set_name(&mut mesh.root_namespace),
        "proxyListenPort" => field.set_port(&mut mesh.proxy_listen_port),
        "proxyInboundListenPort" => field.set_port(&mut mesh.proxy_inbound_listen_port),
        "proxyHttpPort" => field.set(&mut mesh.proxy_http_port),
        "accessLogFile" => field.set(&mut mesh.access_log_file),
        "accessLogFormat" => field.set(&mut mesh.access_log_format),
        "accessLogEncoding" => {
            let text = matches!(mesh.access_log_encoding, AccessLogEncoding::Text);
            let mut json = !text;
            field.set_word(&mut json, &[("TEXT", false), ("JSON", true)]);
            mesh.access_log_encoding = if json { AccessLogEncoding::Json } else { AccessLogEncoding::Text };
        }
        "defaultProviders" => field.inside(&mut |inner| match inner.key {
            "defaultProviders.metrics" => {
                inner.set_metrics(&mut mesh.metrics);
                true
            }
            _ => false,
        }),
        "defaultServiceExportTo" => field.set_visibility(&mut mesh.export_defaults.services),
        "defaultVirtualServiceExportTo" => field.set_visibility(&mut mesh.export_defaults.virtual_services),
        "defaultDestinationRuleExportTo" => field.set_visibility(&mut mesh.export_defaults.destination_rules),
        "trustDomainAliases" => field.set_trust_domains(&mut mesh.trust_domain_aliases),
        "enableAutoMtls" => field.set(&mut mesh.auto_mtls),
        "pathNormalization" => field.inside(&mut |inner| match inner.key {
            "pathNormalization.normalization" => {
                let words = [
                    ("DEFAULT", PathNormalization::Base),
                    ("NONE", PathNormalization::None),
                    ("BASE", PathNormalization::Base),
                    ("MERGE_SLASHES", PathNormalization::MergeSlashes),
                    ("DECODE_AND_MERGE_SLASHES", PathNormalization::DecodeAndMergeSlashes),
                ];
                inner.set_word(&mut mesh.path_normalization, &words);
                true
            }
            _ => false,
        }),
        _ => return false,
    }
    true
}

/// How traffic flows. Returns whether the field is one of them.
fn traffic(mesh: &mut MeshConfig, field: &mut Field<'_>) -> bool {
    let millisecond = Duration::from_millis(1);
    match field.key {
        "connectTimeout" => field.set_duration(&mut mesh.connect_timeout, millisecond, Duration::from_secs(3600)),
        "protocolDetectionTimeout" => {
            field.set_duration(&mut mesh.protocol_detection_timeout, Duration::ZERO, Duration::MAX);
        }
        "dnsRefreshRate" => field.set_duration(&mut mesh.dns_refresh_rate, millisecond, Duration::MAX),
        "h2UpgradePolicy" => {
            field.set_word(&mut mesh.h2_upgrade, &[("DO_NOT_UPGRADE", false), ("UPGRADE", true)]);
        }
        "outboundTrafficPolicy" => field.inside(&mut |inner| outbound(mesh, inner)),
        "localityLbSetting" => {
            if let Some(setting) = field.read() {
                mesh.locality_lb = field.reader(|r| locality(r, &setting));
            }
        }
        "defaultHttpRetryPolicy" => {
            if let Some(given) = field.read() {
                let read = default_retries(&given, field.path(), field.problems);
                mesh.default_retries = read.or(mesh.default_retries.take());
            }
        }
        "tcpKeepalive" => {
            if let Some(settings) = field.read() {
                mesh.tcp_keepalive = Some(field.reader(|r| keepalive(r, &settings)));
            }
        }
        "defaultTrafficPolicy" => field.inside(&mut |inner| default_policy(mesh, inner)),
        "inboundTrafficPolicy" => field.inside(&mut |inner| inbound(mesh, inner)),
        "meshMTLS" => field.inside(&mut |inner| mesh_mtls(mesh, inner)),
        "tlsDefaults" => field.inside(&mut |inner| tls_defaults(mesh, inner)),
        // What Pods are injected with.
        "defaultConfig" => {
            field.look(proxy::check);
            mesh.discovery_host = proxy::discovery_host(field.value).unwrap_or_default().into();
        }
        "enablePrometheusMerge" => {}
        _ => return others(field),
    }
    true
}

/// What is looked at only: nothing follows from it yet. Returns false.
fn others(field: &mut Field<'_>) -> bool {
    match field.key {
        "extensionProviders" => field.look(providers::check),
        "discoverySelectors" => field.look(selectors::check),
        "serviceSettings" => field.look(selectors::check_services),
        "defaultInboundHttpRetryPolicy" => {
            if let Some(given) = field.read() {
                default_retries(&given, field.path(), field.problems);
            }
        }
        _ => {}
    }
    false
}

fn outbound(mesh: &mut MeshConfig, field: &mut Field<'_>) -> bool {
    if field.key != "outboundTrafficPolicy.mode" {
        return false;
    }
    let words = [("ALLOW_ANY", OutboundPolicy::AllowAny), ("REGISTRY_ONLY", OutboundPolicy::RegistryOnly)];
    field.set_word(&mut mesh.outbound_policy, &words);
    true
}

fn inbound(mesh: &mut MeshConfig, field: &mut Field<'_>) -> bool {
    if field.key != "inboundTrafficPolicy.mode" {
        return false;
    }
    field.set_word(&mut mesh.inbound_localhost, &[("PASSTHROUGH", false), ("LOCALHOST", true)]);
    true
}

fn mesh_mtls(mesh: &mut MeshConfig, field: &mut Field<'_>) -> bool {
    match field.key {
        "meshMTLS.cipherSuites" => field.set_known(&mut mesh.mtls_cipher_suites, &tls_names::CIPHERS),
        "meshMTLS.ecdhCurves" => {
            field.wrong(Code::MeshFieldInvalid, "connections inside the mesh have no such setting: tlsDefaults has");
        }
        "meshMTLS.minProtocolVersion" => field.set_word(&mut mesh.mtls_min_version, &TLS_VERSIONS),
        _ => return false,
    }
    true
}

/// The words of a lowest TLS version.
const TLS_VERSIONS: [(&str, Option<TlsVersion>); 3] =
    [("TLS_AUTO", None), ("TLSV1_2", Some(TlsVersion::V1_2)), ("TLSV1_3", Some(TlsVersion::V1_3))];

fn tls_defaults(mesh: &mut MeshConfig, field: &mut Field<'_>) -> bool {
    match field.key {
        "tlsDefaults.ecdhCurves" => field.set_known(&mut mesh.tls_ecdh_curves, &tls_names::CURVES),
        "tlsDefaults.cipherSuites" => field.set_known(&mut mesh.tls_cipher_suites, &tls_names::CIPHERS),
        "tlsDefaults.minProtocolVersion" => {
            field.set_word(&mut mesh.tls_min_version, &TLS_VERSIONS);
        }
        _ => return false,
    }
    true
}

fn default_policy(mesh: &mut MeshConfig, field: &mut Field<'_>) -> bool {
    match field.key {
        "defaultTrafficPolicy.connectionPool" => {
            if let Some(settings) = field.read() {
                mesh.default_connection_pool = Some(Arc::new(field.reader(|r| connection_pool(r, &settings))));
            }
        }
        "defaultTrafficPolicy.outlierDetection" => {
            if let Some(settings) = field.read() {
                mesh.default_outlier_detection = Some(Arc::new(field.reader(|r| outlier_detection(r, &settings))));
            }
        }
        _ => return false,
    }
    true
}
