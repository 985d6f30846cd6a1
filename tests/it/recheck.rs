//! Writes without events: visible within `--recheck`, and never under an older tag after that.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::harness::{
    Client, Server, Site, engines, is_installed, is_root, skip, wait_out, wait_until,
};

/// The recheck interval of these tests.
const RECHECK: &str = "--recheck=300ms";

/// Stores through a shared mapping.
const MAPPING: &str = "import mmap, sys
file = open(sys.argv[1], 'r+b')
memory = mmap.mmap(file.fileno(), 0)
def write(content):
    memory[:8] = content";

/// Writes by `io_submit`; the iocb is laid out as in linux/aio_abi.h.
const AIO: &str = "import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
file = os.open(sys.argv[1], os.O_RDWR)
context = ctypes.c_ulong(0)
assert libc.syscall(206, 8, ctypes.byref(context)) == 0
def write(content):
    buffer = ctypes.create_string_buffer(content, 8)
    block = struct.pack('<QIIHhIQQqQII', 0, 0, 0, 1, 0, file, ctypes.addressof(buffer), 8, 0, 0, 0, 0)
    block = ctypes.create_string_buffer(block, 64)
    blocks = (ctypes.c_void_p * 1)(ctypes.addressof(block))
    assert libc.syscall(209, context, ctypes.c_long(1), blocks) == 1
    events = ctypes.create_string_buffer(32)
    assert libc.syscall(208, context, ctypes.c_long(1), ctypes.c_long(1), events, None) == 1";

/// A process that writes eight bytes at the start of a file for each line it receives, and never closes the
/// file.
struct Writer(Child);

impl Writer {
    fn of(path: &Path, how: &str) -> Option<Writer> {
        if !is_installed("python3") || !cfg!(target_arch = "x86_64") {
            skip("a writer of which no event tells takes python3 on x86-64");
            return None;
        }
        let script = format!(
            "{how}
for line in sys.stdin:
    write(line[:8].encode())
    print('stored', flush=True)"
        );
        let mut child = Command::new("python3")
            .args(["-c", &script])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        assert!(child.try_wait().unwrap().is_none());
        Some(Writer(child))
    }

