//! Open files: what they are, which version of the content they hold, and sending them.

#![allow(unsafe_code)]

use std::hash::{Hash, Hasher};
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::AtFlags;

use super::deferred_drops::{DeferredDrops, Descriptor, Discarded};
use super::describe::{describe, describe_at};
use super::file_place::FilePlace;
use super::scratch;

/// Seconds and nanoseconds since 1970, as the file system keeps them. Packed, because there are two in each
/// version, and versions are kept by the ten thousand.
#[repr(C, packed(4))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileTime {
    /// Whole seconds; negative before 1970.
    pub seconds: i64,
    /// 0 to 999,999,999, counted upwards from `seconds` also before 1970.
    pub nanoseconds: u32,
}

impl FileTime {
    /// So much later.
    #[must_use]
    pub fn after(self, delay: Duration) -> FileTime {
        let nanoseconds = self.nanoseconds.saturating_add(delay.subsec_nanos());
        let whole = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
        FileTime {
            seconds: self
                .seconds
                .saturating_add(whole)
                .saturating_add(i64::from(nanoseconds / 1_000_000_000)),
            nanoseconds: nanoseconds % 1_000_000_000,
        }
    }
}

/// One version of the content of one file.
///
/// Two equal values are the same bytes as far as the kernel can tell: every change of content moves
/// `changed` (ctime cannot be set back by an unprivileged user), a publish by rename moves `inode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    /// Device number, major and minor in one word.
    pub device: u64,
    /// Inode number on that device.
    pub inode: u64,
    /// Length in bytes.
    pub length: u64,
    /// mtime: the last change of the content.
    pub modified: FileTime,
    /// ctime: the last change of content or attributes.
    pub changed: FileTime,
}

impl FileVersion {
    /// Whether the content was written over, as `later` shows, and not only appended to.
    pub fn was_rewritten(&self, later: &FileVersion) -> bool {
        later.modified != self.modified && later.length <= self.length
    }
}

impl Hash for FileVersion {
    /// The inode and the time of the change tell versions apart; equality compares the rest.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.inode);
        state.write_u32(self.changed.nanoseconds);
    }
}

/// What kind of thing a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file: the only kind that is served.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link, where links are not followed.
    Link,
    /// A FIFO, a socket, a device.
    Special,
}

/// What `statx(2)` tells of an open file or of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// What kind of thing it is.
    pub kind: FileKind,
    /// Which version of its content.
    pub version: FileVersion,
    /// Its names. Where there are several, it may be written to through one that is not watched.
    pub link_count: u32,
}

/// A file that was opened for reading, beneath the root. Where descriptors are short, one that is being sent may be
/// closed for a while: it stands for its place then.
#[derive(Debug)]
pub struct OpenFile {
    /// `None`: it is closed, and is opened again before anything is asked of it.
    descriptor: Option<Descriptor>,
    deferred_drops: DeferredDrops,
    place: Option<Arc<FilePlace>>,
}

impl OpenFile {
    /// Takes the descriptor over; it goes into the bin when this is dropped. Whoever serves files gets
    /// them from `Root`, which has the kernel see that they are beneath it.
    pub fn new(descriptor: OwnedFd, deferred_drops: DeferredDrops) -> OpenFile {
        OpenFile {
            descriptor: Some(deferred_drops.count_in(descriptor)),
            deferred_drops,
            place: None,
        }
    }

    /// The same, with where it was found.
    #[must_use]
    pub(crate) fn found_at(mut self, place: Arc<FilePlace>) -> OpenFile {
        self.place = Some(place);
        self
    }

    /// Where it was found, if it may be opened again there.
    pub(crate) fn place(&self) -> Option<&Arc<FilePlace>> {
        self.place.as_ref()
    }

    /// The same file, closed. `None`: it could not be opened again.
    pub(crate) fn closed(&self) -> Option<OpenFile> {
        self.place.as_ref().map(|place| OpenFile {
            descriptor: None,
            deferred_drops: self.deferred_drops.clone(),
            place: Some(Arc::clone(place)),
        })
    }

