//! What a hot request costs, in counts: instructions, allocations and system calls. Counts do not
//! depend on what else the machine does, so this can say no.
//!
//! `cargo bench --bench guard` runs the program under callgrind and strace, compares with the bounds
//! in `benches/guard.txt`, and exits with 1 where one is exceeded; `--record` writes new ones, a
//! twentieth above what was counted. Instructions are those of the program without the kernel's.
//! What is not installed is named and skipped; with `CI=true` it is a failure.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};

/// Requests of the short and of the long run: what both have in common is not counted.
const SHORT: usize = 400;
const LONG: usize = 2_400;
/// Bounds are recorded so much above what was counted: a compiler's next version may differ.
const SLACK: f64 = 1.05;
const BOUNDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/guard.txt");

/// A kind of request: name, head, and how many go out at once.
const KINDS: &[(&str, &str, usize)] = &[
    ("1 KiB", "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", 1),
    ("1 KiB, pipelined 16", "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", 16),
    (
        "1 KiB, browser's fields",
        "GET /a HTTP/1.1\r\nHost: a\r\n\
         User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
         Accept-Language: en-GB,en;q=0.7,de;q=0.3\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
         Sec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Site: none\r\n\
         Upgrade-Insecure-Requests: 1\r\nPriority: u=0, i\r\n\r\n",
        1,
    ),
    ("HEAD", "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n", 1),
    ("304", "GET /a HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n", 1),
    ("range", "GET /a HTTP/1.1\r\nHost: a\r\nRange: bytes=10-99\r\n\r\n", 1),
    ("404", "GET /none HTTP/1.1\r\nHost: a\r\n\r\n", 1),
];

/// What one request costs.
struct Cost {
    instructions: f64,
    allocations: f64,
    system_calls: f64,
}

fn main() -> ExitCode {
    let missing: Vec<&str> = ["valgrind", "strace"]
        .into_iter()
        .filter(|program| Command::new(program).arg("--version").output().is_err())
        .collect();
    if !missing.is_empty() {
        println!("skipped: {} not installed", missing.join(" and "));
        return match std::env::var_os("CI") {
            Some(_) => ExitCode::FAILURE,
            None => ExitCode::SUCCESS,
        };
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().join("root");
    fs::create_dir(&root).expect("a root");
    fs::write(root.join("a"), vec![b'a'; 1_024]).expect("a file");
    let mut counted = Vec::new();
    for (name, head, depth) in KINDS {
        let cost = count(head, *depth, directory.path(), &root);
        println!(
            "{name}: {:.0} instructions, {:.3} allocations, {:.2} system calls",
            cost.instructions, cost.allocations, cost.system_calls
        );
        counted.push((*name, cost));
    }
    if std::env::args().any(|word| word == "--record") {
        fs::write(BOUNDS, record(&counted)).expect("the bounds are written");
        return ExitCode::SUCCESS;
    }
    compare(&counted)
}

fn record(counted: &[(&str, Cost)]) -> String {
    let mut text = String::from(
        "# Most that a hot request may cost: instructions, allocations, system calls.\n\
         # Recorded by `cargo bench --bench guard -- --record`.\n",
    );
    for (name, cost) in counted {
        let _ = writeln!(
            text,
            "{name} | {:.0} | {:.3} | {:.2}",
            cost.instructions * SLACK,
            // A buffer that grows once is not one a request.
            cost.allocations + 0.005,
            cost.system_calls + 0.02,
        );
    }
    text
}

fn compare(counted: &[(&str, Cost)]) -> ExitCode {
    let text = fs::read_to_string(BOUNDS).expect("benches/guard.txt");
    let mut outcome = ExitCode::SUCCESS;
    for (name, cost) in counted {
        let line = text.lines().find(|line| line.split(" | ").next() == Some(*name));
        let bounds: Vec<f64> = line
            .unwrap_or_default()
            .split(" | ")
            .skip(1)
            .filter_map(|word| word.parse().ok())
            .collect();
        let [instructions, allocations, system_calls] = bounds[..] else {
            println!("{name}: no bounds in benches/guard.txt; record them with --record");
            outcome = ExitCode::FAILURE;
            continue;
        };
        for (what, value, bound) in [
            ("instructions", cost.instructions, instructions),
            ("allocations", cost.allocations, allocations),
            ("system calls", cost.system_calls, system_calls),
        ] {
            if value > bound {
                println!("{name}: {value:.3} {what} a request, more than {bound}");
                outcome = ExitCode::FAILURE;
            }
        }
    }
    outcome
}

/// Runs the program twice under each tool; what differs is what the requests cost.
fn count(head: &str, depth: usize, directory: &Path, root: &Path) -> Cost {
    let requests = (LONG - SHORT) as f64;
    let [few, many] = [SHORT, LONG].map(|count| under_callgrind(head, depth, count, directory, root));
    let [few_calls, many_calls] = [SHORT, LONG].map(|count| under_strace(head, depth, count, directory, root));
    Cost {
        instructions: (many.0 - few.0) / requests,
        allocations: (many.1 - few.1) / requests,
        system_calls: (many_calls - few_calls) / requests,
    }
}

/// Instructions and allocations of one run.
fn under_callgrind(head: &str, depth: usize, count: usize, directory: &Path, root: &Path) -> (f64, f64) {
    let out = directory.join("callgrind");
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "-q", "--error-exitcode=0"])
        .arg(format!("--callgrind-out-file={}", out.display()));
    serve(command, head, depth, count, root);
    let text = fs::read_to_string(&out).expect("callgrind has written");
    let summary = text.lines().find_map(|line| {
        let words = line.strip_prefix("summary: ").or(line.strip_prefix("totals: "))?;
        words.split(' ').next()?.parse::<f64>().ok()
    });
    (summary.expect("a summary"), allocations(&text))
}

