//! A FUSE file system with changing files, which can be slow, fail, or hang.
//!
//! It holds `file0` to `file99`, all with the content of the current version. The kernel caches only pages of
//! it, so each lookup is an operation.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen, ReplyStatfs, Request,
};

use super::fuse::attributes;
use super::harness::Server;
use super::mounted::{Held, Mounted};

/// Number of files.
const COUNT: u64 = 100;
const ROOT: u64 = 1;
/// The inode of `file0`.
const FIRST: u64 = 100;

/// State set by a test.
#[derive(Default)]
struct State {
    version: AtomicU64,
    /// Duration of each operation.
    delay_ms: AtomicU64,
    is_frozen: AtomicBool,
    /// Operations without an answer while it hangs.
    held: Held,
    is_failing: AtomicBool,
}

/// The content of a version; lengths differ.
pub fn content(version: u64) -> Vec<u8> {
    let line = format!("version {version}\n");
    line.repeat(20 + usize::try_from(version).unwrap())
        .into_bytes()
}

struct Tree(Arc<State>);

impl Tree {
    /// Answers an operation with the state at the time of the answer.
    fn answer(&self, work: impl FnOnce(Result<u64, Errno>) + Send + 'static) {
        let state = Arc::clone(&self.0);
        let delay = Duration::from_millis(state.delay_ms.load(Ordering::Acquire));
        let say = move || {
            let version = state.version.load(Ordering::Acquire);
            work(match state.is_failing.load(Ordering::Acquire) {
                true => Err(Errno::EIO),
                false => Ok(version),
            });
        };
        if self.0.is_frozen.load(Ordering::Acquire) {
            self.0.held.hold(say);
            // It may have been thawed meanwhile.
            if !self.0.is_frozen.load(Ordering::Acquire) {
                self.0.held.release();
            }
        } else if delay == Duration::ZERO {
            say();
        } else {
            std::thread::spawn(move || {
                std::thread::park_timeout(delay);
                say();
            });
        }
    }
}

fn inode_of(parent: u64, name: &OsStr) -> Option<u64> {
    let number: u64 = name.to_str()?.strip_prefix("file")?.parse().ok()?;
    (parent == ROOT && number < COUNT).then_some(FIRST + number)
}

fn describe(inode: u64, version: u64) -> FileAttr {
    let (kind, size) = match inode {
        ROOT => (FileType::Directory, 0),
        _ => (FileType::RegularFile, content(version).len() as u64),
    };
    let time = UNIX_EPOCH + Duration::from_secs(1_500_000_000 + version);
    attributes(inode, kind, size, time)
}

impl Filesystem for Tree {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = inode_of(parent.into(), name);
        self.answer(move |version| match (found, version) {
            (Some(inode), Ok(version)) => {
                let (what, zero) = (describe(inode, version), Duration::ZERO);
                reply.entry_with_ttls(&zero, &zero, &what, Generation(0));
            }
            (None, Ok(_)) => reply.error(Errno::ENOENT),
            (_, Err(error)) => reply.error(error),
        });
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.answer(move |version| match version {
            Ok(version) => reply.attr(&Duration::ZERO, &describe(inode.into(), version)),
            Err(error) => reply.error(error),
        });
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.answer(move |version| match version {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::empty()),
            Err(error) => reply.error(error),
        });
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
        self.answer(move |version| match version {
            Ok(version) => {
                let content = content(version);
                let start = usize::try_from(offset).unwrap().min(content.len());
                let end = content.len().min(start + size as usize);
                reply.data(&content[start..end]);
            }
            Err(error) => reply.error(error),
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        self.answer(move |_| reply.statfs(0, 0, 0, 0, 0, 512, 255, 0));
    }
}

/// A mounted tree; unmounted when dropped.
pub struct LiveTree {
    mounted: Mounted,
    state: Arc<State>,
}

impl LiveTree {
    /// Mounts it, if FUSE is available.
    pub fn mount() -> Option<LiveTree> {
        LiveTree::mount_in(None)
    }

    /// The same at this directory.
    pub fn mount_at(directory: &Path) -> Option<LiveTree> {
        LiveTree::mount_in(Some(directory))
    }

    fn mount_in(directory: Option<&Path>) -> Option<LiveTree> {
        let state = Arc::new(State::default());
        let mounted = Mounted::mount(Tree(Arc::clone(&state)), directory)?;
        Some(LiveTree { mounted, state })
    }

    /// Starts a server on it.
    pub fn serve(&self, engine: &str, words: &[&str]) -> Server {
        self.mounted.serve(engine, words)
    }

    /// Switches all files to a version.
    pub fn publish(&self, version: u64) {
        self.state.version.store(version, Ordering::Release);
    }

    /// Sets the duration of each operation.
    pub fn set_delay(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap();
        self.state.delay_ms.store(ms, Ordering::Release);
    }

    /// Makes every operation fail, or none.
    pub fn set_failing(&self, is_failing: bool) {
        self.state.is_failing.store(is_failing, Ordering::Release);
    }

    /// Stops answering.
    pub fn freeze(&self) {
        self.state.is_frozen.store(true, Ordering::Release);
    }

    /// Answers again, waiting operations first.
    pub fn thaw(&self) {
        self.state.is_frozen.store(false, Ordering::Release);
        self.state.held.release();
    }
}

impl Drop for LiveTree {
    fn drop(&mut self) {
        self.thaw();
    }
}
