//! While the disk crawls, hot requests go on: counted, not timed.
//!
//! A file system of our own (FUSE) makes everything below `/cold` take its time. While one cold
//! request is under way another client asks for a hot file again and again; what counts is how many
//! answers it gets before the cold one is there. An engine that leaves the loop free lets hundreds
//! through; `blocking` lets through next to none, which shows that the test can fail.

use std::ffi::OsStr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEntry, ReplyOpen,
    Request, SessionACL,
};
use tempfile::TempDir;

use super::harness::{Content, Server, is_root, skip};

/// How long each operation below `/cold` takes.
const DELAY: Duration = Duration::from_millis(150);
/// Hot answers during one cold request: with a free loop there is time for thousands.
const FREE_COUNT_MIN: usize = 100;
/// With a loop that waits there is time between its waits only.
const HELD_COUNT_MAX: usize = 50;

const HOT_FILE: u64 = 10;
const COLD: u64 = 3;
/// Every name below `/cold` that begins with a kind has an inode of its own from here on.
const SMALL_FIRST: u64 = 1 << 20;
const BIG_FIRST: u64 = 1 << 21;
const DIRECTORY_FIRST: u64 = 1 << 22;
const SMALL_LENGTH: u64 = 4_096;
const BIG_LENGTH: u64 = 4 << 20;

struct SlowTree;

