//! Unusual files: long, empty, truncated, growing, removed, special, unreadable.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use inotify::{Inotify, WatchMask};
use rustix::fs::{CWD, FileType, Mode, OFlags, RenameFlags};

use super::harness::{
    Client, Content, PATIENCE, Server, Site, engines, is_root, skip, unprivileged, wait_until,
};

/// Exceeds every socket buffer.
const LONG: usize = 24 << 20;

/// A client that has received the head of a long response and has read no content yet.
fn begun(server: &Server, path: &str) -> Client {
    let mut client = server.connect();
    client.send(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes());
    let mut first = [0; 1];
    client.stream().peek(&mut first).unwrap();
    client
}

#[test]
fn a_file_that_is_cut_while_it_is_sent_ends_that_connection_only() {
    for engine in engines() {
        let site = Site::new();
        site.file("long", vec![b'x'; LONG]).file("a", "fine");
        let server = Server::start(&site, &["--disk", engine]);
        let mut client = begun(&server, "/long");
        let file = fs::File::options()
            .write(true)
            .open(site.path("long"))
            .unwrap();
        // At the end of the largest folio: within a folio the kernel zeroes the rest, even if it is on its
        // way to the socket already.
        file.set_len(4 << 20).unwrap();
        let received = client.rest();
        let head = received.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        assert!(received.len() < LONG, "the response was completed");
        assert!(
            received[head..].iter().all(|byte| *byte == b'x'),
            "something else was sent"
        );
        assert_eq!(server.get("/a").body, b"fine");
        assert_eq!(server.get("/long").body.len(), 4 << 20);
    }
}

#[test]
fn a_file_that_grows_is_cut_at_its_announced_length() {
    for engine in engines() {
        let site = Site::new();
        site.file("long", vec![b'x'; LONG]);
        let server = Server::start(&site, &["--disk", engine]);
        let mut client = begun(&server, "/long");
        let mut file = fs::File::options()
            .append(true)
            .open(site.path("long"))
            .unwrap();
        file.write_all(&vec![b'y'; LONG]).unwrap();
        let response = client.response(Content::Expected).unwrap();
        assert_eq!(response.body.len(), LONG);
        assert!(response.body.iter().all(|byte| *byte == b'x'));
        assert_eq!(
            client.get("/long", &["Range: bytes=-1"]).body,
            b"y",
            "the connection goes on"
        );
    }
}

#[test]
fn a_response_of_two_versions_is_not_completed() {
    for engine in engines() {
        let site = Site::new();
        site.file("long", vec![b'x'; LONG]);
        let server = Server::start(&site, &["--disk", engine]);
        let mut client = begun(&server, "/long");
        fs::write(site.path("long"), vec![b'y'; LONG]).unwrap();
        assert!(client.response(Content::Expected).is_none());
    }
}

#[test]
fn a_file_that_vanishes_while_it_is_sent_is_sent_to_its_end() {
    for engine in engines() {
        let site = Site::new();
        site.file("long", vec![b'x'; LONG]);
        let server = Server::start(&site, &["--disk", engine, "--revalidate", "0"]);
        let mut client = begun(&server, "/long");
        fs::remove_file(site.path("long")).unwrap();
        assert_eq!(server.get("/long").status, 404);
        assert_eq!(client.response(Content::Expected).unwrap().body.len(), LONG);
    }
}

#[test]
fn offsets_past_four_gibibytes_are_right() {
    for engine in engines() {
        let site = Site::new();
        let path = site.path("huge");
        let length = (5_u64 << 30) + 10;
        let file = fs::File::create(&path).unwrap();
        file.set_len(length).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, b"end", length - 3).unwrap();
        let server = Server::start(&site, &["--disk", engine]);
        let mut client = server.connect();
        let range = format!("Range: bytes={}-", length - 5);
        let response = client.get("/huge", &[&range]);
        assert_eq!(response.status, 206);
        assert_eq!(response.body, b"\0\0end");
        let wanted = format!("bytes {}-{}/{length}", length - 5, length - 1);
        assert_eq!(response.field("content-range"), Some(&*wanted));
        let head = client.request("HEAD", "/huge", &[]);
        assert_eq!(head.field("content-length"), Some(&*length.to_string()));
    }
}

