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

pub(super) mod directories;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use foldhash::fast::RandomState;
use inotify::{EventMask, Inotify, WatchDescriptor, WatchMask};

use directories::Directories;

use crate::clock::Now;
use crate::sys::file::{FileVersion, OpenFile};

/// What the kernel told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// This version was written to.
    Of(FileVersion),
    /// Events were lost: anything may have changed.
    OfAnything,
}

/// Watches on the inodes of mapped files, and on directories.
#[derive(Debug)]
pub(super) struct Watch {
    /// Directories.
    pub directories: Directories,
    inotify: Option<Inotify>,
    versions: HashMap<WatchDescriptor, FileVersion, RandomState>,
    descriptors: HashMap<FileVersion, WatchDescriptor, RandomState>,
    buffer: Vec<u8>,
    refused: u64,
}

/// Bytes of events read at a time: a thousand without names, sixty with the longest names.
const BUFFER_LENGTH: usize = 16 << 10;

impl Watch {
    /// Starts watching nothing, and no more than so many directories later. Where the kernel refuses
    /// (`max_user_instances`), every later watch is refused.
    pub(super) fn new(directory_count_max: usize) -> Watch {
        let inotify = Inotify::init().ok();
        let watches = inotify.as_ref().map(Inotify::watches);
        Watch {
            directories: Directories::new(watches, directory_count_max),
            inotify,
            versions: HashMap::default(),
            descriptors: HashMap::default(),
            buffer: vec![0; BUFFER_LENGTH],
            refused: 0,
        }
    }

    /// What becomes readable when there are events.
    pub(super) fn descriptor(&self) -> Option<RawFd> {
        self.inotify.as_ref().map(AsRawFd::as_raw_fd)
    }

    /// Watches the inode of an open file, which is of this version. Gives another version of the
    /// same inode that was watched and is now over.
    ///
    /// # Errors
    /// Those of `inotify_add_watch(2)`: ENOSPC past `max_user_watches`; ENOENT without /proc.
    pub(super) fn add(
        &mut self,
        file: &OpenFile,
        version: FileVersion,
    ) -> io::Result<Option<FileVersion>> {
        let Some(inotify) = &mut self.inotify else {
            self.refused += 1;
            return Err(io::ErrorKind::Unsupported.into());
        };
        let path = format!("/proc/self/fd/{}", file.descriptor().as_raw_fd());
        let descriptor = match inotify.watches().add(path, WatchMask::MODIFY) {
            Ok(descriptor) => descriptor,
            Err(error) => {
                self.refused += 1;
                return Err(error);
            }
        };
        self.descriptors.insert(version, descriptor.clone());
        let previous = self
            .versions
            .insert(descriptor, version)
            .filter(|other| *other != version);
        if let Some(previous) = previous {
            self.descriptors.remove(&previous);
        }
        Ok(previous)
    }

    /// Stops watching a version.
    pub(super) fn remove(&mut self, version: &FileVersion) {
        let Some(descriptor) = self.descriptors.remove(version) else {
            return;
        };
        self.versions.remove(&descriptor);
        if let Some(inotify) = &mut self.inotify {
            // EINVAL when the inode is gone and the kernel has removed the watch itself.
            let _ = inotify.watches().remove(descriptor);
        }
    }

    /// Takes in all events that are there: entries that one is about are distrusted at once, what
    /// else is to be done is appended to `changes`.
    pub(super) fn drain(&mut self, changes: &mut Vec<Change>, now: &Now) {
        let Some(inotify) = &mut self.inotify else {
            return;
        };
        loop {
            let Ok(events) = inotify.read_events(&mut self.buffer) else {
                return;
            };
            let mut count = 0;
            for event in events {
                count += 1;
                if event.mask.contains(EventMask::Q_OVERFLOW) {
                    self.directories.overflowed();
                    changes.push(Change::OfAnything);
                } else if let Some(version) = self.versions.get(&event.wd) {
                    changes.push(Change::Of(*version));
                } else {
                    let directory = event.wd.get_watch_descriptor_id();
                    let name = event.name.map(OsStrExt::as_bytes);
                    self.directories.happened(directory, event.mask, name, now);
                }
            }
            if count == 0 {
                return;
            }
        }
    }

    /// Inodes watched now.
    pub(super) fn count(&self) -> usize {
        self.versions.len()
    }

    /// Watches that the kernel refused since the start.
    pub(super) fn refused(&self) -> u64 {
        self.refused + self.directories.refused()
    }

    /// Whether the kernel gives events at all.
    pub(super) fn is_there(&self) -> bool {
        self.inotify.is_some()
    }
}
