//! VirtualServices (translation §6). An entry that is wrong is left out and reported, the others are used: Envoy
//! refuses a whole route configuration for one bad value in it. Without a usable host or gateway the object is not
//! used at all: it would otherwise become a delegate, or apply where it was not meant to.

mod action;
mod cors;
mod fault;
mod headers;
mod host_set;
mod http;
mod l4;
mod matching;
mod names;
mod overlap;
mod reader;
mod retry;
mod text;
mod unreachable;

use std::{cell::RefCell, collections::HashSet, sync::Arc};

use self::{
    host_set::HostSet,
    reader::{Reader, Site},
};
use super::{ConvertContext, Flaw, Problems, age, fqdn, host, namespace, rules::check_export_to, visibility};
use crate::{
    api::{self, virtual_service as spec},
    model::{
        Code, Host, Problem, VirtualService,
        virtual_service::{GatewayName, Retries, RouteSemantics},
    },
};

/// The routing rules of an object, with the entries that can be used; `None` when none of it can.
#[must_use]
pub fn convert(object: &api::VirtualService, context: &ConvertContext<'_>) -> (Option<VirtualService>, Vec<Problem>) {
    let mut problems = Problems::of("VirtualService", &object.metadata);
    let made = read(object, context, &mut problems);
    (made, problems.into_vec())
}

fn read(object: &api::VirtualService, context: &ConvertContext<'_>, problems: &mut Problems) -> Option<VirtualService> {
    let namespace = namespace(&object.metadata);
    let spec = &object.spec;
    let gateways = gateways(&spec.gateways, &namespace, problems);
    let mesh = gateways.as_ref().is_some_and(|all| all.contains(&GatewayName::Mesh));
    let domain_suffix = context.domain_suffix;
    let hosts = hosts(&spec.hosts, mesh, &namespace, domain_suffix, problems);
    overlap::check(&spec.hosts, problems);
    let delegate = spec.hosts.is_empty();
    check_rules(spec, delegate, problems);
    // Sidecars do not verify tokens of clients; what a delegate's root is bound to is not known here.
    let host_set = HostSet::new(if spec.tls.is_empty() { &[] } else { &spec.hosts });
    let site = Site {
        namespace: &namespace,
        domain_suffix,
        delegate,
        claims: delegate || !mesh,
        hosts: &host_set,
        expressions: RefCell::default(),
    };
    let http = entries("http", &spec.http, &site, problems, http::route);
    let tls = entries("tls", &spec.tls, &site, problems, l4::tls_route);
    let tcp = entries("tcp", &spec.tcp, &site, problems, l4::tcp_route);
    unreachable::check(spec, problems);
    check_export_to(&spec.export_to, false, problems);
    Some(VirtualService {
        http,
        tls,
        tcp,
        object: problems.object().clone(),
        age: age(&object.metadata),
        visibility: visibility(&spec.export_to, &namespace, "spec.exportTo", problems),
        hosts: hosts?,
        gateways: gateways?,
        semantics: RouteSemantics::Istio,
    })
}

/// Which rules go together with hosts and gateways.
fn check_rules(spec: &spec::VirtualServiceSpec, delegate: bool, problems: &mut Problems) {
    if spec.http.is_empty() && spec.tls.is_empty() && spec.tcp.is_empty() {
        problems.add(Code::RulesMissing, "spec", "there are no rules: add http, tls or tcp");
    }
    if delegate && !spec.gateways.is_empty() {
        let reason = "not used: without hosts this is a delegate, which applies where its root does";
        problems.add(Code::DelegateWithGateways, "spec.gateways", reason);
    }
    for (field, empty) in [("spec.tls", spec.tls.is_empty()), ("spec.tcp", spec.tcp.is_empty())] {
        if delegate && !empty {
            let reason = "not used: without hosts this is a delegate, which only has http rules";
            problems.add(Code::DelegateWithConnections, field, reason);
        }
    }
}

