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

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use inotify::{EventMask, Inotify, WatchMask};

use directories::{Directories, EventSequence};
use files::Files;

use crate::clock::Now;
use crate::job::{Mapped, Unmapped};
use crate::sys::deferred_drops::DeferredDrops;
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

/// Why the kernel gives no events.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoEvents {
    /// A filter refuses a call, or the kernel does not have it.
    #[error("{call} is refused ({cause}); allow it in the seccomp profile of the container")]
    Refused {
        /// Its name.
        call: &'static str,
        /// What the kernel said.
        cause: io::Error,
    },
    /// This user has too many instances.
    #[error("no inotify instance is left ({0}); raise fs.inotify.max_user_instances (sysctl)")]
    NoneLeft(io::Error),
    /// Another error of `inotify_init1`.
    #[error("no inotify instance ({0})")]
    Failed(io::Error),
}

/// Watches on the inodes of mapped files, and on directories.
#[derive(Debug)]
pub(crate) struct Watch {
    /// Directories.
    pub directories: Directories,
    files: Files,
    inotify: Result<Inotify, NoEvents>,
    buffer: Vec<u8>,
    refused: u64,
    /// When the kernel last refused to watch a file.
    refused_at: Option<Instant>,
}

/// Bytes of events read at a time: a thousand without names, sixty with the longest names.
const BUFFER_LENGTH: usize = 16 << 10;
/// Bytes of one event at most, with the longest name and its padding. A read leaves no more room than that.
const EVENT_LENGTH_MAX: usize = 16 + 256;
/// How long no file is mapped after the kernel has refused to watch one.
const REFUSED_WAIT: Duration = Duration::from_secs(1);

impl Watch {
    /// Starts watching nothing, and no more than so many directories later. Where the kernel refuses, nothing is
    /// watched ever.
    pub(crate) fn new(directory_count_max: usize, deferred_drops: DeferredDrops) -> Watch {
        let inotify = begin();
        let watches = inotify
            .as_ref()
            .ok()
            .map(|inotify| Arc::new(Watches::new(inotify, deferred_drops)));
        Watch {
            directories: Directories::new(watches.clone(), directory_count_max),
            files: Files::new(watches),
            inotify,
            buffer: vec![0; BUFFER_LENGTH],
            refused: 0,
            refused_at: None,
        }
    }

    /// Bytes of what is kept of watched files.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.files.memory_bytes()
    }

    /// What becomes readable when there are events.
    pub(crate) fn descriptor(&self) -> Option<RawFd> {
        self.inotify.as_ref().ok().map(AsRawFd::as_raw_fd)
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
        if let Err(Unmapped::Unwatched(_)) = memory {
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
    /// else is to be done is appended to `changes`. Those that come meanwhile wait for the next turn, so that
    /// whoever makes them without end does not hold the loop.
    pub(crate) fn drain(&mut self, changes: &mut Vec<Change>) {
        let Ok(inotify) = &mut self.inotify else {
            return;
        };
        let there = rustix::io::ioctl_fionread(&*inotify).unwrap_or(u64::MAX);
        let reads = there.div_ceil((BUFFER_LENGTH - EVENT_LENGTH_MAX) as u64);
        for _ in 0..reads {
            let Ok(events) = inotify.read_events(&mut self.buffer) else {
                return;
            };
            for event in events {
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    self.directories.overflowed();
                    self.files.overflowed();
                    changes.push(Change::OfAnything);
                    continue;
                }
                let watch = event.wd.get_watch_descriptor_id();
                changes.extend(self.files.version_of(watch).map(Change::Of));
                if event.mask.contains(EventMask::IGNORED) {
                    self.files.removed(watch);
                }
                let name = event.name.map(OsStrExt::as_bytes);
                self.directories.happened(watch, event.mask, name);
            }
        }
    }

    /// Inodes watched now.
    pub(crate) fn count(&self) -> usize {
        self.files.count()
    }

    /// Watches that the kernel refused since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused + self.directories.refused()
    }

    /// Why the kernel gives no events at all, if so.
    pub(crate) fn missing(&self) -> Option<&NoEvents> {
        self.inotify.as_ref().err()
    }
}

/// Makes an instance, and tries whether it may be used: with a path that leads nowhere.
fn begin() -> Result<Inotify, NoEvents> {
    let refused = |call, cause: io::Error| match cause.raw_os_error() {
        Some(libc::EPERM | libc::ENOSYS) => Err(NoEvents::Refused { call, cause }),
        _ => Ok(cause),
    };
    let inotify = match Inotify::init() {
        Ok(inotify) => inotify,
        Err(cause) => {
            let cause = refused("inotify_init1", cause)?;
            return match cause.raw_os_error() {
                Some(libc::EMFILE) => Err(NoEvents::NoneLeft(cause)),
                _ => Err(NoEvents::Failed(cause)),
            };
        }
    };
    if let Err(cause) = inotify.watches().add("", WatchMask::MODIFY) {
        refused("inotify_add_watch", cause)?;
    }
    Ok(inotify)
}
