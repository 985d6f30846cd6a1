//! A file system of our own (FUSE) whose files change, and which can be slow, fail, or not answer at all.
//!
//! It holds `file0` to `file99`, all of the same content, that of the current version. The kernel remembers
//! nothing of it but pages, so each look at it is an operation.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen,
    ReplyStatfs, Request, SessionACL,
};
use tempfile::TempDir;

use super::harness::{Server, is_root, skip};

/// Files.
const COUNT: u64 = 100;
const ROOT: u64 = 1;
/// The inode of `file0`.
const FIRST: u64 = 100;

type Work = Box<dyn FnOnce() + Send>;

/// What a test sets.
#[derive(Default)]
struct State {
    version: AtomicU64,
    /// How long each operation takes.
    delay_ms: AtomicU64,
    is_frozen: AtomicBool,
    /// What did not answer, until it does again.
    held: Mutex<Vec<Work>>,
    is_failing: AtomicBool,
}

/// The content of a version; each is of another length.
pub fn content(version: u64) -> Vec<u8> {
    let line = format!("version {version}\n");
    line.repeat(20 + usize::try_from(version).unwrap())
        .into_bytes()
}

struct Tree(Arc<State>);

impl Tree {
    /// Does something when the file system answers: with what is so then.
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
        let mut held = self.0.held.lock().unwrap();
        if self.0.is_frozen.load(Ordering::Acquire) {
            held.push(Box::new(say));
        } else if delay == Duration::ZERO {
            drop(held);
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
    directory: PathBuf,
    /// Goes when it is unmounted.
    own: Option<TempDir>,
    session: Option<BackgroundSession>,
    state: Arc<State>,
}

impl LiveTree {
    /// Mounts it, where that can be done.
    pub fn mount() -> Option<LiveTree> {
        let own = tempfile::tempdir().unwrap();
        let mut tree = LiveTree::mount_at(own.path())?;
        tree.own = Some(own);
        Some(tree)
    }

    /// The same in this directory.
    pub fn mount_at(directory: &Path) -> Option<LiveTree> {
        if !is_root() || !Path::new("/dev/fuse").exists() {
            skip("a FUSE tree takes root and /dev/fuse");
            return None;
        }
        let mut config = Config::default();
        config.acl = SessionACL::All;
        let state = Arc::new(State::default());
        match fuser::spawn_mount(Tree(Arc::clone(&state)), directory, &config) {
            Ok(session) => Some(LiveTree {
                directory: directory.to_owned(),
                own: None,
                session: Some(session),
                state,
            }),
            Err(error) => {
                skip(&format!("FUSE cannot be mounted here: {error}"));
                None
            }
        }
    }

    /// Serves it.
    pub fn serve(&self, engine: &str, words: &[&str]) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
        command.args(["--listen", "127.0.0.1:0", "--disk", engine]);
        command.args(words);
        Server::spawn(command.arg(&self.directory))
    }

    /// Has all files be of a version from now on.
    pub fn publish(&self, version: u64) {
        self.state.version.store(version, Ordering::Release);
    }

    /// Has each operation take so long.
    pub fn set_delay(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap();
        self.state.delay_ms.store(ms, Ordering::Release);
    }

    /// Has every operation fail, or none.
    pub fn set_failing(&self, is_failing: bool) {
        self.state.is_failing.store(is_failing, Ordering::Release);
    }

    /// Answers nothing from now on.
    pub fn freeze(&self) {
        self.state.is_frozen.store(true, Ordering::Release);
    }

    /// Answers again, first what was asked meanwhile.
    pub fn thaw(&self) {
        let mut held = self.state.held.lock().unwrap();
        self.state.is_frozen.store(false, Ordering::Release);
        for work in held.drain(..) {
            work();
        }
    }
}

impl Drop for LiveTree {
    fn drop(&mut self) {
        self.thaw();
        drop(self.session.take());
        drop(self.own.take());
    }
}
