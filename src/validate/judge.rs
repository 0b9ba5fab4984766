//! From an object to its problems.

use std::{borrow::Cow, sync::Arc};

use serde_json::{Map, Value};

use super::{Context, path};
use crate::{
    api::{Kind, Object, decode_as},
    model::{Code, Gateway, IpFamilies, MeshConfig, ObjectRef, Problem, Severity},
    reconcilers::{
        ConvertContext, authorization_policy, destination_rule, endpoint_slice, envoy_filter, gateway, mesh_config,
        metadata, namespace, peer_authentication, pod, proxy_config, request_authentication, secret, service,
        service_entry, sidecar, telemetry, traffic_extension, virtual_service, wasm_plugin, workload_entry,
        workload_group,
    },
    translate::{
        filters::envoy_filter::compile,
        listeners::gateway::{PortTranslation, merge_servers},
    },
};

/// What an object may have at its top.
const TOP: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];

/// All problems of an object.
pub(super) fn problems(object: &Value, context: &Context) -> Vec<Problem> {
    let (kind, of) = match identify(object) {
        Ok(known) => known,
        Err(problem) => return vec![*problem],
    };
    let mut problems = Vec::new();
    if kind.is_custom() {
        problems.extend(object.as_object().into_iter().flat_map(|fields| top_level(fields, &of)));
        problems.extend(nameless(kind, object, &of));
    }
    problems.extend(version(kind, object, &of));
    let (decoded, undecodable) = decode(kind, object, &of);
    if let Some((mut decoded, unknown)) = decoded {
        decoded.meta_mut().namespace = Some(of.namespace.to_string());
        // Kubernetes' own kinds have fields of newer versions, which is as it should be.
        let unknown = unknown.into_iter().filter(|field| kind.is_custom() && !is_top_level(field));
        problems.extend(unknown.map(|field| {
            let reason = format!("a {kind} has no such field; an API server drops it");
            Problem { object: of.clone(), field, reason, code: Code::UnknownField }
        }));
        problems.extend(metadata::check(&decoded));
        let told = of_kind(&decoded, &of, context).into_iter();
        problems.extend(told.filter(|problem| undecodable.iter().all(|taken| is_apart(problem, taken))));
    }
    problems.extend(undecodable);
    problems
}

/// As many values of another type than their field's are told of one object.
const MOST_UNDECODABLE: usize = 16;
/// Larger objects are read once: of them one such value is told.
const SMALL: usize = 2000;

/// What a kind has of an object, with the paths of what it does not have; and what is of another type than it should be, or
/// missing. Reading ends at the first of that: it is taken out then, and the rest is read again.
fn decode(kind: Kind, object: &Value, of: &ObjectRef) -> (Option<(Object, Vec<String>)>, Vec<Problem>) {
    let mut rest = Cow::Borrowed(object);
    let mut found: Vec<Problem> = Vec::new();
    loop {
        let (field, reason) = match decode_as(kind, &rest) {
            Ok(decoded) => return (Some(decoded), found),
            Err(wrong) => wrong,
        };
        // What lacks something that was taken out is not wrong.
        if found.iter().any(|earlier| path::holds(&field, &earlier.field)) {
            return (None, found);
        }
        let may_go_on = found.len() + 1 < MOST_UNDECODABLE && path::is_small(object, SMALL);
        let goes_on = may_go_on && path::remove(rest.to_mut(), &field);
        found.push(Problem { object: of.clone(), field, reason, code: Code::Undecodable });
        if !goes_on {
            return (None, found);
        }
    }
}

/// Lists of whose items no error is about another one: rules and patches. Listeners and servers are in order, or share
/// ports, and ports are named elsewhere.
const APART: [&str; 5] = ["spec.http[", "spec.tls[", "spec.tcp[", "spec.rules[", "spec.configPatches["];

/// Whether a problem is one whatever the value was that was taken out: an error outside of the rule or patch that had it.
fn is_apart(problem: &Problem, taken: &Problem) -> bool {
    let item = path::item_around(&taken.field).filter(|item| APART.iter().any(|list| item.starts_with(list)));
    let is_elsewhere = |item| !path::holds(item, &problem.field) && !path::holds(&problem.field, item);
    problem.code.severity() == Severity::Error && item.is_some_and(is_elsewhere)
}

/// Reported already.
fn is_top_level(field: &str) -> bool {
    !field.contains(['.', '['])
}

/// Problems of a mesh configuration.
pub(super) fn mesh_config(text: &str) -> Vec<Problem> {
    mesh_config::convert_file(text, "meshConfig", &MeshConfig::default()).1
}

