//! Pages that list a directory: only where they were asked for, and only what may be seen.

use std::os::unix::ffi::OsStrExt;

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

/// The addresses that a page links to, as they stand in it.
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
fn a_listing_leads_to_what_is_there_and_shows_no_hidden_names() {
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
