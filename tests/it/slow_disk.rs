//! Hot requests are answered while the disk is slow.
//!
//! A client requests a hot file continuously, and each disk operation lasts until that client has got some
//! answers. Independently of the machine's speed, an engine that leaves the loop free lets them through, and
//! counts no blocking call. An engine that blocks lets none through until the operation is released as
//! blocking. `blocking` does so, which shows that the test can fail.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::Signal;

use super::harness::{
    Client, Content, PATIENCE, Server, Site, not_beside_others, unprivileged, wait_until,
};
use super::slow_tree::{BIG_LENGTH, DELAY, Meanwhile, SMALL_LENGTH, SlowTree};

/// Hot answers during each operation. One may be on its way already when it begins.
const ANSWERS_WANTED: usize = 20;
/// An operation is released after this time without a hot answer: far longer than a busy machine needs for
/// one.
const FREE_PATIENCE: Duration = Duration::from_secs(3);

/// Residency of content sent longer ago than this is checked again.
const RESTED: Duration = Duration::from_millis(1_200);

/// Runs per engine without disturbance that are required,
const UNDISTURBED_COUNT: usize = 2;
/// and those with a disturbance that the kernel's counters do not explain: the machine may have been busy
/// once.
const UNEXPLAINED_COUNT_MAX: usize = 1;
/// Runs in all, including explained ones.
const ATTEMPTS: usize = 8;

/// Engines that never block the loop.
const FREE_ENGINES: [&str; 2] = ["uring", "threads"];

/// A client that has fetched the hot file already.
fn hot_client(server: &Server) -> Client {
    let mut hot = server.connect();
    for _ in 0..3 {
        assert_eq!(hot.get("/hot/file", &[]).body.len(), 1_024);
    }
    hot
}

/// Time without a hot answer after which an operation is released. With a blocking engine, that is its whole
/// duration.
fn patience(engine: &str) -> Duration {
    match engine {
        "blocking" => DELAY,
        _ => FREE_PATIENCE,
    }
}

/// Whether operations ran, about one or more at each occasion, and blocked no hot request.
fn is_undisturbed(seen: &[Meanwhile]) -> bool {
    let operations: usize = seen.iter().map(|seen| seen.operations).sum();
    let answers: usize = seen.iter().map(|seen| seen.answers).sum();
    let is_free = seen.iter().all(|seen| seen.held_up == 0);
    is_free && operations >= seen.len() && answers >= ANSWERS_WANTED
}

/// Requests the hot file until a condition holds.
fn ask_until(hot: &mut Client, answered: impl Fn(), is_over: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_over() {
        assert!(Instant::now() < deadline, "it is never over");
        assert_eq!(hot.get("/hot/file", &[]).status, 200);
        answered();
    }
}

/// Requests the hot file for some time.
fn ask_for(hot: &mut Client, time: Duration) {
    let since = Instant::now();
    ask_until(hot, || (), || since.elapsed() >= time);
}

/// Effect of operations on hot requests until a condition holds.
fn meanwhile(
    tree: &SlowTree,
    engine: &str,
    hot: &mut Client,
    is_over: impl Fn() -> bool,
) -> Meanwhile {
    let pace = &tree.seen.pace;
    pace.begin(ANSWERS_WANTED, patience(engine));
    ask_until(hot, || pace.answered(), is_over);
    pace.end()
}

/// A cold request and its expected answer.
struct Cold {
    request: String,
    status: u16,
    /// Content length, if known.
    length: Option<usize>,
}

/// Effect of operations on hot requests between a cold request and its answer.
fn meanwhile_cold(tree: &SlowTree, engine: &str, server: &Server, cold: &Cold) -> Meanwhile {
    let mut hot = hot_client(server);
    let mut client = server.connect();
    let answered = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let is_paced = || tree.seen.pace.is_on();
            wait_until("operations are counted", is_paced);
            client.send(cold.request.as_bytes());
            let response = client.response(Content::Expected).unwrap();
            answered.store(true, Ordering::Release);
            assert_eq!(response.status, cold.status, "{}", cold.request);
            if let Some(length) = cold.length {
                assert_eq!(response.body.len(), length, "{}", cold.request);
            }
        });
        meanwhile(tree, engine, &mut hot, || answered.load(Ordering::Acquire))
    })
}

