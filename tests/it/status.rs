//! The status page: who sees it, and whether its numbers are true.

use super::harness::{Client, Server, Site, wait_until};

fn site() -> Site {
    let site = Site::new();
    site.file("a", vec![b'a'; 1_000])
        .file("long", vec![b'l'; 100_000]);
    site
}

#[test]
fn the_numbers_are_those_of_what_happened() {
    let site = site();
    // On the loop, so that it is known by which request the file is mapped.
    let server = Server::start(&site, &["--disk", "blocking", "--revalidate", "1h"]);
    let mut client = server.connect();
    for _ in 0..10 {
        client.get("/a", &[]);
        client.get("/long", &[]);
        client.get("/none", &[]);
    }
    client.get("/a", &["If-None-Match: *"]);
    client.request("PUT", "/a", &[]);
    let numbers = server.numbers();
    let count = |path: &str| {
        numbers
            .pointer(path)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or_else(|| panic!("{path} in {numbers}"))
    };
    assert_eq!(count("/requests/total"), 32);
    assert_eq!(count("/requests/by_status_class/2xx"), 20);
    assert_eq!(count("/requests/by_status/304"), 1);
    assert_eq!(count("/requests/by_status/405"), 1);
    assert_eq!(count("/requests/by_status_class/3xx"), 1);
    assert_eq!(count("/requests/by_status_class/4xx"), 11);
    let caches = ["path", "map", "descriptor"];
    for (index, name) in caches.iter().enumerate() {
        assert_eq!(numbers["caches"][index]["name"], *name);
    }
    assert_eq!(
        (count("/caches/0/hits"), count("/caches/0/misses")),
        (28, 3)
    );
    assert_eq!(count("/caches/0/entries"), 3);
    // The first request finds no mapping, the second has it made, the third is the first hit.
    assert_eq!((count("/caches/1/hits"), count("/caches/1/misses")), (8, 2));
    assert_eq!(
        (count("/caches/1/entries"), count("/caches/1/bytes")),
        (1, 1_000)
    );
    assert_eq!(count("/caches/2/entries"), 1);
    assert_eq!(
        (count("/connections/open"), count("/connections/accepted")),
        (2, 2)
    );
    assert_eq!(numbers["disk"]["engine"], "blocking");
    assert!(count("/bytes_sent/sendfile") >= 1_000_000);
}

#[test]
fn caches_stay_within_their_sizes() {
    let site = Site::new();
    for index in 0..100 {
        site.file(&format!("{index}"), vec![b'x'; 1_000]);
    }
    let words = [
        "--map-cache",
        "10KiB",
        "--path-cache",
        "50",
        "--descriptors",
        "5",
    ];
    let server = Server::start(&site, &[&words[..], &["--revalidate", "1h"]].concat());
    let mut client = server.connect();
    for _ in 0..3 {
        for index in 0..100 {
            for _ in 0..3 {
                assert_eq!(client.get(&format!("/{index}"), &[]).body.len(), 1_000);
            }
        }
    }
    let numbers = server.numbers();
    let caches = &numbers["caches"];
    assert_eq!(
        (&caches[0]["entries"], &caches[0]["capacity"]),
        (&50.into(), &50.into())
    );
    assert_eq!(
        (&caches[1]["entries"], &caches[1]["bytes"]),
        (&10.into(), &10_000.into())
    );
    assert!(caches[2]["entries"].as_u64().unwrap() <= 5);
    assert!(caches[1]["evictions"].as_u64().unwrap() > 0);
    // A file that is just being mapped is watched already.
    wait_until("watches end with their mappings", || {
        server.numbers()["freshness"]["watched_files"] == 10
    });
}

#[test]
fn only_direct_peers_on_this_machine_see_it() {
    let site = site();
    let server = Server::start(&site, &[]);
    let mut client = server.connect();
    assert_eq!(client.get("/status", &[]).status, 200);
    assert_eq!(client.get("/status?x", &[]).status, 200);
    assert_eq!(client.request("HEAD", "/status", &[]).status, 200);
    for field in [
        "Forwarded: for=1.2.3.4",
        "X-Forwarded-For: 1.2.3.4",
        "Via: 1.1 proxy",
        "via: 1.1 proxy",
        "X-Real-IP: 1.2.3.4",
    ] {
        assert_eq!(client.get("/status", &[field]).status, 404, "{field}");
    }
    assert_eq!(client.request("POST", "/status", &[]).status, 405);
}

