//! The functions that Istio adds to Go's templates.

use std::time::Duration;

use gotmpl::Value;

use super::{
    functions::{Function, Given, exactly, shown, text},
    json::{entries, json, map, plain},
};
use crate::model::proxy_config::ProxyConfig;

/// By name.
pub(super) const FUNCTIONS: &[Function] = &[
    ("annotation", annotation),
    ("appendMultusNetwork", append_multus_network),
    ("applicationPorts", application_ports),
    ("directory", directory),
    ("env", env),
    ("excludeInboundPort", exclude_inbound_port),
    ("excludeInterfaces", same),
    ("formatDuration", format_duration),
    ("fromJSON", from_json),
    ("fromJson", from_json),
    ("includeInboundPort", include_inbound_ports),
    ("includeInboundPorts", include_inbound_ports),
    ("isset", is_set),
    ("kubevirtInterfaces", same),
    ("mergeMaps", merge_maps),
    ("omitNil", omit_nil),
    ("protoToJSON", proto_to_json),
    ("strdict", strdict),
    ("structToJSON", to_json),
    ("toJSON", to_json),
    ("toJson", to_json),
    ("toJsonMap", |args| to_json(&[merge_maps(args)?])),
    ("toLower", |args| Ok(Value::from(text(&exactly::<1>(args)?[0])?.to_lowercase()))),
    ("toYaml", to_yaml),
    ("valueOrDefault", value_or_default),
];

fn same(args: &[Value]) -> Given {
    let [value] = exactly(args)?;
    Ok(value.clone())
}

/// An annotation of an object; a default when it is absent.
fn annotation(args: &[Value]) -> Given {
    let [meta, name, default] = exactly(args)?;
    let annotations = meta.field("Annotations").ok_or("takes .ObjectMeta first")?;
    let found = annotations.field(text(name)?).unwrap_or(default);
    Ok(Value::from(shown(found)))
}

fn is_set(args: &[Value]) -> Given {
    let [map, key] = exactly(args)?;
    Ok(Value::Bool(map.field(text(key)?).is_some()))
}

fn value_or_default(args: &[Value]) -> Given {
    let [value, default] = exactly(args)?;
    let is_none = matches!(value, Value::Nil) || value.as_str() == Some("");
    Ok(if is_none { default.clone() } else { value.clone() })
}

/// A list of ports with one more, unless it has it.
fn exclude_inbound_port(args: &[Value]) -> Given {
    let [port, excluded] = exactly(args)?;
    let (port, excluded) = (shown(port).trim().to_owned(), shown(excluded));
    let mut ports: Vec<&str> = excluded.split(',').map(str::trim).filter(|port| !port.is_empty()).collect();
    if matches!(port.as_str(), "" | "0") || ports.contains(&port.as_str()) {
        return Ok(Value::from(excluded));
    }
    ports.push(&port);
    Ok(Value::from(ports.join(",")))
}

fn include_inbound_ports(args: &[Value]) -> Given {
    let [containers] = exactly(args)?;
    ports(containers, |_| true)
}

fn application_ports(args: &[Value]) -> Given {
    let [containers] = exactly(args)?;
    ports(containers, |name| name != super::super::PROXY)
}

/// The ports of containers that TCP is spoken on.
fn ports(containers: &Value, counts: impl Fn(&str) -> bool) -> Given {
    let containers = json(containers);
    let all = containers.as_array().into_iter().flatten().filter(|c| counts(c["name"].as_str().unwrap_or_default()));
    let ports = all.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    let tcp = ports.filter(|port| matches!(port["protocol"].as_str(), None | Some("" | "TCP")));
    Ok(Value::from(tcp.map(|port| port["containerPort"].to_string()).collect::<Vec<_>>().join(",")))
}

/// A text with what comes before the last slash.
fn directory(args: &[Value]) -> Given {
    let [path] = exactly(args)?;
    let path = text(path)?;
    Ok(Value::from(&path[..path.rfind('/').map_or(0, |at| at + 1)]))
}

/// A variable of the control plane's environment.
fn env(args: &[Value]) -> Given {
    let [name, default] = exactly(args)?;
    #[expect(clippy::disallowed_methods, reason = "who writes a template chooses the variable")]
    let found = std::env::var(text(name)?).ok().filter(|value| !value.is_empty());
    Ok(found.map_or_else(|| default.clone(), Value::from))
}

fn to_json(args: &[Value]) -> Given {
    let [value] = exactly(args)?;
    let made = json(value);
    Ok(Value::from(if made.is_null() { "{}".to_owned() } else { made.to_string() }))
}

