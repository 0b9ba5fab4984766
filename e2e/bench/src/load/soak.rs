//! Whether anything leaks while changes keep coming for long, and whether all clients have the same in the end.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::time::sleep;

use super::{
    Args,
    args::Output,
    churn::Churn,
    events::Events,
    fleet::Wanted,
    process::{Meter, get},
    wire::Type,
};

/// Between two looks at the memory.
const SAMPLE: Duration = Duration::from_secs(1);

/// Between two looks at whether the server has let go of everything.
const LOOK: Duration = Duration::from_millis(100);

/// What the server counts that returns to where it was when everything is undone.
const GAUGES: [&str; 5] =
    ["mizzen_engine_nodes", "pilot_services", "pilot_virt_services", "pilot_xds", "mizzen_held_removals"];

/// The metric of memory in use.
const IN_USE: &str = "mizzen_memory_allocated_bytes";

/// Bytes of a kilobyte and of a megabyte, as memory is counted here.
const KILOBYTE: f64 = 1e3;
const MEGABYTE: f64 = 1e6;

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Outcome {
    seconds: f64,
    changes: u64,
    /// Resident bytes: once all were connected, at the end of the changes, and the most between.
    first_bytes: u64,
    last_bytes: u64,
    peak_bytes: u64,
    /// Bytes in use, as the allocator counts them: once all were connected, and when everything was undone.
    used_before: u64,
    used_after: u64,
    /// How resident memory grew over the second half of the time, and how what was in use did.
    kilobytes_per_minute: f64,
    used_kilobytes_per_minute: f64,
    most_kilobytes_per_minute: f64,
    clients: usize,
    /// Clients that lack something, or have something else than one of their class that has just connected.
    strayed: usize,
    /// One of these.
    #[serde(skip_serializing_if = "Option::is_none")]
    stray: Option<String>,
    broken: u64,
    /// What the server counted before and after.
    gauges: BTreeMap<String, (f64, f64)>,
}

impl Outcome {
    pub(super) fn is_good(&self) -> bool {
        self.kilobytes_per_minute.max(self.used_kilobytes_per_minute) <= self.most_kilobytes_per_minute
            && self.strayed == 0
            && self.broken == 0
            && self.gauges.values().all(|(before, after)| after <= before)
    }

    pub(super) fn write(&self, form: Output, out: &mut impl Write) -> io::Result<()> {
        if form == Output::Json {
            serde_json::to_writer_pretty(&mut *out, self)?;
            return writeln!(out);
        }
        let verdict = |good: bool| if good { "ok" } else { "FAILED" };
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let megabytes = |bytes: u64| bytes as f64 / MEGABYTE;
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let rate = self.changes as f64 / self.seconds;
        writeln!(out, "{} changes in {:.0} s: {rate:.1} each second", self.changes, self.seconds)?;
        writeln!(
            out,
            "resident memory: {:.1} MB at first, {:.1} MB at last, {:.1} MB at most",
            megabytes(self.first_bytes),
            megabytes(self.last_bytes),
            megabytes(self.peak_bytes)
        )?;
        writeln!(
            out,
            "memory in use: {:.1} MB at first, {:.1} MB when all was undone",
            megabytes(self.used_before),
            megabytes(self.used_after)
        )?;
        for (what, slope) in [("resident", self.kilobytes_per_minute), ("in use", self.used_kilobytes_per_minute)] {
            let most = self.most_kilobytes_per_minute;
            let verdict = verdict(slope <= most);
            writeln!(out, "slope of the second half, {what}: {slope:.0} KB/min, at most {most:.0}: {verdict}")?;
        }
        writeln!(
            out,
            "clients that have what a new one of their class gets: {} of {}: {}{}",
            self.clients - self.strayed,
            self.clients,
            verdict(self.strayed == 0),
            self.stray.as_ref().map(|client| format!(" (not {client})")).unwrap_or_default()
        )?;
        writeln!(out, "streams that broke: {}: {}", self.broken, verdict(self.broken == 0))?;
        for (name, (before, after)) in &self.gauges {
            writeln!(out, "{name}: {before} before, {after} after: {}", verdict(after <= before))?;
        }
        Ok(())
    }
}

