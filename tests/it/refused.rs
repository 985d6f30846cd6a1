//! Refused system calls: what the server needs is tried at the start. It works without the call, and says so
//! if that makes a difference, or it ends with one line that names the call.

use super::harness::{Server, Site, engines, refusing, wait_until};

/// Starts a server in a process where these calls fail with an error.
pub fn start_without(calls: &[i64], errno: i32, start: impl FnOnce() -> Server + Send) -> Server {
    let calls: Vec<_> = calls.iter().map(|call| (*call, vec![])).collect();
    refusing(&calls, errno, start)
}

const LONG: usize = 3 << 20;

fn site() -> Site {
    let site = Site::new();
    site.file("a", "fine")
        .file("long", vec![b'x'; LONG])
        .file("d/b", "b");
    site
}

/// Checks that everything is served as usual.
fn serves(server: &Server, what: &str) {
    for _ in 0..3 {
        assert_eq!(server.get("/a").body, b"fine", "{what}");
        assert_eq!(server.get("/long").body, vec![b'x'; LONG], "{what}");
    }
    assert_eq!(server.get("/none").status, 404, "{what}");
    let list = String::from_utf8(server.get("/d/").body).unwrap();
    assert!(list.contains("href=\"./b\""), "{what}: {list}");
}

#[test]
fn each_call_is_done_without_or_named_at_the_start() {
    let site = site();
    #[rustfmt::skip]
    let calls = [
        // Call, its number, and whether there is an alternative.
        ("openat2",           libc::SYS_openat2,           true),
        ("statx",             libc::SYS_statx,             true),
        ("inotify_init1",     libc::SYS_inotify_init1,     true),
        ("inotify_add_watch", libc::SYS_inotify_add_watch, true),
        ("io_uring_setup",    libc::SYS_io_uring_setup,    true),
        ("io_uring_enter",    libc::SYS_io_uring_enter,    true),
        ("io_uring_register", libc::SYS_io_uring_register, true),
        ("madvise",           libc::SYS_madvise,           true),
        ("fadvise64",         libc::SYS_fadvise64,         true),
        ("fstatfs",           libc::SYS_fstatfs,           true),
        ("getrusage",         libc::SYS_getrusage,         true),
        ("ioctl",             libc::SYS_ioctl,             true),
        ("eventfd2",          libc::SYS_eventfd2,          false),
        ("epoll_create1",     libc::SYS_epoll_create1,     false),
        ("epoll_ctl",         libc::SYS_epoll_ctl,         false),
        ("epoll_wait",        libc::SYS_epoll_wait,        false),
        ("prlimit64",         libc::SYS_prlimit64,         false),
        ("socketpair",        libc::SYS_socketpair,        false),
        ("preadv",            libc::SYS_preadv,            false),
        ("sendfile",          libc::SYS_sendfile,          false),
        ("sendto",            libc::SYS_sendto,            false),
        ("writev",            libc::SYS_writev,            false),
        ("sendmsg",           libc::SYS_sendmsg,           false),
        ("recvfrom",          libc::SYS_recvfrom,          false),
        ("accept4",           libc::SYS_accept4,           false),
        ("getdents64",        libc::SYS_getdents64,        false),
        ("socket",            libc::SYS_socket,            false),
        ("setsockopt",        libc::SYS_setsockopt,        false),
        ("fcntl",             libc::SYS_fcntl,             false),
        ("bind",              libc::SYS_bind,              false),
        ("listen",            libc::SYS_listen,            false),
        ("getsockname",       libc::SYS_getsockname,       false),
        ("shutdown",          libc::SYS_shutdown,          false),
        ("inotify_rm_watch",  libc::SYS_inotify_rm_watch,  true),
        // Missing in the libc crate: cachestat(2) is too new.
        ("cachestat",         451,                         true),
        ("getpeername",       libc::SYS_getpeername,       true),
        ("readlink",          libc::SYS_readlink,          true),
        ("getcwd",            libc::SYS_getcwd,            true),
    ];
    for (name, call, is_optional) in calls {
        for errno in [libc::EPERM, libc::ENOSYS] {
            let start = || Server::start(&site, &["--directories", "list"]);
            let mut server = start_without(&[call], errno, start);
            if is_optional {
                serves(&server, name);
                continue;
            }
            assert_eq!(server.wait(), Some(1), "{name}: {:?}", server.lines());
            let [line] = server.lines() else {
                panic!("{name}: one line: {:?}", server.lines());
            };
            assert!(
                line.starts_with(&format!("spede: cannot serve here: {name} is refused: ")),
                "{name}: {line}"
            );
        }
    }
}