fn get(path: &str, field: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{field}\r\n")
}

/// All kinds of cold requests; the number makes their names new.
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
        // Cached before and expired: revalidated, maybe before it is requested.
        cold("/cold/small#", "", 200, Some(SMALL_LENGTH)),
        cold("/cold/broken#", "", 500, None),
        cold("/cold/big#", "", 200, Some(BIG_LENGTH)),
        cold("/cold/big9#", range, 206, Some(1_000)),
    ]
}

/// Number of blocking calls of the loop.
fn sleeps(server: &Server) -> u64 {
    server.numbers()["loop"]["sleeps_outside_poll"]
        .as_u64()
        .unwrap()
}

/// Runs work that must neither block the loop nor delay a hot request. A kernel that reclaims memory early,
/// as in virtual machines, may evict a page between its being read and its being sent. Then it is read again,
/// which the kernel counts: such a run proves nothing.
fn undisturbed(engine: &str, attempt: impl Fn(usize) -> (Server, Vec<Meanwhile>)) {
    let (mut undisturbed_count, mut unexplained_count) = (0, 0);
    let mut last = String::new();
    for number in 0..ATTEMPTS {
        let before = refaults();
        let (server, seen) = attempt(number);
        if sleeps(&server) == 0 && is_undisturbed(&seen) {
            undisturbed_count += 1;
        } else {
            let refaults = refaults() - before;
            unexplained_count += usize::from(refaults == 0);
            last = format!("{refaults} refaults, {seen:?} {}", server.numbers()["loop"]);
            println!("{engine}: disturbed: {last}");
        }
        assert!(
            unexplained_count <= UNEXPLAINED_COUNT_MAX,
            "{engine}: {last}"
        );
        if undisturbed_count == UNDISTURBED_COUNT {
            return;
        }
    }
    panic!("{engine}: disturbed too often: {last}");
}

/// Pages read again after the kernel had reclaimed them, on the whole machine since its start. Evictions by a
/// test itself are not counted.
fn refaults() -> u64 {
    let numbers = std::fs::read_to_string("/proc/vmstat").unwrap();
    let file = numbers
        .lines()
        .find_map(|line| line.strip_prefix("workingset_refault_file "));
    file.map_or(0, |count| count.parse().unwrap())
}

