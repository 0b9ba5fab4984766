//! Delegation: an entry of one `VirtualService` is replaced by the entries of another (translation §6.1).

use std::{collections::BTreeMap, sync::Arc};

use super::{GatewayName, HttpAction, HttpMatch, HttpRoute, SourceMatch, StringMatch, VirtualService};
use crate::model::{Code, Namespace, ObjectRef, Problem};

/// Finds the `VirtualService` of a namespace and name, and says whether the root's namespace sees it.
pub type Lookup<'a> = &'a mut dyn FnMut(&Namespace, &Arc<str>) -> Option<(Arc<VirtualService>, bool)>;

/// The HTTP rules of `root` with each delegating entry replaced by the delegate's, merged with the entry's own
/// conditions and actions. An entry whose delegate is missing vanishes, a delegate's entry that contradicts the
/// root's is left out; both are reported on `root`. Delegates do not delegate further.
pub fn resolve_delegates(root: &VirtualService, lookup: Lookup<'_>) -> (Vec<HttpRoute>, Vec<Problem>) {
    let mut routes = Vec::with_capacity(root.http.len());
    let mut problems = Vec::new();
    for entry in &root.http {
        let HttpAction::Delegate { namespace, name } = &entry.action else {
            routes.push(entry.clone());
            continue;
        };
        let mut report = |code, reason| {
            let field = format!("spec.http[{}].delegate", entry.index);
            problems.push(Problem { object: root.object.clone(), field, reason, code });
        };
        match usable(root, lookup(namespace, name)) {
            Err(why) => {
                report(
                    Code::DelegateUnknown,
                    format!("VirtualService {namespace}/{name} {why}; the entry is left out"),
                );
            }
            Ok(delegate) => {
                for sub in &delegate.http {
                    match merge(entry, sub, &delegate.object) {
                        Some(merged) => routes.push(merged),
                        None => report(
                            Code::DelegateConflict,
                            format!(
                                "spec.http[{}] of VirtualService {namespace}/{name} is left out: {}",
                                sub.index, "its conditions are not within those of this entry"
                            ),
                        ),
                    }
                }
            }
        }
    }
    (routes, problems)
}

fn usable(root: &VirtualService, found: Option<(Arc<VirtualService>, bool)>) -> Result<Arc<VirtualService>, String> {
    let (delegate, visible) = found.ok_or("does not exist")?;
    if !delegate.is_delegate() {
        return Err("has hosts, so it is not a delegate: remove its hosts".to_owned());
    }
    if !visible {
        return Err(format!("is not exported to namespace {}", root.object.namespace));
    }
    Ok(delegate)
}

fn merge(root: &HttpRoute, sub: &HttpRoute, delegate: &ObjectRef) -> Option<HttpRoute> {
    if matches!(sub.action, HttpAction::Delegate { .. }) {
        return None;
    }
    Some(HttpRoute {
        name: join(&root.name, &sub.name),
        index: sub.index,
        delegate: Some(delegate.clone()),
        matches: merge_matches(&root.matches, &sub.matches)?,
        action: sub.action.clone(),
        rewrite: sub.rewrite.clone().or_else(|| root.rewrite.clone()),
        timeout: sub.timeout.or(root.timeout),
        retries: sub.retries.clone().or_else(|| root.retries.clone()),
        fault: sub.fault.clone().or_else(|| root.fault.clone()),
        mirror: sub.mirror.clone().or_else(|| root.mirror.clone()),
        mirror_percent: sub.mirror_percent.or(root.mirror_percent),
        mirrors: if sub.mirrors.is_empty() { root.mirrors.clone() } else { sub.mirrors.clone() },
        cors: sub.cors.clone().or_else(|| root.cors.clone()),
        headers: sub.headers.clone().or_else(|| root.headers.clone()),
    })
}

/// `None` when a condition of the delegate is not within any of the root's.
fn merge_matches(root: &[HttpMatch], sub: &[HttpMatch]) -> Option<Vec<HttpMatch>> {
    if root.is_empty() || sub.is_empty() {
        return Some(if root.is_empty() { sub } else { root }.to_vec());
    }
    let mut merged = Vec::with_capacity(sub.len());
    for leaf in sub {
        let before = merged.len();
        merged.extend(root.iter().filter(|r| covers(r, leaf)).map(|r| conjunction(r, leaf)));
        if merged.len() == before {
            return None;
        }
    }
    Some(merged)
}

