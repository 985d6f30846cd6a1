//! Storage that is slow or hangs: cached files are served in their last confirmed version for a bounded time,
//! and popular ones never wait.

use std::process::Command;
use std::time::{Duration, Instant};

use super::harness::{Client, Response, Server, Site, wait_until};
use super::live_tree::{LiveTree, content};

/// Engines that never block the loop.
const ENGINES: [&str; 2] = ["uring", "threads"];

fn freshness(server: &Server, name: &str) -> u64 {
    server.numbers()["freshness"][name].as_u64().unwrap()
}

/// Requests files until all of them are held in memory.
fn hold_in_memory(server: &Server, client: &mut Client, below: &str, count: usize) {
    wait_until("they are in memory", || {
        for number in 0..count {
            let path = format!("{below}/file{number}");
            assert_eq!(client.get(&path, &[]).status, 200);
        }
        server.numbers()["caches"][1]["entries"] == count
    });
}

fn timing(response: &Response) -> &str {
    response.field("server-timing").unwrap_or_default()
}

/// Hits in memory continue for the configured time while the storage hangs, then they are 504; once it
/// answers again they are current.
#[test]
fn hits_go_on_while_the_storage_says_nothing_for_as_long_as_was_said() {
    for (engine, below) in ENGINES
        .into_iter()
        .flat_map(|engine| [(engine, ""), (engine, "/below")])
    {
        let site = Site::new();
        let at = site.path("below/x");
        let Some(tree) = LiveTree::mount_at(at.parent().unwrap()) else {
            return;
        };
        tree.publish(1);
        let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
        command.args(["--listen=127.0.0.1:0", "--disk", engine]);
        command.args(["--revalidate=200ms", "--stale=4s", "--disk-timeout=1s"]);
        // More files than concurrent revalidations.
        command.args(["--disk-depth=8", "--server-timing"]);
        let server = Server::spawn(command.arg(match below {
            "" => site.root().join("below"),
            _ => site.root(),
        }));
        hits_go_on_until_they_are_too_old(&tree, &server, below);
    }
}

fn hits_go_on_until_they_are_too_old(tree: &LiveTree, server: &Server, below: &str) {
    let mut client = server.connect();
    hold_in_memory(server, &mut client, below, 10);
    let none = format!("{below}/none");
    assert_eq!(client.get(&none, &[]).status, 404);
    assert_eq!(freshness(server, "stale_entries"), 0);
    let before = freshness(server, "stale_answers");
    tree.freeze();
    let frozen = Instant::now();
    let mut oldest = 0;
    while frozen.elapsed() < Duration::from_secs(3) {
        for number in 0..10 {
            let began = Instant::now();
            let response = client.get(&format!("{below}/file{number}"), &[]);
            assert_eq!((response.status, &response.body), (200, &content(1)));
            let waited = began.elapsed();
            assert!(waited < Duration::from_secs(1), "a hit waited {waited:?}");
            if frozen.elapsed() > Duration::from_millis(1_500) {
                assert!(timing(&response).contains("stale;dur="), "{response:?}");
                assert!(!timing(&response).contains("disk;dur="), "{response:?}");
            }
        }
        assert_eq!(client.get(&none, &[]).status, 404);
        oldest = freshness(server, "stale_oldest_ms");
    }
    assert!(oldest >= 2_500, "{oldest} ms");
    assert_eq!(freshness(server, "stale_entries"), 11);
    assert!(freshness(server, "stale_answers") >= before + 100);
    assert!(freshness(server, "worst_staleness_ms") >= oldest);
    let said = || server.errors().matches("does not answer").count();
    wait_until("it is said", || said() == 1);
    let file = format!("{below}/file3");
    wait_until("there is no answer any more", || {
        let response = client.get(&file, &[]);
        assert!([200, 504].contains(&response.status), "{response:?}");
        response.status == 504
    });
    // The age counts from the last confirmation, which was up to `--revalidate` and a slow revalidation
    // earlier.
    let lasted = frozen.elapsed();
    assert!(lasted >= Duration::from_millis(3_500), "only {lasted:?}");
    tree.publish(2);
    tree.thaw();
    for number in 0..10 {
        let path = format!("{below}/file{number}");
        wait_until("what is there now is served", || {
            let response = client.get(&path, &[]);
            assert_ne!(response.body, content(1), "no older than was said");
            response.body == content(2)
        });
    }
    wait_until("all of it is confirmed", || {
        client.get(&none, &[]).status == 404 && freshness(server, "stale_entries") == 0
    });
    assert_eq!(said(), 1, "once");
}