    /// Whether it is closed.
    pub(crate) fn is_closed(&self) -> bool {
        self.descriptor.is_none()
    }

    /// For kernel calls and for watching the inode.
    ///
    /// # Panics
    /// If it is closed.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        let open = self.descriptor.as_ref();
        open.expect("a file is opened again before it is used")
            .as_fd()
    }

    /// Where it goes when it is dropped.
    pub(super) fn deferred_drops(&self) -> &DeferredDrops {
        &self.deferred_drops
    }

    /// What is open here, now. About 0.2 µs; never asks the server of a network file system
    /// (`AT_STATX_DONT_SYNC`), so it does not block.
    ///
    /// # Errors
    /// Those of `statx(2)`.
    pub fn describe(&self) -> rustix::io::Result<Description> {
        describe(self.descriptor())
    }

    /// What is under each name in this directory, links not followed, without `.` and `..`; stops
    /// when `take` says so.
    ///
    /// # Errors
    /// Those of `getdents(2)`; a name that is gone before it is looked at is left out.
    ///
    /// # Blocking
    /// Waits for the disk.
    pub fn list(
        &self,
        mut take: impl FnMut(&[u8], &Description) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        for entry in rustix::fs::Dir::read_from(self.descriptor())? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(what) = describe_at(self.descriptor(), name, flags) else {
                continue;
            };
            if take(name.to_bytes(), &what).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Sends up to `count` bytes from `offset` to a socket without copying them through this
    /// process. Gives how many went: 0 means that the file ends before `offset`, and asking again
    /// gives 0 for ever.
    ///
    /// # Errors
    /// Those of `sendfile(2)`: `WouldBlock` when the socket takes no more.
    ///
    /// # Blocking
    /// Reads from the disk what is not in the page cache; `O_NONBLOCK` has no effect on files.
    pub fn send_to(&self, socket: BorrowedFd<'_>, offset: u64, count: usize) -> io::Result<usize> {
        let mut offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
        nix::sys::sendfile::sendfile64(socket, self.descriptor(), Some(&mut offset), count)
            .map_err(io::Error::from)
    }

    /// The first `length` bytes.
    ///
    /// # Errors
    /// Those of `pread(2)`; `UnexpectedEof` where the file is shorter.
    ///
    /// # Blocking
    /// Waits for the disk.
    pub fn read_start(&self, length: usize) -> io::Result<Box<[u8]>> {
        let mut bytes = vec![0; length];
        let mut at = 0;
        while at < length {
            match rustix::io::pread(self.descriptor(), &mut bytes[at..], at as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => at += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(bytes.into())
    }

    /// Reads bytes once, so that they are in the page cache, and drops them. Gives how many were
    /// there: fewer than asked for is no error, 0 is the end of the file. Somewhat more may be read
    /// than was asked for; at most `READ_LENGTH_MAX`.
    ///
    /// # Errors
    /// Those of `preadv(2)`.
    ///
    /// # Blocking
    /// Waits for the disk.
    pub fn read_through(&self, bytes: &Range<u64>) -> io::Result<usize> {
        let pieces = scratch::pieces(bytes.end - bytes.start);
        let count = i32::try_from(pieces.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let offset = i64::try_from(bytes.start).map_err(|_| io::ErrorKind::InvalidInput)?;
        let descriptor = self.descriptor().as_raw_fd();
        // SAFETY: the pieces are static memory that is there to be written to by the kernel.
        let read = unsafe { libc::preadv(descriptor, pieces.as_ptr(), count, offset) };
        usize::try_from(read).map_err(|_| io::Error::last_os_error())
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if let Some(descriptor) = self.descriptor.take() {
            self.deferred_drops.put(Discarded::Descriptor(descriptor));
        }
    }
}
