//! The root follows its path; lost events and missing watches.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::harness::{
    Client, Content, Server, Site, engines, is_installed, skip, wait_out, wait_until,
};
use super::slow_tree::SlowTree;

/// `--revalidate` in these tests.
const BOUND: Duration = Duration::from_millis(20);

/// How the root is reached, and how its path is switched to another release.
type Way = (&'static str, fn(&Path), fn(&Path, &str));

fn swap(link: &Path, target: &str) {
    let new = link.with_extension("new");
    symlink(target, &new).unwrap();
    fs::rename(new, link).unwrap();
}

#[rustfmt::skip]
const WAYS: [Way; 8] = [
    ("a link", |d| swap(&d.join("current"), "releases/1"), |d, to| swap(&d.join("current"), &format!("releases/{to}"))),
    ("an absolute link", |d| swap(&d.join("current"), d.join("releases/1").to_str().unwrap()), |d, to| swap(&d.join("current"), d.join("releases").join(to).to_str().unwrap())),
    ("a link of links", |d| { swap(&d.join("stable"), "releases/1"); swap(&d.join("live"), "./stable"); swap(&d.join("current"), "live"); },
        |d, to| swap(&d.join("stable"), &format!("releases/{to}"))),
    ("a directory renamed", |d| fs::rename(d.join("releases/1"), d.join("current")).unwrap(),
        |d, to| { fs::rename(d.join("current"), d.join(format!("before {to}"))).unwrap(); fs::rename(d.join("releases").join(to), d.join("current")).unwrap(); }),
    ("a link that is gone for a moment", |d| swap(&d.join("current"), "releases/1"),
        |d, to| { fs::remove_file(d.join("current")).unwrap(); symlink(format!("releases/{to}"), d.join("current")).unwrap(); }),
    ("a directory removed, and another in its place", |d| fs::rename(d.join("releases/1"), d.join("current")).unwrap(),
        |d, to| { fs::remove_dir_all(d.join("current")).unwrap(); fs::rename(d.join("releases").join(to), d.join("current")).unwrap(); }),
    ("a directory removed and made again", |d| fs::rename(d.join("releases/1"), d.join("current")).unwrap(),
        |d, to| { fs::remove_dir_all(d.join("current")).unwrap(); make_again(&d.join("current"), &d.join("releases").join(to)); }),
    ("a directory removed behind a link", |d| swap(&d.join("current"), "releases/1"),
        |d, to| { fs::remove_dir_all(d.join("releases/1")).unwrap(); make_again(&d.join("releases/1"), &d.join("releases").join(to)); }),
];

/// Creates a directory and moves the content of another into it.
fn make_again(directory: &Path, from: &Path) {
    fs::create_dir(directory).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::rename(entry.path(), directory.join(entry.file_name())).unwrap();
    }
}

const LONG: usize = 8 << 20;

fn release(site: &Site, name: &str) {
    let letter = name.as_bytes()[0];
    let directory = site.beside("releases").join(name);
    fs::create_dir_all(directory.join("d")).unwrap();
    fs::write(directory.join("a"), name).unwrap();
    fs::write(directory.join("d/b"), name).unwrap();
    fs::write(directory.join("long"), vec![letter; LONG]).unwrap();
    fs::write(directory.join(format!("only{name}")), name).unwrap();
}

fn serve(site: &Site, words: &[&str]) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
    command.args(["--listen", "127.0.0.1:0"]).args(words);
    Server::spawn(command.arg(site.beside("current")))
}

