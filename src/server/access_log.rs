//! The access log: lines gathered over a turn or more, appended by a disk job.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk_queue::{DiskQueue, Owner};
use super::settings::AccessLog;
use crate::disk::JobId;
use crate::disk::job::{Append, Job, Once};
use crate::sys::allocator::block_length;
use crate::sys::bin::Discarded;

/// Bytes after which lines are written at once.
const BATCH_LENGTH: usize = 32 * 1024;
/// How long a line waits for others.
const BATCH_DELAY: Duration = Duration::from_millis(100);
/// Bytes of lines kept while the log's own disk is slow; further ones are lost, and counted.
const BACKLOG_LENGTH_MAX: usize = 4 << 20;

/// Whether lines may wait for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
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

/// A log and the lines that are not written yet.
#[derive(Debug)]
pub(super) struct LogWriter {
    path: Option<PathBuf>,
    file: Option<Arc<File>>,
    /// Files that were written to before, until nobody writes to them and they are closed.
    former: Vec<Arc<File>>,
    spare: Vec<u8>,
    in_flight: Option<JobId>,
    /// Bytes of the buffer that is being written.
    in_flight_bytes: u64,
    reopening: Reopening,
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
            former: Vec::new(),
            spare: Vec::new(),
            in_flight: None,
            in_flight_bytes: 0,
            reopening: Reopening::No,
            since: None,
            lost_bytes: 0,
        })
    }

    /// Has the file of the same name opened again, after it was moved away.
    pub(super) fn reopen(&mut self, disk: &mut DiskQueue, now: Instant) {
        let Some(path) = &self.path else { return };
        self.reopening = match self.reopening {
            Reopening::No => {
                disk.insist(
                    Owner::Server,
                    Job::Once(Once::Reopen(path.clone()), None),
                    now,
                );
                Reopening::Yes
            }
            Reopening::Yes | Reopening::Twice => Reopening::Twice,
        };
    }

    /// Writes to this file from now on. One that could not be opened changes nothing.
    pub(super) fn reopened(&mut self, file: io::Result<File>, disk: &mut DiskQueue, now: Instant) {
        if let Ok(file) = file {
            self.former.extend(self.file.replace(Arc::new(file)));
        }
        let again = std::mem::replace(&mut self.reopening, Reopening::No) == Reopening::Twice;
        if again {
            self.reopen(disk, now);
        }
    }

    /// Has files closed that are written to no longer: closing may wait for the disk.
    pub(super) fn let_go(&mut self, disk: &mut DiskQueue, now: Instant) {
        if self.in_flight.is_some() {
            return;
        }
        for file in self.former.drain(..).filter_map(Arc::into_inner) {
            let discarded = Discarded::Descriptor(file.into());
            disk.insist(Owner::Server, Job::Discard(Some(discarded)), now);
        }
    }

    /// Has the lines written, if there are enough, or if they have waited long enough.
    pub(super) fn flush(
        &mut self,
        lines: &mut Vec<u8>,
        now: Instant,
        waiting: Waiting,
        disk: &mut DiskQueue,
    ) {
        let Some(file) = &self.file else { return };
        if lines.is_empty() {
            return;
        }
        let since = *self.since.get_or_insert(now);
        let due = lines.len() >= BATCH_LENGTH
            || now >= since + BATCH_DELAY
            || waiting == Waiting::Forbidden;
        if self.in_flight.is_some() || !due {
            if lines.len() > BACKLOG_LENGTH_MAX {
                self.lost_bytes += lines.len() as u64;
                lines.clear();
            }
            return;
        }
        let buffer = std::mem::replace(lines, std::mem::take(&mut self.spare));
        self.since = None;
        self.in_flight_bytes = block_length(buffer.capacity());
        let job = Job::Append(Append::new(Arc::clone(file), buffer));
        self.in_flight = Some(disk.insist(Owner::Server, job, now));
    }

    /// Takes the result of a write in. A log that cannot be written does not stop the server.
    pub(super) fn written(&mut self, id: JobId, buffer: Vec<u8>, lost: Option<(u64, io::Error)>) {
        if self.in_flight == Some(id) {
            self.in_flight = None;
            self.in_flight_bytes = 0;
            self.lost_bytes += lost.map_or(0, |(count, _)| count);
            self.spare = buffer;
        }
    }

    /// Bytes of lines that are being written, and of the buffer that waits for the next.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.in_flight_bytes + block_length(self.spare.capacity())
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
}

fn append_to(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}
