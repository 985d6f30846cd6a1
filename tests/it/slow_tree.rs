//! A FUSE file system where everything below `/cold` is slow.
//!
//! Names below `/cold` are a kind and a number, `small7`, so that new names never run out. [`Kind`] describes
//! the kinds.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, WriteFlags,
};

use super::fuse::{attributes, bytes_left};
use super::harness::Server;
use super::mounted::{Held, Mounted};

/// Duration of each operation below `/cold`, unless [`Pace`] sets another.
pub const DELAY: Duration = Duration::from_millis(150);
/// Bytes of a small file.
pub const SMALL_LENGTH: usize = 8_192;
/// Actual length of a file that claims to be a small one.
pub const SHORT_LENGTH: usize = SMALL_LENGTH / 2;
/// Bytes of a big file.
pub const BIG_LENGTH: usize = 4 << 20;

/// Readable bytes of a file whose rest cannot be read.
pub const GOOD_LENGTH: u64 = 1 << 20;

const HOT_FILE: u64 = 10;
const COLD: u64 = 3;

/// Kinds of files below `/cold`. The inode of a name is its kind above 2^32 and its number below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A file of 4 KiB.
    Small,
    /// A file of 4 MiB.
    Big,
    /// A directory with an index.
    Dir,
    /// A directory without an index, with two names in it.
    Bare,
    /// A file whose `close` is slow.
    Flushing,
    /// A file that cannot be read.
    Broken,
    /// A file that is shorter than its lookup says.
    Short,
    /// A file whose open hangs until [`SlowTree::release`].
    Stuck,
    /// A file whose read hangs until then.
    Unread,
    /// A file of 4 MiB whose reads fail beyond [`GOOD_LENGTH`].
    Torn,
    /// The same, but reads hang until [`SlowTree::release`].
    Halted,
    /// A log.
    Log,
}

const KINDS: [(Kind, &str); 12] = [
    (Kind::Small, "small"),
    (Kind::Big, "big"),
    (Kind::Dir, "dir"),
    (Kind::Bare, "bare"),
    (Kind::Flushing, "flushing"),
    (Kind::Broken, "broken"),
    (Kind::Short, "short"),
    (Kind::Stuck, "stuck"),
    (Kind::Unread, "unread"),
    (Kind::Torn, "torn"),
    (Kind::Halted, "halted"),
    (Kind::Log, "log"),
];

/// The kind of a cold inode.
fn kind_of(inode: u64) -> Option<Kind> {
    let index = usize::try_from(inode >> 32).unwrap().checked_sub(1)?;
    Some(KINDS[index].0)
}

fn inode_of(parent: u64, name: &OsStr) -> Option<u64> {
    let name = name.to_str()?;
    match (parent, name) {
        (1, "hot") => return Some(2),
        (1, "cold") => return Some(COLD),
        (2, "file") => return Some(HOT_FILE),
        _ => {}
    }
    let (number, name) = match (parent, kind_of(parent)) {
        (COLD, _) => {
            let digits = name.trim_start_matches(|c: char| c.is_ascii_lowercase());
            (digits.parse().ok()?, name.strip_suffix(digits)?)
        }
        (_, Some(Kind::Dir)) if name == "index.html" => (parent & 0xffff_ffff, "small"),
        (_, Some(Kind::Bare)) if name == "a" || name == "b" => (parent & 0xffff_ffff, "small"),
        _ => return None,
    };
    let index = KINDS.iter().position(|(_, known)| *known == name)?;
    Some((index as u64 + 1) << 32 | number)
}

fn describe(inode: u64) -> FileAttr {
    let (kind, size) = match (inode, kind_of(inode)) {
        (HOT_FILE, _) => (FileType::RegularFile, 1_024),
        (_, None | Some(Kind::Dir | Kind::Bare)) => (FileType::Directory, 0),
        (_, Some(Kind::Big | Kind::Torn | Kind::Halted)) => {
            (FileType::RegularFile, BIG_LENGTH as u64)
        }
        (_, Some(Kind::Log)) => (FileType::RegularFile, 0),
        (_, Some(_)) => (FileType::RegularFile, SMALL_LENGTH as u64),
    };
    // Write permission allows asking which pages are cached.
    let perm = match kind_of(inode) {
        Some(Kind::Big) => 0o444,
        _ => 0o777,
    };
    let time = UNIX_EPOCH + Duration::from_secs(1_500_000_000);
    FileAttr {
        perm,
        ..attributes(inode, kind, size, time)
    }
}

