//! Why a job did not find out what it was asked.

use rustix::io::Errno;

/// Why the disk could not say. Never a fact about the site: the next job may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobError {
    /// Something that every job needs was used up: room for the job, descriptors, memory.
    Busy,
    /// The job was given up before it began, because everybody who waited for it has left.
    TimedOut,
    /// A call failed, on a broken disk for instance.
    Failed,
}

/// Why a path leads to no file. A fact about the site, worth remembering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is nothing that is served.
    Missing,
    /// The kernel does not let this user have it.
    Forbidden,
}

/// What an error of a look-up means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LookupFailure {
    Refused(Refusal),
    Failed(JobError),
}

impl From<Errno> for LookupFailure {
    fn from(error: Errno) -> LookupFailure {
        match error {
            // EXDEV: a way out of the root, which must look as if it were not there. ENXIO, ENODEV:
            // a socket, or a device without a driver.
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
