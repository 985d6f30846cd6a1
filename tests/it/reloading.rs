//! SIGHUP with a configuration file: everything changes at once or nothing does, and no request is lost.

use std::fs;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::process::Signal;

use super::harness::{Client, Content, Server, Site, engines, wait_until};
use super::sites::{get, serve, table};

/// A server, its configuration file, and how many readings it has reported.
struct Reloaded {
    site: Site,
    server: Server,
}

impl Reloaded {
    fn new(config: impl FnOnce(&Site) -> String, words: &[&str]) -> Reloaded {
        let site = Site::new();
        for name in ["one", "two", "three"] {
            let directory = site.beside(name);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("name.txt"), name).unwrap();
        }
        let server = serve(&site, &config(&site), words);
        Reloaded { site, server }
    }

    fn root(&self, name: &str) -> PathBuf {
        self.site.beside(name)
    }

    /// Replaces the file, sends the signal, and waits for the line that tells of the outcome.
    fn reload(&self, config: &str) -> String {
        let path = self.site.beside("spede.toml");
        let new = self.site.beside("spede.new");
        fs::write(&new, config).unwrap();
        fs::rename(new, path).unwrap();
        let count = self.reports().len();
        self.server.signal(Signal::HUP);
        wait_until("the file was read", || self.reports().len() > count);
        self.reports().pop().unwrap()
    }

    fn reports(&self) -> Vec<String> {
        let errors = self.server.errors();
        let is_report = |line: &&str| line.contains("the configuration ");
        errors
            .lines()
            .filter(is_report)
            .map(str::to_owned)
            .collect()
    }
}

#[test]
fn hosts_roots_and_settings_of_sites_change() {
    for engine in engines() {
        let config = |site: &Site| {
            table(&["one.example"], &site.beside("one"), "")
                + &table(&["two.example"], &site.beside("two"), "")
        };
        let reloaded = Reloaded::new(config, &["--disk", engine]);
        let server = &reloaded.server;
        let mut client = server.connect();
        for (host, name) in [("one.example", "one"), ("two.example", "two")] {
            assert_eq!(get(&mut client, host, "/name.txt"), (200, name.into()));
        }
        let changed = table(&["one.example", "new.example"], &reloaded.root("one"), "")
            + &table(&["two.example"], &reloaded.root("three"), "");
        let report = reloaded.reload(&changed);
        assert!(report.contains("2 sites, of which 1 are new"), "{report}");
        #[rustfmt::skip]
        let expected = [("one.example", 200, "one"), ("new.example", 200, "one"), ("two.example", 200, "three"), ("x.example", 421, "")];
        for (host, status, name) in expected {
            let found = get(&mut client, host, "/name.txt");
            assert_eq!(found.0, status, "{host}");
            assert!(status != 200 || found.1 == name, "{host}: {}", found.1);
        }
        let fewer = table(&["*"], &reloaded.root("three"), "index = \"name.txt\"");
        let report = reloaded.reload(&fewer);
        assert!(report.ends_with("; 2 were removed"), "{report}");
        for host in ["one.example", "two.example", "x.example"] {
            assert_eq!(get(&mut client, host, "/"), (200, "three".into()), "{host}");
        }
    }
}

#[test]
fn a_wrong_file_changes_nothing_and_is_reported_with_its_position() {
    let config = |site: &Site| table(&["one.example"], &site.beside("one"), "");
    let reloaded = Reloaded::new(config, &[]);
    let one = table(&["one.example"], &reloaded.root("one"), "");
    let missing = table(&["two.example"], &reloaded.root("no"), "");
    #[rustfmt::skip]
    let cases = [
        (format!("{one}indx = \"a\"\n"),                    "spede.toml:5:1: 'indx'"),
        (format!("{one}{one}"),                             "belongs to the site of line 1 already"),
        (format!("{one}{missing}"),                         "/no: No such file"),
        (String::from("[[site]\n"),                         "spede.toml:1:"),
    ];
    for (config, reason) in cases {
        let report = reloaded.reload(&config);
        assert!(report.contains(reason), "{report}");
        assert!(
            report.ends_with("; the configuration stays as it was"),
            "{report}"
        );
        let found = get(&mut reloaded.server.connect(), "one.example", "/name.txt");
        assert_eq!(found, (200, "one".into()));
    }
    let report = reloaded.reload(&(one.clone() + &one.replace("one.", "two.")));
    assert!(report.contains("2 sites, of which 1 are new"), "{report}");
}

#[test]
fn a_site_that_did_not_change_keeps_what_is_cached() {
    for engine in engines() {
        let config = |site: &Site| table(&["one.example"], &site.beside("one"), "");
        let reloaded = Reloaded::new(config, &["--disk", engine]);
        let server = &reloaded.server;
        let mut client = server.connect();
        for _ in 0..3 {
            get(&mut client, "one.example", "/name.txt");
        }
        let counts = || {
            let numbers = server.numbers();
            let path = &numbers["caches"][0];
            (
                path["misses"].clone(),
                path["expired"].clone(),
                numbers["disk"]["job_us_total"].is_null(),
            )
        };
        let before = counts();
        let both = table(&["new.example"], &reloaded.root("two"), "")
            + &table(&["one.example"], &reloaded.root("one"), "");
        reloaded.reload(&both);
        assert_eq!(get(&mut client, "one.example", "/name.txt").1, "one");
        assert_eq!(counts(), before, "{engine}");
        assert_eq!(get(&mut client, "new.example", "/name.txt").1, "two");
    }
}

