//! Opening and describing files beneath one directory, and nowhere else.
//!
//! `openat2(2)` with `RESOLVE_BENEATH` lets the kernel refuse, component by component and without
//! a race, every path that would leave the directory: `..`, absolute links, links that are swapped
//! while the path is walked. Links that stay inside are followed. Absolute links are refused even
//! when they point inside; that is the price of asking the kernel.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Advice, AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};

use super::bin::Bin;
use super::file::{Description, FileKind, OpenFile};
use super::watches::{Walk, Watches};

/// How a file is opened.
///
/// `O_NONBLOCK` makes the open of a FIFO or a device return at once; it changes nothing for regular
/// files.
const OPEN_FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);
/// How a path is walked.
const RESOLVE_FLAGS: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// What becomes of links on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// They are followed, as long as they stay beneath the root.
    Followed,
    /// An open of a path with any of them fails with ELOOP; a description of a path that ends in one
    /// is that of the link.
    Noticed,
}

/// The directory that is served.
#[derive(Debug)]
pub struct Root {
    directory: OpenFile,
    path: CString,
    identity: (u64, u64),
}

impl Root {
    /// Opens the directory. Later calls are relative to this descriptor: renaming the directory
    /// does not change what is served.
    ///
    /// # Errors
    /// Those of `open(2)`: ENOENT, ENOTDIR, EACCES.
    pub fn open(path: &Path, bin: Bin) -> io::Result<Root> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let directory = OpenFile::new(directory, bin);
        let version = directory.describe()?.version;
        Ok(Root {
            directory,
            path: CString::new(path.as_os_str().as_bytes())?,
            identity: (version.device, version.inode),
        })
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &CStr {
        &self.path
    }

    /// Whether something described is this directory.
    pub fn is(&self, description: &Description) -> bool {
        let version = description.version;
        description.kind == FileKind::Directory && self.identity == (version.device, version.inode)
    }

    /// Whether two are the same directory.
    pub fn is_same(&self, other: &Root) -> bool {
        self.identity == other.identity
    }

    /// Opens a path below the root for reading.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP: there is no such file. EXDEV: the path leads out of
    /// the root. EACCES: not readable. ENXIO: a socket. EMFILE, ENFILE: no descriptor is free.
    /// EAGAIN: a rename elsewhere disturbed the walk of a `..`, so it proved nothing.
    ///
    /// # Blocking
    /// Waits for the disk when the names or the inode are not cached.
    pub fn open_file(&self, path: &CStr, links: Links) -> rustix::io::Result<OpenFile> {
        let directory = self.directory.descriptor();
        let mode = Mode::empty();
        rustix::fs::openat2(directory, path, OPEN_FLAGS, mode, resolve_flags(links))
            .map(|descriptor| self.adopt(descriptor))
    }

    /// The same as numbers, for a ring.
    pub(super) fn open_how(links: Links) -> (u64, u64) {
        (OPEN_FLAGS.bits().into(), resolve_flags(links).bits())
    }

    /// Finds and watches the directories that a look-up depends on: see [`Watches`].
    ///
    /// # Blocking
    /// Waits for the disk.
    pub fn walk<'a>(
        &self,
        watches: &Watches,
        directory: &[u8],
        names: impl Iterator<Item = &'a [u8]>,
    ) -> Walk {
        watches.walk_beneath(self.directory.descriptor(), directory, names)
    }

    /// Takes a descriptor that was opened below the root over.
    ///
    /// The kernel is told not to read ahead through it: it would do so in the midst of `sendfile`,
    /// and wait there for what says where the next blocks are. What is needed next is known here.
    pub(super) fn adopt(&self, descriptor: OwnedFd) -> OpenFile {
        // ESPIPE of a FIFO, which is not served anyway.
        let _ = rustix::fs::fadvise(&descriptor, 0, None, Advice::Random);
        OpenFile::new(descriptor, self.bin().clone())
    }

    /// The directory itself, as a number for a ring.
    pub(super) fn raw_directory(&self) -> RawFd {
        self.directory.descriptor().as_raw_fd()
    }

    /// Where files and mappings of this root go when they are dropped.
    pub fn bin(&self) -> &Bin {
        self.directory.bin()
    }

    /// Describes what a path below the root leads to; an absolute path leads wherever it does.
    ///
    /// This does not hold the walk beneath the root, so the answer may only be *compared* with
    /// what an [`open_file`](Root::open_file) gave before.
    ///
    /// # Errors
    /// Those of `statx(2)`.
    ///
    /// # Blocking
    /// Waits for the disk, or for the server of a network file system.
    pub fn describe(&self, path: &CStr, links: Links) -> rustix::io::Result<Description> {
        let mask = StatxFlags::BASIC_STATS;
        let stat = rustix::fs::statx(self.directory.descriptor(), path, stat_flags(links), mask)?;
        Ok(Description::from(stat))
    }
}

fn resolve_flags(links: Links) -> ResolveFlags {
    match links {
        Links::Followed => RESOLVE_FLAGS,
        Links::Noticed => RESOLVE_FLAGS | ResolveFlags::NO_SYMLINKS,
    }
}

/// How a path is described.
pub(super) fn stat_flags(links: Links) -> AtFlags {
    match links {
        Links::Followed => AtFlags::empty(),
        Links::Noticed => AtFlags::SYMLINK_NOFOLLOW,
    }
}
