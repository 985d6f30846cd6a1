//! Lines on standard error while the server runs.
//!
//! It may be a pipe that nobody reads, so jobs write to it, one after the other: there is never more than one
//! under way, and it takes nothing away from others when it does not end. Lines that come meanwhile wait, up
//! to a bound; further ones are lost, and how many is said when there is room again.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use super::Store;
use crate::clock::Now;
use crate::job::JobId;
use crate::job::{Append, Job};
use crate::store::disk_queue::Owner;

/// Bytes of lines that wait.
const WAITING_LENGTH_MAX: usize = 16 * 1_024;

/// Lines that are not written yet.
#[derive(Debug)]
pub(super) struct Notices {
    output: Option<Arc<File>>,
    in_flight: Option<JobId>,
    waiting: Vec<u8>,
    /// Lines that there was no room for.
    lost: u64,
}

impl Notices {
    /// To standard error, if there is one.
    pub(super) fn new() -> Notices {
        let output = io::stderr().as_fd().try_clone_to_owned().ok();
        Notices {
            output: output.map(|stderr| Arc::new(File::from(stderr))),
            in_flight: None,
            waiting: Vec::new(),
            lost: 0,
        }
    }

    fn push(&mut self, line: &str) {
        let line = format!("spede: {line}\n");
        match self.waiting.len() + line.len() <= WAITING_LENGTH_MAX {
            true => self.waiting.extend_from_slice(line.as_bytes()),
            false => self.lost += 1,
        }
    }

    /// The next job, if none is under way and there is something to write.
    fn next(&mut self) -> Option<Job> {
        if self.in_flight.is_some() || (self.waiting.is_empty() && self.lost == 0) {
            return None;
        }
        let output = Arc::clone(self.output.as_ref()?);
        let mut lines = std::mem::take(&mut self.waiting);
        if self.lost > 0 {
            let text = format!("spede: {} further lines were lost here\n", self.lost);
            lines.extend_from_slice(text.as_bytes());
            self.lost = 0;
        }
        Some(Job::Append(Append::notices(output, lines)))
    }
}

impl Store {
    /// Says on standard error what does not stop the server.
    pub(crate) fn say(&mut self, line: &str, now: &Now) {
        self.notices.push(line);
        self.write_notices(now);
    }

    /// The lines of a job were written, or cannot be.
    pub(crate) fn said(&mut self, job: JobId, now: &Now) {
        if self.notices.in_flight == Some(job) {
            self.notices.in_flight = None;
            self.write_notices(now);
        }
    }

    /// Whether a job is writing.
    pub(crate) fn is_saying(&self) -> bool {
        self.notices.in_flight.is_some()
    }

    fn write_notices(&mut self, now: &Now) {
        if let Some(job) = self.notices.next() {
            let job = self
                .disk
                .submit_unbounded(Owner::Server, job, now.monotonic);
            self.notices.in_flight = Some(job);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_wait_up_to_a_bound_and_lost_ones_are_counted() {
        let mut notices = Notices::new();
        notices.push("first");
        assert!(notices.next().is_some());
        notices.in_flight = Some(JobId(1));
        for _ in 0..10_000 {
            notices.push("something happens again and again");
        }
        assert!(notices.next().is_none(), "one after the other");
        assert!(notices.waiting.len() <= WAITING_LENGTH_MAX && notices.lost > 9_000);
        notices.in_flight = None;
        let Some(Job::Append(append)) = notices.next() else {
            panic!("there is something to write");
        };
        let text = String::from_utf8(append.into_buffer()).expect("text");
        assert!(text.ends_with(" further lines were lost here\n"), "{text}");
        assert!(notices.next().is_none(), "all of it was taken");
    }
}
