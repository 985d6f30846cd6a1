//! No file outside the root is served, with any spelling and any links.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use super::harness::{Server, Site, engines};
use super::refused::start_without;

const MARKER: &[u8] = b"MARKER-OUTSIDE-THE-ROOT";

/// A root beside a file, a directory and a sibling whose name begins with the root's.
fn site() -> Site {
    let site = Site::new();
    fs::write(site.beside("secret"), MARKER).unwrap();
    fs::create_dir(site.beside("outside")).unwrap();
    fs::write(site.beside("outside/secret"), MARKER).unwrap();
    fs::write(site.beside("outside/index.html"), MARKER).unwrap();
    fs::create_dir(site.beside("root-secret")).unwrap();
    fs::write(site.beside("root-secret/secret"), MARKER).unwrap();
    site.file("in.txt", "inside").file("a/b/in.txt", "inside");
    site
}

/// Spellings of `..`, of separators, and of targets.
fn spellings() -> Vec<String> {
    let ups = [
        "..",
        "%2e%2e",
        ".%2e",
        "%2E.",
        "%252e%252e",
        "..%00",
        "..;",
        "..%20",
        "...",
        "....",
        "%c0%ae%c0%ae",
        "%e0%80%ae%e0%80%ae",
        ".%00.",
        "..%5c",
        "..\\",
        "%uff0e%uff0e",
        "..%2f..",
        "..%5c..",
    ];
    let separators = [
        "/", "//", "/./", "%2f", "%2F", "%5c", "\\", "%252f", "%c0%af",
    ];
    let goals = [
        "secret",
        "outside/secret",
        "root-secret/secret",
        "root/../secret",
    ];
    let mut all = Vec::new();
    for up in ups {
        for separator in separators {
            for goal in goals {
                all.push(format!("/{up}{separator}{goal}"));
                all.push(format!(
                    "/a/b/{up}{separator}{up}{separator}{up}{separator}{goal}"
                ));
            }
        }
    }
    all.push("/../root-secret/secret".into());
    all.push("/etc/passwd".into());
    all.push("//etc/passwd".into());
    all.push("/%2fetc%2fpasswd".into());
    all.push("/proc/self/root/etc/passwd".into());
    all
}

/// Servers of a site, for each engine: with `openat2`, and without.
fn servers(site: &Site, words: &[&str]) -> Vec<(String, Server)> {
    let mut servers = Vec::new();
    for engine in engines() {
        let words = [&["--disk", engine], words].concat();
        servers.push(((*engine).into(), Server::start(site, &words)));
        let refused = start_without(&[libc::SYS_openat2], libc::EPERM, || {
            Server::start(site, &words)
        });
        servers.push((format!("{engine} without openat2"), refused));
    }
    servers
}

#[test]
fn no_spelling_leads_out_of_the_root() {
    let spellings = spellings();
    assert!(spellings.len() >= 200);
    let site = site();
    for (_, server) in servers(&site, &[]) {
        let mut client = server.connect();
        for path in &spellings {
            let response = client.get(path, &[]);
            let body = String::from_utf8_lossy(&response.body);
            assert!(
                !body.contains("MARKER") && !body.contains("root:"),
                "{path}: {response:?}"
            );
            assert!(
                [301, 400, 404].contains(&response.status),
                "{path}: {response:?}"
            );
            let location = response.field("location").unwrap_or("/");
            assert!(
                location.starts_with('/') && !location.starts_with("//"),
                "{path}: {location}"
            );
        }
    }
}

#[test]
fn links_lead_around_inside_and_never_out() {
    let site = site();
    let link = |target: &str, name: &str| symlink(target, site.path(name)).unwrap();
    link("../secret", "out");
    link("../outside", "outdir");
    link("../root-secret", "sibling");
    link("../outside/index.html", "d/index.html");
    link("/etc/passwd", "absolute");
    link("/proc/self/root", "magic");
    link("loop", "loop");
    link("in.txt", "inner");
    link("../in.txt", "a/up");
    link("a/b", "innerdir");
    link("a/../../root/in.txt", "through");
    link("in.txt/", "file-as-directory");
    link("a/./b/../b/", "winding");
    for number in 1..=41 {
        link(&format!("hop{}", number - 1), &format!("hop{number}"));
    }
    link("in.txt", "hop0");
    for (engine, server) in servers(&site, &[]) {
        let mut client = server.connect();
        for path in [
            "/out",
            "/outdir/secret",
            "/outdir/",
            "/sibling/secret",
            "/d/",
            "/absolute",
            "/magic/etc/passwd",
            "/loop",
            "/through",
            "/file-as-directory",
            "/hop40",
            "/hop41",
        ] {
            let response = client.get(path, &[]);
            assert_eq!(response.status, 404, "{engine}: {path}: {response:?}");
        }
        for path in [
            "/inner",
            "/a/up",
            "/innerdir/in.txt",
            "/winding/in.txt",
            "/hop39",
        ] {
            assert_eq!(client.get(path, &[]).body, b"inside", "{engine}: {path}");
        }
    }
}

#[test]
fn a_link_that_is_swapped_while_it_is_asked_for_never_leads_out() {
    let site = site();
    for (engine, server) in servers(&site, &["--revalidate", "0"]) {
        let done = AtomicBool::new(false);
        let root = site.root();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0.. {
                    let target = if round % 2 == 0 { "a/b" } else { "../outside" };
                    symlink(target, root.join("next")).unwrap();
                    fs::rename(root.join("next"), root.join("swapped")).unwrap();
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            let mut client = server.connect();
            for _ in 0..1_000 {
                for path in ["/swapped/secret", "/swapped/in.txt", "/swapped/"] {
                    let body = client.get(path, &[]).body;
                    assert!(!body.starts_with(b"MARKER"), "{engine}: {path} led out");
                }
            }
            done.store(true, Ordering::Relaxed);
        });
    }
}
