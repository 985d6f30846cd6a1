//! The memory budget: its size, its use, and what is evicted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use super::harness::{Server, Site, engines, not_beside_others, skip, wait_until};

/// The memory numbers at /status.
pub fn memory(server: &Server) -> Value {
    server.numbers()["memory"].clone()
}

pub fn count(numbers: &Value, name: &str) -> u64 {
    let value = numbers.pointer(&format!("/{name}"));
    value
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("{name} in {numbers}"))
}

#[test]
fn the_budget_is_shown_with_what_is_used_of_it() {
    let site = Site::new();
    site.file("a", vec![b'a'; 1_000]);
    let server = Server::start(&site, &["--memory", "64MiB"]);
    assert_eq!(server.get("/a").status, 200);
    let numbers = memory(&server);
    assert_eq!(count(&numbers, "budget_bytes"), 64 << 20);
    let allocated = count(&numbers, "allocated_bytes");
    assert!((1 << 20..32 << 20).contains(&allocated), "{numbers}");
    assert!(count(&numbers, "parts/program") > 1 << 17, "{numbers}");
    let resident = count(&numbers, "resident_bytes");
    assert!(
        resident >= count(&numbers, "resident_own_bytes"),
        "{numbers}"
    );
    let of_us = fs::read_to_string(format!("/proc/{}/statm", server.pid())).unwrap();
    let pages: u64 = of_us.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(resident.abs_diff(pages * 4_096) < 16 << 20, "{numbers}");
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    let has = |line: &str| metrics.lines().any(|other| other.starts_with(line));
    assert!(
        has("spede_memory_budget_bytes{} 67108864") || has("spede_memory_budget_bytes 67108864")
    );
    assert!(
        has("spede_memory_used_bytes{part=\"program\"}") && has("spede_memory_limit_bytes{source=")
    );
}

#[test]
fn sizes_beyond_memory_are_reported_at_the_start() {
    let site = Site::new();
    let server = Server::start(&site, &[]);
    assert_eq!(server.errors(), "", "defaults are no wish");
    let words = [
        "--map-cache",
        "8000GiB",
        "--path-cache",
        "16777216",
        "--connections",
        "10000",
        "--memory",
        "64MiB",
    ];
    let server = Server::start(&site, &words);
    server.get("/");
    let errors = server.errors();
    let said = |words: &str| {
        errors
            .lines()
            .any(|line| line.starts_with("spede: ") && line.contains(words))
    };
    assert!(
        said("--map-cache: ") && said("less than the requested 7.8 TiB"),
        "{errors}"
    );
    assert!(
        said("--path-cache: 16777216 entries take at least 2.3 GiB"),
        "{errors}"
    );
    assert!(
        said("--connections: the budget of 64 MiB has room for 6990 of the 10000 requested"),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 3, "{errors}");
    let server = Server::start(&site, &["--memory", "8000GiB"]);
    server.get("/");
    assert!(
        server.errors().contains("--memory: "),
        "{}",
        server.errors()
    );
}

/// Requests all of `count` files of `length` bytes, `rounds` times, on several connections. Each answer must
/// be correct.
fn ask_for_all(server: &Server, count: usize, length: usize, rounds: usize) {
    let ask = |first: usize| {
        let mut client = server.connect();
        for number in (0..rounds).flat_map(|_| (first..count).step_by(CLIENT_COUNT)) {
            let response = client.get(&name(number), &[]);
            let answer = (response.status, response.body.len());
            assert_eq!(answer, (200, length), "{number}");
        }
    };
    let is_answered = thread::scope(|scope| {
        let clients = (0..CLIENT_COUNT).map(|first| scope.spawn(move || ask(first)));
        let clients: Vec<_> = clients.collect();
        let ends: Vec<bool> = clients
            .into_iter()
            .map(|client| client.join().is_ok())
            .collect();
        ends.into_iter().all(|is_right| is_right)
    });
    assert!(is_answered, "{}", server.errors());
}

const CLIENT_COUNT: usize = 8;

fn name(number: usize) -> String {
    format!("/{}/{number}", number / 1_000)
}

fn site_of(count: usize, length: usize) -> Site {
    let site = Site::new();
    let bytes = vec![b'x'; length];
    for number in 0..count {
        fs::write(site.path(&name(number)[1..]), &bytes).unwrap();
    }
    site
}

