//! Prefetching: the caches fill before the first request, and no request waits for it.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::harness::{Server, Site, engines, wait_until};
use super::slow_tree::{DELAY, SMALL_LENGTH, SlowTree};

/// A number of a cache.
fn cache(numbers: &Value, index: usize, name: &str) -> u64 {
    numbers["caches"][index][name].as_u64().unwrap()
}

/// Waits until prefetching has ended and this many files are mapped.
fn wait_until_warm(server: &Server, mapped: u64) {
    wait_until("the caches are warm", || {
        let numbers = server.numbers();
        numbers["warming"]["under_way"] == false && cache(&numbers, 1, "entries") == mapped
    });
}

/// A site with some files in a list, some in a directory, and some in neither.
fn site() -> Site {
    let site = Site::new();
    site.file("index.html", "index")
        .file("listed", "listed")
        .file("other", "other")
        .file("a b/index.html", "index below")
        .file("a b/deep/x?y", "x")
        .file("a b/style.css", "plain ".repeat(100))
        .file("a b/style.css.gz", "variant")
        .file("a b/long", vec![b'l'; 100_000])
        .file("a b/.hidden", "hidden");
    let list = "# what is asked for\n\n/listed\n/listed?again\n/\n/none\nhttp://elsewhere/\n";
    fs::write(site.beside("list"), list).unwrap();
    site
}

