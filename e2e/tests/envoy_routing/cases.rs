//! The cases, whatever the objects come from: see `SOURCE` of the test that includes them.

use anyhow::{Result, ensure};
use http::Method;
use mizzen_e2e::{
    PATIENCE, Request, Scene, Upstream, XdsTransport, eventually, nothing_refused, route_all, service, virtual_service,
};

use crate::SOURCE;

const A_AND_B: [&str; 2] = ["a", "b"];

/// Services `a` and `b` with an upstream each of the same name.
async fn a_and_b() -> Result<(Upstream, Upstream, String)> {
    let (a, b) = (SOURCE.upstream("a").await?, SOURCE.upstream("b").await?);
    let objects = service("a", "http", &[&a]) + &service("b", "http", &[&b]);
    Ok((a, b, objects))
}

/// A route to `a` with more fields: lines of YAML, indented by four.
fn to_a(more: &str) -> String {
    format!("  http:\n  - route: [{{destination: {{host: a}}}}]\n{more}")
}

async fn start(objects: &str) -> Result<Scene> {
    Scene::start_from(SOURCE, XdsTransport::Delta, objects).await
}

fn at(host: &str, path: &str) -> Request {
    Request::get(path).host(host)
}

const MATCHES: &str = "  http:
  - match: [{uri: {exact: /exact}}, {uri: {prefix: /prefix/}}, {uri: {regex: '/re[0-9]+'}}]
    route: [{destination: {host: b}}]
  - match: [{headers: {x-who: {exact: bee}, x-and: {prefix: o}}}]
    route: [{destination: {host: b}}]
  - match: [{method: {exact: POST}}, {queryParams: {to: {exact: b}}}]
    route: [{destination: {host: b}}]
  - match: [{uri: {prefix: /NoCase}, ignoreUriCase: true}]
    route: [{destination: {host: b}}]
  - match: [{withoutHeaders: {x-keep: {}}, uri: {prefix: /without}}]
    route: [{destination: {host: b}}]
  - route: [{destination: {host: a}}]
";

async fn matching(transport: XdsTransport) -> Result<()> {
    let (_a, _b, objects) = a_and_b().await?;
    let scene = Scene::start_from(SOURCE, transport, &(objects + &virtual_service("m", "m.test", MATCHES))).await?;
    scene.answered_by("a", &at("m.test", "/")).await?;
    for (request, upstream) in [
        (at("m.test", "/exact"), "b"),
        (at("m.test", "/exact/more"), "a"),
        (at("m.test", "/exact?q=1"), "b"),
        (at("m.test", "/prefix/more"), "b"),
        (at("m.test", "/prefix"), "a"),
        (at("m.test", "/re17"), "b"),
        (at("m.test", "/re17x"), "a"),
        (at("m.test", "/").header("x-who", "bee").header("x-and", "other"), "b"),
        (at("m.test", "/").header("x-who", "bee"), "a"),
        (at("m.test", "/").method(Method::POST), "b"),
        (at("m.test", "/?to=b"), "b"),
        (at("m.test", "/?to=c"), "a"),
        (at("m.test", "/nocase/x"), "b"),
        (at("m.test", "/without"), "b"),
        (at("m.test", "/without").header("x-keep", "1"), "a"),
    ] {
        let reply = scene.send(&request).await?;
        assert_eq!((reply.status, reply.upstream()), (200, upstream), "{request:?}");
    }
    assert_eq!(scene.send(&at("other.test", "/")).await?.status, 404);
    scene.nothing_refused().await
}

#[tokio::test]
async fn requests_are_matched_by_path_header_method_and_query() -> Result<()> {
    matching(XdsTransport::Delta).await
}

#[tokio::test]
async fn requests_are_matched_alike_over_state_of_the_world() -> Result<()> {
    matching(XdsTransport::Sotw).await
}

