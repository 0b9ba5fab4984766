//! How what Envoy has differs from what the control plane has sent it.

use std::collections::BTreeMap;

use serde_json::Value;
use similar::TextDiff;

use super::dump::Held;

/// Lines around a difference.
const CONTEXT: usize = 7;

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) text: String,
    pub(super) differs: bool,
}

/// Compares what a replica has sent with what Envoy has.
pub(super) fn compare(sent: &Held, has: &Held, replica: &str) -> Compared {
    let sections = [
        ("Clusters", &sent.clusters, &has.clusters),
        ("Listeners", &sent.listeners, &has.listeners),
        ("Routes", &sent.routes, &has.routes),
    ];
    let mut compared = Compared { text: String::new(), differs: false };
    for (what, sent, has) in sections {
        if sent == has {
            compared.text += &format!("{what} match\n");
        } else {
            compared.differs = true;
            compared.text += &unified(what, &lines(sent), &lines(has), replica);
        }
    }
    compared
}

fn lines(resources: &BTreeMap<String, Value>) -> String {
    resources.values().map(|resource| format!("{resource:#}\n")).collect()
}

fn unified(what: &str, sent: &str, has: &str, replica: &str) -> String {
    let diff = TextDiff::from_lines(sent, has);
    let (old, new) = (format!("{replica} {what}"), format!("Envoy {what}"));
    diff.unified_diff().context_radius(CONTEXT).header(&old, &new).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::dump::held, *};

    fn dump(timeout: &str, hosts: &[&str]) -> Held {
        let hosts: Vec<Value> = hosts.iter().map(|name| json!({"name": name})).collect();
        held(&json!({"configs": [
            {"dynamic_active_clusters": [{"cluster": {"name": "c", "connect_timeout": timeout}}]},
            {"dynamic_listeners": [{"name": "l", "active_state": {"listener": {"name": "l"}}}]},
            {"dynamic_route_configs": [{"route_config": {"virtual_hosts": hosts, "name": "80"}}]},
        ]}))
    }

    #[test]
    fn hosts_that_came_one_by_one_are_the_same() {
        let (sent, has) = (dump("1s", &["a:80", "b:80"]), dump("1s", &["80/b:80", "80/a:80"]));
        let compared = compare(&sent, &has, "istiod-1");
        assert_eq!((&*compared.text, compared.differs), ("Clusters match\nListeners match\nRoutes match\n", false));
    }

    #[test]
    fn what_differs_is_shown() {
        let compared = compare(&dump("1s", &["a:80"]), &dump("2s", &["a:80"]), "istiod-1");
        let expected = "\
--- istiod-1 Clusters
+++ Envoy Clusters
@@ -1,4 +1,4 @@
 {
-  \"connect_timeout\": \"1s\",
+  \"connect_timeout\": \"2s\",
   \"name\": \"c\"
 }
Listeners match
Routes match
";
        assert_eq!((&*compared.text, compared.differs), (expected, true));
    }
}
