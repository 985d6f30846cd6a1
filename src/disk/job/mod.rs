//! What a disk job finds out, as a pure machine: it says which call to make next and is told what
//! came of it. Every engine runs the same machine, so they cannot differ in what they find.

mod append;
mod examine;
mod follow;
mod once;
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

pub use super::list::Listing;
pub use append::Append;
pub use examine::Examined;
pub(super) use examine::examine;
pub use follow::Follow;
pub use once::{CHECK_LENGTH_MAX, LOAD_LENGTH_MAX, Once, Save};
pub use outcome::{Footing, FoundFile, Ground, Opened, Outcome, Site};
pub use read::{Locking, Map, Mapped, Unmapped, Warm};
pub use recheck::{CONTENT_LENGTH_MAX, Compared, Recheck, Remembered, digest};
pub use resolve::Resolve;

use crate::disk::measure::Measured;
use crate::http::status::Status;
use crate::site::listing::Name;
use crate::site::mounts::Table;
use crate::site::resolve::Listed;
use crate::sys::beneath::{Links, Located, Root};
use crate::sys::bin::Discarded;
use crate::sys::file::{Description, OpenFile};
use crate::sys::output::{Output, OutputError};
use crate::sys::watches::{Walk, Watches};

/// What is asked of the disk.
#[derive(Debug)]
pub enum Job {
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
    Once(Once, Option<Box<Done>>),
    /// Close a file or unmap one. `None` once that is done.
    Discard(Option<Discarded>),
}

/// What the server needs for itself. Everybody may be waiting for one of them, so one that does not end must not
/// keep another from beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
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

impl Errand {
    /// How many there are.
    pub const COUNT: usize = 7;
}

/// What came of a job.
#[derive(Debug)]
pub enum Done {
    /// Of [`Job::Resolve`].
    Resolved(Outcome, Footing),
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
    Warmed(Result<(), Status>),
    /// Of [`Once::Populate`]. Bytes that could not be read are noticed when they are sent.
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
    /// Of [`Once::Reopen`].
    Reopened(Result<Output, OutputError>),
    /// Of [`Once::Load`].
    Loaded(io::Result<Vec<u8>>),
    /// Of [`Once::Save`].
    Saved(Result<(), OutputError>),
    /// Of [`Once::Measure`]; `None` if nobody has looked.
    Measured(Option<Measured>),
    /// Of [`Once::Recheck`], in order; none where it was not done.
    Rechecked(Vec<Compared>),
    /// Of [`Once::Names`].
    Named(io::Result<Vec<Name>>),
    /// Of [`Once::Mounts`]; `None` if the table could not be read.
    Mounts(Option<Table>),
    /// Of [`Job::Discard`].
    Discarded,
}

impl Done {
    /// The errand that it came of.
    pub fn errand(&self) -> Option<Errand> {
        match self {
            Done::Followed { .. } => Some(Errand::Follow),
            Done::Appended { .. } => Some(Errand::Log),
            Done::Reopened(_) => Some(Errand::Reopen),
            Done::Said => Some(Errand::Notices),
            Done::Saved(_) => Some(Errand::Save),
            Done::Measured(_) => Some(Errand::Measure),
            Done::Mounts(_) => Some(Errand::Mounts),
            _ => None,
        }
    }

