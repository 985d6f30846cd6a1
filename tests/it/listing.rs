//! Directory listings: only if enabled, and only names that are served.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use inotify::{Inotify, WatchMask};

use super::harness::{Content, Server, Site, engines};

fn site() -> Site {
    let site = Site::new();
    site.file("files/plain.txt", "plain")
        .file("files/with space & <b>.txt", "odd")
        .file("files/.hidden", "no")
        .file("files/below/a", "a")
        .file("indexed/index.html", "the index")
        .file("indexed/other", "other");
    let odd = std::ffi::OsStr::from_bytes(b"files/\xff.txt");
    std::fs::write(site.root().join(odd), "not UTF-8").unwrap();
    site
}

/// The links of a page, unchanged.
fn links(page: &str) -> Vec<String> {
    page.split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

#[test]
fn a_directory_is_hidden_unless_it_is_asked_for() {
    for engine in engines() {
        let site = site();
        let server = Server::start(&site, &["--disk", engine]);
        assert_eq!(server.get("/files/").status, 404);
        assert_eq!(server.get("/files").status, 301);
        assert_eq!(server.get("/files/plain.txt").body, b"plain");
    }
}

#[test]
fn a_listing_links_to_its_files_and_omits_hidden_names() {
    for engine in engines() {
        let site = site();
        let server = Server::start(&site, &["--disk", engine, "--directories", "list"]);
        assert_eq!(server.get("/indexed/").body, b"the index");
        assert_eq!(server.get("/nowhere/").status, 404);
        let page = server.get("/files/");
        assert_eq!(page.status, 200);
        assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
        let text = String::from_utf8(page.body).unwrap();
        assert!(!text.contains("hidden") && !text.contains("<b>"), "{text}");
        let links = links(&text);
        assert_eq!(links.len(), 5, "up, a directory, three files: {links:?}");
        for link in links {
            let found = server.get(&format!("/files/{link}").replace("/files/../", "/"));
            assert_eq!(found.status, 200, "{link}");
        }
        let mut client = server.connect();
        client.send(b"HEAD /files/ HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = client.response(Content::None).unwrap();
        assert_eq!(
            head.field("content-length"),
            Some(text.len().to_string().as_str())
        );
    }
}

#[test]
fn a_listing_shows_what_is_there_now() {
    for engine in engines() {
        let site = site();
        let server = Server::start(&site, &["--disk", engine, "--directories", "list"]);
        let has = |name: &str| String::from_utf8_lossy(&server.get("/files/").body).contains(name);
        assert!(!has("new.txt"));
        site.file("files/new.txt", "new");
        assert!(has("new.txt"));
    }
}

/// Watches a directory for opens.
fn opens_of(directory: &Path) -> Inotify {
    let inotify = Inotify::init().unwrap();
    inotify.watches().add(directory, WatchMask::OPEN).unwrap();
    inotify
}

/// Number of opens since the last call.
fn open_count(inotify: &mut Inotify) -> usize {
    let mut count = 0;
    let mut buffer = [0; 65_536];
    while let Ok(events) = inotify.read_events(&mut buffer) {
        // Events of files in it have names.
        count += events.filter(|event| event.name.is_none()).count();
    }
    count
}

fn text(server: &Server, path: &str) -> String {
    let page = server.get(path);
    assert_eq!(page.status, 200, "{path}");
    String::from_utf8(page.body).unwrap()
}

#[test]
fn links_are_listed_as_their_targets_or_not_at_all() {
    for engine in engines() {
        let site = Site::new();
        site.file("target", "0123456789")
            .file("below/a", "a")
            .file("d/.hidden", "hidden");
        let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let target = std::fs::File::open(site.path("target")).unwrap();
        target.set_modified(old).unwrap();
        std::fs::write(site.beside("outside"), "no").unwrap();
        let fifo = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        rustix::fs::mknodat(rustix::fs::CWD, site.path("fifo"), fifo, mode, 0).unwrap();
        #[rustfmt::skip]
        let links = [
            ("to-file",      "../target",     true),
            ("to-directory", "../below",      true),
            ("to-hidden",    ".hidden",       true),
            ("hanging",      "nowhere",       false),
            ("loop",         "loop",          false),
            ("out",          "../../outside", false),
            ("absolute",     "/etc/passwd",   false),
            ("to-fifo",      "../fifo",       false),
        ];
        for (name, target, _) in links {
            std::os::unix::fs::symlink(target, site.path(&format!("d/{name}"))).unwrap();
        }
        let words = [
            "--disk",
            engine,
            "--directories",
            "list",
            "--revalidate",
            "0",
        ];
        let server = Server::start(&site, &words);
        let page = text(&server, "/d/");
        for (name, _, is_shown) in links {
            assert_eq!(
                page.contains(&format!("href=\"./{name}")),
                is_shown,
                "{name}: {page}"
            );
            let slash = if name == "to-directory" { "/" } else { "" };
            let status = server.get(&format!("/d/{name}{slash}")).status;
            assert_eq!(status, if is_shown { 200 } else { 404 }, "{name}");
        }
        let row = "to-file</a></td><td>10</td><td>Sun, 09 Sep 2001 01:46:40 GMT<";
        assert!(page.contains(row), "{page}");
        assert!(
            page.contains("./to-directory/\">to-directory/</a></td><td></td>"),
            "{page}"
        );
        // The target of a link lies and changes elsewhere.
        std::fs::write(site.path("target"), "longer than it was").unwrap();
        assert!(text(&server, "/d/").contains("to-file</a></td><td>18</td>"));
    }
}

/// Creates so many names that the page exceeds a socket buffer.
fn many(site: &Site) -> usize {
    let long = "x".repeat(120);
    for number in (0..12_000).rev() {
        std::fs::write(site.path(&format!("many/{number:05}-{long}")), "").unwrap();
    }
    12_000
}

#[test]
fn all_names_are_shown_in_order() {
    let site = Site::new();
    let count = many(&site);
    let server = Server::start(&site, &["--directories", "list"]);
    let page = text(&server, "/many/");
    let links = links(&page);
    assert_eq!(links.len(), 1 + count);
    for (number, link) in links[1..].iter().enumerate() {
        assert!(link.starts_with(&format!("./{number:05}-")), "{link}");
    }
}

#[test]
fn all_who_ask_for_a_directory_share_one_page_that_is_made_once_a_change() {
    let site = Site::new();
    many(&site);
    for engine in engines() {
        let mut opens = opens_of(&site.path("many"));
        let server = Server::start(&site, &["--disk", engine, "--directories", "list"]);
        let mut first = server.connect();
        let page = first.get("/many/", &[]);
        let length = page.body.len() as u64;
        assert!(length > 3 << 20, "{length}");
        assert_eq!(page.field("vary"), None);
        // They read the head and nothing else.
        let mut clients: Vec<_> = (0..300).map(|_| server.connect()).collect();
        for (number, client) in clients.iter_mut().enumerate() {
            let path = ["/many/", "//many//", "/many/.", "/%6dany/?C=N"][number % 4];
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
        }
        for client in &clients {
            let mut byte = [0; 1];
            assert_eq!(client.stream().peek(&mut byte).unwrap(), 1);
        }
        let head = first.request("HEAD", "/many/", &[]);
        assert_eq!(head.field("content-length"), page.field("content-length"));
        let parts = server.numbers()["memory"]["parts"].clone();
        let held = |name: &str| parts[name].as_u64().unwrap();
        assert!(held("pages") < 2 * length, "{engine}: {parts}");
        assert!(held("buffers") < 300 * 64 * 1_024, "{engine}: {parts}");
        assert_eq!(open_count(&mut opens), 1, "{engine}");
        let mut last = clients.pop().unwrap();
        drop(clients);
        assert_eq!(last.response(Content::Expected).unwrap().body, page.body);
        // A new name, and a new length.
        for (bytes, row) in [("", "0"), ("12345", "5")] {
            std::fs::write(site.path("many/new"), bytes).unwrap();
            for _ in 0..2 {
                let row = format!(">new</a></td><td>{row}</td>");
                assert!(text(&server, "/many/").contains(&row), "{engine}");
            }
            assert_eq!(open_count(&mut opens), 1, "{engine}");
        }
        // An index file replaces the listing, until it is removed.
        site.file("many/index.html", "the index");
        assert_eq!(server.get("/many/").body, b"the index");
        assert_eq!(server.get("//many/").body, b"the index");
        std::fs::remove_file(site.path("many/index.html")).unwrap();
        assert!(text(&server, "/many/").contains(">new<"));
        std::fs::remove_file(site.path("many/new")).unwrap();
        assert!(!text(&server, "//many/").contains(">new<"));
    }
}

/// The date of a subdirectory changes with its content, without an event in the listed directory.
#[test]
fn the_date_of_a_directory_is_seen_within_the_bound() {
    let site = site();
    let server = Server::start(&site, &["--directories", "list", "--revalidate", "50ms"]);
    let old = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let below = std::fs::File::open(site.path("files/below")).unwrap();
    below.set_modified(old).unwrap();
    let shows = |date: &str| text(&server, "/files/").contains(date);
    super::harness::wait_until("the date is seen", || shows("Sun, 09 Sep 2001"));
    site.file("files/below/b", "b");
    super::harness::wait_until("a later date is seen", || !shows("Sun, 09 Sep 2001"));
}

#[test]
fn pages_that_would_take_too_much_memory_are_503() {
    let site = Site::new();
    many(&site);
    site.file("few/a", "a");
    let server = Server::start(&site, &["--directories", "list", "--memory", "16MiB"]);
    super::harness::wait_until("the limit is known", || server.get("/many/").status == 503);
    assert_eq!(server.get("/many/").field("retry-after"), Some("1"));
    assert_eq!(server.get("/few/").status, 200);
    assert_eq!(server.get("/few/a").body, b"a");
}

#[test]
fn locked_mappings_stay_in_memory() {
    let site = Site::new();
    site.file("a", vec![b'x'; 8_192]);
    let server = Server::start(&site, &["--lock"]);
    let locked = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmLck"))
            .unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(locked(), 0);
    super::harness::wait_until("two pages are locked", || {
        assert_eq!(server.get("/a").body.len(), 8_192);
        locked() == 8
    });
}
