//! The goals, and what was measured of them.

mod cold;

use std::{
    fmt,
    io::{self, Write},
};

use anyhow::Result;

use self::Figure::{Cpu, Kept, Last, P99, Peak, PerClient, Resident, Resources, Sent};
use super::{
    Args,
    args::EventKind,
    once,
    population::Profile,
    report::{Medians, Report},
};

/// A process holds so many clients at most.
const CLIENTS_PER_PROCESS: usize = 2_500;

/// What is measured of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    Last,
    P99,
    Cpu,
    Sent,
    Resources,
    Resident,
    Peak,
    PerClient,
    Kept,
}

impl Figure {
    fn of(self, medians: &Medians) -> Option<f64> {
        match self {
            Last => Some(medians.last_ms),
            P99 => Some(medians.p99_ms),
            Cpu => medians.cpu_seconds,
            Sent => Some(medians.megabytes),
            Resources => Some(medians.resources),
            Resident => medians.resident_megabytes,
            Peak => medians.peak_megabytes,
            PerClient => medians.kilobytes_per_client,
            Kept => medians.kept_share.map(|share| share * 100.0),
        }
    }
}

/// A measured figure with its unit.
struct Amount(Figure, f64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(figure, n) = self;
        match figure {
            Last => write!(f, "{n:.1} ms"),
            P99 => write!(f, "p99 {n:.1} ms"),
            Cpu => write!(f, "{n:.3} CPU-s"),
            Sent => write!(f, "{n:.2} MB sent"),
            Resources => write!(f, "{n} resources"),
            Resident => write!(f, "{n:.0} MB"),
            Peak => write!(f, "{n:.0} MB at most"),
            PerClient => write!(f, "{n:.1} KB"),
            Kept => write!(f, "{n:.0} %"),
        }
    }
}

/// The most that a figure may be, with its unit.
struct Most(Figure, f64);

impl fmt::Display for Most {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(figure, n) = self;
        match figure {
            Last => write!(f, "≤ {n} ms"),
            P99 => write!(f, "p99 ≤ {n} ms"),
            Cpu => write!(f, "≤ {} CPU-s", (n * 1e4).round() / 1e4),
            Sent => write!(f, "≤ {n} MB sent"),
            Resources => write!(f, "{n} resources"),
            Resident | Peak => write!(f, "≤ {} MB", n.round()),
            PerClient => write!(f, "≤ {n} KB"),
            Kept => write!(f, "≤ {n} %"),
        }
    }
}

/// What a figure may be, and what it should be.
struct Bound {
    figure: Figure,
    must: Option<f64>,
    aim: Option<f64>,
}

const fn bound(figure: Figure, must: f64, aim: f64) -> Bound {
    Bound { figure, must: Some(must), aim: Some(aim) }
}

const fn must(figure: Figure, must: f64) -> Bound {
    Bound { figure, must: Some(must), aim: None }
}

const fn aim(figure: Figure, aim: f64) -> Bound {
    Bound { figure, must: None, aim: Some(aim) }
}

const fn told(figure: Figure) -> Bound {
    Bound { figure, must: None, aim: None }
}

