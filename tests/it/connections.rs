//! Many connections, deep pipelines, slow and malicious peers, and shutdown.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::{Resource, Rlimit, Signal};

use super::harness::{Client, Content, Server, Site, engines, skip, wait_out, wait_until};
use super::slow_tree::{SMALL_LENGTH, SlowTree};

fn site() -> Site {
    let site = Site::new();
    site.file("a", "fine")
        .file("b", vec![b'b'; 3_000])
        .file("long", vec![b'x'; 20 << 20]);
    site
}

#[test]
fn a_thousand_pipelined_requests_are_answered_in_order() {
    for engine in engines() {
        let site = site();
        let server = Server::start(&site, &["--disk", engine]);
        let mut client = server.connect();
        let count = 2_000;
        let mut text = String::new();
        for index in 0..count {
            text.push_str(match index % 5 {
                0 => "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
                1 => "HEAD /b HTTP/1.1\r\nHost: a\r\n\r\n",
                2 => "GET /none HTTP/1.1\r\nHost: a\r\n\r\n",
                3 => "GET /b HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9\r\n\r\n",
                _ => "GET /b HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n",
            });
        }
        let mut writer = client.stream().try_clone().unwrap();
        let sender = std::thread::spawn(move || writer.write_all(text.as_bytes()).unwrap());
        for index in 0..count {
            let (content, status, length) = [
                (Content::Expected, 200, 4),
                (Content::None, 200, 0),
                (Content::Expected, 404, 116),
                (Content::Expected, 206, 10),
                (Content::Expected, 304, 0),
            ][index % 5];
            let response = client.response(content).unwrap();
            assert_eq!(
                (response.status, response.body.len()),
                (status, length),
                "{index}"
            );
        }
        sender.join().unwrap();
    }
}

#[test]
fn five_thousand_connections_are_served_at_once() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, raised).unwrap();
    if limit.maximum.is_some_and(|most| most < 6_000) {
        return skip("5,000 connections need a limit of 6,000 descriptors");
    }
    for engine in engines() {
        let site = site();
        let server = Server::start(&site, &["--disk", engine]);
        let mut clients: Vec<Client> = (0..5_000).map(|_| server.connect()).collect();
        for _ in 0..2 {
            for client in &mut clients {
                client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
            }
            for client in &mut clients {
                assert_eq!(client.response(Content::Expected).unwrap().body, b"fine");
            }
        }
        assert_eq!(server.numbers()["connections"]["open"], 5_001);
        drop(clients);
        wait_until("all are closed", || {
            server.numbers()["connections"]["open"] == 1
        });
    }
}