/// Connects all, makes changes for so long, undoes them, and looks at what is left.
pub(super) async fn run(events: &mut Events<'_>, monitoring: SocketAddr, duration: Duration) -> Result<Outcome> {
    let args = events.args;
    events.connect().await?;
    events.idle().await?;
    let before = gauges(monitoring).await?;
    let mut samples = vec![sample(events.meter.as_ref(), monitoring).await?];
    let mut churn = Churn::new(args);
    let start = Instant::now();
    while start.elapsed() < duration {
        let end = (Instant::now() + SAMPLE).min(start + duration);
        churn.run_until(end, &mut events.config, &mut events.crew).await?;
        samples.push(sample(events.meter.as_ref(), monitoring).await?);
    }
    let seconds = start.elapsed().as_secs_f64();
    churn.undo(&mut events.config, &mut events.crew).await?;
    let last_change = last_change(events, args).await?;
    let after = returned(monitoring, &before, args.patience).await?;
    let (strayed, stray) = strayed(events, last_change).await?;
    events.settled_memory().await?;
    let used_after = used(monitoring).await?;
    let bytes = || samples.iter().map(|sample| sample.resident);
    let later = second_half(&samples, start);
    let slope_of =
        |figure: fn(&Sample) -> u64| slope(&later.iter().map(|s| point(s, figure, start)).collect::<Vec<_>>());
    let look = events.crew.look().await?;
    Ok(Outcome {
        seconds,
        changes: churn.count,
        first_bytes: bytes().next().unwrap_or_default(),
        last_bytes: bytes().next_back().unwrap_or_default(),
        peak_bytes: bytes().max().unwrap_or_default(),
        used_before: samples.first().map(|sample| sample.used).unwrap_or_default(),
        used_after,
        kilobytes_per_minute: slope_of(|sample| sample.resident),
        used_kilobytes_per_minute: slope_of(|sample| sample.used),
        most_kilobytes_per_minute: args.most_growth,
        clients: args.clients,
        strayed,
        stray,
        broken: look.counts.broken,
        gauges: after.into_iter().map(|(name, n)| (name.clone(), (of(&before, &name), n))).collect(),
    })
}

/// Changes something for everyone who sees the last service, and waits until all have it; returns one who has not.
async fn last_change(events: &mut Events<'_>, args: &Args) -> Result<Option<String>> {
    let probe = args.services - 1;
    let name = events.config.cluster(probe);
    let wanted = Wanted { by: events.config.seeing(probe), kind: Type::Endpoint, name, gone: false };
    // Those who have just come back must have everything before, or they would not be told of a change.
    events.idle().await?;
    events.crew.aim(vec![wanted]).await?;
    events.config.change_endpoints(probe..probe + 1).await?;
    let arrivals = events.crew.wait(Instant::now(), args.patience).await?;
    Ok(arrivals.waiting)
}

/// How many clients have not what a new one of their class gets, and one of them.
async fn strayed(events: &mut Events<'_>, waiting: Option<String>) -> Result<(usize, Option<String>)> {
    events.idle().await?;
    let population = events.crew.population().clone();
    let class = |index: usize| population.resident(index).class();
    let mut classes = BTreeMap::new();
    (0..events.args.clients).for_each(|index| _ = classes.entry(class(index)).or_insert(index));
    let start = Instant::now();
    events.crew.aim(Vec::new()).await?;
    let before = events.crew.digests().await?;
    for index in classes.values() {
        events.crew.leave(*index..index + 1).await?;
        events.crew.join(*index..index + 1, true).await?;
    }
    let arrivals = events.crew.wait(start, events.args.patience).await?;
    events.idle().await?;
    let fresh: BTreeMap<usize, u64> = events.crew.digests().await?.into_iter().collect();
    let is_right = |index: usize, digest: u64| {
        let model = classes.get(&class(index)).and_then(|model| fresh.get(model));
        digest != 0 && model == Some(&digest)
    };
    let wrong: Vec<usize> =
        before.iter().filter(|(index, digest)| !is_right(*index, *digest)).map(|(i, _)| *i).collect();
    let absent = events.args.clients - before.len();
    let example = wrong.first().map(|index| population.resident(*index).id());
    // Who waits for something lacks it, whatever the digest says.
    let told = waiting.or(arrivals.waiting);
    let strayed = (wrong.len() + absent).max(usize::from(told.is_some()));
    Ok((strayed, told.or(example)))
}

/// Memory in bytes at a moment.
#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    resident: u64,
    used: u64,
}

async fn sample(meter: Option<&Meter>, monitoring: SocketAddr) -> Result<Sample> {
    let (used, resident) = (used(monitoring).await?, meter.map(|meter| meter.memory().resident).unwrap_or_default());
    Ok(Sample { at: Instant::now(), resident, used })
}

