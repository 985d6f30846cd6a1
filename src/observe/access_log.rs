//! The access log: lines gathered over an iteration of the loop or more, appended by a disk job. The jobs are
//! handed out by [`LogWriter::jobs`]; submitting them is left to the caller.
//!
//! Nothing that its file does stops the server. What a full disk, a limit or a broken pipe does not take
//! is lost, counted, and said once. What a FIFO does not take now waits, up to a bound: its reader may be
//! slow, or be started again.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::job::{Append, Job, OneShot};
use crate::settings::AccessLog;
use crate::sys::allocator::block_length;
use crate::sys::deferred_drops::{Descriptor, Discarded};
use crate::sys::output::{self, Output, OutputError, OutputKind};
use crate::text::exact_bytes;

/// Bytes after which lines are written at once.
const BATCH_LENGTH: usize = 32 * 1024;
/// How long a line waits for others.
const BATCH_DELAY: Duration = Duration::from_millis(100);
/// Bytes of lines kept while the log's own disk is slow; further ones are lost, and counted.
const BACKLOG_LENGTH_MAX: usize = 4 << 20;

/// How long until what a FIFO has not taken is tried again: where it has taken some, its reader is there.
const RETRY_DELAY: Duration = Duration::from_millis(100);
const PROGRESS_DELAY: Duration = Duration::from_millis(10);
/// How long a log must have been written without a loss until the next loss is said as well: where a disk is
/// full now and then, a line each time would be too many.
const QUIET: Duration = Duration::from_secs(60);

/// Whether lines may wait for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Until there are enough, or for a moment.
    Allowed,
    /// No: they are the last ones.
    Forbidden,
}

/// Whether the file of the log is being opened again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reopening {
    No,
    /// A job does it.
    Yes,
    /// A job does it, and it is to be done once more: the file may have been moved since.
    Twice,
}

/// Lines that were lost because they could not be written fast enough, or at all.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lost {
    /// Bytes of them.
    pub bytes: u64,
    /// Lines, those included of which only a part was written.
    pub lines: u64,
}

impl Lost {
    fn count(&mut self, lines: &[u8]) {
        self.bytes += lines.len() as u64;
        self.lines += memchr::memchr_iter(b'\n', lines).count() as u64;
    }
}

/// Whether lines are being lost.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Not now; when the last trouble ended.
    No { ended: Option<Instant> },
    /// Yes, and it was said.
    Said,
    /// Yes, so soon after the last time that nobody is told.
    Unsaid,
}

/// A job that writes lines.
#[derive(Debug)]
struct InFlight {
    /// Bytes of its buffer that were written before.
    written_before: usize,
    /// What its buffer takes.
    memory_bytes: u64,
}

/// A log and the lines that are not written yet.
#[derive(Debug)]
pub(crate) struct LogWriter {
    // The file, the lines on their way to it, and what is known of its trouble: all change in one transition.
    log: AccessLog,
    /// `None` also where a FIFO has no reader yet.
    file: Option<Arc<File>>,
    kind: OutputKind,
    /// Files that were written to before, until nobody writes to them and they are closed.
    former: Vec<Arc<File>>,
    spare: Vec<u8>,
    /// What a FIFO has not taken; it goes before all other lines.
    held: Vec<u8>,
    /// Bytes at its start that it has taken.
    held_written: usize,
    retry_at: Option<Instant>,
    /// Whether the log ends in the middle of a line that was lost.
    is_torn: bool,
    in_flight: Option<InFlight>,
    reopening: Reopening,
    since: Option<Instant>,
    lost: Lost,
    trouble: Trouble,
    /// Lines lost of which it was said how many they were.
    told_lost: u64,
    notices: Vec<String>,
    /// Jobs that are to be submitted: to append, to open the file again, to close former ones.
    jobs: Vec<Job>,
}

impl LogWriter {
    /// Opens the log. A FIFO that nobody reads is opened later.
    ///
    /// # Errors
    /// Those of [`output::open_appending`].
    pub(crate) fn open(log: &AccessLog) -> Result<LogWriter, OutputError> {
        let opened = match log {
            AccessLog::Off => None,
            AccessLog::StandardOutput => Some(Output {
                file: File::from(io::stdout().as_fd().try_clone_to_owned()?),
                kind: OutputKind::Given,
            }),
            AccessLog::File(path) => match output::open_appending(path) {
                Err(OutputError::NoReader) => None,
                opened => Some(opened?),
            },
        };
        let is_waiting = opened.is_none() && *log != AccessLog::Off;
        let kind = opened
            .as_ref()
            .map_or(OutputKind::Fifo, |output| output.kind);
        let mut writer = LogWriter {
            log: log.clone(),
            file: opened.map(|output| Arc::new(output.file)),
            kind,
            former: Vec::new(),
            spare: Vec::new(),
            held: Vec::new(),
            held_written: 0,
            retry_at: None,
            is_torn: false,
            in_flight: None,
            reopening: Reopening::No,
            since: None,
            lost: Lost::default(),
            trouble: Trouble::No { ended: None },
            told_lost: 0,
            notices: Vec::new(),
            jobs: Vec::new(),
        };
        if is_waiting {
            writer.trouble = Trouble::Said;
            writer.notices.push(writer.no_reader());
        }
        Ok(writer)
    }

