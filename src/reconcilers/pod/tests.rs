use super::*;

fn converted(metadata: &str, status: &str) -> PodFacts {
    let yaml = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: web-1, namespace: shop{metadata}}}\n\
         spec: {{nodeName: n1, serviceAccountName: sa, containers: [{{name: c, ports: [{{name: http, containerPort: 8080}}]}}]}}\n\
         status: {status}"
    );
    let (facts, problems) = convert(&serde_yaml_ng::from_str(&yaml).expect("a Pod"));
    assert_eq!(problems, Vec::new());
    facts
}

const RUNNING: &str = "{phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}, {ip: 'fd00::1'}], conditions: [{type: Ready, status: 'True'}]}";

#[test]
fn facts_of_a_running_pod() {
    let facts = converted("", RUNNING);
    assert_eq!((&*facts.service_account, &*facts.node, facts.ips.len(), facts.ready), ("sa", "n1", 2, true));
    assert_eq!(facts.ports.get("http"), Some(&8080));
    assert_eq!(&*facts.workload, "web-1");
    assert!(!converted(", deletionTimestamp: '2020-01-01T00:00:00Z'", RUNNING).ready);
    assert!(!converted("", "{phase: Pending, podIP: 10.0.0.1}").ready);
}

#[test]
fn the_workload_is_what_users_made() {
    let owned = |kind: &str, name: &str| {
        let owner = format!("{{apiVersion: v1, kind: {kind}, name: {name}, uid: u, controller: true}}");
        converted(&format!(", labels: {{pod-template-hash: abc}}, ownerReferences: [{owner}]"), RUNNING).workload
    };
    assert_eq!(&*owned("ReplicaSet", "web-abc"), "web");
    assert_eq!(&*owned("ReplicaSet", "web-other"), "web-other");
    assert_eq!(&*owned("Job", "backup-27000000"), "backup");
    assert_eq!(&*owned("StatefulSet", "db"), "db");
}
