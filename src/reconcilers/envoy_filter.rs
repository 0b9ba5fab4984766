//! EnvoyFilters (translation §9.1). A patch whose match cannot be held is left out: without the match it would be
//! for everyone. What can be held but not applied is reported where it would be applied.

mod filter_match;

use std::sync::Arc;

use serde_json::Value;

use super::{
    ConvertContext, Flaw, Problems, age, regex,
    target::{For, check_workload_selector},
};
use crate::{
    api::{self, envoy_filter as spec},
    model::{
        Code, ObjectRef, Problem,
        envoy_filter::{
            ApplyTo, ChainMatch, ClusterMatch, EnvoyFilter, FilterMatch, ListenerMatch, Operation, Patch, PatchContext,
            ProxyMatch, VersionPattern,
        },
    },
};

/// The filter of an object; `None` when it is for something that is not known.
#[must_use]
pub fn convert(filter: &api::EnvoyFilter, _: &ConvertContext<'_>) -> (Option<EnvoyFilter>, Vec<Problem>) {
    let mut problems = Problems::of("EnvoyFilter", &filter.metadata);
    let spec = &filter.spec;
    let attached = !spec.target_refs.is_empty();
    if attached && spec.workload_selector.is_some() {
        problems.add(Code::FieldsExclusive, "spec", "only one of workloadSelector, targetRefs can be set");
    }
    For { targets: &spec.target_refs, ..For::default() }.check(&mut problems);
    check_workload_selector(spec.workload_selector.as_ref(), &mut problems);
    let patches = spec.config_patches.iter().enumerate();
    let patches = patches
        .filter_map(|(index, patch)| {
            let field = format!("spec.configPatches[{index}]");
            Reader { field: &field, problems: &mut problems }.patch(index, patch)
        })
        .collect();
    let made = EnvoyFilter {
        object: problems.object().clone(),
        age: age(&filter.metadata),
        priority: spec.priority,
        workload: spec.workload_selector.as_ref().map(|s| s.labels.clone()).unwrap_or_default(),
        patches,
    };
    if attached {
        problems.add(Code::FieldNotHonoured, "spec.targetRefs", "not honoured yet, so the filter is for no proxy");
    }
    ((!attached).then_some(made), problems.into_vec())
}

/// What is said of every object of this kind, to whoever writes it.
#[must_use]
pub fn advice(of: &ObjectRef) -> Problem {
    let reason = "an EnvoyFilter changes what the control plane makes, which may be made in another way by the next \
                  version: prefer other kinds where they do the same";
    Problem { object: of.clone(), field: String::new(), reason: reason.to_owned(), code: Code::InternalApi }
}

/// The HTTP filter that ends a chain.
const ROUTER: &str = "envoy.filters.http.router";

