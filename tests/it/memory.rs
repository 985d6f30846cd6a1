//! The budget of memory: what it is, what is used of it, and who gives way.

use serde_json::Value;

use super::harness::{Server, Site};

/// The numbers of memory at /status.
fn memory(server: &Server) -> Value {
    server.numbers()["memory"].clone()
}

fn count(numbers: &Value, name: &str) -> u64 {
    let value = numbers.pointer(&format!("/{name}"));
    value
        .and_then(Value::as_u64)
        .unwrap_or_else(|| panic!("{name} in {numbers}"))
}

#[test]
fn the_budget_is_shown_with_what_is_used_of_it() {
    let site = Site::new();
    site.file("a", vec![b'a'; 1_000]);
    let server = Server::start(&site, &["--memory", "64MiB"]);
    assert_eq!(server.get("/a").status, 200);
    let numbers = memory(&server);
    assert_eq!(count(&numbers, "budget_bytes"), 64 << 20);
    let allocated = count(&numbers, "allocated_bytes");
    assert!((1 << 20..32 << 20).contains(&allocated), "{numbers}");
    assert!(count(&numbers, "parts/program") > 1 << 19, "{numbers}");
    let resident = count(&numbers, "resident_bytes");
    assert!(
        resident >= count(&numbers, "resident_own_bytes"),
        "{numbers}"
    );
    let of_us = std::fs::read_to_string(format!("/proc/{}/statm", server.pid())).unwrap();
    let pages: u64 = of_us.split(' ').nth(1).unwrap().parse().unwrap();
    assert!(resident.abs_diff(pages * 4_096) < 16 << 20, "{numbers}");
    let metrics = String::from_utf8(server.get("/metrics").body).unwrap();
    let has = |line: &str| metrics.lines().any(|other| other.starts_with(line));
    assert!(
        has("spede_memory_budget_bytes{} 67108864") || has("spede_memory_budget_bytes 67108864")
    );
    assert!(
        has("spede_memory_used_bytes{part=\"program\"}") && has("spede_memory_limit_bytes{source=")
    );
}

#[test]
fn sizes_that_cannot_be_kept_are_said_at_the_start() {
    let site = Site::new();
    let server = Server::start(&site, &[]);
    assert_eq!(server.errors(), "", "defaults are no wish");
    let words = [
        "--map-cache",
        "8000GiB",
        "--path-cache",
        "16777216",
        "--memory",
        "64MiB",
    ];
    let server = Server::start(&site, &words);
    server.get("/");
    let errors = server.errors();
    let said = |words: &str| {
        errors
            .lines()
            .any(|line| line.starts_with("spede: ") && line.contains(words))
    };
    assert!(
        said("--map-cache: ") && said("less than the 8192000 MiB asked for"),
        "{errors}"
    );
    assert!(
        said("--path-cache: 16777216 paths take at least 2400 MiB"),
        "{errors}"
    );
    assert_eq!(errors.lines().count(), 2, "{errors}");
    let server = Server::start(&site, &["--memory", "8000GiB"]);
    server.get("/");
    assert!(
        server.errors().contains("--memory: "),
        "{}",
        server.errors()
    );
}
