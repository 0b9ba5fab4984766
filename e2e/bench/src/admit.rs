//! How fast the webhook answers that the API server asks about configuration.
//!
//! The loop is open: each request has its time, at which it is sent whatever became of those before it, and from which its
//! latency counts. So a pause of the server costs all that should have been answered during it.

mod server;

use std::{fmt, io::Write as _, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use clap::Parser;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use mizzen_e2e::Authority;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_rustls::TlsConnector;

use self::server::Server;

/// The name that the server's certificate has.
const HOST: &str = "localhost";
/// Before it is measured.
const WARM_UP: Duration = Duration::from_secs(2);

/// Asks a control plane over TLS and HTTP/2, as an API server does, whether objects may be stored: VirtualServices,
/// DestinationRules and Gateways, one in ten of them invalid.
#[derive(Clone, Debug, Parser)]
#[command(name = "admit", version)]
pub struct Args {
    /// Requests in each second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// For how many seconds.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// The core that the server has for itself (with taskset); by default it may use all.
    #[arg(long)]
    pub core: Option<usize>,
    /// How long one in a hundred may take, in milliseconds: more is a failure.
    #[arg(long)]
    pub most: Option<f64>,
    /// The server's program.
    #[arg(long, default_value = "target/release/mizzen")]
    pub mizzen: PathBuf,
}

/// Runs it, and prints what was measured; whether that is good enough.
///
/// # Errors
/// The server does not start, or answers with something else than an answer.
pub async fn run(args: &Args) -> Result<bool> {
    let authority = Authority::new("admit")?;
    let server = Server::start(args, &authority, HOST).await?;
    let mut connections = JoinSet::new();
    let sender = connect(&server, &authority, &mut connections).await?;
    let bodies: Arc<[Asked]> = reviews().into();
    send(&sender, &bodies, args.rate, WARM_UP).await?;
    let before = server.cpu()?;
    let begun = Instant::now();
    let mut latencies = send(&sender, &bodies, args.rate, Duration::from_secs(args.seconds.into())).await?;
    let (cpu, took) = (server.cpu()?.saturating_sub(before), begun.elapsed());
    latencies.sort_unstable();
    let measured = Measured { latencies, cpu, took };
    write!(std::io::stdout(), "{measured}").context("print")?;
    Ok(args.most.is_none_or(|most| measured.at(99.0) <= most))
}

/// What was measured.
struct Measured {
    /// Sorted.
    latencies: Vec<Duration>,
    cpu: Duration,
    took: Duration,
}

impl Measured {
    /// The latency that so many of a hundred do not exceed, in milliseconds.
    fn at(&self, percent: f64) -> f64 {
        let position = (self.latencies.len() as f64 * percent / 100.0) as usize;
        let latency = self.latencies.get(position).or(self.latencies.last());
        latency.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1000.0)
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, took, cpu) = (self.latencies.len() as f64, self.took.as_secs_f64(), self.cpu.as_secs_f64());
        writeln!(f, "{count} requests in {took:.1} s, {:.0} a second", count / took)?;
        let [median, p90, p99, p999, most] = [50.0, 90.0, 99.0, 99.9, 100.0].map(|percent| self.at(percent));
        writeln!(f, "latency in ms: median {median:.2}, p90 {p90:.2}, p99 {p99:.2}, p99.9 {p999:.2}, most {most:.2}")?;
        writeln!(f, "server: {:.0} µs of a processor for each, {:.0} % of one", cpu * 1e6 / count, 100.0 * cpu / took)
    }
}

/// A body, and whether the object in it is valid.
#[derive(Clone, Debug)]
struct Asked {
    body: Bytes,
    is_valid: bool,
}

/// Sends so many in each second, for so long; how long each took since it was due.
async fn send(
    sender: &SendRequest<Full<Bytes>>,
    bodies: &Arc<[Asked]>,
    rate: u32,
    long: Duration,
) -> Result<Vec<Duration>> {
    let (begun, pause) = (Instant::now(), Duration::from_secs(1) / rate);
    let count = (long.as_secs_f64() / pause.as_secs_f64()) as u32;
    let mut open = JoinSet::new();
    let mut latencies = Vec::with_capacity(count as usize);
    for number in 0..count {
        let due = begun + pause * number;
        sleep_until(due).await;
        let (mut sender, asked) = (sender.clone(), bodies[number as usize % bodies.len()].clone());
        open.spawn(async move {
            let answer = ask(&mut sender, asked).await;
            answer.map(|()| due.elapsed())
        });
        while let Some(done) = open.try_join_next() {
            latencies.push(done??);
        }
    }
    while let Some(done) = open.join_next().await {
        latencies.push(done??);
    }
    Ok(latencies)
}

