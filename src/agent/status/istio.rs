//! Istio's metrics, finished: Envoy tells what its listeners know (translation §10), and the agent adds what is the same for
//! all of it, the workload's own names, and what can be read out of it. What nobody here knows is `unknown`, as in Istio.

use std::fmt::Write as _;

use crate::agent::node::Surroundings;

/// What Envoy's statistics begin with that are finished here: it puts its own name before all of them.
const OURS: &str = "envoy_istio_";
const ENVOY: &str = "envoy_";
const UNKNOWN: &str = "unknown";
const TYPE: &str = "# TYPE ";

/// A Service's host goes on so after its name and namespace.
const SERVICE: &str = "svc";

/// The workload that the proxy stands beside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// Its labels of metrics, without `source_` or `destination_`.
    labels: Vec<(&'static str, String)>,
    /// Its identity in the mesh.
    principal: String,
}

impl Own {
    /// Of a pod, in a cluster, with an identity.
    #[must_use]
    pub fn new(pod: &Surroundings, workload: &str, cluster: &str, principal: &str) -> Self {
        let label = |names: &[&str]| names.iter().find_map(|name| pod.labels.get(*name)).map(String::as_str);
        let variable = |name| Some(pod.variable(name)).filter(|value| !value.is_empty());
        let name = variable("CANONICAL_SERVICE")
            .or_else(|| label(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]))
            .unwrap_or(workload);
        let revision = variable("CANONICAL_REVISION")
            .or_else(|| label(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]))
            .unwrap_or("latest");
        let labels = [
            ("workload", workload),
            ("workload_namespace", pod.variable("POD_NAMESPACE")),
            ("app", label(&["app"]).unwrap_or_default()),
            ("version", label(&["version"]).unwrap_or_default()),
            ("canonical_service", name),
            ("canonical_revision", revision),
            ("cluster", cluster),
        ];
        let labels = labels.map(|(key, value)| (key, known(value).to_owned())).to_vec();
        Self { labels, principal: principal.to_owned() }
    }
}

/// Envoy's page with Istio's metrics finished; all others stay as they are.
pub(super) fn finish(page: &str, own: &Own) -> String {
    let mut made = String::with_capacity(page.len());
    for line in page.lines() {
        match finished(line, own) {
            Some(line) => made.push_str(&line),
            None => made.push_str(line),
        }
        made.push('\n');
    }
    made
}

fn finished(line: &str, own: &Own) -> Option<String> {
    if let Some(rest) = line.strip_prefix(TYPE) {
        return rest.starts_with(OURS).then(|| format!("{TYPE}{}", &rest[ENVOY.len()..]));
    }
    if !line.starts_with(OURS) {
        return None;
    }
    let (name, rest) = line[ENVOY.len()..].split_once('{')?;
    // No value of a number has a brace.
    let (labels, value) = rest.rsplit_once('}')?;
    let given = Given(parse(labels)?);
    let mut line = format!("{name}{{");
    let mut add = |key: &str, value: &str| {
        let comma = if line.ends_with('{') { "" } else { "," };
        // A String takes whatever is written.
        let _infallible = write!(line, "{comma}{key}=\"{value}\"");
    };
    given.all(name, own, &mut add);
    Some(line + "}" + value)
}

/// The labels of a sample, their values as they are escaped.
fn parse(mut text: &str) -> Option<Vec<(&str, &str)>> {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (key, rest) = text.split_once("=\"")?;
        let end = end_of_value(rest)?;
        labels.push((key, &rest[..end]));
        text = rest[end + 1..].strip_prefix(',').unwrap_or(&rest[end + 1..]);
    }
    Some(labels)
}

/// Where the quotation mark is that is not escaped.
fn end_of_value(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|byte| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    })
}

fn known(value: &str) -> &str {
    if value.is_empty() { UNKNOWN } else { value }
}

/// What Envoy says.
struct Given<'a>(Vec<(&'a str, &'a str)>);

/// A service as metrics name it.
struct Service<'a> {
    host: &'a str,
    name: &'a str,
    namespace: &'a str,
}

