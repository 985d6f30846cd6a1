//! Sends requests to the whole server, in this process or under strace, over a Unix socket.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use spede::config::{self, Task};

/// Time limit of everything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time limit for a requested file to be mapped.
const MAPPED_AFTER: Duration = Duration::from_millis(100);

/// A connection.
pub(crate) struct Client {
    stream: UnixStream,
    received: Vec<u8>,
}

impl Client {
    /// Connects once the server listens.
    pub(crate) fn connect(path: &Path) -> Client {
        let deadline = Instant::now() + PATIENCE;
        let stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "nobody listens: {error}"),
            }
            std::thread::yield_now();
        };
        stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
        Client {
            stream,
            received: Vec::new(),
        }
    }

    /// Sends requests one at a time.
    pub(crate) fn ask(&mut self, request: &str, count: usize) {
        let mut buffer = [0; 16 << 10];
        for _ in 0..count {
            self.stream.write_all(request.as_bytes()).expect("sent");
            self.received.clear();
            while !is_whole(&self.received, request.starts_with("HEAD")) {
                let count = self.stream.read(&mut buffer).expect("an answer");
                assert!(count > 0, "the server closed");
                self.received.extend_from_slice(&buffer[..count]);
            }
        }
    }
}

/// Whether a response is complete.
fn is_whole(bytes: &[u8], is_head: bool) -> bool {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&bytes[..end]);
    let has_content = !is_head && !head.starts_with("HTTP/1.1 304");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length
        .filter(|_| has_content)
        .map_or(0, |length| length.parse().expect("a length"));
    bytes.len() >= end + 4 + length
}

/// The arguments of a server: its socket, and the given ones.
fn words(directory: &Path, options: &[String]) -> (PathBuf, Vec<String>) {
    let socket = directory.join("socket");
    let mut words = vec![
        format!("--listen=unix:{}", socket.display()),
        String::from("--disk=threads"),
        directory.join("root").display().to_string(),
    ];
    words.extend_from_slice(options);
    (socket, words)
}

/// Loads a server that has just started, after a warm-up. The hot files are held in memory for all requests;
/// a file that is only kept open would cost one more call to compare.
fn load(socket: &Path, request: &str, count: usize) {
    let mut client = Client::connect(socket);
    for path in ["/file", "/mapped"] {
        client.ask(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"), 50);
    }
    std::thread::sleep(MAPPED_AFTER);
    client.ask(request, 50);
    client.ask(request, count);
}

/// Allocations of the loop thread, from start to exit.
pub(crate) fn allocations(
    request: &str,
    options: &[String],
    count: usize,
    directory: &Path,
) -> u64 {
    let (socket, words) = words(directory, options);
    let words = std::iter::once(String::from("spede")).chain(words);
    let Ok(Task::Serve(settings)) = config::parse(words.map(Into::into)) else {
        panic!("these words are no settings");
    };
    let server = std::thread::spawn(move || {
        let read = Arc::new(|| Err(String::from("there is no file")));
        allocation_counter::measure(|| spede::server::run(&settings, read).expect("it serves"))
            .count_total
    });
    load(&socket, request, count);
    kill_process(rustix::process::getpid(), Signal::TERM).expect("told to end");
    server.join().expect("it ends")
}

/// System calls of the program without its waits, from start to exit.
pub(crate) fn system_calls(
    request: &str,
    options: &[String],
    count: usize,
    directory: &Path,
) -> u64 {
    let (socket, words) = words(directory, options);
    let out = directory.join("strace");
    let mut strace = Command::new("strace")
        .args(["-f", "-c", "-U", "calls,name", "-o"])
        .arg(&out)
        .arg(env!("CARGO_BIN_EXE_spede"))
        .args(words)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("strace starts");
    load(&socket, request, count);
    let program = child_of(strace.id()).expect("the program runs");
    kill_process(program, Signal::TERM).expect("told to end");
    strace.wait().expect("it ends");
    let text = fs::read_to_string(&out).expect("strace has written");
    let calls = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        let calls: u64 = words.next()?.parse().ok()?;
        let name = words.next()?;
        // The number of waits depends on the timing of requests.
        (!["total", "epoll_wait", "futex"].contains(&name)).then_some(calls)
    });
    calls.sum()
}

fn child_of(process: u32) -> io::Result<Pid> {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    let first = children
        .split_whitespace()
        .next()
        .and_then(|word| word.parse().ok());
    first
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::NotFound.into())
}
