//! `spede simulate`: replays access logs through the caches of this server, at several sizes.
//!
//! The caches are those of the server (`cache/`), the time is that of the log. Nothing is served. Nothing is
//! guessed that the log does not contain; the report lists what was left out.
//!
//! ```text
//! read, unpack → line, json → trace → replay (caches) → report, plot
//! ```

mod caches;
mod json;
mod line;
mod parse;
mod plot;
mod read;
mod replay;
mod report;
mod row;
mod time;
mod trace;
mod unpack;

#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use self::report::{BadLine, Report};
pub use self::row::Row;

use self::line::LineError;
use self::trace::Tracer;
use crate::settings::CacheBudget;
use crate::site::resolve::Naming;
use crate::sys::beneath::Root;
use crate::sys::deferred_drops::DeferredDrops;
use crate::sys::{limits, output, signals};

/// Maximum number of bad lines that are reported one by one; further ones are only counted.
const BAD_LINES_NAMED_MAX: usize = 5;

/// Source of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// A file, plain, gzip or zstd.
    File(PathBuf),
    /// Standard input, plain, gzip or zstd.
    StandardInput,
}

impl fmt::Display for LogSource {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogSource::File(path) => write!(out, "{}", path.display()),
            LogSource::StandardInput => out.write_str("standard input"),
        }
    }
}

/// What to replay, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The logs, in chronological order; at least one.
    pub logs: Vec<LogSource>,
    /// The site, for the lengths of files.
    pub root: Option<PathBuf>,
    /// Mapping of paths to files.
    pub naming: Naming,
    /// The current settings of the server, which apply to all runs besides the varied size.
    pub today: CacheBudget,
    /// Sizes of the file cache in bytes; the current one is added.
    pub map_sizes: Vec<u64>,
    /// Sizes of the path cache in paths; the current one is added.
    pub path_sizes: Vec<u64>,
    /// Destination of the plot.
    pub plot: Option<PathBuf>,
}

/// Why there is no report. Each displays as one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SimulateError {
    /// A log that cannot be read to its end.
    #[error("{log}: {error}; name an access log, plain, gzip or zstd, or - for standard input")]
    Log {
        /// The log.
        log: LogSource,
        /// The error.
        error: io::Error,
    },
    /// A root that cannot be opened.
    #[error("--root {}: {error}; name the directory that was served", .root.display())]
    Root {
        /// The root.
        root: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// No line concerns the caches.
    #[error("nothing to replay: {why}")]
    Nothing {
        /// The lines found instead.
        why: String,
    },
    /// More requests than are kept in memory.
    #[error("more than {max} requests; use fewer logs at once")]
    TooMany {
        /// The maximum.
        max: usize,
    },
    /// The plot cannot be drawn or written.
    #[error("--plot {}: {why}; name a file that can be written", .file.display())]
    Plot {
        /// The file.
        file: PathBuf,
        /// The reason.
        why: String,
    },
}

/// Reads the logs, replays them, and draws the plot if requested.
///
/// # Errors
/// [`SimulateError`]. An invalid line is counted, not an error.
///
/// # Blocking
/// Long: about a second for a million lines.
pub fn run(settings: &Settings) -> Result<Report, SimulateError> {
    let root = settings.root.as_deref().map(open_root).transpose()?;
    let mut report = Report::new(settings);
    let mut tracer = Tracer::new(settings.naming.clone());
    let bar = read::bar(&settings.logs);
    for log in &settings.logs {
        tracer.begin_log();
        read_log(log, &bar, &mut tracer, &mut report)?;
    }
    bar.finish_and_clear();
    let trace = tracer.finish(root.as_ref());
    report.describe(&trace);
    if trace.requests.is_empty() {
        return Err(SimulateError::Nothing {
            why: report.reason_for_nothing(),
        });
    }
    let (map_sizes, path_sizes) = (&report.map_sizes, &report.path_sizes);
    let runs = map_sizes.len() + path_sizes.len();
    let bar = read::replay_bar((trace.requests.len() as u64).saturating_mul(runs as u64));
    let descriptor_count_max = match settings.today.descriptor_count_max {
        Some(count) => count,
        None => usize::try_from(limits::raise_descriptor_limit() / 4).unwrap_or(usize::MAX),
    };
    let (map, path) = replay::replay(
        &trace,
        &settings.today,
        descriptor_count_max,
        map_sizes,
        path_sizes,
        &bar,
    );
    bar.finish_and_clear();
    (report.map, report.path) = (map, path);
    if let Some(file) = &settings.plot {
        let refused = |why: String| SimulateError::Plot {
            file: file.clone(),
            why,
        };
        let svg = plot::draw(&report);
        // A limit on file sizes becomes an error, instead of ending the process.
        let _ = signals::ignore(libc::SIGXFSZ);
        output::write(file, svg.as_bytes()).map_err(|error| refused(error.to_string()))?;
    }
    Ok(report)
}

fn open_root(root: &Path) -> Result<Root, SimulateError> {
    Root::open(root, DeferredDrops::default()).map_err(|error| SimulateError::Root {
        root: root.to_owned(),
        error,
    })
}

fn read_log(
    log: &LogSource,
    bar: &indicatif::ProgressBar,
    tracer: &mut Tracer,
    report: &mut Report,
) -> Result<(), SimulateError> {
    let mut number = 0_u64;
    let mut failed = None;
    let read = read::each_line(log, bar, |taken| {
        number += 1;
        let line = match taken {
            Some(line) if line.trim_ascii().is_empty() => return,
            Some(line) => parse::parse(line),
            None => Err(LineError::TooLong {
                max: read::LINE_LENGTH_MAX,
            }),
        };
        report.line_count += 1;
        match line {
            Ok(line) if failed.is_none() => failed = tracer.take(&line).err(),
            Ok(_) => {}
            Err(error) => report.add_bad(log, number, &error),
        }
    });
    match read {
        Ok(()) => {}
        // It is truncated, or has other data after its end.
        Err(error) if number > 0 && unpack::is_of_packing(&error) => {
            let error = LineError::NotUnpacked(error.to_string());
            report.line_count += 1;
            report.add_bad(log, number + 1, &error);
        }
        Err(error) => {
            let log = log.clone();
            return Err(SimulateError::Log { log, error });
        }
    }
    failed.map_or(Ok(()), Err)
}
