//! Making bytes of a file resident by reading them once, and mapping what was read.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use rustix::io::Errno;

use super::{Done, Step};
use crate::sys::READ_LENGTH_MAX;
use crate::sys::file::{FileVersion, OpenFile};
use crate::sys::mapping::Mapping;

/// How far a read has come.
#[derive(Debug)]
struct Progress {
    left: Range<u64>,
    error: Option<io::Error>,
}

impl Progress {
    fn of(bytes: Range<u64>) -> Progress {
        Progress {
            left: bytes,
            error: None,
        }
    }

    /// What to read next.
    fn next(&self) -> Option<Range<u64>> {
        if self.error.is_some() || self.left.is_empty() {
            return None;
        }
        let end = self.left.end.min(self.left.start + READ_LENGTH_MAX as u64);
        Some(self.left.start..end)
    }

    /// A file that ends early is no error: the next use notices.
    fn read(&mut self, count: io::Result<usize>) {
        match count {
            Ok(0) => self.left.start = self.left.end,
            Ok(count) => self.left.start = self.left.end.min(self.left.start + count as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.error = Some(error),
        }
    }
}

/// Makes part of a file resident, so that sending it does not wait.
#[derive(Debug)]
pub struct Warm {
    file: Arc<OpenFile>,
    progress: Progress,
}

impl Warm {
    /// Reads these bytes; what lies past the end of the file is not there and no error.
    pub fn new(file: Arc<OpenFile>, bytes: Range<u64>) -> Warm {
        Warm {
            file,
            progress: Progress::of(bytes),
        }
    }

    pub(super) fn step(&self) -> Step<'_> {
        match self.progress.next() {
            Some(bytes) => Step::Read(&self.file, bytes),
            None => Step::Finished,
        }
    }

    pub(super) fn read(&mut self, count: io::Result<usize>) {
        self.progress.read(count);
    }

    pub(super) fn finish(self) -> io::Result<()> {
        match self.progress.error {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Whether a mapping is kept in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locking {
    /// The kernel may let its pages go.
    Unlocked,
    /// `mlock(2)`, where the limit allows it.
    Locked,
}

/// Makes a file resident and maps it: in this order, because a mapping that is populated while it
/// exists makes others wait for `mmap_lock`.
#[derive(Debug)]
pub struct Map {
    /// The version that the mapping is for; its length is mapped.
    pub(super) version: FileVersion,
    file: Arc<OpenFile>,
    locking: Locking,
    progress: Progress,
    mapped: Option<io::Result<Mapping>>,
}

impl Map {
    /// Maps `file` if it is still of this version.
    pub fn new(file: Arc<OpenFile>, version: FileVersion, locking: Locking) -> Map {
        Map {
            version,
            file,
            locking,
            progress: Progress::of(0..version.length),
            mapped: None,
        }
    }

    pub(super) fn step(&self) -> Step<'_> {
        match (&self.mapped, self.progress.next()) {
            (Some(_), _) => Step::Finished,
            (None, Some(bytes)) => Step::Read(&self.file, bytes),
            (None, None) if self.progress.error.is_some() => Step::Finished,
            (None, None) => Step::Map(self),
        }
    }

    pub(super) fn read(&mut self, count: io::Result<usize>) {
        self.progress.read(count);
    }

    pub(super) fn mapped(&mut self, mapped: io::Result<Mapping>) {
        self.mapped = Some(mapped);
    }

    /// Makes the calls of [`Step::Map`].
    ///
    /// # Errors
    /// ESTALE when the file has changed; else those of `statx(2)` and `mmap(2)`. A lock that is
    /// refused is no error.
    pub fn map(&self) -> io::Result<Mapping> {
        let length = usize::try_from(self.version.length).map_err(|_| Errno::FBIG)?;
        let mut mapping = Mapping::of(&self.file, length)?;
        if self.locking == Locking::Locked {
            // What is not locked is checked before it is sent, like any other.
            let _ = mapping.lock();
        }
        match self.file.describe()?.version == self.version {
            true => Ok(mapping),
            false => Err(Errno::STALE.into()),
        }
    }

    pub(super) fn finish(self) -> Done {
        let mapping = match (self.mapped, self.progress.error) {
            (Some(mapped), _) => mapped,
            (None, Some(error)) => Err(error),
            (None, None) => Err(io::ErrorKind::Interrupted.into()),
        };
        Done::Mapped {
            version: self.version,
            mapping,
        }
    }
}