/// Retries that the mesh configuration gives at `path`; `None` when they are wrong.
pub(super) fn default_retries(
    given: &api::http_route::HttpRetry,
    path: String,
    problems: &mut Problems,
) -> Option<Retries> {
    let namespace = Arc::from("");
    let site = Site {
        namespace: &namespace,
        domain_suffix: "",
        delegate: false,
        claims: false,
        hosts: &HostSet::default(),
        expressions: RefCell::default(),
    };
    let mut reader = Reader::new(&site, path, problems);
    let read = reader.retries("", given);
    (!reader.failed()).then_some(read)
}

/// The entries of a list that are right.
fn entries<T, M>(
    list: &str,
    entries: &[T],
    site: &Site<'_>,
    problems: &mut Problems,
    read: impl Fn(&mut Reader<'_>, usize, &T) -> Option<M>,
) -> Vec<M> {
    let mut made = Vec::with_capacity(entries.len());
    for (index, entry) in entries.iter().enumerate() {
        let mut reader = Reader::new(site, format!("spec.{list}[{index}]"), problems);
        let entry = read(&mut reader, index, entry);
        made.extend(entry.filter(|_| !reader.failed()));
    }
    made
}

/// What the object is bound to; `None` when it names gateways but none that can be.
fn gateways(named: &[String], namespace: &str, problems: &mut Problems) -> Option<Vec<GatewayName>> {
    if named.is_empty() {
        return Some(vec![GatewayName::Mesh]);
    }
    let mut gateways = Vec::with_capacity(named.len());
    let mut seen = HashSet::with_capacity(named.len());
    for (index, text) in named.iter().enumerate() {
        let mut wrong = |flaw: Flaw| problems.flaw(format!("spec.gateways[{index}]"), flaw);
        match (names::gateway(text, namespace), names::gateway_style(text)) {
            (Err(flaw), _) => wrong(flaw.then("it is left out")),
            (Ok(_), Some(flaw)) if flaw.is_error() => wrong(flaw.then("it is left out")),
            (Ok(gateway), style) => {
                style.into_iter().for_each(wrong);
                gateways.extend(Some(gateway).filter(|gateway| seen.insert(gateway.clone())));
            }
        }
    }
    if gateways.is_empty() {
        problems.add(Code::GatewayNameInvalid, "spec.gateways", "no gateway is left; the object is not used");
    }
    (!gateways.is_empty()).then_some(gateways)
}

/// The hosts; `None` when there are some but none that can be.
fn hosts(
    named: &[String],
    mesh: bool,
    namespace: &Arc<str>,
    domain_suffix: &str,
    problems: &mut Problems,
) -> Option<Vec<Host>> {
    let mut hosts: Vec<Host> = Vec::with_capacity(named.len());
    let (mut seen, mut written) = (HashSet::with_capacity(named.len()), HashSet::with_capacity(named.len()));
    for (index, text) in named.iter().enumerate() {
        let mut wrong = |flaw: Flaw| problems.flaw(format!("spec.hosts[{index}]"), flaw.then("it is left out"));
        let checked = names::address(text).map_or_else(
            || {
                let full = fqdn(text, namespace, domain_suffix);
                if &*full == "*" { Ok(full) } else { host::parse(&full) }
            },
            Ok,
        );
        match checked.and_then(|full| names::host_style(text).map_or(Ok(full), Err)) {
            Err(flaw) => wrong(flaw),
            Ok(full) if &*full == "*" && mesh => {
                let reason = "\"*\" cannot be routed in the mesh: name gateways without mesh, or hosts";
                wrong(Flaw::new(Code::WildcardInMesh, reason));
            }
            Ok(_) if !written.insert(text) => {
                wrong(Flaw::new(Code::HostDuplicate, format!("{text:?} is there twice")));
            }
            // In short and in full, or in other letters, as users write it who want both.
            Ok(full) if seen.insert(full.clone()) => hosts.push(full),
            Ok(_) => {}
        }
    }
    if hosts.is_empty() && !named.is_empty() {
        problems.add(Code::HostMalformed, "spec.hosts", "no host is left; the object is not used");
        return None;
    }
    Some(hosts)
}

#[cfg(test)]
mod tests;
