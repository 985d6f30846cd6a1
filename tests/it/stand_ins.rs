//! Paths that stand in for those that lead to nothing: pages of errors, and the fallback of an application.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::harness::{Client, Content, Response, Server, Site, engines, unprivileged, wait_until};
use super::slow_tree::{SMALL_LENGTH, SlowTree};

/// Engines that never block the loop.
const FREE_ENGINES: [&str; 2] = ["uring", "threads"];

/// A page long enough for a compressed variant, and one too long for the file cache.
fn page(name: &str, length: usize) -> Vec<u8> {
    let mut page = format!("<!doctype html>{name}").into_bytes();
    page.resize(length, b' ');
    page
}

fn site() -> Site {
    let site = Site::new();
    site.file("index.html", "the application")
        .file("a.html", "a")
        .file("404.html", page("missing", 2_000))
        .file("404.html.br", "brotli")
        .file("sub/long.html", page("long", 100_000));
    site
}

fn text(response: &Response) -> String {
    String::from_utf8_lossy(&response.body).into_owned()
}

/// Checks that a response is the built-in page of an error.
fn is_built_in(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{response:?}");
    assert!(
        text(response).contains(&format!("<h1>{status}")),
        "{response:?}"
    );
}

#[test]
fn an_error_is_answered_with_its_page_and_keeps_its_status() {
    let site = site();
    for engine in engines() {
        let server = Server::start(&site, &["--disk", engine, "--error-page=404=/404.html"]);
        let mut client = server.connect();
        for path in [
            "/none",
            "/none",
            "/sub/none.js",
            "/.git/config",
            "/a%2fb",
            "/none?x=1",
        ] {
            let response = client.get(path, &[]);
            assert_eq!(
                (response.status, response.body.len()),
                (404, 2_000),
                "{path}"
            );
            assert!(
                text(&response).starts_with("<!doctype html>missing"),
                "{path}"
            );
            assert_eq!(
                response.field("content-type"),
                Some("text/html; charset=utf-8")
            );
            assert_eq!(response.field("cache-control"), Some("no-cache"));
            assert_eq!(response.field("vary"), Some("Accept-Encoding"));
            for absent in [
                "etag",
                "last-modified",
                "accept-ranges",
                "content-range",
                "content-encoding",
            ] {
                assert_eq!(response.field(absent), None, "{path}");
            }
        }
        let of_page = client.get("/404.html", &[]);
        assert_eq!(
            (of_page.status, of_page.body.len()),
            (200, 2_000),
            "the page itself"
        );
        assert!(of_page.field("etag").is_some());
        assert_eq!(
            client.get("/a.html", &[]).body,
            b"a",
            "what is there is served"
        );
    }
}

#[test]
fn preconditions_and_ranges_are_not_about_the_page_of_an_error() {
    let site = site();
    let server = Server::start(&site, &["--error-page=404=/404.html"]);
    let mut client = server.connect();
    let page = client.get("/404.html", &[]);
    let tag = page.field("etag").unwrap();
    let date = page.field("last-modified").unwrap();
    for field in [
        format!("If-None-Match: {tag}"),
        "If-None-Match: *".to_owned(),
        format!("If-Modified-Since: {date}"),
        "If-Match: \"other\"".to_owned(),
        "Range: bytes=0-1".to_owned(),
        "Range: bytes=999999-".to_owned(),
    ] {
        for _ in 0..2 {
            let response = client.get("/none", &[&field]);
            assert_eq!(
                (response.status, response.body.len()),
                (404, 2_000),
                "{field}"
            );
        }
    }
}

#[test]
fn the_page_of_an_error_is_sent_in_the_coding_that_the_client_accepts_and_not_to_head() {
    let site = site();
    for engine in engines() {
        let server = Server::start(&site, &["--disk", engine, "--error-page=404=/404.html"]);
        let mut client = server.connect();
        for _ in 0..3 {
            let response = client.get("/none", &["Accept-Encoding: br"]);
            assert_eq!((response.status, &*response.body), (404, &b"brotli"[..]));
            assert_eq!(response.field("content-encoding"), Some("br"));
            assert_eq!(
                response.field("content-type"),
                Some("text/html; charset=utf-8")
            );
            let head = client.request("HEAD", "/none", &[]);
            assert_eq!(
                (head.status, head.field("content-length")),
                (404, Some("2000"))
            );
        }
        // The connection goes on after each of them.
        assert_eq!(client.get("/a.html", &[]).body, b"a");
    }
}

#[test]
fn a_page_that_is_missing_or_no_file_gives_the_built_in_one() {
    let site = site();
    fs::create_dir_all(site.path("directory/inside")).unwrap();
    for page in ["/missing.html", "/directory", "/directory/", "/.hidden"] {
        let words = [&*format!("--error-page=404={page}"), "--directories=list"];
        let server = Server::start(&site, &words);
        let mut client = server.connect();
        for _ in 0..3 {
            is_built_in(&client.get("/none", &[]), 404);
            is_built_in(&client.get("/missing.html", &[]), 404);
        }
    }
}