/// Memory used of the budget, including the kernel's share.
pub fn used(numbers: &Value) -> u64 {
    count(numbers, "allocated_bytes") + count(numbers, "kernel_bytes")
}

#[test]
fn caches_shrink_within_the_budget_and_all_requests_are_answered() {
    let site = site_of(6_000, 4_096);
    for engine in engines() {
        let words = ["--memory", "16MiB", "--revalidate", "1h", "--disk", engine];
        let server = Server::start(&site, &words);
        ask_for_all(&server, 6_000, 4_096, 3);
        let numbers = memory(&server);
        let budget = 16 << 20;
        // Allocations of the current iteration, and the page with the numbers.
        assert!(used(&numbers) < budget + (1 << 20), "{engine}: {numbers}");
        assert!(
            used(&numbers) > budget / 2,
            "{engine}: no more than need be: {numbers}"
        );
        assert!(count(&numbers, "given_way") > 1_000, "{engine}: {numbers}");
        let evicted = server.numbers()["caches"][0]["evictions_by"]["budget"].as_u64();
        assert!(evicted > Some(0), "{engine}: the cause is told");
    }
}

/// The limit of a running server is lowered to its current use, so that further allocations fail.
#[test]
fn memory_that_the_system_refuses_ends_nothing() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};
    let site = site_of(24_000, 4_096);
    for (resource, of_proc) in [(Resource::As, "VmSize:"), (Resource::Data, "VmData:")] {
        for engine in ["uring", "threads"] {
            let words = ["--memory", "2GiB", "--revalidate", "1h", "--disk", engine];
            let server = Server::start(&site, &words);
            ask_for_all(&server, 1_000, 4_096, 2);
            let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix(of_proc))
                .unwrap();
            let kib: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
            let limit = Some((kib << 10) + (1 << 20));
            let pid = Pid::from_raw(server.pid().cast_signed());
            let limits = Rlimit {
                current: limit,
                maximum: limit,
            };
            prlimit(pid, resource, limits).unwrap();
            ask_for_all(&server, 24_000, 4_096, 2);
            let numbers = memory(&server);
            assert!(
                count(&numbers, "allocation_failures") > 0,
                "{engine}: {numbers}"
            );
            assert!(count(&numbers, "given_way") > 0, "{engine}: {numbers}");
        }
    }
}

/// A control group with a limit, or the reason why there is none. Removed when dropped, once it is empty.
pub struct Group(PathBuf);

impl Group {
    pub fn limited(bytes: u64) -> Result<Group, String> {
        let name = format!("spede-test-{}-{bytes}", std::process::id());
        let places = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        let mut reason = String::from("no control groups");
        for (mount, file) in places {
            let group = Path::new(mount).join(&name);
            if !Path::new(mount).join("cgroup.procs").exists() {
                continue;
            }
            let made = fs::create_dir(&group).and_then(|()| {
                fs::write(group.join(file), bytes.to_string())?;
                Ok(Group(group.clone()))
            });
            match made {
                Ok(made) => return Ok(made),
                Err(error) => {
                    let _ = fs::remove_dir(&group);
                    reason = format!("{}: {error}", group.display());
                }
            }
        }
        Err(reason)
    }

    /// Changes the limit. Version 1 refuses a limit below the memory that the kernel cannot reclaim (EBUSY).
    pub fn limit(&self, bytes: u64) -> std::io::Result<()> {
        let files = ["memory.limit_in_bytes", "memory.max"].map(|file| self.0.join(file));
        let file = files.iter().find(|file| file.exists()).unwrap();
        fs::write(file, bytes.to_string())
    }

    /// Starts a server in it.
    pub fn serve(&self, site: &Site, words: &[&str]) -> Server {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
        command.arg(self.0.join("cgroup.procs"));
        command.args([env!("CARGO_BIN_EXE_spede"), "--listen", "127.0.0.1:0"]);
        Server::spawn(command.args(words).arg(site.root()))
    }

    /// Number of OOM kills.
    pub fn kills(&self) -> u64 {
        let files = ["memory.oom_control", "memory.events"];
        let texts = files.map(|file| fs::read_to_string(self.0.join(file)).unwrap_or_default());
        let mut lines = texts.iter().flat_map(|text| text.lines());
        let count = lines.find_map(|line| line.strip_prefix("oom_kill "));
        count.unwrap().parse().unwrap()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        wait_until("the group is empty", || fs::remove_dir(&self.0).is_ok());
    }
}

