//! Changes are visible to the next request where the kernel reports them, and within `--revalidate` where no
//! events arrive.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::harness::{
    Client, Response, Server, Site, age, engines, is_root, unprivileged, wait_out,
};

/// How a server learns of changes, and the promise that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// By events: visible to the next request.
    ByEvents,
    /// Without events: visible within 20 ms.
    Never,
}

/// `--revalidate` without events.
const BOUND: Duration = Duration::from_millis(20);

const MODES: [Told; 2] = [Told::ByEvents, Told::Never];

impl Told {
    fn words(self) -> &'static [&'static str] {
        match self {
            // So long that only an event can be the cause.
            Told::ByEvents => &["--revalidate", "1h"],
            Told::Never => &[
                "--watch-directories",
                "0",
                "--revalidate",
                "20ms",
                "--stale",
                "0",
            ],
        }
    }

    /// Sends one request: without events, after the entry has expired.
    fn expect(self, what: &str, client: &mut Client, ask: &Ask, wanted: &Want) {
        match self {
            Told::ByEvents => {}
            Told::Never => wait_out(BOUND),
        }
        let response = ask.send(client);
        assert!(wanted.is(&response), "{what}: {wanted:?}, not {response:?}");
    }
}

struct Ask {
    path: String,
    fields: &'static [&'static str],
}

impl Ask {
    fn send(&self, client: &mut Client) -> Response {
        client.get(&self.path, self.fields)
    }
}

#[derive(Debug)]
enum Want {
    Body(&'static str),
    Status(u16),
}

impl Want {
    fn is(&self, response: &Response) -> bool {
        match self {
            Body(body) => response.status == 200 && response.body == body.as_bytes(),
            Status(status) => response.status == *status,
        }
    }
}

use Want::{Body, Status};

fn write(directory: &Path, name: &str, bytes: &str) {
    let path = directory.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    age(&path, Duration::from_secs(3_600));
}

/// Renames one name over another in the same directory.
fn rename(directory: &Path, from: &str, to: &str) {
    fs::rename(directory.join(from), directory.join(to)).unwrap();
}

fn publish(directory: &Path, name: &str, bytes: &str) {
    write(directory, "new~", bytes);
    rename(directory, "new~", name);
}

fn link(directory: &Path, target: &str, name: &str) {
    symlink(target, directory.join("link~")).unwrap();
    rename(directory, "link~", name);
}

struct Case {
    what: &'static str,
    path: &'static str,
    fields: &'static [&'static str],
    prepare: fn(&Path),
    before: Want,
    change: fn(&Path),
    after: Want,
}

const BR: &[&str] = &["Accept-Encoding: br"];
const GZIP: &[&str] = &["Accept-Encoding: gzip"];

