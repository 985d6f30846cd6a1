//! The file system `ext4`: a real file system on a block device whose every read is a slow disk request.
//!
//! The image is a plain file; a FUSE file presents it slowly; a loop device makes that file a block device.
//! Page cache, directories and read-ahead above it are the kernel's own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use fuser::{
    Errno, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, Request,
};

use crate::command::run;
use crate::disk::Disk;
use crate::files::{HOT_LENGTH, HOT_PATH, Size};
use crate::fuse::bytes_left;
use crate::tree::{attributes, many_at_once};

/// Name of the image in the FUSE directory that presents it.
pub(crate) const NAME: &str = "image";

const REMEMBERED: Duration = Duration::from_secs(60);
const IMAGE: u64 = 2;

/// Creates the image with all files in it, below `work`. Takes seconds.
///
/// `content` returns the bytes of a file of some length, without blocks of zeros: those would become holes,
/// which cost no read. There is one inode per block, so that each cold file costs a read for its inode and
/// one for its data, and no journal, which a read-only file system does not need.
///
/// # Errors
/// When `mkfs.ext4` is missing or fails, or files cannot be written.
pub(crate) fn build(work: &Path, content: fn(u64) -> Vec<u8>) -> Result<PathBuf, String> {
    let (source, image) = (work.join("source"), work.join("image"));
    write_tree(&source, content).map_err(|error| format!("{}: {error}", source.display()))?;
    let files = Size::Small.count() + Size::Big.count();
    let inodes = (files + 2_000).to_string();
    let bytes = Size::ALL.map(|size| size.count() * size.length());
    // Data, a block per inode, and room for metadata; the file is sparse.
    let mebibytes = (bytes.iter().sum::<u64>() + 2 * files * 4_096) / (1 << 20) + 400;
    run(Command::new("mkfs.ext4")
        .args(["-q", "-F", "-b", "4096", "-I", "4096", "-m", "0"])
        .args(["-O", "^has_journal", "-E", "lazy_itable_init=0,nodiscard"])
        .args(["-N", &inodes, "-d"])
        .args([&source, &image])
        .arg(format!("{mebibytes}M")))?;
    fs::remove_dir_all(&source).map_err(|error| error.to_string())?;
    Ok(image)
}

fn write_tree(source: &Path, content: fn(u64) -> Vec<u8>) -> io::Result<()> {
    let write = |path: &str, length: u64| {
        let path = source.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap_or(source))?;
        fs::write(path, content(length))
    };
    write(HOT_PATH, HOT_LENGTH)?;
    for size in Size::ALL {
        for number in 0..size.count() {
            write(&size.path(number), size.length())?;
        }
    }
    Ok(())
}

/// A loop device, detached when dropped.
pub(crate) struct LoopDevice(pub(crate) String);

impl LoopDevice {
    pub(crate) fn attach(file: &Path) -> Result<LoopDevice, String> {
        // With buffered I/O the driver would read one request at a time through the page cache.
        run(Command::new("losetup")
            .args(["--read-only", "--direct-io=on", "--find", "--show"])
            .arg(file))
        .map(LoopDevice)
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        if let Err(error) = run(Command::new("losetup").args(["--detach", &self.0])) {
            println!("left behind: {error}");
        }
    }
}

/// A directory with the image in it.
pub(crate) struct SlowImage {
    pub(crate) disk: Arc<Disk>,
    pub(crate) image: Arc<File>,
    pub(crate) length: u64,
}

impl SlowImage {
    fn describe(&self, inode: u64) -> fuser::FileAttr {
        match inode {
            IMAGE => attributes(IMAGE, FileType::RegularFile, self.length),
            _ => attributes(inode, FileType::Directory, 0),
        }
    }
}

impl Filesystem for SlowImage {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        many_at_once(config);
        Ok(())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        if name == NAME {
            reply.entry(&REMEMBERED, &self.describe(IMAGE), Generation(0));
        } else {
            reply.error(Errno::ENOENT);
        }
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&REMEMBERED, &self.describe(inode.into()));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::empty());
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let length = bytes_left(self.length, offset, size);
        let image = Arc::clone(&self.image);
        self.disk.submit(move |buffer| {
            let bytes = &mut buffer[..length];
            match image.read_exact_at(bytes, offset) {
                Ok(()) => reply.data(bytes),
                Err(error) => reply.error(error.into()),
            }
        });
    }
}
