//! What the file systems (FUSE) have in common that tests and benches make up.

use std::time::SystemTime;

use fuser::{FileAttr, FileType, INodeNo};

/// The attributes of a file or a directory of root's that everybody may read, all of whose times are `time`.
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

/// How many of `wanted` bytes from an offset on there are in a file.
pub(crate) fn bytes_left(file_length: u64, offset: u64, wanted: u32) -> usize {
    let left = file_length.saturating_sub(offset).min(wanted.into());
    usize::try_from(left).expect("no more than was wanted")
}