#[rustfmt::skip]
fn cases() -> Vec<Case> {
    let case = |what, path, fields, prepare, before, change, after| Case { what, path, fields, prepare, before, change, after };
    vec![
        case("published by rename", "a", &[], |d| write(d, "a", "one"), Body("one"), |d| publish(d, "a", "two!"), Body("two!")),
        case("longer in place", "a", &[], |d| write(d, "a", "one"), Body("one"), |d| fs::write(d.join("a"), "longer").unwrap(), Body("longer")),
        case("shorter in place", "a", &[], |d| write(d, "a", "longer"), Body("longer"), |d| fs::write(d.join("a"), "one").unwrap(), Body("one")),
        case("cut in place", "a", &[], |d| write(d, "a", "longer"), Body("longer"), |d| fs::File::options().write(true).open(d.join("a")).unwrap().set_len(2).unwrap(), Body("lo")),
        case("of one length, its mtime kept", "a", &[], |d| write(d, "a", "one"), Body("one"), |d| {
            let modified = fs::metadata(d.join("a")).unwrap().modified().unwrap();
            fs::write(d.join("new"), "two").unwrap();
            fs::File::options().write(true).open(d.join("new")).unwrap().set_modified(modified).unwrap();
            rename(d, "new", "a");
        }, Body("two")),
        case("of one length in place, its mtime kept", "a", &[], |d| write(d, "a", "one"), Body("one"), |d| {
            let modified = fs::metadata(d.join("a")).unwrap().modified().unwrap();
            fs::write(d.join("a"), "two").unwrap();
            fs::File::options().write(true).open(d.join("a")).unwrap().set_modified(modified).unwrap();
        }, Body("two")),
        case("replaced with its variant", "a.js", BR, |d| { write(d, "a.js", "plain"); write(d, "a.js.br", "br"); }, Body("br"),
            |d| { publish(d, "a.js", "plain 2"); publish(d, "a.js.br", "br 2"); }, Body("br 2")),
        case("replaced, its variant is older now", "a.js", BR, |d| { write(d, "a.js", "plain"); write(d, "a.js.br", "br"); }, Body("br"),
            |d| { fs::write(d.join("new"), "plain 2").unwrap(); rename(d, "new", "a.js"); }, Body("plain 2")),
        case("a variant appears", "a.js", GZIP, |d| write(d, "a.js", "plain"), Body("plain"), |d| fs::write(d.join("a.js.gz"), "gz").unwrap(), Body("gz")),
        case("a variant is removed", "a.js", GZIP, |d| { write(d, "a.js", "plain"); write(d, "a.js.gz", "gz"); }, Body("gz"), |d| fs::remove_file(d.join("a.js.gz")).unwrap(), Body("plain")),
        case("deleted", "a", &[], |d| write(d, "a", "one"), Body("one"), |d| fs::remove_file(d.join("a")).unwrap(), Status(404)),
        case("created", "a", &[], |_| (), Status(404), |d| write(d, "a", "one"), Body("one")),
        case("created by rename", "a", &[], |_| (), Status(404), |d| publish(d, "a", "one"), Body("one")),
        case("created with its directories", "x/y/a", &[], |_| (), Status(404), |d| write(d, "x/y/a", "one"), Body("one")),
        case("its directory renamed away", "x/y/a", &[], |d| write(d, "x/y/a", "one"), Body("one"), |d| rename(d, "x", "z"), Status(404)),
        case("a directory renamed into place", "x/y/a", &[], |d| write(d, "z/y/a", "one"), Status(404), |d| rename(d, "z", "x"), Body("one")),
        case("its directory replaced", "x/y/a", &[], |d| { write(d, "x/y/a", "one"); write(d, "z/y/a", "two"); }, Body("one"),
            |d| { rename(d, "x", "old"); rename(d, "z", "x"); }, Body("two")),
        case("its directory renamed away and back", "x/a", &[], |d| write(d, "x/a", "one"), Body("one"),
            |d| { rename(d, "x", "y"); write(d, "y/a", "two"); rename(d, "y", "x"); }, Body("two")),
        case("an index appears", "", &[], |_| (), Status(404), |d| write(d, "index.html", "index"), Body("index")),
        case("a better index appears", "", &[], |d| write(d, "index.htm", "second"), Body("second"), |d| write(d, "index.html", "first"), Body("first")),
        case("an index goes", "x/", &[], |d| write(d, "x/index.html", "index"), Body("index"), |d| fs::remove_file(d.join("x/index.html")).unwrap(), Status(404)),
        case("a file becomes a directory", "x", &[], |d| write(d, "x", "file"), Body("file"), |d| { fs::remove_file(d.join("x")).unwrap(); fs::create_dir(d.join("x")).unwrap(); }, Status(301)),
        case("a directory becomes a file", "x", &[], |d| fs::create_dir(d.join("x")).unwrap(), Status(301), |d| { fs::remove_dir(d.join("x")).unwrap(); write(d, "x", "file"); }, Body("file")),
        case("a link is switched", "a", &[], |d| { write(d, "one", "1"); write(d, "two", "2"); link(d, "one", "a"); }, Body("1"), |d| link(d, "two", "a"), Body("2")),
        case("a linked file is edited", "a", &[], |d| { write(d, "x/one", "1"); link(d, "x/one", "a"); }, Body("1"), |d| fs::write(d.join("x/one"), "edited").unwrap(), Body("edited")),
        case("a linked file is published", "a", &[], |d| { write(d, "x/one", "1"); link(d, "x/one", "a"); }, Body("1"), |d| publish(d, "x/one", "2"), Body("2")),
        case("a linked directory is switched", "x/a", &[], |d| { write(d, "one/a", "1"); write(d, "two/a", "2"); link(d, "one", "x"); }, Body("1"), |d| link(d, "two", "x"), Body("2")),
        case("what a linked directory stands in is renamed", "x/a", &[], |d| { write(d, "r/one/a", "1"); link(d, "r/one", "x"); }, Body("1"), |d| rename(d, "r", "s"), Status(404)),
        case("a link of a link is switched", "a", &[], |d| { write(d, "one", "1"); write(d, "two", "2"); link(d, "one", "m"); link(d, "m", "a"); }, Body("1"), |d| link(d, "two", "m"), Body("2")),
        case("a link through its parent", "x/a", &[], |d| { write(d, "b", "1"); fs::create_dir(d.join("x")).unwrap(); symlink("../b", d.join("x/a")).unwrap(); }, Body("1"), |d| publish(d, "b", "2"), Body("2")),
        case("a file becomes a link", "a", &[], |d| { write(d, "a", "file"); write(d, "x/b", "linked"); }, Body("file"), |d| link(d, "x/b", "a"), Body("linked")),
        case("a directory becomes a link", "x/a", &[], |d| { write(d, "x/a", "1"); write(d, "y/a", "2"); }, Body("1"), |d| { rename(d, "x", "z"); link(d, "y", "x"); }, Body("2")),
        case("a dangling link gets its target", "a", &[], |d| link(d, "x/b", "a"), Status(404), |d| write(d, "x/b", "there"), Body("there")),
    ]
}

