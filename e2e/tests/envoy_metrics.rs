//! The metrics that dashboards ask for, as a control plane with a gateway has them (contract §8).

use anyhow::{Result, ensure};
use mizzen_e2e::{PATIENCE, Request, Scene, Upstream, eventually, route_all, service};

/// Series that have a value above zero after a gateway was served and objects came, changed and went.
const COUNTED: [&str; 30] = [
    "istio_build{component=\"pilot\",tag=",
    "pilot_info{version=",
    "istiod_uptime_seconds ",
    "process_resident_memory_bytes ",
    "process_cpu_seconds_total ",
    "pilot_xds{version=",
    "pilot_services ",
    "pilot_virt_services ",
    "pilot_xds_pushes{type=\"cds\"} ",
    "pilot_xds_pushes{type=\"eds\"} ",
    "pilot_xds_pushes{type=\"lds\"} ",
    "pilot_xds_pushes{type=\"rds\"} ",
    "mizzen_xds_resources{type=\"rds\"} ",
    "pilot_xds_push_time_count{type=\"cds\"} ",
    "pilot_xds_config_size_bytes_count{type=\"type.googleapis.com/envoy.config.route.v3.RouteConfiguration\"} ",
    "pilot_proxy_convergence_time_count ",
    "pilot_push_triggers{type=\"config\"} ",
    "pilot_push_triggers{type=\"service\"} ",
    "pilot_push_triggers{type=\"endpoint\"} ",
    "pilot_inbound_updates{type=\"config\"} ",
    "pilot_inbound_updates{type=\"svc\"} ",
    "pilot_inbound_updates{type=\"svcdelete\"} ",
    "pilot_inbound_updates{type=\"eds\"} ",
    "pilot_k8s_reg_events{type=\"Service\",event=\"add\"} ",
    "pilot_k8s_reg_events{type=\"Service\",event=\"delete\"} ",
    "pilot_k8s_cfg_events{type=\"VirtualService\",event=\"add\"} ",
    "pilot_k8s_cfg_events{type=\"VirtualService\",event=\"update\"} ",
    "pilot_k8s_cfg_events{type=\"Gateway\",event=\"add\"} ",
    "pilot_total_rejected_configs{type=\"VirtualService\",name=\"default/bad\"} ",
    "mizzen_config_problem{kind=\"VirtualService\",namespace=\"default\",name=\"bad\",field=\"spec.http[0].route[0].destination\",reason=",
];

/// Those that are there, and count nothing when all is well.
const DECLARED: [&str; 9] = [
    "pilot_total_xds_rejects counter",
    "pilot_total_xds_internal_errors counter",
    "pilot_xds_expired_nonce counter",
    "pilot_sds_certificate_errors_total counter",
    "pilot_xds_push_time histogram",
    "pilot_proxy_convergence_time histogram",
    "mizzen_barrier_timeouts counter",
    "mizzen_held_removals gauge",
    "mizzen_quarantined_resources gauge",
];

#[tokio::test]
async fn what_dashboards_ask_for_is_counted_under_its_name() -> Result<()> {
    let (a, request) = (Upstream::http("a").await?, Request::get("/").host("v.test"));
    let scene = Scene::start(&service("a", "http", &[&a])).await?;
    scene.config.write("v.yaml", route_all("v", "v.test", "a"))?;
    scene.answered_by("a", &request).await?;
    scene.config.write("v.yaml", route_all("v", "w.test", "a"))?;
    scene.answered_by("a", &Request::get("/").host("w.test")).await?;
    scene.config.write("more.yaml", service("b", "http", &[&a]) + &route_all("bad", "bad.test", "nowhere"))?;
    eventually("the metrics", PATIENCE, || async {
        let text = scene.mizzen.metrics().await?;
        if text.contains("kind=\"VirtualService\"") {
            scene.config.write("more.yaml", route_all("bad", "bad.test", "nowhere"))?;
        }
        let counts = |series: &&str| {
            let mut values = text.lines().filter(|l| l.starts_with(*series)).filter_map(|l| l.rsplit_once(' '));
            values.any(|(_, value)| value.parse::<f64>().is_ok_and(|v| v > 0.0))
        };
        let missing: Vec<_> = COUNTED.iter().filter(|s| !counts(s)).collect();
        ensure!(missing.is_empty(), "nothing is counted for {missing:#?} in\n{text}");
        let declared = |series: &&str| text.lines().any(|l| l.strip_prefix("# TYPE ") == Some(series));
        let missing: Vec<_> = DECLARED.iter().filter(|s| !declared(s)).collect();
        ensure!(missing.is_empty(), "not there: {missing:#?} in\n{text}");
        anyhow::Ok(())
    })
    .await
}
