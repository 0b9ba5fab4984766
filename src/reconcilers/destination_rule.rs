//! DestinationRules (translation §4.2, §4.3).

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
};

use super::{
    ConvertContext, Problems, age, fqdn, host, namespace,
    rules::{check_export_to, check_label_syntax, check_selector_says_something, is_dns_label, wildcard_domain},
    selector::check_labels,
    traffic_policy::{Reader, is_for_gateways_only, policy},
    visibility,
};
use crate::{
    api::{
        self, destination_rule as spec,
        load_balancer::LoadBalancerSettings,
        traffic_policy::{ConnectionPoolSettings, TrafficPolicy},
    },
    model::{Code, DestinationRule, Host, Labels, Problem, Visibility, destination_rule::Subset},
};

/// The rule of an object; `None` when nobody can tell what it is about.
#[must_use]
pub fn convert(rule: &api::DestinationRule, context: &ConvertContext<'_>) -> (Option<DestinationRule>, Vec<Problem>) {
    let mut problems = Problems::of("DestinationRule", &rule.metadata);
    let namespace = namespace(&rule.metadata);
    let full = fqdn(&rule.spec.host, &namespace, context.domain_suffix);
    let checked = if &*full == "*" { Ok(full) } else { host::parse(&full) };
    let full = checked.map_err(|flaw| problems.flaw("spec.host", flaw)).ok();
    if full.is_some()
        && let Err(flaw) = wildcard_domain(&rule.spec.host)
    {
        problems.flaw("spec.host", flaw);
    }
    let selector = rule.spec.workload_selector.as_ref().map(|s| s.match_labels.clone());
    match &rule.spec.workload_selector {
        Some(given) => {
            check_labels("spec.workloadSelector.matchLabels", &given.match_labels, &mut problems);
            check_selector_says_something("spec.workloadSelector", &given.match_labels, &mut problems);
            check_listeners(&rule.spec, &mut problems);
        }
        None => check_credentials(&rule.spec, &mut problems),
    }
    check_export_to(&rule.spec.export_to, false, &mut problems);
    let mut made = DestinationRule {
        object: problems.object().clone(),
        age: age(&rule.metadata),
        host: Host::default(),
        policy: rule.spec.traffic_policy.as_ref().map(|p| {
            let mut reader = Reader { path: "spec.trafficPolicy", problems: &mut problems };
            Arc::new(policy(&mut reader, p))
        }),
        subsets: subsets(&rule.spec, &mut problems),
        visibility: visible_to(&rule.spec, &selector, &namespace, &mut problems),
        workload_selector: selector,
        namespace,
    };
    let made = full.map(|host| {
        made.host = host;
        made
    });
    (made, problems.into_vec())
}

/// The policies of a rule and of its subsets, with their fields.
fn policies(rule: &spec::DestinationRuleSpec) -> impl Iterator<Item = (String, &TrafficPolicy)> {
    let of_subsets = rule.subsets.iter().enumerate();
    let of_subsets = of_subsets.map(|(i, s)| (format!("spec.subsets[{i}].trafficPolicy"), s.traffic_policy.as_ref()));
    let all = std::iter::once(("spec.trafficPolicy".to_owned(), rule.traffic_policy.as_ref())).chain(of_subsets);
    all.filter_map(|(path, policy)| Some((path, policy?)))
}

/// Listeners are the same for all workloads of a namespace, whatever their labels: what rules say of TCP connections in
/// them holds only without a selector.
fn check_listeners(rule: &spec::DestinationRuleSpec, problems: &mut Problems) {
    for (path, policy) in policies(rule) {
        if policy.tunnel.is_some() {
            problems.add(Code::FieldNotHonoured, format!("{path}.tunnel"), "not honoured yet beside workloadSelector");
        }
        check_tcp(&path, policy.connection_pool.as_ref(), policy.load_balancer.as_ref(), problems);
        for (i, port) in policy.port_level_settings.iter().enumerate() {
            let path = format!("{path}.portLevelSettings[{i}]");
            check_tcp(&path, port.connection_pool.as_ref(), port.load_balancer.as_ref(), problems);
        }
    }
}

