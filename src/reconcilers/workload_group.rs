//! WorkloadGroups (contract §10): templates for workloads that register themselves, which is not done yet.

use super::{
    Problems, checks,
    rules::{check_label_syntax, is_dns_label},
    workload_entry,
};
use crate::{
    api::{
        self,
        workload_group::{HttpHealthCheck, ReadinessProbe},
    },
    model::{Code, Problem},
};

/// What is wrong with an object.
#[must_use]
pub fn check(group: &api::WorkloadGroup) -> Vec<Problem> {
    let mut problems = Problems::of("WorkloadGroup", &group.metadata);
    problems.kind_not_honoured();
    let spec = &group.spec;
    if let Some(metadata) = &spec.metadata {
        check_label_syntax("spec.metadata.labels", &metadata.labels, &mut problems);
    }
    // Its address is that of the workload that registers.
    check_label_syntax("spec.template.labels", &spec.template.labels, &mut problems);
    for (name, number) in &spec.template.ports {
        workload_entry::port(name, *number, "spec.template", &mut problems);
    }
    let account = &spec.template.service_account;
    if !account.is_empty() && !account.split('.').all(is_dns_label) {
        let reason = format!("{account:?} is not the name of a service account");
        problems.add(Code::ServiceAccountInvalid, "spec.template.serviceAccount", reason);
    }
    if let Some(probe) = &spec.probe {
        check_probe(probe, &mut problems);
    }
    problems.into_vec()
}

fn check_probe(probe: &ReadinessProbe, problems: &mut Problems) {
    for (name, value) in [
        ("initialDelaySeconds", probe.initial_delay_seconds),
        ("timeoutSeconds", probe.timeout_seconds),
        ("periodSeconds", probe.period_seconds),
        ("successThreshold", probe.success_threshold),
        ("failureThreshold", probe.failure_threshold),
    ] {
        if value < 0 {
            problems.add(Code::NumberOutOfRange, format!("spec.probe.{name}"), format!("{value} is negative"));
        }
    }
    let methods = [
        ("httpGet", probe.http_get.is_some()),
        ("tcpSocket", probe.tcp_socket.is_some()),
        ("exec", probe.exec.is_some()),
        ("grpc", probe.grpc.is_some()),
    ];
    let set: Vec<&str> = methods.into_iter().filter_map(|(name, set)| set.then_some(name)).collect();
    match set[..] {
        [] => problems.add(Code::ProbeMissing, "spec.probe", "says no way to probe"),
        [_] => {}
        _ => problems.add(Code::FieldsExclusive, "spec.probe", format!("only one of {} can be set", set.join(", "))),
    }
    if let Some(http) = &probe.http_get {
        check_http(http, problems);
    }
    let ports = [
        ("tcpSocket", probe.tcp_socket.as_ref().map(|tcp| tcp.port)),
        ("grpc", probe.grpc.as_ref().map(|grpc| grpc.port)),
    ];
    for (name, port) in ports.into_iter().filter_map(|(name, port)| Some((name, port?))) {
        checks::port(|| format!("spec.probe.{name}.port"), port.into(), problems);
    }
    if probe.exec.as_ref().is_some_and(|exec| exec.command.is_empty()) {
        problems.add(Code::FieldMissing, "spec.probe.exec.command", "is empty: name a program");
    }
}

fn check_http(http: &HttpHealthCheck, problems: &mut Problems) {
    checks::port(|| "spec.probe.httpGet.port".to_owned(), http.port.into(), problems);
    if !["", "HTTP", "HTTPS"].contains(&http.scheme.as_str()) {
        let reason = format!("{:?} is not one of HTTP, HTTPS", http.scheme);
        problems.add(Code::ValueUnknown, "spec.probe.httpGet.scheme", reason);
    }
    for (i, header) in http.http_headers.iter().enumerate() {
        checks::header_name(&format!("spec.probe.httpGet.httpHeaders[{i}].name"), &header.name, problems);
    }
}