#[tokio::test]
async fn defaults_of_the_mesh_hold_at_once_for_objects_that_are_there() -> Result<()> {
    let (_a, _b, objects) = a_and_b().await?;
    let namespace = |name: &str| format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n");
    let mesh = |export_to: &str, attempts: u32| {
        format!(
            "{}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata:\n  mesh: |\n    \
             defaultVirtualServiceExportTo: ['{export_to}']\n    defaultHttpRetryPolicy: {{attempts: {attempts}}}\n",
            namespace("istio-system")
        )
    };
    let to_a = "  http: [{route: [{destination: {host: a.default.svc.cluster.local}}]}]\n";
    let rule = virtual_service("s", "s.test", to_a)
        .replace("namespace: default", "namespace: other")
        .replace("gateways: [gateway]", "gateways: [default/gateway]");
    let scene = start(&(objects + &namespace("other") + &rule)).await?;
    scene.answered_by("a", &at("s.test", "/")).await?;
    for (export_to, attempts, status) in [(".", 7, 404), ("*", 5, 200)] {
        scene.config.write("mesh.yaml", mesh(export_to, attempts))?;
        eventually(&format!("exported to {export_to}"), PATIENCE, || async {
            let got = scene.send(&at("s.test", "/")).await?.status;
            ensure!(got == status, "{got}");
            anyhow::Ok(())
        })
        .await?;
    }
    let retries = "/dynamic_route_configs/0/route_config/virtual_hosts/0/routes/0/route/retry_policy/num_retries";
    eventually("the new number of retries", PATIENCE, || async {
        let dump = scene.envoy.admin().config_of("RoutesConfigDump").await?;
        ensure!(dump.pointer(retries).and_then(serde_json::Value::as_u64) == Some(5), "{dump}");
        anyhow::Ok(())
    })
    .await?;
    scene.nothing_refused().await
}

#[tokio::test]
async fn hosts_are_matched_most_specific_first() -> Result<()> {
    let (_a, _b, objects) = a_and_b().await?;
    let objects = objects
        + &route_all("exact", "one.wild.test", "a")
        + &route_all("wild", "*.wild.test", "b")
        + &route_all("other", "plain.test", "a");
    let scene = start(&objects).await?;
    scene.answered_by("a", &at("one.wild.test", "/")).await?;
    scene.answered_by("b", &at("two.wild.test", "/")).await?;
    scene.answered_by("a", &at("plain.test:1234", "/")).await?;
    scene.answered_by("a", &at("ONE.wild.test", "/")).await?;
    assert_eq!(scene.send(&at("wild.test", "/")).await?.status, 404);
    scene.nothing_refused().await
}

fn weighted(a: u32, b: u32) -> String {
    let spec = format!(
        "  http: [{{route: [{{destination: {{host: a}}, weight: {a}}}, {{destination: {{host: b}}, weight: {b}}}]}}]\n"
    );
    virtual_service("w", "w.test", &spec)
}

async fn weights(transport: XdsTransport) -> Result<()> {
    let (_a, _b, objects) = a_and_b().await?;
    let scene = Scene::start_from(SOURCE, transport, &objects).await?;
    scene.config.write("w.yaml", weighted(100, 0))?;
    let request = at("w.test", "/");
    scene.answered_by("a", &request).await?;
    assert_eq!(scene.share(&request, 50, A_AND_B).await?, [50, 0]);
    scene.config.write("w.yaml", weighted(25, 75))?;
    scene.answered_by("b", &request).await?;
    // 300 are expected of 400; the standard deviation is 8.7.
    let [_, b] = scene.share(&request, 400, A_AND_B).await?;
    assert!((255..345).contains(&b), "{b} of 400");
    scene.nothing_refused().await
}

#[tokio::test]
async fn weights_are_honoured_and_shift() -> Result<()> {
    weights(XdsTransport::Delta).await
}

#[tokio::test]
async fn weights_shift_over_state_of_the_world() -> Result<()> {
    weights(XdsTransport::Sotw).await
}

const ANSWERS: &str = "  http:
  - match: [{uri: {prefix: /redirect}}]
    redirect: {uri: /there, authority: other.test, redirectCode: 302}
  - match: [{uri: {prefix: /scheme}}]
    redirect: {scheme: https, port: 8443}
  - match: [{uri: {prefix: /direct}}]
    directResponse: {status: 418, body: {string: short and stout}}
    headers: {response: {set: {x-set: direct}}}
  - match: [{uri: {prefix: /old/}}]
    rewrite: {uri: /new/, authority: inner.test}
    route: [{destination: {host: a}}]
  - match: [{uri: {prefix: /re/}}]
    rewrite: {uriRegexRewrite: {match: '/re/([a-z]+)/([a-z]+)', rewrite: '/\\2/\\1'}}
    route: [{destination: {host: a}}]
  - match: [{uri: {prefix: /headers}}]
    headers:
      request: {set: {x-set: new}, add: {x-add: more}, remove: [x-gone]}
      response: {set: {x-answer: route}, remove: [x-upstream]}
    route:
    - destination: {host: a}
      headers: {request: {add: {x-add: destination}}}