    fn write(&mut self, bytes: &str) {
        let input = self.0.stdin.as_mut().unwrap();
        input.write_all(format!("{bytes}\n").as_bytes()).unwrap();
        input.flush().unwrap();
        let mut said = [0; 7];
        let output = self.0.stdout.as_mut().unwrap();
        output.read_exact(&mut said).unwrap();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Requests the file until content and tag are new, which must happen soon after the write that has just
/// returned.
fn see_soon(client: &mut Client, path: &str, start: &str, old_tag: &str) {
    let changed = Instant::now();
    wait_until("it is seen under another tag", || {
        let response = client.get(path, &[]);
        let is_new = response.body.starts_with(start.as_bytes());
        is_new && response.field("etag").is_none_or(|tag| tag != old_tag)
    });
    let took = changed.elapsed();
    // The interval, plus delays of a busy machine.
    assert!(took < Duration::from_secs(5), "{path}: {took:?}");
    let old = format!("If-None-Match: {old_tag}");
    assert_eq!(client.get(path, &[&old]).status, 200, "{path}");
}

/// Requests a file until it is held in memory; returns its tag.
fn held(server: &Server, client: &mut Client, path: &str) -> String {
    // Numbers are collected once a second: two consecutive collections are compared, whatever time passes.
    let mut seen = None;
    wait_until("it lies in memory", || {
        client.get(path, &[]);
        let hits = server.numbers()["caches"][1]["hits"].as_u64();
        let before = seen.replace(hits);
        before.is_some_and(|before| hits > before)
    });
    let response = client.get(path, &[]);
    response.field("etag").unwrap().to_owned()
}

/// Files that are copied, mapped, and sent from a descriptor only.
fn site() -> Site {
    let site = Site::new();
    for (name, length) in [("short", 1 << 10), ("long", 12 << 10), ("sent", 64 << 10)] {
        site.file(name, vec![b'a'; length]);
    }
    site
}

/// A program writes to cached files, one text after the other; `see` is called after each write, with the
/// previous tag. False if the program cannot run here.
fn write_each(
    server: &Server,
    (site, names): (&Site, &[&str]),
    program: &str,
    see: impl Fn(&mut Client, &str, &str, &str),
) -> bool {
    let mut client = server.connect();
    for name in names {
        let path = format!("/{name}");
        let Some(mut writer) = Writer::of(&site.path(name), program) else {
            return false;
        };
        for (round, text) in ["first-01", "second-2", "third-03"].into_iter().enumerate() {
            let tag = match *name {
                "sent" => client.get(&path, &[]).field("etag").unwrap().to_owned(),
                _ => held(server, &mut client, &path),
            };
            let mtime = || fs::metadata(site.path(name)).unwrap().modified().unwrap();
            let before = mtime();
            writer.write(text);
            // A store into a page not yet written back does not change the mtime.
            let is_hidden = round == 0 || program != MAPPING || before == mtime();
            assert!(is_hidden, "no test of what it says");
            see(&mut client, &path, text, &tag);
        }
    }
    true
}

/// The mtime changes at the first store only, until the page is written back: the second store shows only in
/// the content. True for copies (1 KiB) and mappings (12 KiB).
#[test]
fn stores_through_a_mapping_are_seen_within_the_bound() {
    for engine in engines() {
        let site = site();
        let server = Server::start(&site, &["--disk", engine, RECHECK]);
        let files = (&site, &["short", "long"][..]);
        if !write_each(&server, files, MAPPING, see_soon) {
            return;
        }
        let numbers = &server.numbers()["freshness"];
        assert!(
            numbers["rechecks_changed"].as_u64().unwrap() >= 4,
            "{numbers}"
        );
        assert_eq!(numbers["recheck_ms"], 300);
    }
}

/// A file without requests meanwhile is compared before its next use.
#[test]
fn idle_files_are_compared_before_use() {
    for engine in engines() {
        let site = site();
        let server = Server::start(&site, &["--disk", engine, RECHECK]);
        let files = (&site, &["short", "long"][..]);
        write_each(&server, files, MAPPING, |client, path, text, tag| {
            wait_out(Duration::from_millis(350));
            let response = client.get(path, &[]);
            assert_eq!(&response.body[..8], text.as_bytes(), "{engine} {path}");
            assert_ne!(response.field("etag"), Some(tag), "{engine} {path}");
        });
    }
}

/// AIO writes raise no event either; the mtime changes at each.
#[test]
fn writes_by_aio_are_seen_within_the_bound() {
    for engine in engines() {
        let site = site();
        let server = Server::start(&site, &["--disk", engine, RECHECK]);
        let files = (&site, &["short", "long", "sent"][..]);
        write_each(&server, files, AIO, see_soon);
    }
}

/// An unchanged file keeps its tag, however often it is compared, and is not opened again.
#[test]
fn unchanged_files_are_compared_and_kept() {
    for engine in engines() {
        let site = Site::new();
        site.file("file", "as it was");
        let server = Server::start(&site, &["--disk", engine, "--recheck=50ms"]);
        let mut client = server.connect();
        let tag = held(&server, &mut client, "/file");
        let number = |name: &str| server.numbers()["freshness"][name].as_u64().unwrap();
        let misses = || server.numbers()["caches"][1]["misses"].as_u64().unwrap();
        let before = misses();
        wait_until("it is compared", || {
            assert_eq!(client.get("/file", &[]).field("etag"), Some(&*tag));
            number("rechecked") > 5
        });
        assert_eq!(number("rechecks_changed"), 0);
        assert_eq!(misses(), before);
        let quiet = number("rechecked");
        let server = Server::start(&site, &["--disk", engine, "--recheck=0"]);
        let mut client = server.connect();
        held(&server, &mut client, "/file");
        assert!(quiet > 5);
        assert_eq!(server.numbers()["freshness"]["rechecked"], 0);
    }
}

/// A loop device writes to its file from within the kernel, without an event.
#[test]
fn writes_of_a_loop_device_are_seen_within_the_bound() {
    if !is_root() || !is_installed("losetup") {
        return skip("a loop device takes root and losetup");
    }
    let site = Site::new();
    site.file("image", vec![b'a'; 8 << 10]);
    let made = Command::new("losetup")
        .args(["--find", "--show"])
        .arg(site.path("image"))
        .output()
        .unwrap();
    if !made.status.success() {
        return skip("no loop device is to be had here");
    }
    let device = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let server = Server::start(&site, &[RECHECK]);
    let mut client = server.connect();
    for text in ["first-01", "second-2"] {
        let tag = held(&server, &mut client, "/image");
        let block = File::options().write(true).open(&device).unwrap();
        block.write_all_at(text.as_bytes(), 0).unwrap();
        block.sync_all().unwrap();
        see_soon(&mut client, "/image", text, &tag);
    }
    let freed = Command::new("losetup").args(["--detach", &device]).status();
    assert!(freed.unwrap().success());
}
