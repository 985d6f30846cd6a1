//! Figures, their medians over the rounds, and tables in Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::SystemTime;

use serde_json::Value;

use crate::bed::Bed;
use crate::cold::Cold;
use crate::hot::Hot;
use crate::options::{DEPTHS, Kind, Options};
use crate::servers::{Server, machine};

/// Measured figures; times are in milliseconds.
#[derive(Clone, Copy)]
pub(crate) enum Figure {
    HotP50,
    HotP99,
    HotP999,
    HotMax,
    HotInTime,
    HotTotal,
    ColdPerSecond,
    ColdP50,
    Threads,
    Deepest,
    SleepsOutsidePoll,
    MajorFaults,
    LateMax,
    Errors,
}

const FIGURES: usize = Figure::Errors as usize + 1;

/// The figures of one measurement, or medians of several; figures that do not apply are absent.
#[derive(Clone, Copy)]
pub(crate) struct Outcome([Option<f64>; FIGURES]);

impl Outcome {
    pub(crate) fn new() -> Outcome {
        let mut outcome = Outcome([None; FIGURES]);
        outcome.set(Figure::Errors, 0.0);
        outcome
    }

    /// Sets a figure; NaN is absent.
    pub(crate) fn set(&mut self, figure: Figure, value: f64) {
        self.0[figure as usize] = Some(value).filter(|value| !value.is_nan());
    }

    pub(crate) fn get(&self, figure: Figure) -> Option<f64> {
        self.0[figure as usize]
    }

    fn add_errors(&mut self, errors: usize) {
        let before = self.get(Figure::Errors).unwrap_or(0.0);
        self.set(Figure::Errors, before + errors as f64);
    }

    pub(crate) fn note_hot(&mut self, hot: &Hot) {
        self.set(Figure::HotP50, hot.p50_ms);
        self.set(Figure::HotP99, hot.p99_ms);
        self.set(Figure::HotP999, hot.p999_ms);
        self.set(Figure::HotMax, hot.max_ms);
        self.set(Figure::HotInTime, hot.in_time as f64);
        self.set(Figure::HotTotal, hot.total as f64);
        self.set(Figure::LateMax, hot.late_max_ms);
        self.add_errors(hot.lost);
    }

    pub(crate) fn note_cold(&mut self, cold: &Cold) {
        self.set(Figure::ColdPerSecond, cold.files_per_second);
        self.set(Figure::ColdP50, cold.p50_ms);
        self.add_errors(cold.errors);
    }

    /// Takes figures from the server's own numbers, if it has any.
    pub(crate) fn note_numbers(&mut self, numbers: Option<&Value>) {
        let number = |pointer| {
            let found = numbers.and_then(|numbers| numbers.pointer(pointer));
            found.and_then(Value::as_f64).unwrap_or(f64::NAN)
        };
        self.set(
            Figure::SleepsOutsidePoll,
            number("/loop/sleeps_outside_poll"),
        );
        self.set(Figure::MajorFaults, number("/loop/major_faults"));
    }

    fn median(outcomes: &[Outcome]) -> Outcome {
        let mut median = Outcome([None; FIGURES]);
        for (place, figure) in median.0.iter_mut().enumerate() {
            let mut values: Vec<f64> = outcomes.iter().filter_map(|one| one.0[place]).collect();
            values.sort_by(f64::total_cmp);
            *figure = values.get(values.len() / 2).copied();
        }
        median
    }

    /// The figures of a row, in the order of [`COLUMNS`].
    fn cells(&self) -> String {
        let time = |figure| cell(self.get(figure), milliseconds);
        let whole = |figure| cell(self.get(figure), |value| format!("{value:.0}"));
        let (in_time, total) = (whole(Figure::HotInTime), whole(Figure::HotTotal));
        [
            time(Figure::HotP50),
            time(Figure::HotP99),
            time(Figure::HotP999),
            time(Figure::HotMax),
            match self.get(Figure::HotTotal) {
                Some(_) => format!("{in_time} of {total}"),
                None => "-".into(),
            },
            cell(self.get(Figure::ColdPerSecond), |rate| format!("{rate:.1}")),
            whole(Figure::ColdP50),
            whole(Figure::Threads),
            whole(Figure::Deepest),
            whole(Figure::SleepsOutsidePoll),
            whole(Figure::MajorFaults),
            time(Figure::LateMax),
            whole(Figure::Errors),
        ]
        .join(" | ")
    }
}

const COLUMNS: &str = "| server | hot p50 ms | p99 | p99.9 | max | hot in time | cold files/s \
    | cold p50 ms | threads | deepest disk queue | blocking calls | major faults | sent late ms | errors |\n\
    | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n";

fn cell(value: Option<f64>, show: impl Fn(f64) -> String) -> String {
    value.map_or("-".into(), show)
}