";

#[tokio::test]
async fn redirects_rewrites_direct_responses_and_headers() -> Result<()> {
    let (_a, _b, objects) = a_and_b().await?;
    let scene = start(&(objects + &virtual_service("v", "v.test", ANSWERS))).await?;
    scene.answered_by("a", &at("v.test", "/old/x")).await?;

    let reply = scene.send(&at("v.test", "/redirect/x")).await?;
    assert_eq!((reply.status, reply.header("location")), (302, Some("http://other.test/there")));
    let reply = scene.send(&at("v.test", "/scheme/x?q=1")).await?;
    assert_eq!((reply.status, reply.header("location")), (301, Some("https://v.test:8443/scheme/x?q=1")));

    let reply = scene.send(&at("v.test", "/direct")).await?;
    assert_eq!((reply.status, &*reply.text(), reply.header("x-set")), (418, "short and stout", Some("direct")));

    let echo = scene.send(&at("v.test", "/old/x?q=1")).await?.echo()?;
    assert_eq!((&*echo.path, &*echo.host), ("/new/x?q=1", "inner.test"));
    let echo = scene.send(&at("v.test", "/re/one/two")).await?.echo()?;
    assert_eq!(echo.path, "/two/one");

    let request = at("v.test", "/headers").header("x-set", "old").header("x-add", "first").header("x-gone", "1");
    let reply = scene.send(&request).await?;
    assert_eq!((reply.status, reply.header("x-answer"), reply.upstream()), (200, Some("route"), "-"));
    let headers = reply.echo()?.headers;
    assert_eq!(headers["x-set"], "new");
    let mut added: Vec<_> = headers["x-add"].split(',').collect();
    added.sort_unstable();
    assert_eq!(added, ["destination", "first", "more"]);
    assert!(!headers.contains_key("x-gone"), "{headers:?}");
    scene.nothing_refused().await
}

/// The sum of a counter of Envoy's over all clusters of services.
async fn total(scene: &Scene, counter: &str) -> Result<u64> {
    Ok(scene.envoy.admin().stats(&format!("^cluster\\.outbound.*\\.{counter}$")).await?.values().sum())
}

#[tokio::test]
async fn retries_and_timeouts() -> Result<()> {
    let (a, _b, objects) = a_and_b().await?;
    let retries = to_a("    retries: {attempts: 2, perTryTimeout: 5s, retryOn: 5xx}\n");
    let none = to_a("    retries: {attempts: 0}\n");
    let timeout = to_a("    timeout: 200ms\n");
    let objects = objects
        + &virtual_service("r", "retries.test", &retries)
        + &virtual_service("none", "none.test", &none)
        + &virtual_service("t", "timeout.test", &timeout);
    let scene = start(&objects).await?;
    scene.answered_by("a", &at("retries.test", "/")).await?;

    let tries = async |host: &str| {
        let before = a.requests();
        let reply = scene.send(&at(host, "/").header("x-echo-status", "503")).await?;
        assert_eq!(reply.status, 503);
        anyhow::Ok(a.requests() - before)
    };
    assert_eq!(tries("retries.test").await?, 3, "the request and two retries");
    assert_eq!(tries("none.test").await?, 1);

    assert_eq!(total(&scene, "upstream_rq_retry").await?, 2);
    // The upstream's own answer would be 200.
    let reply = scene.send(&at("timeout.test", "/").header("x-echo-delay-ms", "10000")).await?;
    assert_eq!((reply.status, reply.upstream()), (504, "-"));
    assert_eq!(total(&scene, "upstream_rq_timeout").await?, 1);
    let reply = scene.send(&at("retries.test", "/").header("x-echo-delay-ms", "400")).await?;
    assert_eq!(reply.status, 200, "no timeout is the default");
    assert_eq!(total(&scene, "upstream_rq_retry").await?, 2, "nothing else was tried again");
    scene.nothing_refused().await
}

