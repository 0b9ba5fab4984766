//! The plain HTTP servers: `/ready`, `/metrics`, `/version` and `/debug/*` (contract §1).
//!
//! Debug surfaces are for this machine only (a port-forward of `kubectl` comes from loopback) until callers have
//! identities.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Path, Query, Request, State},
    http::{HeaderValue, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::future::BoxFuture;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::version::VersionInfo;
use crate::{
    telemetry::{
        metrics::{CONTENT_TYPE, Metrics},
        problems::Problems,
        ready::Readiness,
    },
    xds::Peer,
};

/// What the debug endpoints show. Private keys are redacted by who implements it.
pub trait DebugData: Send + Sync + 'static {
    /// What each proxy was sent and acknowledged: an array; of one namespace if given (contract §1.1).
    fn syncz(&self, namespace: Option<String>) -> BoxFuture<'_, Value>;

    /// The connections: `{totalClients, clients: […]}`.
    fn adsz(&self) -> BoxFuture<'_, Value>;

    /// What a proxy has, as Envoy's admin interface writes it; `None` if no connected proxy's id contains this one.
    fn config_dump(&self, query: ConfigDump) -> BoxFuture<'_, Option<Value>>;

    /// The table of names that a proxy's agent has, `null` if it has none; `None` if no connected proxy's id contains
    /// this one.
    fn ndsz(&self, proxy_id: String) -> BoxFuture<'_, Option<Value>>;

    /// The configuration objects.
    fn configz(&self) -> BoxFuture<'_, Value>;

    /// The services.
    fn registryz(&self) -> BoxFuture<'_, Value>;

    /// The endpoints.
    fn endpointz(&self) -> BoxFuture<'_, Value>;
}

/// Which dump is asked for.
#[derive(Clone, Debug)]
pub struct ConfigDump {
    /// Part of the id of a connection.
    pub proxy_id: String,
    /// Only these types, short names or type URLs; all if empty.
    pub types: Vec<String>,
    /// Whether endpoints are included.
    pub include_endpoints: bool,
}

/// What the servers show.
#[derive(Clone)]
pub struct Context {
    /// Whether the process is ready.
    pub readiness: Readiness,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What is wrong.
    pub problems: Arc<Problems>,
    /// The rest.
    pub debug: Arc<dyn DebugData>,
}

/// The debug endpoints, sorted, without the list itself.
const NAMES: [&str; 9] =
    ["adsz", "config_dump", "configz", "connections", "endpointz", "ndsz", "problems", "registryz", "syncz"];

const NO_PROXY_ID: &str = "You must provide a proxyID in the query string\n";
const NOT_CONNECTED: &str = "Proxy not connected to this Pilot instance. It may be connected to another instance.\n";

#[derive(Deserialize)]
struct DebugQuery {
    #[serde(rename = "proxyID")]
    proxy_id: Option<String>,
    namespace: Option<String>,
    types: Option<String>,
    include_eds: Option<String>,
    pretty: Option<String>,
}

/// What `--httpAddr` serves.
pub fn http_router(context: Context) -> Router {
    Router::new().route("/ready", get(ready)).merge(debug_routes()).fallback(tidied).with_state(context)
}

/// What `--monitoringAddr` serves.
pub fn monitoring_router(context: Context) -> Router {
    let routes = Router::new().route("/metrics", get(metrics)).route("/version", get(version));
    routes.merge(debug_routes()).fallback(tidied).with_state(context)
}

/// Both on one address, which is what an empty `--monitoringAddr` means.
pub fn combined_router(context: Context) -> Router {
    let routes =
        Router::new().route("/ready", get(ready)).route("/metrics", get(metrics)).route("/version", get(version));
    routes.merge(debug_routes()).fallback(tidied).with_state(context)
}

/// gRPC beside plain HTTP, told apart by the content type (contract §1), for a server that says who the peer is by
/// [`Peer`].
pub fn with_grpc(http: Router, grpc: Router) -> Router {
    let split = move |mut request: Request, next: Next| {
        let grpc = is_grpc(&request).then(|| grpc.clone());
        async move {
            match grpc {
                Some(grpc) => grpc.oneshot(request).await.into_response(),
                None => {
                    let address = request.extensions().get::<Peer>().and_then(|peer| peer.address);
                    if let Some(address) = address {
                        request.extensions_mut().insert(ConnectInfo(address));
                    }
                    next.run(request).await
                }
            }
        }
    };
    http.layer(middleware::from_fn(split))
}

fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type.is_some_and(|text| text.starts_with(b"application/grpc"))
}

