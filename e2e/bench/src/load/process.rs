//! The server: started as a child, and measured by what the kernel says of it.

use std::{
    collections::HashMap,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::sleep,
};

use super::{Args, config::Config};

/// Between two looks at whether the server is ready.
const POLL: Duration = Duration::from_millis(5);

/// The kernel counts processor time of exited threads in hundredths of a second, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server. Killed when dropped.
pub(super) struct Server {
    child: Child,
    pid: u32,
    pub(super) grpc: SocketAddr,
    pub(super) monitoring: SocketAddr,
}

impl Server {
    /// Starts the server and waits until it is ready; how long that took.
    pub(super) async fn start(args: &Args, config: &Config) -> Result<(Self, Duration)> {
        let [grpc, http, monitoring] = free_addresses()?;
        let output = || -> Result<Stdio> {
            let Some(path) = &args.server_log else { return Ok(Stdio::null()) };
            let file = File::options().create(true).append(true).open(path);
            Ok(file.with_context(|| format!("open {}", path.display()))?.into())
        };
        let start = Instant::now();
        let child = Command::new(&args.mizzen)
            .arg("discovery")
            .args(config.server_args())
            .args(["--grpcAddr", &grpc.to_string(), "--httpAddr", &http.to_string()])
            .args(["--monitoringAddr", &monitoring.to_string()])
            // Off: the clients use plaintext.
            .args(["--secureGRPCAddr=", "--httpsAddr="])
            .args(&args.server_args)
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", args.mizzen.display()))?;
        let pid = child.id().context("the server has exited at once")?;
        let mut server = Self { child, pid, grpc, monitoring };
        server.ready(http, start + args.patience).await?;
        Ok((server, start.elapsed()))
    }

    async fn ready(&mut self, http: SocketAddr, deadline: Instant) -> Result<()> {
        while !is_ready(http).await {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server has exited ({status}); --server-log FILE keeps what it said");
            }
            if Instant::now() > deadline {
                bail!("the server does not become ready; --server-log FILE keeps what it says");
            }
            sleep(POLL).await;
        }
        Ok(())
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    pub(super) async fn stop(mut self) {
        // It may have exited already.
        let _ = self.child.kill().await;
    }
}

/// Addresses that are free now; nobody else takes them as a rule before the server does.
fn free_addresses() -> Result<[SocketAddr; 3]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port");
    let listeners = [bind()?, bind()?, bind()?];
    let [a, b, c] = &listeners;
    Ok([a.local_addr()?, b.local_addr()?, c.local_addr()?])
}

async fn is_ready(http: SocketAddr) -> bool {
    get(http, "/ready").await.is_ok()
}

/// The body of a page, if there is one.
pub(super) async fn get(address: SocketAddr, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // Of this version a body is neither cut into chunks nor followed by anything.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").as_bytes()).await?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await?;
    let (head, body) = reply.split_once("\r\n\r\n").context("no reply")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(status.contains(" 200"), "{path}: {status}");
    Ok(body.to_owned())
}

/// What the kernel says of a process.
#[derive(Debug)]
pub(super) struct Meter {
    dir: PathBuf,
    /// Processor time by thread, in nanoseconds; threads that have exited stay with their last figure.
    threads: HashMap<String, u64>,
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    pub(super) resident: u64,
    pub(super) peak: u64,
}

impl Meter {
    pub(super) fn new(pid: u32) -> Self {
        Self { dir: PathBuf::from(format!("/proc/{pid}")), threads: HashMap::new() }
    }

    /// The processor time so far. The scheduler counts nanoseconds of each thread; a kernel without these figures
    /// counts hundredths of a second of them all.
    pub(super) fn cpu(&mut self) -> Duration {
        for task in fs::read_dir(self.dir.join("task")).into_iter().flatten().flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            if let Some(time) = text.split_whitespace().next().and_then(|n| n.parse().ok()) {
                self.threads.insert(task.file_name().to_string_lossy().into_owned(), time);
            }
        }
        match self.threads.values().sum() {
            0 => self.ticks(),
            nanoseconds => Duration::from_nanos(nanoseconds),
        }
    }

    /// The processor time of each thread so far, in nanoseconds.
    pub(super) fn threads(&mut self) -> HashMap<String, u64> {
        self.cpu();
        self.threads.clone()
    }

    /// Of the processor time since earlier figures, the share of the thread that took most; `None` when there are no
    /// figures of threads.
    pub(super) fn busiest_share(&mut self, earlier: &HashMap<String, u64>) -> Option<f64> {
        self.cpu();
        let since = |(name, now): (&String, &u64)| now.saturating_sub(earlier.get(name).copied().unwrap_or_default());
        let (most, all) = (self.threads.iter().map(since).max()?, self.threads.iter().map(since).sum::<u64>());
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        (all > 0).then(|| most as f64 / all as f64)
    }

    /// The 14th and 15th figure of `stat`; the second is the name in brackets, which may hold anything.
    fn ticks(&self) -> Duration {
        let text = fs::read_to_string(self.dir.join("stat")).unwrap_or_default();
        let after_name = text.rsplit_once(") ").map_or("", |(_, rest)| rest);
        let ticks: u32 = after_name.split(' ').skip(11).take(2).filter_map(|n| n.parse::<u32>().ok()).sum();
        Duration::from_secs_f64(f64::from(ticks) / TICKS_PER_SECOND)
    }

    pub(super) fn memory(&self) -> Memory {
        let text = fs::read_to_string(self.dir.join("status")).unwrap_or_default();
        let kilobytes = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        Memory { resident: kilobytes("VmRSS:"), peak: kilobytes("VmHWM:") }
    }

    /// Lets the peak start anew; without the right to do so the peak is that since the start.
    pub(super) fn reset_peak(&self) {
        let _ = fs::write(self.dir.join("clear_refs"), "5");
    }
}