/// Calls of `malloc` and the like in the words of callgrind: a called function is named by a number,
/// and in full where the number stands first; how often it was called stands in the next line.
fn allocations(text: &str) -> f64 {
    let mut names: HashMap<&str, &str> = HashMap::new();
    let mut is_allocation = false;
    let mut count = 0.0;
    for line in text.lines() {
        let (kind, rest) = line.split_once('=').unwrap_or(("", ""));
        match kind {
            "fn" | "cfn" => {
                let (number, name) = rest.split_once(' ').unwrap_or((rest, ""));
                if !name.is_empty() {
                    names.insert(number, name);
                }
                let name = names.get(number).copied().unwrap_or_default();
                let allocating = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"];
                is_allocation = kind == "cfn" && allocating.contains(&name);
            }
            "calls" if is_allocation => {
                let calls = rest.split(' ').next().and_then(|word| word.parse::<f64>().ok());
                count += calls.unwrap_or(0.0);
            }
            _ => {}
        }
    }
    count
}

/// System calls of one run, without waits: those depend on how requests happen to come.
fn under_strace(head: &str, depth: usize, count: usize, directory: &Path, root: &Path) -> f64 {
    let out = directory.join("strace");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&out);
    serve(command, head, depth, count, root);
    let text = fs::read_to_string(&out).expect("strace has written");
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let calls = words.next()?.parse::<f64>().ok()?;
            let name = words.next()?;
            (!["total", "epoll_wait", "futex"].contains(&name)).then_some(calls)
        })
        .sum()
}

/// Starts the program under a tool, asks so often, and stops it.
fn serve(mut command: Command, head: &str, depth: usize, count: usize, root: &Path) {
    let mut child = command
        .arg(env!("CARGO_BIN_EXE_spede"))
        .args(["--listen", "127.0.0.1:0", "--disk", "threads", "--revalidate", "1h"])
        .arg(root)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the tool starts");
    let mut lines = BufReader::new(child.stdout.take().expect("its words"));
    let address = address(&mut lines);
    let mut stream = TcpStream::connect(&address).expect("a connection");
    let batch = head.repeat(depth);
    let mut buffer = vec![0; 64 * 1_024];
    for _ in 0..count / depth {
        stream.write_all(batch.as_bytes()).expect("sent");
        receive(&mut stream, head, depth, &mut buffer);
    }
    drop(stream);
    stop(&mut child);
}

fn address(lines: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    loop {
        line.clear();
        assert!(lines.read_line(&mut line).expect("its words") > 0, "it ended");
        if let Some(address) = line.trim().strip_prefix("listening on http://") {
            return address.to_owned();
        }
    }
}

/// Receives so many responses.
fn receive(stream: &mut TcpStream, head: &str, depth: usize, buffer: &mut Vec<u8>) {
    let mut received = 0;
    let mut done = 0;
    while done < depth {
        let count = stream.read(&mut buffer[received..]).expect("an answer");
        assert!(count > 0, "the server closed");
        received += count;
        let mut at = 0;
        done = 0;
        while let Some(length) = response_length(&buffer[at..received], head.starts_with("HEAD")) {
            at += length;
            done += 1;
        }
    }
}

/// The length of the response that a buffer begins with, if it is whole.
fn response_length(bytes: &[u8], is_head: bool) -> Option<usize> {
    let end = memchr::memmem::find(bytes, b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let has_content = !is_head && !head.starts_with("HTTP/1.1 304");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .filter(|_| has_content)
        .map_or(0, |length| length.parse().unwrap_or(0));
    (bytes.len() >= end + length).then_some(end + length)
}

/// SIGTERM, which the tools hand on or outlive.
fn stop(child: &mut Child) {
    let pid = rustix::process::Pid::from_child(child);
    // strace runs the program as its child: everything in the group of tasks below it is told.
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()));
    let below: Vec<i32> = children
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    let own = rustix::process::Pid::from_raw;
    let targets = match below.is_empty() {
        true => vec![pid],
        false => below.into_iter().filter_map(own).collect(),
    };
    for target in targets {
        let _ = rustix::process::kill_process(target, rustix::process::Signal::TERM);
    }
    child.wait().expect("it ends");
}
