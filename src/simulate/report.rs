//! The result as tables and advice.

use std::fmt;

use super::line::LineError;
use super::row::{Row, ratio};
use super::time;
use super::trace::{Disorder, Length, Trace};
use super::{BAD_LINES_NAMED_MAX, LogSource, Settings};
use crate::text::{self, exact_bytes, number};

/// Hit ratios with a smaller difference count as equal: a tenth of a per cent.
const SAME: f64 = 0.001;
/// Fewer requests give no advice. The standard error of a ratio of `n` requests is up to 0.5/√n, one percentage
/// point here; with fewer, differences between the sizes are chance.
const ADVICE_REQUEST_COUNT_MIN: u64 = 2_500;

/// A line that was skipped because it is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// `FILE:LINE`.
    pub place: String,
    /// The reason.
    pub why: String,
}

/// The result; displays as the text that `spede simulate` prints.
#[derive(Clone, Debug)]
pub struct Report {
    /// Number of lines, without empty ones.
    pub line_count: u64,
    /// Number of invalid lines.
    pub bad_count: u64,
    /// The first of them.
    pub bad: Vec<BadLine>,
    /// Rows by size of the file cache, in ascending order.
    pub map: Vec<Row>,
    /// Rows by size of the path cache, in ascending order.
    pub path: Vec<Row>,
    /// The current sizes: bytes of the file cache, and paths.
    pub today: (u64, u64),
    pub(super) map_sizes: Vec<u64>,
    pub(super) path_sizes: Vec<u64>,
    map_file_length_max: u64,
    map_count_max: u64,
    has_root: bool,
    summary: TraceSummary,
}

/// Figures of the trace itself.
#[derive(Clone, Debug, Default)]
struct TraceSummary {
    requests: u64,
    /// Times of the first and the last request.
    span_ms: (i64, i64),
    paths: u64,
    hosts: u64,
    skipped: u64,
    status_page: u64,
    disorder: Disorder,
    /// Files short enough for the file cache, and their bytes.
    mappable: (u64, u64),
    /// Files sent whose length is unknown.
    unknown_files: u64,
    /// Files that are not below the given root: their length is that of a response.
    not_below_root: u64,
    /// Bytes sent, and those among them of files too long for the file cache.
    bytes: u64,
    long_bytes: u64,
}

impl Report {
    pub(super) fn new(settings: &Settings) -> Report {
        let today = &settings.today;
        let (map, path) = (today.map_bytes_max, today.path_count_max as u64);
        Report {
            line_count: 0,
            bad_count: 0,
            bad: Vec::new(),
            map: Vec::new(),
            path: Vec::new(),
            today: (map, path),
            map_sizes: with(&settings.map_sizes, map),
            path_sizes: with(&settings.path_sizes, path),
            map_file_length_max: today.map_file_length_max,
            map_count_max: today.map_count_max as u64,
            has_root: settings.root.is_some(),
            summary: TraceSummary::default(),
        }
    }

    pub(super) fn add_bad(&mut self, log: &LogSource, number: u64, error: &LineError) {
        self.bad_count += 1;
        if self.bad.len() < BAD_LINES_NAMED_MAX {
            self.bad.push(BadLine {
                place: format!("{log}:{number}"),
                why: error.to_string(),
            });
        }
    }

    pub(super) fn describe(&mut self, trace: &Trace) {
        let summary = &mut self.summary;
        summary.requests = trace.requests.len() as u64;
        if let (Some(first), Some(last)) = (trace.requests.first(), trace.requests.last()) {
            summary.span_ms = (first.time_ms, last.time_ms);
        }
        summary.paths = trace.paths.len() as u64;
        summary.hosts = trace.host_count;
        summary.skipped = trace.skipped;
        summary.status_page = trace.status_page;
        summary.disorder = trace.disorder;
        let longest = self.map_file_length_max;
        for file in trace.files.iter().filter(|file| file.is_sent) {
            match file.length {
                Length::Unknown => summary.unknown_files += 1,
                _ if file.version.length <= longest => {
                    summary.mappable.0 += 1;
                    summary.mappable.1 += file.version.length;
                }
                _ => {}
            }
            summary.not_below_root += u64::from(self.has_root && file.length != Length::OfFile);
        }
        for request in &trace.requests {
            let path = &trace.paths[request.path as usize];
            let file = path
                .file
                .and_then(|number| trace.files.get(number as usize));
            if let Some(file) = file
                && request.response == super::trace::ResponseKind::Content
            {
                summary.bytes += request.bytes;
                if file.version.length > longest && file.length != Length::Unknown {
                    summary.long_bytes += request.bytes;
                }
            }
        }
    }

