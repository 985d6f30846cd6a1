//! Allocation of connections and descriptors at their limits.

use super::harness::{Client, Content, Server, Site, engines, wait_until};

const GET: &[u8] = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n";

fn site() -> Site {
    let site = Site::new();
    site.file("a", "fine");
    site
}

fn number(server: &Server, name: &str) -> u64 {
    server.numbers()["connections"][name].as_u64().unwrap()
}

#[test]
fn the_longest_idle_connection_is_closed_at_the_limit() {
    for engine in engines() {
        let site = site();
        let server = Server::start(&site, &["--disk", engine, "--connections", "4"]);
        let mut resting: Vec<Client> = (0..4).map(|_| server.connect()).collect();
        for client in &mut resting {
            assert_eq!(client.get("/a", &[]).body, b"fine");
        }
        // The requests that come again are the more recent ones.
        for index in [1, 0] {
            assert_eq!(resting[index].get("/a", &[]).body, b"fine");
        }
        let mut new: Vec<Client> = Vec::new();
        for oldest in [2, 3, 1, 0] {
            let mut client = server.connect();
            assert_eq!(client.get("/a", &[]).body, b"fine", "somebody gave way");
            assert!(resting[oldest].is_closed(), "{oldest} has rested longest");
            new.push(client);
        }
        assert_eq!(number(&server, "idle_given_up"), 5);
        assert!(new[0].is_closed(), "for those who looked at the numbers");
        assert_eq!(new[3].get("/a", &[]).body, b"fine");
    }
}

/// One client uses all connections, with a request on each now and then.
#[test]
fn idle_connections_never_exclude_new_clients() {
    let site = site();
    let server = Server::start(&site, &["--connections", "300"]);
    let mut resting: Vec<Client> = (0..300).map(|_| server.connect()).collect();
    for client in &mut resting {
        assert_eq!(client.get("/a", &[]).body, b"fine");
    }
    for _ in 0..15 {
        assert_eq!(server.get("/a").body, b"fine");
    }
    assert!(number(&server, "idle_given_up") >= 1);
}

/// Busy connections are not closed to make room, so the share of an address is limited.
#[test]
fn one_address_cannot_hold_every_connection() {
    let site = site();
    let words = ["--connections", "40", "--head-timeout", "10m"];
    let trusting = Server::start(&site, &words);
    let strict = Server::start(&site, &[&words[..], &["--trusted-proxy", "none"]].concat());
    for (server, held_count) in [(&trusting, 40), (&strict, 20)] {
        let mut greedy: Vec<Client> = (0..held_count)
            .map(|_| Client::connect_from([127, 0, 0, 5], server.address()))
            .collect();
        for client in &mut greedy {
            client.send(b"GET /a HTTP/1.1\r\n");
        }
        if held_count == 40 {
            continue;
        }
        wait_until("half of the places are taken", || {
            server.numbers()["connections"]["by_state"]["receiving"] == 20
        });
        for _ in 0..5 {
            let mut refused = Client::connect_from([127, 0, 0, 5], server.address());
            refused.send(GET);
            assert!(
                refused.response(Content::Expected).is_none(),
                "it has its share"
            );
        }
        let mut others: Vec<Client> = (6..16)
            .map(|last| Client::connect_from([127, 0, 0, last], server.address()))
            .collect();
        for client in &mut others {
            assert_eq!(client.get("/a", &[]).body, b"fine");
        }
        assert_eq!(number(server, "refused_by_share"), 5);
        for client in &mut greedy {
            client.send(b"Host: a\r\n\r\n");
            assert_eq!(client.response(Content::Expected).unwrap().body, b"fine");
        }
    }
}