#[test]
fn what_was_warmed_is_hit_by_the_first_request() {
    let site = site();
    for engine in engines() {
        let list = site.beside("list").display().to_string();
        let tree = site.path("a b/x").parent().unwrap().display().to_string();
        let words = ["--disk", engine, "--warm", &list, "--warm", &tree];
        let server = Server::start(&site, &words);
        // The precompressed variant is mapped as well; the long file is kept open.
        wait_until_warm(&server, 6);
        let paths = [
            "/",
            "/listed",
            "/a%20b/",
            "/a%20b/deep/x%3Fy",
            "/a%20b/style.css",
        ];
        for path in paths {
            assert_eq!(server.get(path).status, 200, "{path}");
        }
        let coded = server
            .connect()
            .get("/a%20b/style.css", &["Accept-Encoding: gzip"]);
        assert_eq!(coded.body, b"variant");
        assert_eq!(server.get("/a%20b/long").body.len(), 100_000);
        let numbers = server.numbers();
        let counts = |index| {
            let of = |name| cache(&numbers, index, name);
            (of("hits"), of("misses"), of("entries"))
        };
        // As many paths as files: paths without a file are not prefetched.
        assert_eq!(counts(0), (7, 0, 6), "{engine}: paths");
        assert_eq!(counts(1), (6, 0, 6), "{engine}: mapped files");
        assert_eq!(counts(2), (1, 0, 1), "{engine}: open files");
        assert_eq!(numbers["warming"]["files"], 6, "{engine}");
        assert_eq!(server.get("/other").body, b"other");
        let said = server.errors();
        let line = "list: 1 line is not a path and is omitted";
        assert!(said.contains(line) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn nothing_is_pushed_out_for_it() {
    let site = Site::new();
    for index in 0..200 {
        site.file(&format!("{index}"), vec![b'x'; 1_000]);
    }
    let root = site.root().display().to_string();
    let bounds = [
        "--path-cache",
        "100",
        "--map-cache",
        "20KiB",
        "--map-count",
        "1000",
    ];
    let words = [&bounds[..], &["--warm", &root, "--descriptors", "30"]].concat();
    let server = Server::start(&site, &words);
    wait_until("there is room for no more", || {
        server.numbers()["warming"]["under_way"] == false
    });
    let numbers = server.numbers();
    for index in 0..3 {
        assert_eq!(cache(&numbers, index, "evictions"), 0, "{numbers}");
        assert!(cache(&numbers, index, "entries") > 10, "{numbers}");
    }
    assert!(cache(&numbers, 0, "entries") <= 100);
    assert!(cache(&numbers, 1, "bytes") <= 20 << 10);
}

#[test]
fn the_most_requested_paths_are_kept_across_restarts() {
    let site = Site::new();
    site.file("often", "often")
        .file("seldom", "seldom")
        .file("gone", "gone");
    let path = site.beside("state");
    let state = path.display().to_string();
    let words = ["--cache-state", &state];
    let end = |mut server: Server| {
        server.signal(Signal::TERM);
        assert_eq!(server.wait(), Some(0));
        server.errors()
    };
    let first = Server::start(&site, &words);
    wait_until("it is known that there is no list", || {
        first.numbers()["warming"]["under_way"] == false
    });
    for path in [
        "/seldom", "/often", "/often", "/often", "/none", "/gone", "/gone",
    ] {
        first.get(path);
    }
    end(first);
    let lines = fs::read_to_string(&path).unwrap();
    let paths: Vec<&str> = lines.lines().filter(|line| line.starts_with('/')).collect();
    assert_eq!(paths, ["/often", "/gone", "/seldom"], "{lines}");

    fs::remove_file(site.path("gone")).unwrap();
    let second = Server::start(&site, &words);
    wait_until_warm(&second, 2);
    assert_eq!(second.get("/seldom").body, b"seldom");
    let numbers = second.numbers();
    assert_eq!(cache(&numbers, 0, "hits"), 1, "{numbers}");
    assert_eq!(end(second), "");

    // A run without requests does not overwrite the state of an earlier one.
    let before = fs::read_to_string(&path).unwrap();
    fs::remove_file(site.path("often")).unwrap();
    fs::remove_file(site.path("seldom")).unwrap();
    let third = Server::start(&site, &words);
    wait_until_warm(&third, 0);
    end(third);
    assert_eq!(fs::read_to_string(&path).unwrap(), before);

    // A file created there meanwhile is not ours.
    site.file("often", "often");
    let fourth = Server::start(&site, &words);
    wait_until_warm(&fourth, 1);
    fs::write(&path, "dear diary\n").unwrap();
    let said = end(fourth);
    assert!(
        said.contains("--cache-state") && said.contains(&state),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "dear diary\n");
}

/// Hidden names beside `path`: temporary files of the replacement.
fn left_over(site: &Site) -> Vec<String> {
    let names = fs::read_dir(site.beside(".")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

#[test]
fn a_state_that_cannot_be_written_is_said_and_the_last_one_stays() {
    let site = Site::new();
    site.file("often", "often");
    let path = site.beside("state");
    fs::write(&path, "/often\n").unwrap();
    for engine in engines() {
        // A list exceeds ten bytes: EFBIG, where SIGXFSZ would kill.
        let mut command = Command::new("prlimit");
        command.args(["--fsize=10", env!("CARGO_BIN_EXE_spede")]);
        command.args(["--disk", engine, "--listen", "127.0.0.1:0", "--cache-state"]);
        let mut server = Server::spawn(command.args([&path, &site.root()]));
        wait_until_warm(&server, 1);
        server.signal(Signal::TERM);
        assert_eq!(server.wait(), Some(0), "{engine}");
        wait_until("it is said", || server.errors().ends_with('\n'));
        let said = server.errors();
        assert!(said.contains("File too large"), "{engine}: {said}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "/often\n");
        assert_eq!(left_over(&site), [""; 0], "{engine}");
    }
}

/// A user with write access to the directory cannot redirect the write, and a replaced file keeps its mode.
#[test]
fn links_beside_the_state_are_not_written_through() {
    let site = Site::new();
    site.file("often", "often");
    let path = site.beside("state");
    let precious = site.beside("precious");
    fs::write(&precious, "precious").unwrap();
    for name in [
        "state.spede-new",
        "state.tmp",
        "state.new",
        "state~",
        ".state",
    ] {
        std::os::unix::fs::symlink(&precious, site.beside(name)).unwrap();
    }
    let before = left_over(&site);
    fs::write(&path, "/often\n").unwrap();
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    for engine in engines() {
        let words = ["--disk", engine, "--cache-state", path.to_str().unwrap()];
        let mut server = Server::start(&site, &words);
        wait_until_warm(&server, 1);
        server.signal(Signal::TERM);
        assert_eq!(server.wait(), Some(0));
        assert_eq!(server.errors(), "", "{engine}");
        let state = fs::read_to_string(&path).unwrap();
        assert!(state.starts_with("# spede cache state"), "{state}");
        let mode = fs::metadata(&path).unwrap().permissions();
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
            0o640
        );
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
        assert_eq!(left_over(&site), before, "{engine}");
        fs::write(&path, "/often\n").unwrap();
    }
    // If the state itself is a link, the link would be replaced.
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&precious, &path).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_spede"))
        .args(["--listen", "127.0.0.1:0", "--cache-state"])
        .args([&path, &site.root()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
}

#[test]
fn what_cannot_be_warmed_is_said_before_the_start() {
    let site = site();
    let outside = site.root().parent().unwrap().display().to_string();
    let notes = site.beside("notes");
    fs::write(&notes, "dear diary\n").unwrap();
    let cases = [
        ("--warm", String::from("/no/such/list"), "/no/such/list"),
        ("--warm", outside, "not below the root"),
        (
            "--warm",
            String::from("/dev/null"),
            "neither a file nor a directory",
        ),
        (
            "--cache-state",
            String::from("/no/such/place/state"),
            "/no/such/place",
        ),
        (
            "--cache-state",
            site.root().display().to_string(),
            "directory",
        ),
        (
            "--cache-state",
            notes.display().to_string(),
            "something else than paths",
        ),
        (
            "--cache-state",
            String::from("/dev/null"),
            "no regular file",
        ),
    ];
    for (flag, value, wanted) in cases {
        let output = Command::new(env!("CARGO_BIN_EXE_spede"))
            .args(["--listen", "127.0.0.1:0", flag, &value])
            .arg(site.root())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains(wanted) && said.contains(flag), "{said}");
    }
}

/// Mapped files stay resident, however long ago they were sent, and even if they never were.
#[test]
fn idle_mappings_are_sent_without_the_disk() {
    let site = Site::new();
    for index in 0..8 {
        site.file(&format!("warmed{index}"), "w".repeat(5_000));
    }
    let root = site.root().display().to_string();
    for engine in ["uring", "threads"] {
        let server = Server::start(&site, &["--disk", engine, "--warm", &root]);
        wait_until_warm(&server, 8);
        let mut client = server.connect();
        for round in 0..2 {
            let rested = Instant::now();
            wait_until("a mapping has to be asked about", || {
                rested.elapsed() > Duration::from_millis(1_100)
            });
            for index in 0..8 {
                let path = format!("/warmed{index}");
                assert_eq!(client.get(&path, &[]).body.len(), 5_000);
            }
            let numbers = server.numbers();
            let hits = cache(&numbers, 1, "hits");
            // A kernel that reclaims memory early may have evicted one.
            let gone = numbers["disk"]["mappings_gone"].as_u64().unwrap();
            assert!(gone <= 1, "{engine}: {numbers}");
            assert!(hits >= 8 * (round + 1) - gone, "{engine}: {numbers}");
        }
    }
}

/// A disk that would need a quarter of an hour for all of it.
#[test]
fn nobody_waits_for_what_is_warmed() {
    let Some(tree) = SlowTree::mount() else {
        return;
    };
    let site = Site::new();
    let list: String = (0..20_000)
        .map(|index| format!("/cold/small7{index}\n"))
        .collect();
    fs::write(site.beside("list"), list).unwrap();
    let list = site.beside("list").display().to_string();
    for engine in ["uring", "threads"] {
        let server = tree.serve(engine, &["--warm", &list, "--disk-depth", "8"]);
        wait_until("it has begun", || server.numbers()["warming"]["paths"] != 0);
        let mut hot = server.connect();
        let mut cold = server.connect();
        for round in 0..3 {
            assert_eq!(hot.get("/hot/file", &[]).status, 200);
            let path = format!("/cold/small6{round}");
            assert_eq!(cold.get(&path, &[]).body.len(), SMALL_LENGTH);
        }
        let numbers = server.numbers();
        assert_eq!(
            numbers["warming"]["under_way"], true,
            "{engine}: {DELAY:?} a file"
        );
        assert_eq!(numbers["disk"]["waiting"], 0, "{engine}");
        // Two for prefetching, and perhaps one that measures memory.
        assert!(
            numbers["disk"]["depth"].as_u64().unwrap() <= 3,
            "{engine}: {numbers}"
        );
    }
}
