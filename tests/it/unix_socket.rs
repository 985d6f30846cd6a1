//! Unix sockets: existing files, permissions, and removal at the end.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::fs::{CWD, FileType, Mode};
use rustix::process::Signal;

use super::harness::{PATIENCE, Server, Site, is_root, skip, wait_until};

fn site() -> Site {
    let site = Site::new();
    site.file("a", "fine");
    site
}

fn command(site: &Site, socket: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
    command.arg("--listen");
    command.arg(format!("unix:{}", socket.display()));
    command.args(words).arg(site.root());
    command
}

fn start(site: &Site, socket: &Path, words: &[&str]) -> Server {
    Server::spawn(&mut command(site, socket, words))
}

fn stop(mut server: Server) {
    server.signal(Signal::TERM);
    assert_eq!(server.wait(), Some(0));
}

/// The program fails to start: one line, exit code 1.
fn refused(site: &Site, socket: &Path, words: &[&str]) -> String {
    let output: Output = command(site, socket, words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains(socket.to_str().unwrap()), "{said}");
    said
}

/// Whether a server answers there.
fn answers(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return false;
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let mut text = String::new();
    stream.write_all(request).is_ok()
        && stream.read_to_string(&mut text).is_ok()
        && text.ends_with("fine")
}

/// Leaves a socket like a killed process.
fn abandoned(socket: &Path) {
    drop(UnixListener::bind(socket).unwrap());
    assert!(socket.exists());
}

#[test]
fn only_an_abandoned_socket_is_replaced() {
    let site = site();
    let socket = site.beside("socket");
    let precious = site.beside("precious");
    fs::write(&precious, "precious").unwrap();
    let remote = site.beside("remote");
    abandoned(&remote);

    fs::write(&socket, "mine").unwrap();
    assert!(refused(&site, &socket, &[]).contains("the path is a file"));
    assert_eq!(fs::read_to_string(&socket).unwrap(), "mine");
    fs::remove_file(&socket).unwrap();

    fs::create_dir(&socket).unwrap();
    assert!(refused(&site, &socket, &[]).contains("the path is a directory"));
    fs::remove_dir(&socket).unwrap();

    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, &socket, FileType::Fifo, mode, 0).unwrap();
    assert!(refused(&site, &socket, &[]).contains("the path is a FIFO"));
    assert!(fs::metadata(&socket).unwrap().file_type().is_fifo());
    fs::remove_file(&socket).unwrap();

    for target in [&precious, &remote, &site.beside("none")] {
        symlink(target, &socket).unwrap();
        assert!(refused(&site, &socket, &[]).contains("the path is a symbolic link"));
        assert_eq!(&fs::read_link(&socket).unwrap(), target);
        fs::remove_file(&socket).unwrap();
    }
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert!(fs::metadata(&remote).unwrap().file_type().is_socket());

    abandoned(&socket);
    let server = start(&site, &socket, &[]);
    assert!(answers(&socket));
    stop(server);
    assert!(!socket.exists(), "its own is removed");
}

#[test]
fn where_somebody_listens_the_address_is_in_use() {
    let site = site();
    let socket = site.beside("socket");
    let server = start(&site, &socket, &[]);
    assert!(refused(&site, &socket, &[]).contains("in use"));
    assert!(answers(&socket));
    stop(server);

    // A socket with a full accept queue is in use too.
    let listener =
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    listener
        .bind(&socket2::SockAddr::unix(&socket).unwrap())
        .unwrap();
    listener.listen(0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let client = client.unwrap();
        client.set_nonblocking(true).unwrap();
        let connected = client.connect(&socket2::SockAddr::unix(&socket).unwrap());
        waiting.push(client);
        if connected.is_err() {
            break;
        }
    }
    assert!(refused(&site, &socket, &[]).contains("in use"));
    assert!(socket.exists());
}

#[test]
fn a_server_that_stops_removes_its_own_socket_and_no_other() {
    let site = site();
    let socket = site.beside("socket");
    let first = start(&site, &socket, &[]);
    // Another process may replace it at once.
    fs::remove_file(&socket).unwrap();
    let second = start(&site, &socket, &[]);
    stop(first);
    assert!(answers(&socket), "the second is still there");
    fs::rename(&socket, site.beside("moved")).unwrap();
    fs::write(&socket, "mine").unwrap();
    stop(second);
    assert_eq!(fs::read_to_string(&socket).unwrap(), "mine");
    assert!(site.beside("moved").exists(), "known by its path only");
}

/// A socket that is bound but does not listen yet looks abandoned.
#[test]
fn of_servers_that_start_at_once_one_has_the_socket() {
    let site = site();
    let socket = site.beside("socket");
    for _ in 0..3 {
        abandoned(&socket);
        let begin = |_| {
            let mut command = command(&site, &socket, &["--disk", "threads"]);
            let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
            quiet.spawn().unwrap()
        };
        let mut servers: Vec<Child> = (0..8).map(begin).collect();
        let mut ended = Vec::new();
        wait_until("all but one have ended", || {
            servers.retain_mut(|server| match server.try_wait().unwrap() {
                Some(status) => {
                    ended.push(status.code());
                    false
                }
                None => true,
            });
            servers.len() == 1
        });
        assert_eq!(ended, [Some(1); 7]);
        wait_until("it answers", || answers(&socket));
        let pid = rustix::process::Pid::from_child(&servers[0]);
        rustix::process::kill_process(pid, Signal::TERM).unwrap();
        assert!(servers[0].wait().unwrap().success());
        assert!(!socket.exists());
    }
}

#[test]
fn a_socket_has_the_mode_and_the_group_that_were_asked_for() {
    let site = site();
    let socket = site.beside("socket");
    let of = |words: &[&str], umask: &str| {
        let mut command = Command::new("sh");
        let script = format!("umask {umask}; exec \"$@\"");
        command.args(["-c", &script, "sh", env!("CARGO_BIN_EXE_spede"), "--listen"]);
        command.arg(format!("unix:{}", socket.display()));
        let server = Server::spawn(command.args(words).arg(site.root()));
        let stat = fs::metadata(&socket).unwrap();
        assert!(answers(&socket));
        stop(server);
        (stat.permissions().mode() & 0o7777, stat.gid())
    };
    let own = rustix::process::getegid().as_raw();
    assert_eq!(of(&[], "022"), (0o755, own), "what the umask leaves");
    assert_eq!(of(&["--socket-mode", "0666"], "077"), (0o666, own));
    assert_eq!(of(&["--socket-mode", "600"], "0"), (0o600, own));
    if is_root() {
        let group = ["--socket-group", "65534"];
        assert_eq!(of(&group, "077"), (0o660, 65_534));
        let both = ["--socket-group", "daemon", "--socket-mode", "0620"];
        assert_eq!(of(&both, "022"), (0o620, 1));
    } else {
        skip("giving a socket to another group takes root");
    }
    let said = refused(&site, &socket, &["--socket-group", "no-such-group"]);
    assert!(said.contains("no-such-group") && said.contains("--socket-group"));
    assert!(!socket.exists(), "nothing is left behind");
}
