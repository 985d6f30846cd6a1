//! The access log: its lines, and its bounded cost in calls and memory.

use std::fs;
use std::io::Write;
use std::net::Shutdown;

use super::harness::{Client, Content, Server, Site, wait_until};

/// A site with a file of 8 KiB, which is mapped.
fn site() -> Site {
    let site = Site::new();
    site.file("a", vec![b'a'; 8 << 10]);
    site
}

/// A server with an access log, and the path of the log.
fn logging(site: &Site, format: &str, words: &[&str]) -> (Server, std::path::PathBuf) {
    let log = site.beside("log");
    let text = log.to_str().unwrap().to_owned();
    let own = ["--access-log", &text, "--access-log-format", format];
    (Server::start(site, &[&own, words].concat()), log)
}

/// Waits for this many lines, and returns them.
fn lines(log: &std::path::Path, count: usize) -> Vec<String> {
    let read = || String::from_utf8(fs::read(log).unwrap()).unwrap();
    wait_until("the lines are written", || read().lines().count() >= count);
    let lines: Vec<String> = read().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), count, "{lines:?}");
    lines
}

/// Malformed and refused requests matter to the reader of a log.
#[test]
fn what_was_sent_stands_in_the_log_also_where_it_is_no_request() {
    let long = "a".repeat(9_000);
    let fields = "A: b\r\n".repeat(200);
    #[rustfmt::skip]
    let cases: Vec<(String, u16, String)> = [
        ("GET / HTTP/1.1\r\n\r\n",                              400, "GET / HTTP/1.1"),
        ("GET /\"a\\b\" HTTP/1.1\r\nHost: a b\r\n\r\n",         400, r#"GET /\"a\\b\" HTTP/1.1"#),
        ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n",                  400, "GET  / HTTP/1.1"),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n",             400, r"GET /\xc3\xa9 HTTP/1.1"),
        ("\u{16}\u{3}\u{1}\u{2}\u{1}\u{1}\r\n\r\n",             400, r"\x16\x03\x01\x02\x01\x01"),
        ("GET / HTTP/1.1\nHost: a\n\n",                         400, "GET / HTTP/1.1"),
        ("\r\nnonsense\r\n\r\n",                                400, "nonsense"),
        ("GET / HTTP/2.0\r\nHost: a\r\n\r\n",                   505, "GET / HTTP/2.0"),
        ("BREW / HTTP/1.1\r\nHost: a\r\n\r\n",                  501, "BREW / HTTP/1.1"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x, chunked\r\n\r\n", 501, "POST / HTTP/1.1"),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n", 400, "POST / HTTP/1.1"),
        ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n", 413, "POST / HTTP/1.1"),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: tea\r\n\r\n",    417, "GET / HTTP/1.1"),
        ("GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n",          421, "GET https://a/ HTTP/1.1"),
        ("GET / HTT",                                           408, "GET / HTT"),
        ("GET / HTTP/1.1\r\nHost:",                             408, "GET / HTTP/1.1"),
        ("POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx", 408, "POST /b HTTP/1.1"),
    ]
    .into_iter()
    .map(|(sent, status, line)| (sent.to_owned(), status, line.to_owned()))
    .chain([
        (format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"),   414, format!("GET /{}", &long[..1_019])),
        (format!("GET /b HTTP/1.1\r\nHost: a\r\n{fields}\r\n"), 431, "GET /b HTTP/1.1".to_owned()),
    ])
    .collect();
    for format in ["combined", "json"] {
        let site = site();
        let times = ["--head-timeout", "300ms", "--body-timeout", "300ms"];
        let (server, log) = logging(&site, format, &times);
        for (count, (sent, status, line)) in cases.iter().enumerate() {
            let mut client = server.connect();
            client.send(sent.as_bytes());
            let response = client.response(Content::Expected).unwrap();
            assert_eq!(response.status, *status, "{sent:?}");
            client.finish();
            client.rest();
            let written = lines(&log, count + 1).remove(count);
            if format == "combined" {
                let want = format!("\"{line}\" {status} ");
                assert!(written.contains(&want), "{want:?} in {written:?}");
            } else {
                let object: serde_json::Value = serde_json::from_str(&written).unwrap();
                let first = sent.trim_start().split(['\r', '\n']).next().unwrap();
                let kept = String::from_utf8_lossy(&first.as_bytes()[..first.len().min(1_024)]);
                assert_eq!(object["request"], *kept, "{written}");
                assert_eq!(object["status"], *status, "{written}");
            }
        }
    }
}

