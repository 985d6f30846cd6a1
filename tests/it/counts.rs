//! What a hot request costs, counted in system calls.

use std::process::{Command, Stdio};

use super::harness::{Server, Site, engines, is_installed, skip, wait_until};

#[test]
fn a_hit_is_two_system_calls_and_none_of_them_is_about_files() {
    if !is_installed("strace") {
        return skip("strace is not installed");
    }
    for engine in engines() {
        let site = Site::new();
        site.file("a", vec![b'a'; 1_024]);
        let server = Server::start(&site, &["--disk", engine, "--revalidate", "0"]);
        let mut client = server.connect();
        for _ in 0..4 {
            assert_eq!(client.get("/a", &[]).status, 200);
        }
        // A helper that has just been made is still on its way to its wait.
        wait_until("all its threads rest", || threads_rest(server.pid()));
        let summary = site.beside("strace");
        let mut strace = Command::new("strace")
            .args(["-f", "-c", "-o"])
            .arg(&summary)
            .args(["-p", &server.pid().to_string()])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let status = format!("/proc/{}/status", server.pid());
        wait_until("strace is attached", || {
            let traced = std::fs::read_to_string(&status).unwrap();
            !traced.contains("TracerPid:\t0\n") || strace.try_wait().unwrap().is_some()
        });
        if strace.try_wait().unwrap().is_some() {
            return skip("strace may not attach here");
        }
        // Calls are counted from a moment after that on, which costs a few requests.
        let (count, uncounted_max) = (2_000, 50);
        let sent = count + uncounted_max;
        for _ in 0..sent {
            assert_eq!(client.get("/a", &[]).status, 200);
        }
        let tracer = rustix::process::Pid::from_child(&strace);
        rustix::process::kill_process(tracer, rustix::process::Signal::INT).unwrap();
        wait_until("strace has written", || {
            strace.try_wait().unwrap().is_some()
        });
        let text = std::fs::read_to_string(&summary).unwrap();
        let mut by_wait = 0;
        let mut others = 0;
        for line in text
            .lines()
            .filter(|line| line.starts_with(|c: char| c == ' ' || c.is_ascii_digit()))
        {
            let words: Vec<&str> = line.split_whitespace().collect();
            let (Some(calls), Some(name)) = (words.get(3), words.last()) else {
                continue;
            };
            let Ok(calls) = calls.parse::<u64>() else {
                continue;
            };
            match *name {
                "total" => {}
                "epoll_wait" | "restart_syscall" => by_wait += calls,
                "recvfrom" | "sendto" | "writev" => {
                    assert!(calls <= sent + 10, "{calls} of {name}:\n{text}");
                    others += calls;
                }
                // The loop asks now and then whether it slept, and after a second without a request
                // whether a mapping is still resident.
                "getrusage" | "ioctl" => assert!(calls <= sent / 5, "{text}"),
                _ => panic!("{name} on the way of a hit:\n{text}"),
            }
        }
        assert!(others >= 2 * count && by_wait <= sent + 10, "\n{text}");
    }
}

/// Whether every thread of a process sleeps (`proc_pid_stat(5)`).
fn threads_rest(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat"));
        // A thread that is gone rests as well.
        stat.map_or(true, |stat| {
            stat.rsplit(") ")
                .next()
                .is_some_and(|rest| rest.starts_with('S'))
        })
    })
}
