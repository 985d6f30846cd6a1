//! Appends a batch of lines to a log, completely or until an error.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::{Done, InternalJob, Syscall};

/// Destination of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// The access log.
    Log,
    /// Standard error.
    Notices,
}

/// Appends bytes to a log.
#[derive(Debug)]
pub(crate) struct Append {
    target: Target,
    /// The destination; opened with `O_APPEND`, or standard output.
    log: Arc<File>,
    /// Whole lines; lent to the engine during the write.
    buffer: Vec<u8>,
    length: usize,
    written: usize,
    error: Option<io::Error>,
}

impl Append {
    /// Appends `buffer` without its first `written` bytes.
    pub(crate) fn resuming(log: Arc<File>, buffer: Vec<u8>, written: usize) -> Append {
        Append::to(Target::Log, log, buffer, written)
    }

    /// Appends lines to standard error.
    pub(crate) fn notices(output: Arc<File>, lines: Vec<u8>) -> Append {
        Append::to(Target::Notices, output, lines, 0)
    }

    fn to(target: Target, log: Arc<File>, buffer: Vec<u8>, written: usize) -> Append {
        let length = buffer.len();
        Append {
            target,
            log,
            buffer,
            length,
            written,
            error: None,
        }
    }

    /// The lines, if the job was rejected.
    #[cfg(test)]
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    pub(super) fn internal_job(&self) -> InternalJob {
        match self.target {
            Target::Log => InternalJob::Log,
            Target::Notices => InternalJob::Notices,
        }
    }

    pub(super) fn step(&self) -> Syscall<'_> {
        if self.error.is_none() && self.written < self.length {
            Syscall::Write(&self.log)
        } else {
            Syscall::Finished
        }
    }

    pub(super) fn lend_buffer(&mut self) -> (Vec<u8>, usize) {
        (std::mem::take(&mut self.buffer), self.written)
    }

    pub(super) fn written(&mut self, buffer: Vec<u8>, count: io::Result<usize>) {
        self.buffer = buffer;
        match count {
            Ok(0) => self.error = Some(io::ErrorKind::WriteZero.into()),
            Ok(count) => self.written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.error = Some(error),
        }
    }

    pub(super) fn finish(self) -> Done {
        if self.target == Target::Notices {
            return Done::NoticesWritten;
        }
        let is_whole = self.written >= self.length;
        let failed = (!is_whole).then(|| self.error.unwrap_or(io::ErrorKind::TimedOut.into()));
        Done::Appended {
            buffer: self.buffer,
            written: self.written,
            failed,
        }
    }
}
