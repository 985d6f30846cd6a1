//! Shutdown loses no request: counted by clients that never retry.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::harness::{
    Client, Content, PATIENCE, Server, Site, engines, not_beside_others, wait_until,
};

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
const LONG_LENGTH: usize = 100 << 20;

fn site() -> Site {
    let site = Site::new();
    site.file("a", "fine").file("b", vec![b'b'; 40_000]);
    let long = std::fs::File::create(site.path("long")).unwrap();
    long.set_len(LONG_LENGTH as u64).unwrap();
    site
}

/// Counts of all clients.
#[derive(Debug, Default)]
struct Seen {
    answers: AtomicU64,
    /// Responses with `Connection: close`.
    last: AtomicU64,
    /// Connections closed while idle.
    ended_idle: AtomicU64,
    lost: std::sync::Mutex<Vec<String>>,
    is_over: AtomicBool,
}

impl Seen {
    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    fn lost(&self, what: String) {
        self.lost.lock().unwrap().push(what);
    }
}

/// A connection of a counting client.
struct Visitor<'a> {
    stream: TcpStream,
    received: Vec<u8>,
    seen: &'a Seen,
}

/// Whether a connection can be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    Kept,
    Ended,
}

impl<'a> Visitor<'a> {
    fn connect(address: SocketAddr, seen: &'a Seen) -> Option<Visitor<'a>> {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_nodelay(true).unwrap();
                Some(Visitor {
                    stream,
                    received: Vec::new(),
                    seen,
                })
            }
            Err(error) => {
                seen.lost(format!("connect: {error}"));
                None
            }
        }
    }

    /// Waits, and notices if the connection is closed meanwhile.
    fn think(&mut self, time: Duration) -> After {
        let time = time.max(Duration::from_micros(1));
        self.stream.set_read_timeout(Some(time)).unwrap();
        match self.stream.peek(&mut [0]) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                After::Kept
            }
            Ok(0) => {
                self.seen.ended_idle.fetch_add(1, Ordering::Relaxed);
                After::Ended
            }
            other => {
                self.seen.lost(format!("while idle: {other:?}"));
                After::Ended
            }
        }
    }

    /// Sends `count` requests at once; every answer must arrive, with `length` bytes of content.
    fn ask(&mut self, request: &[u8], count: usize, length: usize) -> After {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        if let Err(error) = self.stream.write_all(&request.repeat(count)) {
            self.seen.lost(format!("write: {error}"));
            return After::Ended;
        }
        for index in 0..count {
            match self.answer(length) {
                Ok(After::Kept) => {}
                Ok(After::Ended) if index + 1 == count => return After::Ended,
                Ok(After::Ended) => {
                    self.seen.lost(format!("only {index} of {count} answers"));
                    return After::Ended;
                }
                Err(what) => {
                    self.seen.lost(format!("answer {index} of {count}: {what}"));
                    return After::Ended;
                }
            }
        }
        After::Kept
    }

    fn answer(&mut self, length: usize) -> Result<After, String> {
        let head_end = loop {
            let end = self.received.windows(4).position(|at| at == b"\r\n\r\n");
            match end {
                Some(end) => break end + 4,
                None => self.receive()?,
            }
        };
        let head = String::from_utf8_lossy(&self.received[..head_end]).into_owned();
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(head);
        }
        self.received.drain(..head_end);
        let mut left = length;
        loop {
            let taken = left.min(self.received.len());
            self.received.drain(..taken);
            left -= taken;
            if left == 0 {
                break;
            }
            self.receive()?;
        }
        self.seen.answers.fetch_add(1, Ordering::Relaxed);
        match head.contains("\r\nconnection: close\r\n")
            || head.contains("\r\nConnection: close\r\n")
        {
            true => {
                self.seen.last.fetch_add(1, Ordering::Relaxed);
                Ok(After::Ended)
            }
            false => Ok(After::Kept),
        }
    }

    fn receive(&mut self) -> Result<(), String> {
        let mut buffer = [0; 65_536];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(format!("end after {} bytes", self.received.len())),
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// Sends requests with pauses, on one connection after the other.
fn visit(address: SocketAddr, seen: &Seen, random: &mut u64, think_us_max: u64, depth: usize) {
    while !seen.is_over() {
        let Some(mut visitor) = Visitor::connect(address, seen) else {
            return;
        };
        loop {
            let think = Duration::from_micros(next(random) % think_us_max);
            if visitor.think(think) == After::Ended || visitor.ask(GET, depth, 4) == After::Ended {
                break;
            }
            if seen.is_over() {
                break;
            }
        }
    }
}

fn next(random: &mut u64) -> u64 {
    *random = random
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    *random >> 33
}

/// The listener stays open here, as under a service manager. 100 clients pause for up to 4 ms; others
/// pipeline, connect long before their request, or fetch a long file.
#[test]
fn no_request_is_lost_in_twenty_restarts() {
    let _alone = not_beside_others();
    let site = site();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Seen::default();
    let mut server = Server::inherit(&site, &listener, &["--status", "loopback"]);
    std::thread::scope(|scope| {
        let seen = &seen;
        let clients = [(100, 4_000, 1), (10, 4_000, 16), (10, 900_000, 1)];
        for (count, think_us_max, depth) in clients {
            for index in 0..count {
                let mut random = index * 7_919 + think_us_max;
                scope.spawn(move || visit(address, seen, &mut random, think_us_max, depth));
            }
        }
        scope.spawn(move || {
            while !seen.is_over() {
                let Some(mut visitor) = Visitor::connect(address, seen) else {
                    return;
                };
                visitor.ask(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n", 1, LONG_LENGTH);
            }
        });
        for _ in 0..20 {
            let before = seen.answers.load(Ordering::Relaxed);
            wait_until("requests are answered", || {
                seen.answers.load(Ordering::Relaxed) > before + 200
            });
            let successor = Server::inherit(&site, &listener, &["--status", "loopback"]);
            server.signal(Signal::TERM);
            assert_eq!(server.wait(), Some(0));
            assert_eq!(server.errors(), "");
            server = successor;
        }
        seen.is_over.store(true, Ordering::Relaxed);
    });
    let lost = seen.lost.lock().unwrap();
    assert!(
        lost.is_empty(),
        "{} lost: {:?}",
        lost.len(),
        &lost[..lost.len().min(10)]
    );
    assert!(seen.last.load(Ordering::Relaxed) > 20, "{seen:?}");
}

/// Without another listener on the port: all connected clients are answered, whether they have sent a request
/// or not.
#[test]
fn those_who_have_connected_are_answered_while_the_server_stops() {
    for engine in engines() {
        let site = site();
        let mut server = Server::start(&site, &["--disk", engine, "--grace", "8s"]);
        let mut open = server.connect();
        assert_eq!(open.get("/a", &[]).status, 200);
        server.signal(Signal::STOP);
        let mut asking: Vec<Client> = (0..50).map(|_| server.connect()).collect();
        for client in &mut asking {
            client.send(GET);
        }
        let mut silent: Vec<Client> = (0..20).map(|_| server.connect()).collect();
        server.signal(Signal::TERM);
        server.signal(Signal::CONT);
        for client in &mut asking {
            let response = client.response(Content::Expected).expect("an answer");
            assert_eq!((response.status, &response.body[..]), (200, &b"fine"[..]));
        }
        wait_until_draining(&server);
        // Connections without data stay in the kernel's queue; they are accepted with their request.
        for client in silent.iter_mut().chain([&mut open]) {
            let response = client.get("/b", &[]);
            assert_eq!((response.status, response.body.len()), (200, 40_000));
            assert_eq!(response.field("connection"), Some("close"));
            assert!(client.is_closed());
        }
        assert_eq!(server.wait(), Some(0));
        assert_eq!(server.errors(), "");
    }
}

/// Waits until new connections are accepted and closed after their first answer.
fn wait_until_draining(server: &Server) {
    wait_until("the server stops", || {
        let response = server.get("/a");
        assert_eq!(response.status, 200);
        response.field("connection") == Some("close")
    });
}

/// However many are pipelined: the last of those received is answered with `Connection: close`.
#[test]
fn all_pipelined_requests_are_answered_while_the_server_stops() {
    for engine in engines() {
        let site = site();
        let mut server = Server::start(&site, &["--disk", engine]);
        let mut idle = server.connect();
        assert_eq!(idle.get("/a", &[]).status, 200);
        server.signal(Signal::TERM);
        wait_until_draining(&server);
        let count = 500;
        let mut text = GET.repeat(count - 1);
        text.extend(b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n");
        idle.send(&text);
        for index in 0..count {
            let response = idle.response(Content::Expected).expect("an answer");
            let is_last = response.field("connection") == Some("close");
            assert_eq!(
                (response.status, is_last),
                (200, index + 1 == count),
                "{index}"
            );
        }
        assert!(idle.is_closed());
        assert_eq!(server.wait(), Some(0));
    }
}

/// Idle connections are closed one after the other, the longest idle first.
#[test]
fn idle_connections_are_ended_one_after_the_other() {
    let site = site();
    let mut server = Server::start(&site, &["--grace", "4s"]);
    let mut idle: Vec<Client> = (0..10).map(|_| server.connect()).collect();
    for client in &mut idle {
        assert_eq!(client.get("/a", &[]).status, 200);
    }
    server.signal(Signal::TERM);
    let began = Instant::now();
    let mut ends = Vec::new();
    for client in &mut idle {
        assert!(client.is_closed());
        ends.push(began.elapsed());
    }
    assert_eq!(server.wait(), Some(0));
    // The connections are closed over a quarter of the grace time, in eleven parts.
    let late = ends
        .iter()
        .filter(|at| **at > Duration::from_millis(400))
        .count();
    assert!(late >= 5, "{ends:?}");
    assert!(ends[9] < Duration::from_secs(4), "{ends:?}");
}
