//! Whether anything leaks while changes keep coming for long, and whether all clients have the same in the end.
//!
//! What is there at a moment amid changes takes more memory or less: a Sidecar object alone takes megabytes. So the changes
//! come in laps: after each all is undone, and what memory is held then is compared with the laps before.

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

/// How long changes keep coming before they are undone; less where there would be too few laps to draw a line through.
const LAP: Duration = Duration::from_secs(60);
const LEAST_LAPS: u32 = 6;

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
    /// How long changes were made, without the time after each lap.
    seconds: f64,
    changes: u64,
    /// Bytes once all were connected.
    first: Held,
    /// Bytes when everything was undone, after each lap.
    laps: Vec<Held>,
    /// The most, amid the changes.
    peak: Held,
    /// How that which is held after a lap grew over the second half of the laps, by each minute of changes.
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
    /// Why the last of them did.
    #[serde(skip_serializing_if = "String::is_empty")]
    complaint: String,
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
        for (what, figure) in [("resident", Held::resident as fn(&Held) -> u64), ("in use", Held::used)] {
            let last = self.laps.last().unwrap_or(&self.first);
            let [first, last, peak] = [&self.first, last, &self.peak].map(|held| megabytes(figure(held)));
            writeln!(
                out,
                "memory {what}: {first:.1} MB at first, {peak:.1} MB at most, {last:.1} MB when all was undone"
            )?;
        }
        for (what, slope) in [("resident", self.kilobytes_per_minute), ("in use", self.used_kilobytes_per_minute)] {
            let most = self.most_kilobytes_per_minute;
            let verdict = verdict(slope <= most);
            writeln!(out, "growth over the second half, {what}: {slope:.0} KB/min, at most {most:.0}: {verdict}")?;
        }
        writeln!(
            out,
            "clients that have what a new one of their class gets: {} of {}: {}{}",
            self.clients - self.strayed,
            self.clients,
            verdict(self.strayed == 0),
            self.stray.as_ref().map(|client| format!(" (not {client})")).unwrap_or_default()
        )?;
        let reason = if self.complaint.is_empty() { String::new() } else { format!(" ({})", self.complaint) };
        writeln!(out, "streams that broke: {}: {}{reason}", self.broken, verdict(self.broken == 0))?;
        for (name, (before, after)) in &self.gauges {
            writeln!(out, "{name}: {before} before, {after} after: {}", verdict(after <= before))?;
        }
        Ok(())
    }
}

/// Connects all, makes changes for so long and undoes them, again and again, and looks at what is left.
pub(super) async fn run(events: &mut Events<'_>, monitoring: SocketAddr, duration: Duration) -> Result<Outcome> {
    let args = events.args;
    events.connect().await?;
    events.idle().await?;
    events.settled_memory().await?;
    let before = gauges(monitoring).await?;
    let first = held(events.meter.as_ref(), monitoring).await?;
    let mut churn = Churn::new(args);
    let (laps, lap) = laps(duration);
    let (mut peak, mut held_after, mut changing) = (first, Vec::new(), Duration::ZERO);
    for _ in 0..laps {
        let begun = Instant::now();
        let most = run_lap(events, monitoring, &mut churn, lap).await?;
        changing += begun.elapsed();
        churn.undo(&mut events.config, &mut events.crew).await?;
        events.idle().await?;
        returned(monitoring, &before, args.patience).await?;
        events.settled_memory().await?;
        let level = held(events.meter.as_ref(), monitoring).await?;
        peak = peak.or_more(most).or_more(level);
        held_after.push(level);
    }
    let last_change = last_change(events, args).await?;
    let after = returned(monitoring, &before, args.patience).await?;
    let (strayed, stray) = strayed(events, last_change).await?;
    let look = events.crew.look().await?;
    let grown = |figure: fn(&Held) -> u64| growth(&held_after, figure, changing / laps);
    Ok(Outcome {
        seconds: changing.as_secs_f64(),
        changes: churn.count,
        first,
        peak,
        kilobytes_per_minute: grown(Held::resident),
        used_kilobytes_per_minute: grown(Held::used),
        laps: held_after,
        most_kilobytes_per_minute: args.most_growth,
        clients: args.clients,
        strayed,
        stray,
        broken: look.counts.broken,
        complaint: look.complaint,
        gauges: after.into_iter().map(|(name, n)| (name.clone(), (of(&before, &name), n))).collect(),
    })
}

/// How many laps there are, and how long each is.
fn laps(duration: Duration) -> (u32, Duration) {
    let whole = u32::try_from(duration.as_secs() / LAP.as_secs()).unwrap_or(u32::MAX);
    let laps = whole.max(LEAST_LAPS);
    (laps, duration / laps)
}

/// Makes changes for so long; tells the most that was held.
async fn run_lap(events: &mut Events<'_>, monitoring: SocketAddr, churn: &mut Churn, lap: Duration) -> Result<Held> {
    let (end, mut most) = (Instant::now() + lap, Held::default());
    churn.go_on();
    while Instant::now() < end {
        let until = (Instant::now() + SAMPLE).min(end);
        churn.run_until(until, &mut events.config, &mut events.crew).await?;
        most = most.or_more(held(events.meter.as_ref(), monitoring).await?);
    }
    Ok(most)
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

/// Bytes of memory at a moment.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Held {
    resident: u64,
    /// As the allocator counts what is in use.
    used: u64,
}

impl Held {
    fn resident(&self) -> u64 {
        self.resident
    }

    fn used(&self) -> u64 {
        self.used
    }

    fn or_more(self, other: Self) -> Self {
        Self { resident: self.resident.max(other.resident), used: self.used.max(other.used) }
    }
}

async fn held(meter: Option<&Meter>, monitoring: SocketAddr) -> Result<Held> {
    let (used, resident) = (used(monitoring).await?, meter.map(|meter| meter.memory().resident).unwrap_or_default());
    Ok(Held { resident, used })
}

/// The bytes that the server's allocator counts as in use.
async fn used(monitoring: SocketAddr) -> Result<u64> {
    let text = get(monitoring, "/metrics").await.context("read the metrics of the server")?;
    let value = text.lines().find_map(|line| line.strip_prefix(IN_USE)?.trim().parse::<f64>().ok());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "memory is far below 2^52 bytes")]
    value.map(|bytes| bytes as u64).with_context(|| format!("no metric {IN_USE}"))
}

/// By how many kilobytes what is held after a lap grew each minute, over the second half of the laps.
fn growth(levels: &[Held], figure: fn(&Held) -> u64, lap: Duration) -> f64 {
    let later = &levels[levels.len() / 2..];
    #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes, and there are few laps")]
    let point = |(at, held): (usize, &Held)| (at as f64 * lap.as_secs_f64() / 60.0, figure(held) as f64 / KILOBYTE);
    slope(&later.iter().enumerate().map(point).collect::<Vec<_>>())
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
    fn what_is_held_after_each_lap_grows_by_the_minutes_of_changes() {
        assert_eq!(laps(Duration::from_secs(1200)), (20, LAP));
        assert_eq!(laps(Duration::from_secs(30)), (LEAST_LAPS, Duration::from_secs(5)));
        let held = |used| Held { used, ..Held::default() };
        let levels = [900_000, 0, 700_000, 800_000].map(held);
        assert!((growth(&levels, Held::used, LAP / 2) - 200.0).abs() < 1e-9, "only the second half counts");
        assert!(growth(&levels, Held::resident, LAP).abs() < 1e-9);
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
