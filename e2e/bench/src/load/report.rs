//! The figures, as a table or as JSON.

use std::{
    io::{self, Write},
    num::NonZero,
    time::Duration,
};

use serde::Serialize;

use super::{Args, args::Output, population::Profile, process::Meter, tally::Counts};

/// Bytes of a megabyte, as disks and networks count.
const MEGABYTE: f64 = 1e6;

/// Bytes of a kilobyte.
const KILOBYTE: f64 = 1e3;

/// So much of what an event took of memory may be kept: everything is freed, but pages stay that hold something else too.
const MOST_KEPT: f64 = 0.5;

/// The server may grow by so many bytes with each further client of a known class, its connection included.
const MOST_PER_CLIENT: u64 = 40_000;

/// With fewer clients, pages that something else took or left would count for much.
const CLIENTS_TO_JUDGE: usize = 100;

/// The thread of the server that works most may do so much of all work: with two cores half of it is best.
const MOST_OF_ONE_THREAD: f64 = 0.75;

/// One round of an event.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Row {
    event: String,
    /// Milliseconds until half of the clients, 99 of 100 and the last one had it.
    p50_ms: f64,
    p99_ms: f64,
    last_ms: f64,
    /// Clients that should have it and did not get it in time.
    missing: usize,
    /// Clients that were to have it.
    concerned: usize,
    /// Of the server.
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    peak_bytes: Option<u64>,
    /// Of the processes with the clients.
    load_cpu_seconds: f64,
    received: Counts,
    /// By how much the server grew with each client.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_client: Option<u64>,
    /// The share of the server's processor time that its busiest thread took.
    #[serde(skip_serializing_if = "Option::is_none")]
    busiest_share: Option<f64>,
    /// What share of the memory that the event took was kept after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_share: Option<f64>,
    /// Other things happened at the same time.
    mixed: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

impl Row {
    pub(super) fn new(event: &str) -> Self {
        Self { event: event.to_owned(), ..Self::default() }
    }

    /// Other things happen at the same time.
    pub(super) fn mixed(mut self) -> Self {
        self.mixed = true;
        self
    }

    /// The start of the server itself.
    pub(super) fn started(mut self, took: Duration, meter: &mut Meter) -> Self {
        self.arrived(&[took], 1);
        self.measured(meter, Duration::ZERO);
        self
    }

    /// Takes the ascending times after which clients had it, of so many.
    pub(super) fn arrived(&mut self, times: &[Duration], clients: usize) {
        let at = |share: f64| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "an index"
            )]
            let index = (times.len() as f64 * share).ceil() as usize;
            times.get(index.saturating_sub(1)).map_or(0.0, |time| time.as_secs_f64() * 1e3)
        };
        (self.p50_ms, self.p99_ms, self.last_ms) = (at(0.5), at(0.99), at(1.0));
        (self.concerned, self.missing) = (clients, clients.saturating_sub(times.len()));
    }

    /// Takes the processor time since an earlier figure, and the memory.
    pub(super) fn measured(&mut self, meter: &mut Meter, earlier: Duration) {
        let memory = meter.memory();
        self.cpu_seconds = Some(meter.cpu().saturating_sub(earlier).as_secs_f64());
        (self.resident_bytes, self.peak_bytes) = (Some(memory.resident), Some(memory.peak));
    }

    /// Takes the processor time of the processes with the clients.
    pub(super) fn loaded(&mut self, cpu: Duration) {
        self.load_cpu_seconds = cpu.as_secs_f64();
    }

    /// Takes by how many bytes the server grew with each client.
    pub(super) fn grown(&mut self, bytes_per_client: u64) {
        self.bytes_per_client = Some(bytes_per_client);
    }

    /// Takes the share of the server's busiest thread, unless there is but one core.
    pub(super) fn spread(&mut self, busiest_share: f64) {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        self.busiest_share = (cores > 1).then_some(busiest_share);
    }

    /// Takes how many bytes are kept of those that an event took.
    pub(super) fn kept(&mut self, bytes: u64, of: u64) {
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = bytes as f64 / of as f64;
        self.kept_share = Some(share);
    }

    /// Takes what helps to find out what was wrong, if anything was.
    pub(super) fn note(&mut self, text: String) {
        self.note = text;
    }

    pub(super) fn received(&mut self, counts: Counts) {
        self.received = counts;
    }

    fn is_good(&self) -> bool {
        let arrived = self.missing == 0 && self.received.broken == 0 && (self.mixed || self.received.strays == 0);
        let returned = self.kept_share.is_none_or(|share| share <= MOST_KEPT);
        arrived && returned && !self.grew_too_much() && !self.kept_to_one_core()
    }

    fn grew_too_much(&self) -> bool {
        self.concerned >= CLIENTS_TO_JUDGE && self.bytes_per_client.is_some_and(|bytes| bytes > MOST_PER_CLIENT)
    }

    fn kept_to_one_core(&self) -> bool {
        self.concerned >= CLIENTS_TO_JUDGE && self.busiest_share.is_some_and(|share| share > MOST_OF_ONE_THREAD)
    }
}