/// Requests with log lines of the maximum length.
fn burst(count: usize) -> Vec<u8> {
    let quotes = "\"".repeat(1_500);
    format!("GET /a HTTP/1.1\r\nHost: a\r\nReferer: {quotes}\r\nUser-Agent: {quotes}\r\n\r\n")
        .repeat(count)
        .into_bytes()
}

/// Allocated bytes without connection buffers: these hold no log lines, and the number of spare ones depends
/// on how many connections were busy in one iteration.
fn allocated(server: &Server) -> u64 {
    let memory = &server.numbers()["memory"];
    let allocated = memory["allocated_bytes"].as_u64().unwrap();
    allocated - memory["parts"]["buffers"].as_u64().unwrap()
}

/// Clients that send a burst and read nothing, once all of them are stalled; and the bytes allocated before.
fn stuck_clients(server: &Server, count: usize) -> (Vec<Client>, u64) {
    // Memory for rendering the numbers is allocated by the first request.
    let before = [(); 2].map(|()| allocated(server))[1];
    let connect = |_| {
        let client = server.connect();
        rustix::net::sockopt::set_socket_recv_buffer_size(client.stream(), 4_096).unwrap();
        client
    };
    let mut clients: Vec<Client> = (0..count).map(connect).collect();
    let burst = burst(40);
    clients.iter_mut().for_each(|client| client.send(&burst));
    let mut sent = None;
    wait_until("nothing more is taken", || {
        let numbers = server.numbers();
        let so_far = numbers["bytes_sent"]["gathered"].as_u64();
        let states = &numbers["connections"]["by_state"];
        let before = std::mem::replace(&mut sent, so_far);
        // The request for the numbers sends bytes too, but fewer than the answer to a burst.
        let is_still = before
            .zip(so_far)
            .is_some_and(|(before, now)| now < before + 100_000);
        is_still && states["sending"].as_u64() >= Some(count as u64)
    });
    (clients, before)
}

#[test]
fn a_client_that_reads_nothing_costs_about_as_much_as_without_a_log() {
    let site = site();
    let count = 100;
    let plain = Server::start(&site, &["--send-timeout", "10m"]);
    let (_clients, before) = stuck_clients(&plain, count);
    let without = (allocated(&plain) - before) / count as u64;
    for format in ["combined", "json"] {
        let (server, _) = logging(&site, format, &["--send-timeout", "10m"]);
        let (_clients, before) = stuck_clients(&server, count);
        let mut with = 0;
        // Log lines of sent responses may be in flight for a moment.
        wait_until("a client takes about as much", || {
            with = (allocated(&server) - before) / count as u64;
            with < without + (14 << 10)
        });
        println!("{without} bytes a client without a log, {with} with one ({format})");
    }
}

/// The queue of pending log lines of a connection fills up again and again here.
#[test]
fn a_burst_is_answered_and_logged_to_its_last_request() {
    for format in ["combined", "json"] {
        let site = site();
        let (server, log) = logging(&site, format, &[]);
        let mut client = server.connect();
        let mut sender = client.stream().try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            sender.write_all(&burst(300)).unwrap();
            sender.shutdown(Shutdown::Write).unwrap();
        });
        for _ in 0..300 {
            let response = client.response(Content::Expected).unwrap();
            assert_eq!((response.status, response.body.len()), (200, 8 << 10));
        }
        assert!(client.is_closed());
        sending.join().unwrap();
        lines(&log, 300);
    }
}
