use std::sync::Arc;

use axum::{
    body::{Body, to_bytes},
    http::Request,
};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::*;
use crate::{
    telemetry::metrics::Metrics,
    webhook::{Capacity, inject::Settings, request::LARGEST},
};

struct World {
    router: Router,
    metrics: Arc<Metrics>,
}

fn world(settings: Option<Result<Arc<Settings>, Arc<str>>>) -> World {
    let (metrics, capacity) = (Arc::new(Metrics::new("1")), Capacity::default());
    let (_, settings) = watch::channel(settings);
    let injector = Injector { settings, metrics: metrics.clone(), capacity: capacity.clone() };
    let validator = Validator { context: Arc::default(), metrics: metrics.clone(), capacity };
    World { router: Webhooks { injector: Some(injector), validator: Some(validator) }.router(), metrics }
}

fn working() -> World {
    world(Some(Ok(Arc::default())))
}

impl World {
    async fn send(&self, content_type: &str, body: impl Into<Body>) -> (u16, String) {
        self.send_to("/inject/cluster/c1", content_type, body).await
    }

    async fn send_to(&self, path: &str, content_type: &str, body: impl Into<Body>) -> (u16, String) {
        let request = Request::post(path).header("content-type", content_type);
        let response =
            self.router.clone().oneshot(request.body(body.into()).expect("a request")).await.expect("served");
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), LARGEST).await.expect("a body");
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// How many requests, injected, left alone, failed.
    fn counts(&self) -> [u64; 4] {
        let m = &self.metrics;
        [&m.injection_requests, &m.injections, &m.injections_skipped, &m.injection_failures].map(|c| c.get())
    }
}

fn review(object: &Value) -> String {
    let request = json!({"uid": "u", "namespace": "default", "object": object});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string()
}

#[tokio::test]
async fn pods_are_injected_left_alone_or_refused_and_counted() {
    let world = working();
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a"}]}});
    let (status, said) = world.send("application/json; charset=utf-8", review(&pod)).await;
    assert_eq!(status, 200);
    let said: Value = serde_json::from_str(&said).expect("JSON");
    let patch = said["response"]["patch"].as_str().expect("a patch");
    let patch = base64::Engine::decode(&base64::prelude::BASE64_STANDARD, patch).expect("base64");
    let patch = String::from_utf8(patch).expect("text");
    assert!(patch.contains(r#"{"name":"ISTIO_META_CLUSTER_ID","value":"c1"}"#), "{patch}");
    let on_host = json!({"spec": {"hostNetwork": true, "containers": []}});
    assert_eq!(world.send("application/json", review(&on_host)).await.0, 200);
    let wrong = json!({"metadata": {"annotations": {"inject.istio.io/templates": "x"}}, "spec": {"containers": []}});
    assert!(world.send("application/json", review(&wrong)).await.1.contains("\"allowed\":false"));
    assert_eq!(world.counts(), [3, 1, 1, 1]);
}

#[tokio::test]
async fn what_is_no_request_is_refused_with_its_code() {
    let world = working();
    let codes = [
        (world.send("text/plain", "{}").await, 415, "content type \"text/plain\": it must be application/json\n"),
        (world.send("application/json", "").await, 400, "the body is empty\n"),
        (world.send("application/json", "{").await, 400, "the body is no AdmissionReview: EOF"),
        (world.send("application/json", vec![b' '; LARGEST + 1]).await, 413, "the body has more than"),
    ];
    for ((status, said), code, message) in codes {
        assert_eq!(status, code, "{said}");
        assert!(said.starts_with(message), "{said}");
    }
    // As a stream, whose length is not told before.
    let chunks = (0..40).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; LARGEST / 32])));
    let stream = Body::from_stream(futures::stream::iter(chunks));
    assert_eq!(world.send("application/json", stream).await.0, 413);
    assert_eq!(world.counts(), [5, 0, 0, 5]);
    let get = world.router.clone().oneshot(Request::get("/inject").body(Body::empty()).expect("a request")).await;
    assert_eq!(get.expect("served").status(), 405);
}

#[tokio::test]
async fn without_settings_nothing_is_answered() {
    let pod = review(&json!({"spec": {"containers": []}}));
    assert_eq!(world(None).send("application/json", pod.clone()).await.0, 503);
    let broken = world(Some(Err("data.values: broken".into())));
    let (status, said) = broken.send("application/json", pod).await;
    assert_eq!((status, said.as_str()), (500, "the settings of the injector are wrong: data.values: broken\n"));
    let ready = broken.router.oneshot(Request::get("/ready").body(Body::empty()).expect("a request")).await;
    assert_eq!(ready.expect("served").status(), 503);
}

#[tokio::test]
async fn objects_are_judged_and_counted_also_without_an_injector() {
    let world = world(None);
    let validate = |object: &Value| {
        let resource = json!({"group": "networking.istio.io", "version": "v1", "resource": "gateways"});
        let request = json!({"uid": "u", "operation": "CREATE", "resource": resource, "object": object});
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        world.send_to("/validate", "application/json", review.to_string())
    };
    let server = json!({"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["a.example.com"]});
    let mut gateway = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "g"},
        "spec": {"selector": {"a": "b"}, "servers": [server]},
    });
    let (status, said) = validate(&gateway).await;
    assert!(status == 200 && said.contains("\"allowed\":true"), "{said}");
    gateway["spec"]["servers"] = json!([]);
    let (status, said) = validate(&gateway).await;
    assert!(status == 200 && said.contains("\"allowed\":false"), "{said}");
    for (body, status) in [("", 400), ("{", 400), ("[]", 400)] {
        assert_eq!(world.send_to("/validate", "application/json", body).await.0, status);
    }
    assert_eq!(world.send_to("/validate", "text/plain", "{}").await.0, 415);
    assert_eq!(world.send_to("/validate", "application/json", vec![b' '; LARGEST + 1]).await.0, 413);
    let text = world.metrics.text();
    let labels = "group=\"networking.istio.io\",version=\"v1\",resource=\"gateways\"";
    for line in [
        format!("galley_validation_passed{{{labels}}} 1"),
        format!("galley_validation_failed{{{labels},reason=\"invalid_resource\"}} 1"),
        "galley_validation_http_error{status=\"400\"} 3".to_owned(),
        "galley_validation_http_error{status=\"415\"} 1".to_owned(),
        "galley_validation_http_error{status=\"413\"} 1".to_owned(),
    ] {
        assert!(text.lines().any(|l| l == line), "no {line:?} in\n{text}");
    }
    let get = Request::get("/validate").body(Body::empty()).expect("a request");
    assert_eq!(world.router.clone().oneshot(get).await.expect("served").status(), 405);
    let alone = Webhooks { injector: None, ..Webhooks::default() }.router();
    let ready = alone.oneshot(Request::get("/ready").body(Body::empty()).expect("a request")).await;
    assert_eq!(ready.expect("served").status(), 200);
}
