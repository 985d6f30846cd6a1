//! The disk: jobs go in, results come out, and what happens between is the engine's.
//!
//! An engine does not know what a request, a response or a cache is. A [`Job`] says what to
//! find out, the pure machine in [`crate::job`] says which kernel call comes next, and the engine makes
//! the call: by io_uring ([`uring`]), on helper threads ([`threads`]), or here and now
//! ([`blocking`]).

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
/// Beside the jobs that it is given it empties the bin of its root: files and mappings that nobody
/// uses any more are closed and unmapped by it.
pub(crate) trait Disk: std::fmt::Debug {
    /// Takes a job. Never waits and never calls back: the result comes out of
    /// [`reap`](Disk::reap).
    ///
    /// Whoever submits keeps to [`depth_max`](Disk::depth_max), and to one job of each kind of
    /// [`InternalJob`](crate::job::InternalJob), counted until they are reaped.
    fn submit(&mut self, id: JobId, job: Job);

    /// Takes in what is in the bin, begins what was submitted since the last time, and gives how much
    /// that was where it makes a difference. Called once a turn, before the wait.
    ///
    /// # Errors
    /// When the engine itself is broken.
    fn flush(&mut self) -> io::Result<usize>;

    /// Appends the results that are there to `done`, in any order.
    fn reap(&mut self, done: &mut Vec<(JobId, Done)>);

    /// What becomes readable when results are there; nothing when they are there at once.
    fn wake_sources(&self) -> Vec<BorrowedFd<'_>>;

    /// Whether results wait to be reaped, as far as that is known without asking the kernel.
    fn has_results(&self) -> bool;

    /// Jobs that it carries out at once, of those that requests wait for.
    fn depth_max(&self) -> usize;

    /// What may be handed to a socket, if the loop is not to wait.
    fn sending(&self) -> ResidencyPolicy;

    /// What the engine is called on the command line and at /status.
    fn name(&self) -> &'static str;
}
