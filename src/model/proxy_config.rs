//! The effective `ProxyConfig` of a proxy: defaults, the mesh's, the pod's (contract §6.1).

use std::time::Duration;

use serde_json::{Map, Value, json};

/// Ports that a proxy listens on in its pod: no workload has its own metrics there (contract §5.3).
pub const RESERVED_PORTS: [u16; 9] = [15000, 15001, 15004, 15006, 15008, 15020, 15021, 15053, 15090];

/// Why a `ProxyConfig` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProxyConfigError {
    /// It is no YAML or JSON.
    #[error("{origin} is no ProxyConfig")]
    Syntax {
        /// Where it is from.
        origin: &'static str,
        /// Why.
        #[source]
        source: serde_yaml_ng::Error,
    },
    /// It is something else.
    #[error("{origin} is no ProxyConfig: it must be a map of fields")]
    NoMap {
        /// Where it is from.
        origin: &'static str,
    },
    /// A field is of another type.
    #[error("ProxyConfig.{field} is {value}: it must be {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// Settings of a proxy, as the fields that they are written as.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyConfig {
    fields: Map<String, Value>,
    /// Those of them that are not what holds where nothing is said.
    said: Map<String, Value>,
}

/// What holds where nothing is said.
fn defaults() -> Value {
    json!({
        "binaryPath": "/usr/local/bin/envoy",
        "configPath": "./etc/istio/proxy",
        "controlPlaneAuthPolicy": "MUTUAL_TLS",
        "discoveryAddress": "istiod.istio-system.svc:15012",
        "drainDuration": "45s",
        "proxyAdminPort": 15000,
        "serviceCluster": "istio-proxy",
        "statNameLength": 189,
        "statusPort": 15020,
        "terminationDrainDuration": "5s",
    })
}

impl ProxyConfig {
    /// From texts in YAML or JSON with where they are from: later ones win, field by field, and by key in
    /// `proxyMetadata`. Empty ones do not count.
    ///
    /// # Errors
    /// One is no map.
    pub fn new(layers: &[(&'static str, &str)]) -> Result<Self, ProxyConfigError> {
        let mut fields = into_map(defaults()).unwrap_or_default();
        for (origin, text) in layers.iter().filter(|(_, text)| !text.trim().is_empty()) {
            let value = serde_yaml_ng::from_str(text).map_err(|source| ProxyConfigError::Syntax { origin, source })?;
            for (key, value) in into_map(value).ok_or(ProxyConfigError::NoMap { origin })? {
                match (fields.get_mut(&key), value) {
                    (_, Value::Null) => {}
                    (Some(Value::Object(old)), Value::Object(new)) if key == "proxyMetadata" => old.extend(new),
                    (_, value) => drop(fields.insert(key, value)),
                }
            }
        }
        let usual = into_map(defaults()).unwrap_or_default();
        let said = fields.iter().filter(|(key, value)| usual.get(*key) != Some(*value));
        let said = said.map(|(key, value)| (key.clone(), value.clone())).collect();
        Ok(Self { fields, said })
    }

    /// The fields that are not what holds where nothing is said.
    #[must_use]
    pub fn said(&self) -> &Map<String, Value> {
        &self.said
    }

    /// All fields.
    #[must_use]
    pub fn fields(&self) -> &Map<String, Value> {
        &self.fields
    }

    /// Sets a field.
    pub fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.fields.insert(field.to_owned(), value.into());
    }

    /// A text; nothing where there is none.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.fields.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    /// A port.
    ///
    /// # Errors
    /// It is none.
    pub fn port(&self, field: &'static str) -> Result<u16, ProxyConfigError> {
        let value = self.fields.get(field);
        let port = value.and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        port.ok_or_else(|| wrong(field, value, "a port"))
    }

    /// A duration, such as `45s`.
    ///
    /// # Errors
    /// It is none.
    pub fn duration(&self, field: &'static str) -> Result<Duration, ProxyConfigError> {
        let value = self.fields.get(field);
        let seconds = value.and_then(Value::as_str).and_then(|text| text.strip_suffix('s')?.parse().ok());
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        duration.ok_or_else(|| wrong(field, value, "a duration such as 45s"))
    }

    /// How many threads handle connections; `None` is one for each processor.
    #[must_use]
    pub fn concurrency(&self) -> Option<u64> {
        self.fields.get("concurrency").and_then(Value::as_u64).filter(|threads| *threads > 0)
    }

    /// Environment variables of the proxy that are set here.
    pub fn proxy_metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let entries = self.fields.get("proxyMetadata").and_then(Value::as_object).into_iter().flatten();
        entries.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
    }
}

fn into_map(value: Value) -> Option<Map<String, Value>> {
    match value {
        Value::Object(fields) => Some(fields),
        _ => None,
    }
}

fn wrong(field: &'static str, value: Option<&Value>, expected: &'static str) -> ProxyConfigError {
    ProxyConfigError::Field { field, value: value.map_or("absent".to_owned(), Value::to_string), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_layers_win() {
        let mesh = "concurrency: 2\nstatusPort: 15020\nproxyMetadata: {A: '1', B: '1'}\n";
        let pod = r#"{"concurrency": 0, "proxyMetadata": {"B": "2"}, "terminationDrainDuration": "1.5s"}"#;
        let config =
            ProxyConfig::new(&[("the mesh", mesh), ("the pod", pod), ("nothing", "")]).expect("a configuration");
        assert_eq!(config.concurrency(), None);
        assert_eq!(config.proxy_metadata().collect::<Vec<_>>(), [("A", "1"), ("B", "2")]);
        assert_eq!(config.duration("terminationDrainDuration").expect("a duration"), Duration::from_millis(1500));
        assert_eq!(config.duration("drainDuration").expect("a duration"), Duration::from_secs(45));
        assert_eq!(config.port("proxyAdminPort").expect("a port"), 15000);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let message = |text: &str| ProxyConfig::new(&[("PROXY_CONFIG", text)]).expect_err("wrong").to_string();
        assert_eq!(message("[1]"), "PROXY_CONFIG is no ProxyConfig: it must be a map of fields");
        assert_eq!(message("{"), "PROXY_CONFIG is no ProxyConfig");
        let config = ProxyConfig::new(&[("x", "{statusPort: 70000, drainDuration: 4}")]).expect("a map");
        let error = config.port("statusPort").expect_err("no port");
        assert_eq!(error.to_string(), "ProxyConfig.statusPort is 70000: it must be a port");
        let error = config.duration("drainDuration").expect_err("no duration");
        assert_eq!(error.to_string(), "ProxyConfig.drainDuration is 4: it must be a duration such as 45s");
    }
}