#[test]
fn each_status_has_its_own_page() {
    let site = site();
    site.file("403.html", "forbidden");
    site.file("secret.html", "secret");
    let secret = fs::Permissions::from_mode(0o000);
    fs::set_permissions(site.path("secret.html"), secret).unwrap();
    let mut command = unprivileged(&site);
    command.args(["--listen=127.0.0.1:0", "--error-page=403=/403.html"]);
    let server = Server::spawn(command.arg(site.root()));
    let mut client = server.connect();
    for _ in 0..2 {
        let response = client.get("/secret.html", &[]);
        assert_eq!((response.status, &*response.body), (403, &b"forbidden"[..]));
        is_built_in(&client.get("/none", &[]), 404);
        // No look-up leads to these.
        let response = client.request("DELETE", "/none", &[]);
        is_built_in(&response, 405);
    }
}

#[test]
fn pipelined_errors_are_answered_in_order() {
    let site = site();
    site.file("long.txt", page("long", 300_000));
    for engine in engines() {
        let words = ["--disk", engine, "--error-page=404=/sub/long.html"];
        let server = Server::start(&site, &words);
        let mut client = server.connect();
        for _ in 0..2 {
            let paths = [
                "/none",
                "/a.html",
                "/long.txt",
                "/none2",
                "/none",
                "/a.html",
            ];
            let requests = paths.map(|path| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
            client.send(requests.concat().as_bytes());
            for (path, status, length) in [
                ("/none", 404, 100_000),
                ("/a.html", 200, 1),
                ("/long.txt", 200, 300_000),
                ("/none2", 404, 100_000),
                ("/none", 404, 100_000),
                ("/a.html", 200, 1),
            ] {
                let response = client.response(Content::Expected).unwrap();
                assert_eq!(
                    (response.status, response.body.len()),
                    (status, length),
                    "{path}"
                );
            }
        }
    }
}

/// Requests until the answer is the wanted one; the first must be.
fn sees(client: &mut Client, path: &str, status: u16, body: &str) {
    let response = client.get(path, &[]);
    assert_eq!(
        (response.status, &*text(&response)),
        (status, body),
        "{path}"
    );
}

#[test]
fn changes_of_a_page_and_of_the_path_are_seen_by_the_next_request() {
    let site = Site::new();
    site.file("404.html", "old").file("index.html", "app");
    for engine in engines() {
        site.publish("404.html", "old");
        site.publish("index.html", "app");
        let words = ["--disk", engine, "--error-page=404=/404.html", "--spa"];
        let server = Server::start(&site, &words);
        let mut client = server.connect();
        for _ in 0..3 {
            sees(&mut client, "/none.js", 404, "old");
            sees(&mut client, "/route", 200, "app");
        }
        site.publish("404.html", "new page");
        sees(&mut client, "/none.js", 404, "new page");
        site.publish("index.html", "new app");
        sees(&mut client, "/route", 200, "new app");
        site.publish("none.js", "script");
        site.publish("route", "file");
        sees(&mut client, "/none.js", 200, "script");
        sees(&mut client, "/route", 200, "file");
        fs::remove_file(site.path("none.js")).unwrap();
        fs::remove_file(site.path("route")).unwrap();
        sees(&mut client, "/none.js", 404, "new page");
        sees(&mut client, "/route", 200, "new app");
        fs::remove_file(site.path("index.html")).unwrap();
        sees(&mut client, "/route", 404, "new page");
        fs::remove_file(site.path("404.html")).unwrap();
        is_built_in(&client.get("/none.js", &[]), 404);
        is_built_in(&client.get("/route", &[]), 404);
        site.publish("index.html", "back");
        sees(&mut client, "/route", 200, "back");
    }
}

#[test]
fn routes_get_the_fallback_and_missing_assets_stay_errors() {
    let site = site();
    fs::create_dir(site.path("empty")).unwrap();
    for engine in engines() {
        let server = Server::start(&site, &["--disk", engine, "--fallback=/index.html"]);
        let mut client = server.connect();
        for _ in 0..3 {
            for path in [
                "/users/7",
                "/users/",
                "/old.html",
                "/a.html/b",
                "/empty/",
                "/x?y=z",
                "/v1.2",
            ] {
                let response = client.get(path, &[]);
                assert_eq!(
                    (response.status, &*text(&response)),
                    (200, "the application"),
                    "{path}"
                );
                assert_eq!(
                    response.field("content-type"),
                    Some("text/html; charset=utf-8")
                );
            }
            for path in [
                "/none.js",
                "/none.CSS",
                "/logo.png",
                "/api.json",
                "/.env",
                "/.well-known/a",
            ] {
                is_built_in(&client.get(path, &[]), 404);
            }
            assert_eq!(client.get("/a.html", &[]).body, b"a");
            assert_eq!(client.get("/empty", &[]).status, 301);
            assert_eq!(client.get("/%zz", &[]).status, 400);
        }
        let entries = server.numbers()["caches"][1]["entries"].as_u64();
        assert!(entries <= Some(2), "all routes share one file");
    }
}

#[test]
fn preconditions_and_ranges_are_about_the_fallback() {
    let site = site();
    let server = Server::start(&site, &["--spa"]);
    let mut client = server.connect();
    let of_file = client.get("/index.html", &[]);
    let tag = of_file.field("etag").unwrap();
    for _ in 0..2 {
        let of_route = client.get("/route", &[]);
        assert_eq!(of_route.field("etag"), Some(tag));
        let unchanged = client.get("/route", &[&format!("If-None-Match: {tag}")]);
        assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
        let part = client.get("/route", &["Range: bytes=4-6"]);
        assert_eq!((part.status, &*part.body), (206, &b"app"[..]));
        let head = client.request("HEAD", "/route", &[]);
        assert_eq!(
            (head.status, head.field("content-length")),
            (200, Some("15"))
        );
        let failed = client.get("/route", &["If-Match: \"other\""]);
        assert_eq!(failed.status, 412);
    }
}

/// The page comes from slow storage, after a look-up of the path that was slow too: hits of others go on, and both
/// look-ups have one time together.
#[test]
fn a_page_on_slow_storage_is_waited_for_like_a_file() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (round, engine) in FREE_ENGINES.into_iter().enumerate() {
        let page = format!("--error-page=404=/cold/small{round}");
        let fallback = format!("--fallback=/cold/small1{round}");
        let server = tree.serve(engine, &[&page, &fallback, "--server-timing"]);
        let mut hot = server.connect();
        let mut client = server.connect();
        let cases = [
            (format!("/cold/route{round}"), 200),
            (format!("/cold/{round}none.js"), 404),
            (format!("/hot/{round}none.js"), 404),
        ];
        for (path, status) in cases {
            client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
            assert_eq!(hot.get("/hot/file", &[]).status, 200);
            let response = client.response(Content::Expected).unwrap();
            let got = (response.status, response.body.len());
            assert_eq!(got, (status, SMALL_LENGTH), "{engine} {path}");
        }
    }
}

