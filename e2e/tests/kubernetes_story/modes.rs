//! Requests between Pods of the mesh, out of it and into it, in each mode that there is: what comes back, and what the proxies
//! of both sides log of it.

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Client, Deployment, Echo, PATIENCE, Request, eventually};
use serde_json::json;

use super::{
    metrics, names,
    world::{World, client},
};

const NAMESPACE: &str = "modes";
/// What a proxy tells its workload of a client with a certificate.
const CERTIFICATE: &str = "x-forwarded-client-cert";

/// A Pod whose ports are of a declared protocol, sniffed, plain TCP, of a headless Service, and of none (8083); and one that is
/// not of the mesh and has no Service.
fn servers() -> String {
    let server = Deployment::new("server", "echo")
        .ending_at_once()
        .pod("hostname", "one")
        .pod("subdomain", "alone")
        .container("args", json!(["http1:8080", "http1:8081", "http1:8082", "http1:8083", "tcp:9000"]))
        .ready_at(9000)
        .service(
            "web",
            json!({"ports": [
                {"name": "http", "port": 80, "targetPort": 8080},
                {"name": "http-more", "port": 81, "targetPort": 8081},
            ]}),
        )
        .service("any", json!({"ports": [{"name": "any", "port": 8000, "targetPort": 8082}]}))
        .service("bytes", json!({"ports": [{"name": "tcp", "port": 9000}]}))
        .service(
            "alone",
            json!({"clusterIP": "None", "ports": [{"name": "http", "port": 8080}, {"name": "tcp", "port": 9000}]}),
        );
    let outsider = Deployment::new("outsider", "echo")
        .label("sidecar.istio.io/inject", "false")
        .ending_at_once()
        .container("args", json!(["http1:80", "http1:8090"]))
        .ready_at(80);
    format!("{server}{outsider}{PICKED}")
}

const PICKED: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: picked}
spec:
  hosts: [picked.example]
  addresses: [240.250.0.2]
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 8081}]
  location: MESH_INTERNAL
  resolution: STATIC
  workloadSelector: {labels: {app: server}}
---
";

const DISABLED: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default}
spec: {mtls: {mode: DISABLE}}
";

const BY_PORT: &str = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: ports}
spec:
  selector: {matchLabels: {app: server}}
  mtls: {mode: STRICT}
  portLevelMtls: {8080: {mode: DISABLE}, 8083: {mode: PERMISSIVE}}
";

const REGISTRY_ONLY: &str = "
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
";

#[tokio::test]
async fn requests_go_as_each_mode_says() -> Result<()> {
    let world = World::enter(NAMESPACE).await?;
    world.run(&[client(), servers(), metrics::workload(), names::resolver()].concat())?;
    let modes = Modes { server: world.pod_address("app=server")?, outsider: world.pod_address("app=outsider")?, world };
    modes.services_are_reached_by_mutual_tls().await?;
    modes.what_no_service_has_is_passed_through().await?;
    metrics::pages_have_all_metrics(&modes.world).await?;
    names::a_host_of_the_mesh_resolves(&modes.world, &modes.outsider).await?;
    modes.nobody_speaks_tls_where_it_is_disabled().await?;
    modes.ports_have_modes_of_their_own().await?;
    modes.what_no_service_has_is_refused().await
}

struct Modes {
    world: World,
    server: String,
    outsider: String,
}

impl Modes {
    /// A request of the client, as the server saw it.
    async fn get(&self, url: &str) -> Result<Echo> {
        eventually(url, PATIENCE, || async { self.get_once(url) }).await
    }

    fn get_once(&self, url: &str) -> Result<Echo> {
        // No server of names knows the host of a ServiceEntry.
        let known = "picked.example:80:240.250.0.2";
        let command = ["curl", "-sS", "--fail", "--max-time", "10", "--resolve", known, url];
        Ok(serde_json::from_str(&self.world.exec("deploy/client", "curl", &command)?)?)
    }

    /// The status that the client gets: 0 is none.
    fn status(&self, url: &str) -> Result<u16> {
        let script = format!("curl -s --max-time 10 -o /dev/null -w '%{{http_code}}' {url} || true");
        Ok(self.world.exec("deploy/client", "curl", &["bash", "-c", &script])?.parse()?)
    }