async fn ask(sender: &mut SendRequest<Full<Bytes>>, asked: Asked) -> Result<()> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("https://{HOST}/validate"))
        .header("content-type", "application/json")
        .body(Full::from(asked.body))?;
    sender.ready().await?;
    let answer = sender.send_request(request).await.context("no answer")?;
    let status = answer.status();
    let body = answer.into_body().collect().await.context("read the answer")?.to_bytes();
    ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&body));
    let review: Value = serde_json::from_slice(&body)?;
    ensure!(review["response"]["allowed"] == asked.is_valid, "{review}");
    Ok(())
}

/// A connection, as an API server keeps one.
async fn connect(
    server: &Server,
    authority: &Authority,
    connections: &mut JoinSet<()>,
) -> Result<SendRequest<Full<Bytes>>> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authority.pem().as_bytes()) {
        roots.add(root?)?;
    }
    let provider = rustls::crypto::ring::default_provider();
    let config = ClientConfig::builder_with_provider(Arc::new(provider)).with_safe_default_protocol_versions()?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(server.https).await.context("connect")?;
    stream.set_nodelay(true)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(HOST)?, stream).await?;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    // What is wrong with it the requests tell.
    connections.spawn(async move { drop(connection.await) });
    Ok(sender)
}

/// What is asked, in turn.
fn reviews() -> Vec<Asked> {
    let of = |number: usize| {
        let object = match number % 5 {
            0 => gateway(number),
            1 => destination_rule(number),
            _ => virtual_service(number, number % 10 == 9),
        };
        let resource = json!({"group": "networking.istio.io", "version": "v1", "resource": "virtualservices"});
        let request = json!({
            "uid": format!("uid-{number}"),
            "operation": "CREATE",
            "resource": resource,
            "namespace": "default",
            "object": object,
        });
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        Asked { body: review.to_string().into(), is_valid: number % 10 != 9 }
    };
    (0..100).map(of).collect()
}

fn object(kind: &str, number: usize, spec: &Value) -> Value {
    let metadata = json!({"name": format!("o-{number}"), "namespace": "default", "labels": {"app": "a"}});
    json!({"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec})
}

fn gateway(number: usize) -> Value {
    let server = |port: usize| {
        let port = json!({"number": 80 + port, "name": format!("http-{port}"), "protocol": "HTTP"});
        json!({"port": port, "hosts": [format!("{number}.example.com")]})
    };
    let servers: Vec<Value> = (0..3).map(server).collect();
    object("Gateway", number, &json!({"selector": {"istio": "ingressgateway"}, "servers": servers}))
}

fn destination_rule(number: usize) -> Value {
    let subset = |n: usize| json!({"name": format!("v{n}"), "labels": {"version": format!("v{n}")}});
    let subsets: Vec<Value> = (0..4).map(subset).collect();
    let policy = json!({"connectionPool": {"tcp": {"maxConnections": 100}}, "outlierDetection": {"interval": "5s"}});
    let host = format!("a-{number}.default.svc.cluster.local");
    object("DestinationRule", number, &json!({"host": host, "subsets": subsets, "trafficPolicy": policy}))
}

fn virtual_service(number: usize, is_bad: bool) -> Value {
    let route = |n: usize| {
        let to = |subset: &str, weight: u32| json!({"destination": {"host": "a", "subset": subset, "port": {"number": 80}}, "weight": weight});
        json!({
            "name": format!("r-{n}"),
            "match": [{"uri": {"prefix": format!("/{n}")}, "headers": {"x-user": {"regex": format!("u[{n}-9]+")}}}],
            "timeout": "5s",
            "retries": {"attempts": 3, "perTryTimeout": "2s", "retryOn": "5xx"},
            "route": [to("v1", 80), to("v2", 20)],
        })
    };
    let mut routes: Vec<Value> = (0..8).map(route).collect();
    if is_bad {
        routes[3]["match"][0]["uri"] = json!({"regex": "/(a"});
    }
    object("VirtualService", number, &json!({"hosts": [format!("{number}.example.com")], "http": routes}))
}
