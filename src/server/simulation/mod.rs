//! Whole runs of the server in virtual time: the real store, driver, connections and jobs, between clients, a writer
//! and a disk that all follow from one seed.
//!
//! ```text
//!   clients ──bytes──► Wire, Driver, Connections ──asks──► Store ──jobs──► FakeDisk ──► Tree ◄── writer
//!      ▲                      │                              │ probe ──────────────────►  ▲
//!      └───────checked────────┘                              └──────── events ◄───────────┘
//! ```
//!
//! Each answer is compared with what its path has led to ([`history`]), within the bound on staleness that
//! docs/specification.md has ([`Profile::trust`]). A failing seed is named, and replays: docs/contributing.md.
//! Not simulated: another root, mounts, symbolic links, writes without an event, and `If-Modified-Since`.

mod check;
mod client;
mod content;
mod disk;
mod history;
mod probe;
mod profile;
mod random;
mod response;
mod server;
mod tree;
mod world;
mod writer;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use check::Checker;
use profile::Profile;
use random::Random;
use world::World;

/// Requests that are answered at least, over all seeds, where no seeds are asked for.
const REQUEST_COUNT: u64 = 100_000;
/// Requests of one seed.
const REQUEST_COUNT_OF_SEED: u64 = 2_000;

/// Runs a seed, and names it if it fails.
fn run(seed: u64) -> Checker {
    let directory = tempfile::tempdir().expect("a directory");
    let world = || World::new(seed, REQUEST_COUNT_OF_SEED, directory.path()).run();
    catch_unwind(AssertUnwindSafe(world)).unwrap_or_else(|cause| {
        let text = cause.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
        panic!(
            "seed {seed} fails: {}\n{:?}\nagain: SPEDE_SEED={seed} cargo test --lib simulation",
            text.unwrap_or("no reason is given"),
            Profile::new(&mut Random::new(seed))
        )
    })
}

/// Runs seeds on all processors. Returns how many answers had which status, and how many were pages of directories.
fn run_all(seeds: std::ops::RangeInclusive<u64>) -> (BTreeMap<u16, u64>, u64) {
    let (next, by_status) = (AtomicU64::new(*seeds.start()), Mutex::new(BTreeMap::new()));
    let page_count = AtomicU64::new(0);
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !seeds.contains(&seed) {
                return;
            }
            let checker = run(seed);
            page_count.fetch_add(checker.page_count, Ordering::Relaxed);
            let mut by_status = by_status.lock().expect("no other seed has failed");
            for (status, count) in checker.by_status {
                *by_status.entry(status).or_default() += count;
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    let by_status = by_status.into_inner().expect("no seed has failed");
    (by_status, page_count.into_inner())
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number")),
    )
}

#[test]
fn whatever_happens_each_request_is_answered_once_from_one_version_in_time() {
    let first = number("SPEDE_SEED").unwrap_or(1);
    let count = match (number("SPEDE_SEED"), number("SPEDE_SEEDS")) {
        (_, Some(count)) => count,
        (Some(_), None) => 1,
        (None, None) => REQUEST_COUNT / REQUEST_COUNT_OF_SEED,
    };
    let (by_status, page_count) = run_all(first..=first + count.max(1) - 1);
    let answered: u64 = by_status.values().sum();
    assert!(answered >= count * REQUEST_COUNT_OF_SEED);
    if count >= REQUEST_COUNT / REQUEST_COUNT_OF_SEED {
        // Each kind of answer is given, and errors are the exception.
        for status in [200, 206, 301, 304, 404, 416, 500, 503] {
            let is_given = by_status.contains_key(&status);
            assert!(is_given, "no {status} among {by_status:?}");
        }
        assert!(page_count > 0, "no directory was listed");
        let failed: u64 = by_status.range(500..).map(|(_, count)| count).sum();
        assert!(failed * 10 < answered, "too many failed: {by_status:?}");
    }
}

#[test]
fn one_seed_is_one_run() {
    // Watched and polled, on storage that is slow or fails.
    for seed in [3, 4, 10] {
        let (first, second) = (run(seed), run(seed));
        assert_eq!(first.digest, second.digest, "seed {seed}");
        assert_eq!(first.by_status, second.by_status, "seed {seed}");
    }
}