/// A row: what it is called, the end of the event's name, and its figures.
struct Goal(&'static str, &'static str, &'static [Bound]);

/// With clients that take virtual hosts one by one.
const GOALS: [Goal; 10] = [
    Goal("all connect", "all connect", &[bound(Cpu, 5.7, 2.5), must(Last, 6_000.0), told(Peak)]),
    Goal("one endpoint", "one endpoint", &[bound(Last, 25.0, 10.0), must(Cpu, 0.03)]),
    Goal("100 slices", " slices", &[bound(Last, 75.0, 30.0), must(Cpu, 0.07)]),
    Goal(
        "one VirtualService",
        "one VirtualService",
        &[bound(Last, 250.0, 30.0), bound(Cpu, 0.45, 0.05), aim(Sent, 2.0)],
    ),
    Goal("one Service added", "one new Service", &[bound(Last, 250.0, 30.0), bound(Cpu, 0.45, 0.05), aim(Sent, 5.0)]),
    Goal("all reconnect, nothing changed", "all reconnect", &[must(Resources, 0.0), bound(Cpu, 2.0, 0.5)]),
    Goal("annotations change", "metadata only", &[must(Resources, 0.0), told(Cpu)]),
    Goal("all is written again", "all written again", &[must(Resources, 0.0), told(Cpu)]),
    Goal("the same is said otherwise", "the same said otherwise", &[must(Resources, 0.0), told(Cpu)]),
    Goal("memory for each further client of a known class", "as many again connect", &[must(PerClient, 40.0)]),
];

/// With a tenth of the clients.
const STORM: Goal = Goal(
    "memory kept of what four times the Services took, and gone again",
    "Services come and go",
    &[must(Kept, 50.0)],
);

/// Of all events.
const MEMORY: Bound = bound(Resident, 120.0, 70.0);

/// With clients that take whole route configurations.
const WHOLE: [Goal; 3] = [
    Goal("all connect, whole routes", "all connect", &[told(Cpu), told(Last), told(Peak)]),
    Goal("one VirtualService, whole routes", "one VirtualService", &[told(Last), told(Cpu), told(Sent)]),
    Goal("one Service added, whole routes", "one new Service", &[told(Last), told(Cpu), told(Sent)]),
];

/// Changes in each second for such a crowd, at the most. Each is up to 30,000 responses, and clients that share two cores
/// with the server can take 20,000 a second.
const CROWD_RATE: u32 = 1;

/// With 5,000 and 10,000 clients; those of the latter are asked for.
const CROWD: [Goal; 3] = [
    Goal("all connect", "all connect", &[told(Last), told(Cpu), told(Peak)]),
    Goal("one endpoint", "one endpoint", &[told(P99), told(Cpu)]),
    Goal(
        "one endpoint, connected and churning",
        "one endpoint amid churn",
        &[bound(P99, 150.0, 50.0), bound(Resident, 1_000.0, 500.0), told(Peak)],
    ),
];

/// With clients of the diverse profile.
const DIVERSE: [Goal; 8] = [
    Goal("all connect", "all connect", &[told(Cpu), told(Last), told(Peak)]),
    Goal("one endpoint", "one endpoint", &[told(Last), told(Cpu)]),
    Goal("one VirtualService", "one VirtualService", &[told(Last), told(Cpu), told(Sent)]),
    Goal("one Service added", "one new Service", &[told(Last), told(Cpu), told(Sent)]),
    Goal("one DestinationRule", "one DestinationRule", &[told(Last), told(Cpu), told(Sent)]),
    Goal("one Sidecar", "one Sidecar", &[told(Last), told(Cpu), told(Sent)]),
    Goal("one EnvoyFilter", "one EnvoyFilter", &[told(Last), told(Cpu), told(Sent)]),
    Goal("all reconnect", "all reconnect", &[told(Resources), told(Cpu)]),
];

/// The diverse profile may take so many times the memory of the plain one.
const DIVERSE_MEMORY: f64 = 2.0;

/// Ten times the services may make a change cost so many times the processor time.
const VAST_COST: f64 = 1.5;

/// The changes of which that is asked, by the end of their events' names.
const VAST_CHANGES: [&str; 3] = ["one endpoint", "one VirtualService", "one new Service"];

/// The reports of all runs.
struct Runs {
    main: Report,
    whole: Report,
    diverse: Report,
    storm: Report,
    /// With so many clients each.
    crowds: Vec<(usize, Report)>,
    /// Few clients: with the services of the other runs, and with so many.
    vast: Option<(Report, u32, Report)>,
}

/// Runs what the goals are for, and prints the reports, then the goals. Returns whether everything arrived; missed
/// goals are told, no failure: they depend on the machine.
pub(super) async fn run(args: &Args) -> Result<bool> {
    let runs = Runs::of(args).await?;
    let mut out = io::stdout().lock();
    runs.write(&mut out)?;
    cold::write(&args.criterion, &mut out)?;
    out.flush()?;
    Ok(runs.are_good())
}

impl Runs {
    async fn of(args: &Args) -> Result<Self> {
        use EventKind::{Churn, Endpoint, More, Service, Storm, VirtualService};
        let plain = Args { table: false, crowd: Vec::new(), vast: None, profile: Profile::Plain, ..args.clone() };
        let events = plain.events().into_iter().chain([More]).collect();
        let main = printed(&Args { events, ..plain.clone() }).await?;
        let events = vec![VirtualService, Service];
        let whole = printed(&Args { whole_routes: true, events, ..plain.clone() }).await?;
        let diverse = printed(&Args { profile: Profile::Diverse, ..plain.clone() }).await?;
        let few = Args { clients: args.clients.div_ceil(10), ..plain.clone() };
        let storm = printed(&Args { events: vec![Storm], rounds: 1, ..few.clone() }).await?;
        let mut crowds = Vec::new();
        for clients in args.crowd.iter().copied() {
            let processes = clients.div_ceil(CLIENTS_PER_PROCESS).max(args.processes);
            let (events, rate) = (vec![Endpoint, Churn], plain.rate.min(CROWD_RATE));
            let crowd = Args { clients, processes, events, rate, ..plain.clone() };
            crowds.push((clients, printed(&crowd).await?));
        }
        let vast = match args.vast {
            None => None,
            Some(services) => {
                let few = Args { events: vec![Endpoint, VirtualService, Service], ..few };
                Some((printed(&few).await?, services, printed(&Args { services, ..few }).await?))
            }
        };
        Ok(Self { main, whole, diverse, storm, crowds, vast })
    }

    fn are_good(&self) -> bool {
        let crowds = self.crowds.iter().map(|(_, report)| report);
        let vast = self.vast.iter().flat_map(|(few, _, many)| [few, many]);
        [&self.main, &self.whole, &self.diverse, &self.storm].into_iter().chain(crowds).chain(vast).all(Report::is_good)
    }

    /// Writes the goals.
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}\n", machine())?;
        writeln!(out, "| goal | must | aim | measured | |\n|---|---|---|---|---|")?;
        for goal in &GOALS {
            goal.write(goal.0, &self.main, out)?;
        }
        let plain = self.main.most_resident_megabytes().unwrap_or_default();
        write_row("resident memory, all of it", &[(&MEMORY, plain)], out)?;
        STORM.write(STORM.0, &self.storm, out)?;
        for goal in &WHOLE {
            goal.write(goal.0, &self.whole, out)?;
        }
        for goal in &DIVERSE {
            goal.write(&format!("diverse: {}", goal.0), &self.diverse, out)?;
        }
        let memory = must(Resident, plain * DIVERSE_MEMORY);
        let diverse = self.diverse.most_resident_megabytes().unwrap_or_default();
        write_row("diverse: resident memory, at most twice that of plain", &[(&memory, diverse)], out)?;
        for (clients, report) in &self.crowds {
            for goal in &CROWD {
                goal.write(&format!("{clients} clients: {}", goal.0), report, out)?;
            }
        }
        self.vast.as_ref().map_or(Ok(()), |(few, services, many)| write_vast(few, *services, many, out))
    }
}

