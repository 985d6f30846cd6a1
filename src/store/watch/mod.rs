//! Being told of changes (`inotify(7)`): of the names and files in directories that entries depend
//! on ([`directories`]), and of mapped files that are written to in place.
//!
//! A mapping shows every later write to its inode, while the head that goes with it tells of the
//! version that was mapped; and where a file is cut within a page, the rest of the page reads as
//! zeros. So a file is only mapped together with a watch on its inode, and a mapping whose inode
//! was written to is dropped before the next request is answered. Where no watch can be had, the
//! file is not mapped: it is served from its descriptor, whose version is compared first.
//!
//! Writes through another process' own shared mapping raise no event before it is unmapped.

pub(crate) mod directories;
mod files;
mod recent;

use std::sync::Arc;
use std::time::{Duration, Instant};

use inotify::EventMask;

use directories::{Directories, EventSequence};
use files::Files;

use crate::clock::Now;
use crate::job::{Mapped, Unmapped};
use crate::store::probe::Probe;
use crate::sys::file::FileVersion;
use crate::sys::memory::Memory;
use crate::sys::watches::Watches;

/// What the kernel told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// This version was written to.
    Of(FileVersion),
    /// Events were lost: anything may have changed.
    OfAnything,
}

/// What came of watching a file while it was mapped.
#[derive(Debug)]
pub(crate) enum Watched {
    /// It is watched; and another version of the same inode is not any more.
    Yes(Memory, Option<FileVersion>),
    /// It is not, or it was written to meanwhile: the mapping is not to be used.
    No,
}

/// Watches on the inodes of mapped files, and on directories.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Directories.
    pub directories: Directories,
    files: Files,
    refused: u64,
    /// When the kernel last refused to watch a file.
    refused_at: Option<Instant>,
}

/// How long no file is mapped after the kernel has refused to watch one.
const REFUSED_WAIT: Duration = Duration::from_secs(1);

impl Watch {
    /// Watches nothing, and no more than so many directories later. Without watches nothing is watched ever.
    pub(crate) fn new(directory_count_max: usize, watches: Option<Arc<Watches>>) -> Watch {
        Watch {
            directories: Directories::new(watches.clone(), directory_count_max),
            files: Files::new(watches),
            refused: 0,
            refused_at: None,
        }
    }

    /// Bytes of what is kept of watched files.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.files.memory_bytes()
    }

    /// What a job that maps a file watches it through; `None` where it could not, for all that is
    /// known.
    pub(crate) fn for_file(&self, now: &Now) -> Option<Arc<Watches>> {
        let was_refused = |at: Instant| now.monotonic < at + REFUSED_WAIT;
        if self.refused_at.is_some_and(was_refused) {
            return None;
        }
        self.files.watches.clone()
    }

    /// Takes in a mapped file, whose job was submitted at this moment.
    pub(crate) fn mapped(&mut self, mapped: Mapped, since: EventSequence, now: &Now) -> Watched {
        let Mapped {
            version,
            watch,
            memory,
            digest: _,
        } = mapped;
        if let Err(Unmapped::Unwatched) = memory {
            self.refused += 1;
            self.refused_at = Some(now.monotonic);
        }
        let Some(watch) = watch else {
            return Watched::No;
        };
        let id = watch.get_watch_descriptor_id();
        let is_invalidated = self.files.is_closing(id) || self.directories.happened_to(id, since);
        match memory {
            Ok(memory) if !is_invalidated => Watched::Yes(memory, self.files.keep(version, watch)),
            _ => {
                if !self.directories.is_gone(id, since) {
                    self.files.release(watch);
                }
                Watched::No
            }
        }
    }

    /// A file was mapped for nothing.
    pub(crate) fn unwanted(&mut self, mapped: Mapped) {
        if let Some(watch) = mapped.watch {
            self.files.release(watch);
        }
    }

    /// Stops watching any version.
    pub(crate) fn clear(&mut self) {
        self.files.clear();
    }

    /// Stops watching a version.
    pub(crate) fn remove(&mut self, version: &FileVersion) {
        self.files.remove(version);
    }

    /// Takes in all events that are there now: entries that one is about are distrusted at once, what
    /// else is to be done is appended to `changes`.
    pub(crate) fn drain(&mut self, probe: &mut dyn Probe, changes: &mut Vec<Change>) {
        probe.drain_events(&mut |event| {
            if event.mask.contains(EventMask::Q_OVERFLOW) {
                self.directories.overflowed();
                self.files.overflowed();
                changes.push(Change::OfAnything);
                return;
            }
            changes.extend(self.files.version_of(event.watch).map(Change::Of));
            if event.mask.contains(EventMask::IGNORED) {
                self.files.removed(event.watch);
            }
            self.directories
                .happened(event.watch, event.mask, event.name);
        });
    }

    /// Inodes watched now.
    pub(crate) fn count(&self) -> usize {
        self.files.count()
    }

    /// Watches that the kernel refused since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused + self.directories.refused()
    }
}
