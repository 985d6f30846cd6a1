//! The access log: lines gathered over a turn or more, appended by a disk job.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::settings::AccessLog;
use crate::disk::job::{Append, Job};
use crate::disk::{Disk, JobId};

/// Bytes after which lines are written at once.
const BATCH_LENGTH: usize = 32 * 1024;
/// How long a line waits for others.
const BATCH_DELAY: Duration = Duration::from_millis(100);
/// Bytes of lines kept while the log's own disk is slow; further ones are lost, and counted.
const BACKLOG_LENGTH_MAX: usize = 4 << 20;

/// A log and the lines that are not written yet.
#[derive(Debug)]
pub(super) struct LogWriter {
    path: Option<PathBuf>,
    file: Option<Arc<File>>,
    spare: Vec<u8>,
    in_flight: Option<JobId>,
    since: Option<Instant>,
    /// Bytes of lines lost because the log could not be written fast enough or at all.
    pub lost_bytes: u64,
}

impl LogWriter {
    /// Opens the log.
    ///
    /// # Errors
    /// Those of `open(2)`.
    pub(super) fn open(log: &AccessLog) -> io::Result<LogWriter> {
        let (path, file) = match log {
            AccessLog::Off => (None, None),
            AccessLog::StandardOutput => (
                None,
                Some(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
            ),
            AccessLog::File(path) => (Some(path.clone()), Some(append_to(path)?)),
        };
        let file = file.map(Arc::new);
        Ok(LogWriter {
            path,
            file,
            spare: Vec::new(),
            in_flight: None,
            since: None,
            lost_bytes: 0,
        })
    }

    /// Opens the file of the same name again, after it was moved away.
    pub(super) fn reopen(&mut self) {
        if let Some(file) = self.path.as_ref().and_then(|path| append_to(path).ok()) {
            self.file = Some(Arc::new(file));
        }
    }

    /// Writes the lines, if there are enough or if they have waited long enough.
    pub(super) fn flush(
        &mut self,
        lines: &mut Vec<u8>,
        now: Instant,
        id: JobId,
        disk: &mut dyn Disk,
    ) {
        let Some(file) = &self.file else { return };
        if lines.is_empty() {
            return;
        }
        let since = *self.since.get_or_insert(now);
        let due = lines.len() >= BATCH_LENGTH || now >= since + BATCH_DELAY;
        if self.in_flight.is_some() || !due {
            if lines.len() > BACKLOG_LENGTH_MAX {
                self.lost_bytes += lines.len() as u64;
                lines.clear();
            }
            return;
        }
        let buffer = std::mem::replace(lines, std::mem::take(&mut self.spare));
        self.since = None;
        let job = Job::Append(Append {
            log: Arc::clone(file),
            buffer,
        });
        match disk.submit(id, job) {
            Ok(()) => self.in_flight = Some(id),
            Err(crate::disk::Saturated(job)) => {
                if let Job::Append(Append { buffer, .. }) = *job {
                    self.spare = std::mem::replace(lines, buffer);
                    self.since = Some(now);
                }
            }
        }
    }

    /// Takes the result of a write in. A log that cannot be written does not stop the server.
    pub(super) fn written(&mut self, id: JobId, buffer: Vec<u8>, result: &io::Result<()>) {
        if self.in_flight == Some(id) {
            self.in_flight = None;
            if result.is_err() {
                self.lost_bytes += buffer.len() as u64;
            }
            self.spare = buffer;
            self.spare.clear();
        }
    }

    /// Whether a job is writing lines.
    pub(super) fn is_writing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// How long until lines that wait are due.
    pub(super) fn timeout(&self, now: Instant) -> Option<Duration> {
        match (self.since, self.in_flight) {
            (Some(since), None) => Some((since + BATCH_DELAY).saturating_duration_since(now)),
            _ => None,
        }
    }

    /// Writes what is left, at the end of the process.
    pub(super) fn finish(&mut self, lines: &[u8]) {
        use io::Write;
        if let Some(file) = &self.file
            && (&**file).write_all(lines).is_err()
        {
            self.lost_bytes += lines.len() as u64;
        }
    }
}

fn append_to(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}