#[test]
fn a_peer_that_has_finished_sending_gets_its_answers() {
    let site = site();
    let server = Server::start(&site, &[]);
    let mut client = server.connect();
    client.send(&b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n".repeat(3));
    client.finish();
    for _ in 0..3 {
        assert_eq!(client.response(Content::Expected).unwrap().body, b"fine");
    }
    assert!(client.is_closed());
}

#[test]
fn a_head_that_does_not_come_to_its_end_is_408_and_an_idle_connection_just_ends() {
    let site = site();
    let words = [
        "--head-timeout",
        "200ms",
        "--idle-timeout",
        "300ms",
        "--body-timeout",
        "250ms",
    ];
    let server = Server::start(&site, &words);
    let cases: [(&[u8], Option<u16>); 4] = [
        (b"", None),
        (b"GET /a HTTP/1.1\r\nHost: a\r\n", Some(408)),
        (b"G", Some(408)),
        (
            b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf",
            Some(408),
        ),
    ];
    for (bytes, status) in cases {
        let mut client = server.connect();
        client.send(bytes);
        let got = client
            .response(Content::Expected)
            .map(|response| response.status);
        assert_eq!(got, status, "{bytes:?}");
        assert!(client.is_closed());
    }
    let mut client = server.connect();
    assert_eq!(client.get("/a", &[]).body, b"fine");
    assert!(client.is_closed(), "after an answer as well");
}

#[test]
fn a_peer_that_reads_nothing_is_cut_off() {
    let site = site();
    let server = Server::start(&site, &["--send-timeout", "200ms"]);
    let mut client = server.connect();
    client.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("it is closed", || {
        server.numbers()["connections"]["open"] == 1
    });
    assert!(client.rest().len() < 20 << 20);
}

/// The kernel buffers much of a long answer. Buffered bytes count as sent once the peer acknowledges them, in
/// however small portions; the minimum rate is a separate setting.
#[test]
fn a_reader_that_is_slow_and_steady_is_kept() {
    let site = site();
    for (words, is_kept) in [
        (&["--send-timeout", "1s"][..], true),
        (&["--send-timeout", "1s", "--send-rate-min", "1MiB"], false),
    ] {
        let server = Server::start(&site, words);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.connect(&server.address().into()).unwrap();
        let mut stream = TcpStream::from(socket);
        stream
            .write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let began = Instant::now();
        let mut received = 0;
        while began.elapsed() < Duration::from_secs(5) {
            let mut buffer = [0; 4_000];
            match stream.read(&mut buffer) {
                Ok(count @ 1..) => received += count,
                _ => break,
            }
            pause(Duration::from_millis(200));
        }
        let open = server.numbers()["connections"]["open"].as_u64().unwrap();
        assert_eq!(open, 1 + u64::from(is_kept), "{words:?}: {received} bytes");
    }
}

#[test]
fn an_error_reaches_a_peer_that_goes_on_sending() {
    let site = site();
    let server = Server::start(&site, &["--body-max", "100"]);
    let mut client = server.connect();
    client.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
    client.send(&[b'x'; 100_000]);
    assert_eq!(client.response(Content::Expected).unwrap().status, 413);
}

/// Some clients read nothing until they have sent the whole body, and do not announce it (`Expect`).
#[test]
fn a_client_that_sends_everything_before_it_reads_gets_its_answer() {
    let length = 30_000_000;
    let cases = [
        (
            format!("PUT /a HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n"),
            413,
        ),
        (
            format!(
                "POST /none HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n"
            ),
            413,
        ),
        (String::from("PUT /a HTTP/1.1\r\n\r\n"), 400),
        (
            format!("PUT /a HTTP/1.0\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"),
            413,
        ),
    ];
    for engine in engines() {
        let site = site();
        let server = Server::start(&site, &["--disk", engine]);
        for (head, status) in &cases {
            let mut client = server.connect();
            let mut stream = client.stream();
            stream.write_all(head.as_bytes()).unwrap();
            for part in vec![b'x'; length].chunks(64 << 10) {
                stream
                    .write_all(part)
                    .unwrap_or_else(|error| panic!("{head}: {error}"));
            }
            let response = client.response(Content::Expected);
            assert_eq!(
                response.map(|response| response.status),
                Some(*status),
                "{head}"
            );
            assert!(client.is_closed(), "{head}");
        }
    }
}

/// Closing a socket with unread input resets the connection, and the peer loses data in flight.
#[test]
fn a_last_answer_arrives_whole_although_its_peer_goes_on_sending() {
    for engine in engines() {
        let site = site();
        let cases: [(&[u8], bool); 3] = [
            (
                b"GET /long HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                false,
            ),
            (b"GET /long HTTP/1.0\r\n\r\n", false),
            (
                b"GET /long HTTP/1.1\r\nHost: a\r\n\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n",
                true,
            ),
        ];
        for (request, stop) in cases {
            let mut server = Server::start(&site, &["--disk", engine]);
            let mut client = server.connect();
            client.send(request);
            client.stream().peek(&mut [0]).unwrap();
            if stop {
                let mut idle = server.connect();
                assert_eq!(idle.get("/a", &[]).status, 200);
                server.signal(Signal::TERM);
                assert!(idle.is_closed());
            }
            client.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
            let response = client.response(Content::Expected).unwrap();
            assert_eq!(response.body.len(), 20 << 20, "{request:?}");
            drop(client);
            if stop {
                assert_eq!(server.wait(), Some(0));
            }
        }
    }
}

#[test]
fn waiting_for_room_costs_nothing_also_while_the_server_stops() {
    let site = site();
    let server = Server::start(&site, &["--connections", "2"]);
    let mut busy = server.connect();
    busy.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
    busy.stream().peek(&mut [0]).unwrap();
    let mut idle = server.connect();
    assert_eq!(idle.get("/a", &[]).status, 200);
    let _waiting = server.connect();
    server.signal(Signal::TERM);
    assert!(idle.is_closed());
    let before = server.ticks();
    half_a_second();
    assert!(server.ticks() - before < 20, "the loop spins");
}

/// Long enough for a busy loop to use 50 ticks: there is no event to wait for instead.
fn half_a_second() {
    pause(Duration::from_millis(500));
}

/// For tests of timing itself.
fn pause(time: Duration) {
    let (one, _two) = UnixStream::pair().unwrap();
    one.set_read_timeout(Some(time)).unwrap();
    let _ = (&one).read(&mut [0]);
}

/// Starts the server with a limit on descriptors.
fn with_descriptors(site: &Site, count: u32, words: &str) -> Server {
    let line = format!(
        "ulimit -n {count}; exec {} --listen 127.0.0.1:0 {words} {}",
        env!("CARGO_BIN_EXE_spede"),
        site.root().display()
    );
    Server::spawn(Command::new("sh").args(["-c", &line]))
}

#[test]
fn running_out_of_descriptors_neither_spins_nor_kills() {
    let site = site();
    // The connection limit exceeds the descriptors, so that accept itself fails.
    let server = with_descriptors(&site, 60, "--descriptors 1 --head-timeout 10m");
    let mut clients: Vec<Client> = (0..100).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send(b"GET /a HTTP/1.1\r\n");
    }
    let before = server.ticks();
    let mut patient = Client::connect(server.address());
    patient.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    half_a_second();
    assert!(server.ticks() - before < 20, "the loop spins");
    drop(clients);
    assert_eq!(patient.response(Content::Expected).unwrap().body, b"fine");
    assert!(
        server.numbers()["connections"]["accept_pauses"]
            .as_u64()
            .unwrap()
            > 0
    );
}

