//! What a hot request costs, counted in system calls of the loop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::harness::{Client, Server, Site, engines, is_installed, skip, wait_until};

/// Requests that are counted at a time.
const COUNT: usize = 500;

/// After an iteration of the loop of this length the kernel may be asked whether it slept: a little less than in the
/// server, for what is lost in rounding.
const LONG_SECONDS: f64 = 0.000_9;

/// The calls of the thread of the loop, as strace writes them down.
struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    /// Begins to write down; `None` where strace may not attach.
    fn begin(server: &Server, site: &Site) -> Option<Trace> {
        let file = site.beside("strace");
        let mut strace = Command::new("strace")
            .args(["-s", "64", "-ttt", "-T", "-o"])
            .arg(&file)
            .args(["-p", &server.pid().to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", server.pid());
        wait_until("strace is attached", || {
            let traced = std::fs::read_to_string(&status).unwrap();
            !traced.contains("TracerPid:\t0\n") || strace.try_wait().unwrap().is_some()
        });
        let is_attached = strace.try_wait().unwrap().is_none();
        is_attached.then_some(Trace { strace, file })
    }

    /// Ends it and gives the calls.
    fn end(mut self) -> Vec<Call> {
        let tracer = rustix::process::Pid::from_child(&self.strace);
        rustix::process::kill_process(tracer, rustix::process::Signal::INT).unwrap();
        wait_until("strace has written", || {
            self.strace.try_wait().unwrap().is_some()
        });
        let text = std::fs::read_to_string(&self.file).unwrap();
        text.lines().filter_map(Call::of).collect()
    }
}

/// One call: `1764150000.123456 epoll_wait(3, …) = 1 <0.000123>`.
struct Call {
    /// When it began and ended, in seconds.
    began: f64,
    ended: f64,
    text: String,
}

impl Call {
    fn of(line: &str) -> Option<Call> {
        let (began, text) = line.split_once(' ')?;
        let began = began.parse().ok()?;
        let took = text
            .rsplit_once('<')
            .map_or("", |(_, took)| took.trim_end_matches('>'));
        // One that had begun before strace was there, or never ended, has no length.
        let took: f64 = took.parse().unwrap_or(0.0);
        Some(Call {
            began,
            ended: began + took,
            text: text.to_owned(),
        })
    }

    fn name(&self) -> &str {
        self.text.split('(').next().unwrap()
    }

    fn is_wait(&self) -> bool {
        ["epoll_wait", "restart_syscall"].contains(&self.name())
    }
}

/// Asks for a file between two requests that can be found again in the trace, and gives how long it took.
fn ask(client: &mut Client, path: &str, count: usize, name: &str) -> Duration {
    let began = Instant::now();
    client.get(&format!("/begin-{name}"), &[]);
    for _ in 0..count {
        assert_eq!(client.get(path, &[]).status, 200);
    }
    client.get(&format!("/end-{name}"), &[]);
    began.elapsed()
}

/// What was called between those two requests were received.
fn between<'a>(calls: &'a [Call], name: &str) -> &'a [Call] {
    let place = |word: &str| {
        let request = format!("GET /{word}-{name} ");
        let is_marker = |call: &Call| call.name() == "recvfrom" && call.text.contains(&request);
        calls.iter().position(is_marker).unwrap()
    };
    &calls[place("begin") + 1..place("end")]
}

/// How often each call was made.
fn counted(calls: &[Call]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(call.name().to_owned()).or_insert(0) += 1;
    }
    counts
}

/// Iterations of the loop that took so long that the kernel may be asked about each. They were no longer than the
/// time between two waits that strace has seen.
fn long_iterations(calls: &[Call]) -> usize {
    let waits: Vec<&Call> = calls.iter().filter(|call| call.is_wait()).collect();
    let is_long = |pair: &&[&Call]| pair[1].began - pair[0].ended >= LONG_SECONDS;
    waits.windows(2).filter(is_long).count()
}

