//! Reads the values of patches, once per object.

use std::sync::Arc;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use prost::{Message, Name};

use super::{Change, CompiledFilter, CompiledPatch, NamedFilter, Place, Target};
use crate::{
    model::{
        Code, EnvoyFilter, Problem,
        envoy_filter::{ApplyTo, Operation, Patch},
    },
    translate::filters::{
        json_any::{JsonAnyError, JsonAnyProblem, SUGGESTIONS, check_message, json_to_message},
        merge::Lists,
    },
};

/// Filters that only Istio's own build of Envoy has.
const ISTIO_ONLY: [&str; 8] = [
    "istio.alpn",
    "istio.metadata_exchange",
    "istio.peer_metadata",
    "istio.stats",
    "istio_authn",
    "mixer",
    "tcp_metadata_exchange",
    "waypoint_downstream_peer_metadata",
];

/// A field of the patch and what is wrong with it.
struct Fault {
    code: Code,
    field: String,
    reason: String,
}

impl Fault {
    fn new(code: Code, field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { code, field: field.into(), reason: reason.into() }
    }
}

/// What is wrong with one patch.
struct Faults<'a> {
    found: Vec<Fault>,
    /// For how many names of the whole object similar ones may still be looked for.
    suggestions: &'a mut usize,
}

/// Reads the values of an EnvoyFilter. A patch that cannot be applied is left out; the others are kept.
#[must_use]
pub fn compile(filter: &Arc<EnvoyFilter>) -> (CompiledFilter, Vec<Problem>) {
    let mut problems = Vec::new();
    let mut patches = Vec::new();
    let mut suggestions = SUGGESTIONS;
    for patch in &filter.patches {
        let mut faults = Faults { found: Vec::new(), suggestions: &mut suggestions };
        match compile_patch(patch, &mut faults) {
            Ok(target) => patches.push(Arc::new(CompiledPatch {
                object: filter.object.clone(),
                index: patch.index,
                context: patch.context,
                proxy: patch.proxy.clone(),
                target,
            })),
            Err(fault) => faults.found.push(fault),
        }
        problems.extend(faults.found.into_iter().map(|fault| Problem {
            object: filter.object.clone(),
            field: format!("spec.configPatches[{}].{}", patch.index, fault.field),
            reason: fault.reason,
            code: fault.code,
        }));
    }
    (CompiledFilter { filter: Arc::clone(filter), patches }, problems)
}

fn compile_patch(patch: &Patch, faults: &mut Faults<'_>) -> Result<Target, Fault> {
    match patch.apply_to {
        ApplyTo::HttpFilter => {
            let names = patch.listener.chain.filter.as_ref();
            check_anchor(names.and_then(|names| names.sub_filter.as_deref()), "subFilter.name")?;
            Ok(Target::Http(patch.listener.clone(), filter_change(patch, faults)?))
        }
        ApplyTo::NetworkFilter => {
            check_anchor(patch.listener.chain.filter.as_ref().map(|names| &names.name[..]), "name")?;
            Ok(Target::Network(patch.listener.clone(), filter_change(patch, faults)?))
        }
        ApplyTo::Cluster => Ok(Target::Cluster(patch.cluster.clone(), cluster_change(patch, faults)?)),
        other => {
            if patch.operation != Operation::Remove {
                note(check_message(message_of(other), &patch.value, faults.suggestions), faults)?;
            }
            let reason = format!("{} is not honoured yet", other.as_str());
            Err(Fault::new(Code::PatchNotHonoured, "applyTo", reason))
        }
    }
}

/// The message that a patch is merged into or added as.
const fn message_of(apply_to: ApplyTo) -> &'static str {
    match apply_to {
        ApplyTo::Listener => "envoy.config.listener.v3.Listener",
        ApplyTo::FilterChain => "envoy.config.listener.v3.FilterChain",
        ApplyTo::NetworkFilter => "envoy.config.listener.v3.Filter",
        ApplyTo::HttpFilter => "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
        ApplyTo::RouteConfiguration => "envoy.config.route.v3.RouteConfiguration",
        ApplyTo::VirtualHost => "envoy.config.route.v3.VirtualHost",
        ApplyTo::HttpRoute => "envoy.config.route.v3.Route",
        ApplyTo::Cluster => "envoy.config.cluster.v3.Cluster",
        ApplyTo::ExtensionConfig => "envoy.config.core.v3.TypedExtensionConfig",
        ApplyTo::Bootstrap => "envoy.config.bootstrap.v3.Bootstrap",
        ApplyTo::ListenerFilter => "envoy.config.listener.v3.ListenerFilter",
    }
}

