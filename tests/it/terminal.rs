//! What somebody sees who starts the server in a terminal.

use std::fs::File;
use std::io::Read;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::harness::{Client, Site, wait_until};

/// A server whose standard output is a terminal.
struct Watched {
    child: Child,
    screen: File,
    seen: String,
}

impl Watched {
    fn start(site: &Site, change: impl FnOnce(&mut Command)) -> Watched {
        let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&screen).unwrap();
        unlockpt(&screen).unwrap();
        let name = ptsname(&screen, Vec::new()).unwrap();
        let terminal = File::options()
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
        command
            .args(["--listen", "127.0.0.1:0"])
            .arg(site.root())
            .env_remove("NO_COLOR")
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .stdout(OwnedFd::from(terminal));
        change(&mut command);
        let mut watched = Watched {
            child: command.spawn().unwrap(),
            screen: File::from(screen),
            seen: String::new(),
        };
        watched.read_until("disk engine");
        watched
    }

    fn read_until(&mut self, text: &str) {
        wait_until(text, || {
            let wanted = PollFd::from_borrowed_fd(self.screen.as_fd(), PollFlags::IN);
            let soon = Timespec {
                tv_sec: 0,
                tv_nsec: 10_000_000,
            };
            if poll(&mut [wanted], Some(&soon)).unwrap() > 0 {
                let mut bytes = [0; 4_096];
                let count = self.screen.read(&mut bytes).unwrap();
                self.seen.push_str(str::from_utf8(&bytes[..count]).unwrap());
            }
            self.seen.contains(text)
        });
    }

    fn get(&self, path: &str) {
        get(&self.seen, path);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_terminal_gets_a_line_in_colour_for_each_request() {
    let site = Site::new();
    site.file("fine.html", "fine");
    let mut server = Watched::start(&site, |_| {});
    server.get("/fine.html");
    server.read_until("\x1b[32m200\x1b[0m GET /fine.html 4 127.0.0.1\r\n");
    server.get("/missing");
    server.read_until("\x1b[33m404\x1b[0m GET /missing ");
}

#[test]
fn who_wants_no_colour_gets_the_line_without() {
    let site = Site::new();
    site.file("fine.html", "fine");
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut server = Watched::start(&site, |command| {
            command.env(name, value);
        });
        server.get("/fine.html");
        server.read_until("\n200 GET /fine.html 4 127.0.0.1\r\n");
    }
}

#[test]
fn what_was_asked_for_is_not_replaced_by_lines_for_a_terminal() {
    let site = Site::new();
    site.file("fine.html", "fine");
    let mut server = Watched::start(&site, |command| {
        command.args(["--access-log", "off"]);
    });
    server.get("/fine.html");
    end(&mut server.child);
    let before = server.seen.len();
    // Lines that wait are written at the end, and a terminal that nobody writes to is at its end.
    let mut bytes = [0; 4_096];
    while let Ok(count @ 1..) = server.screen.read(&mut bytes) {
        server
            .seen
            .push_str(str::from_utf8(&bytes[..count]).unwrap());
    }
    assert!(!server.seen[before..].contains("GET"), "{}", server.seen);
}

#[test]
fn without_a_terminal_there_are_no_lines() {
    let site = Site::new();
    site.file("fine.html", "fine");
    let log = site.beside("output");
    let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
    command.args(["--listen", "127.0.0.1:0"]).arg(site.root());
    let mut child = command.stdout(File::create(&log).unwrap()).spawn().unwrap();
    let said = || std::fs::read_to_string(&log).unwrap();
    wait_until("the server listens", || said().contains("disk engine"));
    get(&said(), "/fine.html");
    end(&mut child);
    assert!(!said().contains("GET"), "{}", said());
}

/// Sends a request to the address that a server has named.
fn get(said: &str, path: &str) {
    let mut lines = said.lines();
    let address = lines.find_map(|line| line.strip_prefix("listening on http://"));
    let address: SocketAddr = address.unwrap().parse().unwrap();
    Client::connect(address).get(path, &[]);
}

/// Asks a server to end, and waits for it.
fn end(child: &mut Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success());
}