fn milliseconds(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn title(kind: Kind) -> String {
    match kind {
        Kind::Idle => "the hot load alone".into(),
        Kind::Small => "the hot load, 16 clients fetch cold files of 4 KiB".into(),
        Kind::Big | Kind::Beside => "the hot load, 4 clients fetch cold files of 8 MiB".into(),
        Kind::Depth(clients) => format!("{clients} clients fetch cold files of 4 KiB"),
    }
}

/// All results.
pub(crate) struct Report {
    servers: Vec<Server>,
    /// The outcomes of all rounds, by index of the server.
    outcomes: BTreeMap<(Bed, Kind, usize), Vec<Outcome>>,
}

impl Report {
    pub(crate) fn new(servers: &[Server]) -> Report {
        Report {
            servers: servers.to_vec(),
            outcomes: BTreeMap::new(),
        }
    }

    /// Adds an outcome and prints it.
    pub(crate) fn add(&mut self, bed: Bed, kind: Kind, server: Server, outcome: Outcome) {
        let place = self.servers.iter().position(|one| one.name == server.name);
        let place = place.expect("a server that is measured was chosen");
        let name = row_name(kind, server);
        println!(
            "{}, {}\n  | {name} | {} |",
            bed.name(),
            title(kind),
            outcome.cells()
        );
        let outcomes = self.outcomes.entry((bed, kind, place)).or_default();
        outcomes.push(outcome);
    }

    /// Medians of one kind of measurement, in the order of the servers.
    pub(crate) fn medians(&self, bed: Bed, kind: Kind) -> Vec<(Server, Outcome)> {
        let of_server = |(place, server): (usize, &Server)| {
            let outcomes = self.outcomes.get(&(bed, kind, place))?;
            Some((*server, Outcome::median(outcomes)))
        };
        self.servers
            .iter()
            .enumerate()
            .filter_map(of_server)
            .collect()
    }

    /// The file systems with results.
    pub(crate) fn beds(&self) -> Vec<Bed> {
        let mut beds: Vec<Bed> = self.outcomes.keys().map(|(bed, ..)| *bed).collect();
        beds.dedup();
        beds
    }

    pub(crate) fn tables(&self) -> String {
        let mut text = String::new();
        for bed in self.beds() {
            for kinds in [
                &[Kind::Idle][..],
                &[Kind::Small],
                &[Kind::Big, Kind::Beside],
            ] {
                self.write_table(&mut text, bed, kinds);
            }
            self.write_depths(&mut text, bed);
        }
        text
    }

    fn write_table(&self, text: &mut String, bed: Bed, kinds: &[Kind]) {
        let rows: Vec<String> = kinds
            .iter()
            .flat_map(|kind| {
                let medians = self.medians(bed, *kind).into_iter();
                medians.map(|(server, outcome)| {
                    format!("| {} | {} |\n", row_name(*kind, server), outcome.cells())
                })
            })
            .collect();
        if let (Some(first), false) = (kinds.first(), rows.is_empty()) {
            let _ = writeln!(text, "### {}: {}\n", bed.name(), title(*first));
            let _ = writeln!(text, "{COLUMNS}{}", rows.concat());
        }
    }

    fn write_depths(&self, text: &mut String, bed: Bed) {
        let columns = DEPTHS.map(|clients| self.medians(bed, Kind::Depth(clients)));
        if columns.iter().all(Vec::is_empty) {
            return;
        }
        let _ = writeln!(
            text,
            "### {}: only cold files of 4 KiB\n\nFiles/s (p50 in ms; deepest disk queue; \
             threads; errors) by the number of clients.\n\n| server | {} |\n| --- |{}",
            bed.name(),
            DEPTHS.map(|clients| clients.to_string()).join(" | "),
            " ---: |".repeat(DEPTHS.len()),
        );
        for server in &self.servers {
            let cells = columns.each_ref().map(|column| {
                let found = column.iter().find(|(other, _)| other.name == server.name);
                found.map_or("-".into(), |(_, outcome)| {
                    let whole = |figure| cell(outcome.get(figure), |value| format!("{value:.0}"));
                    format!(
                        "{} ({}; {}; {}; {})",
                        cell(outcome.get(Figure::ColdPerSecond), |rate| format!(
                            "{rate:.0}"
                        )),
                        whole(Figure::ColdP50),
                        whole(Figure::Deepest),
                        whole(Figure::Threads),
                        whole(Figure::Errors),
                    )
                })
            });
            let _ = writeln!(text, "| {} | {} |", server.name, cells.join(" | "));
        }
        text.push('\n');
    }

    /// Writes the tables and the conditions of the measurement to `stall.md` in the directory.
    ///
    /// # Errors
    /// When the file or its directory cannot be written.
    pub(crate) fn write(&self, directory: &Path, options: &Options) -> Result<(), String> {
        let versions: Vec<String> = self
            .servers
            .iter()
            .filter_map(|server| server.version())
            .collect();
        let mut versions: Vec<&str> = versions.iter().map(String::as_str).collect();
        versions.dedup();
        let text = format!(
            "# Latency with a slow disk\n\n{INTRODUCTION}\n{} seconds (half of that for the hot load \
             alone and for cold clients alone), {} round(s), {}.\n\n- {}\n- {}\n\n{}",
            options.seconds,
            options.rounds,
            httpdate::fmt_http_date(SystemTime::now()),
            machine(),
            versions.join("\n- "),
            self.tables(),
        );
        fs::create_dir_all(directory)
            .and_then(|()| {
                fs::write(
                    directory.join("stall.md"),
                    text.trim_end().to_owned() + "\n",
                )
            })
            .map_err(|error| format!("{}: {error}", directory.display()))
    }
}

const INTRODUCTION: &str = "\
Written by `cargo bench --bench stall`. The disk takes 20 ms a request of any size and handles 32 at a time: \
`fuse` is a tree below which each lookup, open and read is such a request, `ext4` a file system on a block \
device whose reads are such requests. One hot file of 1 KiB is requested 1,000 times a second over 32 \
connections; latency counts from the scheduled time of a request, so a stall delays every request scheduled \
during it. *In time* counts responses received before the load ended. A measurement ends early when no cold \
files are left. *Sent late* is the largest delay caused by the bench itself, which the latencies include. \
*Elsewhere*: the hot load goes to a second process on the same machine and disk, to show the effect of the \
machine alone.
";

/// The server's name in a row of this kind.
fn row_name(kind: Kind, server: Server) -> String {
    match kind {
        Kind::Beside => format!("{}, hot elsewhere", server.name),
        _ => server.name.into(),
    }
}