/// Each makes the server report it in exactly one line at the start, containing this.
#[test]
fn a_start_line_names_the_call_that_is_refused_and_what_to_do() {
    let site = site();
    #[rustfmt::skip]
    let cases = [
        (libc::SYS_inotify_init1,     "no file system events: inotify_init1 is refused (", "seccomp"),
        (libc::SYS_inotify_add_watch, "no file system events: inotify_add_watch is refused (", "seccomp"),
        (libc::SYS_fstatfs,           "/proc/self/fd is unusable (", "mount /proc"),
        (libc::SYS_openat2,           "openat2 is refused (",      "seccomp"),
    ];
    for (call, begin, advice) in cases {
        for errno in [libc::EPERM, libc::ENOSYS] {
            let server = start_without(&[call], errno, || Server::start(&site, &[]));
            let cause = std::io::Error::from_raw_os_error(errno).to_string();
            // Earlier lines have been written, but perhaps not been read.
            wait_until(begin, || server.errors().ends_with("\n"));
            let said = server.errors();
            let [line] = said.lines().collect::<Vec<_>>()[..] else {
                panic!("{begin}: one line: {said}")
            };
            assert!(
                line.starts_with(&format!("spede: {begin}{cause})")),
                "{line}"
            );
            assert!(line.contains(advice), "{line}");
            assert!(!line.contains("max_user_instances"), "{line}");
            assert_eq!(server.get("/a").body, b"fine");
        }
    }
    // EMFILE has another meaning.
    let start = || Server::start(&site, &[]);
    let server = start_without(&[libc::SYS_inotify_init1], libc::EMFILE, start);
    wait_until("it is said", || {
        server.errors().contains("fs.inotify.max_user_instances")
    });
}

/// Without `openat2` located files are opened through /proc/self/fd; without either there is no safe way.
#[test]
fn without_openat2_and_without_proc_the_server_ends_with_one_line() {
    let site = site();
    let calls = [libc::SYS_openat2, libc::SYS_fstatfs];
    for engine in engines() {
        for errno in [libc::EPERM, libc::ENOSYS] {
            let start = || Server::start(&site, &["--disk", engine]);
            let mut server = start_without(&calls, errno, start);
            assert_eq!(server.wait(), Some(1), "{:?}", server.lines());
            let [line] = server.lines() else {
                panic!("one line: {:?}", server.lines())
            };
            for part in [
                "spede: cannot serve here: openat2 is refused (",
                "), and /proc/self/fd, which",
                "seccomp",
                "mount /proc",
            ] {
                assert!(line.contains(part), "{line}");
            }
        }
    }
}

#[test]
fn where_openat2_is_refused_one_line_says_so() {
    let site = site();
    for errno in [libc::EPERM, libc::ENOSYS] {
        let start = || Server::start(&site, &[]);
        let server = start_without(&[libc::SYS_openat2], errno, start);
        let lines = server.lines();
        let said = lines.iter().filter(|line| line.contains("openat2"));
        let said: Vec<_> = said.collect();
        assert!(
            matches!(said[..], [line] if line.starts_with("spede: openat2 is refused (")),
            "{lines:?}"
        );
    }
}