#[tokio::test]
async fn faults_are_injected() -> Result<()> {
    let (a, _b, objects) = a_and_b().await?;
    let abort = "  http:
  - match: [{headers: {x-abort: {exact: '1'}}}]
    fault: {abort: {httpStatus: 555, percentage: {value: 100}}}
    route: [{destination: {host: a}}]
  - match: [{headers: {x-delay: {exact: '1'}}}]
    fault: {delay: {fixedDelay: 300ms, percentage: {value: 100}}}
    route: [{destination: {host: a}}]
  - route: [{destination: {host: a}}]
";
    let scene = start(&(objects + &virtual_service("f", "f.test", abort))).await?;
    scene.answered_by("a", &at("f.test", "/")).await?;
    let before = a.requests();
    assert_eq!(scene.send(&at("f.test", "/").header("x-abort", "1")).await?.status, 555);
    assert_eq!(a.requests(), before);
    assert_eq!(scene.send(&at("f.test", "/").header("x-delay", "1")).await?.status, 200);
    // Envoy's word, not a clock of ours; how long the delay is stands in the golden files.
    let injected = scene.envoy.admin().stats("\\.fault\\..*_injected$").await?;
    let of = |what: &str| injected.iter().filter(|(name, _)| name.ends_with(what)).map(|(_, n)| n).sum::<u64>();
    assert_eq!((of("delays_injected"), of("aborts_injected")), (1, 1), "{injected:?}");
    scene.nothing_refused().await
}

#[tokio::test]
async fn requests_are_mirrored() -> Result<()> {
    let (_a, b, objects) = a_and_b().await?;
    let all = to_a("    mirror: {host: b}\n");
    let none = to_a("    mirror: {host: b}\n    mirrorPercentage: {value: 0}\n");
    let objects =
        objects + &virtual_service("m", "mirror.test", &all) + &virtual_service("none", "unmirrored.test", &none);
    let scene = start(&objects).await?;
    scene.answered_by("a", &at("unmirrored.test", "/")).await?;
    assert_eq!(b.requests(), 0);
    scene.answered_by("a", &at("mirror.test", "/")).await?;
    eventually("the mirrored request", PATIENCE, || async {
        ensure!(b.requests() > 0, "none came");
        anyhow::Ok(())
    })
    .await?;
    scene.nothing_refused().await
}

#[tokio::test]
async fn cors_preflights_are_answered() -> Result<()> {
    let (a, _b, objects) = a_and_b().await?;
    let cors = to_a(
        "    corsPolicy: {allowOrigins: [{exact: 'https://app.test'}], allowMethods: [GET, PUT], \
         allowHeaders: [x-one], exposeHeaders: [x-two], maxAge: 1h, allowCredentials: true}\n",
    );
    let scene = start(&(objects + &virtual_service("c", "c.test", &cors))).await?;
    scene.answered_by("a", &at("c.test", "/")).await?;
    let before = a.requests();
    let preflight = |origin: &str| {
        let request = at("c.test", "/").method(Method::OPTIONS).header("origin", origin);
        request.header("access-control-request-method", "PUT")
    };
    let reply = scene.send(&preflight("https://app.test")).await?;
    assert_eq!((reply.status, a.requests() - before), (200, 0));
    let header = |name: &str| reply.header(&format!("access-control-{name}"));
    assert_eq!(header("allow-origin"), Some("https://app.test"));
    assert_eq!(header("allow-methods"), Some("GET,PUT"));
    assert_eq!(header("allow-headers"), Some("x-one"));
    assert_eq!(header("max-age"), Some("3600"));
    assert_eq!(header("allow-credentials"), Some("true"));
    let reply = scene.send(&at("c.test", "/").header("origin", "https://app.test")).await?;
    assert_eq!(reply.header("access-control-expose-headers"), Some("x-two"));
    let reply = scene.send(&preflight("https://evil.test")).await?;
    assert_eq!(reply.header("access-control-allow-origin"), None);
    nothing_refused(&scene.envoy, &scene.mizzen).await
}
