//! What a disk job finds out, as a pure machine: it says which call to make next and is told what
//! came of it. Every engine runs the same machine, so they cannot differ in what they find.

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

/// Names a job between its submission and its result; the submitter chooses it, from 1 on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct JobId(pub u64);

impl JobId {
    /// A job of the engine's own, whose result interests nobody.
    pub(crate) const OWN: JobId = JobId(0);
}

/// What may be handed to a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResidencyPolicy {
    /// Everything: whoever waits for the disk waits on the loop.
    Any,
    /// What is known to be resident; the rest is made so by a job first.
    ResidentOnly,
}

/// What is asked of the disk.
#[derive(Debug)]
pub(crate) enum Job {
    /// Find the file that a look-up leads to, or what is in a directory. With expectations: first
    /// see whether everything is as it was, and if so look no further.
    Resolve(Box<Resolve>),
    /// See whether the path of the root leads elsewhere.
    Follow(Follow),
    /// Make a file resident and map it.
    Map(Map),
    /// Make part of a file resident.
    Warm(Warm),
    /// Append lines to a log.
    Append(Append),
    /// Something that one call does, and then what came of it.
    OneShot(OneShot, Option<Box<Done>>),
    /// Close a file or unmap one. `None` once that is done.
    Discard(Option<Discarded>),
}

/// What the server needs for itself. Everybody may be waiting for one of them, so one that does not end must not
/// keep another from beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InternalJob {
    /// Following the path of the root.
    Follow,
    /// Writing the access log.
    Log,
    /// Opening it again.
    Reopen,
    /// Lines to standard error.
    Notices,
    /// The state at the end.
    Save,
    /// Looking at how much memory there is.
    Measure,
    /// Looking at what is mounted where.
    Mounts,
}

impl InternalJob {
    /// How many there are.
    pub(crate) const COUNT: usize = 7;
}

/// What came of a job.
#[derive(Debug)]
pub(crate) enum Done {
    /// Of [`Job::Resolve`].
    Resolved(Outcome, Dependencies),
    /// Of [`Job::Follow`].
    Followed {
        /// What the path depends on.
        walk: Walk,
        /// Another directory, if it leads to one.
        root: Option<Arc<Root>>,
    },
    /// Of [`Job::Map`].
    Mapped(Mapped),
    /// Of [`Job::Warm`].
    Warmed(Result<(), JobError>),
    /// Of [`OneShot::Populate`]. Bytes that could not be read are noticed when they are sent.
    Populated,
    /// Of [`Job::Append`]: the buffer comes back.
    Appended {
        /// As it was given.
        buffer: Vec<u8>,
        /// Bytes of it that were written, from its start on.
        written: usize,
        /// Why the others were not.
        failed: Option<io::Error>,
    },
    /// Of [`Append::notices`]. What could not be written is lost.
    Said,
    /// Of [`OneShot::Reopen`].
    Reopened(Result<Output, OutputError>),
    /// Of [`OneShot::Load`].
    Loaded(io::Result<Vec<u8>>),
    /// Of [`OneShot::Save`].
    Saved(Result<(), OutputError>),
    /// Of [`OneShot::Measure`]; `None` if nobody has looked.
    Measured(Option<Measured>),
    /// Of [`OneShot::Recheck`], in order; none where it was not done.
    Rechecked(Vec<Compared>),
    /// Of [`OneShot::Names`].
    Named(io::Result<Vec<Name>>),
    /// Of [`OneShot::Mounts`]; `None` if the table could not be read.
    Mounts(Option<Table>),
    /// Of [`Job::Discard`].
    Discarded,
}

impl Done {
    /// The errand that it came of.
    pub(crate) fn internal_job(&self) -> Option<InternalJob> {
        match self {
            Done::Followed { .. } => Some(InternalJob::Follow),
            Done::Appended { .. } => Some(InternalJob::Log),
            Done::Reopened(_) => Some(InternalJob::Reopen),
            Done::Said => Some(InternalJob::Notices),
            Done::Saved(_) => Some(InternalJob::Save),
            Done::Measured(_) => Some(InternalJob::Measure),
            Done::Mounts(_) => Some(InternalJob::Mounts),
            _ => None,
        }
    }