#[test]
fn swapping_the_root_switches_the_site_and_finishes_what_is_under_way() {
    for engine in engines() {
        for events in [true, false] {
            for (what, prepare, change) in WAYS {
                let site = Site::new();
                release(&site, "1");
                release(&site, "2");
                prepare(&site.beside("."));
                let words: &[&str] = match events {
                    true => &["--revalidate", "1h"],
                    false => &[
                        "--watch-directories",
                        "0",
                        "--revalidate",
                        "20ms",
                        "--stale",
                        "0",
                    ],
                };
                let server = serve(&site, &[&["--disk", engine], words].concat());
                let what = format!("{what}, {engine}, events: {events}");
                let mut client = server.connect();
                for path in ["/a", "/d/b", "/only1", "/a", "/a"] {
                    assert_eq!(client.get(path, &[]).body, b"1", "{what}");
                }
                assert_eq!(client.get("/only2", &[]).status, 404, "{what}");
                let mut slow = server.connect();
                slow.send(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n");
                let mut first = [0; 1_000];
                std::io::Read::read_exact(&mut slow.stream(), &mut first).unwrap();
                change(&site.beside("."), "2");
                if !events {
                    wait_out(BOUND);
                }
                for path in ["/a", "/d/b", "/only2"] {
                    assert_eq!(client.get(path, &[]).body, b"2", "{what}: {path}");
                }
                assert_eq!(client.get("/only1", &[]).status, 404, "{what}");
                let rest = slow.response_after(&first, LONG);
                assert!(rest.iter().all(|byte| *byte == b'1'), "{what}: mixed");
                assert_eq!(slow.get("/a", &[]).body, b"2", "{what}");
                assert_eq!(server.numbers()["freshness"]["root_watched"], events);
            }
        }
    }
}

#[test]
fn a_thousand_swaps_are_seen_by_the_next_request() {
    for engine in engines() {
        let site = Site::new();
        release(&site, "1");
        release(&site, "2");
        let link = site.beside("current");
        swap(&link, "releases/1");
        let server = serve(&site, &["--disk", engine, "--revalidate", "1h"]);
        let mut client = server.connect();
        for round in 0..1_000 {
            let name = ["1", "2"][round % 2];
            swap(&link, &format!("releases/{name}"));
            let path = ["/a", "/d/b"][round / 2 % 2];
            let response = client.get(path, &[]);
            assert_eq!(response.body, name.as_bytes(), "{engine}, {round}");
        }
    }
}

#[test]
fn a_root_that_vanishes_is_served_until_another_is_there() {
    for engine in engines() {
        let site = Site::new();
        release(&site, "1");
        release(&site, "2");
        let link = site.beside("current");
        swap(&link, "releases/1");
        let server = serve(&site, &["--disk", engine, "--revalidate", "1h"]);
        let mut client = server.connect();
        assert_eq!(client.get("/a", &[]).body, b"1");
        fs::remove_file(&link).unwrap();
        for path in ["/a", "/d/b", "/only1"] {
            assert_eq!(client.get(path, &[]).body, b"1", "{engine}");
        }
        symlink("releases/2", &link).unwrap();
        assert_eq!(client.get("/a", &[]).body, b"2", "{engine}");
        let numbers = &server.numbers()["freshness"];
        assert_eq!(numbers["root_switches"], 1, "{numbers}");
    }
}

#[test]
fn sighup_invalidates_everything() {
    let site = Site::new();
    site.file("a", "one");
    let server = Server::start(&site, &["--revalidate", "1h"]);
    let mut client = server.connect();
    assert_eq!(client.get("/a", &[]).body, b"one");
    let expired = || server.numbers()["caches"][0]["expired"].as_u64().unwrap();
    assert_eq!(expired(), 0);
    server.signal(rustix::process::Signal::HUP);
    wait_until("it is checked", || {
        client.get("/a", &[]);
        expired() == 1
    });
    assert_eq!(client.get("/a", &[]).body, b"one");
    assert_eq!(expired(), 1, "once");
}

#[test]
fn lost_events_invalidate_everything() {
    let queue = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let queue: usize = queue.trim().parse().unwrap();
    if queue > 50_000 {
        return skip("the queue of events is too long to be filled");
    }
    for engine in engines() {
        let site = Site::new();
        let names: Vec<String> = (0..50)
            .map(|number| format!("d{}/f{number}", number % 5))
            .collect();
        for name in &names {
            site.file(name, "before");
        }
        let server = Server::start(&site, &["--disk", engine, "--revalidate", "1h"]);
        let mut client = server.connect();
        for name in names.iter().cycle().take(4 * names.len()) {
            assert_eq!(client.get(&format!("/{name}"), &[]).body, b"before");
        }
        server.signal(rustix::process::Signal::STOP);
        // Two alternating names, because the kernel merges equal consecutive events.
        for _ in 0..queue / 2 {
            for name in ["x", "y"] {
                fs::write(site.root().join("d0").join(name), "").unwrap();
            }
        }
        for (number, name) in names.iter().enumerate() {
            match number % 3 {
                0 => site.publish(name, "after!"),
                1 => fs::write(site.path(name), "after!").unwrap(),
                _ => fs::remove_file(site.path(name)).unwrap(),
            }
        }
        server.signal(rustix::process::Signal::CONT);
        for (number, name) in names.iter().enumerate() {
            let response = client.get(&format!("/{name}"), &[]);
            match number % 3 {
                2 => assert_eq!(response.status, 404, "{engine}: {name}"),
                _ => assert_eq!(response.body, b"after!", "{engine}: {name}"),
            }
        }
        let numbers = &server.numbers()["freshness"];
        assert!(numbers["overflows"].as_u64().unwrap() >= 1, "{numbers}");
        // Events are reported again.
        site.publish(&names[0], "once more");
        assert_eq!(
            client.get(&format!("/{}", names[0]), &[]).body,
            b"once more"
        );
    }
}

/// Files in many directories, of which not all can be watched, change, and the changes are seen.
fn some_are_polled(site: &Site, server: &Server) {
    let mut client = server.connect();
    let names: Vec<String> = (0..20).map(|number| format!("d{number}/a")).collect();
    let is = |client: &mut Client, name: &str, body: &str| {
        client.get(&format!("/{name}"), &[]).body == body.as_bytes()
    };
    for name in &names {
        site.file(name, "before");
        wait_out(BOUND);
        assert!(is(&mut client, name, "before"), "it is there");
    }
    let numbers = &server.numbers()["freshness"];
    let number = |name: &str| numbers[name].as_u64().unwrap();
    assert!(number("watched_directories") <= 10, "{numbers}");
    assert!(number("polled_directories") >= 10, "{numbers}");
    assert!(number("watches_refused") >= 1, "{numbers}");
    assert_eq!(number("worst_staleness_ms"), 20, "{numbers}");
    for name in &names {
        site.publish(name, "after");
        wait_out(BOUND);
        assert!(is(&mut client, name, "after"), "its change is seen");
    }
    let lines = || server.errors().matches("cannot be watched").count();
    wait_until("it is said", || lines() > 0);
    assert_eq!(lines(), 1, "{}", server.errors());
}

#[test]
fn directories_beyond_the_limit_are_polled() {
    for engine in engines() {
        let site = Site::new();
        let bound = [
            "--revalidate",
            "20ms",
            "--stale",
            "0",
            "--watch-directories",
            "10",
        ];
        let server = Server::start(&site, &[&["--disk", engine], &bound[..]].concat());
        some_are_polled(&site, &server);
        assert!(server.errors().contains("--watch-directories"));
    }
}

#[test]
fn refused_watches_are_replaced_by_polling() {
    // A user namespace has limits of its own, so that no other process is affected.
    let limit = "echo 10 > /proc/sys/user/max_inotify_watches";
    let inside = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-Ur", "sh", "-c", script, "sh"]);
        command
    };
    let tried = inside(limit).stderr(Stdio::null()).status();
    if !is_installed("unshare") || !tried.is_ok_and(|status| status.success()) {
        return skip("no user namespace with limits of its own here");
    }
    for engine in engines() {
        let site = Site::new();
        let mut command = inside(&format!("{limit}; exec \"$@\""));
        command.arg(env!("CARGO_BIN_EXE_spede"));
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--disk",
            engine,
            "--revalidate",
            "20ms",
            "--stale",
            "0",
        ]);
        let server = Server::spawn(command.arg(site.root()));
        some_are_polled(&site, &server);
        assert!(server.errors().contains("fs.inotify.max_user_watches"));
    }
}

