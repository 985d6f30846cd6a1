//! Faults of the disk, the kernel and clients during disk jobs, and the state of the server afterwards.

use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::Ordering;

use rustix::process::Signal;

use super::harness::{
    Client, Content, Server, Site, engines, is_root, refusing, skip, unprivileged, wait_until,
};
use super::slow_tree::{GOOD_LENGTH, SHORT_LENGTH, SMALL_LENGTH, SlowTree};

/// Engines that never block the loop.
const FREE_ENGINES: [&str; 2] = ["uring", "threads"];

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// Sends a request without waiting for the answer.
fn ask(server: &Server, path: &str) -> Client {
    let mut client = server.connect();
    client.send(get(path).as_bytes());
    client
}

fn disk_number(server: &Server, name: &str) -> u64 {
    server.numbers()["disk"][name].as_u64().unwrap()
}

/// Starts a server that may not use io_uring, as under Docker's default profile.
fn without_io_uring(site: &Site, words: &[&str]) -> Server {
    let refused = [(libc::SYS_io_uring_setup, vec![])];
    refusing(&refused, libc::EPERM, || Server::start(site, words))
}

#[test]
fn where_io_uring_is_refused_threads_take_over_and_say_why() {
    let site = Site::new();
    site.file("a", "fine");
    let server = without_io_uring(&site, &[]);
    let text = server.lines().join("\n");
    assert!(
        text.contains("disk engine threads (no io_uring: io_uring_setup:"),
        "{text}"
    );
    assert_eq!(server.get("/a").body, b"fine");
    let disk = &server.numbers()["disk"];
    assert_eq!(disk["engine"], "threads");
    assert!(
        disk["reason"]
            .as_str()
            .unwrap()
            .contains("Operation not permitted"),
        "{disk}"
    );
}

/// If a user may have no further thread, the kernel creates no worker for a ring, and every call through it
/// fails.
#[test]
fn a_ring_that_makes_no_calls_is_not_used() {
    if !is_root() {
        return skip("a limit on threads that is only another user's takes root");
    }
    let site = Site::new();
    site.file("a", "fine");
    let program = unprivileged(&site).get_program().to_owned();
    // No other process has this user: the loop and one helper are the limit.
    let mut command = Command::new("prlimit");
    command.arg("--nproc=2:2").arg(program);
    command.args(["--listen", "127.0.0.1:0"]).arg(site.root());
    let server = Server::spawn(command.uid(61_234).gid(61_234));
    let text = server.lines().join("\n");
    assert!(
        text.contains("disk engine threads (no io_uring: a call through io_uring failed"),
        "{text}"
    );
    assert_eq!(server.get("/a").body, b"fine");
}

/// A file system that does not answer statfs, as after its server has died.
#[test]
fn a_hanging_file_system_blocks_no_other() {
    let site = Site::new();
    site.file("other/file", "fine").file("slow/file", "");
    let Some(tree) = SlowTree::mount_at(&site.path("slow")) else {
        return;
    };
    for engine in FREE_ENGINES {
        tree.seen.is_silent.store(true, Ordering::Release);
        let server = Server::start(&site, &["--disk", engine]);
        let before = tree.held_count();
        let mut waiting = ask(&server, "/slow/hot/file");
        wait_until("its file system is asked about", || {
            tree.held_count() > before
        });
        assert_eq!(server.get("/other/file").body, b"fine", "{engine}");
        tree.seen.is_silent.store(false, Ordering::Release);
        tree.release();
        let answer = waiting.response(Content::Expected).unwrap();
        assert_eq!(answer.body.len(), 1_024, "{engine}");
    }
}

#[test]
fn an_engine_that_was_asked_for_and_cannot_be_had_is_one_line_and_code_1() {
    let mut server = without_io_uring(&Site::new(), &["--disk", "uring"]);
    assert_eq!(server.wait(), Some(1));
    let [line] = server.lines() else {
        panic!("one line: {:?}", server.lines());
    };
    assert!(line.starts_with("spede: cannot use --disk uring:") && line.contains("--disk threads"));
}

