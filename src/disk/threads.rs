//! The paper's AMPED: helper threads make the calls that wait, and wake the loop.
//!
//! They share with the loop a queue of jobs and a queue of results, both without locks, and two
//! eventfds: the helpers sleep on one, the loop on the other. So the loop neither sleeps nor makes
//! threads: a helper that takes a job sees to it that another is there for the next. Hits go by
//! without either queue. A helper that is stuck in a dead disk keeps its job and holds up nobody; at
//! the end of the process it is not waited for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crossbeam_queue::SegQueue;
use rustix::event::EventfdFlags;

use super::run::run;
use super::slots::{Kind, Slots};
use super::{Disk, JobId, ResidencyPolicy};
use crate::job::{Done, Job};
use crate::sys::deferred_drops::DeferredDrops;
use crate::sys::mapping::change_address_space;

/// Stack of a helper in bytes: it makes system calls and little else.
const STACK_LENGTH: usize = 128 * 1024;

/// The engine.
#[derive(Debug)]
pub(crate) struct Threads {
    shared: Arc<Shared>,
    /// Taken by jobs that were submitted and not reaped.
    places: Slots,
}

/// What the loop and its helpers have in common.
#[derive(Debug)]
struct Shared {
    deferred_drops: DeferredDrops,
    jobs: SegQueue<(JobId, Job)>,
    results: SegQueue<(JobId, Done)>,
    /// Counts the jobs that were put in and not taken; helpers wait for it.
    jobs_there: OwnedFd,
    /// Readable once a result was put in; the loop waits for it.
    results_there: OwnedFd,
    helper_count_max: usize,
    helper_count: AtomicUsize,
    /// Helpers that wait for a job.
    idle_count: AtomicUsize,
    is_over: AtomicBool,
}

impl Threads {
    /// An engine of at most `depth_max` helpers which empties this bin, one to begin with.
    ///
    /// # Errors
    /// When the kernel gives no eventfd or no thread.
    pub(crate) fn new(deferred_drops: DeferredDrops, depth_max: usize) -> io::Result<Threads> {
        let places = Slots::new(depth_max);
        let cloexec = EventfdFlags::CLOEXEC;
        let jobs_there = rustix::event::eventfd(0, cloexec | EventfdFlags::SEMAPHORE)?;
        let results_there = rustix::event::eventfd(0, cloexec | EventfdFlags::NONBLOCK)?;
        let shared = Arc::new(Shared {
            deferred_drops,
            jobs: SegQueue::new(),
            results: SegQueue::new(),
            jobs_there,
            results_there,
            helper_count_max: places.count(),
            helper_count: AtomicUsize::new(0),
            idle_count: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        add_helper(&shared)?;
        Ok(Threads { shared, places })
    }
}

impl Threads {
    /// What is taken.
    pub(super) fn places(&self) -> &Slots {
        &self.places
    }
}

/// Makes another helper, unless there are as many as there may be.
fn add_helper(shared: &Arc<Shared>) -> io::Result<()> {
    let raise = |count: usize| (count < shared.helper_count_max).then_some(count + 1);
    let counted = shared
        .helper_count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, raise);
    if counted.is_err() {
        return Ok(());
    }
    shared.idle_count.fetch_add(1, Ordering::Relaxed);
    let own = Arc::clone(shared);
    // Its stack is mapped.
    let changing = change_address_space();
    let made = thread::Builder::new()
        .name("spede-disk".into())
        .stack_size(STACK_LENGTH)
        .spawn(move || help(&own));
    drop(changing);
    if let Err(error) = made {
        shared.idle_count.fetch_sub(1, Ordering::Relaxed);
        shared.helper_count.fetch_sub(1, Ordering::Relaxed);
        return Err(error);
    }
    Ok(())
}

/// Takes jobs until the engine is gone.
fn help(shared: &Arc<Shared>) {
    loop {
        let mut count = [0; 8];
        match rustix::io::read(&shared.jobs_there, &mut count) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
        }
        if shared.is_over.load(Ordering::Acquire) {
            return;
        }
        let Some((id, job)) = shared.jobs.pop() else {
            continue;
        };
        if shared.idle_count.fetch_sub(1, Ordering::Relaxed) == 1 {
            // Where the system has no thread to give, those who are there do the work.
            let _ = add_helper(shared);
        }
        let done = run(job);
        shared.results.push((id, done));
        shared.idle_count.fetch_add(1, Ordering::Relaxed);
        signal(&shared.results_there);
    }
}

/// Raises an eventfd by one. The counter would have to reach 2^64 for this to fail or wait.
fn signal(eventfd: &OwnedFd) {
    let _ = rustix::io::write(eventfd, &1_u64.to_ne_bytes());
}

impl Disk for Threads {
    fn submit(&mut self, id: JobId, job: Job) {
        let kind = Kind::of(id, &job);
        assert!(self.places.has_room(kind), "too many jobs: {kind:?}");
        self.places.take(kind);
        self.shared.jobs.push((id, job));
        signal(&self.shared.jobs_there);
    }

    fn flush(&mut self) -> io::Result<usize> {
        while self.places.has_room(Kind::Discard)
            && let Some(discarded) = self.shared.deferred_drops.take()
        {
            self.submit(JobId::OWN, Job::Discard(Some(discarded)));
        }
        Ok(0)
    }

    fn reap(&mut self, done: &mut Vec<(JobId, Done)>) {
        while let Some((id, result)) = self.shared.results.pop() {
            let kind = Kind::of_done(id, &result);
            self.places.give_back(kind);
            if kind != Kind::Discard {
                done.push((id, result));
            }
        }
    }

    /// Edge-triggered: every result makes an edge, so nobody reads the counter back.
    fn wake_sources(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.shared.results_there.as_fd()]
    }

    fn has_results(&self) -> bool {
        false
    }

    fn depth_max(&self) -> usize {
        self.places.depth_max()
    }

    fn sending(&self) -> ResidencyPolicy {
        ResidencyPolicy::ResidentOnly
    }

    fn name(&self) -> &'static str {
        "threads"
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        for _ in 0..self.shared.helper_count.load(Ordering::Relaxed) {
            signal(&self.shared.jobs_there);
        }
    }
}