/// Popular files are revalidated before they expire: no request waits though each operation takes 20 ms.
#[test]
fn hits_of_slow_storage_wait_for_nothing() {
    for engine in ENGINES {
        let Some(tree) = LiveTree::mount() else {
            return;
        };
        tree.publish(1);
        let server = tree.serve(engine, &["--server-timing"]);
        let mut client = server.connect();
        hold_in_memory(&server, &mut client, "", 5);
        tree.set_delay(Duration::from_millis(20));
        let began = Instant::now();
        let (mut requests, mut waits) = (0_u32, 0_u32);
        while began.elapsed() < Duration::from_secs(4) {
            for number in 0..5 {
                let response = client.get(&format!("/file{number}"), &[]);
                assert_eq!(response.body, content(1));
                waits += u32::from(timing(&response).contains("disk;dur="));
                requests += 1;
            }
        }
        // On a machine that stalls for half a second there may be no request in time.
        assert!(waits * 100 < requests, "{waits} of {requests} waited");
        tree.publish(2);
        let published = Instant::now();
        wait_until("a change is seen", || {
            client.get("/file0", &[]).body == content(2)
        });
        let took = published.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?} for a second");
    }
}

/// An entry idle for longer than `--revalidate` is revalidated first if the storage is healthy.
#[test]
fn idle_entries_are_revalidated_before_use() {
    for engine in ENGINES {
        let Some(tree) = LiveTree::mount() else {
            return;
        };
        tree.publish(1);
        let server = tree.serve(engine, &["--revalidate=1s", "--server-timing"]);
        let mut client = server.connect();
        hold_in_memory(&server, &mut client, "", 1);
        for version in 2..5 {
            let rests = Instant::now();
            wait_until("it has rested", || {
                rests.elapsed() > Duration::from_millis(1_100)
            });
            tree.publish(version);
            let asked = Instant::now();
            let response = client.get("/file0", &[]);
            if response.body != content(version) {
                // Unless the machine is too busy for a revalidation within a quarter of a second.
                let waited = asked.elapsed();
                assert!(timing(&response).contains("stale;dur="), "{response:?}");
                assert!(waited >= Duration::from_millis(250), "{waited:?}");
            }
        }
    }
}

/// With `--stale=0` requests wait up to their time-out.
#[test]
fn without_stale_answers_requests_wait_for_the_storage() {
    for (engine, words) in ENGINES.into_iter().flat_map(|engine| {
        [
            ["--stale=0", "--revalidate=50ms"],
            ["--stale=60s", "--revalidate=0"],
        ]
        .map(|words| (engine, words))
    }) {
        let Some(tree) = LiveTree::mount() else {
            return;
        };
        tree.publish(1);
        let words = [&words[..], &["--disk-timeout=300ms"]].concat();
        let server = tree.serve(engine, &words);
        let mut client = server.connect();
        hold_in_memory(&server, &mut client, "", 1);
        tree.freeze();
        wait_until("the entry is too old", || {
            client.get("/file0", &[]).status == 504
        });
        assert_eq!(client.get("/file0", &[]).status, 504);
        tree.publish(2);
        tree.thaw();
        wait_until("it goes on", || {
            client.get("/file0", &[]).body == content(2)
        });
        assert_eq!(freshness(&server, "stale_answers"), 0);
    }
}

/// Failing storage is handled like hanging storage.
#[test]
fn hits_go_on_while_the_storage_fails() {
    for engine in ENGINES {
        let Some(tree) = LiveTree::mount() else {
            return;
        };
        tree.publish(1);
        let words = ["--revalidate=50ms", "--stale=3s"];
        let server = tree.serve(engine, &words);
        let mut client = server.connect();
        hold_in_memory(&server, &mut client, "", 3);
        tree.set_failing(true);
        let failing = Instant::now();
        let mut statuses = [0_u32; 2];
        while failing.elapsed() < Duration::from_secs(4) {
            let response = client.get("/file1", &[]);
            match response.status {
                200 => assert_eq!(response.body, content(1)),
                status => {
                    assert_eq!(status, 500);
                    let lasted = failing.elapsed();
                    assert!(lasted > Duration::from_millis(2_900), "only {lasted:?}");
                }
            }
            statuses[usize::from(response.status == 500)] += 1;
        }
        assert!(statuses.iter().all(|count| *count > 10), "{statuses:?}");
        assert_eq!(client.get("/file9", &[]).status, 500);
        tree.publish(2);
        tree.set_failing(false);
        wait_until("it goes on", || {
            client.get("/file1", &[]).body == content(2)
        });
    }
}
