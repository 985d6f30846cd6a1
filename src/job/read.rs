//! Makes bytes of a file resident by reading them, and maps them.

use std::io;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;

use inotify::WatchDescriptor;
use rustix::io::Errno;

use super::recheck::{CONTENT_LENGTH_MAX, digest};
use super::{Done, JobError, Syscall};
use crate::sys::READ_LENGTH_MAX;
use crate::sys::file::{FileVersion, OpenFile};
use crate::sys::mapping::{Mapping, populate};
use crate::sys::memory::Memory;
use crate::sys::watches::Watches;

/// Progress of a read.
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

    /// The next range to read.
    fn next(&self) -> Option<Range<u64>> {
        if self.error.is_some() || self.left.is_empty() {
            return None;
        }
        let end = self.left.end.min(self.left.start + READ_LENGTH_MAX as u64);
        Some(self.left.start..end)
    }

    /// A file that ends early is no error: its next use notices.
    fn read(&mut self, count: io::Result<usize>) {
        match count {
            Ok(0) => self.left.start = self.left.end,
            Ok(count) => self.left.start = self.left.end.min(self.left.start + count as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => self.error = Some(error),
        }
    }
}

/// Makes part of a file resident, so that sending it does not block.
#[derive(Debug)]
pub(crate) struct Warm {
    file: Arc<OpenFile>,
    progress: Progress,
}

impl Warm {
    /// Reads these bytes; a range past the end of the file is no error.
    pub(crate) fn new(file: Arc<OpenFile>, bytes: Range<u64>) -> Warm {
        Warm {
            file,
            progress: Progress::of(bytes),
        }
    }

    pub(super) fn step(&self) -> Syscall<'_> {
        match self.progress.next() {
            Some(bytes) => Syscall::Read(&self.file, bytes),
            None => Syscall::Finished,
        }
    }

    pub(super) fn read(&mut self, count: io::Result<usize>) {
        self.progress.read(count);
    }

    pub(super) fn finish(self) -> Result<(), JobError> {
        match self.progress.error {
            Some(_) => Err(JobError::Failed),
            None => Ok(()),
        }
    }
}

/// Whether a mapping is locked in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locking {
    /// The kernel may evict its pages.
    Unlocked,
    /// `mlock(2)`, where the limit allows it.
    Locked,
}

/// Result of mapping a file.
#[derive(Debug)]
pub(crate) struct Mapped {
    /// The version that was asked for.
    pub version: FileVersion,
    /// The watch on its inode, if there is one. It was added before the version was compared.
    pub watch: Option<WatchDescriptor>,
    /// The mapping, or a copy.
    pub memory: Result<Memory, Unmapped>,
    /// The digest of the content, if it is to be compared later.
    pub digest: Option<NonZeroU64>,
}

/// Why a file was not mapped.
#[derive(Debug)]
pub(crate) enum Unmapped {
    /// No watch available: ENOSPC past `max_user_watches`, ENOENT without /proc.
    Unwatched,
    /// It cannot be read or mapped; ESTALE: its version has changed.
    #[cfg_attr(not(test), expect(dead_code, reason = "shown by Debug"))]
    Failed(io::Error),
}

/// Maximum length of a file that is copied instead of mapped, in bytes: see docs/design.md.
const COPIED_LENGTH_MAX: usize = 4_096;
/// Bytes of a mapping that are populated at a time; `mmap_lock` is released in between.
const POPULATED_LENGTH_MAX: usize = 1 << 20;

/// Makes a file resident, watches it and maps it: in this order, because a page read while a mapping is
/// populated blocks others on `mmap_lock`.
#[derive(Debug)]
pub(crate) struct Map {
    /// The version to map; its length is mapped.
    pub(super) version: FileVersion,
    file: Arc<OpenFile>,
    watches: Arc<Watches>,
    locking: Locking,
    progress: Progress,
    mapped: Option<Mapped>,
}

impl Map {
    /// Maps `file` if it still has this version.
    pub(crate) fn new(
        file: Arc<OpenFile>,
        version: FileVersion,
        watches: Arc<Watches>,
        locking: Locking,
    ) -> Map {
        Map {
            version,
            file,
            watches,
            locking,
            progress: Progress::of(0..version.length),
            mapped: None,
        }
    }

    /// The file that is mapped.
    #[cfg(test)]
    pub(crate) fn file(&self) -> &OpenFile {
        &self.file
    }

    /// The version that it has to be of.
    #[cfg(test)]
    pub(crate) fn version(&self) -> FileVersion {
        self.version
    }

    pub(super) fn step(&self) -> Syscall<'_> {
        match (&self.mapped, self.progress.next()) {
            (Some(_), _) => Syscall::Finished,
            (None, Some(bytes)) => Syscall::Read(&self.file, bytes),
            (None, None) if self.progress.error.is_some() => Syscall::Finished,
            (None, None) => Syscall::Map(self),
        }
    }

    pub(super) fn read(&mut self, count: io::Result<usize>) {
        self.progress.read(count);
    }

    pub(super) fn mapped(&mut self, mapped: Mapped) {
        self.mapped = Some(mapped);
    }

    /// Makes the calls of [`Syscall::Map`]. A refused lock is no error.
    ///
    /// # Blocking
    /// Waits for the disk.
    pub(crate) fn map(&self) -> Mapped {
        let watch = self.watches.add_file(&self.file);
        let (watch, memory) = match watch {
            Ok(watch) => (Some(watch), self.map_watched().map_err(Unmapped::Failed)),
            Err(_) => (None, Err(Unmapped::Unwatched)),
        };
        let (memory, digest) = match memory {
            Ok((memory, digest)) => (Ok(memory), digest),
            Err(error) => (Err(error), None),
        };
        Mapped {
            version: self.version,
            watch,
            memory,
            digest,
        }
    }

    fn map_watched(&self) -> io::Result<(Memory, Option<NonZeroU64>)> {
        let length = usize::try_from(self.version.length).map_err(|_| Errno::FBIG)?;
        let bytes = match self.version.length <= CONTENT_LENGTH_MAX {
            true => Some(self.file.read_start(length)?),
            false => None,
        };
        let digest = bytes.as_deref().map(digest);
        let memory = match (self.locking, bytes) {
            (Locking::Unlocked, Some(bytes)) if length <= COPIED_LENGTH_MAX => {
                Memory::Copied(bytes.into())
            }
            _ => Memory::Mapped(self.mapping(length)?),
        };
        match self.file.describe()?.version == self.version {
            true => Ok((memory, digest)),
            false => Err(Errno::STALE.into()),
        }
    }

    fn mapping(&self, length: usize) -> io::Result<Mapping> {
        let mut mapping = Mapping::of(&self.file, length)?;
        // Works without the lock too: the mapping is checked before it is sent, like any other.
        if self.locking == Locking::Locked {
            let _ = mapping.lock();
        }
        // The page tables of a mapping that was idle are checked before it is sent, and those of a mapping
        // never touched are empty. The same check notices evicted pages.
        let all = mapping.addresses();
        for start in all.clone().step_by(POPULATED_LENGTH_MAX) {
            let _ = populate(&(start..all.end.min(start + POPULATED_LENGTH_MAX)));
        }
        Ok(mapping)
    }

    pub(super) fn finish(self) -> Done {
        let (version, error) = (self.version, self.progress.error);
        Done::Mapped(self.mapped.unwrap_or_else(|| Mapped {
            version,
            watch: None,
            digest: None,
            memory: Err(Unmapped::Failed(
                error.unwrap_or_else(|| io::ErrorKind::Interrupted.into()),
            )),
        }))
    }
}
