//! The caches follow the disk, and no response mixes two versions.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::harness::{Client, Response, Server, Site, Tags, engines, wait_out, wait_until};

/// A version of a file: its length and its repeated letter are its own.
fn version(number: usize) -> Vec<u8> {
    let letter = b'a' + u8::try_from(number % 26).unwrap();
    vec![letter; 1_000 + 37 * (number % 50)]
}

/// Whether a body is wholly of one version.
fn is_whole(body: &[u8]) -> bool {
    let uniform = body.windows(2).all(|pair| pair[0] == pair[1]);
    uniform && (0..1_300).any(|number| version(number) == body)
}

/// `--revalidate` in these tests.
const BOUND: Duration = Duration::from_millis(50);

/// Sends one request after the entry has expired.
fn becomes(client: &mut Client, path: &str, wanted: impl Fn(&Response) -> bool) {
    wait_out(BOUND);
    let response = client.get(path, &[]);
    assert!(wanted(&response), "{path}: {response:?}");
}

#[test]
fn a_change_of_the_site_is_seen_within_the_bound() {
    for engine in engines() {
        let site = Site::new();
        site.file("a", "one")
            .file("d/x", "x")
            .file("j.js", "plain")
            .file("j.js.br", "br-1");
        // On a busy machine a revalidation may outlast `--stale`.
        let bound = ["--revalidate", "50ms", "--stale", "0"];
        let server = Server::start(&site, &[&["--disk", engine], &bound[..]].concat());
        let client = &mut server.connect();
        let says = |body: &'static str| move |response: &Response| response.body == body.as_bytes();
        let is = |status: u16| move |response: &Response| response.status == status;
        // Requested often enough to be mapped.
        for _ in 0..3 {
            assert_eq!(client.get("/a", &[]).body, b"one");
        }
        site.publish("a", "two");
        becomes(client, "/a", says("two"));
        site.publish("a", "six");
        becomes(client, "/a", says("six"));
        fs::write(site.path("a"), "ten in place").unwrap();
        becomes(client, "/a", says("ten in place"));
        fs::remove_file(site.path("a")).unwrap();
        becomes(client, "/a", is(404));
        site.publish("a", "back");
        becomes(client, "/a", says("back"));
        // A directory that gets an index, is renamed away, and is replaced by a file.
        becomes(client, "/d/", is(404));
        site.publish("d/index.html", "index");
        becomes(client, "/d/", says("index"));
        fs::rename(site.path("d"), site.path("e")).unwrap();
        becomes(client, "/d/", is(404));
        becomes(client, "/e/", says("index"));
        site.publish("d", "a file now");
        becomes(client, "/d", says("a file now"));
        // A file with its precompressed variant.
        let coded = |client: &mut Client| client.get("/j.js", &["Accept-Encoding: br"]).body;
        assert_eq!(coded(client), b"br-1");
        site.publish("j.js", "plain 2");
        wait_out(BOUND);
        assert_eq!(coded(client), b"plain 2", "the old variant is not used");
        site.publish("j.js.br", "br-2");
        wait_out(BOUND);
        assert_eq!(coded(client), b"br-2", "the new variant is used");
        becomes(client, "/j.js", says("plain 2"));
    }
}

#[test]
fn without_trust_every_request_sees_the_disk() {
    for engine in engines() {
        let site = Site::new();
        let server = Server::start(&site, &["--disk", engine, "--revalidate", "0"]);
        let mut client = server.connect();
        for number in 0..300 {
            site.publish("a", version(number));
            assert_eq!(
                client.get("/a", &[]).body,
                version(number),
                "version {number}"
            );
        }
    }
}

#[test]
fn responses_are_wholly_of_one_version_while_files_are_published() {
    for engine in engines() {
        let site = Site::new();
        site.publish("a", version(0));
        let server = Server::start(&site, &["--disk", engine, "--revalidate", "1ms"]);
        let (done, tags) = (AtomicBool::new(false), Tags::default());
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut client = server.connect();
                    while !done.load(Ordering::Relaxed) {
                        let response = client.get("/a", &[]);
                        assert!(is_whole(&response.body), "mixed: {response:?}");
                        tags.see(&response);
                    }
                });
            }
            for number in 0..2_000 {
                site.publish("a", version(number));
            }
            done.store(true, Ordering::Relaxed);
        });
        let last = version(1_999);
        let mut client = server.connect();
        becomes(&mut client, "/a", |response| response.body == last);
    }
}

#[test]
fn a_mapped_file_that_is_written_to_is_never_padded_or_mixed() {
    for engine in engines() {
        let site = Site::new();
        let words = ["--revalidate", "1h", "--server-timing"];
        let server = Server::start(&site, &[&["--disk", engine], &words[..]].concat());
        let mut client = server.connect();
        for round in 0..100 {
            let name = format!("f{round}");
            let path = site.path(&name);
            let url = format!("/{name}");
            site.file(&name, vec![b'a'; 3_000]);
            wait_until(&format!("{name} is mapped, {engine}"), || {
                let response = client.get(&url, &[]);
                assert_eq!(response.body.len(), 3_000);
                let timing = response.field("server-timing").unwrap_or_default();
                timing.contains("map;desc=hit")
            });
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_len(1_234).unwrap();
            let response = client.get(&url, &[]);
            assert_eq!(response.body, vec![b'a'; 1_234], "cut in place");
            fs::write(&path, vec![b'b'; 5_000]).unwrap();
            let response = client.get(&url, &[]);
            assert_eq!(response.body, vec![b'b'; 5_000], "rewritten in place");
        }
        let mapped = &server.numbers()["caches"][1];
        assert!(
            mapped["changed"].as_u64().unwrap() >= 100,
            "{mapped}: nothing was mapped"
        );
    }
}
