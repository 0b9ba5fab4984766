//! Requests that keep coming while something is changed.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::{runtime, sync::oneshot, task::JoinSet};

use crate::{
    client::{Client, Request},
    wait::{PATIENCE, eventually},
};

/// Between two requests of one connection, if nothing else is said, so that the load does not take the processors from what is tested.
const PAUSE: Duration = Duration::from_millis(1);

/// What came of the requests so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Replies by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Replies by the upstream that gave them; `-` for those of the proxy itself.
    pub upstreams: BTreeMap<String, u64>,
    /// Connections that were opened.
    pub connections: u64,
    /// Requests and connections without a whole reply, by reason.
    pub errors: BTreeMap<String, u64>,
}

impl Tally {
    /// Replies of any status.
    #[must_use]
    pub fn replies(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Requests that were not answered with a status below 400.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let refused: u64 = self.statuses.iter().filter(|(status, _)| **status >= 400).map(|(_, n)| n).sum();
        refused + self.errors.values().sum::<u64>()
    }

    /// Replies of an upstream.
    #[must_use]
    pub fn of(&self, upstream: &str) -> u64 {
        self.upstreams.get(upstream).copied().unwrap_or(0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} replies {:?} from {:?}, errors {:?}", self.replies(), self.statuses, self.upstreams, self.errors)
    }
}

/// A constant load: each connection is kept alive and sends one request after another.
///
/// It has a thread of its own, so that requests keep coming while a test waits for a command.
pub struct Load {
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    ended: oneshot::Receiver<()>,
}

impl Load {
    /// Starts the load.
    #[must_use]
    pub fn start(client: &Client, request: &Request, connections: usize) -> Self {
        Self::paced(client, request, connections, PAUSE)
    }

    /// Starts the load with another pause between two requests of a connection.
    #[must_use]
    pub fn paced(client: &Client, request: &Request, connections: usize, pause: Duration) -> Self {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let (done, ended) = oneshot::channel();
        let worker = Worker {
            client: client.clone(),
            request: request.clone(),
            pause,
            tally: tally.clone(),
            stop: stop.clone(),
        };
        thread::spawn(move || {
            worker.run_all(connections);
            // Nobody waits for a load that was dropped.
            let _ = done.send(());
        });
        Self { tally, stop, ended }
    }

    /// What came of it so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many more requests were made.
    ///
    /// # Errors
    /// When they do not come.
    pub async fn more(&self, requests: u64) -> Result<()> {
        let made = |t: &Tally| t.replies() + t.errors.values().sum::<u64>();
        let wanted = made(&self.tally()) + requests;
        eventually("more requests", PATIENCE, || {
            let made = made(&self.tally());
            async move {
                ensure!(made >= wanted, "{made} of {wanted}");
                Ok::<_, anyhow::Error>(())
            }
        })
        .await
    }

    /// Ends the load; requests that are under way are finished first.
    ///
    /// # Panics
    /// When the load did.
    pub async fn stop(mut self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        (&mut self.ended).await.expect("the load ends without a panic");
        self.tally()
    }

    /// Ends the load and demands that there was some and none of it failed.
    ///
    /// # Errors
    /// When a request failed, with the tally.
    pub async fn stop_unharmed(self) -> Result<Tally> {
        let tally = self.stop().await;
        ensure!(tally.replies() > 0, "the load made no requests: {tally}");
        ensure!(tally.failures() == 0, "{} requests failed: {tally}", tally.failures());
        Ok(tally)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Worker {
    client: Client,
    request: Request,
    pause: Duration,
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    /// Runs so many of it until the load stops.
    fn run_all(&self, connections: usize) {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a thread can have a runtime");
        runtime.block_on(async {
            let workers: JoinSet<()> = (0..connections).map(|_| self.clone().run()).collect();
            workers.join_all().await;
        });
    }

    async fn run(self) {
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(e) = self.one_connection().await {
                let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
                *tally.errors.entry(format!("{e:#}")).or_default() += 1;
            }
            tokio::time::sleep(self.pause).await;
        }
    }

    /// Sends requests until the server announces the end of the connection, which is no failure, or the load stops.
    async fn one_connection(&self) -> Result<()> {
        let mut connection = self.client.connect().await?;
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).connections += 1;
        while !self.stop.load(Ordering::Relaxed) && connection.ready().await {
            let reply = connection.send(&self.request).await.context("request")?;
            {
                let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
                *tally.statuses.entry(reply.status).or_default() += 1;
                *tally.upstreams.entry(reply.upstream().to_owned()).or_default() += 1;
            }
            tokio::time::sleep(self.pause).await;
        }
        Ok(())
    }
}