    /// The client says a line on a connection; so many lines come back.
    fn talk(&self, host: &str, port: u16, line: &str, lines: usize) -> Result<String> {
        let script =
            format!("exec 3<>/dev/tcp/{host}/{port}; printf '{line}\\r\\n\\r\\n' >&3; timeout 10 head -n {lines} <&3");
        self.world.exec("deploy/client", "curl", &["bash", "-ec", &script])
    }

    /// Requests reach the server, over mutual TLS or without.
    async fn reached(&self, urls: &[&str], mutual: bool) -> Result<()> {
        for url in urls {
            let echo = self.get(url).await?;
            assert_eq!(echo.headers.contains_key(CERTIFICATE), mutual, "{url}: {echo:?}");
        }
        Ok(())
    }

    /// Waits for lines of the proxies' access logs (written once a second), each with all these parts; `$` is its end.
    async fn logged(&self, lines: &[(&str, &[&str])]) -> Result<()> {
        eventually("the lines of the access logs", PATIENCE, || async {
            let log = |name: &str| self.world.cluster.kubectl(&["logs", name, "-c", "istio-proxy"]);
            let (client, server) = (log("deploy/client")?, log("deploy/server")?);
            for (workload, parts) in lines {
                let log = if *workload == "client" { &client } else { &server };
                let has = |line: &str| parts.iter().all(|part| format!("{line}$").contains(part));
                ensure!(log.lines().any(has), "{workload}: no line with {parts:?} in\n{log}");
            }
            anyhow::Ok(())
        })
        .await
    }

    /// Declared and sniffed protocols, HTTP and others; a Service with an address and one without.
    async fn services_are_reached_by_mutual_tls(&self) -> Result<()> {
        let urls = [
            "http://web/declared",
            "http://any:8000/sniffed",
            "http://one.alone:8080/pod",
            "http://alone:8080/all",
            "http://picked.example/picked",
        ];
        self.reached(&urls, true).await?;
        assert_eq!(self.talk("bytes", 9000, "hello", 2)?, "one\nhello\r\n");
        assert_eq!(self.talk(&self.server, 9000, "hello", 2)?, "one\nhello\r\n");
        // The server's own word: its proxy does not take it for HTTP.
        assert_eq!(self.talk("any", 8000, "hello", 1)?, "HTTP/1.1 400 Bad Request\r\n");
        let http = |path: &str| format!("\"GET {path} HTTP/1.1\" 200 - via_upstream ");
        let [declared, sniffed, pod, all, picked] = ["/declared", "/sniffed", "/pod", "/all", "/picked"].map(http);
        let bytes = "\"- - -\" 0 - ";
        self.logged(&[
            ("client", &[&declared, " outbound|80||web.modes.svc.cluster.local "]),
            ("server", &[&declared, " inbound|8080|| ", " outbound_.80_._.web.modes.svc.cluster.local "]),
            ("client", &[&sniffed, " outbound|8000||any.modes.svc.cluster.local "]),
            ("server", &[&sniffed, " inbound|8082|| ", " outbound_.8000_._.any.modes.svc.cluster.local "]),
            ("client", &[bytes, " outbound|8000||any.modes.svc.cluster.local "]),
            ("server", &[bytes, " inbound|8082|| ", " outbound_.8000_._.any.modes.svc.cluster.local "]),
            ("client", &[bytes, " outbound|9000||bytes.modes.svc.cluster.local "]),
            ("server", &[bytes, " inbound|9000|| ", " outbound_.9000_._.bytes.modes.svc.cluster.local "]),
            ("client", &[bytes, " outbound|9000||alone.modes.svc.cluster.local "]),
            ("server", &[bytes, " inbound|9000|| ", " outbound_.9000_._.alone.modes.svc.cluster.local "]),
            ("client", &[&pod, " outbound|8080||alone.modes.svc.cluster.local "]),
            ("server", &[&pod, " inbound|8080|| ", " outbound_.8080_._.alone.modes.svc.cluster.local "]),
            ("client", &[&all, " outbound|8080||alone.modes.svc.cluster.local "]),
            ("client", &[&picked, " outbound|80||picked.example "]),
            ("server", &[&picked, " inbound|8081|| ", " outbound_.80_._.picked.example "]),
        ])
        .await
    }