/// Without what holds where nothing is said, as it stands in the Pod's variable `PROXY_CONFIG`.
fn proto_to_json(args: &[Value]) -> Given {
    let [value] = exactly(args)?;
    let usual = ProxyConfig::new(&[]).map_err(|error| error.to_string())?;
    let mut made = json(value);
    if let Some(fields) = made.as_object_mut() {
        fields.retain(|name, value| usual.fields().get(name) != Some(value));
    }
    to_json(&[plain(&made)])
}

fn from_json(args: &[Value]) -> Given {
    let [value] = exactly(args)?;
    let read: serde_json::Value = serde_json::from_str(text(value)?).map_err(|error| format!("no JSON: {error}"))?;
    Ok(plain(&read))
}

fn to_yaml(args: &[Value]) -> Given {
    let [value] = exactly(args)?;
    Ok(Value::from(serde_yaml_ng::to_string(&json(value)).map_err(|error| error.to_string())?))
}

/// A map of names and texts.
fn strdict(args: &[Value]) -> Given {
    let pairs = args.chunks(2).map(|pair| match pair {
        [key, value] => Ok((text(key)?.to_owned(), Value::from(shown(value)))),
        _ => Err("takes names with their values".to_owned()),
    });
    Ok(map(pairs.collect::<Result<Vec<_>, _>>()?))
}

/// The entries of all; later ones win.
fn merge_maps(args: &[Value]) -> Given {
    let mut all = Vec::new();
    for one in args.iter().filter(|one| !matches!(one, Value::Nil)) {
        let entries = entries(one).ok_or_else(|| format!("takes maps, not a {}", one.type_name()))?;
        all.extend(entries.map(|(key, value)| (key.to_string(), value.clone())));
    }
    Ok(map(all))
}

fn omit_nil(args: &[Value]) -> Given {
    let [value] = exactly(args)?;
    let entries = entries(value).ok_or_else(|| format!("takes a map, not a {}", value.type_name()))?;
    let there = entries.filter(|(_, value)| !matches!(value, Value::Nil));
    Ok(map(there.map(|(key, value)| (key.to_string(), value.clone()))))
}

/// One more network in the list of an annotation, which is JSON or names with commas between them.
fn append_multus_network(args: &[Value]) -> Given {
    let [existing, network] = exactly(args)?;
    let (existing, network) = (text(existing)?, text(network)?);
    if existing.is_empty() {
        return Ok(Value::from(network));
    }
    if existing.contains(']') {
        let read = serde_json::from_str::<Vec<serde_json::Value>>(existing);
        let mut networks = read.map_err(|error| format!("the networks are no list in JSON: {error}"))?;
        if !networks.iter().any(|one| one["name"] == network) {
            networks.push(serde_json::json!({"name": network}));
        }
        return Ok(Value::from(serde_json::Value::Array(networks).to_string()));
    }
    let is_there = existing.split(',').any(|one| one.trim() == network);
    Ok(Value::from(if is_there { existing.to_owned() } else { format!("{existing}, {network}") }))
}

/// A duration as Go writes it: `1m30s`.
fn format_duration(args: &[Value]) -> Given {
    let [value] = exactly(args)?;
    let written = shown(value);
    let seconds = written.strip_suffix('s').and_then(|seconds| seconds.parse().ok());
    let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let duration = duration.ok_or_else(|| format!("takes a duration such as 45s, not {written:?}"))?;
    Ok(Value::from(go_duration(duration)))
}

fn go_duration(duration: Duration) -> String {
    let (whole, part) = (duration.as_secs(), duration.subsec_nanos());
    let decimal = |unit: u32, name: &str| {
        let (whole, rest) = (part / unit, part % unit);
        let digits = format!("{rest:0width$}", width = unit.ilog10() as usize);
        let rest = digits.trim_end_matches('0');
        if rest.is_empty() { format!("{whole}{name}") } else { format!("{whole}.{rest}{name}") }
    };
    match (whole, part) {
        (0, 0) => "0s".to_owned(),
        (0, 1_000_000..) => decimal(1_000_000, "ms"),
        (0, 1_000..) => decimal(1_000, "µs"),
        (0, _) => format!("{part}ns"),
        _ => {
            let digits = format!("{part:09}");
            let rest = digits.trim_end_matches('0');
            let seconds = if rest.is_empty() { format!("{}s", whole % 60) } else { format!("{}.{rest}s", whole % 60) };
            match (whole / 3600, whole / 60 % 60) {
                (0, 0) => seconds,
                (0, minutes) => format!("{minutes}m{seconds}"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_as_go_does() {
        let cases = [("45s", "45s"), ("90s", "1m30s"), ("3600s", "1h0m0s"), ("0.5s", "500ms"), ("61.25s", "1m1.25s")];
        for (given, expected) in cases {
            assert_eq!(format_duration(&[given.into()]), Ok(expected.into()), "{given}");
        }
        assert!(format_duration(&["soon".into()]).is_err());
    }
}
