//! Looking at values that no type of ours holds: where they are, and what is wrong with them.

use serde_json::Value;

use super::super::{Problems, checks, rules};
use crate::{api, model::Code};

/// A value and where it is.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    pub(super) path: String,
    pub(super) value: &'a Value,
}

impl<'a> At<'a> {
    /// A member that says something.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Self { path: format!("{}.{key}", self.path), value })
    }

    /// The members of a map; a problem otherwise.
    pub(super) fn members(&self, problems: &mut Problems) -> Vec<(&'a str, Self)> {
        let Value::Object(fields) = self.value else {
            self.wrong(Code::MeshFieldInvalid, "is not a map of fields", problems);
            return Vec::new();
        };
        let said = fields.iter().filter(|(_, value)| !value.is_null());
        said.map(|(key, value)| (key.as_str(), Self { path: format!("{}.{key}", self.path), value })).collect()
    }

    /// The entries of a list; a problem otherwise.
    pub(super) fn entries(&self, problems: &mut Problems) -> Vec<Self> {
        let Value::Array(list) = self.value else {
            self.wrong(Code::MeshFieldInvalid, "is not a list", problems);
            return Vec::new();
        };
        let entries = list.iter().enumerate();
        entries.map(|(i, value)| Self { path: format!("{}[{i}]", self.path), value }).collect()
    }

    pub(super) fn wrong(&self, code: Code, reason: impl Into<String>, problems: &mut Problems) {
        problems.add(code, &self.path, reason);
    }

    /// A text; a problem otherwise.
    pub(super) fn text(&self, problems: &mut Problems) -> Option<&'a str> {
        let text = self.value.as_str();
        if text.is_none() {
            self.wrong(Code::MeshFieldInvalid, format!("{} is not a text", self.value), problems);
        }
        text
    }

    /// A text that must say something.
    pub(super) fn required(&self, problems: &mut Problems) {
        if self.text(problems).is_some_and(str::is_empty) {
            self.wrong(Code::FieldMissing, "is empty", problems);
        }
    }

    pub(super) fn port(&self, problems: &mut Problems) {
        match self.value.as_i64() {
            Some(port) => _ = checks::port(|| self.path.clone(), port, problems),
            None => self.wrong(Code::PortOutOfRange, format!("{} is not a port: use 1 to 65535", self.value), problems),
        }
    }

    /// A duration of any length.
    pub(super) fn duration(&self, problems: &mut Problems) -> Option<std::time::Duration> {
        let text = api::Duration(self.text(problems)?.to_owned());
        checks::any_duration(&self.path, &text, problems)
    }

    /// A whole number that is not below a least one.
    pub(super) fn at_least(&self, least: i64, problems: &mut Problems) {
        match self.value.as_i64() {
            Some(number) if number >= least => {}
            _ => {
                let reason = format!("{} is not a whole number of at least {least}", self.value);
                self.wrong(Code::NumberOutOfRange, reason, problems);
            }
        }
    }

    /// `host:port`, where `$(HOST_IP)` may stand for the address of the node.
    pub(super) fn address(&self, problems: &mut Problems) {
        let Some(text) = self.text(problems) else { return };
        if let Err(why) = host_of(&text.replacen("$(HOST_IP)", "127.0.0.1", 1)) {
            self.wrong(Code::ProxyAddressInvalid, format!("{text:?} {why}"), problems);
        }
    }
}

/// The host of `host:port`, without brackets, or why it is none.
pub(super) fn host_of(text: &str) -> Result<&str, &'static str> {
    let (host, port) = text.rsplit_once(':').ok_or("is not of the form host:port")?;
    if port.parse::<u16>().ok().is_none_or(|port| port == 0) {
        return Err("has a port that is not one of 1 to 65535");
    }
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if rules::domain(host).is_ok() || inner.parse::<std::net::IpAddr>().is_ok() {
        return Ok(inner);
    }
    Err("has a host that is neither a DNS name nor an IP address")
}
