//! Cost of a hot request, counted in system calls of the loop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::harness::{Client, Server, Site, engines, is_installed, skip, wait_until};

/// Requests per measurement.
const COUNT: usize = 500;

/// After an iteration of this duration the loop may read its count of sleeps: a little less than in the
/// server, to allow for rounding.
const LONG_SECONDS: f64 = 0.000_9;

/// The system calls of the loop thread, recorded by strace.
struct Trace {
    strace: Child,
    file: PathBuf,
}

impl Trace {
    /// Starts recording; `None` if strace may not attach.
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

    /// Stops recording and returns the calls.
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
    /// Start and end, in seconds.
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
        // A call that had begun before strace attached, or never ended, has no duration.
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

/// Requests a file between two marker requests that can be found in the trace; returns the duration.
fn ask(client: &mut Client, path: &str, count: usize, name: &str) -> Duration {
    let began = Instant::now();
    client.get(&format!("/begin-{name}"), &[]);
    for _ in 0..count {
        assert_eq!(client.get(path, &[]).status, 200);
    }
    client.get(&format!("/end-{name}"), &[]);
    began.elapsed()
}

/// The calls between those two markers.
fn between<'a>(calls: &'a [Call], name: &str) -> &'a [Call] {
    let place = |word: &str| {
        let request = format!("GET /{word}-{name} ");
        let is_marker = |call: &Call| call.name() == "recvfrom" && call.text.contains(&request);
        calls.iter().position(is_marker).unwrap()
    };
    &calls[place("begin") + 1..place("end")]
}

/// Number of calls by name.
fn counted(calls: &[Call]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for call in calls {
        *counts.entry(call.name().to_owned()).or_insert(0) += 1;
    }
    counts
}

/// Number of iterations long enough for the loop to read its count of sleeps. The time between two waits in
/// the trace is an upper bound of their duration.
fn long_iterations(calls: &[Call]) -> usize {
    let waits: Vec<&Call> = calls.iter().filter(|call| call.is_wait()).collect();
    let is_long = |pair: &&[&Call]| pair[1].began - pair[0].ended >= LONG_SECONDS;
    waits.windows(2).filter(is_long).count()
}

/// A copy is sent in one piece with its head, a mapped file in two: two calls either way, and the wait.
/// Periodic calls, independent of the number of requests, are bounded by the time.
fn assert_two_calls_each(made: &[Call], send: &str, took: Duration, engine: &str) {
    let calls = &counted(made);
    let of = |name: &str| calls.get(name).copied().unwrap_or(0);
    assert_eq!(of("recvfrom"), COUNT, "{engine}: {calls:?}");
    // The response to the first marker, a short page, is sent in one piece too.
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
    // Counts are read after iterations that strace or the machine made long; otherwise the time decides, not
    // the number of requests.
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
        // Submitting jobs, including those of the log.
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
            // After an idle second: a copy needs no check of residency.
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
