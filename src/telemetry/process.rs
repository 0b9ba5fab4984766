//! Metrics about the process, as every Prometheus client gives them, read from `/proc`; and what its allocator says.

use std::{fmt, fs};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};
use tikv_jemalloc_ctl::{epoch, stats};

/// Ticks per second in `/proc/<pid>/stat`: part of Linux' interface with programs.
const TICKS: f64 = 100.0;

/// Reads the process' state at every scrape. Gives nothing where there is no `/proc`.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mut write = |name: &str, help: &str, value: Option<f64>, is_counter: bool| match value {
            Some(value) if is_counter => {
                let metric = ConstCounter::new(value);
                metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
            }
            Some(value) => {
                let metric = ConstGauge::new(value);
                metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
            }
            None => Ok(()),
        };
        write("process_cpu_seconds_total", "CPU time spent, in seconds", cpu_seconds(&stat), true)?;
        write("process_resident_memory_bytes", "Resident memory", memory(&status, "VmRSS:"), false)?;
        write("process_virtual_memory_bytes", "Virtual memory", memory(&status, "VmSize:"), false)?;
        write("process_start_time_seconds", "Start time since the epoch", start_time(&stat), false)?;
        let descriptors = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as f64);
        write("process_open_fds", "Open file descriptors", descriptors, false)?;
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        write("process_max_fds", "Limit of open file descriptors", max_descriptors(&limits), false)?;
        // What is in use grows by a leak; what is resident beside it is what the allocator keeps, and fragments.
        for (name, help, value) in allocator() {
            write(name, help, Some(value as f64), false)?;
        }
        Ok(())
    }
}

/// What the allocator counts, in bytes; nothing while it cannot say.
fn allocator() -> Vec<(&'static str, &'static str, usize)> {
    // The figures are those of the last time that this was called.
    if epoch::advance().is_err() {
        return Vec::new();
    }
    let all = [
        ("mizzen_memory_allocated_bytes", "Memory in use by the program", stats::allocated::read()),
        ("mizzen_memory_active_bytes", "Pages with memory in use", stats::active::read()),
        ("mizzen_memory_metadata_bytes", "Memory in use by the allocator itself", stats::metadata::read()),
        ("mizzen_memory_retained_bytes", "Addresses kept without memory behind them", stats::retained::read()),
    ];
    all.into_iter().filter_map(|(name, help, value)| Some((name, help, value.ok()?))).collect()
}

/// A field of `/proc/<pid>/stat` by its number in proc(5). The second is a name that may hold anything.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS)
}

fn start_time(stat: &str) -> Option<f64> {
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + field(stat, 22)? / TICKS)
}

fn memory(status: &str, key: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.0)
}

fn max_descriptors(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}
