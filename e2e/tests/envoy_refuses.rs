//! What Envoy alone can judge: it is refused by a real Envoy, told of the object it came from, and hurts nothing else.

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{PATIENCE, Request, Scene, Signal, Upstream, eventually, route_all, service};

/// A local rate limit for gateways. Envoy takes no interval below 50 ms, which its descriptors do not tell.
fn rate_limit(name: &str, interval: &str) -> String {
    format!(
        r#"---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {{name: {name}, namespace: default}}
spec:
  workloadSelector: {{labels: {{istio: ingressgateway}}}}
  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: GATEWAY
      listener: {{filterChain: {{filter: {{name: envoy.filters.network.http_connection_manager}}}}}}
    patch:
      operation: INSERT_FIRST
      value:
        name: limit-{name}
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
          stat_prefix: {name}
          token_bucket: {{max_tokens: 1000, tokens_per_fill: 1000, fill_interval: {interval}}}
"#
    )
}

fn request(host: &str) -> Request {
    Request::get("/").host(host)
}

/// The problems that exist now: objects and reasons.
async fn problems(scene: &Scene) -> Result<Vec<(String, String)>> {
    let page = scene.mizzen.json("/debug/problems").await?;
    let all = page.as_array().context("a list")?;
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    Ok(all.iter().map(|p| (text(&p["object"]), text(&p["reason"]))).collect())
}

/// Waits until exactly this EnvoyFilter has the problem that its listener is refused.
async fn refused(scene: &Scene, name: &str) -> Result<()> {
    let start = format!("Envoy refuses the listener \"0.0.0.0_{}\", which is made of it: ", scene.port);
    eventually("the problem of the EnvoyFilter", PATIENCE, || async {
        let found = problems(scene).await?;
        let [(object, reason)] = found.as_slice() else { anyhow::bail!("{found:?}") };
        ensure!(*object == format!("EnvoyFilter default/{name}"), "{object}");
        ensure!(reason.starts_with(&start) && reason.contains("50ms"), "{reason}");
        Ok(())
    })
    .await
}

async fn nothing_wrong(scene: &Scene) -> Result<()> {
    eventually("no problem", PATIENCE, || async {
        let found = problems(scene).await?;
        ensure!(found.is_empty(), "{found:?}");
        anyhow::Ok(())
    })
    .await
}

/// Waits until a metric has a value.
async fn metric(scene: &Scene, series: &str, value: f64) -> Result<()> {
    eventually(&format!("{series} {value}"), PATIENCE, || async {
        let now = scene.mizzen.metric(series).await?;
        ensure!(now == Some(value), "{now:?}");
        anyhow::Ok(())
    })
    .await
}

/// What `/debug/configz` tells of an object.
async fn configz(scene: &Scene, kind: &str, name: &str) -> Result<serde_json::Value> {
    let page = scene.mizzen.json("/debug/configz").await?;
    let entries = page.as_array().context("a list")?;
    let found = entries.iter().find(|e| e["kind"] == kind && e["name"] == name);
    Ok(found.context("the object is there")?["problems"].clone())
}

/// What `/debug/syncz` tells of the proxy's last answer about listeners.
async fn last_error(scene: &Scene) -> Result<String> {
    let page = scene.mizzen.json("/debug/syncz").await?;
    let state = &page[0]["resources"]["type.googleapis.com/envoy.config.listener.v3.Listener"];
    Ok(state["lastError"].as_str().with_context(|| page.to_string())?.to_owned())
}

#[tokio::test]
async fn a_refusal_is_a_problem_of_its_object_until_it_is_fixed() -> Result<()> {
    let (a, b) = (Upstream::http("a").await?, Upstream::http("b").await?);
    let objects = service("a", "http", &[&a]) + &service("b", "http", &[&b]) + &route_all("v", "v.test", "a");
    let scene = Scene::start(&(objects + &rate_limit("fine", "1s"))).await?;
    scene.answered_by("a", &request("v.test")).await?;
    nothing_wrong(&scene).await?;

    scene.config.write("filter.yaml", rate_limit("limit", "0.001s"))?;
    refused(&scene, "limit").await?;
    metric(&scene, "mizzen_config_problems{kind=\"EnvoyFilter\"}", 1.0).await?;
    metric(&scene, "mizzen_quarantined_resources{type=\"lds\"}", 1.0).await?;
    metric(&scene, "pilot_total_rejected_configs{type=\"EnvoyFilter\",name=\"default/limit\"}", 1.0).await?;
    let text = scene.mizzen.metrics().await?;
    assert!(text.contains("pilot_xds_lds_reject{node=\"gw.default\",err=\""), "{text}");
    let told = configz(&scene, "EnvoyFilter", "limit").await?;
    ensure!(told[0]["refusedBy"] == serde_json::json!(["gw.default"]), "{told}");
    ensure!(configz(&scene, "Gateway", "gateway").await? == serde_json::json!([]), "the Gateway is blamed");
    ensure!(last_error(&scene).await?.contains("50ms"), "{}", last_error(&scene).await?);
    let log = scene.mizzen.log();
    let line = log.lines().find(|l| l.contains("refused by proxy")).context("a line of the log")?;
    for part in ["EnvoyFilter default/limit", "EnvoyFilter default/fine", "Gateway default/gateway", "gw.default"] {
        ensure!(line.contains(part), "no {part} in {line}");
    }

    // Nothing else is hurt: what was there serves, and what is new arrives.
    scene.answered_by("a", &request("v.test")).await?;
    scene.config.write("more.yaml", route_all("w", "w.test", "b"))?;
    scene.answered_by("b", &request("w.test")).await?;

    scene.config.write("filter.yaml", rate_limit("limit", "1s"))?;
    nothing_wrong(&scene).await?;
    metric(&scene, "mizzen_config_problems{kind=\"EnvoyFilter\"}", 0.0).await?;
    metric(&scene, "mizzen_quarantined_resources{type=\"lds\"}", 0.0).await?;
    scene.answered_by("a", &request("v.test")).await?;
    let dump = scene.envoy.admin().config_of("ListenersConfigDump").await?;
    ensure!(dump.to_string().contains("limit-limit"), "the fixed filter is not there: {dump}");
    ensure!(last_error(&scene).await?.is_empty(), "{}", last_error(&scene).await?);
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_a_problem_only_while_somebody_refuses() -> Result<()> {
    let a = Upstream::http("a").await?;
    let mut scene = Scene::start(&(service("a", "http", &[&a]) + &route_all("v", "v.test", "a"))).await?;
    scene.config.write("filter.yaml", rate_limit("limit", "0.001s"))?;
    refused(&scene, "limit").await?;

    // Gone with its cause: the listener is again the one that Envoy has.
    scene.config.remove("filter.yaml")?;
    nothing_wrong(&scene).await?;

    scene.config.write("filter.yaml", rate_limit("limit", "0.002s"))?;
    refused(&scene, "limit").await?;
    // Gone with the proxy.
    scene.envoy.signal(Signal::Term)?;
    nothing_wrong(&scene).await
}