fn check_tcp(
    path: &str,
    pool: Option<&ConnectionPoolSettings>,
    balancer: Option<&LoadBalancerSettings>,
    problems: &mut Problems,
) {
    let tcp = pool.and_then(|p| p.tcp.as_ref());
    let hash = balancer.and_then(|b| b.consistent_hash.as_ref());
    let fields = [
        ("connectionPool.tcp.idleTimeout", tcp.is_some_and(|t| t.idle_timeout.is_some())),
        ("connectionPool.tcp.maxConnectionDuration", tcp.is_some_and(|t| t.max_connection_duration.is_some())),
        ("loadBalancer.consistentHash.useSourceIp", hash.is_some_and(|h| h.use_source_ip == Some(true))),
    ];
    for (field, _) in fields.into_iter().filter(|(_, set)| *set) {
        problems.add(
            Code::FieldNotHonoured,
            format!("{path}.{field}"),
            "not honoured yet for TCP beside workloadSelector",
        );
    }
}

/// Sidecars read Secrets only for rules that select them: others are too many to let them all read one.
/// Traffic for which TLS is asked goes nowhere rather than in plaintext.
fn check_credentials(rule: &spec::DestinationRuleSpec, problems: &mut Problems) {
    for (path, policy) in policies(rule) {
        let ports = policy.port_level_settings.iter().enumerate();
        let ports = ports.map(|(i, port)| (format!("{path}.portLevelSettings[{i}]"), port.tls.as_ref()));
        let all = std::iter::once((path.clone(), policy.tls.as_ref())).chain(ports);
        for (path, _) in all.filter(|(_, tls)| tls.is_some_and(is_for_gateways_only)) {
            let reason = "only gateways read it, as the rule has no workloadSelector; requests of sidecars are \
                          answered with 503";
            problems.add(Code::CredentialForGatewaysOnly, format!("{path}.tls.credentialName"), reason);
        }
    }
}

fn visible_to(
    rule: &spec::DestinationRuleSpec,
    selector: &Option<Labels>,
    namespace: &Arc<str>,
    problems: &mut Problems,
) -> Option<Visibility> {
    let said = visibility(&rule.export_to, namespace, "spec.exportTo", problems);
    if selector.is_none() {
        return said;
    }
    let own = Visibility::Namespaces(BTreeSet::from([namespace.clone()]));
    if said.is_some_and(|said| said != own) {
        let reason = "beside workloadSelector the rule holds in its own namespace only";
        problems.add(Code::ExportToInvalid, "spec.exportTo", reason);
    }
    Some(own)
}

fn subsets(rule: &spec::DestinationRuleSpec, problems: &mut Problems) -> Vec<Subset> {
    let mut names = HashSet::new();
    let mut made = Vec::with_capacity(rule.subsets.len());
    for (index, subset) in rule.subsets.iter().enumerate() {
        let field = format!("spec.subsets[{index}]");
        if !is_name(&subset.name) {
            problems.add(
                Code::SubsetNameInvalid,
                format!("{field}.name"),
                format!("{:?} is not a name of letters, digits, '-', '.', '_'; it is left out", subset.name),
            );
        }
        let is_first = names.insert(&subset.name);
        if !is_first {
            problems.add(
                Code::SubsetDuplicate,
                format!("{field}.name"),
                format!("{:?} is there twice: the first counts", subset.name),
            );
        }
        if is_name(&subset.name) && !is_dns_label(&subset.name) {
            let reason = format!("{:?} is no label of a DNS name; it is left out", subset.name);
            problems.add(Code::SubsetNameInvalid, format!("{field}.name"), reason);
        }
        check_label_syntax(&format!("{field}.labels"), &subset.labels, problems);
        let path = format!("{field}.trafficPolicy");
        let own = subset.traffic_policy.as_ref();
        let read = Subset {
            name: subset.name.as_str().into(),
            labels: subset.labels.clone(),
            policy: own.map(|p| Arc::new(policy(&mut Reader { path: &path, problems }, p))),
        };
        if is_first && is_dns_label(&subset.name) {
            made.push(read);
        }
    }
    made
}

/// Names go into those of clusters, between bars.
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}