#[test]
fn an_error_whose_page_does_not_come_in_time_is_sent_without_it() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (round, engine) in FREE_ENGINES.into_iter().enumerate() {
        let page = format!("--error-page=404=/cold/stuck{round}");
        let timed_out = "--error-page=504=/hot/file";
        let words = [&*page, timed_out, "--disk-timeout=1s", "--revalidate=60s"];
        let server = tree.serve(engine, &words);
        let mut client = server.connect();
        is_built_in(&client.get("/hot/none", &[]), 404);
        // The page of a time-out is sent if no disk has to be asked for it.
        let stuck = format!("/cold/stuck1{round}");
        is_built_in(&client.get(&stuck, &[]), 504);
        wait_until("its page is in memory", || {
            assert_eq!(client.get("/hot/file", &[]).status, 200);
            server.numbers()["caches"][1]["entries"] == 1
        });
        let response = client.get(&stuck, &[]);
        assert_eq!(
            (response.status, response.body.len()),
            (504, 1_024),
            "{engine}"
        );
        tree.release();
    }
}

#[test]
fn a_page_that_cannot_be_read_leaves_the_error_as_it_is() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (round, engine) in FREE_ENGINES.into_iter().enumerate() {
        let broken = format!("/cold/broken{round}");
        let page = format!("--error-page=404={broken}");
        let server = tree.serve(engine, &[&page, "--error-page=500=/hot/file"]);
        let mut client = server.connect();
        for _ in 0..2 {
            is_built_in(&client.get("/hot/none", &[]), 404);
            let response = client.get(&broken, &[]);
            assert_eq!(
                (response.status, response.body.len()),
                (500, 1_024),
                "{engine}"
            );
        }
    }
}

#[test]
fn the_log_has_the_path_that_was_asked_for_and_the_status_of_the_error() {
    let site = site();
    let log = site.beside("log");
    let words = [
        "--error-page=404=/404.html",
        "--spa",
        "--access-log",
        log.to_str().unwrap(),
        "--access-log-format=json",
    ];
    let server = Server::start(&site, &words);
    let mut client = server.connect();
    for path in ["/none.js", "/none.js", "/route", "/route"] {
        client.get(path, &[]);
    }
    let lines = || fs::read_to_string(&log).unwrap_or_default();
    wait_until("all are logged", || lines().lines().count() == 4);
    let lines: Vec<serde_json::Value> = lines()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let said = |line: &serde_json::Value| {
        let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
        let (request, path, map) = (text("request"), text("path"), text("map"));
        format!("{request} {} {path} {map}", line["status"])
    };
    let said: Vec<String> = lines.iter().map(said).collect();
    // The path is the one of the request; the file is the one that is sent.
    #[rustfmt::skip]
    let want = [
        "GET /none.js HTTP/1.1 404 miss miss",
        "GET /none.js HTTP/1.1 404 hit miss",
        "GET /route HTTP/1.1 200 miss miss",
        "GET /route HTTP/1.1 200 hit miss",
    ];
    assert_eq!(said, want);
}