    async fn what_no_service_has_is_passed_through(&self) -> Result<()> {
        let Self { server, outsider, .. } = self;
        let to = |address: &str, rest: &str| format!("http://{address}{rest}");
        let (address, port) = (to(outsider, "/address"), to(outsider, ":8090/port"));
        let (inbound, of_service) = (to(server, ":8083/inbound"), to(server, ":8080/of-service"));
        self.reached(&[&address, &port, &inbound, &of_service], false).await?;
        let upstream = |address: &str, port: u16| format!("\"{address}:{port}\" PassthroughCluster ");
        self.logged(&[
            ("client", &["\"GET /address HTTP/1.1\" 200 ", &upstream(outsider, 80), " - allow_any$"]),
            ("client", &["\"- - -\" 0 - ", &upstream(outsider, 8090)]),
            ("client", &["\"- - -\" 0 - ", &upstream(server, 8083)]),
            ("client", &["\"GET /of-service HTTP/1.1\" 200 ", &upstream(server, 8080), " - allow_any$"]),
            ("server", &["\"GET /inbound HTTP/1.1\" 200 ", &format!("\"{server}:8083\" InboundPassthroughCluster ")]),
        ])
        .await
    }

    async fn nobody_speaks_tls_where_it_is_disabled(&self) -> Result<()> {
        self.world.cluster.apply(DISABLED)?;
        self.until_mutual("http://web/disabled", false).await?;
        self.reached(&["http://web/disabled", "http://any:8000/disabled", "http://one.alone:8080/disabled"], false)
            .await?;
        assert_eq!(self.talk("bytes", 9000, "hello", 2)?, "one\nhello\r\n");
        self.logged(&[
            ("client", &["\"GET /disabled HTTP/1.1\" 200 ", " outbound|80||web.modes.svc.cluster.local "]),
            ("server", &["\"GET /disabled HTTP/1.1\" 200 ", " inbound|8080|| ", " - default$"]),
            ("server", &["\"GET /disabled HTTP/1.1\" 200 ", " inbound|8082|| ", " - default$"]),
            ("server", &["\"- - -\" 0 - ", " inbound|9000|| ", " - -$"]),
        ])
        .await
    }

    /// The mode of a workload, of one of its ports, and of one that no Service has.
    async fn ports_have_modes_of_their_own(&self) -> Result<()> {
        self.world.cluster.apply(BY_PORT)?;
        self.world.cluster.kubectl(&["delete", "peerauthentication", "default"])?;
        self.until_mutual("http://web:81/strict", true).await?;
        self.until_mutual("http://web/plain", false).await?;
        // The node is not of the mesh.
        for (port, is_taken) in [(8080, true), (8081, false), (8082, false), (8083, true)] {
            let stranger = Client::http(format!("{}:{port}", self.server).parse()?);
            eventually(&format!("the mode of port {port}"), PATIENCE, || async {
                let reply = stranger.send(&Request::get("/stranger")).await;
                ensure!(reply.is_ok() == is_taken, "{reply:?}");
                anyhow::Ok(())
            })
            .await?;
        }
        self.logged(&[
            ("server", &["\"GET /plain HTTP/1.1\" 200 ", " inbound|8080|| ", " - default$"]),
            (
                "server",
                &["\"GET /strict HTTP/1.1\" 200 ", " inbound|8081|| ", " outbound_.81_._.web.modes.svc.cluster.local "],
            ),
            ("server", &["\"GET /stranger HTTP/1.1\" 200 ", "8083\" InboundPassthroughCluster "]),
        ])
        .await
    }

    async fn until_mutual(&self, url: &str, mutual: bool) -> Result<()> {
        eventually(&format!("{url} to be {}", if mutual { "TLS" } else { "plaintext" }), PATIENCE, || async {
            let echo = self.get_once(url)?;
            ensure!(echo.headers.contains_key(CERTIFICATE) == mutual, "{echo:?}");
            anyhow::Ok(())
        })
        .await
    }

    async fn what_no_service_has_is_refused(&self) -> Result<()> {
        self.world.cluster.apply(REGISTRY_ONLY)?;
        let unknown = format!("http://{}/refused", self.outsider);
        eventually("the refusal of an unknown address", PATIENCE, || async {
            let status = self.status(&unknown)?;
            ensure!(status == 502, "{status}");
            anyhow::Ok(())
        })
        .await?;
        assert_eq!(self.status(&format!("http://{}:8090/refused", self.outsider))?, 0);
        self.get("http://web/still").await.context("what is known is served")?;
        self.logged(&[
            ("client", &["\"GET /refused HTTP/1.1\" 502 - direct_response ", " block_all$"]),
            ("client", &["\"- - -\" 0 UH ", " BlackHoleCluster ", &format!(" {}:8090 ", self.outsider)]),
        ])
        .await
    }
}