/// Duration of the longest iteration.
fn longest_iteration(server: &Server) -> Duration {
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
        undisturbed(engine, |attempt| {
            let server = tree.serve(engine, &["--directories", "list"]);
            let cold = cold_requests(place * ATTEMPTS + attempt);
            let seen = cold
                .iter()
                .map(|cold| meanwhile_cold(&tree, engine, &server, cold));
            let seen = seen.collect();
            (server, seen)
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
    // A long file fills its socket, and the loop is free until the peer has read; an unreadable file is
    // noticed after its head was sent.
    let requests = &cold_requests(10)[..6];
    for cold in requests {
        let seen = meanwhile_cold(&tree, "blocking", &server, cold);
        assert!(seen.held_up > 0, "{}: {seen:?}", cold.request);
    }
    assert!(longest_iteration(&server) >= DELAY);
    // Some are not distinguishable from waits: the figure is a lower bound.
    assert!(sleeps(&server) >= 3, "{}", server.numbers()["loop"]);
}

#[test]
fn reclaimed_pages_of_a_mapped_file_block_nobody() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (place, engine) in FREE_ENGINES.into_iter().enumerate() {
        undisturbed(engine, |attempt| {
            let round = place * ATTEMPTS + attempt;
            let (server, seen) = meanwhile_pages_are_gone(&tree, engine, round);
            // The hot file too, if it was idle for a second before it was first sent.
            let numbers = server.numbers();
            let gone = numbers["disk"]["mappings_gone"].as_u64();
            assert!(gone >= Some(1));
            let missed = numbers["caches"][1]["misses_by"]["evicted"].as_u64();
            assert!(missed >= gone, "it was no hit: {numbers}");
            (server, vec![seen])
        });
    }
    let (_server, seen) = meanwhile_pages_are_gone(&tree, "blocking", 9);
    assert!(seen.held_up > 0, "blocking: {seen:?}");
}

fn meanwhile_pages_are_gone(tree: &SlowTree, engine: &str, round: usize) -> (Server, Meanwhile) {
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
    // Residency is not checked again after a moment.
    ask_for(&mut hot, RESTED);
    let cold = Cold {
        request: get(&path, ""),
        status: 200,
        length: Some(SMALL_LENGTH),
    };
    let seen = meanwhile_cold(tree, engine, &server, &cold);
    (server, seen)
}

/// The kernel does not tell residency to a user who neither owns a file nor may write it.
#[test]
fn reclaimed_pages_of_a_foreign_file_block_nobody() {
    let _alone = not_beside_others();
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    let site = Site::new();
    for (place, engine) in FREE_ENGINES.into_iter().enumerate() {
        undisturbed(engine, |attempt| {
            let name = format!("big7{}", place * ATTEMPTS + attempt);
            let server = tree.serve_by(unprivileged(&site), engine, &["--revalidate", "1h"]);
            let cold = Cold {
                request: get(&format!("/cold/{name}"), ""),
                status: 200,
                length: Some(BIG_LENGTH),
            };
            let first = meanwhile_cold(&tree, engine, &server, &cold);
            tree.evict(&name);
            let again = meanwhile_cold(&tree, engine, &server, &cold);
            (server, vec![first, again])
        });
    }
}

/// A slow peer leaves mapped bytes waiting, and their pages are evicted meanwhile.
#[test]
fn mapped_bytes_that_were_held_back_hold_nobody_up() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (place, engine) in FREE_ENGINES.into_iter().enumerate() {
        undisturbed(engine, |attempt| {
            let name = format!("big8{}", place * ATTEMPTS + attempt);
            let server = tree.serve(engine, &["--revalidate", "1h", "--map-max", "8MiB"]);
            let path = format!("/cold/{name}");
            let number = |group: &str, name: &str| server.numbers()[group][name].as_u64().unwrap();
            let mut hot = hot_client(&server);
            let mut client = server.connect();
            wait_until("it is sent from its mapping", || {
                let before = number("bytes_sent", "gathered");
                assert_eq!(client.get(&path, &[]).body.len(), BIG_LENGTH);
                number("bytes_sent", "gathered") >= before + BIG_LENGTH as u64
            });
            let by_sendfile = number("bytes_sent", "sendfile");
            // Another client, whose socket takes only a small part.
            let mut client = server.connect();
            set_socket_recv_buffer_size(client.stream(), 64 << 10).unwrap();
            client.send(get(&path, "").as_bytes());
            ask_for(&mut hot, RESTED);
            tree.evict(&name);
            // Whatever else the peer does, nothing is sent before the bytes are resident.
            let answered = AtomicBool::new(false);
            let seen = std::thread::scope(|scope| {
                scope.spawn(|| {
                    wait_until("operations are counted", || tree.seen.pace.is_on());
                    client.send(b"G");
                    let response = client.response(Content::Expected).unwrap();
                    assert_eq!(response.body.len(), BIG_LENGTH);
                    answered.store(true, Ordering::Release);
                });
                meanwhile(&tree, engine, &mut hot, || answered.load(Ordering::Acquire))
            });
            // Otherwise the kernel had evicted a page before it was requested: not the case under test.
            let by_sendfile = number("bytes_sent", "sendfile") - by_sendfile;
            let is_tried = by_sendfile < SMALL_LENGTH as u64;
            let seen = if is_tried { seen } else { Meanwhile::default() };
            (server, vec![seen])
        });
    }
}

/// Closes a file whose close is slow.
fn meanwhile_closing(tree: &SlowTree, engine: &str, round: usize) -> (Server, Meanwhile) {
    // Nothing is mapped, and one file is kept open: the other is closed.
    let server = tree.serve(engine, &["--map-cache", "0", "--descriptors", "1"]);
    let mut hot = server.connect();
    let begun = || tree.seen.closes_begun.load(Ordering::Acquire);
    let over = || tree.seen.closes_over.load(Ordering::Acquire);
    let before = begun();
    let path = format!("/cold/flushing{round}");
    assert_eq!(server.get(&path).body.len(), SMALL_LENGTH);
    // The hot file replaces it.
    let is_over = || begun() > before && over() == begun();
    let seen = meanwhile(tree, engine, &mut hot, is_over);
    (server, seen)
}