#[test]
fn a_response_that_has_begun_is_finished_on_its_site() {
    const LENGTH: usize = 24 << 20;
    for engine in engines() {
        let config = |site: &Site| table(&["one.example"], &site.beside("one"), "");
        let reloaded = Reloaded::new(config, &["--disk", engine]);
        fs::write(reloaded.root("one").join("long"), vec![b'x'; LENGTH]).unwrap();
        let mut slow = Client::connect_with_buffer(4_096, reloaded.server.address());
        slow.send(b"GET /long HTTP/1.1\r\nHost: one.example\r\n\r\n");
        let mut first = [0; 1_024];
        slow.stream().read_exact(&mut first).unwrap();
        reloaded.reload(&table(&["one.example"], &reloaded.root("two"), ""));
        let mut fresh = reloaded.server.connect();
        assert_eq!(get(&mut fresh, "one.example", "/long").0, 404);
        assert_eq!(get(&mut fresh, "one.example", "/name.txt").1, "two");
        let body = slow.response_after(&first, LENGTH);
        assert!(body.len() == LENGTH && body.iter().all(|byte| *byte == b'x'));
        assert_eq!(get(&mut slow, "one.example", "/name.txt").1, "two");
    }
}

#[test]
fn addresses_are_added_and_left_and_their_connections_live_on() {
    let site = Site::new();
    let root = site.root();
    fs::write(root.join("name.txt"), "name").unwrap();
    let socket = |name: &str| site.beside(name).display().to_string();
    let file = |listen: &[&str]| format!("listen = {listen:?}\n{}", table(&["*"], &root, ""));
    let (first, second) = (
        format!("unix:{}", socket("a")),
        format!("unix:{}", socket("b")),
    );
    let config = site.beside("spede.toml");
    fs::write(&config, file(&["127.0.0.1:0", &first])).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_spede"));
    let server = Server::spawn(command.arg("--config").arg(&config));
    let mut old = server.connect();
    assert_eq!(get(&mut old, "a.example", "/name.txt").0, 200);
    let address: SocketAddr = server.address();
    fs::write(&config, file(&["127.0.0.1:0", &second])).unwrap();
    server.signal(Signal::HUP);
    wait_until("the new socket is there", || site.beside("b").exists());
    wait_until("the old socket is gone", || !site.beside("a").exists());
    assert_eq!(get(&mut old, "a.example", "/name.txt").0, 200);
    assert_eq!(get(&mut Client::connect(address), "a", "/name.txt").0, 200);
    fs::write(&config, file(&[&second])).unwrap();
    server.signal(Signal::HUP);
    wait_until("the port is left", || {
        std::net::TcpStream::connect(address).is_err()
    });
    assert_eq!(get(&mut old, "a.example", "/name.txt").0, 200);
}

/// Fifty readings of files that differ, while clients send requests on old and on new connections.
#[test]
fn fifty_readings_under_load_lose_no_request() {
    const READINGS: usize = 50;
    for engine in engines() {
        let config = |site: &Site| table(&["one.example"], &site.beside("one"), "");
        let reloaded = Reloaded::new(config, &["--disk", engine]);
        let files = [
            table(&["one.example"], &reloaded.root("one"), ""),
            table(&["one.example"], &reloaded.root("two"), "")
                + &table(&["x.example"], &reloaded.root("three"), ""),
            table(&["*"], &reloaded.root("three"), "index = \"name.txt\""),
        ];
        let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
        let address = reloaded.server.address();
        std::thread::scope(|scope| {
            for worker in 0..4 {
                let (is_over, answered) = (&is_over, &answered);
                scope.spawn(move || {
                    let mut client = Client::connect(address);
                    while !is_over.load(Ordering::Relaxed) {
                        if worker % 2 == 1 {
                            client = Client::connect(address);
                        }
                        client.send(b"GET /name.txt HTTP/1.1\r\nHost: one.example\r\n\r\n");
                        let response = client.response(Content::Expected).expect("an answer");
                        assert_eq!(response.status, 200);
                        assert!([&b"one"[..], b"two", b"three"].contains(&&*response.body));
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            for reading in 0..READINGS {
                let before = answered.load(Ordering::Relaxed);
                let report = reloaded.reload(&files[reading % files.len()]);
                assert!(report.contains("was read again"), "{report}");
                wait_until("requests go on", || {
                    answered.load(Ordering::Relaxed) > before + 4
                });
            }
            is_over.store(true, Ordering::Relaxed);
        });
    }
}

#[test]
fn what_needs_a_restart_is_named() {
    let config = |site: &Site| table(&["one.example"], &site.beside("one"), "");
    let reloaded = Reloaded::new(config, &[]);
    let one = table(&["one.example"], &reloaded.root("one"), "");
    let report = reloaded.reload(&format!("path-cache = 99\nidle-timeout = 7\n{one}"));
    assert!(
        report.contains("a restart is needed for sizes of caches"),
        "{report}"
    );
    let report = reloaded.reload(&one);
    assert!(
        report.ends_with("removed"),
        "{report}: it has these sizes from the start"
    );
}