    /// Whether it tells of files of the site, and not of what the server needs for itself.
    pub fn is_of_the_site(&self) -> bool {
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
pub enum Step<'a> {
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
    Once(&'a Once),
    /// None: take the outcome.
    Finished,
}

/// What a call gave.
#[derive(Debug)]
pub enum Answer {
    /// Of [`Step::Look`].
    Located(rustix::io::Result<(Located, Description)>),
    /// Of [`Step::Open`].
    Opened(rustix::io::Result<(OpenFile, Description)>),
    /// Of [`Step::Describe`].
    Described(rustix::io::Result<Description>),
    /// Of [`Step::Walk`].
    Walked(Walk),
    /// Of [`Step::FindRoot`].
    RootFound(Walk, io::Result<Root>),
    /// Of [`Step::Read`]: bytes read.
    Read(io::Result<usize>),
    /// Of [`Step::Write`]: the buffer, and bytes written.
    Written(Vec<u8>, io::Result<usize>),
    /// Of [`Step::Discard`].
    Discarded,
    /// Of [`Step::Map`].
    Mapped(Mapped),
    /// Of [`Step::Examine`].
    Examined(Examined),
    /// Of [`Step::List`].
    Listed(rustix::io::Result<Box<Listing>>),
    /// Of [`Step::Once`].
    Once(Done),
}

impl Job {
    /// The next call to make.
    pub fn step(&self) -> Step<'_> {
        match self {
            Job::Resolve(resolve) => resolve.step(),
            Job::Follow(follow) => follow.step(),
            Job::Map(map) => map.step(),
            Job::Warm(warm) => warm.step(),
            Job::Append(append) => append.step(),
            Job::Once(once, None) => Step::Once(once),
            Job::Discard(Some(_)) => Step::Discard,
            Job::Once(_, Some(_)) | Job::Discard(None) => Step::Finished,
        }
    }

    /// Takes in what the call of the last step gave.
    pub fn answer(&mut self, answer: Answer) {
        match (self, answer) {
            (Job::Resolve(resolve), Answer::Located(located)) => resolve.located(located),
            (Job::Resolve(resolve), Answer::Opened(opened)) => resolve.opened(opened),
            (Job::Resolve(resolve), Answer::Described(described)) => resolve.described(described),
            (Job::Resolve(resolve), Answer::Examined(examined)) => resolve.examined(examined),
            (Job::Resolve(resolve), Answer::Listed(listed)) => resolve.listed(listed),
            (Job::Resolve(resolve), Answer::Walked(walk)) => resolve.walked(walk),
            (Job::Resolve(resolve), Answer::RootFound(_, root)) => resolve.root_found(root),
            (Job::Follow(follow), Answer::RootFound(walk, root)) => follow.found(walk, root),
            (Job::Map(map), Answer::Read(read)) => map.read(read),
            (Job::Map(map), Answer::Mapped(mapped)) => map.mapped(mapped),
            (Job::Warm(warm), Answer::Read(read)) => warm.read(read),
            (Job::Append(append), Answer::Written(buffer, count)) => append.written(buffer, count),
            (Job::Once(_, done), Answer::Once(came)) => *done = Some(Box::new(came)),
            (Job::Discard(_), Answer::Discarded) => {}
            (job, answer) => unreachable!("an engine gave {answer:?} to {job:?}"),
        }
    }

    /// Which errand of the server it is, if it is one: it has a place of its own and stands in no line.
    pub fn errand(&self) -> Option<Errand> {
        match self {
            Job::Follow(_) => Some(Errand::Follow),
            Job::Append(append) => Some(append.errand()),
            Job::Once(Once::Reopen(_), _) => Some(Errand::Reopen),
            Job::Once(Once::Save(..), _) => Some(Errand::Save),
            Job::Once(Once::Measure(_), _) => Some(Errand::Measure),
            Job::Once(Once::Mounts(_), _) => Some(Errand::Mounts),
            _ => None,
        }
    }

    /// The buffer to write from, and how much of it was written before. For [`Step::Write`].
    pub fn lend_buffer(&mut self) -> (Vec<u8>, usize) {
        match self {
            Job::Append(append) => append.lend_buffer(),
            _ => (Vec::new(), 0),
        }
    }

    /// What to open. For [`Step::Open`].
    pub fn lend_located(&mut self) -> Option<Located> {
        match self {
            Job::Resolve(resolve) => resolve.lend_located(),
            _ => None,
        }
    }

    /// What to close or unmap. For [`Step::Discard`].
    pub fn take_discarded(&mut self) -> Option<Discarded> {
        match self {
            Job::Discard(discarded) => discarded.take(),
            _ => None,
        }
    }

    /// What came of it, once [`step`](Job::step) says that it is there.
    pub fn finish(self) -> Done {
        match self {
            Job::Resolve(resolve) => resolve.finish(),
            Job::Follow(follow) => follow.finish(),
            Job::Map(map) => map.finish(),
            Job::Warm(warm) => Done::Warmed(warm.finish()),
            Job::Append(append) => append.finish(),
            Job::Once(once, done) => {
                done.map_or_else(|| once.abandon(Status::InternalServerError), |done| *done)
            }
            Job::Discard(_) => Done::Discarded,
        }
    }

    /// Gives a job up that was not begun. Whoever waits for it is told `status`.
    pub fn abandon(self, status: Status) -> Done {
        match self {
            Job::Resolve(resolve) => resolve.abandon(status),
            Job::Follow(follow) => follow.finish(),
            Job::Map(map) => map.finish(),
            Job::Warm(_) => Done::Warmed(Err(status)),
            Job::Append(append) => append.finish(),
            Job::Once(once, _) => once.abandon(status),
            Job::Discard(_) => Done::Discarded,
        }
    }
}
