//! `mizzen analyze` on a real API server, and on files laid over it.

use std::path::Path;

use anyhow::Result;
use mizzen_e2e::{ApiServer, offline_fixture, run_offline};

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {selector: {app: web}, ports: [{name: http, port: 80}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: default}
spec: {hosts: [web], http: [{route: [{destination: {host: web, subset: v1}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: elsewhere, namespace: istio-system}
spec: {host: nobody}
";

const RULE: &str = "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web, namespace: default}
spec: {host: web, subsets: [{name: v1}]}
";

#[tokio::test]
async fn a_cluster_is_analysed_with_files_and_without() -> Result<()> {
    let server = ApiServer::start().await?;
    server.apply_path(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../crds"))?;
    server.kubectl(&["wait", "--for=condition=Established", "--all", "crd", "--timeout=60s"])?;
    server.apply(OBJECTS)?;
    let kubeconfig = server.kubeconfig().display().to_string();
    let analyze = |more: &[&str], input: &str| {
        let args = [&["analyze", "--kubeconfig", &kubeconfig, "--fail-on", "warning"], more].concat();
        run_offline(&offline_fixture("analyze"), &args, input)
    };
    let missing = "warning: VirtualService default/web: spec.http[0].route[0].destination: ";

    // The namespace of the context is `default`.
    let own = analyze(&[], "")?;
    assert!(own.code == 1 && own.output.contains(missing) && !own.output.contains("nobody"), "{own:?}");
    let all = analyze(&["--all-namespaces"], "")?;
    assert!(all.output.contains(missing) && all.output.contains("DestinationRule istio-system/elsewhere"), "{all:?}");

    // With the file the cluster would be right, and with another Service it would be wrong in another way.
    let with_rule = analyze(&["-f", "-", "-n", "default", "--severity", "warning"], RULE)?;
    // Below the threshold: there are no Pods for the Service.
    assert!(with_rule.code == 0 && with_rule.output.starts_with("1 info in "), "{with_rule:?}");
    let other_port = OBJECTS.split("---").next().unwrap_or_default().replace("port: 80", "port: 81");
    let vs = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: web, namespace: default}\n\
              spec: {hosts: [web], http: [{route: [{destination: {host: web, port: {number: 80}}}]}]}\n";
    let over = analyze(&["-f", "-", "-n", "default"], &format!("{other_port}{vs}"))?;
    let place = format!("-:10: {missing}");
    assert!(over.code == 1 && over.output.contains(&place) && over.output.contains("no port 80"), "{over:?}");
    Ok(())
}