#[test]
fn the_limit_on_connections_makes_others_wait() {
    let site = site();
    let server = Server::start(&site, &["--connections", "2"]);
    let mut busy: Vec<Client> = (0..2).map(|_| server.connect()).collect();
    for client in &mut busy {
        client.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
        client.stream().peek(&mut [0]).unwrap();
    }
    let mut third = server.connect();
    third.send(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    let first = busy[0].response(Content::Expected).unwrap();
    assert_eq!(first.body.len(), 20 << 20, "those who are there go on");
    drop(busy);
    assert_eq!(third.response(Content::Expected).unwrap().status, 200);
}

#[test]
fn a_connection_that_always_has_work_does_not_starve_others() {
    for engine in engines() {
        let site = site();
        let server = Server::start(&site, &["--disk", engine]);
        let busy: Vec<TcpStream> = (0..4)
            .map(|_| TcpStream::connect(server.address()).unwrap())
            .collect();
        std::thread::scope(|scope| {
            for stream in &busy {
                scope.spawn(move || {
                    let burst = b"GET /b HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200);
                    let mut writer = stream;
                    while writer.write_all(&burst).is_ok() {}
                });
                scope.spawn(move || {
                    let mut buffer = vec![0; 1 << 20];
                    let mut reader = stream;
                    while matches!(reader.read(&mut buffer), Ok(1..)) {}
                });
            }
            let mut client = server.connect();
            for _ in 0..200 {
                assert_eq!(client.get("/a", &[]).body, b"fine");
            }
            for stream in &busy {
                stream.shutdown(std::net::Shutdown::Both).unwrap();
            }
        });
    }
}

#[test]
fn sigterm_closes_the_idle_and_lets_the_others_finish() {
    for engine in engines() {
        let site = site();
        let mut server = Server::start(&site, &["--disk", engine]);
        let mut idle = server.connect();
        assert_eq!(idle.get("/a", &[]).status, 200);
        let mut busy = server.connect();
        busy.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
        busy.stream().peek(&mut [0]).unwrap();
        server.signal(Signal::TERM);
        assert!(idle.is_closed());
        assert_eq!(
            busy.response(Content::Expected).unwrap().body.len(),
            20 << 20
        );
        assert!(busy.is_closed());
        assert_eq!(server.wait(), Some(0));
    }
}

#[test]
fn the_grace_period_and_a_second_signal_end_it_all_the_same() {
    for (words, signals) in [(["--grace", "200ms"], 1), (["--grace", "10m"], 2)] {
        let site = site();
        let mut server = Server::start(&site, &words);
        let mut stuck = server.connect();
        stuck.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
        stuck.stream().peek(&mut [0]).unwrap();
        let mut idle = server.connect();
        assert_eq!(idle.get("/a", &[]).status, 200);
        server.signal(Signal::INT);
        // The first signal was handled before the second is sent.
        assert!(idle.is_closed());
        for _ in 1..signals {
            server.signal(Signal::INT);
        }
        assert_eq!(server.wait(), Some(0));
    }
}

#[test]
fn it_listens_on_unix_sockets_on_ipv6_and_on_several_addresses() {
    let site = site();
    let path = site.beside("socket");
    let unix = format!("unix:{}", path.display());
    // A socket left behind by a killed process is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut words = vec!["--listen", &unix];
    let ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    if ipv6 {
        words.extend(["--listen", "[::1]:0"]);
    }
    let mut server = Server::start(&site, &words);
    assert_eq!(server.get("/a").body, b"fine");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /a HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("\r\n\r\nfine"), "{text}");
    if ipv6 {
        let line = server
            .lines()
            .iter()
            .find(|line| line.contains("http://[::1]:"))
            .unwrap();
        let address = line.split("http://").nth(1).unwrap().parse().unwrap();
        assert_eq!(Client::connect(address).get("/a", &[]).body, b"fine");
    }
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
    assert!(!path.exists(), "the socket is removed at the end");
}

