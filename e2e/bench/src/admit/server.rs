//! The control plane, with certificates in files.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{Authority, Client, Request, free_port};
use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::Args;

/// How long it may take to be ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two looks at whether it is.
const POLL: Duration = Duration::from_millis(20);

/// What the kernel counts processor time in, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// Killed when dropped.
pub(super) struct Server {
    _child: Child,
    pid: u32,
    pub(super) https: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Server {
    /// Starts it without objects, and waits until it is ready.
    pub(super) async fn start(args: &Args, authority: &Authority, host: &str) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let pair = authority.issue(&[host])?;
        let (objects, cert, key) =
            (dir.path().join("objects"), dir.path().join("cert.pem"), dir.path().join("key.pem"));
        fs::create_dir(&objects)?;
        fs::write(&cert, pair.cert)?;
        fs::write(&key, pair.key)?;
        let address = || anyhow::Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)));
        let (http, https) = (address()?, address()?);
        let mut command = match args.core {
            Some(core) => {
                let mut command = Command::new("taskset");
                command.args(["-c", &core.to_string()]).arg(&args.mizzen);
                command
            }
            None => Command::new(&args.mizzen),
        };
        let child = command
            .arg("discovery")
            .arg("--configDir")
            .arg(&objects)
            .arg("--tlsCertFile")
            .arg(&cert)
            .arg("--tlsKeyFile")
            .arg(&key)
            .args(["--httpAddr", &http.to_string(), "--httpsAddr", &https.to_string()])
            // Nobody asks there.
            .args(["--grpcAddr", "127.0.0.1:0", "--secureGRPCAddr=", "--monitoringAddr="])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", args.mizzen.display()))?;
        let pid = child.id().context("the server has exited at once")?;
        let deadline = Instant::now() + PATIENCE;
        while !Client::http(http).send(&Request::get("/ready")).await.is_ok_and(|reply| reply.status == 200) {
            ensure!(Instant::now() < deadline, "the server does not become ready");
            sleep(POLL).await;
        }
        Ok(Self { _child: child, pid, https, _dir: dir })
    }

    /// The processor time so far.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.pid)).context("read the server's times")?;
        // The name before may have spaces.
        let (_, rest) = text.rsplit_once(") ").context("no times")?;
        let ticks = rest.split(' ').skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        Ok(TICK * u32::try_from(ticks)?)
    }
}
