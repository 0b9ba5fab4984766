//! From a real API server to a real Envoy: what is created, changed and deleted, and what must not matter.

mod world;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, api::PostParams};
use mizzen_e2e::{ApiServer, Client, Load, Mizzen, MizzenOptions, PATIENCE, Request, eventually};
use serde_json::json;

use self::world::{World, crds, endpoints, gateway, server_with_crds, service, upstream, virtual_service};

/// How many Services are created at once.
const MANY: usize = 1_000;

/// A watcher that was refused asks again after at most 30 s.
const LONG_PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test]
async fn what_is_changed_in_the_cluster_reaches_envoy() -> Result<()> {
    let (one, two) = (upstream("one").await?, upstream("two").await?);
    let server = server_with_crds().await?;
    server.apply(&[service("a"), endpoints("a", &one), service("b"), endpoints("b", &two)].join("---\n"))?;
    let world = World::start(&server).await?;
    server.apply(&[gateway(world.port), virtual_service("all", "/", "a")].join("---\n"))?;
    world.answers("/", "one").await?;

    server.apply(&virtual_service("all", "/", "b"))?;
    world.answers("/", "two").await?;

    server.apply(&endpoints("b", &one))?;
    world.answers("/", "one").await?;

    assert_eq!(world.envoy.access_log(), "", "an access log that nobody asked for");
    server.apply(
        "{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system}, \
         data: {mesh: 'accessLogFile: /dev/stdout'}}",
    )?;
    eventually("the access log", PATIENCE, || async {
        Client::http(world.address()).send(&Request::get("/logged")).await?;
        ensure!(world.envoy.access_log().contains("GET /logged"), "{:?}", world.envoy.access_log());
        Ok::<_, anyhow::Error>(())
    })
    .await?;

    server.kubectl(&["delete", "virtualservice", "all"])?;
    world.status("/", 404).await?;
    server.kubectl(&["delete", "gateway.networking.istio.io", "gateway"])?;
    eventually("the listener to be gone", PATIENCE, || async {
        let answer = Client::http(world.address()).send(&Request::get("/")).await;
        ensure!(answer.is_err(), "it still answers");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

#[tokio::test]
async fn nothing_is_lost_while_the_api_server_is_away_and_after_its_history_was_compacted() -> Result<()> {
    let (one, two) = (upstream("one").await?, upstream("two").await?);
    let mut server = server_with_crds().await?;
    server.apply(&[service("a"), endpoints("a", &one), virtual_service("all", "/", "a")].join("---\n"))?;
    let world = World::start(&server).await?;
    server.apply(&gateway(world.port))?;
    world.answers("/", "one").await?;
    let load = Load::start(&Client::http(world.address()), &Request::get("/"), 2);

    server.kill();
    load.more(20).await?;
    // What the watches ask for when they come back is gone: they list again.
    server.compact().await?;
    server.start_again().await?;
    assert_eq!(world.mizzen.get("/ready").await?.status, 200, "not ready because the API server was away");
    load.more(20).await?;
    server
        .apply(&[service("late"), endpoints("late", &two), virtual_service("late", "/late", "late")].join("---\n"))?;
    let waited = eventually("a change after the restart", LONG_PATIENCE, || world.answer("/late", "two"));
    waited.await.with_context(|| world.mizzen.log())?;
    let removed = world.envoy.admin().stat("cluster_manager.cluster_removed").await?;
    assert_eq!(removed, 0, "clusters shrank");
    load.stop_unharmed().await.map(drop)
}

#[tokio::test]
async fn a_thousand_services_created_at_once_reach_envoy() -> Result<()> {
    let server = server_with_crds().await?;
    let world = World::start(&server).await?;
    let services: Api<Service> = Api::namespaced(server.client().await?, "default");
    let create = |i: usize| {
        let services = services.clone();
        async move {
            let service = serde_json::from_value(json!({
                "metadata": {"name": format!("many-{i}")},
                "spec": {"ports": [{"name": "http", "port": 80}]},
            }))?;
            services.create(&PostParams::default(), &service).await?;
            Ok::<_, anyhow::Error>(())
        }
    };
    futures::stream::iter(0..MANY).map(create).buffer_unordered(32).try_collect::<()>().await?;
    eventually("a cluster of each", PATIENCE, || async {
        let page = world.envoy.admin().get("/clusters").await?;
        let known =
            page.lines().filter(|l| l.starts_with("outbound|80||many-") && l.contains("::observability_name::"));
        let known = known.count();
        ensure!(known == MANY, "{known} of {MANY}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    world.envoy.wait_warm(PATIENCE).await
}

#[tokio::test]
async fn an_absent_crd_is_an_empty_kind_and_a_broken_object_hurts_only_itself() -> Result<()> {
    let one = upstream("one").await?;
    let server = ApiServer::start().await?;
    // Ready without any CRD.
    let world = World::start(&server).await?;
    server.apply(LOOSE_CRD)?;
    server.apply_path(&crds().join("networking.istio.io_gateways.yaml"))?;
    server.kubectl(&["wait", "--for=condition=Established", "--all", "crd", "--timeout=60s"])?;
    let broken = virtual_service("broken", "/broken", "a").replace("hosts: ['*']", "hosts: 5");
    server.apply(
        &[service("a"), endpoints("a", &one), gateway(world.port), broken, virtual_service("good", "/good", "a")]
            .join("---\n"),
    )?;
    world.answers("/good", "one").await?;
    let told = "VirtualService default/broken: spec.hosts: invalid type: integer `5`, expected a sequence [MZ0004]";
    world.problems(&[told]).await?;
    let series = "mizzen_config_problems{kind=\"VirtualService\"}";
    assert_eq!(world.mizzen.metric(series).await?, Some(1.0));
    // Its watch goes on.
    server.apply(&virtual_service("broken", "/broken", "a"))?;
    world.answers("/broken", "one").await?;
    world.problems(&[]).await?;
    assert_eq!(world.mizzen.metric(series).await?, Some(0.0));
    let log = world.mizzen.log();
    for line in [format!("problem: {told}"), format!("problem gone: {told}")] {
        assert_eq!(log.matches(&line).count(), 1, "{line}\n{log}");
    }
    server.kubectl(&["delete", "crd", "virtualservices.networking.istio.io"])?;
    world.status("/good", 404).await
}

/// VirtualServices that may hold anything.
const LOOSE_CRD: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: virtualservices.networking.istio.io}
spec:
  group: networking.istio.io
  names: {kind: VirtualService, listKind: VirtualServiceList, plural: virtualservices, singular: virtualservice}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

#[tokio::test]
async fn a_missing_rbac_rule_is_named_and_what_it_allows_is_read_once_it_is_there() -> Result<()> {
    let server = server_with_crds().await?;
    let mut mizzen = Mizzen::launch(MizzenOptions::cluster(&server.kubeconfig_of_user()?))?;
    let wanted = [
        "forbidden: a rule must allow verb \"list\" on resource \"services\" of API group \"\"",
        "verb \"list\" on resource \"virtualservices\" of API group \"networking.istio.io\"",
        "verb \"list\" on resource \"endpointslices\" of API group \"discovery.k8s.io\"",
    ];
    eventually("the rules to be named", PATIENCE, || async {
        let reply = mizzen.get("/ready").await?;
        ensure!(reply.status == 503, "{} {}", reply.status, reply.text());
        let text = reply.text();
        wanted.iter().try_for_each(|rule| {
            ensure!(text.contains(rule), "{rule} is not in: {text}");
            Ok(())
        })
    })
    .await?;
    server.apply(
        "{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRole, metadata: {name: reader}, \
         rules: [{apiGroups: ['*'], resources: ['*'], verbs: [get, list, watch]}, \
         {apiGroups: [''], resources: [secrets, configmaps], verbs: [create, update]}]}\n---\n\
         {apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {name: reader}, \
         roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}, \
         subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: user}]}",
    )?;
    mizzen.wait_ready(LONG_PATIENCE).await
}