/// Reads one patch; `None` says that it is left out, and the problem has been noted.
struct Reader<'a> {
    field: &'a str,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn add(&mut self, code: Code, field: &str, reason: impl Into<String>) {
        self.problems.add(code, format!("{}.{field}", self.field), reason);
    }

    /// Notes why the patch is left out.
    fn refuse<T>(&mut self, code: Code, field: &str, reason: &str) -> Option<T> {
        self.add(code, field, format!("{reason}; the patch is left out"));
        None
    }

    /// Reads all of it, for all that is wrong with it.
    fn patch(&mut self, index: usize, patch: &spec::EnvoyConfigObjectPatch) -> Option<Patch> {
        let nothing = spec::EnvoyConfigObjectMatch::default();
        let matches = patch.matches.as_ref().unwrap_or(&nothing);
        let context = self.context(matches.context)?;
        let apply_to = self.apply_to(patch.apply_to);
        let fits = apply_to.and_then(|apply_to| self.check_match(apply_to, matches));
        let listener = apply_to.zip(matches.listener.as_ref()).map(|(apply_to, m)| self.listener(apply_to, m));
        let proxy = self.proxy(matches.proxy.as_ref());
        let change = match &patch.patch {
            Some(change) => self.operation(change.operation).and_then(|operation| {
                let value = self.value(operation, change)?;
                Some((operation, value))
            }),
            None => self.refuse(Code::PatchIncomplete, "patch", "is missing"),
        };
        fits?;
        let (apply_to, (operation, value)) = (apply_to?, change?);
        let filter = listener.as_ref().and_then(|listener| listener.chain.filter.as_ref());
        if (apply_to, operation) == (ApplyTo::HttpFilter, Operation::Remove)
            && filter.is_some_and(|filter| filter.sub_filter.as_deref() == Some(ROUTER))
        {
            return self.refuse(
                Code::RouterRemoved,
                "patch.operation",
                "removes the router, without which nothing answers",
            );
        }
        Some(Patch {
            index,
            apply_to,
            context,
            proxy: proxy?,
            listener: listener.unwrap_or_default(),
            cluster: matches.cluster.as_ref().map(cluster).unwrap_or_default(),
            operation,
            value,
        })
    }

    fn apply_to(&mut self, apply_to: spec::ApplyTo) -> Option<ApplyTo> {
        Some(match apply_to {
            spec::ApplyTo::Invalid => return self.refuse(Code::PatchIncomplete, "applyTo", "is missing"),
            spec::ApplyTo::Listener => ApplyTo::Listener,
            spec::ApplyTo::FilterChain => ApplyTo::FilterChain,
            spec::ApplyTo::NetworkFilter => ApplyTo::NetworkFilter,
            spec::ApplyTo::HttpFilter => ApplyTo::HttpFilter,
            spec::ApplyTo::RouteConfiguration => ApplyTo::RouteConfiguration,
            spec::ApplyTo::VirtualHost => ApplyTo::VirtualHost,
            spec::ApplyTo::HttpRoute => ApplyTo::HttpRoute,
            spec::ApplyTo::Cluster => ApplyTo::Cluster,
            spec::ApplyTo::ExtensionConfig => ApplyTo::ExtensionConfig,
            spec::ApplyTo::Bootstrap => ApplyTo::Bootstrap,
            spec::ApplyTo::ListenerFilter => ApplyTo::ListenerFilter,
        })
    }

    /// A match on something that the patch does not apply to can never hold.
    fn check_match(&mut self, apply_to: ApplyTo, matches: &spec::EnvoyConfigObjectMatch) -> Option<()> {
        let given = [
            ("listener", matches.listener.is_some()),
            ("routeConfiguration", matches.route_configuration.is_some()),
            ("cluster", matches.cluster.is_some()),
            ("waypoint", matches.waypoint.is_some()),
        ];
        let wanted = match_of(apply_to);
        let mut fits = Some(());
        for (name, _) in given.iter().filter(|(name, given)| *given && Some(*name) != wanted) {
            let reason = format!("does not go with applyTo {}", apply_to.as_str());
            fits = self.refuse(Code::MatchUnfit, &format!("match.{name}"), &reason);
        }
        let chain = matches.listener.as_ref().and_then(|listener| listener.filter_chain.as_ref());
        let filter = chain.and_then(|chain| chain.filter.as_ref()).filter(|_| wanted == Some("listener"));
        fits.and(filter.map_or(Some(()), |filter| self.filter(apply_to, filter)))
    }

    fn context(&mut self, context: spec::PatchContext) -> Option<PatchContext> {
        Some(match context {
            spec::PatchContext::Any => PatchContext::Any,
            spec::PatchContext::SidecarInbound => PatchContext::SidecarInbound,
            spec::PatchContext::SidecarOutbound => PatchContext::SidecarOutbound,
            spec::PatchContext::Gateway => PatchContext::Gateway,
            spec::PatchContext::Waypoint => {
                return self.refuse(Code::PatchNotHonoured, "match.context", "WAYPOINT is not honoured yet");
            }
        })
    }

    fn proxy(&mut self, proxy: Option<&spec::ProxyMatch>) -> Option<ProxyMatch> {
        let Some(proxy) = proxy else { return Some(ProxyMatch::default()) };
        let version = match &*proxy.proxy_version {
            "" => None,
            pattern if pattern.len() > regex::MAX_LENGTH => {
                let reason = format!("has {} bytes: use at most {}", pattern.len(), regex::MAX_LENGTH);
                return self.refuse(Code::FieldNotHonoured, "match.proxy.proxyVersion", &reason);
            }
            pattern => match regex::check(pattern) {
                Ok(_) => Some(VersionPattern::new(pattern)),
                Err(Flaw { code, reason }) => return self.refuse(code, "match.proxy.proxyVersion", &reason),
            },
        };
        Some(ProxyMatch { version, metadata: proxy.metadata.clone() })
    }

    fn listener(&mut self, apply_to: ApplyTo, matches: &spec::ListenerMatch) -> ListenerMatch {
        if !matches.port_name.is_empty() {
            self.add(Code::FieldWithoutEffect, "match.listener.portName", "is reserved and has no effect");
        }
        if !matches.listener_filter.is_empty() && apply_to != ApplyTo::ListenerFilter {
            self.add(
                Code::FieldWithoutEffect,
                "match.listener.listenerFilter",
                format!("has no effect on {}", apply_to.as_str()),
            );
        }
        ListenerMatch {
            name: matches.name.clone(),
            port: port(matches.port_number),
            chain: matches.filter_chain.as_ref().map(chain).unwrap_or_default(),
        }
    }

    fn operation(&mut self, operation: spec::Operation) -> Option<Operation> {
        Some(match operation {
            spec::Operation::Invalid => return self.refuse(Code::PatchIncomplete, "patch.operation", "is missing"),
            spec::Operation::Merge => Operation::Merge,
            spec::Operation::Add => Operation::Add,
            spec::Operation::Remove => Operation::Remove,
            spec::Operation::InsertBefore => Operation::InsertBefore,
            spec::Operation::InsertAfter => Operation::InsertAfter,
            spec::Operation::InsertFirst => Operation::InsertFirst,
            spec::Operation::Replace => Operation::Replace,
            spec::Operation::MergeAndReplaceList => Operation::MergeAndReplaceList,
        })
    }

    fn value(&mut self, operation: Operation, change: &spec::Patch) -> Option<Arc<Value>> {
        if change.filter_class != spec::FilterClass::Unspecified {
            self.add(Code::FieldNotHonoured, "patch.filterClass", "not honoured yet; the operation says the place");
        }
        match (operation, change.value.is_null()) {
            (Operation::Remove, false) => {
                self.add(Code::FieldWithoutEffect, "patch.value", "has no effect with REMOVE");
                Some(Arc::default())
            }
            (Operation::Remove, true) => Some(Arc::default()),
            (_, false) => Some(Arc::clone(&change.value)),
            (_, true) => {
                self.refuse(Code::PatchIncomplete, "patch.value", &format!("is missing for {}", operation.as_str()))
            }
        }
    }
}

