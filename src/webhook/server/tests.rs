use axum::body::Body;
use serde_json::{Value, json};
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::*;
use crate::webhook::inject::Settings;

struct World {
    router: Router,
    metrics: Arc<Metrics>,
}

fn world(settings: Option<Result<Arc<Settings>, Arc<str>>>) -> World {
    let metrics = Arc::new(Metrics::new("1"));
    let (_, settings) = watch::channel(settings);
    World { router: router(Injector { settings, metrics: metrics.clone() }), metrics }
}

fn working() -> World {
    world(Some(Ok(Arc::default())))
}

impl World {
    async fn send(&self, content_type: &str, body: impl Into<Body>) -> (u16, String) {
        let request = Request::post("/inject/cluster/c1").header("content-type", content_type);
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
async fn a_body_that_does_not_come_is_given_up() {
    let never = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let given_up = read(never, Duration::from_millis(1)).await.expect_err("no body");
    assert_eq!(given_up.status(), 408);
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