#[test]
fn it_is_for_all_for_nobody_or_for_a_listener_of_its_own() {
    let forwarded = ["Via: 1.1 proxy"];
    let site = site();
    let all = Server::start(&site, &["--status", "all"]);
    assert_eq!(all.connect().get("/status", &forwarded).status, 200);
    site.file("status", "a file");
    let off = Server::start(&site, &["--status", "off"]);
    assert_eq!(off.get("/status").body, b"a file");
    let own = Server::start(&site, &["--status", "127.0.0.1:0"]);
    assert_eq!(own.get("/status").body, b"a file");
    let line = own
        .lines()
        .iter()
        .find(|line| line.starts_with("status page on"))
        .unwrap();
    let address = line.split("http://").nth(1).unwrap().parse().unwrap();
    let mut client = Client::connect(address);
    assert_eq!(client.get("/status?format=json", &forwarded).status, 200);
    assert_eq!(
        client.get("/a", &[]).status,
        404,
        "nothing else is served there"
    );
}

#[test]
fn it_is_json_for_programs_and_a_page_for_people() {
    let site = site();
    let server = Server::start(&site, &[]);
    let mut client = server.connect();
    let cases = [
        ("/status", "", "text/html; charset=utf-8"),
        ("/status?format=json", "", "application/json"),
        (
            "/status?a=b&format=json",
            "Accept: text/html",
            "application/json",
        ),
        ("/status", "Accept: application/json", "application/json"),
        (
            "/status",
            "Accept: text/html, application/json;q=0.9",
            "text/html; charset=utf-8",
        ),
    ];
    for (path, field, kind) in cases {
        let fields: Vec<&str> = if field.is_empty() {
            vec![]
        } else {
            vec![field]
        };
        let response = client.get(path, &fields);
        assert_eq!(response.field("content-type"), Some(kind), "{path} {field}");
        assert_eq!(response.field("cache-control"), Some("no-store"));
        let json = serde_json::from_slice::<serde_json::Value>(&response.body).is_ok();
        assert_eq!(json, kind == "application/json");
    }
}

#[test]
fn metrics_are_the_same_numbers_for_the_same_peers() {
    let site = site();
    let server = Server::start(&site, &[]);
    let mut client = server.connect();
    for _ in 0..5 {
        client.get("/a", &[]);
        client.get("/none", &[]);
    }
    let response = client.get("/metrics", &[]);
    let kind = response.field("content-type").unwrap();
    assert!(kind.starts_with("application/openmetrics-text; version=1.0.0"));
    let text = String::from_utf8(response.body).unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut described = std::collections::HashMap::new();
    let mut values = std::collections::HashMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "TYPE", name, kind] => {
                assert!(described.insert(name.to_owned(), kind.to_owned()).is_none());
            }
            ["#", ..] => {}
            [name, value] => {
                let family = name.split('{').next().unwrap();
                let suffixes = ["_total", "_bucket", "_count", "_sum"];
                let family = suffixes
                    .iter()
                    .find_map(|suffix| family.strip_suffix(suffix))
                    .unwrap_or(family);
                assert!(described.contains_key(family), "{line}");
                assert!(family.starts_with("spede_"), "{line}");
                let is_counter = described[family] == "counter";
                assert_eq!(is_counter, name.contains("_total"), "{line}");
                let value: f64 = value.parse().unwrap();
                assert!(values.insert(name.to_owned(), value).is_none(), "{line}");
            }
            _ => panic!("{line}"),
        }
    }
    assert!((values["spede_responses_total{code=\"404\"}"] - 5.0).abs() < 0.5);
    assert!(values["spede_cache_hits_total{cache=\"path\"}"] >= 7.0);
    assert!(values["spede_loop_longest_turn_seconds"] > 0.0);
    // Whoever may not see the page may not see these either.
    let field = ["X-Forwarded-For: 192.0.2.1"];
    assert_eq!(client.get("/metrics", &field).status, 404);
    let hidden = Server::start(&site, &["--status", "off"]);
    assert_eq!(hidden.get("/metrics").status, 404);
}

#[test]
fn pages_need_nothing_inline() {
    let site = site();
    site.file("below/a", "x");
    let server = Server::start(&site, &["--directories", "list"]);
    for path in ["/status", "/below/"] {
        let page = server.get(path);
        let policy = page.field("content-security-policy").unwrap();
        assert!(!policy.contains("unsafe") && policy.starts_with("default-src 'none'"));
        let text = String::from_utf8(page.body).unwrap();
        assert!(
            !text.contains(" style=") && !text.contains(" onclick"),
            "{text}"
        );
    }
    for (part, kind) in [("style", "text/css"), ("script", "text/javascript")] {
        let response = server.get(&format!("/status?part={part}"));
        assert!(response.field("content-type").unwrap().starts_with(kind));
        assert!(response.body.len() > 500);
    }
}