#[test]
fn several_ranges_are_the_bytes_they_name_from_maps_and_from_files() {
    for engine in engines() {
        let site = Site::new();
        let bytes: Vec<u8> = (0..40_000_u32).flat_map(u32::to_le_bytes).collect();
        site.file("short", &bytes[..9_000]).file("long", &bytes);
        let server = Server::start(&site, &["--disk", engine]);
        let mut client = server.connect();
        for path in ["/short", "/long"] {
            for _ in 0..4 {
                let response = client.get(path, &["Range: bytes=0-1,4000-5999,-7"]);
                let kind = response.field("content-type").unwrap();
                let boundary = kind.split_once("boundary=").unwrap().1;
                let whole = if path == "/short" { 9_000 } else { bytes.len() };
                let mut wanted = Vec::new();
                for range in [0..2, 4_000..6_000, whole - 7..whole] {
                    wanted.extend_from_slice(
                        format!(
                            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n\
                             Content-Range: bytes {}-{}/{whole}\r\n\r\n",
                            range.start,
                            range.end - 1
                        )
                        .as_bytes(),
                    );
                    wanted.extend_from_slice(&bytes[range]);
                }
                wanted.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
                assert!(response.body == wanted, "{path}: parts differ");
            }
        }
    }
}

/// 256 ranges of one byte cost 33 KB of part heads if they are too far apart to be merged.
#[test]
fn an_answer_in_parts_is_never_much_longer_than_the_file() {
    let site = Site::new();
    let bytes: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    site.file("long", &bytes).file("short", &bytes[..25_700]);
    let server = Server::start(&site, &[]);
    let mut client = server.connect();
    let list = |step: usize| {
        let members: Vec<_> = (0..256).map(|at| format!("{0}-{0}", at * step)).collect();
        format!("Range: bytes={}", members.join(","))
    };
    #[rustfmt::skip]
    let cases = [
        // path, distance, whether merged into one part, maximum bytes
        ("/long",  2,     true,  511),
        ("/long",  100,   true,  25_501),
        ("/long",  1_500, false, 256 * 140),
        ("/short", 100,   true,  25_501),
    ];
    for (path, distance, is_one, length_max) in cases {
        let response = client.get(path, &[&list(distance)]);
        assert_eq!(response.status, 206, "{path}, {distance} apart");
        assert!(response.body.len() <= length_max, "{}", response.body.len());
        if is_one {
            assert_eq!(response.body, bytes[..=255 * distance]);
        } else {
            let text = String::from_utf8_lossy(&response.body);
            assert_eq!(text.matches("Content-Range: ").count(), 256);
            let last = format!("Content-Range: bytes {0}-{0}/400000\r\n", 255 * distance);
            assert_eq!(text.matches(&last).count(), 1);
        }
    }
    // As zchunk requests them: ranges with small gaps are not merged.
    let blocks: Vec<_> = (0..100)
        .map(|at| format!("{}-{}", at * 3_000, at * 3_000 + 2_990))
        .collect();
    let response = client.get("/long", &[&format!("Range: bytes={}", blocks.join(","))]);
    assert_eq!(
        response
            .body
            .windows(15)
            .filter(|window| window == b"Content-Range: ")
            .count(),
        100
    );
}

#[test]
fn special_files_are_404_and_block_nobody() {
    for engine in engines() {
        let site = Site::new();
        site.file("a", "fine");
        special(&site, "fifo", FileType::Fifo, 0);
        let _socket = UnixListener::bind(site.path("socket")).unwrap();
        let server = Server::start(&site, &["--disk", engine]);
        for path in ["/fifo", "/socket", "/fifo", "/socket", "/fifo/"] {
            assert_eq!(server.get(path).status, 404, "{path}");
            assert_eq!(server.get("/a").body, b"fine");
        }
    }
}

/// Creates a special file.
fn special(site: &Site, name: &str, kind: FileType, device: u64) {
    let mode = Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(CWD, site.path(name), kind, mode, device).unwrap();
}

/// Watches these files for opens, by any process. A lookup is no open.
fn opens_of(site: &Site, names: &[&str]) -> Inotify {
    let inotify = Inotify::init().unwrap();
    for name in names {
        let watch = inotify.watches().add(site.path(name), WatchMask::OPEN);
        watch.unwrap();
    }
    inotify
}

fn open_count(inotify: &mut Inotify) -> usize {
    let mut buffer = [0; 4_096];
    match inotify.read_events(&mut buffer) {
        Ok(events) => events.count(),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
        Err(error) => panic!("{error}"),
    }
}