    /// Opens the file of the same name again, after it was moved away.
    pub(crate) fn reopen(&mut self) {
        let AccessLog::File(path) = &self.log else {
            return;
        };
        self.reopening = match self.reopening {
            Reopening::No => {
                let job = Job::OneShot(OneShot::Reopen(path.clone()), None);
                self.jobs.push(job);
                Reopening::Yes
            }
            Reopening::Yes | Reopening::Twice => Reopening::Twice,
        };
    }

    /// Writes to this file from now on. One that could not be opened changes nothing, save a FIFO without
    /// a reader: it is tried again.
    pub(crate) fn reopened(&mut self, opened: Result<Output, OutputError>, now: Instant) {
        match opened {
            Ok(output) => {
                self.former.extend(self.file.replace(Arc::new(output.file)));
                self.kind = output.kind;
                self.retry_at = None;
            }
            Err(OutputError::NoReader) => {
                self.former.extend(self.file.take());
                self.kind = OutputKind::Fifo;
                self.retry_at = Some(now + RETRY_DELAY);
                let line = self.no_reader();
                self.complain(line, now);
            }
            Err(error) => {
                let name = self.name();
                self.notices.push(format!(
                    "cannot reopen the access log {name}: {error}; lines go to the old one"
                ));
            }
        }
        let again = std::mem::replace(&mut self.reopening, Reopening::No) == Reopening::Twice;
        if again {
            self.reopen();
        }
    }

    /// Closes files that are written to no longer, by a job: closing may wait for the disk.
    pub(crate) fn release(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        for file in self.former.drain(..).filter_map(Arc::into_inner) {
            let discarded = Discarded::Descriptor(Descriptor::apart(file.into()));
            self.jobs.push(Job::Discard(Some(discarded)));
        }
    }

    /// Writes the lines, if there are enough, or if they have waited long enough.
    pub(crate) fn flush(&mut self, lines: &mut Vec<u8>, now: Instant, waiting: Waiting) {
        let has_lines = !(lines.is_empty() && self.held.is_empty());
        if self.log == AccessLog::Off || !has_lines {
            self.since = None;
            return;
        }
        let since = *self.since.get_or_insert(now);
        let is_due = lines.len() >= BATCH_LENGTH || now >= since + BATCH_DELAY;
        let is_early = !is_due || self.retry_at.is_some_and(|at| now < at);
        if self.in_flight.is_some() || (is_early && waiting == Waiting::Allowed) {
            return self.bound(lines, now);
        }
        let Some(file) = &self.file else {
            if self.reopening == Reopening::No {
                self.reopen();
            }
            return self.bound(lines, now);
        };
        let mut buffer = std::mem::take(&mut self.held);
        let written = std::mem::take(&mut self.held_written);
        if std::mem::take(&mut self.is_torn) {
            buffer.insert(written, b'\n');
        }
        match buffer.is_empty() {
            true => buffer = std::mem::replace(lines, std::mem::take(&mut self.spare)),
            false => buffer.append(lines),
        }
        (self.since, self.retry_at) = (None, None);
        let memory_bytes = block_length(buffer.capacity());
        let append = Append::resuming(Arc::clone(file), buffer, written);
        self.jobs.push(Job::Append(append));
        self.in_flight = Some(InFlight {
            written_before: written,
            memory_bytes,
        });
    }

    /// Loses lines that there is no room for.
    fn bound(&mut self, lines: &mut Vec<u8>, now: Instant) {
        if self.held.len() - self.held_written + lines.len() > BACKLOG_LENGTH_MAX {
            self.lost.count(lines);
            lines.clear();
            self.lose("it does not take them fast enough", now);
        }
    }

    /// Takes the result of a write in. A log that cannot be written does not stop the server.
    pub(crate) fn written(
        &mut self,
        mut buffer: Vec<u8>,
        written: usize,
        failed: Option<io::Error>,
        now: Instant,
    ) {
        let Some(in_flight) = self.in_flight.take() else {
            return;
        };
        let before = in_flight.written_before;
        let Some(error) = failed else {
            self.recover(now);
            buffer.clear();
            self.spare = buffer;
            return;
        };
        match error.kind() {
            // Nobody has read for a while: no reason to lose anything yet.
            io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy => {
                self.hold(buffer, written, before, now);
            }
            io::ErrorKind::BrokenPipe if self.kind == OutputKind::Fifo => {
                self.hold(buffer, written, before, now);
                let line = self.no_reader();
                self.complain(line, now);
            }
            _ => {
                // Only the end of a line that was torn before stands at the start.
                let is_torn_still = written == 0 && buffer.first() == Some(&b'\n');
                let is_torn_now = written > 0 && buffer[written - 1] != b'\n';
                self.is_torn = is_torn_still || is_torn_now;
                self.lost
                    .count(&buffer[written + usize::from(is_torn_still)..]);
                buffer.clear();
                self.spare = buffer;
                self.lose(&error.to_string(), now);
            }
        }
    }