#[test]
fn a_job_that_never_ends_is_504_and_hits_go_on() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (round, engine) in FREE_ENGINES.into_iter().enumerate() {
        let words = [
            "--disk-timeout",
            "1500ms",
            "--disk-depth",
            "3",
            "--disk-queue",
            "4",
            // So that hits need no revalidation.
            "--revalidate",
            "60s",
            "--server-timing",
        ];
        let server = tree.serve(engine, &words);
        let mut hot = server.connect();
        assert_eq!(hot.get("/hot/file", &[]).status, 200);
        // Three jobs that the disk never answers take all slots; one path is requested twice.
        let stuck = |index| format!("/cold/stuck{round}{index}");
        let mut waiting: Vec<Client> = [0, 1, 2, 2].map(|at| ask(&server, &stuck(at))).into();
        wait_until("they are at the disk", || tree.held_count() == 3);
        for index in 0..4 {
            waiting.push(ask(&server, &format!("/cold/small4{round}{index}")));
        }
        wait_until("four more wait in line", || {
            disk_number(&server, "waiting") == 4
        });
        let refused = server.get(&format!("/cold/small5{round}"));
        assert_eq!(refused.status, 503, "{engine}");
        assert_eq!(refused.field("retry-after"), Some("1"));
        for client in &mut waiting {
            assert_eq!(
                client.response(Content::Expected).unwrap().status,
                504,
                "{engine}"
            );
            assert_eq!(hot.get("/hot/file", &[]).status, 200);
        }
        // The connection is usable for another request, and the late result is sent to nobody.
        let mut late = waiting.remove(0);
        late.send(get("/hot/file").as_bytes());
        let answer = late.response(Content::Expected).unwrap();
        assert_eq!(answer.body.len(), 1_024);
        // The waiting time of the previous request is not attributed to this one.
        let timing = answer.field("server-timing").unwrap();
        assert!(!timing.contains("disk"), "{timing}");
        tree.release();
        wait_until("the disk is idle", || disk_number(&server, "depth") == 0);
        let path = format!("/cold/small4{round}0");
        let answer = late.get(&path, &[]);
        assert_eq!(
            (answer.status, answer.body.len()),
            (200, SMALL_LENGTH),
            "{engine}"
        );
    }
}

#[test]
fn a_server_with_a_dead_disk_can_be_stopped() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (round, engine) in FREE_ENGINES.into_iter().enumerate() {
        let mut server = tree.serve(engine, &["--grace", "100ms"]);
        let address = server.address();
        let before = tree.held_count();
        let _opening = ask(&server, &format!("/cold/stuck6{round}"));
        let _reading = ask(&server, &format!("/cold/unread6{round}"));
        wait_until("both are at the disk", || tree.held_count() >= before + 2);
        server.signal(Signal::TERM);
        wait_until("its port is free", || TcpStream::connect(address).is_err());
        // The kernel keeps the process until its last call has returned.
        tree.release();
        assert_eq!(server.wait(), Some(0), "{engine}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_500_and_one_that_is_shorter_is_not_completed() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (round, engine) in FREE_ENGINES.into_iter().enumerate() {
        let server = tree.serve(engine, &[]);
        let mut client = server.connect();
        for _ in 0..2 {
            assert_eq!(client.get(&format!("/cold/broken{round}"), &[]).status, 500);
        }
        client.send(get(&format!("/cold/short{round}")).as_bytes());
        let received = client.rest();
        let head_end = received
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let content = &received[head_end + 4..];
        assert_eq!(content.len(), SHORT_LENGTH, "{engine}");
        assert!(
            content.iter().all(|byte| *byte == b'x'),
            "nothing is padded"
        );
    }
}

