//! A FUSE file system with slow reads, for the cold half of the bench `large`.
//!
//! Every number is the name of a different file: so there is always a file without a byte in the page cache.
//! Only reads are slow; lookups and attributes are not.

use std::ffi::OsStr;
use std::io::{self, Read as _};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, Filesystem, Generation, INodeNo, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, Request,
};

use super::fuse::attributes;
use super::{FILE_LENGTH, byte_at};

/// Maximum length of a read.
pub(crate) const READ_LENGTH_MAX: u32 = 128 << 10;
/// Duration of each read.
const READ_DELAY: Duration = Duration::from_millis(20);
/// Concurrent reads.
const READS_AT_ONCE_MAX: u16 = 32;

/// The process of the file system: reports the result of the mount in a line, and unmounts at the end of its
/// input.
pub(crate) fn run(directory: &str) -> io::Result<()> {
    match fuser::spawn_mount(SlowTree, directory, &Config::default()) {
        Ok(session) => {
            println!("mounted");
            io::stdin().read_to_end(&mut Vec::new())?;
            drop(session);
        }
        Err(error) => println!("{error}"),
    }
    Ok(())
}

/// A tree of files without a byte in the page cache, one for each number.
struct SlowTree;

fn describe(inode: u64) -> FileAttr {
    let (kind, size) = match inode {
        1 => (FileType::Directory, 0),
        _ => (FileType::RegularFile, FILE_LENGTH),
    };
    attributes(inode, kind, size, UNIX_EPOCH)
}

impl Filesystem for SlowTree {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let refused = |most| io::Error::other(format!("at most {most}"));
        config.set_max_readahead(READ_LENGTH_MAX).map_err(refused)?;
        let background = config.set_max_background(READS_AT_ONCE_MAX);
        background.map(|_| ()).map_err(|most| refused(most.into()))
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name.to_str().and_then(|name| name.parse::<u64>().ok()) {
            Some(number) => {
                let what = describe(number + 2);
                reply.entry(&Duration::from_secs(60), &what, Generation(0));
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&Duration::from_secs(60), &describe(inode.into()));
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        start: u64,
        length: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        assert!(
            length <= READ_LENGTH_MAX,
            "the kernel keeps to what it was told"
        );
        let end = FILE_LENGTH.min(start + u64::from(length));
        thread::spawn(move || {
            thread::sleep(READ_DELAY * length.div_ceil(READ_LENGTH_MAX));
            reply.data(&(start..end).map(byte_at).collect::<Vec<u8>>());
        });
    }
}
