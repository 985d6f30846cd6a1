//! Virtual hosts: each site has its own root and settings, and what happens to one concerns no other.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use super::harness::{Client, Content, Server, Site, engines, skip, wait_until};
use super::slow_tree::SlowTree;

/// A `[[site]]` table.
pub(crate) fn table(hosts: &[&str], root: &Path, more: &str) -> String {
    format!("[[site]]\nhosts = {hosts:?}\nroot = {root:?}\n{more}\n")
}

/// A server of a configuration file, which is written beside the root.
pub fn serve(site: &Site, config: &str, words: &[&str]) -> Server {
    let path = site.beside("spede.toml");
    fs::write(&path, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
    command.args(["--listen", "127.0.0.1:0", "--status", "loopback"]);
    Server::spawn(command.arg("--config").arg(path).args(words))
}

/// Status and content of a path for a host.
pub fn get(client: &mut Client, host: &str, path: &str) -> (u16, String) {
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    let response = client.response(Content::Expected).unwrap();
    let body = String::from_utf8_lossy(&response.body).into_owned();
    (response.status, body)
}

/// Makes a directory beside the root with a file that names it.
fn directory(site: &Site, name: &str) -> std::path::PathBuf {
    let path = site.beside(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("name.txt"), name).unwrap();
    path
}

#[test]
fn each_host_is_answered_from_the_root_of_its_site() {
    for engine in engines() {
        let site = Site::new();
        let [one, two, rest] = ["one", "two", "rest"].map(|name| directory(&site, name));
        fs::create_dir(two.join("d")).unwrap();
        fs::write(two.join("d/start.htm"), "start").unwrap();
        let named = table(&["one.example", "*.one.example"], &one, "")
            + &table(&["two.example", "127.0.0.1"], &two, "index = \"start.htm\"");
        let config = named.clone() + &table(&["*"], &rest, "");
        let server = serve(&site, &config, &["--disk", engine]);
        let strict = serve(&site, &named, &["--disk", engine]);
        #[rustfmt::skip]
        let cases = [
            ("one.example",         "one",  200),
            ("ONE.example.:80",     "one",  200),
            ("www.one.example",     "one",  200),
            ("two.example",         "two",  200),
            ("127.0.0.1:8080",      "two",  200),
            ("a.b.one.example",     "rest", 421),
            ("three.example",       "rest", 421),
            ("one.example.evil",    "rest", 421),
        ];
        // One connection for each, and one for all of them.
        let (mut all, mut all_strict) = (server.connect(), strict.connect());
        for round in 0..3 {
            for (host, name, status) in cases {
                let expected = (200, String::from(name));
                assert_eq!(get(&mut all, host, "/name.txt"), expected, "{host} {round}");
                let alone = get(&mut server.connect(), host, "/name.txt");
                assert_eq!(alone, expected, "{host}");
                let found = get(&mut all_strict, host, "/name.txt").0;
                assert_eq!(found, status, "{host} {round}");
            }
        }
        assert_eq!(get(&mut all, "two.example", "/d/").1, "start");
        assert_eq!(get(&mut all, "one.example", "/d/").0, 404);
        let mut old = server.connect();
        old.send(b"GET /name.txt HTTP/1.0\r\n\r\n");
        assert!(old.rest().ends_with(b"\r\n\r\nrest"));
        let mut absolute = server.connect();
        absolute.send(b"GET http://one.example/name.txt HTTP/1.1\r\nHost: two.example\r\n\r\n");
        let response = absolute.response(Content::Expected).unwrap();
        assert_eq!(
            response.body, b"one",
            "the target wins over the field, RFC 9112 3.2.2"
        );
    }
}

#[test]
fn a_new_root_of_one_site_leaves_the_entries_of_others_cached() {
    for engine in engines() {
        let site = Site::new();
        let one = directory(&site, "one");
        let (old, new) = (directory(&site, "old"), directory(&site, "new"));
        fs::write(old.join("gone.txt"), "gone").unwrap();
        let current = site.beside("current");
        symlink(&old, &current).unwrap();
        let config = table(&["one.example"], &one, "") + &table(&["two.example"], &current, "");
        let server = serve(&site, &config, &["--disk", engine]);
        let mut client = server.connect();
        for _ in 0..3 {
            assert_eq!(get(&mut client, "one.example", "/name.txt").1, "one");
            assert_eq!(get(&mut client, "two.example", "/name.txt").1, "old");
            assert_eq!(get(&mut client, "two.example", "/gone.txt").1, "gone");
        }
        let link = site.beside("link");
        symlink(&new, &link).unwrap();
        fs::rename(&link, &current).unwrap();
        wait_until("the new root is served", || {
            get(&mut client, "two.example", "/name.txt").1 == "new"
        });
        assert_eq!(get(&mut client, "two.example", "/gone.txt").0, 404);
        let misses = |server: &Server| server.numbers()["caches"][0]["misses"].clone();
        let before = misses(&server);
        assert_eq!(get(&mut client, "one.example", "/name.txt").1, "one");
        assert_eq!(misses(&server), before, "{engine}");
        assert_eq!(server.numbers()["freshness"]["root_switches"], 1);
    }
}

#[test]
fn a_site_on_storage_that_hangs_holds_up_no_other() {
    let Some(tree) = SlowTree::mount() else {
        return skip("no FUSE");
    };
    for engine in engines() {
        let site = Site::new();
        let one = directory(&site, "one");
        let slow = tree.path("");
        let config =
            table(&["one.example"], &one, "") + &table(&["slow.example"], Path::new(&slow), "");
        let server = serve(&site, &config, &["--disk", engine, "--disk-timeout", "60s"]);
        if *engine == "blocking" {
            continue;
        }
        let mut waiting = server.connect();
        waiting.send(b"GET /cold/stuck1 HTTP/1.1\r\nHost: slow.example\r\n\r\n");
        wait_until("the look-up hangs", || tree.held_count() > 0);
        fs::write(one.join("later.txt"), "later").unwrap();
        let mut client = server.connect();
        for path in ["/name.txt", "/later.txt", "/name.txt"] {
            assert_eq!(get(&mut client, "one.example", path).0, 200, "{path}");
        }
        tree.release();
        assert!(waiting.response(Content::Expected).is_some());
    }
}

#[test]
fn thousands_of_sites_are_served_and_started_at_once() {
    const COUNT: usize = 2_000;
    let site = Site::new();
    let mut config = String::new();
    for number in 0..COUNT {
        let root = directory(&site, &format!("sites/{number}"));
        fs::write(root.join("number.txt"), number.to_string()).unwrap();
        config += &table(&[&format!("s{number}.example")], &root, "");
    }
    let path = site.beside("spede.toml");
    fs::write(&path, &config).unwrap();
    // Hardly more than twice their number: nothing besides is opened for each.
    let limited = |limit: usize| {
        let script = format!(r#"ulimit -n {limit}; exec "$0" "$@""#);
        let mut command = Command::new("sh");
        command.args(["-c", &script, env!("CARGO_BIN_EXE_spede")]);
        command
            .args(["--listen", "127.0.0.1:0", "--config"])
            .arg(&path);
        command
    };
    let refused = limited(2 * COUNT - 1).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&refused.stderr);
    assert!(
        errors.contains("cannot serve 2000 sites with 3999 descriptors"),
        "{errors}"
    );
    let server = Server::spawn(&mut limited(2 * COUNT + 10));
    let mut client = server.connect();
    for number in (0..COUNT).step_by(7).chain([COUNT - 1, 0]) {
        let (status, body) = get(&mut client, &format!("s{number}.example"), "/number.txt");
        assert_eq!((status, body), (200, number.to_string()));
    }
    assert_eq!(get(&mut client, "s2000.example", "/number.txt").0, 421);
}

#[test]
fn a_missing_root_of_any_site_is_said_at_the_start() {
    let site = Site::new();
    let one = directory(&site, "one");
    let config = table(&["a.example"], &one, "") + &table(&["b.example"], &site.beside("no"), "");
    let path = site.beside("spede.toml");
    fs::write(&path, config).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_spede"));
    command.args(["--listen", "127.0.0.1:0", "--config"]);
    let output = command.arg(path).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("/no: No such file"), "{errors}");
}