#[test]
fn every_change_is_seen_when_it_was_promised() {
    for engine in engines() {
        for told in MODES {
            // Sent from a descriptor, and from a mapping.
            for asked_before in [1, 4] {
                let site = Site::new();
                let words = ["--disk", engine, "--index", "index.html,index.htm"];
                let server = Server::start(&site, &[&words[..], told.words()].concat());
                let mut client = server.connect();
                for (number, case) in cases().iter().enumerate() {
                    let what = format!("{}, {told:?}, {engine}, {asked_before}", case.what);
                    let directory = site.root().join(format!("c{number}"));
                    fs::create_dir(&directory).unwrap();
                    (case.prepare)(&directory);
                    let ask = Ask {
                        path: format!("/c{number}/{}", case.path),
                        fields: case.fields,
                    };
                    for _ in 0..asked_before {
                        let response = ask.send(&mut client);
                        assert!(case.before.is(&response), "{what}: before: {response:?}");
                    }
                    (case.change)(&directory);
                    told.expect(&what, &mut client, &ask, &case.after);
                }
                let numbers = &server.numbers()["freshness"];
                let watched = numbers["watched_directories"].as_u64().unwrap();
                let worst = numbers["worst_staleness_ms"].as_u64().unwrap();
                match told {
                    Told::ByEvents => assert!(watched > 30 && worst == 0, "{numbers}"),
                    Told::Never => assert!(watched == 0 && worst == 20, "{numbers}"),
                }
            }
        }
    }
}

/// A server without root's permission to read everything.
fn serve_unprivileged(site: &Site, words: &[&str]) -> Server {
    if !is_root() {
        return Server::start(site, words);
    }
    let mut command = unprivileged(site);
    command.args(words);
    command.args(["--listen", "127.0.0.1:0"]).arg(site.root());
    Server::spawn(&mut command)
}

#[test]
fn a_file_that_may_no_longer_be_read_is_refused() {
    for engine in engines() {
        for told in MODES {
            let site = Site::new();
            site.file("a", "one").file("d/b", "two");
            let server = serve_unprivileged(&site, &[&["--disk", engine], told.words()].concat());
            let mut client = server.connect();
            for (path, name) in [("/a", "a"), ("/d/b", "d")] {
                assert_eq!(client.get(path, &[]).status, 200);
                let allow = |mode| {
                    let mode = fs::Permissions::from_mode(mode);
                    fs::set_permissions(site.root().join(name), mode).unwrap();
                };
                let ask = Ask {
                    path: path.into(),
                    fields: &[],
                };
                for round in 0..2 {
                    allow(0);
                    let what = format!("it is forbidden, {told:?}, {engine}, {round}");
                    told.expect(&what, &mut client, &ask, &Status(403));
                    allow(0o755);
                    let what = format!("it is allowed, {told:?}, {engine}, {round}");
                    let body = if name == "a" { "one" } else { "two" };
                    told.expect(&what, &mut client, &ask, &Body(body));
                }
            }
        }
    }
}

