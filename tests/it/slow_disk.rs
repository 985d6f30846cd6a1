//! While the disk crawls, hot requests go on: counted, not timed.
//!
//! While something waits for a disk of 150 ms an operation, a client asks for a hot file again and
//! again; what counts is how many answers it gets meanwhile. An engine that leaves the loop free
//! lets hundreds through and has counted no sleep outside its wait; `blocking` lets through next
//! to none, which shows that the test can fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::harness::{Client, Content, PATIENCE, Server, not_beside_others, wait_until};
use super::slow_tree::{BIG_LENGTH, DELAY, SMALL_LENGTH, SlowTree};

/// Hot answers during one delay: with a free loop there is time for thousands.
const FREE_COUNT_MIN: usize = 100;
/// With a loop that waits there is time between its waits only.
const HELD_COUNT_MAX: usize = 50;

/// Runs of one engine before it has slept too often.
const ATTEMPTS: usize = 3;

/// Engines that never make the loop wait.
const FREE_ENGINES: [&str; 2] = ["uring", "threads"];

/// A client whose next request is a hot one.
fn hot_client(server: &Server) -> Client {
    let mut hot = server.connect();
    for _ in 0..3 {
        assert_eq!(hot.get("/hot/file", &[]).body.len(), 1_024);
    }
    hot
}

/// Hot answers until something is over.
fn hot_answers_until(hot: &mut Client, is_over: impl Fn() -> bool) -> usize {
    let deadline = Instant::now() + PATIENCE;
    let mut count = 0;
    while !is_over() {
        assert!(Instant::now() < deadline, "it is never over");
        assert_eq!(hot.get("/hot/file", &[]).status, 200);
        count += 1;
    }
    count
}

/// What is asked of the disk: a request and what its answer must be.
struct Cold {
    request: String,
    status: u16,
    /// Of the content, where it is known.
    length: Option<usize>,
}

/// Hot answers between a cold request and its answer.
fn hot_answers_during(server: &Server, cold: &Cold) -> usize {
    let mut hot = hot_client(server);
    let mut client = server.connect();
    let answered = AtomicBool::new(false);
    client.send(cold.request.as_bytes());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let response = client.response(Content::Expected).unwrap();
            answered.store(true, Ordering::Release);
            assert_eq!(response.status, cold.status, "{}", cold.request);
            if let Some(length) = cold.length {
                assert_eq!(response.body.len(), length, "{}", cold.request);
            }
        });
        hot_answers_until(&mut hot, || answered.load(Ordering::Acquire))
    })
}

fn get(path: &str, field: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{field}\r\n")
}

/// What a cold request can be, by a number that makes its names new.
fn cold_requests(round: usize) -> Vec<Cold> {
    let cold = |path: &str, field: &str, status, length| Cold {
        request: get(&path.replace('#', &round.to_string()), field),
        status,
        length,
    };
    let range = "Range: bytes=3000000-3000999\r\n";
    vec![
        cold("/cold/small#", "", 200, Some(SMALL_LENGTH)),
        cold("/cold/none#", "", 404, None),
        cold("/cold/dir#", "", 301, None),
        cold("/cold/dir#/", "", 200, Some(SMALL_LENGTH)),
        cold("/cold/bare#/", "", 200, None),
        // Seen before and no longer trusted: it is checked.
        cold("/cold/small#", "", 200, Some(SMALL_LENGTH)),
        cold("/cold/broken#", "", 500, None),
        cold("/cold/big#", "", 200, Some(BIG_LENGTH)),
        cold("/cold/big9#", range, 206, Some(1_000)),
    ]
}

/// How often the loop has slept outside its wait.
fn sleeps(server: &Server) -> u64 {
    server.numbers()["loop"]["sleeps_outside_poll"]
        .as_u64()
        .unwrap()
}

/// Runs what must not make the loop sleep outside its wait. A kernel that reclaims memory early, as
/// virtual machines are made to, may take a page in the moment between its being read and its being
/// sent. That is rare, so it does not happen again and again.
fn without_sleep(engine: &str, attempt: impl Fn(usize) -> Server) {
    let mut last = None;
    for number in 0..ATTEMPTS {
        let server = attempt(number);
        if sleeps(&server) == 0 {
            return;
        }
        last = Some(server.numbers()["loop"].clone());
    }
    panic!("{engine}: it slept each time: {last:?}");
}

/// The longest time that the loop took between two waits.
fn longest_turn(server: &Server) -> Duration {
    let us = server.numbers()["loop"]["longest_turn_us"].as_u64();
    Duration::from_micros(us.unwrap())
}

#[test]
fn hot_requests_go_on_while_the_disk_crawls() {
    let _alone = not_beside_others();
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (place, engine) in FREE_ENGINES.into_iter().enumerate() {
        without_sleep(engine, |attempt| {
            let server = tree.serve(engine, &["--directories", "list"]);
            for cold in cold_requests(place * ATTEMPTS + attempt) {
                let count = hot_answers_during(&server, &cold);
                let request = &cold.request;
                assert!(
                    count >= FREE_COUNT_MIN,
                    "{engine}: {count} during {request}"
                );
            }
            server
        });
    }
}