    /// Why nothing can be replayed.
    pub(super) fn reason_for_nothing(&self) -> String {
        match (self.line_count, self.bad.first()) {
            (0, _) => "the logs are empty".to_owned(),
            (lines, Some(bad)) => format!(
                "{} of {lines} lines are invalid, the first is {}: {}",
                self.bad_count, bad.place, bad.why
            ),
            (lines, None) => format!("none of {lines} lines is a GET or HEAD of a file"),
        }
    }

    fn write_head(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = &self.summary;
        write!(
            out,
            "{} lines, {} requests replayed, {} to {} UTC, {} paths",
            number(self.line_count),
            number(summary.requests),
            time::render(summary.span_ms.0),
            time::render(summary.span_ms.1),
            number(summary.paths)
        )?;
        if summary.hosts > 1 {
            write!(out, " of {} hosts", number(summary.hosts))?;
        }
        writeln!(out)?;
        self.write_notes(out)?;
        for bad in &self.bad {
            writeln!(out, "  {}: {}", bad.place, bad.why)?;
        }
        let more = self.bad_count - self.bad.len() as u64;
        if more > 0 {
            writeln!(out, "  and {} more", number(more))?;
        }
        Ok(())
    }

    fn write_notes(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let summary = &self.summary;
        let notes = [
            (
                summary.skipped,
                "lines without a cache lookup (other methods, errors, malformed requests)",
            ),
            (
                summary.status_page,
                "requests for /status, which uses no cache",
            ),
            (
                summary.disorder.logs,
                "logs that begin before the end of the previous one (give them in chronological order)",
            ),
            (
                summary.unknown_files,
                "files with only partial responses (206), of unknown length, omitted from the file \
                 cache (--root DIR gives it)",
            ),
            (
                summary.not_below_root,
                "files missing below --root, with the length of the largest response in the log",
            ),
            (self.bad_count, "invalid lines, skipped"),
        ];
        if summary.disorder.lines > 0 {
            writeln!(
                out,
                "note: lines out of order, replayed as if at the time of the latest request before \
                 them: {}, by up to {}",
                number(summary.disorder.lines),
                text::duration(summary.disorder.back_ms_max.div_ceil(1_000))
            )?;
        }
        for (count, text) in notes.iter().filter(|(count, _)| *count > 0) {
            writeln!(out, "note: {text}: {}", number(*count))?;
        }
        Ok(())
    }

    fn write_map(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let longest = exact_bytes(self.map_file_length_max);
        writeln!(
            out,
            "\nFile cache, of requests for content of files up to --map-max {longest}:"
        )?;
        writeln!(
            out,
            "  {:>12} {:>10} {:>10} {:>10} {:>8} {:>12}",
            "size", "files", "in use", "requests", "bytes", "evictions"
        )?;
        for row in &self.map {
            writeln!(
                out,
                "{} {:>12} {:>10} {:>10} {:>8.2} % {:>6.2} % {:>12}",
                mark(row.size == self.today.0),
                exact_bytes(row.size),
                number(row.entry_count),
                text::bytes(row.bytes_used),
                100.0 * row.hit_ratio(),
                100.0 * row.byte_hit_ratio(),
                number(row.stats.evictions)
            )?;
        }
        let (files, bytes) = self.summary.mappable;
        let mut all = format!(
            "the log's {} files up to --map-max total {}",
            number(files),
            text::bytes(bytes)
        );
        if let Some(last) = self.map.last()
            && last.stats.evictions > 0
            && last.entry_count >= self.map_count_max
        {
            all += &format!(", and --map-count {} is the limit", self.map_count_max);
        }
        let words = advice(&self.map, self.today.0, &all, exact_bytes, "--map-cache");
        writeln!(out, "{words}")?;
        if self.summary.long_bytes > 0 {
            writeln!(
                out,
                "{:.1} % of the bytes belong to longer files, which are sent by sendfile at any size.",
                100.0 * ratio(self.summary.long_bytes, self.summary.bytes)
            )?;
        }
        Ok(())
    }

