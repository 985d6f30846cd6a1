//! The paper's AMPED: helper threads make the calls that wait, and wake the loop.
//!
//! Threads are made when they are needed and stay. They share nothing with the loop but a queue of
//! jobs and a queue of results; hits go by without either. A helper that is stuck in a dead disk
//! keeps its job and holds up nobody: at the end of the process it is not waited for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use rustix::event::EventfdFlags;

use super::job::{Done, Job};
use super::run::{SCRATCH_LENGTH, run};
use super::{Disk, JobId, Saturated, Sending};
use crate::sys::beneath::Root;

/// Jobs that may wait for a helper, beside those that helpers are at. A job is a few hundred bytes;
/// more than this many would wait longer than anybody does.
const QUEUE_LENGTH_MAX: usize = 4_096;
/// Stack of a helper in bytes: it makes system calls and little else.
const STACK_LENGTH: usize = 128 * 1024;

/// The engine.
#[derive(Debug)]
pub struct Threads {
    root: Arc<Root>,
    jobs: Sender<(JobId, Job)>,
    waiting_jobs: Arc<Mutex<Receiver<(JobId, Job)>>>,
    results: Receiver<(JobId, Done)>,
    report: Sender<(JobId, Done)>,
    wake: Arc<OwnedFd>,
    helper_count: usize,
    helper_count_max: usize,
    /// Jobs submitted and not reaped.
    depth: usize,
}

impl Threads {
    /// An engine of at most `helper_count_max` helpers for files beneath `root`.
    ///
    /// # Errors
    /// When the kernel gives no eventfd.
    pub fn new(root: Arc<Root>, helper_count_max: usize) -> io::Result<Threads> {
        let (jobs, waiting_jobs) = channel();
        let (report, results) = channel();
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = Arc::new(rustix::event::eventfd(0, flags)?);
        Ok(Threads {
            root,
            jobs,
            waiting_jobs: Arc::new(Mutex::new(waiting_jobs)),
            results,
            report,
            wake,
            helper_count: 0,
            helper_count_max,
            depth: 0,
        })
    }

    /// Makes another helper, if there are more jobs than helpers. Where the system has no thread to
    /// give, those who are there do the work.
    fn grow(&mut self) {
        if self.depth < self.helper_count || self.helper_count >= self.helper_count_max {
            return;
        }
        let helper = Helper {
            root: Arc::clone(&self.root),
            jobs: Arc::clone(&self.waiting_jobs),
            report: self.report.clone(),
            wake: Arc::clone(&self.wake),
        };
        let made = thread::Builder::new()
            .name("spede-disk".into())
            .stack_size(STACK_LENGTH)
            .spawn(move || helper.work());
        self.helper_count += usize::from(made.is_ok());
    }
}

/// What a helper holds.
struct Helper {
    root: Arc<Root>,
    jobs: Arc<Mutex<Receiver<(JobId, Job)>>>,
    report: Sender<(JobId, Done)>,
    wake: Arc<OwnedFd>,
}

impl Helper {
    /// Takes jobs until the engine is gone.
    fn work(self) {
        let mut scratch = vec![0; SCRATCH_LENGTH];
        loop {
            // Whoever waits for a job holds the lock; it is let go before the work begins.
            let taken = self
                .jobs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .recv();
            let Ok((id, job)) = taken else { return };
            let done = run(job, &self.root, &mut scratch);
            if self.report.send((id, done)).is_err() {
                return;
            }
            // The counter would have to reach 2^64 for this to fail.
            let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
        }
    }
}

impl Disk for Threads {
    fn submit(&mut self, id: JobId, job: Job) -> Result<(), Saturated> {
        if self.depth >= self.helper_count_max + QUEUE_LENGTH_MAX {
            return Err(Saturated(Box::new(job)));
        }
        self.grow();
        if self.helper_count == 0 {
            return Err(Saturated(Box::new(job)));
        }
        match self.jobs.send((id, job)) {
            Ok(()) => {
                self.depth += 1;
                Ok(())
            }
            Err(refused) => Err(Saturated(Box::new(refused.0.1))),
        }
    }

    fn reap(&mut self, done: &mut Vec<(JobId, Done)>) -> io::Result<()> {
        if self.depth == 0 {
            return Ok(());
        }
        for result in self.results.try_iter() {
            self.depth -= 1;
            done.push(result);
        }
        Ok(())
    }

    /// Edge-triggered: every result makes an edge, so nobody reads the counter back.
    fn wake_source(&self) -> Option<BorrowedFd<'_>> {
        Some(self.wake.as_fd())
    }

    fn has_results(&self) -> bool {
        false
    }

    fn depth(&self) -> usize {
        self.depth
    }

    fn sending(&self) -> Sending {
        Sending::WhatIsResident
    }

    fn name(&self) -> &'static str {
        "threads"
    }
}
