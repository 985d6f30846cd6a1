//! Disk engines: take jobs and return results.
//!
//! An engine does not know requests, responses or caches. A [`Job`] says what to find out, the pure machine
//! in [`crate::job`] names the next kernel call, and the engine makes the call: by io_uring ([`uring`]), on
//! helper threads ([`threads`]), or on the loop ([`blocking`]).

pub(crate) mod blocking;
mod examine;
mod list;
pub(crate) mod measure;
mod run;
mod slots;
pub(crate) mod threads;
pub(crate) mod uring;

use std::io;
use std::os::fd::BorrowedFd;

use crate::job::{Done, Job, JobId, ResidencyPolicy};
pub(crate) use run::{find_root, mounts};

/// An engine for disk jobs.
///
/// Besides jobs, an engine processes the deferred drops of its root: it closes and unmaps files that are no
/// longer used.
pub(crate) trait Disk: std::fmt::Debug {
    /// Takes a job. Never waits and never calls back: [`reap`](Disk::reap) returns the result.
    ///
    /// The caller keeps to [`depth_max`](Disk::depth_max), and to the maximum of each kind of
    /// [`InternalJob`](crate::job::InternalJob::count_max), counted until they are reaped.
    fn submit(&mut self, id: JobId, job: Job);

    /// Takes deferred drops, starts the jobs submitted since the last call, and returns their number where
    /// the engine batches them. Called once per iteration, before the wait.
    ///
    /// # Errors
    /// When the engine is broken.
    fn flush(&mut self) -> io::Result<usize>;

    /// Appends available results to `done`, in any order.
    fn reap(&mut self, done: &mut Vec<(JobId, Done)>);

    /// Descriptors that become readable with results; none if results are available at once.
    fn wake_sources(&self) -> Vec<BorrowedFd<'_>>;

    /// Whether results can be reaped, as far as known without a system call.
    fn has_results(&self) -> bool;

    /// Maximum number of concurrent jobs on behalf of requests.
    fn depth_max(&self) -> usize;

    /// Which bytes may be handed to a socket without blocking the loop.
    fn residency_policy(&self) -> ResidencyPolicy;

    /// Its name on the command line and at /status.
    fn name(&self) -> &'static str;
}
