//! Kernels and filters that refuse calls: what the server rests on is tried at the start. It works otherwise, and says
//! so where that makes a difference, or it ends with one line that names the call.

use super::harness::{Server, Site, refusing};

/// Starts a server in whose process these calls fail with an error.
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

/// Sees that everything is served as ever.
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
        // Call, its number, and whether there is another way.
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
            matches!(said[..], [line] if line.starts_with("spede: openat2 is refused here (")),
            "{lines:?}"
        );
    }
}
