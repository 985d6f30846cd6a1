//! Many connections with much to send: no iteration of the loop is long because of them.

use rustix::process::Signal;

use super::harness::{Client, Content, Server, Site, engines};

/// Connections that ask at the same moment.
const CLIENT_COUNT: usize = 150;
/// Bytes of each answer, at least.
const LENGTH: usize = 1 << 20;
/// Bytes that an iteration may send: five lanes of 1 MiB, each exceeded by a share of 512 KiB and a call of 1 MiB at most.
const ITERATION_LENGTH_MAX: u64 = 5 * 2_560 * 1_024;

fn site() -> Site {
    let site = Site::new();
    let content: Vec<u8> = (0..=250).cycle().take(LENGTH + 4_321).collect();
    site.file("long", &content).file("hot", "hot");
    let filler = "n".repeat(180);
    for number in 0..2_500 {
        site.file(&format!("files/{number:04}{filler}"), "");
    }
    site
}

/// Lets `count` connections ask for a path before the server sees the first of them; gives the most bytes that it sent
/// in one iteration.
fn ask_at_once(server: &Server, path: &str) -> u64 {
    let expected = server.get(path).body;
    assert!(expected.len() >= LENGTH, "{path} has {}", expected.len());
    let mut clients: Vec<Client> = (0..CLIENT_COUNT).map(|_| server.connect()).collect();
    server.signal(Signal::STOP);
    for client in &mut clients {
        client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes());
    }
    server.signal(Signal::CONT);
    assert_eq!(server.get("/hot").body, b"hot");
    for client in &mut clients {
        let response = client.response(Content::Expected).unwrap();
        assert_eq!(response.status, 200);
        assert!(response.body == expected, "{path}: other bytes");
    }
    server.numbers()["loop"]["turn_bytes_max"].as_u64().unwrap()
}

#[test]
fn no_iteration_sends_more_than_its_budget() {
    let site = site();
    for engine in engines() {
        let words = ["--disk", engine, "--directories", "list"];
        #[rustfmt::skip]
        let cases: [(&str, &[&str]); 3] = [
            ("/files/", &[]),                           // a page, from memory
            ("/long",   &[]),                           // by sendfile
            ("/long",   &["--map-max", "2MiB"]),        // from a mapping
        ];
        for (path, more) in cases {
            let server = Server::start(&site, &[&words[..], more].concat());
            let most = ask_at_once(&server, path);
            assert!(
                (LENGTH as u64 / 2..=ITERATION_LENGTH_MAX).contains(&most),
                "{engine}, {path} {more:?}: {most} bytes in one iteration"
            );
        }
    }
}
