//! Why a job has no result.

use rustix::io::Errno;

/// Failure of a job. Says nothing about the site: the next job may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobError {
    /// A resource that every job needs is exhausted: queue space, descriptors, memory.
    Busy,
    /// Abandoned before it began, because nobody waits for it any more.
    TimedOut,
    /// A call failed, on a broken disk for instance.
    Failed,
}

impl JobError {
    /// Why a file could not be opened that was open before.
    pub(crate) fn of_reopening(error: Errno) -> JobError {
        match LookupFailure::from(error) {
            LookupFailure::Failed(error) => error,
            LookupFailure::Refused(_) => JobError::Failed,
        }
    }
}

/// Why a path has no file. A fact about the site, worth caching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not found, or not served.
    Missing,
    /// Permission denied.
    Forbidden,
}

/// Meaning of an error in a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LookupFailure {
    Refused(Refusal),
    Failed(JobError),
}

impl From<Errno> for LookupFailure {
    fn from(error: Errno) -> LookupFailure {
        match error {
            // EXDEV: the path leaves the root, which must look like 404. ENXIO, ENODEV: a socket, or a device
            // without a driver.
            Errno::NOENT
            | Errno::NOTDIR
            | Errno::NAMETOOLONG
            | Errno::LOOP
            | Errno::XDEV
            | Errno::NXIO
            | Errno::NODEV
            | Errno::INVAL
            | Errno::ILSEQ => LookupFailure::Refused(Refusal::Missing),
            Errno::ACCESS | Errno::PERM => LookupFailure::Refused(Refusal::Forbidden),
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN | Errno::BUSY => {
                LookupFailure::Failed(JobError::Busy)
            }
            _ => LookupFailure::Failed(JobError::Failed),
        }
    }
}