/// Lets operations below `/cold` last until a client has got some answers: independently of the machine's
/// speed, only a server that blocks in the operation cannot give them.
#[derive(Default)]
pub struct Pace {
    /// Answers during each operation; 0: it lasts [`DELAY`].
    wanted: AtomicUsize,
    /// An operation ends after this time without an answer: it has blocked the client.
    patience_ms: AtomicU64,
    answers: AtomicUsize,
    begun: AtomicUsize,
    held_up: AtomicUsize,
}

/// Effect of operations on a client that sends requests continuously.
#[derive(Clone, Copy, Debug, Default)]
pub struct Meanwhile {
    /// Answers that it got.
    pub answers: usize,
    /// Operations that ran.
    pub operations: usize,
    /// Operations with too few answers.
    pub held_up: usize,
}

impl Pace {
    /// Applies from now until [`Pace::end`].
    pub fn begin(&self, wanted: usize, patience: Duration) {
        for counter in [&self.answers, &self.begun, &self.held_up] {
            counter.store(0, Ordering::Release);
        }
        let ms = u64::try_from(patience.as_millis()).unwrap();
        self.patience_ms.store(ms, Ordering::Release);
        self.wanted.store(wanted, Ordering::Release);
    }

    /// Whether it has begun and not ended.
    pub fn is_on(&self) -> bool {
        self.wanted.load(Ordering::Acquire) > 0
    }

    /// Counts an answer.
    pub fn answered(&self) {
        self.answers.fetch_add(1, Ordering::AcqRel);
    }

    /// Releases current operations; later ones last [`DELAY`] again.
    pub fn end(&self) -> Meanwhile {
        self.wanted.store(0, Ordering::Release);
        Meanwhile {
            answers: self.answers.load(Ordering::Acquire),
            operations: self.begun.load(Ordering::Acquire),
            held_up: self.held_up.load(Ordering::Acquire),
        }
    }

    /// Waits for the duration of an operation that begins now.
    fn wait(&self) {
        if self.wanted.load(Ordering::Acquire) == 0 {
            return std::thread::park_timeout(DELAY);
        }
        self.begun.fetch_add(1, Ordering::AcqRel);
        let first = self.answers.load(Ordering::Acquire);
        let (mut last, mut since) = (first, Instant::now());
        while last - first < self.wanted.load(Ordering::Acquire) {
            std::thread::park_timeout(Duration::from_millis(1));
            let answers = self.answers.load(Ordering::Acquire);
            if answers != last {
                (last, since) = (answers, Instant::now());
            } else if since.elapsed() >= self.patience() {
                self.held_up.fetch_add(1, Ordering::AcqRel);
                return;
            }
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms.load(Ordering::Acquire))
    }
}

/// State of the tree that tests observe.
#[derive(Default)]
pub struct Seen {
    /// Slow closes started.
    pub closes_begun: AtomicUsize,
    /// Slow closes finished.
    pub closes_over: AtomicUsize,
    /// Log writes finished.
    pub writes: AtomicUsize,
    /// Duration of operations.
    pub pace: Pace,
    /// Whether statfs gets no answer, until [`SlowTree::release`].
    pub is_silent: AtomicBool,
    held: Held,
}

struct Tree(Arc<Seen>);

impl Tree {
    /// Runs `work` now, or for cold inodes on another thread after the delay.
    fn after_delay(&self, inode: u64, work: impl FnOnce() + Send + 'static) {
        if kind_of(inode).is_none() && inode != COLD {
            return work();
        }
        let seen = Arc::clone(&self.0);
        std::thread::spawn(move || {
            seen.pace.wait();
            work();
        });
    }

    fn hold(&self, work: impl FnOnce() + Send + 'static) {
        self.0.held.hold(work);
    }
}