/// The kind that an object says it is of, and its name; the version does not matter.
fn identify(object: &Value) -> Result<(Kind, ObjectRef), Box<Problem>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text(&object["metadata"]["namespace"]), text(&object["metadata"]["name"]));
    let fail = |code, field: &str, reason| {
        let object = ObjectRef::new("Object", &namespace, &name);
        Box::new(Problem { object, field: field.to_owned(), reason, code })
    };
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    for (key, found) in [("apiVersion", &api_version), ("kind", &kind)] {
        if found.is_empty() {
            return Err(fail(
                Code::TypeMissing,
                key,
                "is missing: every object says its apiVersion and kind".to_owned(),
            ));
        }
    }
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let known = Kind::from_group_kind(group, &kind).ok_or_else(|| {
        let reason = format!("unrecognized type {api_version} {kind}{}", nearest(group, &kind));
        fail(Code::UnrecognizedType, "kind", reason)
    })?;
    // As for kubectl.
    let namespace = if known.is_namespaced() && namespace.is_empty() { "default" } else { &namespace };
    Ok((known, ObjectRef::new(known.kind(), namespace, &name)))
}

/// What was probably meant.
fn nearest(group: &str, kind: &str) -> String {
    let custom = Kind::ALL.into_iter().filter(|known| known.is_custom());
    let distance = |known: &Kind| strsim::damerau_levenshtein(known.kind(), kind);
    // Longer texts are no misspelling, and the distance costs the product of the lengths.
    let close = custom.filter(|_| kind.len() <= 64).min_by_key(distance).filter(|known| distance(known) <= 2);
    let Some(close) = close else { return String::new() };
    if close.kind() == kind && group == close.group() {
        return String::new();
    }
    format!(": did you mean {}/{} {close}?", close.group(), close.versions()[0])
}

/// What is stored has a name.
fn nameless(kind: Kind, object: &Value, of: &ObjectRef) -> Option<Problem> {
    let is_given = |key: &str| object["metadata"][key].as_str().is_some_and(|name| !name.is_empty());
    if is_given("name") || is_given("generateName") {
        return None;
    }
    let (field, reason) = ("metadata.name".to_owned(), format!("a {kind} needs a name"));
    Some(Problem { object: of.clone(), field, reason, code: Code::NameMissing })
}

fn top_level<'a>(fields: &'a Map<String, Value>, of: &'a ObjectRef) -> impl Iterator<Item = Problem> + 'a {
    let others = fields.keys().filter(|key| !TOP.contains(&key.as_str()));
    others.map(|key| Problem {
        object: of.clone(),
        field: key.clone(),
        reason: format!("{key:?} is no field of an object: it has {}", TOP.join(", ")),
        code: Code::UnknownTopLevelField,
    })
}

fn version(kind: Kind, object: &Value, of: &ObjectRef) -> Option<Problem> {
    let version = object["apiVersion"].as_str()?.rsplit('/').next()?;
    if kind.versions().contains(&version) {
        return None;
    }
    let reason = format!("version {version:?} is not one of {}", kind.versions().join(", "));
    Some(Problem { object: of.clone(), field: "apiVersion".to_owned(), reason, code: Code::UnknownVersion })
}

/// What the kind's own conversion says.
fn of_kind(object: &Object, of: &ObjectRef, context: &Context) -> Vec<Problem> {
    let context = ConvertContext { domain_suffix: &context.domain_suffix };
    match object {
        Object::Service(o) => service::convert(o, &context).1,
        Object::EndpointSlice(o) => endpoint_slice::convert(o).1,
        Object::Pod(o) => pod::convert(o).1,
        Object::Node(_) => Vec::new(),
        Object::Namespace(o) => namespace::convert(o).1,
        Object::Secret(o) => secret::convert(o).1,
        Object::ConfigMap(o) if mesh_config::is_of_mesh(o) => mesh_config::convert(o, &MeshConfig::default()).1,
        Object::ConfigMap(o) => secret::convert_config_map(o).1,
        Object::DestinationRule(o) => destination_rule::convert(o, &context).1,
        Object::EnvoyFilter(o) => {
            let (made, mut problems) = envoy_filter::convert(o, &context);
            problems.extend(made.into_iter().flat_map(|filter| compile(&Arc::new(filter)).1));
            problems.push(envoy_filter::advice(of));
            problems
        }
        Object::Gateway(o) => {
            let (made, mut problems) = gateway::convert(o);
            problems.extend(made.into_iter().flat_map(shared_ports));
            problems
        }
        Object::ServiceEntry(o) => service_entry::convert(o).1,
        Object::Sidecar(o) => sidecar::convert(o).1,
        Object::VirtualService(o) => virtual_service::convert(o, &context).1,
        Object::WorkloadEntry(o) => workload_entry::convert(o).1,
        Object::AuthorizationPolicy(o) => authorization_policy::convert(o).1,
        Object::PeerAuthentication(o) => peer_authentication::convert(o).1,
        Object::RequestAuthentication(o) => request_authentication::convert(o).1,
        Object::ProxyConfig(o) => proxy_config::check(o),
        Object::Telemetry(o) => telemetry::check(o),
        Object::TrafficExtension(o) => traffic_extension::check(o),
        Object::WasmPlugin(o) => wasm_plugin::check(o),
        Object::WorkloadGroup(o) => workload_group::check(o),
    }
}

/// Servers of one Gateway that cannot share a port, as they are merged on a proxy.
fn shared_ports(gateway: Gateway) -> Vec<Problem> {
    merge_servers(&[Arc::new(gateway)], &PortTranslation::new([]), false, IpFamilies::V4V6).problems
}
