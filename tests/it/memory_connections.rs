//! Memory used by connections stays within the budget, whatever clients send or fail to read.

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::harness::{Server, Site, not_beside_others, skip, wait_until};
use super::memory::{Group, count, memory, used};

/// Number of connections for each kind of load.
const CONNECTION_COUNT: usize = 3_000;
const BUDGET_BYTES: u64 = 32 << 20;
/// Allowance beyond the budget for the current iteration, and for the page with the numbers.
const SLACK_BYTES: u64 = 1 << 20;

/// The bytes that each connection of a load sends before it falls silent.
struct Load {
    name: &'static str,
    /// By the index of the connection.
    bytes: Box<dyn Fn(usize) -> String>,
    /// Whether all of them together exceed the memory for connections.
    is_too_much: bool,
}

fn loads() -> Vec<Load> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    let always = |name, text: String, is_too_much| Load {
        name,
        bytes: Box::new(move |_| text.clone()),
        is_too_much,
    };
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}", "x".repeat(12_000));
    let burst = get("/long") + &get("/none").repeat(400);
    let short_files = move |number| {
        let numbers = (0..300).map(|step| (number * 4 + step) % FILE_COUNT);
        numbers.map(|number| get(&name(number))).collect()
    };
    vec![
        always("beginnings of heads", "GET / HTTP/1.1\r\nHo".into(), false),
        always("long heads without an end", long, true),
        always("a long file that is not taken", get("/long"), false),
        always("a burst of requests behind it", burst, true),
        Load {
            name: "short files that are not taken",
            bytes: Box::new(short_files),
            is_too_much: true,
        },
    ]
}

/// Short files on the site: they exceed the budget.
const FILE_COUNT: usize = 12_000;

fn name(number: usize) -> String {
    format!("/{}/{number}", number / 1_000)
}

fn site() -> Site {
    let site = Site::new();
    site.file("hot", "fine");
    site.file("long", vec![b'l'; 8 << 20]);
    let short = vec![b's'; 4_000];
    for number in 0..FILE_COUNT {
        std::fs::write(site.path(&name(number)[1..]), &short).unwrap();
    }
    site
}

/// A connection with a small receive buffer, which fills up without a reader.
fn connect(server: &Server) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    socket.connect(&server.address().into()).unwrap();
    TcpStream::from(socket)
}

fn closed_for_memory(numbers: &Value) -> u64 {
    numbers["connections"]["closed_for_memory"]
        .as_u64()
        .unwrap()
}

/// Applies a load to a server, and checks that it stays within its budget.
fn bear(server: &Server, load: &Load) {
    let before = closed_for_memory(&server.numbers());
    let mut held = Vec::new();
    let mut hot = server.connect();
    for number in 0..CONNECTION_COUNT {
        let mut stream = connect(server);
        stream
            .set_write_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // A closed connection accepts nothing more.
        let _ = stream.write_all((load.bytes)(number).as_bytes());
        held.push(stream);
        if number % 100 == 0 {
            assert_eq!(hot.get("/hot", &[]).body, b"fine", "{}", load.name);
            let numbers = memory(server);
            let allowed = BUDGET_BYTES + SLACK_BYTES;
            assert!(used(&numbers) <= allowed, "{}: {numbers}", load.name);
        }
    }
    // The numbers may be a second old.
    let mut numbers = Value::Null;
    wait_until("the load is there", || {
        assert_eq!(hot.get("/hot", &[]).body, b"fine", "{}", load.name);
        numbers = server.numbers();
        let connections = &numbers["connections"];
        let is_there = connections["accepted"].as_u64() > Some(CONNECTION_COUNT as u64);
        let is_settled = connections["by_state"]["waiting"] == 0;
        let is_closed = closed_for_memory(&numbers) > before;
        is_there && (is_settled || is_closed) && (is_closed || !load.is_too_much)
    });
    let allowed = BUDGET_BYTES + SLACK_BYTES;
    assert!(
        used(&numbers["memory"]) <= allowed,
        "{}: {numbers}",
        load.name
    );
    let closed = closed_for_memory(&numbers) - before;
    assert_eq!(closed > 0, load.is_too_much, "{}: {closed}", load.name);
    assert!(closed < CONNECTION_COUNT as u64, "{}: {closed}", load.name);
    let buffers = count(&numbers["memory"], "parts/buffers");
    assert!(buffers <= BUDGET_BYTES / 3, "{}: {buffers}", load.name);
    assert_eq!(hot.get("/hot", &[]).body, b"fine", "{}", load.name);
}

#[test]
fn what_connections_hold_stays_within_the_budget() {
    let _alone = not_beside_others();
    let site = site();
    let words = ["--memory", "32MiB", "--connections", "3400"];
    let words = [&words[..], &["--address-share", "100", "--disk", "uring"]].concat();
    for load in loads() {
        bear(&Server::start(&site, &words), &load);
    }
}

#[test]
fn what_connections_hold_kills_nobody_in_a_small_container() {
    let _alone = not_beside_others();
    let site = site();
    let group = match Group::limited(64 << 20) {
        Ok(group) => group,
        Err(reason) => return skip(&reason),
    };
    let words = ["--connections", "3400", "--address-share", "100"];
    let words = [&words[..], &["--disk", "threads"]].concat();
    for load in loads() {
        let server = group.serve(&site, &words);
        bear(&server, &load);
        assert_eq!(group.kills(), 0, "{}", load.name);
    }
}
