//! Medians and spreads of the measurements, and a table in Markdown.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::thread;

use crate::load::Sample;
use crate::servers::{self, Program};
use crate::workloads::Workload;

/// All samples of one server under one workload.
pub(crate) struct Row {
    pub(crate) program: Program,
    pub(crate) samples: Vec<Sample>,
}

/// All servers under one workload; spede is the first.
pub(crate) struct Part {
    pub(crate) workload: Workload,
    pub(crate) rows: Vec<Row>,
}

/// The median, the minimum and the maximum.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Row {
    pub(crate) fn spread(&self, value: impl Fn(&Sample) -> f64) -> Spread {
        let mut values: Vec<f64> = self.samples.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        Spread {
            median: values[values.len() / 2],
            least: values[0],
            most: values[values.len() - 1],
        }
    }
}

impl Part {
    /// Cost of a server relative to spede: the median of the ratios of neighbouring rounds.
    pub(crate) fn ratio(&self, row: &Row, value: impl Fn(&Sample) -> f64) -> f64 {
        let spede = &self.rows[0].samples;
        let pairs = row.samples.iter().zip(spede);
        let mut ratios: Vec<f64> = pairs.map(|(one, own)| value(one) / value(own)).collect();
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    }

    /// The rows of the table.
    pub(crate) fn lines(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let rate = row.spread(|sample| sample.requests_per_second);
            let cpu = row.spread(|sample| sample.cpu_us);
            let both = row.spread(|sample| sample.both_us);
            let p99 = row.spread(|sample| sample.p99_ms);
            let _ = writeln!(
                text,
                "| {} | {} | {:.0} | {} | {} ({} – {}) | {:.2} | {} | {:.2} |",
                self.workload.name,
                row.program.name(),
                rate.median,
                short(p99.median),
                short(cpu.median),
                short(cpu.least),
                short(cpu.most),
                self.ratio(row, |sample| sample.cpu_us),
                short(both.median),
                self.ratio(row, |sample| sample.both_us),
            );
        }
        text
    }
}

/// A number with a useful number of digits.
fn short(value: f64) -> String {
    match value {
        ..100.0 => format!("{value:.2}"),
        ..1_000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

const HEAD: &str = "| workload | server | requests/s | p99 ms | server CPU µs/request (min – max) | relative to spede | \
     server and client CPU | relative to spede |\n| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |\n";

/// The whole table.
pub(crate) fn table(parts: &[Part]) -> String {
    let rows: String = parts.iter().map(Part::lines).collect();
    format!("{HEAD}{rows}")
}

/// The cheapest of the other servers relative to spede, by workload. The floor is not a server.
pub(crate) fn summary(parts: &[Part]) -> String {
    let mut text = String::from(
        "| workload | spede's server CPU / floor | best other server by server CPU | its CPU / spede's | \
         best by requests/s | its rate / spede's | best by CPU of both sides | its CPU / spede's |\n\
         | --- | ---: | --- | ---: | --- | ---: | --- | ---: |\n",
    );
    for part in parts {
        let floor = part.rows.iter().find(|row| row.program == Program::Floor);
        let floor = floor.map_or(String::from("–"), |row| {
            format!("{:.2}", 1.0 / part.ratio(row, |sample| sample.cpu_us))
        });
        let peers = || {
            let is_peer = |row: &&Row| ![Program::Floor, Program::Spede].contains(&row.program);
            part.rows.iter().filter(is_peer)
        };
        let least = |value: fn(&Sample) -> f64| {
            let ratios = peers().map(|row| (row.program.name(), part.ratio(row, value)));
            let best = ratios.min_by(|one, other| one.1.total_cmp(&other.1));
            best.unwrap_or(("–", f64::NAN))
        };
        let cpu = least(|sample| sample.cpu_us);
        let slowest = least(|sample| 1.0 / sample.requests_per_second);
        let both = least(|sample| sample.both_us);
        let _ = writeln!(
            text,
            "| {} | {floor} | {} | {:.2} | {} | {:.2} | {} | {:.2} |",
            part.workload.name,
            cpu.0,
            cpu.1,
            slowest.0,
            1.0 / slowest.1,
            both.0,
            both.1,
        );
    }
    text
}

/// Writes the table and the conditions of the measurement to `compare.md` in the directory.
///
/// # Errors
/// When the file or its directory cannot be written.
pub(crate) fn write(directory: &Path, parts: &[Part], how: &str) -> Result<(), String> {
    let mut versions = String::new();
    for version in servers::ALL.iter().filter_map(|program| program.version()) {
        let _ = writeln!(versions, "- {version}");
    }
    let text = format!(
        "# Comparison with other servers\n\n{INTRODUCTION}\n{how}\n\n- {}\n{versions}\n## Summary\n\n{}\n## All figures\n\n{}",
        machine(),
        summary(parts),
        table(parts),
    );
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(directory.join("compare.md"), text))
        .map_err(|error| format!("{}: {error}", directory.display()))
}

const INTRODUCTION: &str = "\
Written by `cargo bench --bench compare`. Each server runs on processor 0 and wrk on processor 1, \
interleaved round by round. CPU is user and system time a request; *relative to spede* is the median of the \
ratios of neighbouring rounds: above 1, spede needs less. If requests a second are equal, the processor of \
wrk is the bottleneck, and only the CPU columns distinguish the servers. The *floor* is a bare epoll loop \
that receives any input and sends one fixed response of 1 KiB. Configurations are in \
`benches/compare/servers.rs`: one event loop each if that is configurable, open-file caches on, no log.
";

/// The kernel and the processors, in one line.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("", |(_, model)| model);
    format!(
        "{} processors ({model}), Linux {}",
        thread::available_parallelism().map_or(0, usize::from),
        read("/proc/sys/kernel/osrelease").trim(),
    )
}
