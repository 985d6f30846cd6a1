//! The status page: correctness of its numbers.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::harness::{Client, Server, Site, engines, wait_until};
use super::metrics::metrics_of;

/// A site with a short and a long file.
pub fn site() -> Site {
    let site = Site::new();
    site.file("a", vec![b'a'; 1_000])
        .file("long", vec![b'l'; 100_000]);
    site
}

#[test]
fn the_numbers_are_those_of_what_happened() {
    let site = site();
    // On the loop, so that the request that maps the file is known.
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
    assert_eq!(count("/caches/0/miss_bytes"), 101_000);
    assert_eq!(count("/caches/0/entries"), 3);
    // The first request finds no mapping, the second one starts it, the third is the first hit.
    assert_eq!((count("/caches/1/hits"), count("/caches/1/misses")), (8, 2));
    assert_eq!(
        (count("/caches/1/entries"), count("/caches/1/bytes")),
        (1, 1_000)
    );
    assert_eq!(count("/caches/2/entries"), 1);
    // Both files were opened by their first requests. The second one of /a used its descriptor, which was
    // closed when the file was mapped; so did all but the first of /long.
    assert_eq!(
        (count("/caches/2/hits"), count("/caches/2/misses")),
        (10, 2)
    );
    assert_eq!(count("/caches/2/misses_by/path"), 2);
    assert_eq!(count("/caches/2/released"), 1);
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
    // A file is watched just before it is mapped.
    wait_until("watches end with their mappings", || {
        server.numbers()["freshness"]["watched_files"] == 10
    });
}

/// Every inserted entry is still cached, or was counted when it left.
fn assert_all_are_counted(numbers: &serde_json::Value, cache: usize, engine: &str) {
    let of = |name: &str| numbers["caches"][cache][name].as_u64().unwrap();
    let gone = ["evictions", "rejected", "changed", "released"].map(of);
    let gone: u64 = gone.iter().sum();
    assert_eq!(
        of("insertions"),
        of("entries") + gone,
        "{engine}: {numbers}"
    );
}

/// However often a request is resumed: for a descriptor, for bytes, for a mapping.
#[test]
fn each_request_is_one_lookup() {
    let site = Site::new();
    for index in 0..60 {
        site.file(&format!("{index}"), vec![b'x'; 1_000]);
    }
    for engine in engines() {
        let words = [
            "--map-cache",
            "20KiB",
            "--descriptors",
            "8",
            "--disk",
            engine,
        ];
        let server = Server::start(&site, &words);
        let mut client = server.connect();
        for round in 0..3_000_u64 {
            let path = format!("/{}", round * round * round % 60);
            assert_eq!(client.get(&path, &[]).body.len(), 1_000);
        }
        let numbers = server.numbers();
        let of = |cache: usize, name: &str| numbers["caches"][cache][name].as_u64().unwrap();
        // The open-file cache is asked after a miss in the file cache.
        for (cache, look_ups) in [(0, 3_000), (1, 3_000), (2, of(1, "misses"))] {
            let of = |name| of(cache, name);
            assert_eq!(of("hits") + of("misses"), look_ups, "{engine}: {numbers}");
            assert_all_are_counted(&numbers, cache, engine);
            assert!(
                of("evictions") + of("rejected") > 100 || cache == 0,
                "{engine}"
            );
        }
        assert!(of(2, "misses") >= 60, "each file was opened: {numbers}");
    }
}

/// A place among the top files does not keep a file cached.
#[test]
fn what_is_gone_is_polled_no_more() {
    let site = site();
    fs::hard_link(site.path("a"), site.path("b")).unwrap();
    let server = Server::start(&site, &[]);
    let mut client = server.connect();
    for _ in 0..5 {
        client.get("/b", &[]);
    }
    let polled = |server: &Server| server.numbers()["freshness"]["polled_entries"].as_u64();
    assert_eq!(polled(&server), Some(1));
    fs::remove_file(site.path("b")).unwrap();
    wait_until("it is not found", || client.get("/b", &[]).status == 404);
    assert_eq!(polled(&server), Some(0));
    assert_eq!(server.numbers()["freshness"]["worst_staleness_ms"], 0);
    assert_eq!(server.numbers()["top"]["by_bytes"][0]["bytes"], 5_000);
}

