//! Warnings on standard error while the server runs.
//!
//! Standard error may be a pipe without a reader, so jobs write to it, one at a time: a job that hangs takes
//! no resources from others. Meanwhile lines are queued, up to a limit; further ones are lost, and their
//! number is reported when there is room again. The caller submits the jobs.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::job::{Append, Job};

/// Maximum bytes of queued lines.
const WAITING_LENGTH_MAX: usize = 16 * 1_024;

/// Whether a job is writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    No,
    InFlight,
}

/// Lines that are not written yet.
#[derive(Debug)]
pub(crate) struct Notices {
    output: Option<Arc<File>>,
    writing: Writing,
    waiting: Vec<u8>,
    /// Lines lost because the queue was full.
    lost: u64,
}

impl Notices {
    /// Writes to standard error, if there is one.
    pub(crate) fn new() -> Notices {
        let output = io::stderr().as_fd().try_clone_to_owned().ok();
        Notices {
            output: output.map(|stderr| Arc::new(File::from(stderr))),
            writing: Writing::No,
            waiting: Vec::new(),
            lost: 0,
        }
    }

    /// Queues a non-fatal warning, given without its newline.
    pub(crate) fn push(&mut self, line: &str) {
        let line = format!("spede: {line}\n");
        match self.waiting.len() + line.len() <= WAITING_LENGTH_MAX {
            true => self.waiting.extend_from_slice(line.as_bytes()),
            false => self.lost += 1,
        }
    }

    /// Whether lines are queued.
    pub(crate) fn has_lines(&self) -> bool {
        !self.waiting.is_empty() || self.lost > 0
    }

    /// The next job to submit, if none is in flight and lines are queued.
    pub(crate) fn next_job(&mut self) -> Option<Job> {
        if self.writing == Writing::InFlight || !self.has_lines() {
            return None;
        }
        let output = Arc::clone(self.output.as_ref()?);
        let mut lines = std::mem::take(&mut self.waiting);
        if self.lost > 0 {
            let text = format!("spede: {} further lines were lost here\n", self.lost);
            lines.extend_from_slice(text.as_bytes());
            self.lost = 0;
        }
        self.writing = Writing::InFlight;
        Some(Job::Append(Append::notices(output, lines)))
    }

    /// The job in flight has ended, successfully or not.
    pub(crate) fn written(&mut self) {
        self.writing = Writing::No;
    }

    /// Whether a job is writing.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing == Writing::InFlight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wait_up_to_a_bound_and_lost_ones_are_counted() {
        let mut notices = Notices::new();
        notices.push("first");
        assert!(notices.next_job().is_some());
        for _ in 0..10_000 {
            notices.push("something happens again and again");
        }
        assert!(notices.next_job().is_none(), "one after the other");
        assert!(notices.waiting.len() <= WAITING_LENGTH_MAX && notices.lost > 9_000);
        notices.written();
        let Some(Job::Append(append)) = notices.next_job() else {
            panic!("there is something to write");
        };
        let text = String::from_utf8(append.into_buffer()).expect("text");
        assert!(text.ends_with(" further lines were lost here\n"), "{text}");
        notices.written();
        assert!(notices.next_job().is_none(), "all of it was taken");
    }
}
