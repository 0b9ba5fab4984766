//! What VirtualServices say, done by a real gateway, with objects from files. `cluster_routing` is the same with
//! objects from an API server.

mod cases;

use anyhow::Result;
use mizzen_e2e::{Request, Scene, Source, Upstream, service, virtual_service};

const SOURCE: Source = Source::Files;

fn at(path: &str) -> Request {
    Request::get(path).host("s.test")
}

#[tokio::test]
async fn subsets_and_outlier_policies_of_a_destination_rule() -> Result<()> {
    let (v1, v2) = (Upstream::http("v1").await?, Upstream::http("v2").await?);
    let pod = |n: u32, upstream: &Upstream| {
        // Subsets go by the labels of Pods, which endpoints name.
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: s-{n}, namespace: default, labels: {{app: s, v: v{n}}}}}\n\
             spec: {{containers: []}}\nstatus: {{phase: Running, podIP: 127.0.0.1, podIPs: [{{ip: 127.0.0.1}}]}}\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s-{n}, namespace: default, \
             labels: {{kubernetes.io/service-name: s}}}}\naddressType: IPv4\n\
             ports: [{{name: http, port: {}, protocol: TCP}}]\nendpoints: [{{addresses: ['127.0.0.1'], \
             conditions: {{ready: true}}, targetRef: {{kind: Pod, name: s-{n}, namespace: default}}}}]\n",
            upstream.port()
        )
    };
    let rule = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\n\
                metadata: {name: s, namespace: default}\nspec:\n  host: s\n  \
                trafficPolicy: {outlierDetection: {consecutive5xxErrors: 50}}\n  \
                subsets: [{name: one, labels: {v: v1}}, {name: two, labels: {v: v2}}]\n";
    let spec = "  http:
  - match: [{uri: {prefix: /one}}]
    route: [{destination: {host: s, subset: one}}]
  - match: [{uri: {prefix: /two}}]
    route: [{destination: {host: s, subset: two}}]
  - match: [{uri: {prefix: /none}}]
    route: [{destination: {host: s, subset: none}}]
  - route: [{destination: {host: s}}]
";
    let objects =
        service("s", "http", &[]) + &pod(1, &v1) + &pod(2, &v2) + rule + &virtual_service("s", "s.test", spec);
    let scene = Scene::start(&objects).await?;
    scene.answered_by("v1", &at("/one")).await?;
    scene.answered_by("v2", &at("/two")).await?;
    assert_eq!(scene.share(&at("/one"), 20, ["v1", "v2"]).await?, [20, 0]);
    assert_eq!(scene.share(&at("/two"), 20, ["v1", "v2"]).await?, [0, 20]);
    let [one, two] = scene.share(&at("/"), 40, ["v1", "v2"]).await?;
    assert!(one > 0 && two > 0, "{one} and {two}");
    assert_eq!(scene.send(&at("/none")).await?.status, 503, "a subset that does not exist");
    scene.nothing_refused().await
}