/// A lookup that is repeated because of a change counts once.
#[test]
fn a_request_is_one_look_up_whatever_changes_meanwhile() {
    let site = site();
    for engine in engines() {
        let server = Server::start(&site, &["--disk", engine]);
        let (is_over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut client = server.connect();
                    while !is_over.load(Ordering::Relaxed) {
                        assert_eq!(client.get("/a", &[]).body.len(), 1_000);
                        asked.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for _ in 0..500 {
                site.publish("a", vec![b'b'; 1_000]);
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let numbers = server.numbers();
        let asked = asked.into_inner();
        for cache in [0, 1] {
            let of = |name: &str| numbers["caches"][cache][name].as_u64().unwrap();
            let look_ups = of("hits") + of("misses") + of("expired");
            assert_eq!(look_ups, asked, "{engine}: {numbers}");
            assert_all_are_counted(&numbers, cache, engine);
        }
        // Entries invalidated by the last of them are revalidated before their next use, not after a time.
        assert_eq!(numbers["freshness"]["polled_entries"], 0, "{engine}");
        let listed = numbers["top"]["by_bytes"].as_array().unwrap();
        assert_eq!(listed.len(), 1, "{engine}: {listed:?}");
    }
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

/// All member names in a value.
fn names_in(value: &serde_json::Value, names: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(members) => {
            for (name, value) in members {
                names.insert(name.clone());
                names_in(value, names);
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| names_in(value, names)),
        _ => {}
    }
}

#[test]
fn every_number_is_explained() {
    let site = site();
    let server = Server::start(&site, &[]);
    let mut client = server.connect();
    client.get("/long", &[]);
    // Enough requests for curves.
    wait_until("all numbers are there", || {
        (0..500).for_each(|_| drop(client.get("/a", &[])));
        let numbers = server.numbers();
        numbers["caches"][0]["curve"].is_object() && numbers["caches"][1]["curve"].is_object()
    });
    let book = include_str!("../../docs/operations.md");
    let mut names = BTreeSet::new();
    names_in(&server.numbers(), &mut names);
    let (families, _) = metrics_of(
        &String::from_utf8(server.get("/metrics").body).unwrap(),
        false,
    );
    names.extend(families.into_keys());
    let words: BTreeSet<&str> = book
        .split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .collect();
    let unexplained: Vec<&String> = names
        .iter()
        .filter(|name| !words.contains(name.as_str()))
        // Statuses are numbers, not names.
        .filter(|name| name.parse::<u16>().is_err())
        .collect();
    assert!(unexplained.is_empty(), "{unexplained:?}");
}

#[test]
fn top_files_are_named_and_refused_ones_never() {
    let site = site();
    site.file("<b>&.txt", "x").file(".hidden", "hidden");
    let server = Server::start(&site, &[]);
    let mut client = server.connect();
    for _ in 0..4 {
        client.get("/a", &[]);
        client.get("/%3Cb%3E&.txt", &[]);
        client.get("/long", &["Range: bytes=0-9999"]);
        client.request("HEAD", "/long", &[]);
        for refused in ["/none", "/.hidden", "/../x?<script>"] {
            assert_ne!(client.get(refused, &[]).status, 200);
        }
    }
    let top = &server.numbers()["top"];
    let by = |list: &str, count: &str| -> Vec<(String, u64)> {
        let list = top[list].as_array().unwrap();
        let item = |one: &serde_json::Value| {
            let path = one["path"].as_str().unwrap().to_owned();
            (path, one[count].as_u64().unwrap())
        };
        list.iter().map(item).collect()
    };
    let expected = [("/long", 40_000), ("/a", 4_000), ("/%3Cb%3E&.txt", 4)];
    let expected = expected.map(|(path, bytes)| (path.to_owned(), bytes));
    assert_eq!(by("by_bytes", "bytes"), expected);
    let mut missed = by("by_misses", "misses");
    missed.sort();
    let expected = ["/%3Cb%3E&.txt", "/a", "/long"].map(|path| (path.to_owned(), 1));
    assert_eq!(missed, expected);
    let page = String::from_utf8(server.get("/status").body).unwrap();
    assert!(
        page.contains("/%3Cb%3E&amp;.txt") && !page.contains("none<") && !page.contains(".hidden")
    );
}

/// Reloads and HEAD requests of the page cost no more than requests for a file.
#[test]
fn a_page_is_rendered_once_a_second_and_shared() {
    let site = site();
    let server = Server::start(&site, &[]);
    for path in ["/status", "/status?format=json", "/metrics"] {
        let (began, mut renderings) = (Instant::now(), BTreeSet::new());
        let mut clients: Vec<Client> = (0..64).map(|_| server.connect()).collect();
        for _ in 0..20 {
            // Each rendering counts more requests than the previous one.
            let response = |client: &mut Client| client.get(path, &[]).body;
            renderings.extend(clients.iter_mut().map(response));
            let heads = clients
                .iter_mut()
                .map(|client| client.request("HEAD", path, &[]));
            assert!(heads.into_iter().all(|head| head.status == 200));
        }
        let rendered_max = 8 + usize::try_from(began.elapsed().as_secs()).unwrap() + 1;
        assert!(
            renderings.len() <= rendered_max,
            "{} of {path}",
            renderings.len()
        );
    }
    wait_until("what was counted meanwhile is shown", || {
        server.numbers()["requests"]["total"].as_u64() > Some(3 * 2 * 64 * 20)
    });
}

#[test]
fn connections_are_counted_by_what_they_do() {
    let site = site();
    site.file("huge", vec![b'h'; 30_000_000]);
    let server = Server::start(&site, &["--grace", "0"]);
    let mut idle = server.connect();
    idle.get("/a", &[]);
    let mut receiving = server.connect();
    receiving.send(b"GET / HTTP/1.1\r\nHo");
    let mut sending = server.connect();
    sending.send(b"GET /huge HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut lingering = server.connect();
    lingering.send(b"GET /a HTTP/1.1\r\n\r\n");
    let expected = serde_json::json!({
        // The request for the page itself.
        "idle": 1, "receiving": 1, "waiting": 0, "sending": 2, "lingering": 1,
    });
    wait_until("each does what it does", || {
        server.numbers()["connections"]["by_state"] == expected
    });
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
