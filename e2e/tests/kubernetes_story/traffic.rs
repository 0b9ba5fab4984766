//! Requests that keep coming, from a Pod of the mesh through its sidecar.

use std::{collections::BTreeMap, fmt};

use anyhow::{Context, Result, ensure};
use mizzen_e2e::{PATIENCE, Process, eventually};

use super::world::World;

/// How many come in a second: the node has two processors for everything.
const RATE: &str = "20/s";

/// What came of them: how many of each status (`000` is none, with the reason).
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome(BTreeMap<String, u64>);

impl Outcome {
    fn of(text: &str) -> Self {
        let mut all = BTreeMap::new();
        // The last line may be half a line.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().for_each(|line| *all.entry(line.trim().to_owned()).or_default() += 1);
        Self(all)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn failures(&self) -> u64 {
        self.0.iter().filter(|(status, _)| *status != "200").map(|(_, n)| n).sum()
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// A constant load.
pub(crate) struct Traffic<'a> {
    world: &'a World,
    name: String,
    process: Process,
}

impl<'a> Traffic<'a> {
    /// Starts it: GET requests for a URL. A connection to the sidecar has those of one second.
    pub(crate) fn start(world: &'a World, name: &str, url: &str) -> Result<Self> {
        Self::with(world, name, "", url, 20)
    }

    /// Starts it with HTTP/2, a connection for each: curl before 8.0 uses none twice that began with HTTP/2.
    pub(crate) fn start_http2(world: &'a World, name: &str, url: &str) -> Result<Self> {
        Self::with(world, name, "--http2-prior-knowledge", url, 1)
    }

    fn with(world: &'a World, name: &str, options: &str, url: &str, at_once: u16) -> Result<Self> {
        let script = format!(
            "rm -f /tmp/{name}.stop; until [ -e /tmp/{name}.stop ]; do \
             curl -s {options} --max-time 15 --rate {RATE} -o /dev/null -w '%{{http_code}} %{{errormsg}}\\n' \
             '{url}?[1-{at_once}]'; sleep 0.1; done"
        );
        let process =
            world.cluster.start(name, &["exec", "deploy/client", "-c", "curl", "--", "bash", "-c", &script])?;
        Ok(Self { world, name: name.to_owned(), process })
    }

    pub(crate) fn outcome(&self) -> Outcome {
        Outcome::of(&self.process.stdout())
    }

    /// Waits until so many more were made.
    pub(crate) async fn more(&mut self, requests: u64) -> Result<()> {
        let wanted = self.outcome().requests() + requests;
        let process = &mut self.process;
        eventually("more requests", PATIENCE * 2, || {
            let running = process.check_running();
            let outcome = Outcome::of(&process.stdout());
            async move {
                running?;
                ensure!(outcome.requests() >= wanted, "{outcome}");
                anyhow::Ok(())
            }
        })
        .await
        .with_context(|| format!("traffic {}", self.name))
    }

    /// Ends it, and tells what came of it.
    pub(crate) async fn stop(mut self) -> Result<Outcome> {
        self.world.exec("deploy/client", "curl", &["touch", &format!("/tmp/{}.stop", self.name)])?;
        self.process.ended(PATIENCE).await?;
        Ok(self.outcome())
    }

    /// Ends it, and demands that none failed.
    pub(crate) async fn stop_unharmed(self) -> Result<Outcome> {
        let name = self.name.clone();
        let outcome = self.stop().await?;
        ensure!(outcome.requests() > 0 && outcome.failures() == 0, "traffic {name}: {outcome}");
        Ok(outcome)
    }
}
