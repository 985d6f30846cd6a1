//! Destinations of the access log: with any of them the server starts, serves and ends, loses no line without
//! need, and reports lost lines.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::process::Signal;

use super::harness::{Server, Site, engines, is_root, skip, wait_until};

/// The user nobody.
const NOBODY: u32 = 65_534;

fn site() -> Site {
    let site = Site::new();
    site.file("a", "fine");
    site
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
}

fn with_log(site: &Site, engine: &str, log: &Path) -> Server {
    Server::start(
        site,
        &[
            "--disk",
            engine,
            "--access-log",
            log.to_str().unwrap(),
            "--grace",
            "1s",
        ],
    )
}

/// A non-blocking reader of a FIFO.
fn reader(path: &Path) -> File {
    File::options()
        .read(true)
        .custom_flags(OFlags::NONBLOCK.bits().try_into().unwrap())
        .open(path)
        .unwrap()
}

/// A server whose log is a FIFO, and a reader of it.
fn with_reader(site: &Site, engine: &str) -> (Server, File) {
    let log = site.beside(&format!("fifo-{engine}"));
    fifo(&log);
    let reads = reader(&log);
    (with_log(site, engine, &log), reads)
}

/// Reads the available bytes.
fn take(from: &mut File, into: &mut String) {
    let mut buffer = [0; 65_536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        into.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
    }
}

fn lost_lines(server: &Server) -> u64 {
    server.numbers()["access_log_lost_lines"].as_u64().unwrap()
}