impl<'a> Given<'a> {
    fn get(&self, key: &str) -> &'a str {
        self.0.iter().find(|(k, _)| *k == key).map(|(_, value)| *value).unwrap_or_default()
    }

    /// All labels of a metric, by Istio's names.
    fn all(&self, name: &str, own: &Own, add: &mut impl FnMut(&str, &str)) {
        let is_source = self.get("reporter") == "source";
        add("reporter", self.get("reporter"));
        let (here, there) = if is_source { ("source", "destination") } else { ("destination", "source") };
        own.labels.iter().for_each(|(key, value)| add(&format!("{here}_{key}"), value));
        let peer = self.get(if is_source { "destination_principal" } else { "source_principal" });
        let workload = self.get("upstream_workload");
        for (key, value) in other(workload, peer) {
            add(&format!("{there}_{key}"), known(value));
        }
        // Who has seen the other's certificate has shown its own.
        let own_principal = if peer.is_empty() { UNKNOWN } else { &own.principal };
        add(&format!("{here}_principal"), own_principal);
        add(&format!("{there}_principal"), known(peer));
        let service = self.service(is_source);
        add("destination_service", known(service.host));
        add("destination_service_name", known(service.name));
        add("destination_service_namespace", known(service.namespace));
        self.of_protocol(name, add);
        add("response_flags", self.get("response_flags"));
        let policy = match (is_source, peer.is_empty()) {
            (true, _) => UNKNOWN,
            (false, true) => "none",
            (false, false) => "mutual_tls",
        };
        add("connection_security_policy", policy);
        // Of a histogram's bucket.
        if !self.get("le").is_empty() {
            add("le", self.get("le"));
        }
    }

    fn of_protocol(&self, name: &str, add: &mut impl FnMut(&str, &str)) {
        if name.starts_with("istio_tcp_") {
            return add("request_protocol", "tcp");
        }
        let status = self.get("grpc_response_status");
        add("request_protocol", if status.is_empty() { "http" } else { "grpc" });
        add("response_code", self.get("response_code"));
        add("grpc_response_status", status);
    }

    /// Inbound clusters say it; the names of outbound ones have its host.
    fn service(&self, is_source: bool) -> Service<'a> {
        if !is_source {
            let mut parts = self.get("upstream_service").split(';');
            let mut next = || parts.next().unwrap_or_default();
            return Service { host: next(), name: next(), namespace: next() };
        }
        let cluster = self.get("upstream_cluster");
        let Some(host) = cluster.strip_prefix("outbound|").and_then(|rest| rest.splitn(3, '|').nth(2)) else {
            // PassthroughCluster and BlackHoleCluster: where to is not known, and how is worth knowing.
            return Service { host: "", name: cluster, namespace: "" };
        };
        let mut parts = host.split('.');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(name), Some(namespace), Some(SERVICE)) => Service { host, name, namespace },
            // Of other hosts, their own name; in which namespace their object is the name does not tell.
            _ => Service { host, name: host, namespace: "" },
        }
    }
}

/// The labels of the other side's workload: `name;namespace;canonical name;canonical revision;cluster` of an endpoint, or
/// what its identity tells.
fn other<'a>(workload: &'a str, principal: &'a str) -> [(&'static str, &'a str); 7] {
    let mut parts = workload.split(';');
    let mut next = || parts.next().unwrap_or_default();
    let [name, namespace, service, revision, cluster] = [next(), next(), next(), next(), next()];
    // Translation leaves this one out.
    let revision = if revision.is_empty() && !service.is_empty() { "latest" } else { revision };
    let of_identity = principal.split_once("/ns/").and_then(|(_, rest)| rest.split('/').next()).unwrap_or_default();
    [
        ("workload", name),
        ("workload_namespace", if namespace.is_empty() { of_identity } else { namespace }),
        ("app", ""),
        ("version", ""),
        ("canonical_service", service),
        ("canonical_revision", revision),
        ("cluster", cluster),
    ]
}

#[cfg(test)]
mod tests;
