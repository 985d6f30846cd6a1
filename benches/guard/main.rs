//! Cost of a hot request, in counts: instructions, allocations and system calls. Counts do not depend on the
//! load of the machine, so they can serve as a check.
//!
//! `cargo bench --bench guard` compares them with the bounds in `benches/guard/bounds.txt` and exits with 1
//! if one is exceeded; `-- --record` writes new bounds, a twentieth above the counts.
//!
//! - Instructions are those of `benches/hot.rs` under callgrind: a hit from the bytes of the request to the
//!   bytes of its answer, without the kernel.
//! - Allocations are those of the loop thread, with the whole server in this process.
//! - System calls are those of the program under strace, without waits.
//!
//! Allocations are counted with an access log too, for a copy and for a mapped file, of requests that are answered
//! from another path than their own, and of answers with a field that depends on the Origin of the request. `tests/it/counts.rs`
//! checks that each such hit is exactly two calls.
//!
//! Each is counted for few and for many requests: the difference excludes the fixed cost.

mod client;
#[path = "../hot.rs"]
// Shared with benches of single parts, so some items are unused here.
#[allow(dead_code, unreachable_pub)]
mod hot;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use hot::{Hot, KINDS};

/// Requests of the short and of the long run.
const SHORT: usize = 400;
const LONG: usize = 2_400;
/// Recorded bounds exceed the counts by this factor: compiler versions may differ.
const SLACK: f64 = 1.05;
/// Length of a file that is mapped: too long to be copied.
const MAPPED_LENGTH: usize = 8 << 10;
const BOUNDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/guard/bounds.txt");

/// Cost of one request.
struct Cost {
    instructions: f64,
    allocations: f64,
    system_calls: f64,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, kind, count] = &words[..]
        && word == "work"
    {
        work(
            kind.parse().expect("a place"),
            count.parse().expect("a count"),
        );
        return ExitCode::SUCCESS;
    }
    let missing: Vec<&str> = ["valgrind", "strace"]
        .into_iter()
        .filter(|program| Command::new(program).arg("--version").output().is_err())
        .collect();
    if !missing.is_empty() {
        println!("skipped: not installed: {}", missing.join(" and "));
        return match std::env::var("CI").as_deref() {
            Ok("true") => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        };
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().join("root");
    fs::create_dir(&root).expect("a root");
    fs::write(root.join("file"), [b'x'; hot::FILE_LENGTH]).expect("a file");
    fs::write(root.join("mapped"), [b'x'; MAPPED_LENGTH]).expect("a file");
    let mut counted = Vec::new();
    for (place, (name, request)) in KINDS.iter().enumerate() {
        let cost = Cost {
            instructions: per_request(|count| instructions(place, count, directory.path())),
            allocations: per_request(|count| {
                client::allocations(request, &[], count, directory.path())
            }),
            system_calls: per_request(|count| {
                client::system_calls(request, &[], count, directory.path())
            }),
        };
        println!(
            "{name}: {:.0} instructions, {:.3} allocations, {:.3} system calls",
            cost.instructions, cost.allocations, cost.system_calls
        );
        counted.push((*name, cost));
    }
    if words.iter().any(|word| word == "--record") {
        fs::write(BOUNDS, record(&counted)).expect("the bounds are written");
        return ExitCode::SUCCESS;
    }
    let logged = count_allocations(directory.path());
    match compare(&counted) {
        ExitCode::SUCCESS => logged,
        failure => failure,
    }
}

/// Counts allocations of hits where zero is promised, so nothing is recorded: of a copy and of a mapped file, with each
/// log format, of paths that lead to nothing, answered with the page of the error or from the fallback, and with one of
/// several origins allowed. The periodic work that remains, including that of the log, is less than one in a hundred requests.
fn count_allocations(directory: &Path) -> ExitCode {
    let log = format!("--access-log={}", directory.join("log").display());
    let formats = [None, Some("combined"), Some("json")].map(|format| {
        let format = format.map(|format| format!("--access-log-format={format}"));
        let both = |format| vec![log.clone(), format];
        format.map_or_else(Vec::new, both)
    });
    let logged = ["/file", "/mapped"]
        .into_iter()
        .flat_map(|path| formats.iter().map(move |options| (path, options.clone())));
    let page = vec![String::from("--error-page=404=/mapped")];
    let fallback = vec![String::from("--fallback=/file")];
    let cors = vec![String::from("--cors=https://a.test,https://b.test")];
    let others = [("/none.js", page), ("/route", fallback), ("/file", cors)];
    let mut outcome = ExitCode::SUCCESS;
    for (path, options) in logged.chain(others) {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nOrigin: https://b.test\r\nReferer: https://example.org/\r\nUser-Agent: guard/1\r\n\r\n"
        );
        let allocations =
            per_request(|count| client::allocations(&request, &options, count, directory));
        let option = options.last().map_or("", String::as_str);
        println!("GET {path} {option}: {allocations:.3} allocations");
        if allocations > 0.01 {
            println!("that is more than none");
            outcome = ExitCode::FAILURE;
        }
    }
    outcome
}

/// Answers this number of hot requests, for callgrind.
fn work(kind: usize, count: usize) {
    let mut hot = Hot::new();
    for _ in 0..count {
        assert!(hot.answer(KINDS[kind].1.as_bytes()) > 0);
    }
}

fn per_request(count: impl Fn(usize) -> u64) -> f64 {
    let (few, many) = (count(SHORT), count(LONG));
    // Counts stay far below 2^52, where f64 is exact.
    #[allow(clippy::cast_precision_loss)]
    let more = many.saturating_sub(few) as f64;
    more / (LONG - SHORT) as f64
}

/// Instructions of one run under callgrind.
fn instructions(kind: usize, count: usize, directory: &Path) -> u64 {
    let out = directory.join("callgrind");
    let done = Command::new("valgrind")
        .args(["--tool=callgrind", "-q"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().expect("this program"))
        .args(["work", &kind.to_string(), &count.to_string()])
        .status()
        .expect("valgrind runs");
    assert!(done.success(), "the work fails under callgrind");
    let text = fs::read_to_string(&out).expect("callgrind has written");
    let total = text.lines().find_map(|line| {
        let words = line
            .strip_prefix("totals: ")
            .or(line.strip_prefix("summary: "))?;
        words.split(' ').next()?.parse().ok()
    });
    total.expect("a total")
}

fn record(counted: &[(&str, Cost)]) -> String {
    let mut text = String::from(
        "# The most that a hot request may cost: instructions, allocations, system calls.\n\
         # Written by `cargo bench --bench guard -- --record`.\n",
    );
    for (name, cost) in counted {
        let _ = writeln!(
            text,
            "{name} | {:.0} | {:.3} | {:.3}",
            cost.instructions * SLACK,
            // Rare ones, such as a growing list: less than one per request.
            cost.allocations + 0.01,
            // How often a wake-up between two requests finds other work depends on the machine.
            cost.system_calls + 0.1,
        );
    }
    text
}

fn compare(counted: &[(&str, Cost)]) -> ExitCode {
    let text = fs::read_to_string(BOUNDS).unwrap_or_default();
    let mut outcome = ExitCode::SUCCESS;
    for (name, cost) in counted {
        let line = text
            .lines()
            .find(|line| line.split(" | ").next() == Some(*name));
        let words = line.unwrap_or_default().split(" | ").skip(1);
        let bounds: Vec<f64> = words.filter_map(|word| word.parse().ok()).collect();
        let [instructions, allocations, system_calls] = bounds[..] else {
            println!("{name}: no bounds in benches/guard/bounds.txt; write them with --record");
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
