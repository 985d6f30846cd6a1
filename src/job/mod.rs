//! Disk jobs as pure state machines: a job names its next call and takes the result. All engines run the same
//! machines, so their results cannot differ.

mod append;
mod error;
mod examined;
mod follow;
mod listing;
mod one_shot;
mod outcome;
mod read;
mod recheck;
mod resolve;
#[cfg(test)]
mod tests;

use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

pub(crate) use append::Append;
pub(crate) use error::{JobError, Refusal};
pub(crate) use examined::Examined;
pub(crate) use follow::Follow;
pub(crate) use listing::Listing;
pub(crate) use one_shot::{CHECK_LENGTH_MAX, LOAD_LENGTH_MAX, OneShot, Save};
pub use outcome::Opened;
pub(crate) use outcome::{Dependencies, FoundFile, LookupSite, Outcome, WatchCoverage};
pub(crate) use read::{Locking, Map, Mapped, Unmapped, Warm};
#[cfg(test)]
pub(crate) use recheck::digest;
pub(crate) use recheck::{Compared, Recheck, Remembered};
pub(crate) use resolve::Resolve;

use crate::memory::measured::Measured;
use crate::site::listing::Name;
use crate::site::mounts::Table;
use crate::site::resolve::Listed;
use crate::sys::beneath::{Links, Located, Root};
use crate::sys::deferred_drops::Discarded;
use crate::sys::file::{Description, OpenFile};
use crate::sys::output::{Output, OutputError};
use crate::sys::watches::{Walk, Watches};

/// Identifies a job between submission and result; chosen by the submitter, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct JobId(pub u64);

impl JobId {
    /// A job of the engine itself; its result is ignored.
    pub(crate) const OWN: JobId = JobId(0);
}

/// Which bytes may be handed to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResidencyPolicy {
    /// All: this engine waits for the disk on the loop anyway.
    Any,
    /// Resident bytes only; a job makes others resident first.
    ResidentOnly,
}

/// Maximum number of descriptors of a job: a file, its three precompressed variants, and one located file that is
/// being opened.
pub(crate) const DESCRIPTOR_COUNT_MAX: usize = 5;

/// A request to the disk.
#[derive(Debug)]
pub(crate) enum Job {
    /// Find the file or the directory listing for a path. With expectations: end early if they all hold.
    Resolve(Box<Resolve>),
    /// Check whether the path of the root leads elsewhere.
    Follow(Follow),
    /// Make a file resident and map it.
    Map(Map),
    /// Make part of a file resident.
    Warm(Warm),
    /// Append lines to a log.
    Append(Append),
    /// One call without intermediate states, and then its result.
    OneShot(OneShot, Option<Box<Done>>),
    /// Close or unmap a file. `None` once that is done.
    Discard(Option<Discarded>),
}

/// Jobs that the server needs for itself. All requests may depend on one of them, so a job that hangs must
/// not block the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InternalJob {
    /// Following the path of the root.
    Follow,
    /// Writing the access log.
    Log,
    /// Reopening it.
    Reopen,
    /// Writing lines to standard error.
    Notices,
    /// Saving the state at the end.
    Save,
    /// Measuring available memory.
    Measure,
    /// Reading the mount table.
    Mounts,
    /// Comparing a password with a hash, which takes long: it shall keep no request from the disk.
    Verify,
}

impl InternalJob {
    /// All of them, in their order.
    pub(crate) const ALL: [InternalJob; 8] = [
        InternalJob::Follow,
        InternalJob::Log,
        InternalJob::Reopen,
        InternalJob::Notices,
        InternalJob::Save,
        InternalJob::Measure,
        InternalJob::Mounts,
        InternalJob::Verify,
    ];

    /// The number of them.
    pub(crate) const COUNT: usize = InternalJob::ALL.len();