/// A copy goes with its head in one piece, a mapped file in two: two calls either way, and the wait. What is
/// done once in a while beside them, however many requests there are, is bounded by the time.
fn assert_two_calls_each(made: &[Call], send: &str, took: Duration, engine: &str) {
    let calls = &counted(made);
    let of = |name: &str| calls.get(name).copied().unwrap_or(0);
    assert_eq!(of("recvfrom"), COUNT, "{engine}: {calls:?}");
    // The first marker's answer, a short page, goes in one piece as well.
    assert_eq!(
        of("sendto") + of("writev"),
        COUNT + 1,
        "{engine}: {calls:?}"
    );
    assert!(of(send) >= COUNT, "{engine}: {send}: {calls:?}");
    let intervals = usize::try_from(took.as_millis() / 100).unwrap() + 3;
    let waits = of("epoll_wait") + of("restart_syscall");
    assert!(waits <= COUNT + 1 + 4 * intervals, "{engine}: {calls:?}");
    if engine == "blocking" {
        return;
    }
    // Asked about are those that strace or the machine has made long; else the time decides, not the requests.
    let asked_max = long_iterations(made) + 3 * intervals;
    assert!(
        of("getrusage") <= asked_max,
        "{engine}: {asked_max}: {calls:?}"
    );
    let known = [
        "getrusage",
        "recvfrom",
        "sendto",
        "writev",
        "epoll_wait",
        "restart_syscall",
    ];
    let mut others = 0;
    for (name, count) in calls
        .iter()
        .filter(|(name, _)| !known.contains(&name.as_str()))
    {
        // Jobs are handed over, the log's among them.
        let handed = ["write", "futex", "io_uring_enter"].contains(&name.as_str());
        assert!(handed, "{engine}: {name} on the way of a hit: {calls:?}");
        others += count;
    }
    assert!(others <= 6 * intervals, "{engine}: {calls:?}");
}

#[test]
fn a_hit_is_two_system_calls_of_a_copy_and_a_mapping_with_and_without_a_log() {
    if !is_installed("strace") {
        return skip("strace is not installed");
    }
    let logs: [&[&str]; 3] = [
        &[],
        &["--access-log-format", "combined"],
        &["--access-log-format", "json"],
    ];
    for engine in engines() {
        for log in logs {
            let site = Site::new();
            site.file("copy", vec![b'c'; 1_024]);
            site.file("mapped", vec![b'm'; 8 << 10]);
            let path = site.beside("log").to_str().unwrap().to_owned();
            let mut words = vec!["--disk", engine];
            if !log.is_empty() {
                words.extend(["--access-log", &path]);
                words.extend(log);
            }
            let server = Server::start(&site, &words);
            let mut client = server.connect();
            wait_until("both are in memory", || {
                for path in ["/copy", "/mapped"] {
                    assert_eq!(client.get(path, &[]).status, 200);
                }
                server.numbers()["caches"][1]["entries"] == 2
            });
            let Some(trace) = Trace::begin(&server, &site) else {
                return skip("strace may not attach here");
            };
            let copied = ask(&mut client, "/copy", COUNT, "copy");
            let mapped = ask(&mut client, "/mapped", COUNT, "mapped");
            // What rested for a second: of a copy there is nothing to ask.
            let rested = Instant::now();
            wait_until("they have rested", || {
                rested.elapsed() > Duration::from_millis(1_500)
            });
            ask(&mut client, "/copy", 1, "rested-copy");
            ask(&mut client, "/mapped", 1, "rested-mapped");
            let made = trace.end();
            assert_two_calls_each(between(&made, "copy"), "sendto", copied, engine);
            assert_two_calls_each(between(&made, "mapped"), "writev", mapped, engine);
            let asked = |name| {
                let calls = between(&made, name).iter();
                calls.filter(|call| call.name() == "ioctl").count()
            };
            assert_eq!(asked("rested-copy"), 0, "{engine} {log:?}");
            assert!(asked("rested-mapped") <= 1, "{engine} {log:?}");
        }
    }
}
