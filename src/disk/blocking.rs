//! The SPED of the Flash paper: each job runs on the loop, to its end, when it is submitted.
//!
//! A slow disk blocks all clients. It exists as the baseline for the other engines, and because it needs no
//! kernel feature.

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
    /// An engine that closes these deferred drops.
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

    /// Each job ends before the next begins.
    fn depth_max(&self) -> usize {
        usize::MAX
    }

    fn residency_policy(&self) -> ResidencyPolicy {
        ResidencyPolicy::Any
    }

    fn name(&self) -> &'static str {
        "blocking"
    }
}