/// Starts the program with a log that it refuses: one line, exit code 1.
fn refused(site: &Site, log: &Path) -> String {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_spede"))
        .args(["--listen", "127.0.0.1:0", "--access-log"])
        .args([log, &site.root()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(log.to_str().unwrap()), "{said}");
    said
}

#[test]
fn a_fifo_waits_for_its_reader_and_nobody_waits_for_it() {
    let site = site();
    for engine in engines() {
        let log = site.beside(&format!("fifo-{engine}"));
        fifo(&log);
        let mut server = with_log(&site, engine, &log);
        wait_until("it is said", || {
            server.errors().contains("nobody reads the access log")
        });
        for round in 0..3 {
            let before = server.errors().lines().count();
            for _ in 0..10 {
                assert_eq!(server.get("/a").body, b"fine", "{engine}");
            }
            let mut lines = String::new();
            let mut reads = reader(&log);
            wait_until("a reader that comes gets every line", || {
                take(&mut reads, &mut lines);
                lines.lines().count() == 10
            });
            drop(reads);
            assert_eq!(server.get("/a").body, b"fine", "{engine}, no reader");
            reads = reader(&log);
            let mut lines = String::new();
            wait_until("and so does the next one", || {
                take(&mut reads, &mut lines);
                lines.lines().count() == 1
            });
            let said = server.errors().lines().count() - before;
            assert!(said <= 2 * usize::from(round == 0), "{}", server.errors());
        }
        assert_eq!(lost_lines(&server), 0, "{engine}");
        server.signal(Signal::TERM);
        assert_eq!(server.wait(), Some(0), "{engine}");
    }
}

#[test]
fn a_full_fifo_holds_nobody_up_and_what_is_lost_is_counted_and_said_once() {
    let site = site();
    for engine in engines() {
        let (mut server, mut reads) = with_reader(&site, engine);
        let mut client = server.connect();
        // 90 bytes a line: exceeds the pipe's capacity.
        for _ in 0..1_000 {
            assert_eq!(client.get("/a", &[]).body, b"fine");
        }
        assert_eq!(server.errors(), "", "{engine}: nothing is lost yet");
        let mut lines = String::new();
        wait_until("every line has come", || {
            take(&mut reads, &mut lines);
            lines.lines().count() == 1_000
        });
        let is_whole = |line: &str| line.starts_with("127.0.0.1 - - [") && line.ends_with('"');
        assert!(lines.lines().all(is_whole), "{engine}");
        // 7,000 bytes a line: exceeds the queue.
        let long = format!("/a?{}", "x".repeat(7_000));
        let mut sent = 0;
        wait_until("lines are lost", || {
            for _ in 0..100 {
                assert_eq!(client.get(&long, &[]).status, 200);
            }
            sent += 100;
            lost_lines(&server) > 0
        });
        let mut lines = String::new();
        wait_until("what was kept comes, and it is said that it does", || {
            take(&mut reads, &mut lines);
            server.errors().contains("is written again")
        });
        let said = server.errors();
        assert_eq!(said.lines().count(), 2, "{engine}: {said}");
        assert!(said.contains("lines are lost"), "{said}");
        server.signal(Signal::TERM);
        wait_until("the last lines have come", || {
            take(&mut reads, &mut lines);
            server.wait() == Some(0)
        });
        assert!(sent > 500, "as much as is kept");
    }
}

#[test]
fn lines_that_no_reader_took_before_the_end_are_counted_on_standard_error() {
    let site = site();
    for engine in engines() {
        let log = site.beside(&format!("fifo-{engine}"));
        fifo(&log);
        let mut server = with_log(&site, engine, &log);
        for _ in 0..10 {
            assert_eq!(server.get("/a").body, b"fine", "{engine}");
        }
        server.signal(Signal::TERM);
        assert_eq!(server.wait(), Some(0), "{engine}");
        wait_until("that is said", || {
            server.errors().contains("10 lines are lost\n")
        });
        assert_eq!(server.errors().lines().count(), 2, "{}", server.errors());
    }
}

#[test]
fn a_reader_that_is_behind_gets_the_last_lines_as_well() {
    let site = site();
    for engine in engines() {
        let (mut server, mut reads) = with_reader(&site, engine);
        let mut client = server.connect();
        // Exceeds the pipe's capacity.
        for _ in 0..1_000 {
            assert_eq!(client.get("/a", &[]).body, b"fine");
        }
        drop(client);
        let mut lines = String::new();
        server.signal(Signal::TERM);
        wait_until("it has ended", || {
            take(&mut reads, &mut lines);
            server.has_ended()
        });
        take(&mut reads, &mut lines);
        assert_eq!(lines.lines().count(), 1_000, "{engine}");
        assert_eq!(server.wait(), Some(0), "{engine}");
        assert_eq!(server.errors(), "", "{engine}");
    }
}

/// `ulimit -f`, where SIGXFSZ would kill the process.
#[test]
fn a_limit_on_the_length_of_files_loses_lines_until_it_is_raised() {
    let site = site();
    for engine in engines() {
        let log = site.beside(&format!("log-{engine}"));
        let mut command = Command::new("prlimit");
        command.args(["--fsize=2000:unlimited", env!("CARGO_BIN_EXE_spede")]);
        command.args(["--disk", engine, "--listen", "127.0.0.1:0"]);
        command.args([Path::new("--access-log"), &log, &site.root()]);
        let server = Server::spawn(&mut command);
        let mut client = server.connect();
        wait_until("lines are lost", || {
            for _ in 0..20 {
                assert_eq!(client.get("/a", &[]).body, b"fine", "{engine}");
            }
            lost_lines(&server) > 0
        });
        let bytes = server.numbers()["access_log_lost_bytes"].as_u64().unwrap();
        assert!(bytes > 0, "{engine}");
        assert_eq!(fs::metadata(&log).unwrap().len(), 2_000);
        wait_until("that is said", || server.errors().ends_with('\n'));
        let said = server.errors();
        assert_eq!(said.lines().count(), 1, "{engine}: {said}");
        assert!(said.contains("File too large"), "{said}");

        let pid = server.pid().to_string();
        let raised = Command::new("prlimit")
            .args(["--pid", &pid, "--fsize=unlimited"])
            .status();
        assert!(raised.unwrap().success());
        client.get("/none", &[]);
        let text = || fs::read_to_string(&log).unwrap();
        wait_until("it is written again", || text().contains("/none"));
        wait_until("that is said", || server.errors().lines().count() == 2);
        let is_whole = |line: &&str| line.starts_with("127.0.0.1 - - [") && line.ends_with('"');
        let torn = text().lines().filter(|line| !is_whole(line)).count();
        assert!(
            torn <= 1,
            "{engine}: the torn line stands alone: {}",
            text()
        );
        let said = server.errors();
        let lost = format!("lost lines: {}", lost_lines(&server));
        assert!(said.contains(&lost), "{engine}: {lost}, not {said}");
    }
}

#[test]
fn a_full_disk_is_said_once() {
    let site = site();
    for engine in engines() {
        let server = with_log(&site, engine, Path::new("/dev/full"));
        let mut lost = 0;
        for _ in 0..3 {
            assert_eq!(server.get("/a").body, b"fine", "{engine}");
            wait_until("the line is lost", || lost_lines(&server) > lost);
            lost = lost_lines(&server);
        }
        wait_until("that is said", || server.errors().ends_with('\n'));
        let said = server.errors();
        assert_eq!(said.lines().count(), 1, "{engine}: {said}");
        assert!(said.contains("No space left"), "{said}");
    }
}

#[test]
fn invalid_log_paths_are_refused_in_one_line() {
    let site = site();
    assert!(refused(&site, &site.root()).contains("directory"));
    let socket = site.beside("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let said = refused(&site, &socket);
    assert!(said.contains("socket") && said.contains("- writes to standard output"));
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    let around = site.beside("around");
    symlink("around", &around).unwrap();
    assert!(refused(&site, &around).contains("link"));
    let disk = site.beside("disk");
    let device = rustix::fs::makedev(7, 250);
    let mode = Mode::from_raw_mode(0o600);
    match rustix::fs::mknodat(CWD, &disk, FileType::BlockDevice, mode, device) {
        Ok(()) => assert!(refused(&site, &disk).contains("block device")),
        Err(error) => skip(&format!("no block device can be made: {error}")),
    }
}

/// Opening `/dev/stdout` fails if it is a socket, as under systemd.
#[test]
fn standard_output_under_its_other_names_may_be_a_socket() {
    let site = site();
    let link = site.beside("link");
    symlink("/dev/stdout", &link).unwrap();
    for name in ["/dev/stdout", link.to_str().unwrap()] {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        ours.set_read_timeout(Some(super::harness::PATIENCE))
            .unwrap();
        let listen = site.beside("listen");
        let mut child = Command::new(env!("CARGO_BIN_EXE_spede"))
            .args(["--access-log", name, "--listen"])
            .arg(format!("unix:{}", listen.display()))
            .arg(site.root())
            .stdout(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut client = None;
        wait_until("it listens", || {
            client = UnixStream::connect(&listen).ok();
            client.is_some()
        });
        let request = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        std::io::Write::write_all(client.as_mut().unwrap(), request).unwrap();
        let (mut text, mut buffer) = (String::new(), [0; 4_096]);
        while !text.contains("\"GET /a HTTP/1.1\" 200 4") {
            let count = ours.read(&mut buffer).unwrap();
            assert_ne!(count, 0, "{name}: it ended: {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM)
            .unwrap();
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn a_link_that_somebody_else_has_put_in_the_place_of_the_log_is_not_followed() {
    if !is_root() {
        return skip("files of somebody else take root");
    }
    let site = site();
    let precious = site.beside("precious");
    fs::write(&precious, "precious\n").unwrap();
    let log = site.beside("log");
    let plant = |owner| {
        symlink(&precious, &log).unwrap();
        std::os::unix::fs::lchown(&log, Some(owner), None).unwrap();
    };
    plant(NOBODY);
    assert!(refused(&site, &log).contains("another user"));
    fs::remove_file(&log).unwrap();
    for engine in engines() {
        let server = with_log(&site, engine, &log);
        server.get("/a");
        let has_line = || fs::read_to_string(&log).unwrap().contains("GET /a");
        wait_until("the line is there", has_line);
        let moved = site.beside("log.1");
        fs::rename(&log, &moved).unwrap();
        plant(NOBODY);
        server.signal(Signal::USR1);
        wait_until("it is said", || server.errors().contains("another user"));
        server.get("/a");
        let goes_on = || fs::read_to_string(&moved).unwrap().lines().count() == 2;
        wait_until("the log goes on where it was", goes_on);
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious\n");
        fs::remove_file(&log).unwrap();
        fs::remove_file(&moved).unwrap();
    }
    // A link of our own is followed.
    let elsewhere = site.beside("elsewhere");
    symlink("elsewhere", &log).unwrap();
    let server = with_log(&site, "threads", &log);
    server.get("/a");
    wait_until("the target is written", || {
        fs::read_to_string(&elsewhere).is_ok_and(|text| text.contains("GET /a"))
    });
}

#[test]
fn what_somebody_else_has_put_into_a_directory_of_everybody_is_no_log() {
    if !is_root() {
        return skip("files of somebody else take root");
    }
    let site = site();
    let common = site.beside("common");
    fs::create_dir(&common).unwrap();
    fs::set_permissions(
        &common,
        std::os::unix::fs::PermissionsExt::from_mode(0o1777),
    )
    .unwrap();
    let log = common.join("log");
    File::create(&log).unwrap();
    chown(&log, Some(NOBODY), None).unwrap();
    assert!(refused(&site, &log).contains("another user"));
    fs::remove_file(&log).unwrap();
    fifo(&log);
    chown(&log, Some(NOBODY), None).unwrap();
    assert!(refused(&site, &log).contains("another user"));
    fs::remove_file(&log).unwrap();
    let precious = site.beside("precious");
    fs::write(&precious, "precious\n").unwrap();
    fs::hard_link(&precious, &log).unwrap();
    assert!(refused(&site, &log).contains("2 names"));
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious\n");
}

/// The plot of a simulation is a written file too.
#[test]
fn a_drawing_is_not_written_through_the_link_of_somebody_else() {
    let site = site();
    let access = site.beside("access");
    let line = r#"127.0.0.1 - - [01/Nov/2026:00:00:00 +0000] "GET /a HTTP/1.1" 200 4 "-" "-""#;
    fs::write(&access, format!("{line}\n").repeat(3)).unwrap();
    let (precious, plot) = (site.beside("precious"), site.beside("plot.svg"));
    let draw = |limit: &str| {
        let output = Command::new("prlimit")
            .args([limit, env!("CARGO_BIN_EXE_spede"), "simulate", "--plot"])
            .args([&plot, &access])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let unlimited = "--fsize=unlimited";
    let (code, said) = draw("--fsize=100");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("File too large"), "{said}");
    assert!(!plot.exists(), "nothing is left of it");
    fs::write(&precious, "precious").unwrap();
    symlink(&precious, &plot).unwrap();
    if is_root() {
        std::os::unix::fs::lchown(&plot, Some(NOBODY), None).unwrap();
        let (code, said) = draw(unlimited);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("another user"), "{said}");
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        std::os::unix::fs::lchown(&plot, Some(0), None).unwrap();
    } else {
        skip("files of somebody else take root");
    }
    assert_eq!(draw(unlimited).0, Some(0), "a link of our own is followed");
    assert!(fs::read_to_string(&precious).unwrap().contains("<svg"));
    assert!(fs::symlink_metadata(&plot).unwrap().is_symlink());
}