/// Opening a FIFO would release its writer, whose data is lost then; opening a device has side effects of its
/// driver.
#[test]
fn special_files_are_never_opened() {
    for engine in engines() {
        let site = Site::new();
        site.file("page.html", "page").file("d/other", "fine");
        let mut names = vec!["fifo", "page.html.gz", "d/index.html"];
        for name in &names {
            special(&site, name, FileType::Fifo, 0);
        }
        if is_root() {
            // The numbers of /dev/null.
            let null = rustix::fs::makedev(1, 3);
            special(&site, "device", FileType::CharacterDevice, null);
            names.push("device");
        }
        let mut opens = opens_of(&site, &names);
        let (tell, thread) = mpsc::channel();
        let path = site.path("fifo");
        let writer = std::thread::spawn(move || {
            tell.send(rustix::thread::gettid()).unwrap();
            let mut fifo = fs::File::options().write(true).open(path)?;
            fifo.write_all(b"kept")
        });
        let stat = format!("/proc/self/task/{}/stat", thread.recv().unwrap());
        wait_until("the writer waits at the FIFO", || {
            fs::read_to_string(&stat).unwrap().contains(") S ")
        });
        let words = ["--disk", engine, "--directories", "list", "--warm"];
        let server = Server::start(
            &site,
            &[&words[..], &[site.root().to_str().unwrap()]].concat(),
        );
        wait_until("it is warmed", || {
            server.numbers()["warming"]["under_way"] == false
        });
        let mut client = server.connect();
        for _ in 0..2 {
            for path in ["/fifo", "/fifo?a", "/device", "/fifo/", "/device/"] {
                assert_eq!(client.get(path, &[]).status, 404, "{path}");
                assert_eq!(
                    client.request("HEAD", path, &["Range: bytes=0-1"]).status,
                    404
                );
            }
            let page = client.get("/page.html", &["Accept-Encoding: gzip"]);
            assert_eq!((page.status, page.body), (200, b"page".to_vec()));
            assert_eq!(client.get("/d/", &[]).status, 200);
            assert_eq!(client.get("/", &[]).status, 200);
            // SIGHUP: everything is revalidated.
            server.signal(rustix::process::Signal::HUP);
        }
        assert_eq!(open_count(&mut opens), 0, "{engine}");
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let fifo = rustix::fs::open(site.path("fifo"), flags, Mode::empty()).unwrap();
        let mut received = [0; 4];
        wait_until("the writer goes on", || {
            matches!(rustix::io::read(&fifo, &mut received), Ok(4))
        });
        assert_eq!(&received, b"kept", "{engine}");
        writer.join().unwrap().unwrap();
    }
}

#[test]
fn a_fifo_that_takes_the_place_of_a_file_while_it_is_asked_for_is_not_opened() {
    for engine in engines() {
        let site = Site::new();
        site.file("swapped", "a file").file("other", "fine");
        special(&site, "fifo", FileType::Fifo, 0);
        let mut opens = opens_of(&site, &["fifo"]);
        let words = [
            "--disk",
            engine,
            "--revalidate",
            "0",
            "--watch-directories",
            "0",
            "--map-cache",
            "0",
        ];
        let server = Server::start(&site, &words);
        let (one, other) = (site.path("swapped"), site.path("fifo"));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let began = Instant::now();
                while !is_over.load(Ordering::Relaxed) && began.elapsed() < PATIENCE {
                    rustix::fs::renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE)
                        .unwrap();
                }
            });
            let mut client = server.connect();
            let mut seen = [0, 0];
            for _ in 0..2_000 {
                match client.get("/swapped", &[]) {
                    answer if answer.status == 404 => seen[0] += 1,
                    answer if answer.body == b"a file" => seen[1] += 1,
                    // The file differed at each look.
                    answer => assert_eq!(answer.status, 503, "{answer:?}"),
                }
            }
            is_over.store(true, Ordering::Relaxed);
            assert!(seen[0] > 0 && seen[1] > 0, "{engine}: {seen:?}");
        });
        assert_eq!(open_count(&mut opens), 0, "{engine}");
    }
}

