//! Replaced and removed files are released: their space in the caches, and their blocks on the file system.

use std::fs;
use std::os::unix::fs::symlink;

use super::harness::{Client, Server, Site, engines, wait_until};

/// Files that are copied, mapped, and sent from their descriptor.
const FILES: [(&str, usize); 3] = [("copied", 1_000), ("mapped", 10_000), ("long", 100_000)];

fn fill(directory: &std::path::Path) {
    fs::create_dir_all(directory).unwrap();
    for (name, length) in FILES {
        fs::write(directory.join(name), vec![b'x'; length]).unwrap();
    }
}

/// Unlinked files that a process holds open or mapped.
fn held_without_a_name(server: &Server) -> Vec<String> {
    let process = format!("/proc/{}", server.pid());
    let open = fs::read_dir(format!("{process}/fd")).unwrap();
    let open = open
        .flatten()
        .filter_map(|one| fs::read_link(one.path()).ok())
        .map(|target| target.display().to_string());
    let mapped = fs::read_to_string(format!("{process}/maps")).unwrap();
    let mapped = mapped.lines().map(str::to_owned);
    open.chain(mapped)
        .filter(|line| line.ends_with("(deleted)"))
        .filter(|line| FILES.iter().any(|(name, _)| line.contains(name)))
        .collect()
}

fn ask_for_all(client: &mut Client) {
    for _ in 0..3 {
        for (name, length) in FILES {
            let response = client.get(&format!("/{name}"), &[]);
            assert_eq!(response.body.len(), length);
        }
    }
}

fn wait_until_held(server: &Server) {
    wait_until("both short files are in memory", || {
        server.numbers()["caches"][1]["entries"] == 2
    });
}

#[test]
fn what_was_replaced_or_removed_is_let_go_of_before_anybody_asks() {
    for engine in engines() {
        let site = Site::new();
        fill(&site.root());
        let server = Server::start(&site, &["--disk", engine]);
        let mut client = server.connect();
        for _ in 0..3 {
            ask_for_all(&mut client);
            wait_until_held(&server);
            for (name, length) in FILES {
                site.publish(name, vec![b'y'; length]);
            }
            wait_until("nothing is held that was replaced", || {
                held_without_a_name(&server).is_empty()
            });
        }
        ask_for_all(&mut client);
        wait_until_held(&server);
        for (name, _) in FILES {
            fs::remove_file(site.path(name)).unwrap();
        }
        wait_until("nothing is held that was removed", || {
            held_without_a_name(&server).is_empty()
        });
    }
}

#[test]
fn where_nobody_tells_of_changes_the_next_look_lets_go() {
    let site = Site::new();
    fill(&site.root());
    let words = ["--watch-directories", "0", "--revalidate", "0"];
    let server = Server::start(&site, &words);
    let mut client = server.connect();
    ask_for_all(&mut client);
    for (name, length) in FILES {
        site.publish(name, vec![b'y'; length]);
    }
    ask_for_all(&mut client);
    wait_until("nothing is held that was replaced", || {
        held_without_a_name(&server).is_empty()
    });
    for (name, _) in FILES {
        fs::remove_file(site.path(name)).unwrap();
        assert_eq!(client.get(&format!("/{name}"), &[]).status, 404);
    }
    wait_until("nothing is held that was removed", || {
        held_without_a_name(&server).is_empty()
    });
}

#[test]
fn a_release_that_is_served_no_more_is_let_go_of() {
    let site = Site::new();
    let (old, new) = (site.root().join("41"), site.root().join("42"));
    fill(&old);
    fill(&new);
    let current = site.root().join("current");
    symlink("41", &current).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_spede"));
    command.args(["--listen", "127.0.0.1:0"]).arg(&current);
    let server = Server::spawn(&mut command);
    let mut client = server.connect();
    ask_for_all(&mut client);
    wait_until_held(&server);
    symlink("42", site.root().join("next")).unwrap();
    fs::rename(site.root().join("next"), &current).unwrap();
    ask_for_all(&mut client);
    wait_until_held(&server);
    fs::remove_dir_all(&old).unwrap();
    wait_until("nothing of it is held", || {
        held_without_a_name(&server).is_empty()
    });
    let freshness = &server.numbers()["freshness"];
    assert_eq!(freshness["watched_files"], 2, "{freshness}");
}

/// The new version of a file replaces the old one in the caches.
#[test]
fn a_publish_of_all_leaves_the_caches_as_full_of_use_as_they_were() {
    let site = Site::new();
    let names: Vec<String> = (0..100).map(|index| format!("{index}")).collect();
    let publish = |byte: u8| {
        for name in &names {
            site.publish(name, vec![byte; 15_000]);
        }
    };
    publish(b'a');
    let words = ["--map-cache", "2MiB", "--disk", "blocking"];
    let server = Server::start(&site, &words);
    let mut client = server.connect();
    let mut rounds = |count: usize| {
        for _ in 0..count {
            for name in &names {
                assert_eq!(client.get(&format!("/{name}"), &[]).body.len(), 15_000);
            }
        }
    };
    let map = |server: &Server, name: &str| {
        let numbers = server.numbers();
        numbers["caches"][1]
            .pointer(name)
            .unwrap()
            .as_u64()
            .unwrap()
    };
    rounds(10);
    assert_eq!(map(&server, "/entries"), 100);
    publish(b'b');
    rounds(2);
    assert_eq!(map(&server, "/misses_by/changed"), 100);
    let hits = map(&server, "/hits");
    rounds(1);
    assert_eq!(map(&server, "/hits") - hits, 100, "all are mapped again");
    assert_eq!(map(&server, "/entries"), 100);
    assert_eq!(map(&server, "/evictions") + map(&server, "/rejected"), 0);
}
