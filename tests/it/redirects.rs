//! Redirects and rewrites of a site.

use std::fs;

use super::harness::{Client, Content, Server, Site, engines};
use super::sites::serve;

/// A server of a configuration file with one site.
fn server(site: &Site, engine: &str, rules: &str) -> Server {
    let root = site.root();
    let config = format!("[[site]]\nroot = {root:?}\n{rules}");
    serve(site, &config, &["--disk", engine])
}

const RULES: &str = r#"
[[site.redirect]]
from = "/old/*"
to = "/new/$1"
[[site.redirect]]
from = "/moved/**"
to = "https://example.org/$1?from=here#top"
status = 301
[[site.redirect]]
from = "/soon"
to = "/later"
status = 302
[[site.redirect]]
from = "/kept"
to = "/later"
status = 307
[[site.rewrite]]
from = "/v{1,2}/**"
to = "/current/$1"
"#;

fn location(client: &mut Client, path: &str) -> (u16, String) {
    let response = client.get(path, &[]);
    let location = response.field("location").unwrap_or_default().to_owned();
    (response.status, location)
}

#[test]
fn a_redirect_is_answered_with_its_status_and_the_query() {
    let site = Site::new();
    site.file("old/there", "a file that nobody gets");
    for engine in engines() {
        let server = server(&site, engine, RULES);
        let mut client = server.connect();
        let cases = [
            ("/old/there", 308, "/new/there"),
            ("/old/a?b=c", 308, "/new/a?b=c"),
            ("/old/a%20b", 308, "/new/a%20b"),
            ("/moved/a/b", 301, "https://example.org/a/b?from=here#top"),
            ("/moved/a?q", 301, "https://example.org/a?from=here&q#top"),
            ("/soon", 302, "/later"),
            ("/kept", 307, "/later"),
            ("/old/a/b", 404, ""),
            (
                "/moved/%0d%0aX-Evil:%201",
                301,
                "https://example.org/%0D%0AX-Evil:%201?from=here#top",
            ),
            (
                "/moved//evil.example/%2e%2e/x",
                301,
                "https://example.org/x?from=here#top",
            ),
            ("/old/%5c%5cevil.example", 308, "/new/%5C%5Cevil.example"),
        ];
        for _ in 0..2 {
            for (path, status, target) in cases {
                assert_eq!(
                    location(&mut client, path),
                    (status, target.to_owned()),
                    "{path}"
                );
            }
        }
        let head = client.request("HEAD", "/soon", &[]);
        assert_eq!((head.status, head.field("location")), (302, Some("/later")));
        assert_eq!(
            client
                .request("POST", "/soon", &["Content-Length: 0"])
                .status,
            405
        );
    }
}

#[test]
fn a_redirect_asks_no_disk_and_is_remembered() {
    let site = Site::new();
    let server = server(&site, "threads", RULES);
    let mut client = server.connect();
    let requests = "GET /soon HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50);
    client.send(requests.as_bytes());
    for _ in 0..50 {
        assert_eq!(client.response(Content::Expected).unwrap().status, 302);
    }
    let numbers = server.numbers();
    let paths = &numbers["caches"][0];
    assert_eq!(
        (&paths["misses"], &paths["entries"]),
        (&1.into(), &1.into()),
        "{paths}"
    );
    assert!(paths["hits"].as_u64() >= Some(49), "{paths}");
}

#[test]
fn a_rewritten_path_is_answered_from_another_and_follows_its_changes() {
    let site = Site::new();
    for engine in engines() {
        site.publish("current/a.txt", "one");
        fs::create_dir_all(site.path("current/dir/x").parent().unwrap()).unwrap();
        let server = server(&site, engine, RULES);
        let mut client = server.connect();
        for body in ["one", "two, longer"] {
            site.publish("current/a.txt", body);
            for _ in 0..3 {
                for path in ["/v1/a.txt", "/v2/a.txt", "/current/a.txt"] {
                    let response = client.get(path, &[]);
                    assert_eq!(
                        (response.status, &*response.body),
                        (200, body.as_bytes()),
                        "{path}"
                    );
                    assert_eq!(
                        response.field("content-type"),
                        Some("text/plain; charset=utf-8")
                    );
                }
            }
        }
        let tag = client
            .get("/v1/a.txt", &[])
            .field("etag")
            .unwrap()
            .to_owned();
        let unchanged = client.get("/v2/a.txt", &[&format!("If-None-Match: {tag}")]);
        assert_eq!(unchanged.status, 304);
        assert_eq!(client.get("/v1/none", &[]).status, 404);
        site.publish("current/none", "there");
        assert_eq!(client.get("/v1/none", &[]).body, b"there");
        fs::remove_file(site.path("current/none")).unwrap();
        assert_eq!(client.get("/v1/none", &[]).status, 404);
    }
}