async fn printed(args: &Args) -> Result<Report> {
    let report = once(args).await?;
    let mut out = io::stdout().lock();
    report.write(args.output, &mut out)?;
    writeln!(out)?;
    out.flush()?;
    Ok(report)
}

/// Compares what changes cost.
fn write_vast(few: &Report, services: u32, many: &Report, out: &mut impl Write) -> io::Result<()> {
    for change in VAST_CHANGES {
        let cost = |report: &Report| report.medians(change).and_then(|medians| medians.cpu_seconds);
        if let Some((few, many)) = cost(few).zip(cost(many)) {
            let title = format!("{services} services: {change}, at most {VAST_COST} times the cost");
            write_row(&title, &[(&must(Cpu, few * VAST_COST), many)], out)?;
        }
    }
    Ok(())
}

impl Goal {
    fn write(&self, title: &str, report: &Report, out: &mut impl Write) -> io::Result<()> {
        let Some(medians) = report.medians(self.1) else { return Ok(()) };
        let figures: Vec<_> = self.2.iter().filter_map(|bound| Some((bound, bound.figure.of(&medians)?))).collect();
        write_row(title, &figures, out)
    }
}

fn write_row(title: &str, figures: &[(&Bound, f64)], out: &mut impl Write) -> io::Result<()> {
    let limits = |limit: fn(&Bound) -> Option<f64>| {
        let each = figures.iter().filter_map(|(bound, _)| Some((bound.figure, limit(bound)?)));
        each.map(|(figure, n)| Most(figure, n).to_string()).collect::<Vec<_>>().join(", ")
    };
    let measured: Vec<_> = figures.iter().map(|(bound, n)| Amount(bound.figure, *n).to_string()).collect();
    let (musts, aims) = (limits(|b| b.must), limits(|b| b.aim));
    writeln!(out, "| {title} | {musts} | {aims} | {} | {} |", measured.join(", "), verdict(figures))
}

/// What is missed, and by how much.
fn verdict(figures: &[(&Bound, f64)]) -> String {
    let over = |limit: fn(&Bound) -> Option<f64>| -> Vec<String> {
        let missed = figures.iter().filter_map(|(bound, n)| Some((bound.figure, *n, limit(bound)?)));
        let missed = missed.filter(|(_, n, most)| n > most);
        missed
            .map(|(figure, n, most)| {
                if most > 0.0 {
                    format!("{} is {:.2} times that", Amount(figure, n), n / most)
                } else {
                    Amount(figure, n).to_string()
                }
            })
            .collect()
    };
    let missed = over(|b| b.must);
    if figures.iter().all(|(bound, _)| bound.must.is_none() && bound.aim.is_none()) {
        String::new()
    } else if !missed.is_empty() {
        format!("**missed**: {}", missed.join(", "))
    } else if figures.iter().all(|(bound, _)| bound.aim.is_none()) || !over(|b| b.aim).is_empty() {
        "ok".to_owned()
    } else {
        "ok, aim met".to_owned()
    }
}

/// The machine and the command.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = kilobytes.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or_default();
    let mut words = std::env::args();
    let program = words.next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default().to_owned();
    let command: Vec<_> = std::iter::once(program).chain(words).collect();
    format!(
        "{cores} cores that server and clients share, {:.1} GB of memory: `{}`",
        kilobytes * 1024.0 / 1e9,
        command.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_says_what_is_missed_and_by_how_much() {
        let (time, cpu) = (bound(Last, 25.0, 10.0), must(Cpu, 0.03));
        assert_eq!(verdict(&[(&time, 9.0), (&cpu, 0.02)]), "ok, aim met");
        assert_eq!(verdict(&[(&time, 11.0), (&cpu, 0.02)]), "ok");
        assert_eq!(verdict(&[(&time, 50.0), (&cpu, 0.02)]), "**missed**: 50.0 ms is 2.00 times that");
        assert_eq!(verdict(&[(&must(Resources, 0.0), 3.0)]), "**missed**: 3 resources");
        assert_eq!(verdict(&[(&told(Peak), 3.0)]), "");
        assert_eq!(verdict(&[(&aim(Sent, 2.0), 3.0)]), "ok");
    }
}