    /// Maximum number of jobs of this kind in flight. Roots may lie on several file systems: one that does not answer
    /// leaves places for the others.
    pub(crate) fn count_max(self) -> usize {
        match self {
            InternalJob::Follow => 4,
            _ => 1,
        }
    }
}

/// Result of a job.
#[derive(Debug)]
pub(crate) enum Done {
    /// Of [`Job::Resolve`].
    Resolved(Outcome, Dependencies),
    /// Of [`Job::Follow`].
    Followed {
        /// The directories that the path depends on.
        walk: Walk,
        /// Another directory, if it leads to one.
        root: Option<Arc<Root>>,
    },
    /// Of [`Job::Map`].
    Mapped(Mapped),
    /// Of [`Job::Warm`].
    Warmed(Result<(), JobError>),
    /// Of [`OneShot::Populate`]. Read errors show when the bytes are sent.
    Populated,
    /// Of [`Job::Append`]: the buffer comes back.
    Appended {
        /// As it was given.
        buffer: Vec<u8>,
        /// Number of its bytes that were written.
        written: usize,
        /// The error that stopped it.
        failed: Option<io::Error>,
    },
    /// Of [`Append::notices`]. Lines that could not be written are lost.
    NoticesWritten,
    /// Of [`OneShot::Reopen`].
    Reopened(Result<Output, OutputError>),
    /// Of [`OneShot::Load`].
    Loaded(io::Result<Vec<u8>>),
    /// Of [`OneShot::Save`].
    Saved(Result<(), OutputError>),
    /// Of [`OneShot::Measure`]; `None` if it was abandoned.
    Measured(Option<Measured>),
    /// Of [`OneShot::Recheck`], in order; empty if it was abandoned.
    Rechecked(Vec<Compared>),
    /// Of [`OneShot::Names`].
    Named(io::Result<Vec<Name>>),
    /// Of [`OneShot::Mounts`]; `None` if the table could not be read.
    Mounts(Option<Table>),
    /// Of [`OneShot::Verify`].
    Verified(bool),
    /// Of [`OneShot::OpenAgain`].
    OpenedAgain(Result<Arc<OpenFile>, JobError>),
    /// Of [`Job::Discard`].
    Discarded,
}

impl Done {
    /// The internal job of this result.
    pub(crate) fn internal_job(&self) -> Option<InternalJob> {
        match self {
            Done::Followed { .. } => Some(InternalJob::Follow),
            Done::Appended { .. } => Some(InternalJob::Log),
            Done::Reopened(_) => Some(InternalJob::Reopen),
            Done::NoticesWritten => Some(InternalJob::Notices),
            Done::Saved(_) => Some(InternalJob::Save),
            Done::Measured(_) => Some(InternalJob::Measure),
            Done::Mounts(_) => Some(InternalJob::Mounts),
            Done::Verified(_) => Some(InternalJob::Verify),
            _ => None,
        }
    }

    /// Whether it came of a job that [opens files](Job::opens_files).
    pub(crate) fn is_of_opening(&self) -> bool {
        matches!(
            self,
            Done::Resolved(..) | Done::Rechecked(_) | Done::Named(_) | Done::OpenedAgain(_)
        )
    }

    /// Whether it concerns files of the site, rather than the server itself.
    pub(crate) fn is_of_the_site(&self) -> bool {
        matches!(
            self,
            Done::Resolved(..)
                | Done::Mapped(_)
                | Done::Warmed(_)
                | Done::Populated
                | Done::Named(_)
                | Done::OpenedAgain(_)
        )
    }
}

