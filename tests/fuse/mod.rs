//! Helpers for FUSE file systems of tests and benches.

use std::time::SystemTime;

use fuser::{FileAttr, FileType, INodeNo};

/// Attributes of a world-readable file or directory of root, with all timestamps equal to `time`.
pub(crate) fn attributes(inode: u64, kind: FileType, size: u64, time: SystemTime) -> FileAttr {
    FileAttr {
        ino: INodeNo(inode),
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm: 0o755,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4_096,
        flags: 0,
    }
}

/// The number of bytes, up to `wanted`, that a file has from an offset on.
pub(crate) fn bytes_left(file_length: u64, offset: u64, wanted: u32) -> usize {
    let left = file_length.saturating_sub(offset).min(wanted.into());
    usize::try_from(left).expect("no more than was wanted")
}