/// Serves until cancelled; requests that have begun are finished.
///
/// # Errors
/// The listener fails.
pub async fn serve(listener: TcpListener, router: Router, shutdown: CancellationToken) -> io::Result<()> {
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(shutdown.cancelled_owned()).await
}

fn debug_routes() -> Router<Context> {
    Router::new().route("/debug", get(index)).route("/debug/", get(index)).route("/debug/{name}", get(debug))
}

async fn ready(State(context): State<Context>) -> Response {
    if context.readiness.is_ready() {
        return StatusCode::OK.into_response();
    }
    let reasons = context.readiness.waiting_for().join("\n");
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready, waiting for:\n{reasons}\n")).into_response()
}

async fn metrics(State(context): State<Context>) -> Response {
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], context.metrics.text()).into_response()
}

/// istioctl asks for `//version`: as Go's servers, this one tells where it is.
async fn tidied(uri: Uri) -> Response {
    let steps: Vec<&str> = uri.path().split('/').filter(|step| !step.is_empty()).collect();
    let path = format!("/{}", steps.join("/"));
    if !uri.path().contains("//") {
        return text(StatusCode::NOT_FOUND, "404 page not found\n");
    }
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    (StatusCode::MOVED_PERMANENTLY, [(header::LOCATION, path + &query)]).into_response()
}

async fn version() -> String {
    VersionInfo::current().to_string()
}

async fn index(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response {
    if let Some(refusal) = refuse(peer) {
        return refusal;
    }
    let links: String = NAMES.iter().map(|name| format!("<li><a href=\"/debug/{name}\">{name}</a></li>\n")).collect();
    let page = format!("<!doctype html>\n<title>mizzen</title>\n<ul>\n{links}</ul>\n");
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

async fn debug(
    State(context): State<Context>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Path(name): Path<String>,
    Query(query): Query<DebugQuery>,
) -> Response {
    if let Some(refusal) = refuse(peer) {
        return refusal;
    }
    let data = &context.debug;
    let value = match name.as_str() {
        "list" => NAMES.as_slice().into(),
        "syncz" => data.syncz(query.namespace).await,
        "adsz" | "connections" => data.adsz().await,
        "configz" => data.configz().await,
        "registryz" => data.registryz().await,
        "endpointz" => data.endpointz().await,
        "problems" => context.problems.to_json(),
        "config_dump" => return config_dump(&**data, query).await,
        "ndsz" => return ndsz(&**data, query).await,
        _ => return text(StatusCode::NOT_FOUND, "404 page not found\n"),
    };
    json(&value, query.pretty.is_some())
}

async fn config_dump(data: &dyn DebugData, query: DebugQuery) -> Response {
    let Some(proxy_id) = query.proxy_id.filter(|id| !id.is_empty()) else {
        return text(StatusCode::BAD_REQUEST, NO_PROXY_ID);
    };
    let types = query.types.iter().flat_map(|types| types.split(',')).filter(|name| !name.is_empty());
    let types = types.map(str::to_owned).collect();
    let include_endpoints = query.include_eds.as_deref().is_some_and(|value| value != "false");
    about_one(data.config_dump(ConfigDump { proxy_id, types, include_endpoints }).await, query.pretty.is_some())
}

async fn ndsz(data: &dyn DebugData, query: DebugQuery) -> Response {
    let Some(proxy_id) = query.proxy_id.filter(|id| !id.is_empty()) else {
        return text(StatusCode::BAD_REQUEST, NO_PROXY_ID);
    };
    about_one(data.ndsz(proxy_id).await, query.pretty.is_some())
}

fn about_one(shown: Option<Value>, pretty: bool) -> Response {
    match shown {
        Some(shown) => json(&shown, pretty),
        None => text(StatusCode::NOT_FOUND, NOT_CONNECTED),
    }
}

/// Nobody but this machine: there are no identities yet.
fn refuse(peer: SocketAddr) -> Option<Response> {
    let is_local = peer.ip().to_canonical().is_loopback();
    (!is_local).then(|| text(StatusCode::UNAUTHORIZED, "authentication failed: only loopback is allowed\n"))
}

fn text(status: StatusCode, body: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], body).into_response()
}

