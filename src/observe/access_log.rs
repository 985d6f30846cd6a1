//! The access log: lines are batched over one or more iterations of the loop and appended by a disk job.
//! [`LogWriter::jobs`] returns the jobs; the caller submits them.
//!
//! Trouble with the file never stops the server. Lines that fail on a full disk, a limit or a broken pipe are
//! lost, counted, and reported once. Lines that a FIFO does not accept yet are kept, up to a limit: its
//! reader may be slow, or be restarting.

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

/// Size of a batch that is written at once.
const BATCH_LENGTH: usize = 32 * 1024;
/// Maximum time that a line waits for its batch.
const BATCH_DELAY: Duration = Duration::from_millis(100);
/// Maximum bytes of lines kept while the log is slow; further ones are lost, and counted.
const BACKLOG_LENGTH_MAX: usize = 4 << 20;

/// Interval of retries on a full FIFO: its reader exists if it accepted part of the lines.
const RETRY_DELAY: Duration = Duration::from_millis(100);
const PROGRESS_DELAY: Duration = Duration::from_millis(10);
/// After a loss, the next one is reported again only if the log worked for this long in between: with a disk
/// that is full now and then, a line each time would be too many.
const QUIET: Duration = Duration::from_secs(60);

/// Whether lines may wait for a full batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// Yes, for up to [`BATCH_DELAY`].
    Allowed,
    /// No: they are the last ones.
    Forbidden,
}

/// Whether the log file is being reopened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reopening {
    No,
    /// A job is reopening it.
    Yes,
    /// A job is reopening it, and another must follow: the file may have been moved since.
    Twice,
}

/// Lines lost because they could not be written, or not fast enough.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lost {
    /// Their length.
    pub bytes: u64,
    /// Lines, including partly written ones.
    pub lines: u64,
}

impl Lost {
    fn count(&mut self, lines: &[u8]) {
        self.bytes += lines.len() as u64;
        self.lines += memchr::memchr_iter(b'\n', lines).count() as u64;
    }
}

/// Whether lines are being lost, or the FIFO has no reader.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// No; the time when the last trouble ended.
    No { ended: Option<Instant> },
    /// Yes, and it was reported.
    Reported,
    /// Yes, but too soon after the last report for another one.
    Unreported,
}

/// A job that writes lines.
#[derive(Debug)]
struct InFlight {
    /// Bytes of its buffer written by earlier jobs.
    written_before: usize,
    /// Memory of its buffer.
    memory_bytes: u64,
}

/// A log, and its lines that are not written yet.
#[derive(Debug)]
pub(crate) struct LogWriter {
    // Related state: the file, its unwritten lines and its trouble change together in one transition.
    log: AccessLog,
    /// `None` too while a FIFO has no reader.
    file: Option<Arc<File>>,
    kind: OutputKind,
    /// Earlier files, kept until no job writes to them; then they are closed.
    former: Vec<Arc<File>>,
    spare: Vec<u8>,
    /// Lines that a FIFO did not accept; written before all others.
    held: Vec<u8>,
    /// Length of the part at its start that the FIFO did accept.
    held_written: usize,
    retry_at: Option<Instant>,
    /// Whether the log ends with a partly written line.
    is_torn: bool,
    in_flight: Option<InFlight>,
    reopening: Reopening,
    since: Option<Instant>,
    lost: Lost,
    trouble: Trouble,
    /// Number of lost lines already reported.
    reported_lost: u64,
    notices: Vec<String>,
    /// Jobs to be submitted: to append, to reopen the file, to close earlier files.
    jobs: Vec<Job>,
}

