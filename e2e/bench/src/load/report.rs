//! The figures, as a table or as JSON.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::Serialize;

use super::{Args, args::Output, process::Meter, tally::Counts};

/// Bytes of a megabyte, as disks and networks count.
const MEGABYTE: f64 = 1e6;

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
    cpu_seconds: Option<f64>,
    resident_bytes: Option<u64>,
    peak_bytes: Option<u64>,
    received: Counts,
    /// Nothing was to be sent.
    silent: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    note: String,
}

impl Row {
    pub(super) fn new(event: &str) -> Self {
        Self { event: event.to_owned(), ..Self::default() }
    }

    /// Nothing is to be sent.
    pub(super) fn silent(mut self) -> Self {
        self.silent = true;
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
        self.missing = clients - times.len();
    }

    /// Takes the processor time since an earlier figure, and the memory.
    pub(super) fn measured(&mut self, meter: &mut Meter, earlier: Duration) {
        let memory = meter.memory();
        self.cpu_seconds = Some(meter.cpu().saturating_sub(earlier).as_secs_f64());
        (self.resident_bytes, self.peak_bytes) = (Some(memory.resident), Some(memory.peak));
    }

    /// Takes what helps to find out what was wrong.
    pub(super) fn note(&mut self, text: String) {
        self.note = text;
    }

    pub(super) fn received(&mut self, counts: Counts) {
        self.received = counts;
    }

    fn is_good(&self) -> bool {
        self.missing == 0
            && self.received.broken == 0
            && !(self.silent && self.received.resources() + self.received.removed > 0)
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
    whole_routes: bool,
    rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(args: &Args) -> Self {
        Self {
            services: args.services,
            endpoints: args.endpoints,
            namespaces: args.namespaces,
            virtual_services: args.virtual_services(),
            clients: args.clients,
            whole_routes: args.whole_routes,
            rows: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, row: Row) {
        self.rows.push(row);
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
        writeln!(
            out,
            "{} services x {} endpoints in {} namespaces, {} with a VirtualService; {} clients that take {}; medians of \
             the rounds\n",
            self.services,
            self.endpoints,
            self.namespaces,
            self.virtual_services,
            self.clients,
            if self.whole_routes { "whole route configurations" } else { "virtual hosts one by one" },
        )?;
        writeln!(
            out,
            "| event | p50 ms | p99 ms | last ms | CPU s | MB | cds | eds | lds | rds | vhds | removed | RSS MB | peak MB |"
        )?;
        writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")?;
        for rounds in self.rows.chunk_by(|a, b| a.event == b.event) {
            Self::write_row(rounds, out)?;
        }
        for row in self.rows.iter().filter(|row| !row.is_good()) {
            writeln!(out, "\n{}: {}", row.event, complaint(row))?;
        }
        Ok(())
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
        let megabytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64 / MEGABYTE);
        write!(out, "| {name} | {:.1} | {:.1} | {:.1} ", of(&|r| r.p50_ms), of(&|r| r.p99_ms), of(&|r| r.last_ms))?;
        write!(out, "| {} | {:.3} ", optional(&|r| r.cpu_seconds, 3), count(&|c| c.bytes) / MEGABYTE)?;
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
        row if row.received.broken > 0 => format!("{} streams broke", row.received.broken),
        Row { received, .. } => {
            let (sent, removed) = (received.resources(), received.removed);
            format!("{sent} resources were sent and {removed} removed, but nothing was to be")
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}