fn json(value: &Value, pretty: bool) -> Response {
    let body = if pretty { format!("{value:#}\n") } else { format!("{value}\n") };
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, extract::connect_info::MockConnectInfo, http::Request};
    use futures::{FutureExt, future::ready};
    use serde_json::json;

    use super::*;

    struct Data;

    impl DebugData for Data {
        fn syncz(&self, namespace: Option<String>) -> BoxFuture<'_, Value> {
            ready(json!([{"namespace": namespace}])).boxed()
        }

        fn adsz(&self) -> BoxFuture<'_, Value> {
            ready(json!({"totalClients": 0})).boxed()
        }

        fn config_dump(&self, query: ConfigDump) -> BoxFuture<'_, Option<Value>> {
            let dump = json!({"eds": query.include_endpoints, "types": query.types});
            ready((query.proxy_id == "known").then_some(dump)).boxed()
        }

        fn ndsz(&self, proxy_id: String) -> BoxFuture<'_, Option<Value>> {
            ready((proxy_id == "known").then(|| json!({"table": {}}))).boxed()
        }

        fn configz(&self) -> BoxFuture<'_, Value> {
            ready(Value::Null).boxed()
        }

        fn registryz(&self) -> BoxFuture<'_, Value> {
            ready(Value::Null).boxed()
        }

        fn endpointz(&self) -> BoxFuture<'_, Value> {
            ready(Value::Null).boxed()
        }
    }

    fn context(readiness: Readiness) -> Context {
        let metrics = Arc::new(Metrics::new("1"));
        let problems = Arc::new(Problems::new(metrics.clone()));
        Context { readiness, metrics, problems, debug: Arc::new(Data) }
    }

    async fn ask(router: Router, peer: &str, path: &str) -> (u16, String) {
        let peer: SocketAddr = peer.parse().unwrap();
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.layer(MockConnectInfo(peer)).oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    async fn ask_locally(path: &str) -> (u16, String) {
        ask(combined_router(context(Readiness::default())), "127.0.0.1:1", path).await
    }

    #[tokio::test]
    async fn ready_is_empty_or_says_why_not() {
        let readiness = Readiness::default();
        let guard = readiness.guard("files");
        let router = http_router(context(readiness));
        let (status, body) = ask(router.clone(), "9.9.9.9:1", "/ready").await;
        assert_eq!((status, body.as_str()), (503, "not ready, waiting for:\nfiles\n"));
        guard.release();
        assert_eq!(ask(router, "9.9.9.9:1", "/ready").await, (200, String::new()));
    }

    #[tokio::test]
    async fn debug_is_for_loopback() {
        let router = monitoring_router(context(Readiness::default()));
        for path in ["/debug", "/debug/syncz", "/debug/nothing"] {
            assert_eq!(ask(router.clone(), "10.0.0.1:1", path).await.0, 401, "{path}");
        }
        assert_eq!(ask(router.clone(), "[::1]:1", "/debug/syncz?namespace=a").await.1, "[{\"namespace\":\"a\"}]\n");
        assert_eq!(ask(router, "[::ffff:127.0.0.1]:1", "/debug/list").await.0, 200);
    }

    #[tokio::test]
    async fn a_config_dump_needs_a_connected_proxy() {
        assert_eq!(ask_locally("/debug/config_dump").await, (400, NO_PROXY_ID.to_owned()));
        assert_eq!(ask_locally("/debug/config_dump?proxyID=x").await, (404, NOT_CONNECTED.to_owned()));
        let (status, body) = ask_locally("/debug/config_dump?proxyID=known&types=a,b&include_eds&pretty").await;
        assert_eq!(status, 200);
        assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), json!({"eds": true, "types": ["a", "b"]}));
        assert!(body.starts_with("{\n"), "{body}");
    }

    #[tokio::test]
    async fn a_table_of_names_is_one_proxys() {
        assert_eq!(ask_locally("/debug/ndsz").await, (400, NO_PROXY_ID.to_owned()));
        assert_eq!(ask_locally("/debug/ndsz?proxyID=x").await, (404, NOT_CONNECTED.to_owned()));
        assert_eq!(ask_locally("/debug/ndsz?proxyID=known").await, (200, "{\"table\":{}}\n".to_owned()));
    }

    #[tokio::test]
    async fn version_and_list_are_as_contracted() {
        let (_, version) = ask_locally("/version").await;
        assert_eq!(version.split('-').count(), 3, "<version>-<revision>-<status>: {version}");
        let (_, list) = ask_locally("/debug/list").await;
        assert_eq!(serde_json::from_str::<Vec<String>>(&list).unwrap(), NAMES);
        for nowhere in ["/debug/nothing", "/nothing"] {
            assert_eq!(ask_locally(nowhere).await, (404, "404 page not found\n".to_owned()));
        }
        let request = Request::get("//debug//list?pretty").body(Body::empty()).unwrap();
        let tidied = combined_router(context(Readiness::default())).oneshot(request).await.unwrap();
        let location = tidied.headers()[header::LOCATION].to_str().expect("a path");
        assert_eq!((tidied.status().as_u16(), location), (301, "/debug/list?pretty"));
    }
}