#[test]
fn clients_that_leave_before_their_jobs_end_leave_nothing_behind() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (round, engine) in FREE_ENGINES.into_iter().enumerate() {
        let server = tree.serve(engine, &["--disk-depth", "2"]);
        let clients: Vec<Client> = (0..40)
            .map(|index| ask(&server, &format!("/cold/small7{round}{index}")))
            .collect();
        wait_until("they wait in line", || {
            disk_number(&server, "waiting") >= 30
        });
        for client in &clients {
            // Reset without a FIN: a client that closes its sending direction may still wait for the answer.
            let at_once = Some(std::time::Duration::ZERO);
            rustix::net::sockopt::set_socket_linger(client.stream(), at_once).unwrap();
        }
        drop(clients);
        wait_until("nothing is left of them", || {
            let numbers = server.numbers();
            let disk = &numbers["disk"];
            numbers["connections"]["open"] == 1
                && disk["depth"] == 0
                && disk["waiting"] == 0
                && disk["look_ups"] == 0
        });
        let insertions = server.numbers()["caches"][0]["insertions"]
            .as_u64()
            .unwrap();
        assert!(
            insertions < 20,
            "most of their jobs were not begun: {insertions}"
        );
    }
}

#[test]
fn jobs_that_use_up_all_descriptors_are_503_and_nothing_breaks() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (round, engine) in engines().iter().enumerate() {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n 48; exec \"$0\" \"$@\""]);
        command.arg(env!("CARGO_BIN_EXE_spede"));
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--disk",
            engine,
            "--descriptors",
            "1",
        ]);
        let server = Server::spawn(command.arg(tree.path("")));
        assert_eq!(server.get("/hot/file").status, 200);
        let mut clients: Vec<Client> = (0..30)
            .map(|index| ask(&server, &format!("/cold/small8{round}{index}")))
            .collect();
        let mut served = 0;
        for client in &mut clients {
            let answer = client.response(Content::Expected).unwrap();
            match answer.status {
                200 => served += 1,
                status => assert_eq!(status, 503, "{engine}"),
            }
            client.finish();
        }
        drop(clients);
        assert!(served > 0, "{engine}");
        // On a new connection: an idle one was closed meanwhile to make room.
        assert_eq!(server.get("/hot/file").status, 200, "{engine}");
        wait_until("descriptors are free again", || {
            server.get(&format!("/cold/small9{round}")).status == 200
        });
    }
}

#[test]
fn released_files_are_closed_while_more_are_always_opened() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (round, engine) in FREE_ENGINES.into_iter().enumerate() {
        let words = [
            "--disk-depth",
            "4",
            "--descriptors",
            "8",
            "--map-cache",
            "0",
        ];
        let server = tree.serve(engine, &words);
        let open = || {
            let descriptors = format!("/proc/{}/fd", server.pid());
            std::fs::read_dir(descriptors).unwrap().count()
        };
        // Twelve clients, each sending its next request once it is answered: four at the disk and the others
        // queued, all the time.
        let most = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..12)
                .map(|client| {
                    let server = &server;
                    scope.spawn(move || {
                        let mut connection = server.connect();
                        for index in 0..6 {
                            let number = 10_000 + round * 1_000 + client * 10 + index;
                            let answer = connection.get(&format!("/cold/small{number}"), &[]);
                            assert_eq!(answer.status, 200);
                        }
                    })
                })
                .collect();
            let mut most = 0;
            while clients.iter().any(|client| !client.is_finished()) {
                most = most.max(open());
                std::thread::yield_now();
            }
            most
        });
        // 72 files were opened; 8 are cached, 4 are being opened, a few are being closed.
        assert!(most < 60, "{engine}: {most} descriptors");
    }
}

/// The disk fails after the head of a long answer was sent: the answer is cut off, and others are served.
#[test]
fn an_answer_whose_disk_fails_half_way_is_not_completed() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    for (round, engine) in FREE_ENGINES.into_iter().enumerate() {
        let words = ["--send-timeout", "1s", "--disk-timeout", "1s"];
        let server = tree.serve(engine, &words);
        let mut hot = server.connect();
        // The first fails at a read, the second hangs in it.
        for kind in ["torn", "halted"] {
            let mut client = ask(&server, &format!("/cold/{kind}{round}"));
            let bytes = client.rest();
            let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
            let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
            assert!(text.starts_with("HTTP/1.1 200"), "{engine} {kind}: {text}");
            let body = &bytes[head..];
            assert!(
                body.len() as u64 <= GOOD_LENGTH && body.iter().all(|byte| *byte == b'x'),
                "{engine} {kind}: {}",
                body.len()
            );
            assert_eq!(hot.get("/hot/file", &[]).status, 200);
        }
        wait_until("the disk is idle", || {
            // Failed pages are read again, page by page.
            tree.release();
            disk_number(&server, "depth") == 0
        });
    }
}