#[test]
fn a_close_that_takes_its_time_holds_nobody_up() {
    let _alone = not_beside_others();
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (place, engine) in FREE_ENGINES.into_iter().enumerate() {
        undisturbed(engine, |attempt| {
            let (server, seen) = meanwhile_closing(&tree, engine, place * ATTEMPTS + attempt);
            (server, vec![seen])
        });
    }
    let (_server, seen) = meanwhile_closing(&tree, "blocking", 99);
    assert!(seen.held_up > 0, "blocking: {seen:?}");
}

/// Writes a log on the slow tree, which is reopened meanwhile.
fn meanwhile_logging(tree: &SlowTree, engine: &str, round: usize) -> (Server, Vec<Meanwhile>) {
    let log = tree.path(&format!("cold/log{round}"));
    let server = tree.serve(engine, &["--access-log", &log]);
    let mut hot = hot_client(&server);
    let writes = || tree.seen.writes.load(Ordering::Acquire);
    let mut three_writes = || {
        let before = writes();
        meanwhile(tree, engine, &mut hot, || writes() >= before + 3)
    };
    let first = three_writes();
    // The previous file is closed.
    server.signal(Signal::HUP);
    let second = three_writes();
    (server, vec![first, second])
}

#[test]
fn a_log_on_a_slow_disk_holds_nobody_up() {
    let _alone = not_beside_others();
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (place, engine) in FREE_ENGINES.into_iter().enumerate() {
        undisturbed(engine, |attempt| {
            meanwhile_logging(&tree, engine, place * ATTEMPTS + attempt)
        });
    }
    let (server, seen) = meanwhile_logging(&tree, "blocking", 99);
    assert!(seen.iter().all(|seen| seen.held_up > 0), "{seen:?}");
    assert!(longest_iteration(&server) >= DELAY);
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
        // Operations last until `end` is called.
        tree.seen.pace.begin(1, PATIENCE);
        for client in &mut clients {
            client.send(request.as_bytes());
        }
        let misses = |server: &Server| server.numbers()["caches"][0]["misses"].as_u64().unwrap();
        wait_until("all of them wait", || misses(&server) >= 1_000);
        // A few disconnect before their answer.
        clients.truncate(990);
        tree.seen.pace.end();
        for client in &mut clients {
            let response = client.response(Content::Expected).unwrap();
            assert_eq!(response.body.len(), SMALL_LENGTH);
        }
        let numbers = server.numbers();
        assert_eq!(misses(&server), 1_000, "they came before it was found");
        let insertions = numbers["caches"][0]["insertions"].as_u64().unwrap();
        assert_eq!(insertions, 1, "one look-up for all of them: {numbers}");
    }
}

/// Changes elsewhere in the site happen all the time meanwhile.
#[test]
fn they_share_it_while_things_change_elsewhere() {
    let site = Site::new();
    site.file("busy/file", "").file("slow/file", "");
    let Some(_tree) = SlowTree::mount_at(&site.path("slow")) else {
        return;
    };
    for (round, engine) in FREE_ENGINES.into_iter().enumerate() {
        let server = Server::start(&site, &["--disk", engine]);
        assert_eq!(server.get("/busy/file").status, 200);
        let request = get(&format!("/slow/cold/small7{round}"), "");
        let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            site.file(&format!("busy/{engine}{number}"), "");
            client.send(request.as_bytes());
        }
        for client in &mut clients {
            let response = client.response(Content::Expected).unwrap();
            assert_eq!(response.body.len(), SMALL_LENGTH);
        }
        let numbers = server.numbers();
        let watched = numbers["freshness"]["watched_directories"].as_u64();
        assert!(watched >= Some(2), "it is told of the changes: {numbers}");
        let insertions = &numbers["caches"][0]["insertions"];
        assert_eq!(insertions, 2, "one look-up for all of them: {numbers}");
    }
}