/// An anchor that stock Envoy can never have would make the patch a silent no-op.
fn check_anchor(name: Option<&str>, field: &str) -> Result<(), Fault> {
    match name.filter(|name| ISTIO_ONLY.contains(name)) {
        None => Ok(()),
        Some(name) => Err(Fault::new(
            Code::PatchNotHonoured,
            format!("match.listener.filterChain.filter.{field}"),
            format!(
                "`{name}` is a filter of Istio's own Envoy, which stock Envoy does not have, so the patch does nothing; a place beside envoy.filters.http.router would be found"
            ),
        )),
    }
}

fn filter_change<T>(patch: &Patch, faults: &mut Faults<'_>) -> Result<Change<T>, Fault>
where
    T: NamedFilter + Message + Name + Default,
{
    let place = match patch.operation {
        Operation::Remove => return Ok(Change::Remove),
        Operation::Merge => return Ok(Change::Merge(Lists::Append, Box::new(value(patch, faults)?))),
        Operation::MergeAndReplaceList => return Ok(Change::Merge(Lists::Replace, Box::new(value(patch, faults)?))),
        Operation::Replace => None,
        Operation::Add => Some(Place::Last),
        Operation::InsertFirst => Some(Place::First),
        Operation::InsertBefore => Some(Place::Before),
        Operation::InsertAfter => Some(Place::After),
    };
    let filter: T = value(patch, faults)?;
    // Said in stronger words.
    faults.found.retain(|fault| fault.code != Code::TypedConfigMissing || fault.field != "patch.value");
    let untyped = (!filter.is_configured()).then(|| {
        let reason = "is missing, but Envoy knows a filter by the type of its configuration";
        Fault::new(Code::PatchUnusable, "patch.value.typed_config", reason)
    });
    if filter.name().is_empty() {
        faults.found.extend(untyped);
        let reason = "is empty, but a filter needs a name";
        return Err(Fault::new(Code::PatchUnusable, "patch.value.name", reason));
    }
    if let Some(untyped) = untyped {
        return Err(untyped);
    }
    let filter = Box::new(filter);
    Ok(place.map_or_else(|| Change::Replace(filter.clone()), |place| Change::Insert(place, filter.clone())))
}

fn cluster_change(patch: &Patch, faults: &mut Faults<'_>) -> Result<Change<Cluster>, Fault> {
    match patch.operation {
        Operation::Remove => Ok(Change::Remove),
        Operation::Merge => Ok(Change::Merge(Lists::Append, Box::new(value(patch, faults)?))),
        Operation::MergeAndReplaceList => Ok(Change::Merge(Lists::Replace, Box::new(value(patch, faults)?))),
        Operation::Add | Operation::InsertBefore | Operation::InsertAfter | Operation::InsertFirst => {
            let cluster: Cluster = value(patch, faults)?;
            if cluster.name.is_empty() {
                let reason = "is empty, but a cluster needs a name";
                return Err(Fault::new(Code::PatchUnusable, "patch.value.name", reason));
            }
            Ok(Change::Insert(Place::Last, Box::new(cluster)))
        }
        Operation::Replace => {
            let reason = "REPLACE of a CLUSTER is not honoured; REMOVE and ADD would be, or MERGE";
            Err(Fault::new(Code::PatchNotHonoured, "patch.operation", reason))
        }
    }
}

fn value<T: Message + Name + Default>(patch: &Patch, faults: &mut Faults<'_>) -> Result<T, Fault> {
    let (message, notes) =
        json_to_message(&patch.value, faults.suggestions).map_err(|error| unread(&error, Code::PatchUnusable))?;
    note(Ok(notes), faults)?;
    Ok(message)
}

/// What is said of a value that can be read, or why it cannot.
fn note(read: Result<Vec<JsonAnyError>, JsonAnyError>, faults: &mut Faults<'_>) -> Result<(), Fault> {
    let notes = read.map_err(|error| unread(&error, Code::PatchUnusable))?;
    faults.found.extend(notes.iter().map(|error| match error.problem {
        JsonAnyProblem::Deprecated { .. } => unread(error, Code::PatchFieldDeprecated),
        JsonAnyProblem::NoTypedConfig { .. } => unread(error, Code::TypedConfigMissing),
        _ => unread(error, Code::PatchFieldUnknown),
    }));
    Ok(())
}

fn unread(error: &JsonAnyError, code: Code) -> Fault {
    let separator = if error.field.is_empty() { "" } else { "." };
    Fault::new(code, format!("patch.value{separator}{}", error.field), error.problem.to_string())
}
