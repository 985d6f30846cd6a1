//! Listening addresses, and the URLs in the start lines.

use std::net::{SocketAddr, ToSocketAddrs};
use std::process::Command;

use seccompiler::{SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule};

use super::harness::{Client, Server, Site, refusing};

/// Runs `work` without IPv6, as with `ipv6.disable=1`.
fn without_ipv6<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let family = u64::try_from(libc::AF_INET6).unwrap();
    let is_ipv6 = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, family);
    let rule = SeccompRule::new(vec![is_ipv6.unwrap()]).unwrap();
    refusing(&[(libc::SYS_socket, vec![rule])], libc::EAFNOSUPPORT, work)
}

fn command(site: &Site, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
    command.args(words).arg(site.root());
    command
}

/// The URLs of the start lines with this prefix.
fn urls(server: &Server, start: &str) -> Vec<String> {
    let lines = server.lines().iter();
    let urls = lines.filter_map(|line| line.strip_prefix(start)?.strip_prefix(" http://"));
    urls.map(str::to_owned).collect()
}

/// Checks that each URL works, with the request of a browser.
fn check(urls: &[String], path: &str) {
    assert!(urls[0].starts_with("localhost:"), "{urls:?}");
    for url in urls {
        let all: Vec<SocketAddr> = url.to_socket_addrs().unwrap().collect();
        assert!(all.iter().all(|address| !address.ip().is_unspecified()));
        let address = all.iter().find(|address| address.is_ipv4());
        let mut client = Client::connect(*address.unwrap_or(&all[0]));
        assert_eq!(client.get(path, &[]).status, 200, "{url}");
    }
}

#[test]
fn every_address_is_printed_as_what_can_be_clicked() {
    let site = Site::new();
    site.file("a", "fine");
    for listen in ["0.0.0.0:0", ":0", "[::]:0"] {
        let words = ["--listen", listen, "--status", "0.0.0.0:0"];
        let server = Server::spawn(&mut command(&site, &words));
        check(&urls(&server, "listening on"), "/a");
        check(&urls(&server, "status page on"), "/status");
    }
}

#[test]
fn where_there_is_no_ipv6_every_address_is_every_ipv4_address() {
    let site = Site::new();
    site.file("a", "fine");
    for listen in [":0", "[::]:0"] {
        let words = ["--listen", listen, "--status", "off"];
        let server = without_ipv6(|| Server::spawn(&mut command(&site, &words)));
        let urls = urls(&server, "listening on");
        check(&urls, "/a");
        assert!(urls.iter().all(|url| !url.contains('[')), "{urls:?}");
        let said = server.errors();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("no IPv6"), "{said}");
    }
    let words = ["--listen", "[::1]:0"];
    let output = without_ipv6(|| command(&site, &words).output().unwrap());
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("this machine has no IPv6"), "{said}");
}
