//! Effect of each signal.

use std::fs;
use std::process::Command;

use rustix::process::Signal;

use super::harness::{Content, Server, Site, engines, wait_until};

/// Ignored by default, or not fatal: CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH.
const HARMLESS: [u32; 8] = [17, 18, 19, 20, 21, 22, 23, 28];
/// Program faults with a core dump: ILL, TRAP, ABRT, BUS, FPE, SEGV, SYS.
const FAULTS: [u32; 7] = [4, 5, 6, 7, 8, 11, 31];
const KILL: u32 = 9;
/// Handled, end the server: INT, QUIT, TERM, XCPU.
const ENDS: [u32; 4] = [2, 3, 15, 24];

/// A signal set of /proc/PID/status: bit n-1 is signal n.
fn signal_set(server: &Server, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    u64::from_str_radix(line.unwrap().trim_start_matches(':').trim(), 16).unwrap()
}

fn has(set: u64, signal: u32) -> bool {
    set >> (signal - 1) & 1 == 1
}

/// Sends any signal, including real-time ones.
fn send(server: &Server, signal: u32) {
    let sent = Command::new("kill")
        .args([format!("-{signal}"), server.pid().to_string()])
        .status()
        .unwrap();
    assert!(sent.success(), "signal {signal} is sent");
}

#[test]
fn no_signal_whose_default_is_death_is_left_at_its_default() {
    let site = Site::new();
    site.file("a", "fine");
    for engine in engines() {
        let server = Server::start(&site, &["--disk", engine]);
        assert_eq!(server.get("/a").body, b"fine");
        let (ignored, caught) = (signal_set(&server, "SigIgn"), signal_set(&server, "SigCgt"));
        let deadly = (1..=64).filter(|signal| {
            *signal != KILL && !HARMLESS.contains(signal) && !FAULTS.contains(signal)
        });
        for signal in deadly {
            assert!(
                has(ignored, signal) || has(caught, signal),
                "{engine}: signal {signal} is at its default"
            );
            if !ENDS.contains(&signal) {
                send(&server, signal);
            }
        }
        assert_eq!(server.get("/a").body, b"fine", "{engine}");
    }
}

#[test]
fn each_signal_that_ends_the_server_ends_it_in_good_order() {
    let site = Site::new();
    for signal in ENDS {
        let mut server = Server::start(&site, &[]);
        send(&server, signal);
        assert_eq!(server.wait(), Some(0), "signal {signal}");
        assert_eq!(server.errors(), "");
    }
}

/// A parent may have blocked the signals that end its children, without noticing.
#[test]
fn blocked_signals_are_unblocked() {
    let site = Site::new();
    let mut command = Command::new("env");
    command.args(["--block-signal=TERM", env!("CARGO_BIN_EXE_spede")]);
    command.args(["--listen", "127.0.0.1:0"]).arg(site.root());
    let mut server = Server::spawn(&mut command);
    assert_eq!(signal_set(&server, "SigBlk"), 0);
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
}

#[test]
fn sigusr1_opens_the_log_again_and_sigusr2_is_answered_by_a_line() {
    let site = Site::new();
    site.file("a", "fine");
    let log = site.beside("log");
    for engine in engines() {
        let words = ["--disk", engine, "--access-log", log.to_str().unwrap()];
        let server = Server::start(&site, &words);
        server.get("/a");
        let has_line = || fs::read_to_string(&log).is_ok_and(|text| text.lines().count() == 1);
        wait_until("the line is there", has_line);
        fs::rename(&log, site.beside("log.1")).unwrap();
        server.signal(Signal::USR1);
        wait_until("the log is opened again", || log.exists());
        server.get("/a");
        wait_until("the new log is written", has_line);
        assert_eq!(server.errors(), "", "{engine}");
        server.signal(Signal::USR2);
        wait_until("it is said", || server.errors().lines().count() == 1);
        assert!(server.errors().contains("SIGUSR2"), "{}", server.errors());
        assert_eq!(server.get("/a").body, b"fine");
        fs::remove_file(&log).unwrap();
    }
}

/// XCPU is repeated every second after the limit, which is not a second order to hurry.
#[test]
fn the_limit_on_processor_time_lets_responses_finish() {
    let site = Site::new();
    site.file("long", vec![b'l'; 8 << 20]);
    let mut server = Server::start(&site, &[]);
    let mut client = server.connect();
    client.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
    wait_until("the answer has begun", || {
        server.numbers()["connections"]["by_state"]["sending"] == 1
    });
    for _ in 0..3 {
        send(&server, 24);
    }
    let answer = client.response(Content::Expected).unwrap();
    assert_eq!(answer.body.len(), 8 << 20);
    drop(client);
    assert_eq!(server.wait(), Some(0));
}