impl LogWriter {
    /// Opens the log. A FIFO without a reader is opened later.
    ///
    /// # Errors
    /// Those of [`output::open_appending`].
    pub(crate) fn open(log: &AccessLog) -> Result<LogWriter, OutputError> {
        let opened = match log {
            AccessLog::Off => None,
            AccessLog::Terminal | AccessLog::StandardOutput => Some(Output {
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
            reported_lost: 0,
            notices: Vec::new(),
            jobs: Vec::new(),
        };
        if is_waiting {
            writer.trouble = Trouble::Reported;
            writer.notices.push(writer.no_reader());
        }
        Ok(writer)
    }

    /// Reopens the file at the same path, after it was moved.
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

    /// Switches to the reopened file. After an error the old one stays in use; a FIFO without a reader is
    /// tried again.
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
                self.report(line, now);
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

    /// Closes earlier files that are no longer written to, by a job: closing may wait for the disk.
    pub(crate) fn release(&mut self) {
        if self.in_flight.is_some() {
            return;
        }
        for file in self.former.drain(..).filter_map(Arc::into_inner) {
            let discarded = Discarded::Descriptor(Descriptor::apart(file.into()));
            self.jobs.push(Job::Discard(Some(discarded)));
        }
    }

    /// Writes the lines if the batch is full or its time has come.
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

    /// Drops lines beyond the limit.
    fn bound(&mut self, lines: &mut Vec<u8>, now: Instant) {
        if self.held.len() - self.held_written + lines.len() > BACKLOG_LENGTH_MAX {
            self.lost.count(lines);
            lines.clear();
            self.report_loss("it does not take them fast enough", now);
        }
    }

    /// Takes the result of a write. A log that cannot be written does not stop the server.
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
            // The reader is slow: no reason to lose lines yet.
            io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy => {
                self.hold(buffer, written, before, now);
            }
            io::ErrorKind::BrokenPipe if self.kind == OutputKind::Fifo => {
                self.hold(buffer, written, before, now);
                let line = self.no_reader();
                self.report(line, now);
            }
            _ => {
                // The buffer starts with the newline that ends a torn line.
                let is_torn_still = written == 0 && buffer.first() == Some(&b'\n');
                let is_torn_now = written > 0 && buffer[written - 1] != b'\n';
                self.is_torn = is_torn_still || is_torn_now;
                self.lost
                    .count(&buffer[written + usize::from(is_torn_still)..]);
                buffer.clear();
                self.spare = buffer;
                self.report_loss(&error.to_string(), now);
            }
        }
    }

    /// Bytes of lines being written or kept, and of the spare buffer.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let in_flight = self.in_flight.as_ref().map_or(0, |job| job.memory_bytes);
        in_flight + block_length(self.held.capacity()) + block_length(self.spare.capacity())
    }

    /// Keeps unwritten lines for another try.
    fn hold(&mut self, mut buffer: Vec<u8>, mut written: usize, before: usize, now: Instant) {
        let delay = match written > before {
            true => PROGRESS_DELAY,
            false => RETRY_DELAY,
        };
        // Moved only after half of it was written, so each byte is moved about once.
        if written >= buffer.len() / 2 {
            buffer.drain(..written);
            written = 0;
        }
        (self.held, self.held_written) = (buffer, written);
        self.retry_at = Some(now + delay);
        self.since.get_or_insert(now);
    }

    fn report_loss(&mut self, why: &str, now: Instant) {
        let name = self.name();
        let line = format!(
            "cannot write the access log {name}: {why}; lines are lost, and counted at /status"
        );
        self.report(line, now);
    }

    /// Reports trouble, once.
    fn report(&mut self, line: String, now: Instant) {
        let Trouble::No { ended } = self.trouble else {
            return;
        };
        self.trouble = match ended.is_some_and(|ended| now < ended + QUIET) {
            true => Trouble::Unreported,
            false => {
                self.notices.push(line);
                Trouble::Reported
            }
        };
    }

    fn recover(&mut self, now: Instant) {
        match self.trouble {
            Trouble::No { .. } => return,
            Trouble::Unreported => {}
            Trouble::Reported => {
                let (name, lost) = (self.name(), self.lost.lines - self.reported_lost);
                self.reported_lost = self.lost.lines;
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
            AccessLog::Off | AccessLog::Terminal | AccessLog::StandardOutput => {
                "on standard output".into()
            }
        }
    }

    /// Warnings for standard error.
    pub(crate) fn notices(&mut self) -> std::vec::Drain<'_, String> {
        self.notices.drain(..)
    }

    /// Whether there are jobs to submit, or something to say on standard error.
    pub(crate) fn has_output(&self) -> bool {
        !self.jobs.is_empty() || !self.notices.is_empty()
    }

    /// Jobs to submit, in this order.
    pub(crate) fn jobs(&mut self) -> std::vec::Drain<'_, Job> {
        self.jobs.drain(..)
    }

    /// Lines lost since the start.
    pub(crate) fn lost(&self) -> Lost {
        self.lost
    }

    /// Whether there are unwritten lines, in `lines` or older ones.
    pub(crate) fn has_unwritten(&self, lines: &[u8]) -> bool {
        let has_lines = !(lines.is_empty() && self.held.is_empty());
        self.in_flight.is_some() || (has_lines && self.log != AccessLog::Off)
    }

    /// Gives up at process exit: unwritten lines are lost, which is reported.
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

    /// When the waiting lines are due.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        let since = self.since?;
        let due = (since + BATCH_DELAY).max(self.retry_at.unwrap_or(since));
        let is_under_way = self.in_flight.is_some() || self.reopening != Reopening::No;
        (!is_under_way).then_some(due)
    }
}
