//! Reads lines from files and standard input, decompressed by `unpack`, and shows a progress bar.

use std::fs::File;
use std::io::{self, BufRead, ErrorKind, Read};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

use super::LogSource;
use super::unpack::unpack;

/// Maximum length of a line; servers write heads of some 16 KiB, escaped, at most.
pub(super) const LINE_LENGTH_MAX: usize = 128 << 10;
/// Shorter logs are read before anybody could look at a bar.
const PROGRESS_LENGTH_MIN: u64 = 8 << 20;

/// A line; `None` if it was too long.
pub(super) type LogLine<'a> = Option<&'a [u8]>;

/// Passes each line of a log to `each`, without its newline, in order.
///
/// # Errors
/// Those of opening and reading, and of invalid compressed data, see [`super::unpack::is_of_packing`].
pub(super) fn each_line(
    source: &LogSource,
    bar: &ProgressBar,
    each: impl FnMut(LogLine<'_>),
) -> io::Result<()> {
    let input: Box<dyn Read> = match source {
        LogSource::File(path) => Box::new(bar.wrap_read(File::open(path)?)),
        LogSource::StandardInput => Box::new(bar.wrap_read(io::stdin().lock())),
    };
    each_line_of(input, each)
}

/// The same for any reader.
pub(super) fn each_line_of(input: impl Read, each: impl FnMut(LogLine<'_>)) -> io::Result<()> {
    split(unpack(input)?, each)
}

/// A progress bar over the sizes of all log files; hidden without a terminal or for short logs. Standard
/// input has no known length, so it only counts.
pub(super) fn bar(sources: &[LogSource]) -> ProgressBar {
    let length = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let total = sources.iter().try_fold(0, |sum: u64, source| match source {
        LogSource::File(path) => Some(sum.saturating_add(length(path))),
        LogSource::StandardInput => None,
    });
    let style = |template| ProgressStyle::with_template(template);
    match total {
        Some(total) if total < PROGRESS_LENGTH_MIN => ProgressBar::hidden(),
        Some(total) => with_style(
            ProgressBar::new(total),
            style("reading {wide_bar} {bytes} of {total_bytes}, {eta} left"),
        ),
        None => with_style(
            ProgressBar::new_spinner(),
            style("reading {bytes}, {bytes_per_sec}"),
        ),
    }
}

/// A progress bar over the replayed requests.
pub(super) fn replay_bar(requests: u64) -> ProgressBar {
    if requests < PROGRESS_LENGTH_MIN {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("replaying {wide_bar} {percent} %, {eta} left");
    with_style(ProgressBar::new(requests), style)
}

/// A bar with our template; falls back to the default style if the template is malformed.
fn with_style<E>(bar: ProgressBar, style: Result<ProgressStyle, E>) -> ProgressBar {
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn split(mut input: impl BufRead, mut each: impl FnMut(LogLine<'_>)) -> io::Result<()> {
    let mut line = Line::default();
    loop {
        let buffer = match input.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if buffer.is_empty() {
            if line.is_begun() {
                line.end(b"", &mut each);
            }
            return Ok(());
        }
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', buffer) {
            line.end(&buffer[start..end], &mut each);
            start = end + 1;
        }
        line.begin(&buffer[start..]);
        let length = buffer.len();
        input.consume(length);
    }
}

/// The incomplete last line of a buffer.
#[derive(Default)]
struct Line {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl Line {
    fn is_begun(&self) -> bool {
        self.is_too_long || !self.bytes.is_empty()
    }

    fn begin(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > LINE_LENGTH_MAX {
            self.is_too_long = true;
            self.bytes.clear();
        }
        if !self.is_too_long {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn end(&mut self, bytes: &[u8], each: &mut impl FnMut(LogLine<'_>)) {
        let whole = if self.is_begun() {
            self.begin(bytes);
            &self.bytes[..]
        } else {
            bytes
        };
        let is_too_long = self.is_too_long || whole.len() > LINE_LENGTH_MAX;
        let whole = whole.strip_suffix(b"\r").unwrap_or(whole);
        each((!is_too_long).then_some(whole));
        self.bytes.clear();
        self.is_too_long = false;
    }
}
