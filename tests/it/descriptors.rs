//! Descriptors run short because peers read nothing: what is asked for meanwhile is answered, and they go on later.

use std::os::fd::AsFd;
use std::process::Command;

use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::process::{Resource, Rlimit};

use super::harness::{Client, Content, Server, Site, engines, skip, wait_until};

/// Long enough not to fit into the buffers of two sockets.
const LENGTH: usize = 1 << 20;
/// Files that are asked for: more than there are descriptors for, beside as many connections.
const FILE_COUNT: usize = 240;
/// The limit of the server.
const LIMIT: usize = 512;

/// What is in a file: its number, here and there.
fn content(number: usize) -> Vec<u8> {
    let mut content = vec![0; LENGTH];
    for (place, chunk) in content.chunks_mut(1 << 16).enumerate() {
        let mark = format!("file {number}, place {place}");
        chunk[..mark.len()].copy_from_slice(mark.as_bytes());
    }
    content
}

/// Files that are mostly holes, which take little room.
fn write(site: &Site, number: usize) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::create(site.path(&format!("long{number}"))).unwrap();
    file.set_len(LENGTH as u64).unwrap();
    for (place, chunk) in content(number).chunks(1 << 16).enumerate() {
        file.write_all_at(&chunk[..64], (place << 16) as u64)
            .unwrap();
    }
}

fn site() -> Site {
    let site = Site::new();
    site.file("hot", "fine");
    site.file("listed/one", "one");
    for number in 0..40 {
        site.file(&format!("cold{number}"), format!("cold {number}"));
    }
    for number in 0..FILE_COUNT {
        write(&site, number);
    }
    site
}

fn serve(site: &Site, limit: usize, engine: &str) -> Server {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" \"$@\"")]);
    command.arg(env!("CARGO_BIN_EXE_spede"));
    command.args(["--listen", "127.0.0.1:0", "--directories", "list"]);
    command.args(["--disk", engine, "--send-timeout", "10m"]);
    Server::spawn(command.arg(site.root()))
}

/// Asks for a file, and takes what does not fit into a small buffer only when it is read.
fn stalled(server: &Server, number: usize, fields: &str) -> Client {
    let mut client = Client::connect_with_buffer(4_096, server.address());
    client.send(format!("GET /long{number} HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes());
    client
}

fn number(server: &Server, name: &str) -> u64 {
    server.numbers()["descriptors"][name].as_u64().unwrap()
}

/// This process has as many descriptors as the test needs.
fn has_descriptors(count: u64) -> bool {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    rustix::process::setrlimit(Resource::Nofile, raised).unwrap();
    limit.maximum.is_none_or(|most| most >= count)
}

#[test]
fn readers_that_stall_keep_no_descriptor_from_others_and_go_on_later() {
    if !has_descriptors(1_000) {
        return skip("300 connections need a limit of 1,000 descriptors");
    }
    let site = site();
    for engine in engines() {
        write(&site, 1);
        write(&site, 2);
        let server = serve(&site, LIMIT, engine);
        assert_eq!(server.get("/hot").body, b"fine");
        let mut readers: Vec<Client> = (0..FILE_COUNT)
            .map(|number| match number % 3 {
                0 => stalled(&server, number, "Range: bytes=1000-\r\n"),
                _ => stalled(&server, number, ""),
            })
            .collect();
        wait_until("all are being answered, some without a descriptor", || {
            let numbers = server.numbers();
            let sending = numbers["connections"]["by_state"]["sending"].as_u64();
            sending > Some(FILE_COUNT as u64)
                && numbers["descriptors"]["parked"].as_u64() > Some(50)
        });
        wait_until("the reserve is free", || {
            // Whoever asks for the numbers has a descriptor as well.
            number(&server, "free") + 1 >= number(&server, "reserve")
        });
        answers_others(&server, engine);
        // Renamed into place, and written over.
        site.publish("long1", vec![b'n'; LENGTH]);
        std::fs::write(site.path("long2"), vec![b'n'; LENGTH]).unwrap();
        go_on(&mut readers, engine);
        wait_until("nothing is parked", || number(&server, "parked") == 0);
        assert!(number(&server, "reopened") > 50, "{engine}");
        answers_others(&server, engine);
    }
}

/// Whoever asks for something else is answered.
fn answers_others(server: &Server, engine: &str) {
    for _ in 0..3 {
        assert_eq!(server.get("/hot").body, b"fine", "{engine}");
    }
    assert_eq!(server.get("/absent").status, 404, "{engine}");
    assert_eq!(server.get("/listed/").status, 200, "{engine}");
    let head = server.connect().request("HEAD", "/cold39", &[]);
    assert_eq!(head.status, 200, "{engine}");
    // Many at once.
    let mut cold: Vec<Client> = (0..40).map(|_| server.connect()).collect();
    for (number, client) in cold.iter_mut().enumerate() {
        client.send(format!("GET /cold{number} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    }
    for (number, client) in cold.iter_mut().enumerate() {
        let answer = client.response(Content::Expected).unwrap();
        let expected = format!("cold {number}");
        assert_eq!(answer.body, expected.as_bytes(), "{engine}");
    }
}

/// The readers read: each has the bytes of the version that its head announced, or the answer breaks off.
fn go_on(readers: &mut [Client], engine: &str) {
    for (number, reader) in readers.iter_mut().enumerate() {
        // With a short buffer the kernel waits 200 ms for each piece.
        set_socket_recv_buffer_size(reader.stream().as_fd(), 1 << 20).unwrap();
        let answer = reader.response(Content::Expected);
        let case = format!("{engine}: file {number}");
        let Some(answer) = answer else {
            assert!(matches!(number, 1 | 2), "{case} was broken off");
            continue;
        };
        let first = match answer.status {
            200 => 0,
            206 => 1_000,
            status => panic!("{case}: {status}"),
        };
        assert!(number != 2, "{case} was written over");
        assert!(answer.body == content(number)[first..], "{case}");
    }
}

/// More connections than descriptors: those that are there are served, the others wait.
#[test]
fn connections_beyond_the_limit_starve_nobody_who_is_there() {
    if !has_descriptors(1_000) {
        return skip("300 connections need a limit of 1,000 descriptors");
    }
    let site = Site::new();
    site.file("hot", "fine");
    for number in 0..FILE_COUNT {
        write(&site, number);
    }
    for engine in engines() {
        let server = serve(&site, 256, engine);
        let mut early: Vec<Client> = (0..8).map(|_| server.connect()).collect();
        for client in &mut early {
            assert_eq!(client.get("/hot", &[]).body, b"fine");
            client.send(b"GET /hot HTTP/1.1\r\n");
        }
        let late: Vec<Client> = (0..FILE_COUNT)
            .map(|number| stalled(&server, number, ""))
            .collect();
        for (round, client) in early.iter_mut().enumerate() {
            // It is busy all the time, so that nobody takes its place.
            let range = format!("GET /long{round} HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9\r\n\r\n");
            client.send(format!("Host: a\r\n\r\n{range}GET /hot HTTP/1.1\r\n").as_bytes());
            let answer = client.response(Content::Expected).unwrap();
            assert_eq!(answer.body, b"fine", "{engine}: round {round}");
            let answer = client.response(Content::Expected).unwrap();
            assert_eq!(
                answer.body,
                &content(round)[..10],
                "{engine}: round {round}"
            );
        }
        drop(late);
        assert_eq!(server.get("/hot").body, b"fine", "{engine}");
    }
}