/// The file was cached with one name, and is written to through another one outside of all watched
/// directories.
#[test]
fn a_file_that_got_another_name_is_not_said_to_be_unchanged() {
    for engine in engines() {
        for length in [1_000, 50_000] {
            let site = Site::new();
            site.file("a", "1".repeat(length));
            let server = Server::start(&site, &["--disk", engine, "--revalidate", "1h"]);
            let mut client = server.connect();
            let mut tag = String::new();
            for _ in 0..5 {
                let response = client.get("/a", &[]);
                tag = response.field("etag").unwrap().to_owned();
            }
            let condition = format!("If-None-Match: {tag}");
            assert_eq!(client.get("/a", &[&condition]).status, 304);
            let other = site.beside("second name");
            fs::hard_link(site.path("a"), &other).unwrap();
            fs::write(&other, "2".repeat(length)).unwrap();
            let response = client.get("/a", &[&condition]);
            let what = format!("{engine}, {length} bytes");
            assert_eq!(response.status, 200, "{what}");
            assert!(response.body.iter().all(|byte| *byte == b'2'), "{what}");
        }
    }
}

#[test]
fn a_file_with_several_names_is_looked_at_again() {
    for engine in engines() {
        let site = Site::new();
        site.file("a", "one").file("other", "alone");
        fs::hard_link(site.path("a"), site.beside("second name")).unwrap();
        let bound = ["--revalidate", "20ms", "--stale", "0"];
        let server = Server::start(&site, &[&["--disk", engine], &bound[..]].concat());
        let mut client = server.connect();
        assert_eq!(client.get("/other", &[]).body, b"alone");
        assert_eq!(server.numbers()["freshness"]["worst_staleness_ms"], 0);
        assert_eq!(client.get("/a", &[]).body, b"one");
        let numbers = &server.numbers()["freshness"];
        assert_eq!(numbers["polled_entries"], 1, "{numbers}");
        assert_eq!(numbers["worst_staleness_ms"], 20, "{numbers}");
        fs::write(site.beside("second name"), "written elsewhere").unwrap();
        wait_out(BOUND);
        assert_eq!(client.get("/a", &[]).body, b"written elsewhere");
    }
}

#[test]
fn watched_files_are_never_revalidated_without_a_change() {
    for engine in engines() {
        let site = Site::new();
        site.file("a", "one").file("d/long", vec![b'x'; 100_000]);
        let server = Server::start(&site, &["--disk", engine, "--revalidate", "0"]);
        let mut client = server.connect();
        let paths = ["/a", "/d/long", "/missing", "/d"];
        let ask = |client: &mut Client| {
            for path in paths {
                client.get(path, &[]);
            }
        };
        ask(&mut client);
        let count = |name: &str| server.numbers()["caches"][0][name].as_u64().unwrap();
        let (hits, misses, expired) = (count("hits"), count("misses"), count("expired"));
        for _ in 0..200 {
            ask(&mut client);
        }
        assert_eq!(count("hits"), hits + 800, "{engine}");
        assert_eq!((count("misses"), count("expired")), (misses, expired));
        let page = String::from_utf8(server.get("/status").body).unwrap();
        assert!(page.contains("The next request sees every change"));
        // A change elsewhere invalidates none of them.
        site.publish("d/unasked", "x");
        ask(&mut client);
        assert_eq!(count("hits"), hits + 804, "{engine}");
        // A change of one invalidates that one.
        site.publish("d/long", "short");
        ask(&mut client);
        assert_eq!(count("hits"), hits + 807, "{engine}");
        assert_eq!(count("expired"), expired + 1, "{engine}");
    }
}

/// Sets the flag when dropped.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Far more events than one read returns, and an endless stream of others meanwhile.
#[test]
fn many_changes_at_once_are_all_seen_and_endless_ones_hold_nothing_up() {
    let site = Site::new();
    let stem = "n".repeat(200);
    let names: Vec<String> = (0..600).map(|index| format!("{stem}{index}")).collect();
    for name in &names {
        write(&site.root(), name, "old");
    }
    write(&site.root(), "busy/file", "fine");
    let server = Server::start(&site, Told::ByEvents.words());
    let mut client = server.connect();
    let mut all_are = |body: &str| {
        for name in &names {
            let response = client.get(&format!("/{name}"), &[]);
            assert_eq!(response.body, body.as_bytes());
        }
        assert_eq!(client.get("/busy/file", &[]).body, b"fine");
    };
    all_are("old");
    for name in &names {
        publish(&site.root(), name, "new");
    }
    all_are("new");
    let (busy, is_over) = (site.root().join("busy"), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                fs::write(busy.join("scratch"), "x").unwrap();
                fs::remove_file(busy.join("scratch")).unwrap();
            }
        });
        // Set even if an answer is wrong.
        let _ends = Ends(&is_over);
        for name in &names {
            publish(&site.root(), name, "newer");
        }
        all_are("newer");
    });
}