/// `tar -xm` and parallel copies write files, and so set mtimes, in any order.
#[test]
fn a_precompressed_file_may_be_a_moment_older_than_its_file() {
    for engine in engines() {
        let site = Site::new();
        site.file("a.js", "plain")
            .file("b.js", "plain")
            .file("a.js.br", "br")
            .file("b.js.gz", "gz");
        let second = Duration::from_secs(1);
        let date = std::time::SystemTime::now() - 3_600 * second;
        let set = |name: &str, date| {
            let file = fs::File::options()
                .write(true)
                .open(site.path(name))
                .unwrap();
            file.set_modified(date).unwrap();
        };
        for (name, older) in [
            ("a.js", Duration::ZERO),
            ("a.js.br", 2 * second),
            ("b.js", Duration::ZERO),
            ("b.js.gz", 2 * second + Duration::from_nanos(1)),
        ] {
            set(name, date - older);
        }
        let server = Server::start(&site, &["--disk", engine]);
        let get = |path| {
            server
                .connect()
                .get(path, &["Accept-Encoding: br, gzip"])
                .body
        };
        let outdated = || server.numbers()["variants"].clone();
        assert_eq!(
            (get("/a.js"), get("/b.js")),
            (b"br".to_vec(), b"plain".to_vec()),
            "{engine}"
        );
        assert_eq!(
            (&outdated()["outdated"], &outdated()["outdated_example"]),
            (&1.into(), &"/b.js.gz".into())
        );
        // Compressed again.
        set("b.js.gz", date + second);
        assert_eq!(get("/b.js"), b"gz", "{engine}");
        wait_until("it is counted no more", || outdated()["outdated"] == 0);
        assert_eq!(outdated()["outdated_example"], serde_json::Value::Null);
    }
}

#[test]
fn a_file_that_may_not_be_read_is_403() {
    let site = Site::new();
    site.file("private", "no").file("public", "yes");
    fs::set_permissions(site.path("private"), fs::Permissions::from_mode(0o600)).unwrap();
    for path in [site.root(), site.root().parent().unwrap().into()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    if !is_root() {
        return skip("a file of somebody else takes root to make");
    }
    let mut command = unprivileged(&site);
    command.args(["--listen", "127.0.0.1:0"]).arg(site.root());
    let server = Server::spawn(&mut command);
    assert_eq!(server.get("/private").status, 403);
    for _ in 0..4 {
        assert_eq!(server.get("/public").body, b"yes");
    }
}

/// The kernel does not tell residency to a user who may not write the file, so windows are read before they
/// are sent: once per peer, however slowly it receives.
#[test]
fn a_slow_reader_of_a_foreign_file_has_each_window_read_once() {
    if !is_root() {
        return skip("a file of somebody else takes root to make");
    }
    let site = Site::new();
    site.file("long", vec![b'x'; LONG]);
    let mut command = unprivileged(&site);
    command.args(["--listen", "127.0.0.1:0"]).arg(site.root());
    let server = Server::spawn(&mut command);
    let jobs = || -> u64 {
        let numbers = server.numbers();
        let buckets = numbers["disk"]["job_us"].as_array().unwrap();
        let counts = buckets
            .iter()
            .map(|bucket| bucket["count"].as_u64().unwrap());
        counts.sum()
    };
    let before = jobs();
    let mut client = server.connect();
    rustix::net::sockopt::set_socket_recv_buffer_size(client.stream(), 16 << 10).unwrap();
    client.send(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut piece = vec![0; 32 << 10];
    for _ in 0..60 {
        client.stream().read_exact(&mut piece).unwrap();
        let taken = Instant::now();
        wait_until("nobody is trusted unasked any more", || {
            taken.elapsed() > Duration::from_millis(30)
        });
    }
    let windows = (60 * piece.len() as u64).div_ceil(512 << 10);
    // The lookup, data in sockets, and the window that is read ahead.
    let most = windows + 6;
    let jobs = jobs() - before;
    assert!(jobs <= most, "{jobs} jobs for {windows} windows");
}

#[test]
fn a_slow_reader_gets_everything_and_blocks_nobody() {
    for engine in engines() {
        let site = Site::new();
        let long: Vec<u8> = (0..LONG).map(|at| b"0123456789abcdef!"[at % 17]).collect();
        site.file("long", &long).file("a", "fine");
        let server = Server::start(&site, &["--disk", engine]);
        let mut slow = begun(&server, "/long");
        for _ in 0..50 {
            assert_eq!(server.get("/a").body, b"fine");
        }
        let mut piece = vec![0; 100_000];
        slow.stream().read_exact(&mut piece).unwrap();
        let rest = slow.response_after(&piece, LONG);
        assert!(rest == long, "bytes differ");
    }
}

#[test]
fn a_peer_that_leaves_in_the_middle_leaves_nothing_behind() {
    for engine in engines() {
        let site = Site::new();
        site.file("long", vec![b'x'; LONG]);
        let server = Server::start(&site, &["--disk", engine]);
        for _ in 0..20 {
            drop(begun(&server, "/long"));
        }
        wait_until("all are closed", || {
            server.numbers()["connections"]["open"] == 1
        });
    }
}