/// The time of the peer is asked about again and again; the time of the request behind it goes on.
#[test]
fn a_request_behind_an_answer_that_is_taken_late_keeps_its_place_at_the_disk() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (round, engine) in ["uring", "threads"].into_iter().enumerate() {
        let words = ["--send-timeout", "4s", "--disk-timeout", "20s"];
        let server = tree.serve(engine, &words);
        let big = format!("/cold/big7{round}");
        assert_eq!(server.get(&big).status, 200);
        let mut client = server.connect();
        set_socket_recv_buffer_size(client.stream(), 4_096).unwrap();
        // More than sockets take, and less than keeps the second request from being looked up.
        let head = format!("GET {big} HTTP/1.1\r\nHost: a\r\nRange: bytes=0-229999\r\n\r\n");
        let before = tree.held_count();
        let stuck = format!("GET /cold/stuck7{round} HTTP/1.1\r\nHost: a\r\n\r\n");
        client.send(format!("{head}{stuck}").as_bytes());
        wait_until("it is at the disk", || tree.held_count() > before);
        // The peer is asked about once a second.
        wait_out(Duration::from_millis(2_500));
        let first = client.response(Content::Expected).unwrap();
        assert_eq!((first.status, first.body.len()), (206, 230_000), "{engine}");
        tree.release();
        let second = client.response(Content::Expected).unwrap();
        assert_eq!(
            (second.status, second.body.len()),
            (200, SMALL_LENGTH),
            "{engine}"
        );
    }
}