/// The bytes that the server's allocator counts as in use.
async fn used(monitoring: SocketAddr) -> Result<u64> {
    let text = get(monitoring, "/metrics").await.context("read the metrics of the server")?;
    let value = text.lines().find_map(|line| line.strip_prefix(IN_USE)?.trim().parse::<f64>().ok());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "memory is far below 2^52 bytes")]
    value.map(|bytes| bytes as u64).with_context(|| format!("no metric {IN_USE}"))
}

fn second_half(samples: &[Sample], start: Instant) -> Vec<Sample> {
    let Some(end) = samples.last() else { return Vec::new() };
    let half = start + end.at.saturating_duration_since(start) / 2;
    samples.iter().filter(|sample| sample.at >= half).copied().collect()
}

/// Minutes since the start and kilobytes.
fn point(sample: &Sample, figure: fn(&Sample) -> u64, start: Instant) -> (f64, f64) {
    #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
    let kilobytes = figure(sample) as f64 / KILOBYTE;
    (sample.at.saturating_duration_since(start).as_secs_f64() / 60.0, kilobytes)
}

/// How steep the straight line is that fits best (least squares).
pub(super) fn slope(points: &[(f64, f64)]) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "there are few")]
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|p| p.0), mean(|p| p.1));
    let both: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let square: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    if square > 0.0 { both / square } else { 0.0 }
}

/// Waits until the server counts no more than before, and tells what it counts then.
async fn returned(
    monitoring: SocketAddr,
    before: &BTreeMap<String, f64>,
    patience: Duration,
) -> Result<BTreeMap<String, f64>> {
    let start = Instant::now();
    loop {
        let now = gauges(monitoring).await?;
        let has_returned = now.iter().all(|(name, now)| *now <= of(before, name));
        if has_returned || start.elapsed() > patience {
            return Ok(now);
        }
        sleep(LOOK).await;
    }
}

/// A gauge that is not told of is 0.
fn of(gauges: &BTreeMap<String, f64>, name: &str) -> f64 {
    gauges.get(name).copied().unwrap_or_default()
}

async fn gauges(monitoring: SocketAddr) -> Result<BTreeMap<String, f64>> {
    let text = get(monitoring, "/metrics").await.context("read the metrics of the server")?;
    Ok(read_gauges(&text))
}

/// The sums over all labels.
pub(super) fn read_gauges(text: &str) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for line in text.lines() {
        let Some((series, value)) = line.rsplit_once(' ') else { continue };
        let name = series.split('{').next().unwrap_or_default();
        if let (Some(name), Ok(value)) = (GAUGES.iter().find(|gauge| **gauge == name), value.parse::<f64>()) {
            *sums.entry((*name).to_owned()).or_insert(0.0) += value;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_straight_line_has_its_slope_and_noise_around_a_level_none() {
        let line: Vec<_> = (0..10).map(|x| (f64::from(x), 100.0 + 3.0 * f64::from(x))).collect();
        assert!((slope(&line) - 3.0).abs() < 1e-9);
        let level: Vec<_> = [5.0, 7.0, 7.0, 5.0].into_iter().enumerate().map(|(x, y)| (x as f64, y)).collect();
        assert!(slope(&level).abs() < 1e-9);
        assert!(slope(&[]).abs() < 1e-9 && slope(&[(1.0, 1.0)]).abs() < 1e-9);
    }

    #[test]
    fn gauges_are_summed_over_labels() {
        let text = "# TYPE pilot_xds gauge\npilot_xds{version=\"a b\"} 3\npilot_xds{version=\"c\"} 4\npilot_services 2\n\
                    other 9\n";
        let sums: Vec<_> = read_gauges(text).into_iter().collect();
        assert_eq!(sums, [("pilot_services".to_owned(), 2.0), ("pilot_xds".to_owned(), 7.0)]);
    }

    #[test]
    fn what_grows_or_strays_is_not_good() {
        let good = || Outcome { most_kilobytes_per_minute: 10.0, clients: 2, ..Outcome::default() };
        assert!(good().is_good());
        assert!(!Outcome { kilobytes_per_minute: 11.0, ..good() }.is_good());
        assert!(!Outcome { strayed: 1, ..good() }.is_good());
        assert!(!Outcome { broken: 1, ..good() }.is_good());
        assert!(!Outcome { gauges: [("nodes".to_owned(), (1.0, 2.0))].into(), ..good() }.is_good());
    }
}