    /// Whether it tells of files of the site, and not of what the server needs for itself.
    pub(crate) fn is_of_the_site(&self) -> bool {
        matches!(
            self,
            Done::Resolved(..)
                | Done::Mapped(_)
                | Done::Warmed(_)
                | Done::Populated
                | Done::Named(_)
        )
    }
}

/// The kernel call that a job needs next.
#[derive(Debug)]
pub(crate) enum Syscall<'a> {
    /// `openat2` beneath the root with `O_PATH`, then `statx`: nothing is opened.
    Look(&'a Arc<Root>, &'a CStr, Links),
    /// `openat` of what [`Job::lend_located`] gives, which was found by this path, then `statx`.
    Open(&'a Arc<Root>, &'a CStr, Links),
    /// `statx` of a path.
    Describe(&'a Arc<Root>, &'a CStr, Links),
    /// `inotify_add_watch` on all directories that a look-up depends on: [`Resolve::walk`].
    Walk(&'a Resolve),
    /// The same on the way to the root if that is to be watched, then its `open`.
    FindRoot(&'a Arc<Root>, Option<&'a Arc<Watches>>),
    /// A read of bytes that nobody wants: [`OpenFile::read_through`].
    Read(&'a Arc<OpenFile>, Range<u64>),
    /// `write` of what [`Job::lend_buffer`] gives.
    Write(&'a Arc<File>),
    /// `close` or `munmap` of what [`Job::take_discarded`] gives.
    Discard,
    /// `inotify_add_watch`, `mmap`, `statx` and perhaps `mlock`: [`Map::map`].
    Map(&'a Map),
    /// A look into an opened file: `examine`.
    Examine(&'a Opened),
    /// `openat2` of a directory beneath the root, `getdents`, `statx` of what is there, and the page made of it.
    List(&'a Arc<Root>, &'a Listed, Links),
    /// Whatever it takes.
    OneShot(&'a OneShot),
    /// None: take the outcome.
    Finished,
}

/// What a call gave.
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
    /// Of [`Syscall::Read`]: bytes read.
    Read(io::Result<usize>),
    /// Of [`Syscall::Write`]: the buffer, and bytes written.
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

    /// Takes in what the call of the last step gave.
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

    /// Which errand of the server it is, if it is one: it has a place of its own and stands in no line.
    pub(crate) fn internal_job(&self) -> Option<InternalJob> {
        match self {
            Job::Follow(_) => Some(InternalJob::Follow),
            Job::Append(append) => Some(append.internal_job()),
            Job::OneShot(OneShot::Reopen(_), _) => Some(InternalJob::Reopen),
            Job::OneShot(OneShot::Save(..), _) => Some(InternalJob::Save),
            Job::OneShot(OneShot::Measure(..), _) => Some(InternalJob::Measure),
            Job::OneShot(OneShot::Mounts(_), _) => Some(InternalJob::Mounts),
            _ => None,
        }
    }

    /// The buffer to write from, and how much of it was written before. For [`Syscall::Write`].
    pub(crate) fn lend_buffer(&mut self) -> (Vec<u8>, usize) {
        match self {
            Job::Append(append) => append.lend_buffer(),
            _ => (Vec::new(), 0),
        }
    }

    /// What to open. For [`Syscall::Open`].
    pub(crate) fn lend_located(&mut self) -> Option<Located> {
        match self {
            Job::Resolve(resolve) => resolve.lend_located(),
            _ => None,
        }
    }

    /// What to close or unmap. For [`Syscall::Discard`].
    pub(crate) fn take_discarded(&mut self) -> Option<Discarded> {
        match self {
            Job::Discard(discarded) => discarded.take(),
            _ => None,
        }
    }

    /// What came of it, once [`step`](Job::step) says that it is there.
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

    /// Gives a job up that was not begun, for this reason.
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