/// All rows.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    services: u32,
    endpoints: u32,
    namespaces: u32,
    virtual_services: u32,
    clients: usize,
    processes: usize,
    profile: Profile,
    whole_routes: bool,
    /// Different resources of all clients together once all were connected, by type.
    encodings: Vec<usize>,
    rows: Vec<Row>,
}

/// Medians of the rounds of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Medians {
    pub(super) p99_ms: f64,
    pub(super) last_ms: f64,
    pub(super) cpu_seconds: Option<f64>,
    pub(super) megabytes: f64,
    pub(super) resources: f64,
    pub(super) resident_megabytes: Option<f64>,
    pub(super) peak_megabytes: Option<f64>,
    pub(super) kilobytes_per_client: Option<f64>,
    pub(super) kept_share: Option<f64>,
}

impl Report {
    pub(super) fn new(args: &Args) -> Self {
        Self {
            services: args.services,
            endpoints: args.endpoints,
            namespaces: args.namespaces,
            virtual_services: args.virtual_services(),
            clients: args.clients,
            processes: args.processes,
            profile: args.profile,
            whole_routes: args.whole_routes,
            encodings: Vec::new(),
            rows: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Takes how many different resources there are of each type.
    pub(super) fn encodings(&mut self, by_type: Vec<usize>) {
        self.encodings = by_type;
    }

    /// The figures of the event whose name ends so.
    pub(super) fn medians(&self, event: &str) -> Option<Medians> {
        let rounds: Vec<&Row> = self.rows.iter().filter(|row| row.event.ends_with(event)).collect();
        if rounds.is_empty() {
            return None;
        }
        let of = |figure: fn(&Row) -> f64| median(rounds.iter().map(|row| figure(row)).collect());
        let optional = |figure: fn(&Row) -> Option<f64>| {
            let values: Vec<f64> = rounds.iter().filter_map(|row| figure(row)).collect();
            (!values.is_empty()).then(|| median(values))
        };
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        Some(Medians {
            p99_ms: of(|r| r.p99_ms),
            last_ms: of(|r| r.last_ms),
            cpu_seconds: optional(|r| r.cpu_seconds),
            megabytes: of(|r| r.received.bytes as f64 / MEGABYTE),
            resources: of(|r| r.received.resources() as f64),
            resident_megabytes: optional(|r| megabytes(r.resident_bytes)),
            peak_megabytes: optional(|r| megabytes(r.peak_bytes)),
            kilobytes_per_client: optional(|r| Some(r.bytes_per_client? as f64 / KILOBYTE)),
            kept_share: optional(|r| r.kept_share),
        })
    }

    /// The most resident memory after any event with as many clients as were asked for.
    pub(super) fn most_resident_megabytes(&self) -> Option<f64> {
        let rows = self.rows.iter().filter(|row| row.bytes_per_client.is_none() && row.kept_share.is_none());
        rows.filter_map(|row| megabytes(row.resident_bytes)).max_by(f64::total_cmp)
    }

    /// Whether everything arrived, and nothing where nothing had to.
    pub(super) fn is_good(&self) -> bool {
        self.rows.iter().all(Row::is_good)
    }

    pub(super) fn write(&self, form: Output, out: &mut impl Write) -> io::Result<()> {
        match form {
            Output::Json => {
                serde_json::to_writer_pretty(&mut *out, self)?;
                writeln!(out)
            }
            Output::Table => self.write_table(out),
        }
    }

    fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{}", self.head())?;
        writeln!(
            out,
            "| event | clients | p50 ms | p99 ms | last ms | CPU s | load CPU s | MB | cds | eds | lds | rds | vhds \
             | removed | RSS MB | peak MB |"
        )?;
        writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
        for rounds in self.rows.chunk_by(|a, b| a.event == b.event) {
            Self::write_row(rounds, out)?;
        }
        if let Some(kilobytes) = self.medians("").and_then(|all| all.kilobytes_per_client) {
            writeln!(out, "\nmemory for each additional client of a known class: {kilobytes:.1} KB")?;
        }
        for share in self.rows.iter().filter_map(|row| row.busiest_share) {
            writeln!(out, "share of the server's busiest thread while they connect: {:.0} %", share * 100.0)?;
        }
        for share in self.rows.iter().filter_map(|row| row.kept_share) {
            writeln!(out, "\nmemory that is kept of what a storm took: {:.0} %", share * 100.0)?;
        }
        for row in self.rows.iter().filter(|row| !row.is_good()) {
            writeln!(out, "\n{}: {}", row.event, complaint(row))?;
        }
        Ok(())
    }

    fn head(&self) -> String {
        let Self { services, endpoints, namespaces, virtual_services, clients, processes, .. } = self;
        let routes = if self.whole_routes { "whole route configurations" } else { "virtual hosts one by one" };
        let profile = match self.profile {
            Profile::Plain => "differ by namespace",
            Profile::Diverse => "differ by workload, zone and version",
        };
        let names = ["clusters", "endpoints", "listeners", "routes", "virtual hosts"];
        let encodings: Vec<_> =
            self.encodings.iter().zip(names).map(|(count, name)| format!("{count} {name}")).collect();
        format!(
            "{services} services x {endpoints} endpoints in {namespaces} namespaces, {virtual_services} with a \
             VirtualService; {clients} clients in {processes} processes that {profile} and take {routes}; medians of the \
             rounds\n\ndifferent resources: {}\n",
            encodings.join(", ")
        )
    }

    fn write_row(rounds: &[Row], out: &mut impl Write) -> io::Result<()> {
        let name = rounds.first().map_or("", |row| &row.event);
        let of = |figure: &dyn Fn(&Row) -> f64| median(rounds.iter().map(figure).collect());
        let optional = |figure: &dyn Fn(&Row) -> Option<f64>, digits: usize| {
            let values: Vec<f64> = rounds.iter().filter_map(figure).collect();
            if values.is_empty() { "-".to_owned() } else { format!("{:.digits$}", median(values)) }
        };
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let count = |figure: &dyn Fn(&Counts) -> u64| of(&|row| figure(&row.received) as f64);
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let concerned = of(&|row| row.concerned as f64);
        write!(
            out,
            "| {name} | {concerned} | {:.1} | {:.1} | {:.1} ",
            of(&|r| r.p50_ms),
            of(&|r| r.p99_ms),
            of(&|r| r.last_ms)
        )?;
        write!(out, "| {} | {:.3} ", optional(&|r| r.cpu_seconds, 3), of(&|r| r.load_cpu_seconds))?;
        write!(out, "| {:.3} ", count(&|c| c.bytes) / MEGABYTE)?;
        for figure in Counts::COLUMNS {
            write!(out, "| {} ", count(&figure))?;
        }
        let resident = optional(&|r| megabytes(r.resident_bytes), 0);
        writeln!(out, "| {resident} | {} |", optional(&|r| megabytes(r.peak_bytes), 0))
    }
}

fn complaint(row: &Row) -> String {
    match row {
        Row { missing: 1.., .. } => format!("{} clients did not get it in time: {}", row.missing, row.note),
        row if row.received.broken > 0 => format!("{} streams broke; {}", row.received.broken, row.note),
        Row { kept_share: Some(share), .. } if *share > MOST_KEPT => {
            format!(
                "{:.0} % of the memory that it took are kept, at most {:.0} may be",
                share * 100.0,
                MOST_KEPT * 100.0
            )
        }
        row if row.grew_too_much() => {
            let grown = row.bytes_per_client.unwrap_or_default();
            format!("the server grew by {grown} bytes with each client, at most {MOST_PER_CLIENT} it may")
        }
        row if row.kept_to_one_core() => {
            let share = row.busiest_share.unwrap_or_default() * 100.0;
            format!(
                "one thread of the server did {share:.0} % of its work, at most {:.0} it may",
                MOST_OF_ONE_THREAD * 100.0
            )
        }
        row => format!("{} resources and removals were sent to clients that nothing was to be", row.received.strays),
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn megabytes(bytes: Option<u64>) -> Option<f64> {
    bytes.map(|bytes| bytes as f64 / MEGABYTE)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_grows_too_much_with_each_of_many_clients_is_not_good() {
        let row = |concerned, bytes| Row { concerned, bytes_per_client: Some(bytes), ..Row::new("more") };
        assert!(row(400, MOST_PER_CLIENT).is_good());
        let grown = row(400, MOST_PER_CLIENT + 1);
        assert!(!grown.is_good());
        assert!(complaint(&grown).contains("grew by 40001 bytes with each client"), "{}", complaint(&grown));
        assert!(row(CLIENTS_TO_JUDGE - 1, 10 * MOST_PER_CLIENT).is_good(), "too few to tell");
    }

    #[test]
    fn a_server_that_keeps_to_one_core_is_not_good() {
        let row = |share| Row { concerned: 400, busiest_share: Some(share), ..Row::new("more") };
        assert!(row(0.5).is_good());
        assert!(!row(0.95).is_good());
        assert!(complaint(&row(0.95)).contains("one thread of the server did 95 % of its work"));
    }
}