/// All answers depend on the target of the root's path, so that job skips the queue.
#[test]
fn a_root_is_switched_while_a_dead_disk_holds_all_slots() {
    let site = Site::new();
    site.file("slow/file", "").file("a", "old");
    let releases = site.beside("releases");
    std::fs::create_dir(&releases).unwrap();
    std::fs::write(releases.join("a"), "new").unwrap();
    let current = site.beside("current");
    std::os::unix::fs::symlink(site.root(), &current).unwrap();
    let Some(tree) = SlowTree::mount_at(&site.path("slow")) else {
        return;
    };
    for engine in FREE_ENGINES {
        let log = site.beside("log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--disk",
            engine,
            "--disk-depth",
            "2",
        ]);
        command.arg("--access-log").arg(&log);
        let server = Server::spawn(command.arg(&current));
        assert_eq!(server.get("/a").body, b"old");
        let stuck = |number| ask(&server, &format!("/slow/cold/stuck{number}"));
        let waiting: Vec<Client> = (0..2).map(stuck).collect();
        wait_until("they are at the disk", || tree.held_count() == 2);
        let next = site.beside("next");
        std::os::unix::fs::symlink(&releases, &next).unwrap();
        std::fs::rename(&next, &current).unwrap();
        // Paths of the new tree are unknown, and all slots are taken: their requests wait. But the new root
        // is known, and the log is written.
        let mut asked = ask(&server, "/a");
        wait_until("the root is switched", || {
            server.numbers()["freshness"]["root_switches"] == 1
        });
        wait_until("the log is written", || {
            std::fs::read_to_string(&log).unwrap().contains("/status")
        });
        drop(waiting);
        tree.release();
        assert_eq!(asked.response(Content::Expected).unwrap().body, b"new");
        std::fs::remove_file(&current).unwrap();
        std::os::unix::fs::symlink(site.root(), &current).unwrap();
        std::fs::remove_file(&log).unwrap();
    }
}

/// Standard error may be a pipe without a reader, and there are many warnings: they take one slot, and no
/// other job's.
#[test]
fn a_root_is_followed_and_the_log_written_while_nobody_reads_standard_error() {
    for engine in FREE_ENGINES {
        let site = Site::new();
        site.file("a", "old");
        let (current, log) = (site.beside("current"), site.beside("log"));
        std::os::unix::fs::symlink(site.root(), &current).unwrap();
        let (reader, writer) = std::io::pipe().unwrap();
        // The pipe is full before the server starts.
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        while rustix::io::write(&writer, &[b'x'; 4_096]).is_ok() {}
        while rustix::io::write(&writer, b"x").is_ok() {}
        rustix::io::ioctl_fionbio(&writer, false).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
        command.args(["--listen", "127.0.0.1:0", "--disk", engine]);
        command.arg("--access-log").arg(&log).arg(&current);
        let mut server = Server::spawn_with_errors_to(&mut command, writer.into());
        // Each of these causes a warning that nobody reads.
        for _ in 0..10 {
            server.signal(Signal::USR2);
            assert_eq!(server.get("/a").body, b"old");
        }
        // The disk is not affected.
        wait_until("the disk is idle", || disk_number(&server, "depth") == 0);
        let (release, next) = (site.beside("release"), site.beside("next"));
        std::fs::create_dir(&release).unwrap();
        std::fs::write(release.join("a"), "new").unwrap();
        std::os::unix::fs::symlink(&release, &next).unwrap();
        std::fs::rename(&next, &current).unwrap();
        wait_until("the root is followed", || server.get("/a").body == b"new");
        let moved = site.beside("moved");
        std::fs::rename(&log, &moved).unwrap();
        server.signal(Signal::HUP);
        wait_until("the log is opened again, and written", || {
            server.get("/a");
            std::fs::read_to_string(&log).is_ok_and(|text| text.contains("/a"))
        });
        server.signal(Signal::TERM);
        assert_eq!(server.wait(), Some(0), "{engine}");
        drop(reader);
    }
}
