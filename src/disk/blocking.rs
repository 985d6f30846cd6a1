//! The paper's own SPED: every job runs to its end where it is submitted, on the loop.
//!
//! While the disk is slow nobody is served. It is here because it is what the other engines are
//! measured against, and because it needs nothing of the kernel.

use std::io;
use std::os::fd::BorrowedFd;

use super::run::run;
use super::{Disk, JobId, ResidencyPolicy};
use crate::job::{Done, Job};
use crate::sys::deferred_drops::DeferredDrops;

/// The engine.
#[derive(Debug)]
pub(crate) struct Blocking {
    deferred_drops: DeferredDrops,
    done: Vec<(JobId, Done)>,
}

impl Blocking {
    /// An engine which empties this bin.
    pub(crate) fn new(deferred_drops: DeferredDrops) -> Blocking {
        Blocking {
            deferred_drops,
            done: Vec::new(),
        }
    }
}

impl Disk for Blocking {
    fn submit(&mut self, id: JobId, job: Job) {
        let done = run(job);
        self.done.push((id, done));
    }

    fn flush(&mut self) -> io::Result<usize> {
        while let Some(discarded) = self.deferred_drops.take() {
            drop(discarded);
        }
        Ok(0)
    }

    fn reap(&mut self, done: &mut Vec<(JobId, Done)>) {
        done.append(&mut self.done);
    }

    fn wake_sources(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    fn has_results(&self) -> bool {
        !self.done.is_empty()
    }

    /// Each is over before the next begins.
    fn depth_max(&self) -> usize {
        usize::MAX
    }

    fn sending(&self) -> ResidencyPolicy {
        ResidencyPolicy::Any
    }

    fn name(&self) -> &'static str {
        "blocking"
    }
}