fn describe(inode: u64) -> FileAttr {
    let (kind, size) = match inode {
        HOT_FILE => (FileType::RegularFile, 1_024),
        DIRECTORY_FIRST.. => (FileType::Directory, 0),
        BIG_FIRST.. => (FileType::RegularFile, BIG_LENGTH),
        SMALL_FIRST.. => (FileType::RegularFile, SMALL_LENGTH),
        _ => (FileType::Directory, 0),
    };
    let time = UNIX_EPOCH + Duration::from_secs(1_500_000_000);
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

/// The inode of a name: `small7`, `big7`, `dir7` below `/cold` and in such a directory.
fn inode_of(parent: u64, name: &OsStr) -> Option<u64> {
    let name = name.to_str()?;
    let numbered = |kind: &str| name.strip_prefix(kind)?.parse::<u64>().ok();
    match (parent, name) {
        (1, "hot") => Some(2),
        (1, "cold") => Some(COLD),
        (2, "file") => Some(HOT_FILE),
        (DIRECTORY_FIRST.., "index.html") => Some(SMALL_FIRST + (parent - DIRECTORY_FIRST)),
        (COLD, _) => numbered("small")
            .map(|number| SMALL_FIRST + number)
            .or_else(|| numbered("big").map(|number| BIG_FIRST + number))
            .or_else(|| numbered("dir").map(|number| DIRECTORY_FIRST + number)),
        _ => None,
    }
}

/// Does something now, or for cold inodes on another thread after the delay.
fn after_delay(cold: bool, work: impl FnOnce() + Send + 'static) {
    if !cold {
        return work();
    }
    std::thread::spawn(move || {
        std::thread::park_timeout(DELAY);
        work();
    });
}

impl Filesystem for SlowTree {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let parent = u64::from(parent);
        let found = inode_of(parent, name);
        after_delay(parent == COLD || parent >= SMALL_FIRST, move || {
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
        // Attributes are asked for again each time: an entry that is checked costs a delay.
        let inode = u64::from(inode);
        let lifetime = Duration::from_millis(u64::from(inode < SMALL_FIRST) * 60_000);
        after_delay(inode >= SMALL_FIRST, move || {
            reply.attr(&lifetime, &describe(inode));
        });
    }

    fn open(&self, _: &Request, inode: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        after_delay(u64::from(inode) >= SMALL_FIRST, move || {
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
        let left = describe(inode).size.saturating_sub(offset);
        let length = usize::try_from(left.min(size.into())).unwrap();
        after_delay(inode >= SMALL_FIRST, move || {
            reply.data(&vec![b'x'; length]);
        });
    }
}

/// A mounted tree; unmounted when dropped.
struct Mounted {
    directory: TempDir,
    session: Option<BackgroundSession>,
}

impl Mounted {
    fn new() -> Option<Mounted> {
        if !is_root() || !std::path::Path::new("/dev/fuse").exists() {
            skip("a FUSE tree takes root and /dev/fuse");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.acl = SessionACL::All;
        match fuser::spawn_mount(SlowTree, directory.path(), &config) {
            Ok(session) => Some(Mounted {
                directory,
                session: Some(session),
            }),
            Err(error) => {
                skip(&format!("FUSE cannot be mounted here: {error}"));
                None
            }
        }
    }

    fn serve(&self, engine: &str) -> Server {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
        // Short trust, so that what was seen before is checked.
        let words = [
            "--listen",
            "127.0.0.1:0",
            "--revalidate",
            "50ms",
            "--disk",
            engine,
        ];
        command.args(words);
        Server::spawn(command.arg(self.directory.path()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(self.session.take());
    }
}

/// Hot answers between a cold request and its answer, which must have this status and length.
fn hot_answers_during(server: &Server, request: &str, status: u16, length: usize) -> usize {
    let mut hot = server.connect();
    for _ in 0..3 {
        assert_eq!(hot.get("/hot/file", &[]).body.len(), 1_024);
    }
    let mut cold = server.connect();
    let answered = AtomicBool::new(false);
    cold.send(request.as_bytes());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let response = cold.response(Content::Expected).unwrap();
            answered.store(true, Ordering::Release);
            assert_eq!(
                (response.status, response.body.len()),
                (status, length),
                "{request}"
            );
        });
        let mut count = 0;
        while !answered.load(Ordering::Acquire) {
            assert_eq!(hot.get("/hot/file", &[]).status, 200);
            count += 1;
        }
        count
    })
}

fn get(path: &str, field: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{field}\r\n")
}

/// What a cold request can be, by a number that makes its names new.
fn cold_requests(round: usize) -> Vec<(String, u16, usize)> {
    let small = usize::try_from(SMALL_LENGTH).unwrap();
    let big = usize::try_from(BIG_LENGTH).unwrap();
    let not_found = 116;
    let moved = 132;
    vec![
        (get(&format!("/cold/small{round}"), ""), 200, small),
        (get(&format!("/cold/big{round}"), ""), 200, big),
        (get(&format!("/cold/none{round}"), ""), 404, not_found),
        (get(&format!("/cold/dir{round}"), ""), 301, moved),
        (get(&format!("/cold/dir{round}/"), ""), 200, small),
        (
            get(
                &format!("/cold/big{}", round + 1),
                "Range: bytes=3000000-3000999\r\n",
            ),
            206,
            1_000,
        ),
        // Seen before and no longer trusted: it is checked.
        (get(&format!("/cold/small{round}"), ""), 200, small),
    ]
}

#[test]
fn hot_requests_go_on_while_the_disk_crawls() {
    let Some(mounted) = Mounted::new() else {
        return;
    };
    let server = mounted.serve("threads");
    for (request, status, length) in cold_requests(0) {
        let count = hot_answers_during(&server, &request, status, length);
        assert!(count >= FREE_COUNT_MIN, "{count} answers during {request}");
    }
}

#[test]
fn a_loop_that_reads_holds_everybody_up() {
    let Some(mounted) = Mounted::new() else {
        return;
    };
    let server = mounted.serve("blocking");
    // A long file fills its socket now and then, and the loop is free until the peer has read.
    let requests = cold_requests(10);
    let short = requests
        .into_iter()
        .filter(|(request, ..)| !request.contains("/big"));
    for (request, status, length) in short.take(4) {
        let count = hot_answers_during(&server, &request, status, length);
        assert!(count <= HELD_COUNT_MAX, "{count} answers during {request}");
    }
}

#[test]
fn many_who_ask_for_one_cold_file_share_one_look_at_the_disk() {
    let Some(mounted) = Mounted::new() else {
        return;
    };
    let server = mounted.serve("threads");
    let mut clients: Vec<_> = (0..300).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(get("/cold/small99", "").as_bytes());
    }
    // A few leave before their answer is there.
    clients.truncate(290);
    for client in &mut clients {
        let response = client.response(Content::Expected).unwrap();
        assert_eq!(response.body.len(), usize::try_from(SMALL_LENGTH).unwrap());
    }
    let numbers = server.numbers();
    let misses = numbers["caches"][0]["misses"].as_u64().unwrap();
    let insertions = numbers["caches"][0]["insertions"].as_u64().unwrap();
    assert!(misses > 100, "they came while it was looked for: {numbers}");
    assert_eq!(insertions, 1, "one look-up for all of them: {numbers}");
}
