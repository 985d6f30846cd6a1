//! Opening and describing files beneath one directory, and nowhere else.
//!
//! `openat2(2)` with `RESOLVE_BENEATH` lets the kernel refuse, component by component and without
//! a race, every path that would leave the directory: `..`, absolute links, links that are swapped
//! while the path is walked. Links that stay inside are followed. Absolute links are refused even
//! when they point inside; that is the price of asking the kernel.

use std::ffi::CStr;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

use super::file::{Description, OpenFile};

/// How often a path is walked again after a rename elsewhere disturbed the walk (EAGAIN). The
/// kernel gives up only when a rename or mount happens during `..`, so a few tries are many.
const WALK_TRIES_MAX: usize = 16;

/// The directory that is served.
#[derive(Debug)]
pub struct Root {
    directory: OwnedFd,
}

impl Root {
    /// Opens the directory. Later calls are relative to this descriptor: renaming the directory
    /// does not change what is served.
    ///
    /// # Errors
    /// Those of `open(2)`: ENOENT, ENOTDIR, EACCES.
    pub fn open(path: &Path) -> io::Result<Root> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Root { directory })
    }

    /// Opens a path below the root for reading.
    ///
    /// `O_NONBLOCK` makes the open of a FIFO or a device return at once; it changes nothing for
    /// regular files.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR, ENAMETOOLONG, ELOOP: there is no such file. EXDEV: the path leads out of
    /// the root. EACCES: not readable. ENXIO: a socket. EMFILE, ENFILE: no descriptor is free.
    ///
    /// # Blocking
    /// Waits for the disk when the names or the inode are not cached.
    pub fn open_file(&self, path: &CStr) -> rustix::io::Result<OpenFile> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        for _ in 0..WALK_TRIES_MAX {
            match rustix::fs::openat2(&self.directory, path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return opened.map(OpenFile::new),
            }
        }
        Err(Errno::AGAIN)
    }

    /// Describes what a path below the root leads to, links followed.
    ///
    /// This does not hold the walk beneath the root, so the answer may only be *compared* with
    /// what an [`open_file`](Root::open_file) gave before.
    ///
    /// # Errors
    /// Those of `statx(2)`.
    ///
    /// # Blocking
    /// Waits for the disk, or for the server of a network file system.
    pub fn describe(&self, path: &CStr) -> rustix::io::Result<Description> {
        let mask = StatxFlags::BASIC_STATS;
        let stat = rustix::fs::statx(&self.directory, path, AtFlags::empty(), mask)?;
        Ok(Description::from(stat))
    }
}
