//! The program on the command line.

use std::net::TcpListener;
use std::process::{Command, Output};

use rustix::process::Signal;

use super::harness::{Server, Site, wait_until};

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_spede"))
        .args(words)
        .output()
        .unwrap()
}

/// Exactly one line on standard error, which contains `words`.
fn check_refused(output: &Output, code: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
    for word in words {
        assert!(text.contains(word), "{word} is not in {text}");
    }
}

#[test]
fn bad_words_are_refused_with_one_line_and_code_2() {
    let cases: [(&[&str], &[&str]); 8] = [
        (&["--map-cache", "lots"], &["--map-cache", "lots", "MiB"]),
        (&["--listen", "nowhere"], &["--listen", "nowhere"]),
        (&["--revalidate", "-1"], &["--revalidate"]),
        (&["--disk", "floppy"], &["--disk", "floppy", "blocking"]),
        (&["--status", "maybe"], &["--status", "maybe"]),
        (&["--index", "a/b"], &["--index", "a/b"]),
        (&["--no-such-flag"], &["--no-such-flag"]),
        (&["one", "two"], &["two"]),
    ];
    for (words, wanted) in cases {
        check_refused(&run(words), 2, wanted);
    }
}

#[test]
fn what_cannot_be_served_is_said_in_one_line_and_code_1() {
    let site = Site::new();
    site.file("a", "fine");
    let file = site.path("a");
    let root = site.root();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let free = ["--listen", "127.0.0.1:0"];
    check_refused(
        &run(&[&free[..], &["/no/such/place"]].concat()),
        1,
        &["/no/such/place"],
    );
    check_refused(
        &run(&[&free[..], &[file.to_str().unwrap()]].concat()),
        1,
        &["not a file"],
    );
    check_refused(
        &run(&["--listen", &address, root.to_str().unwrap()]),
        1,
        &[&address, "--listen"],
    );
    let log = ["--access-log", "/no/such/place/log", root.to_str().unwrap()];
    check_refused(
        &run(&[&free[..], &log].concat()),
        1,
        &["/no/such/place/log"],
    );
}

#[test]
fn help_and_version_are_answers() {
    for words in [["--help"], ["-h"], ["--version"]] {
        let output = run(&words);
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    for flag in help
        .split_whitespace()
        .filter(|word| word.starts_with("--"))
    {
        let flag = flag
            .split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
            .next()
            .unwrap();
        assert!(readme.contains(flag), "{flag} is not in the README");
    }
}

#[test]
fn the_start_lines_say_what_is_served_where_and_how() {
    let site = Site::new();
    let server = Server::start(&site, &["--map-cache", "1GiB", "--path-cache", "1000"]);
    let text = server.lines().join("\n");
    for word in [
        site.root().to_str().unwrap(),
        "http://127.0.0.1:",
        "disk engine ",
        "1 GiB",
        "1000",
    ] {
        assert!(text.contains(word), "{word} is not in {text}");
    }
    assert!(!text.contains("127.0.0.1:0\n"), "the port is the bound one");
}

#[test]
fn the_access_log_has_a_line_a_request_and_is_opened_again() {
    let site = Site::new();
    site.file("a", "fine");
    let log = site.beside("log");
    let server = Server::start(&site, &["--access-log", log.to_str().unwrap()]);
    let fields = ["Referer: http://x/\"y\"", "User-Agent: test"];
    server.connect().get("/a?b", &fields);
    server.get("/none");
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    wait_until("both lines are there", || read().lines().count() == 2);
    let text = read();
    let first = text.lines().next().unwrap();
    assert!(first.starts_with("127.0.0.1 - - ["), "{first}");
    let end = r#"] "GET /a?b HTTP/1.1" 200 4 "http://x/\"y\"" "test""#;
    assert!(first.ends_with(end), "{first}");
    std::fs::rename(&log, site.beside("log.1")).unwrap();
    server.signal(Signal::HUP);
    wait_until("it is opened again", || log.exists());
    server.get("/a");
    wait_until("the new log is written", || read().lines().count() == 1);
}

#[test]
fn empty_variables_count_as_unset_and_unknown_ones_are_named() {
    let site = Site::new();
    site.file("a", "fine");
    let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let flags = help
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("--"));
    for flag in flags.map(|flag| flag.split(|c: char| !c.is_ascii_lowercase() && c != '-')) {
        let name = flag
            .take(1)
            .collect::<String>()
            .to_uppercase()
            .replace('-', "_");
        command.env(format!("SPEDE_{name}"), "");
    }
    command.env("SPEDE_ROOT", "").env("SPEDE_NONSENSE", "");
    command.env("SPEDE_MAPCACHE", "1GiB");
    let server = Server::spawn(command.args(["--listen", "127.0.0.1:0"]).arg(site.root()));
    assert_eq!(server.get("/a").body, b"fine");
    let said = server.errors();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("'SPEDE_MAPCACHE'"), "{said}");
    assert!(said.contains("did you mean SPEDE_MAP_CACHE?"), "{said}");

    // Where nothing says what to serve it is www, as if the variable were not there.
    site.file("www/b", "in www");
    let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
    command.env("SPEDE_ROOT", "").current_dir(site.root());
    let server = Server::spawn(command.args(["--listen", "127.0.0.1:0"]));
    assert_eq!(server.get("/b").body, b"in www");
    let log = site.beside("log");
    std::fs::write(&log, "nothing\n").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_spede"))
        .args(["simulate", log.to_str().unwrap()])
        .envs([("SPEDE_MAP_CACHE", ""), ("SPEDE_INDEX", "")])
        .output()
        .unwrap();
    check_refused(&output, 1, &[]);
}
