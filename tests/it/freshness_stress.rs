//! Thousands of changes, each followed by a request, while other clients send requests continuously.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::harness::{Client, Server, Site, Tags, engines, not_beside_others};

/// Rename, then GET: ten thousand over all engines,
const PUBLISH_COUNTS: [usize; 3] = [5_000, 3_000, 2_000];
/// except on a busy machine: as many as it can do in this time, and no fewer than these.
const PUBLISHING_MAX: Duration = Duration::from_secs(40);
const PUBLISH_COUNT_MIN: usize = 300;
/// The same with edits in place, for each engine.
const EDIT_COUNT: usize = 600;

/// The content of a version: its number repeated, so that any mixture and any wrong length is detected.
fn version(number: usize) -> Vec<u8> {
    format!("{number:07}\n")
        .repeat(20 + number % 90)
        .into_bytes()
}

/// The number of the version, if the body is one whole version.
fn number_of(body: &[u8]) -> Option<usize> {
    let number = std::str::from_utf8(body.get(..7)?).ok()?.parse().ok()?;
    (version(number) == body).then_some(number)
}

/// What a background client requests, and which versions are correct.
struct Hammer {
    path: &'static str,
    /// The oldest version allowed, since the change to it has returned.
    at_least: fn(&Published) -> u64,
}

#[derive(Default)]
struct Published {
    a: AtomicU64,
    b: AtomicU64,
}

/// Requests one file until the test ends: every answer is one whole version, no older than the last one
/// published before the request.
fn hammer(server: &Server, published: &Published, hammer: &Hammer, is_over: &AtomicBool) -> u64 {
    let mut client = server.connect();
    let tags = Tags::default();
    let mut count = 0;
    while !is_over.load(Ordering::Relaxed) {
        let oldest = (hammer.at_least)(published);
        let response = client.get(hammer.path, &[]);
        let number = number_of(&response.body);
        let number = number.unwrap_or_else(|| panic!("mixed: {response:?}"));
        assert!(number as u64 >= oldest, "stale: {number} after {oldest}");
        tags.see(&response);
        count += 1;
    }
    count
}

#[test]
fn ten_thousand_publishes_are_seen_by_the_next_request() {
    let _alone = not_beside_others();
    for (engine, count) in engines().iter().zip(PUBLISH_COUNTS) {
        let site = Site::new();
        site.publish("a", version(0));
        site.publish("d/b", version(0));
        let server = Server::start(&site, &["--disk", engine, "--revalidate", "1h"]);
        let (published, is_over) = (Published::default(), AtomicBool::new(false));
        let hammers = [
            Hammer {
                path: "/a",
                at_least: |published| published.a.load(Ordering::Acquire),
            },
            Hammer {
                path: "/d/b",
                at_least: |published| published.b.load(Ordering::Acquire),
            },
        ];
        std::thread::scope(|scope| {
            for one in &hammers {
                scope.spawn(|| hammer(&server, &published, one, &is_over));
            }
            let mut kept = server.connect();
            let began = Instant::now();
            for number in 1..=count {
                if number > PUBLISH_COUNT_MIN && began.elapsed() > PUBLISHING_MAX {
                    println!("{engine}: {number} of {count} publishes, the machine is busy");
                    break;
                }
                let (name, path, last) = match number % 2 {
                    0 => ("a", "/a", &published.a),
                    _ => ("d/b", "/d/b", &published.b),
                };
                site.publish(name, version(number));
                last.store(number as u64, Ordering::Release);
                // Some on a connection made after the change.
                let mut fresh: Client;
                let client = match number % 8 {
                    0 | 1 => {
                        fresh = server.connect();
                        &mut fresh
                    }
                    _ => &mut kept,
                };
                let response = client.get(path, &[]);
                let got = number_of(&response.body);
                assert_eq!(got, Some(number), "{engine}: {response:?}");
            }
            is_over.store(true, Ordering::Relaxed);
        });
        assert_eq!(server.numbers()["freshness"]["overflows"], 0);
    }
}

#[test]
fn edits_in_place_are_seen_by_the_next_request() {
    let _alone = not_beside_others();
    for engine in engines() {
        let site = Site::new();
        fs::write(site.path("a"), version(0)).unwrap();
        let server = Server::start(&site, &["--disk", engine, "--revalidate", "1h"]);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut client = server.connect();
                    while !is_over.load(Ordering::Relaxed) {
                        // A file being written is sent as found: up to the announced length, and if it turns
                        // out shorter the connection is closed.
                        client.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
                        if client.response(super::harness::Content::Expected).is_none() {
                            client = server.connect();
                        }
                    }
                });
            }
            let mut client = server.connect();
            for number in 1..=EDIT_COUNT {
                // In two writes after truncation; or overwritten in place, where the new content is no
                // shorter.
                let bytes = version(number);
                match number % 2 {
                    0 => fs::write(site.path("a"), &bytes).unwrap(),
                    _ => {
                        let mut file = fs::File::options()
                            .write(true)
                            .open(site.path("a"))
                            .unwrap();
                        std::io::Write::write_all(&mut file, &bytes[..8]).unwrap();
                        std::io::Write::write_all(&mut file, &bytes[8..]).unwrap();
                        file.set_len(bytes.len() as u64).unwrap();
                    }
                }
                let response = client.get("/a", &[]);
                assert_eq!(
                    number_of(&response.body),
                    Some(number),
                    "{engine}: {response:?}"
                );
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}

/// Without events staleness is bounded by `--revalidate`: here every request revalidates.
#[test]
fn without_events_publishes_are_seen_within_the_bound() {
    let _alone = not_beside_others();
    for engine in engines() {
        let site = Site::new();
        site.publish("a", version(0));
        let words = ["--watch-directories", "0", "--revalidate", "0"];
        let server = Server::start(&site, &[&["--disk", engine], &words[..]].concat());
        let mut client = server.connect();
        for number in 1..=300 {
            match number % 3 {
                0 => fs::write(site.path("a"), version(number)).unwrap(),
                _ => site.publish("a", version(number)),
            }
            let response = client.get("/a", &[]);
            assert_eq!(number_of(&response.body), Some(number), "{engine}");
        }
        let numbers = &server.numbers()["freshness"];
        assert_eq!(numbers["watched_directories"], 0, "{numbers}");
    }
}
