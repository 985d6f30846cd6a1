//! The parts of memory at /status, compared with the count of the allocator.

use std::fs;
use std::io::Write;
use std::net::TcpStream;

use serde_json::Value;

use super::harness::{Server, Site, wait_until};
use super::memory::{count, memory};

/// Maximum difference, as the inverse share of all allocated memory.
const DIFFERENCE_SHARE: u64 = 10;
/// Maximum difference, as the inverse share of the growth in one step. The allocator rounds blocks of
/// megabytes up by as much.
const GROWTH_DIFFERENCE_SHARE: u64 = 8;
/// Smaller growth is not compared: blocks of a size class come in pages of 64 KiB.
const GROWTH_BYTES_MIN: u64 = 256 << 10;

fn parts(numbers: &Value) -> u64 {
    let parts = numbers["parts"].as_object().unwrap();
    parts.values().map(|part| part.as_u64().unwrap()).sum()
}

/// Checks that the sum of the parts equals the allocated memory, in all and in growth since `before`.
fn compare(what: &str, before: &Value, server: &Server) {
    let mut last = (0, 0, Value::Null);
    let is_near = |one: u64, other: u64, share| one.abs_diff(other) <= other / share;
    // The page is rendered once a second, and a helper may free a part meanwhile.
    wait_until(&format!("{what}: parts are what is allocated"), || {
        let numbers = memory(server);
        let (sum, allocated) = (parts(&numbers), count(&numbers, "allocated_bytes"));
        let growth = allocated.saturating_sub(count(before, "allocated_bytes"));
        let counted = sum.saturating_sub(parts(before));
        let is_right = is_near(sum, allocated, DIFFERENCE_SHARE)
            && (growth < GROWTH_BYTES_MIN || is_near(counted, growth, GROWTH_DIFFERENCE_SHARE));
        if (sum, allocated) != (last.0, last.1) {
            println!("{what}: {sum} of {allocated}, of growth {counted} of {growth}: {numbers}");
        }
        last = (sum, allocated, numbers);
        is_right
    });
}

/// Requests paths twice, so that short files are copied.
fn ask(server: &Server, paths: impl Iterator<Item = String> + Clone, status: u16) {
    let mut client = server.connect();
    for path in paths.clone().chain(paths) {
        assert_eq!(client.get(&path, &[]).status, status, "{path}");
    }
}

fn held(server: &Server, count: usize, text: &str) -> Vec<TcpStream> {
    let open = |_| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let held: Vec<_> = (0..count).map(open).collect();
    wait_until("they are all there", || {
        server.numbers()["connections"]["open"].as_u64() > Some(count as u64)
    });
    held
}

fn site() -> Site {
    let site = Site::new();
    let long_name = "n".repeat(200);
    for number in 0..6_000 {
        fs::write(site.path(&format!("short/{number}")), vec![b's'; 3_000]).unwrap();
        fs::write(
            site.path(&format!("{}/long-{number}", number / 10)),
            vec![b'l'; 40_000],
        )
        .unwrap();
    }
    for number in 0..10_000 {
        fs::write(site.path(&format!("list/{long_name}-{number}")), "").unwrap();
    }
    site
}

#[test]
fn the_parts_add_up_to_the_allocated_memory() {
    let site = site();
    let log = site.beside("log");
    let log = log.to_str().unwrap();
    let words = ["--directories", "list", "--connections", "5000"];
    let words = [&words[..], &["--address-share", "100", "--access-log", log]].concat();
    let fill = |what: &str, fill: &dyn Fn(&Server) -> Vec<TcpStream>| {
        let server = Server::start(&site, &words);
        let before = memory(&server);
        compare(&format!("nothing ({what})"), &before, &server);
        let held = fill(&server);
        compare(what, &before, &server);
        drop(held);
    };
    let nobody = |server: &Server, paths: &dyn Fn(usize) -> String, count, status| {
        ask(server, (0..count).map(paths), status);
        Vec::new()
    };
    fill("copies", &|server| {
        nobody(server, &|it| format!("/short/{it}"), 6_000, 200)
    });
    fill("long files", &|server| {
        nobody(server, &|it| format!("/{}/long-{it}", it / 10), 6_000, 200)
    });
    fill("missing paths", &|server| {
        nobody(server, &|it| format!("/none-{it}"), 20_000, 404)
    });
    fill("redirects", &|server| {
        nobody(server, &|it| format!("/{it}"), 600, 301)
    });
    fill("spellings", &|server| {
        let spelling = |it: usize| {
            format!("/short/{}", "./".repeat(it % 200)) + "%31".repeat(it / 200 % 3).as_str() + "1"
        };
        nobody(server, &spelling, 600, 200)
    });
    fill("lists", &|server| {
        nobody(server, &|_| "/list/".to_owned(), 1, 200)
    });
    fill("idle connections", &|server| {
        held(server, 3_000, "GET /short/1 HTTP/1.1\r\nHost: a\r\n\r\n")
    });
    fill("beginnings of heads", &|server| {
        held(
            server,
            3_000,
            &format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(5_000)),
        )
    });
    fill("answers that are not taken", &|server| {
        let get = "GET /short/1 HTTP/1.1\r\nHost: a\r\n\r\n";
        held(server, 300, &get.repeat(3_000))
    });
}