    fn write_path(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "\nPath cache, of all requests (hits include revalidations):"
        )?;
        writeln!(
            out,
            "  {:>12} {:>10} {:>10} {:>10} {:>8} {:>12}",
            "size", "paths", "checked", "requests", "bytes", "evictions"
        )?;
        for row in &self.path {
            writeln!(
                out,
                "{} {:>12} {:>10} {:>8.2} % {:>8.2} % {:>6.2} % {:>12}",
                mark(row.size == self.today.1),
                row.size,
                number(row.entry_count),
                100.0 * ratio(row.checks, row.requests),
                100.0 * row.hit_ratio(),
                100.0 * row.byte_hit_ratio(),
                number(row.stats.evictions)
            )?;
        }
        let all = format!("the log has {} paths in all", number(self.summary.paths));
        let words = advice(
            &self.path,
            self.today.1,
            &all,
            |size| size.to_string(),
            "--path-cache",
        );
        writeln!(out, "{words}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_head(out)?;
        self.write_map(out)?;
        self.write_path(out)?;
        writeln!(out, "\n* current size")
    }
}

/// The recommended size, in one or two sentences.
fn advice(rows: &[Row], today: u64, all: &str, text: impl Fn(u64) -> String, flag: &str) -> String {
    let best = rows.iter().map(Row::hit_ratio).fold(0.0, f64::max);
    let now = rows.iter().find(|row| row.size == today);
    let enough = rows.iter().find(|row| row.hit_ratio() > best - SAME);
    let (Some(now), Some(enough)) = (now, enough) else {
        return String::new();
    };
    if now.requests == 0 {
        return format!("No request in this log uses this cache; {all}.");
    }
    if now.requests < ADVICE_REQUEST_COUNT_MIN {
        return format!(
            "No advice: only {} requests in this log use this cache, and below {} differences between \
             sizes are chance; {all}.",
            number(now.requests),
            number(ADVICE_REQUEST_COUNT_MIN)
        );
    }
    let percent = |row: &Row| format!("{:.1} %", 100.0 * row.hit_ratio());
    let mut words = format!("{} (current): {} of requests", text(today), percent(now));
    if best == 0.0 {
        return format!(
            "{words}, and no size gives more: {all}, and none was requested often enough."
        );
    }
    let between = rows.iter().find(|row| row.size > today);
    if let Some(next) = between.filter(|next| next.size < enough.size) {
        words += &format!("; {} would give {}", text(next.size), percent(next));
    }
    if enough.size > today {
        words += &format!("; {} would give {}", text(enough.size), percent(enough));
    }
    let is_open =
        rows.last().is_some_and(|last| last.size == enough.size) && enough.stats.evictions > 0;
    if is_open {
        words += &format!("; no larger size was simulated, and {all}.");
    } else if enough.size < today {
        words += &format!("; {} would give the same: {all}.", text(enough.size));
    } else {
        words += &format!(
            "; larger sizes than {} gain nothing: {all}.",
            text(enough.size)
        );
    }
    if enough.size < today {
        words += " The current size is enough.";
    } else if enough.size > today {
        let value: String = text(enough.size).replace(' ', "");
        words += &format!(" Choose {flag} {value}.");
    } else if is_open {
        words += &format!(" Try larger sizes with {flag}.");
    }
    words
}

/// All sizes once, in ascending order, with the current one.
fn with(sizes: &[u64], today: u64) -> Vec<u64> {
    let mut sizes = sizes.to_vec();
    sizes.push(today);
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn mark(is_today: bool) -> char {
    if is_today { '*' } else { ' ' }
}