#[test]
fn a_file_system_without_events_is_polled() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for engine in engines() {
        let server = tree.serve(engine, &[]);
        let mut client = server.connect();
        assert_eq!(client.get("/hot/file", &[]).status, 200);
        let numbers = &server.numbers()["freshness"];
        assert_eq!(numbers["watched_directories"], 0, "{numbers}");
        assert_eq!(numbers["polled_entries"], 1, "{numbers}");
        assert_eq!(numbers["worst_staleness_ms"], 50, "{numbers}");
        assert_eq!(numbers["root_watched"], false, "{numbers}");
        assert_eq!(numbers["watches_refused"], 0, "{numbers}");
        let checks = || {
            let numbers = server.numbers();
            let ahead = numbers["freshness"]["checks_ahead"].as_u64().unwrap();
            ahead + numbers["caches"][0]["expired"].as_u64().unwrap()
        };
        wait_until("it is checked", || {
            client.get("/hot/file", &[]);
            checks() > 1
        });
        // Nothing is counted twice.
        let numbers = &server.numbers()["freshness"];
        assert_eq!(numbers["polled_entries"], 1, "{numbers}");
    }
}

#[test]
fn a_request_after_a_change_is_answered_from_it() {
    for engine in engines() {
        let site = Site::new();
        let server = Server::start(&site, &["--disk", engine, "--revalidate", "1h"]);
        let mut client = server.connect();
        for round in 0..500 {
            let (old, new) = (format!("old {round}"), format!("the new {round}"));
            site.publish("a", &old);
            client.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
            site.publish("a", &new);
            // The server may be anywhere in the first request now.
            client.send(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n");
            let mut next = || client.response(Content::Expected).unwrap().body;
            let first = next();
            assert!(first == old.as_bytes() || first == new.as_bytes());
            assert_eq!(next(), new.as_bytes(), "{engine}, {round}");
            assert_eq!(next(), new.as_bytes(), "{engine}, {round}");
        }
    }
}