/// The member of `match` that goes with what is patched.
fn match_of(apply_to: ApplyTo) -> Option<&'static str> {
    match apply_to {
        ApplyTo::Listener
        | ApplyTo::FilterChain
        | ApplyTo::NetworkFilter
        | ApplyTo::HttpFilter
        | ApplyTo::ListenerFilter => Some("listener"),
        ApplyTo::RouteConfiguration | ApplyTo::VirtualHost | ApplyTo::HttpRoute => Some("routeConfiguration"),
        ApplyTo::Cluster => Some("cluster"),
        ApplyTo::ExtensionConfig | ApplyTo::Bootstrap => None,
    }
}

fn chain(matches: &spec::FilterChainMatch) -> ChainMatch {
    let protocols = matches.application_protocols.split(',').map(str::trim).filter(|p| !p.is_empty());
    ChainMatch {
        name: matches.name.clone(),
        sni: matches.sni.clone(),
        transport_protocol: matches.transport_protocol.clone(),
        application_protocols: protocols.map(str::to_owned).collect(),
        destination_port: port(matches.destination_port),
        filter: matches.filter.as_ref().map(|filter| FilterMatch {
            name: filter.name.clone(),
            sub_filter: filter.sub_filter.as_ref().map(|sub| sub.name.clone()),
        }),
    }
}

fn cluster(matches: &spec::ClusterMatch) -> ClusterMatch {
    ClusterMatch {
        name: matches.name.clone(),
        service: matches.service.clone(),
        subset: matches.subset.clone(),
        port: port(matches.port_number),
    }
}

/// 0 is any port.
fn port(number: u32) -> Option<u32> {
    (number != 0).then_some(number)
}

#[cfg(test)]
mod tests;