/// The next kernel call of a job.
#[derive(Debug)]
pub(crate) enum Syscall<'a> {
    /// `openat2` beneath the root with `O_PATH`, then `statx`: does not open the file.
    Look(&'a Arc<Root>, &'a CStr, Links),
    /// `openat` of [`Job::lend_located`], found at this path, then `statx`.
    Open(&'a Arc<Root>, &'a CStr, Links),
    /// `statx` of a path.
    Describe(&'a Arc<Root>, &'a CStr, Links),
    /// `inotify_add_watch` on all directories of a lookup: [`Resolve::walk`].
    Walk(&'a Resolve),
    /// The same on the path of the root if it is to be watched, then its `open`.
    FindRoot(&'a Arc<Root>, Option<&'a Arc<Watches>>),
    /// A read whose bytes are discarded: [`OpenFile::read_through`].
    Read(&'a Arc<OpenFile>, Range<u64>),
    /// `write` of [`Job::lend_buffer`].
    Write(&'a Arc<File>),
    /// `close` or `munmap` of [`Job::take_discarded`].
    Discard,
    /// `inotify_add_watch`, `mmap`, `statx` and perhaps `mlock`: [`Map::map`].
    Map(&'a Map),
    /// Examination of an opened file: `examine`.
    Examine(&'a Opened),
    /// `openat2` of a directory beneath the root, `getdents`, `statx` of each name, and the rendering of the
    /// page.
    List(&'a Arc<Root>, &'a Listed, Links),
    /// The calls of a one-shot job.
    OneShot(&'a OneShot),
    /// None: take the outcome.
    Finished,
}

/// Result of a call.
#[derive(Debug)]
pub(crate) enum SyscallResult {
    /// Of [`Syscall::Look`].
    Located(rustix::io::Result<(Located, Description)>),
    /// Of [`Syscall::Open`].
    Opened(rustix::io::Result<(OpenFile, Description)>),
    /// Of [`Syscall::Describe`].
    Described(rustix::io::Result<Description>),
    /// Of [`Syscall::Walk`].
    Walked(Walk),
    /// Of [`Syscall::FindRoot`].
    RootFound(Walk, io::Result<Root>),
    /// Of [`Syscall::Read`]: number of bytes read.
    Read(io::Result<usize>),
    /// Of [`Syscall::Write`]: the buffer, and the number of bytes written.
    Written(Vec<u8>, io::Result<usize>),
    /// Of [`Syscall::Discard`].
    Discarded,
    /// Of [`Syscall::Map`].
    Mapped(Mapped),
    /// Of [`Syscall::Examine`].
    Examined(Examined),
    /// Of [`Syscall::List`].
    Listed(rustix::io::Result<Box<Listing>>),
    /// Of [`Syscall::OneShot`].
    OneShot(Done),
}

impl Job {
    /// The next call to make.
    pub(crate) fn step(&self) -> Syscall<'_> {
        match self {
            Job::Resolve(resolve) => resolve.step(),
            Job::Follow(follow) => follow.step(),
            Job::Map(map) => map.step(),
            Job::Warm(warm) => warm.step(),
            Job::Append(append) => append.step(),
            Job::OneShot(one_shot, None) => Syscall::OneShot(one_shot),
            Job::Discard(Some(_)) => Syscall::Discard,
            Job::OneShot(_, Some(_)) | Job::Discard(None) => Syscall::Finished,
        }
    }

    /// Takes the result of the last call.
    pub(crate) fn answer(&mut self, answer: SyscallResult) {
        match (self, answer) {
            (Job::Resolve(resolve), SyscallResult::Located(located)) => {
                resolve.located(located);
            }
            (Job::Resolve(resolve), SyscallResult::Opened(opened)) => {
                resolve.opened(opened);
            }
            (Job::Resolve(resolve), SyscallResult::Described(described)) => {
                resolve.described(described);
            }
            (Job::Resolve(resolve), SyscallResult::Examined(examined)) => {
                resolve.examined(examined);
            }
            (Job::Resolve(resolve), SyscallResult::Listed(listed)) => {
                resolve.listed(listed);
            }
            (Job::Resolve(resolve), SyscallResult::Walked(walk)) => {
                resolve.walked(walk);
            }
            (Job::Resolve(resolve), SyscallResult::RootFound(_, root)) => {
                resolve.root_found(root);
            }
            (Job::Follow(follow), SyscallResult::RootFound(walk, root)) => {
                follow.found(walk, root);
            }
            (Job::Map(map), SyscallResult::Read(read)) => {
                map.read(read);
            }
            (Job::Map(map), SyscallResult::Mapped(mapped)) => {
                map.mapped(mapped);
            }
            (Job::Warm(warm), SyscallResult::Read(read)) => {
                warm.read(read);
            }
            (Job::Append(append), SyscallResult::Written(buffer, count)) => {
                append.written(buffer, count);
            }
            (Job::OneShot(_, done), SyscallResult::OneShot(came)) => *done = Some(Box::new(came)),
            (Job::Discard(_), SyscallResult::Discarded) => {}
            (job, answer) => unreachable!("an engine gave {answer:?} to {job:?}"),
        }
    }

    /// Its kind, if it is an internal job: those have their own slots and skip the queue.
    pub(crate) fn internal_job(&self) -> Option<InternalJob> {
        match self {
            Job::Follow(_) => Some(InternalJob::Follow),
            Job::Append(append) => Some(append.internal_job()),
            Job::OneShot(OneShot::Reopen(_), _) => Some(InternalJob::Reopen),
            Job::OneShot(OneShot::Save(..), _) => Some(InternalJob::Save),
            Job::OneShot(OneShot::Measure(..), _) => Some(InternalJob::Measure),
            Job::OneShot(OneShot::Mounts(_), _) => Some(InternalJob::Mounts),
            Job::OneShot(OneShot::Verify(_), _) => Some(InternalJob::Verify),
            _ => None,
        }
    }

    /// Whether it opens files of the site: up to [`DESCRIPTOR_COUNT_MAX`] at once.
    pub(crate) fn opens_files(&self) -> bool {
        match self {
            Job::Resolve(_) => true,
            Job::OneShot(one_shot, _) => matches!(
                one_shot,
                OneShot::Recheck(_) | OneShot::Names(..) | OneShot::OpenAgain(..)
            ),
            _ => false,
        }
    }

    /// The buffer to write from, and how much of it is written already. For [`Syscall::Write`].
    pub(crate) fn lend_buffer(&mut self) -> (Vec<u8>, usize) {
        match self {
            Job::Append(append) => append.lend_buffer(),
            _ => (Vec::new(), 0),
        }
    }

    /// The file to open. For [`Syscall::Open`].
    pub(crate) fn lend_located(&mut self) -> Option<Located> {
        match self {
            Job::Resolve(resolve) => resolve.lend_located(),
            _ => None,
        }
    }

    /// The file to close or unmap. For [`Syscall::Discard`].
    pub(crate) fn take_discarded(&mut self) -> Option<Discarded> {
        match self {
            Job::Discard(discarded) => discarded.take(),
            _ => None,
        }
    }

    /// The result, once [`step`](Job::step) is `Finished`.
    pub(crate) fn finish(self) -> Done {
        match self {
            Job::Resolve(resolve) => resolve.finish(),
            Job::Follow(follow) => follow.finish(),
            Job::Map(map) => map.finish(),
            Job::Warm(warm) => Done::Warmed(warm.finish()),
            Job::Append(append) => append.finish(),
            Job::OneShot(one_shot, done) => done.map_or_else(|| one_shot.abandon(), |done| *done),
            Job::Discard(_) => Done::Discarded,
        }
    }

    /// The result of a job that was abandoned before it began.
    pub(crate) fn abandon(self, error: JobError) -> Done {
        match self {
            Job::Resolve(resolve) => resolve.abandon(error),
            Job::Follow(follow) => follow.finish(),
            Job::Map(map) => map.finish(),
            Job::Warm(_) => Done::Warmed(Err(error)),
            Job::Append(append) => append.finish(),
            Job::OneShot(one_shot, _) => one_shot.abandon(),
            Job::Discard(_) => Done::Discarded,
        }
    }
}
