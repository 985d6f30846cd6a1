//! Mounts of this process' namespace: `/proc/self/mountinfo` becomes ready with `POLLPRI` when they have changed
//! (`proc_pid_mountinfo(5)`).

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags};

const TABLE: &str = "/proc/self/mountinfo";

/// `STATX_MNT_ID_UNIQUE`, since Linux 6.8.
const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// Tells that mounts have changed.
#[derive(Debug)]
pub struct MountEvents {
    file: File,
}

impl MountEvents {
    /// Opens it. What changes from now on is told.
    ///
    /// # Errors
    /// ENOENT without /proc.
    pub fn open() -> io::Result<MountEvents> {
        let file = File::open(TABLE)?;
        Ok(MountEvents { file })
    }

    /// For a poll. Being told is asking: the kernel forgets what it has told.
    pub fn descriptor(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

/// The table of mounts.
///
/// # Errors
/// ENOENT without /proc.
///
/// # Blocking
/// Waits while something is being mounted.
pub fn table() -> io::Result<Vec<u8>> {
    fs::read(TABLE)
}

/// What tells the mount at a path from all others, earlier ones included. File servers are not asked for it.
///
/// # Blocking
/// Waits for the disk when names on the way are not cached.
pub fn unique_id(point: &Path) -> Option<u64> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_DONT_SYNC;
    let found = rustix::fs::statx(CWD, point, flags, UNIQUE).ok()?;
    let is_unique = found.stx_mask & UNIQUE.bits() != 0;
    is_unique.then_some(found.stx_mnt_id)
}
