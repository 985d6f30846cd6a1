//! The file system `fuse`: a tree whose every lookup, open and read below `cold/` is a slow disk request.
//!
//! Files are synthetic, so that no real storage influences the result. Entries and attributes are valid for a
//! minute and pages are cached: a repeated request is fast.

use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, Request,
};

use crate::disk::{Disk, READ_MAX};
use crate::files::{BIG_LENGTH, DIRECTORY_FILES, HOT_LENGTH, SMALL_LENGTH};
use crate::fuse::{self, bytes_left};

/// How long the kernel may cache names and attributes: longer than any measurement.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Concurrent reads of the kernel; its default of 12 would limit the disk.
const BACKGROUND_MAX: u16 = 512;

const HOT: u64 = 2;
const HOT_FILE: u64 = 3;
/// Everything from this inode on is cold.
const COLD: u64 = 4;
const BIG_DIRECTORY: u64 = 5;
const DIRECTORY_FIRST: u64 = 1 << 20;
const SMALL_FIRST: u64 = 2 << 20;
const BIG_FIRST: u64 = 3 << 20;
/// Limit of the numbers in names, so that inodes of different kinds are distinct.
const NUMBER_MAX: u64 = 10_000;

static CONTENT: [u8; READ_MAX] = [b'x'; READ_MAX];

/// The tree; cold requests wait for `disk`.
pub(crate) struct SlowTree {
    pub(crate) disk: Arc<Disk>,
}

/// Kernel settings for many concurrent requests.
pub(crate) fn many_at_once(config: &mut KernelConfig) {
    // Kernels without one of them are slow anyway.
    let _ = config.add_capabilities(InitFlags::FUSE_ASYNC_DIO | InitFlags::FUSE_PARALLEL_DIROPS);
    let _ = config.set_max_background(BACKGROUND_MAX);
    let _ = config.set_congestion_threshold(BACKGROUND_MAX);
}

/// The attributes of a file or directory that never changes.
pub(crate) fn attributes(inode: u64, kind: FileType, size: u64) -> FileAttr {
    let time = UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    fuse::attributes(inode, kind, size, time)
}

fn describe(inode: u64) -> FileAttr {
    let (kind, size) = match inode {
        HOT_FILE => (FileType::RegularFile, HOT_LENGTH),
        BIG_FIRST.. => (FileType::RegularFile, BIG_LENGTH),
        SMALL_FIRST.. => (FileType::RegularFile, SMALL_LENGTH),
        _ => (FileType::Directory, 0),
    };
    attributes(inode, kind, size)
}

/// The inode of a name; see [`crate::bed::Size::path`] for the names.
fn inode_of(parent: u64, name: &OsStr) -> Option<u64> {
    let name = name.to_str()?;
    let number = |digits: &str| {
        digits
            .parse::<u64>()
            .ok()
            .filter(|number| *number < NUMBER_MAX)
    };
    let file = || name.strip_suffix(".bin").and_then(number);
    match (parent, name) {
        (1, "hot") => Some(HOT),
        (1, "cold") => Some(COLD),
        (HOT, "1k.bin") => Some(HOT_FILE),
        (COLD, "big") => Some(BIG_DIRECTORY),
        (COLD, _) => number(name).map(|number| DIRECTORY_FIRST + number),
        (BIG_DIRECTORY, _) => file().map(|number| BIG_FIRST + number),
        (DIRECTORY_FIRST..SMALL_FIRST, _) => {
            let first = SMALL_FIRST + (parent - DIRECTORY_FIRST) * DIRECTORY_FILES;
            file()
                .filter(|number| *number < DIRECTORY_FILES)
                .map(|number| first + number)
        }
        _ => None,
    }
}

impl SlowTree {
    /// Runs `work` now, or for cold inodes as a disk request.
    fn when_due(&self, inode: u64, work: impl FnOnce() + Send + 'static) {
        if inode >= COLD {
            self.disk.submit(move |_| work());
        } else {
            work();
        }
    }
}

impl Filesystem for SlowTree {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        many_at_once(config);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let parent = u64::from(parent);
        let found = inode_of(parent, name);
        self.when_due(parent, move || match found {
            Some(inode) => reply.entry(&REMEMBERED, &describe(inode), Generation(0)),
            None => reply.error(Errno::ENOENT),
        });
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let inode = u64::from(inode);
        self.when_due(inode, move || reply.attr(&REMEMBERED, &describe(inode)));
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.when_due(inode.into(), move || {
            reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
        });
    }

    fn read(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let inode = u64::from(inode);
        let length = bytes_left(describe(inode).size, offset, size);
        self.when_due(inode, move || reply.data(&CONTENT[..length]));
    }
}
