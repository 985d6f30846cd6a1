//! Cache results in responses and log lines.

use std::fs;

use super::harness::{Server, Site, engines, wait_until};

#[test]
fn responses_say_which_cache_answered_and_what_the_disk_took() {
    for engine in engines() {
        let site = Site::new();
        site.file("a", vec![b'a'; 1_024])
            .file("long", vec![b'l'; 100_000]);
        let server = Server::start(&site, &["--disk", engine, "--server-timing"]);
        let mut client = server.connect();
        let mut timing = |path: &str, field: &str| {
            let fields: &[&str] = if field.is_empty() { &[] } else { &[field] };
            let response = client.get(path, fields);
            response.field("server-timing").unwrap().to_owned()
        };
        let cold = timing("/a", "");
        assert!(
            cold.starts_with(
                "path;desc=miss, head;desc=miss, map;desc=miss, descriptor;desc=miss, disk;dur="
            ),
            "{engine}: {cold}"
        );
        wait_until("all of it is known", || {
            timing("/a", "") == "path;desc=hit, head;desc=hit, map;desc=hit"
        });
        assert_eq!(
            timing("/a", "If-None-Match: *"),
            "path;desc=hit, head;desc=hit"
        );
        assert_eq!(
            timing("/a", "Range: bytes=0-9"),
            "path;desc=hit, head;desc=miss, map;desc=hit"
        );
        // Too long to be mapped: the head was rendered for the first answer and is reused for the second.
        assert!(timing("/long", "").contains("descriptor;desc=miss, disk;dur="));
        assert_eq!(
            timing("/long", ""),
            "path;desc=hit, head;desc=hit, descriptor;desc=hit"
        );
        assert!(timing("/none", "").starts_with("path;desc=miss, disk;dur="));
        assert_eq!(timing("/none", ""), "path;desc=hit");
        let refused = client.request("DELETE", "/a", &[]);
        assert_eq!(
            (refused.status, refused.field("server-timing")),
            (405, None)
        );
    }
}

#[test]
fn nothing_is_said_unless_it_is_asked_for() {
    let site = Site::new();
    site.file("a", "fine");
    let server = Server::start(&site, &[]);
    assert_eq!(server.get("/a").field("server-timing"), None);
}

#[test]
fn json_lines_have_the_same_and_nothing_breaks_them() {
    let site = Site::new();
    site.file("a", "fine");
    let log = site.beside("log");
    let path = log.to_str().unwrap();
    let words = ["--access-log", path, "--access-log-format", "json"];
    let server = Server::start(&site, &words);
    let mut client = server.connect();
    client.get("/a", &[]);
    client.get("/a?\"\\", &["User-Agent: odd \"one\"\\"]);
    let lines = || fs::read_to_string(&log).unwrap_or_default();
    wait_until("both are written", || lines().lines().count() == 2);
    let text = lines();
    let objects: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (cold, hot) = (&objects[0], &objects[1]);
    assert_eq!(
        (&cold["path"], &hot["path"]),
        (&"miss".into(), &"hit".into())
    );
    assert!(cold["disk_ms"].as_f64().is_some() && hot.get("disk_ms").is_none());
    assert_eq!(hot["user_agent"], "odd \"one\"\\");
    assert_eq!(hot["request"], "GET /a?\"\\ HTTP/1.1");
    for object in &objects {
        assert_eq!(object["status"], 200);
        assert_eq!(object["bytes"], 4);
        assert_eq!(object["remote"], "127.0.0.1");
        assert!(object["time"].as_f64().unwrap() > 1.7e9);
    }
}
