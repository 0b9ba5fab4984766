//! `mizzen standalone`, with the Envoy that it starts: there is no agent, so certificates of the machine are its own
//! business.

use std::{fs, net::SocketAddr, time::Instant};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{
    Authority, Client, ConfigDir, Mizzen, PATIENCE, Process, Request, Signal, Tls, Upstream, UpstreamOptions,
    eventually, free_port, gateway, route_all, service, tool,
};

/// It, and its Envoy. Dropping it ends both.
struct Standalone {
    process: Process,
    http: SocketAddr,
    https: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Standalone {
    fn start(config: &ConfigDir, authorities: &std::path::Path) -> Result<Self> {
        let ports: Vec<String> = (0..5).map(|_| free_port().map(|p| p.to_string())).collect::<Result<_>>()?;
        let [http, https, admin, grpc, monitoring] = &ports[..] else { unreachable!("five were asked for") };
        let (config, envoy) = (config.path().display().to_string(), tool("envoy")?.display().to_string());
        let dir = tempfile::tempdir()?;
        let mut command = Mizzen::command(&[
            "standalone",
            "--configDir",
            &config,
            "--envoy",
            &envoy,
            "--http-port",
            http,
            "--https-port",
            https,
            "--admin-port",
            admin,
            "--grpc-port",
            grpc,
            "--monitoring-port",
            monitoring,
        ])?;
        command.env("SSL_CERT_FILE", authorities).env("TMPDIR", dir.path());
        let process = Process::spawn("standalone", &mut command, dir.path())?;
        let local = |port: &str| anyhow::Ok(SocketAddr::from(([127, 0, 0, 1], port.parse()?)));
        Ok(Self { process, http: local(http)?, https: local(https)?, _dir: dir })
    }

    /// Waits until a client is answered so.
    async fn answers(&self, client: &Client, host: &str, status: u16, upstream: &str) -> Result<()> {
        let what = format!("{status} from {host}");
        let answered = eventually(&what, PATIENCE, || async {
            let reply = client.send(&Request::get("/").host(host)).await?;
            ensure!((reply.status, reply.upstream()) == (status, upstream), "{} {}", reply.status, reply.text());
            anyhow::Ok(())
        });
        answered.await.with_context(|| format!("{}\n{}", self.process.stdout(), self.process.stderr()))
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        // Killed at once, it could not end its Envoy.
        let deadline = Instant::now() + PATIENCE;
        if self.process.signal(Signal::Term).is_ok() {
            while self.process.check_running().is_ok() && Instant::now() < deadline {
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }
}

/// Speaks TLS to a service; its certificate must be that of `up.test`.
fn rule(service: &str) -> String {
    format!(
        "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: {service}, namespace: default}}\n\
         spec:\n  host: {service}\n  trafficPolicy: {{tls: {{mode: SIMPLE, sni: up.test, subjectAltNames: [up.test]}}}}\n"
    )
}

#[tokio::test]
async fn upstreams_are_verified_by_what_the_system_trusts_and_servers_read_files() -> Result<()> {
    let (known, unknown) = (Authority::new("known")?, Authority::new("unknown")?);
    let start = async |name: &str, authority: &Authority| {
        let identity = Some(authority.issue(&["up.test"])?);
        Upstream::start(name, UpstreamOptions { identity, ..UpstreamOptions::default() }).await
    };
    let (good, bad) = (start("good", &known).await?, start("bad", &unknown).await?);
    let files = tempfile::tempdir()?;
    let path = |name: &str| files.path().join(name);
    let own = known.issue(&["front.test"])?;
    for (name, text) in [("system.pem", known.pem()), ("front.crt", &own.cert), ("front.key", &own.key)] {
        fs::write(path(name), text)?;
    }
    let (crt, key) = (path("front.crt").display().to_string(), path("front.key").display().to_string());
    let servers = format!(
        "  - {{port: {{number: 80, name: http, protocol: HTTP}}, hosts: ['*']}}\n  \
         - {{port: {{number: 443, name: https, protocol: HTTPS}}, hosts: ['*'], \
         tls: {{mode: SIMPLE, serverCertificate: '{crt}', privateKey: '{key}'}}}}\n"
    );
    let config = ConfigDir::new()?;
    let objects = gateway("gateway", &servers)
        + &service("good", "http", &[&good])
        + &service("bad", "http", &[&bad])
        + &rule("good")
        + &rule("bad")
        + &route_all("good", "good.test", "good")
        + &route_all("bad", "bad.test", "bad");
    config.write("objects.yaml", objects)?;
    let standalone = Standalone::start(&config, &path("system.pem"))?;

    let plain = Client::http(standalone.http);
    standalone.answers(&plain, "good.test", 200, "good").await?;
    standalone.answers(&plain, "bad.test", 503, "-").await?;
    let tls = Tls { server_name: "front.test".to_owned(), ca: known.pem().to_owned(), identity: None };
    let secure = Client::https(standalone.https, &tls)?;
    standalone.answers(&secure, "good.test", 200, "good").await?;

    // Files that are replaced are taken in.
    let before = secure.connect().await?.peer_certificate().map(<[u8]>::to_vec);
    let new = known.issue(&["front.test"])?;
    fs::write(path("front.crt"), &new.cert)?;
    fs::write(path("front.key"), &new.key)?;
    eventually("the new certificate", PATIENCE, || async {
        let now = secure.connect().await?.peer_certificate().map(<[u8]>::to_vec);
        ensure!(now != before, "still the old one");
        anyhow::Ok(())
    })
    .await
}