    /// Bytes of lines that are being written or held, and of the buffer that waits for the next.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let in_flight = self.in_flight.as_ref().map_or(0, |job| job.memory_bytes);
        in_flight + block_length(self.held.capacity()) + block_length(self.spare.capacity())
    }

    /// Keeps what was not written, to try again.
    fn hold(&mut self, mut buffer: Vec<u8>, mut written: usize, before: usize, now: Instant) {
        let delay = match written > before {
            true => PROGRESS_DELAY,
            false => RETRY_DELAY,
        };
        // Moved so seldom that each byte is moved about once.
        if written >= buffer.len() / 2 {
            buffer.drain(..written);
            written = 0;
        }
        (self.held, self.held_written) = (buffer, written);
        self.retry_at = Some(now + delay);
        self.since.get_or_insert(now);
    }

    fn lose(&mut self, why: &str, now: Instant) {
        let name = self.name();
        let line = format!(
            "cannot write the access log {name}: {why}; lines are lost, and counted at /status"
        );
        self.complain(line, now);
    }

    /// Says what is wrong, once.
    fn complain(&mut self, line: String, now: Instant) {
        let Trouble::No { ended } = self.trouble else {
            return;
        };
        self.trouble = match ended.is_some_and(|ended| now < ended + QUIET) {
            true => Trouble::Unsaid,
            false => {
                self.notices.push(line);
                Trouble::Said
            }
        };
    }

    fn recover(&mut self, now: Instant) {
        match self.trouble {
            Trouble::No { .. } => return,
            Trouble::Unsaid => {}
            Trouble::Said => {
                let (name, lost) = (self.name(), self.lost.lines - self.told_lost);
                self.told_lost = self.lost.lines;
                self.notices.push(format!(
                    "the access log {name} is written again; lost lines: {lost}"
                ));
            }
        }
        self.trouble = Trouble::No { ended: Some(now) };
    }

    fn no_reader(&self) -> String {
        format!(
            "nobody reads the access log {}, a FIFO; up to {} of lines are queued",
            self.name(),
            exact_bytes(BACKLOG_LENGTH_MAX as u64)
        )
    }

    fn name(&self) -> Cow<'static, str> {
        match &self.log {
            AccessLog::File(path) => path.display().to_string().into(),
            AccessLog::Off | AccessLog::StandardOutput => "on standard output".into(),
        }
    }

    /// What is to be said on standard error.
    pub(crate) fn notices(&mut self) -> std::vec::Drain<'_, String> {
        self.notices.drain(..)
    }

    /// What is to be done at the disk, in this order.
    pub(crate) fn jobs(&mut self) -> std::vec::Drain<'_, Job> {
        self.jobs.drain(..)
    }

    /// What was lost since the start.
    pub(crate) fn lost(&self) -> Lost {
        self.lost
    }

    /// Whether lines are not written yet, `lines` or older ones.
    pub(crate) fn has_unwritten(&self, lines: &[u8]) -> bool {
        let has_lines = !(lines.is_empty() && self.held.is_empty());
        self.in_flight.is_some() || (has_lines && self.log != AccessLog::Off)
    }

    /// The process ends: what is not written yet is lost, and that is said.
    pub(crate) fn give_up(&mut self, lines: &mut Vec<u8>) {
        if !self.has_unwritten(lines) {
            return;
        }
        let mut left = Lost::default();
        left.count(&self.held[self.held_written..]);
        left.count(lines);
        lines.clear();
        (self.held, self.held_written) = (Vec::new(), 0);
        self.lost.bytes += left.bytes;
        self.lost.lines += left.lines;
        let also = match self.in_flight {
            Some(_) => ", and possibly those being written",
            None => "",
        };
        self.notices.push(format!(
            "the access log {} did not accept its last lines in time: {} lines are lost{also}",
            self.name(),
            left.lines
        ));
    }

    /// How long until lines that wait are due.
    pub(crate) fn timeout(&self, now: Instant) -> Option<Duration> {
        let since = self.since?;
        let due = (since + BATCH_DELAY).max(self.retry_at.unwrap_or(since));
        let is_under_way = self.in_flight.is_some() || self.reopening != Reopening::No;
        (!is_under_way).then(|| due.saturating_duration_since(now))
    }
}