impl Filesystem for Tree {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let parent = u64::from(parent);
        let found = inode_of(parent, name);
        self.after_delay(parent, move || {
            let (entry, attributes) = (Duration::from_secs(60), Duration::ZERO);
            match found {
                Some(inode) => {
                    let what = describe(inode);
                    reply.entry_with_ttls(&attributes, &entry, &what, Generation(0));
                }
                None => reply.error(Errno::ENOENT),
            }
        });
    }

    fn getattr(&self, _: &Request, inode: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        // Attributes are not cached: revalidating an entry costs a delay.
        let inode = u64::from(inode);
        let lifetime = Duration::from_secs(if kind_of(inode).is_some() { 0 } else { 60 });
        let mut what = describe(inode);
        if kind_of(inode) == Some(Kind::Short) {
            // Otherwise the kernel would believe the old length and pad with zeros.
            what.size = SHORT_LENGTH as u64;
        }
        self.after_delay(inode, move || reply.attr(&lifetime, &what));
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let inode = u64::from(inode);
        let open = move || reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
        match kind_of(inode) {
            Some(Kind::Stuck) => self.hold(open),
            _ => self.after_delay(inode, open),
        }
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
        let length = match kind_of(inode) {
            Some(Kind::Short) => SHORT_LENGTH as u64,
            _ => describe(inode).size,
        };
        let left = bytes_left(length, offset, size);
        match kind_of(inode) {
            Some(Kind::Unread) => self.hold(move || reply.data(&vec![b'x'; left])),
            Some(Kind::Torn) if offset >= GOOD_LENGTH => {
                self.after_delay(inode, move || reply.error(Errno::EIO));
            }
            Some(Kind::Halted) if offset >= GOOD_LENGTH => {
                self.hold(move || reply.error(Errno::EIO));
            }
            Some(Kind::Broken) => self.after_delay(inode, move || reply.error(Errno::EIO)),
            _ => self.after_delay(inode, move || reply.data(&vec![b'x'; left])),
        }
    }

    fn write(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        _: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let length = u32::try_from(data.len()).unwrap();
        let seen = Arc::clone(&self.0);
        self.after_delay(inode.into(), move || {
            seen.writes.fetch_add(1, Ordering::AcqRel);
            reply.written(length);
        });
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let answer = move || reply.statfs(0, 0, 0, 0, 0, 512, 255, 0);
        match self.0.is_silent.load(Ordering::Acquire) {
            true => self.hold(answer),
            false => answer(),
        }
    }

    fn flush(&self, _: &Request, inode: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        let inode = u64::from(inode);
        if kind_of(inode) != Some(Kind::Flushing) {
            return reply.ok();
        }
        self.0.closes_begun.fetch_add(1, Ordering::AcqRel);
        let seen = Arc::clone(&self.0);
        self.after_delay(inode, move || {
            seen.closes_over.fetch_add(1, Ordering::AcqRel);
            reply.ok();
        });
    }

    fn readdir(
        &self,
        _: &Request,
        inode: INodeNo,
        _: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let inode = u64::from(inode);
        self.after_delay(inode, move || {
            let names = ["a", "b"].iter().enumerate();
            let from = usize::try_from(offset).unwrap();
            for (index, name) in names.skip(from) {
                let file = inode_of(inode, name.as_ref()).unwrap_or(HOT_FILE);
                let next = index as u64 + 1;
                assert!(!reply.add(INodeNo(file), next, FileType::RegularFile, name));
            }
            reply.ok();
        });
    }
}

/// A mounted tree; unmounted when dropped.
pub struct SlowTree {
    mounted: Mounted,
    /// Its state.
    pub seen: Arc<Seen>,
}

impl SlowTree {
    /// Mounts it, if FUSE is available.
    pub fn mount() -> Option<SlowTree> {
        SlowTree::mount_in(None)
    }

    /// The same at this directory.
    pub fn mount_at(directory: &Path) -> Option<SlowTree> {
        SlowTree::mount_in(Some(directory))
    }

    fn mount_in(directory: Option<&Path>) -> Option<SlowTree> {
        let seen = Arc::new(Seen::default());
        let mounted = Mounted::mount(Tree(Arc::clone(&seen)), directory)?;
        Some(SlowTree { mounted, seen })
    }

    /// A path below it.
    pub fn path(&self, name: &str) -> String {
        self.mounted.path(name)
    }

    /// Starts a server on it.
    pub fn serve(&self, engine: &str, words: &[&str]) -> Server {
        self.serve_by(Command::new(env!("CARGO_BIN_EXE_spede")), engine, words)
    }

    /// Starts a server on it, by a command that executes the program.
    pub fn serve_by(&self, mut command: Command, engine: &str, words: &[&str]) -> Server {
        // A short time, so that cached entries are revalidated.
        command.env("SPEDE_REVALIDATE", "50ms");
        self.mounted.serve_by(command, engine, words)
    }

    /// Releases all waiting operations.
    pub fn release(&self) {
        self.seen.held.release();
    }

    /// Number of waiting operations.
    pub fn held_count(&self) -> usize {
        self.seen.held.count()
    }

    /// Evicts the pages of a cold file, as the kernel would under pressure.
    pub fn evict(&self, name: &str) {
        let inode = inode_of(COLD, name.as_ref()).unwrap();
        let notifier = self.mounted.notifier();
        notifier.inval_inode(INodeNo(inode), 0, 0).unwrap();
    }
}

impl Drop for SlowTree {
    fn drop(&mut self) {
        self.release();
    }
}