/// With the defaults, whatever memory those sizes would need.
#[test]
fn a_small_container_answers_everything_and_nobody_is_killed() {
    let _alone = not_beside_others();
    let many = site_of(40_000, 4_096);
    let short = site_of(60_000, 200);
    for (mib, engine) in [(128, "uring"), (64, "threads")] {
        for (site, count_of, length) in [(&many, 40_000, 4_096), (&short, 60_000, 200)] {
            let group = match Group::limited(mib << 20) {
                Ok(group) => group,
                Err(reason) => return skip(&reason),
            };
            let server = group.serve(site, &["--disk", engine]);
            let before = memory(&server);
            assert_eq!(count(&before, "limit_bytes"), mib << 20, "{before}");
            assert_eq!(before["limit_source"], "cgroup");
            ask_for_all(&server, count_of, length, 3);
            assert_eq!(group.kills(), 0, "{engine} in {mib} MiB");
            let numbers = memory(&server);
            assert!(used(&numbers) <= (mib << 19) + (1 << 20), "{numbers}");
            drop(server);
        }
    }
}

/// Resident anonymous memory of a process, in bytes.
fn resident_own(server: &Server) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{}/statm", server.pid())).unwrap();
    let pages: Vec<u64> = statm.split(' ').flat_map(str::parse).collect();
    (pages[1] - pages[2]) * 4_096
}

#[test]
fn an_idle_server_has_little_resident_that_it_does_not_use() {
    let _alone = not_beside_others();
    let group = match Group::limited(256 << 20) {
        Ok(group) => group,
        Err(reason) => return skip(&reason),
    };
    let server = group.serve(&Site::new(), &[]);
    wait_until("residence is measured", || {
        count(&memory(&server), "resident_own_bytes") > 0
    });
    let allocated = count(&memory(&server), "allocated_bytes");
    let resident = resident_own(&server);
    assert!(
        resident < allocated + (3 << 20),
        "{resident} of {allocated}"
    );
}

#[test]
fn free_memory_goes_back_to_the_system() {
    let _alone = not_beside_others();
    for engine in ["uring", "threads"] {
        let site = site_of(12_000, 4_096);
        let group = match Group::limited(128 << 20) {
            Ok(group) => group,
            Err(reason) => return skip(&reason),
        };
        let server = group.serve(&site, &["--disk", engine]);
        ask_for_all(&server, 12_000, 4_096, 2);
        let full = memory(&server);
        assert!(used(&full) > 50 << 20, "{engine}: {full}");
        for directory in 0..12 {
            let path = site.path(&directory.to_string());
            fs::remove_dir_all(path).unwrap();
        }
        wait_until("the entries are gone", || {
            count(&memory(&server), "allocated_bytes") < 30 << 20
        });
        wait_until("free memory is gone", || {
            let numbers = memory(&server);
            resident_own(&server) < count(&numbers, "allocated_bytes") + (6 << 20)
        });
        assert_eq!(group.kills(), 0, "{engine}");
    }
}

/// Sets a flag when it is dropped.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// As an operator would do it if the kernel refuses: in steps, each as soon as it is accepted.
#[test]
fn caches_give_way_when_the_limit_of_a_running_server_is_lowered() {
    let _alone = not_beside_others();
    let site = site_of(12_000, 4_096);
    for engine in ["uring", "threads"] {
        let group = match Group::limited(256 << 20) {
            Ok(group) => group,
            Err(reason) => return skip(&reason),
        };
        let server = group.serve(&site, &["--disk", engine]);
        ask_for_all(&server, 12_000, 4_096, 2);
        assert!(used(&memory(&server)) > 50 << 20, "{engine}");
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    ask_for_all(&server, 12_000, 4_096, 1);
                }
            });
            // Ends even if a wait fails.
            let _over = Over(&is_over);
            for mib in [128, 96, 80, 64, 48] {
                wait_until("the limit is taken", || group.limit(mib << 20).is_ok());
                wait_until("the caches have given way", || {
                    let numbers = memory(&server);
                    count(&numbers, "limit_bytes") == mib << 20
                        && used(&numbers) <= (mib << 19) + (1 << 20)
                });
            }
        });
        assert_eq!(group.kills(), 0, "{engine}");
    }
}