#[test]
fn a_loop_that_reads_holds_everybody_up() {
    let _alone = not_beside_others();
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    let server = tree.serve("blocking", &["--directories", "list"]);
    // A long file fills its socket now and then, and the loop is free until the peer has read; a
    // file that cannot be read is noticed after its head was sent.
    let requests = &cold_requests(10)[..6];
    let held = requests.iter().filter(|cold| {
        let count = hot_answers_during(&server, cold);
        count <= HELD_COUNT_MAX
    });
    // Whoever waits for the answer may hear of it late on a machine that has much else to do.
    assert!(held.count() >= 4, "hot requests went on all the same");
    assert!(longest_turn(&server) >= DELAY);
    // Some are not told from waits: the figure is never too high.
    assert!(sleeps(&server) >= 3, "{}", server.numbers()["loop"]);
}

#[test]
fn a_mapped_file_whose_pages_are_gone_holds_nobody_up() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (place, engine) in FREE_ENGINES.into_iter().enumerate() {
        without_sleep(engine, |attempt| {
            let round = place * ATTEMPTS + attempt;
            let (server, count) = hot_answers_while_pages_are_gone(&tree, engine, round);
            assert!(count >= FREE_COUNT_MIN, "{engine}: {count}");
            // The hot one too, if it happened to rest for a second before it was first sent.
            let gone = server.numbers()["disk"]["mappings_gone"].as_u64();
            assert!(gone >= Some(1));
            server
        });
    }
    let (_server, count) = hot_answers_while_pages_are_gone(&tree, "blocking", 9);
    assert!(count <= HELD_COUNT_MAX, "blocking: {count}");
}

fn hot_answers_while_pages_are_gone(
    tree: &SlowTree,
    engine: &str,
    round: usize,
) -> (Server, usize) {
    let server = tree.serve(engine, &["--revalidate", "1h"]);
    let name = format!("small2{round}");
    let path = format!("/cold/{name}");
    let mut client = server.connect();
    let mapped = |server: &Server| server.numbers()["caches"][1]["entries"].as_u64().unwrap();
    let mut hot = hot_client(&server);
    wait_until("the hot file is mapped", || mapped(&server) == 1);
    wait_until("the cold file is mapped", || {
        assert_eq!(client.get(&path, &[]).body.len(), SMALL_LENGTH);
        mapped(&server) == 2
    });
    assert_eq!(client.get(&path, &[]).body.len(), SMALL_LENGTH);
    tree.evict(&name);
    // What was sent a moment ago is not asked about.
    let seen = Instant::now();
    hot_answers_until(&mut hot, || seen.elapsed().as_millis() > 1_200);
    let cold = Cold {
        request: get(&path, ""),
        status: 200,
        length: Some(SMALL_LENGTH),
    };
    let count = hot_answers_during(&server, &cold);
    (server, count)
}

#[test]
fn a_close_that_takes_its_time_holds_nobody_up() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    let mut engines = FREE_ENGINES.to_vec();
    engines.push("blocking");
    for (round, engine) in engines.into_iter().enumerate() {
        // Nothing is mapped, and one file is kept open: the other is closed.
        let server = tree.serve(engine, &["--map-cache", "0", "--descriptors", "1"]);
        let mut hot = server.connect();
        let mut client = server.connect();
        let begun = || tree.seen.closes_begun.load(Ordering::Acquire);
        let over = || tree.seen.closes_over.load(Ordering::Acquire);
        let before = begun();
        let path = format!("/cold/flushing{round}");
        assert_eq!(client.get(&path, &[]).body.len(), SMALL_LENGTH);
        // The hot file takes its place.
        let first = hot.get("/hot/file", &[]);
        assert_eq!(first.status, 200);
        hot_answers_until(&mut hot, || begun() > before);
        let count = hot_answers_until(&mut hot, || over() == begun());
        if engine == "blocking" {
            assert!(count <= HELD_COUNT_MAX, "{engine}: {count}");
        } else {
            assert!(count >= FREE_COUNT_MIN, "{engine}: {count}");
            assert_eq!(sleeps(&server), 0, "{engine}");
        }
    }
}

#[test]
fn a_log_on_a_slow_disk_holds_nobody_up() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    let mut engines = FREE_ENGINES.to_vec();
    engines.push("blocking");
    for (round, engine) in engines.into_iter().enumerate() {
        let log = tree.path(&format!("cold/log{round}"));
        let server = tree.serve(engine, &["--access-log", &log]);
        let mut hot = hot_client(&server);
        let writes = || tree.seen.writes.load(Ordering::Acquire);
        let before = writes();
        let count = hot_answers_until(&mut hot, || writes() >= before + 3);
        if engine == "blocking" {
            assert!(longest_turn(&server) >= DELAY, "{engine}");
        } else {
            assert!(count >= 3 * FREE_COUNT_MIN, "{engine}: {count}");
            assert_eq!(sleeps(&server), 0, "{engine}");
        }
    }
}

#[test]
fn many_who_ask_for_one_cold_file_share_one_look_at_the_disk() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (round, engine) in FREE_ENGINES.into_iter().enumerate() {
        let server = tree.serve(engine, &[]);
        let mut clients: Vec<_> = (0..1_000).map(|_| server.connect()).collect();
        let request = get(&format!("/cold/small3{round}"), "");
        for client in &mut clients {
            client.send(request.as_bytes());
        }
        // A few leave before their answer is there.
        clients.truncate(990);
        for client in &mut clients {
            let response = client.response(Content::Expected).unwrap();
            assert_eq!(response.body.len(), SMALL_LENGTH);
        }
        let numbers = server.numbers();
        let misses = numbers["caches"][0]["misses"].as_u64().unwrap();
        let insertions = numbers["caches"][0]["insertions"].as_u64().unwrap();
        assert!(misses > 100, "they came while it was looked for: {numbers}");
        assert_eq!(insertions, 1, "one look-up for all of them: {numbers}");
    }
}