fn conjunction(root: &HttpMatch, leaf: &HttpMatch) -> HttpMatch {
    let either = |l: &Option<StringMatch>, r: &Option<StringMatch>| l.clone().or_else(|| r.clone());
    HttpMatch {
        name: join(&root.name, &leaf.name),
        uri: either(&leaf.uri, &root.uri),
        ignore_uri_case: leaf.ignore_uri_case,
        scheme: either(&leaf.scheme, &root.scheme),
        method: either(&leaf.method, &root.method),
        authority: either(&leaf.authority, &root.authority),
        headers: union(&root.headers, &leaf.headers),
        without_headers: union(&root.without_headers, &leaf.without_headers),
        query_params: union(&root.query_params, &leaf.query_params),
        port: leaf.port.or(root.port),
        source: SourceMatch {
            labels: union(&root.source.labels, &leaf.source.labels),
            namespace: leaf.source.namespace.clone().or_else(|| root.source.namespace.clone()),
            gateways: if leaf.source.gateways.is_empty() { &root.source } else { &leaf.source }.gateways.clone(),
        },
        stat_prefix: if leaf.stat_prefix.is_empty() { &root.stat_prefix } else { &leaf.stat_prefix }.clone(),
    }
}

fn covers(root: &HttpMatch, leaf: &HttpMatch) -> bool {
    let texts = [
        (&root.uri, &leaf.uri),
        (&root.scheme, &leaf.scheme),
        (&root.method, &leaf.method),
        (&root.authority, &leaf.authority),
    ];
    let maps = [
        (&root.headers, &leaf.headers),
        (&root.without_headers, &leaf.without_headers),
        (&root.query_params, &leaf.query_params),
    ];
    texts.iter().all(|(r, l)| covers_text(r.as_ref(), l.as_ref()))
        && maps.iter().all(|(r, l)| l.iter().all(|(key, leaf)| covers_text(r.get(key), Some(leaf))))
        && root.ignore_uri_case == leaf.ignore_uri_case
        && same_or_unset(root.port.as_ref(), leaf.port.as_ref())
        && same_or_unset(root.source.namespace.as_ref(), leaf.source.namespace.as_ref())
        && leaf.source.labels.iter().all(|(k, v)| same_or_unset(root.source.labels.get(k), Some(v)))
        && covers_gateways(&root.source.gateways, &leaf.source.gateways)
}

fn covers_gateways(root: &[GatewayName], leaf: &[GatewayName]) -> bool {
    root.is_empty() || leaf.iter().all(|g| root.contains(g))
}

fn same_or_unset<T: PartialEq>(a: Option<&T>, b: Option<&T>) -> bool {
    a.is_none() || b.is_none() || a == b
}

/// Whether what `leaf` matches is within `root`. Regular expressions are not compared: one side has to be unset.
fn covers_text(root: Option<&StringMatch>, leaf: Option<&StringMatch>) -> bool {
    use StringMatch::{Exact, Prefix, Present};
    match (root, leaf) {
        (None | Some(Present), _) | (_, None) => true,
        (Some(Exact(r)), Some(Exact(l))) => r == l,
        (Some(Prefix(r)), Some(Prefix(l) | Exact(l))) => l.starts_with(&**r),
        _ => false,
    }
}

fn join(root: &Arc<str>, sub: &Arc<str>) -> Arc<str> {
    match (root.is_empty(), sub.is_empty()) {
        (_, true) => root.clone(),
        (true, false) => sub.clone(),
        (false, false) => format!("{root}-{sub}").into(),
    }
}

fn union<K: Ord + Clone, V: Clone>(root: &BTreeMap<K, V>, leaf: &BTreeMap<K, V>) -> BTreeMap<K, V> {
    root.iter().chain(leaf).map(|(k, v)| (k.clone(), v.clone())).collect()
}

#[cfg(test)]
mod tests;
