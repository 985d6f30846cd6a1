//! Mounts below the root take effect, and can be unmounted.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::harness::{Client, Server, Site, engines, is_root, skip, wait_until};

/// A mount of a test; unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(words: &[&str], at: &Path) -> Option<Mounted> {
        let mut command = Command::new("mount");
        match command.args(words).arg(at).status() {
            Ok(status) if is_root() && status.success() => Some(Mounted(at.to_owned())),
            _ => {
                skip("mounting takes root and its capabilities");
                None
            }
        }
    }

    /// Unmounts it; returns whether that succeeded.
    fn unmount(&self) -> bool {
        let mut command = Command::new("umount");
        command.arg(&self.0).output().unwrap().status.success()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn becomes(client: &mut Client, path: &str, wanted: &str) {
    wait_until(wanted, || client.get(path, &[]).body == wanted.as_bytes());
}

/// Mounts over a directory and over a single file, and their unmounting: only the mount table reports it.
#[test]
fn mounts_below_the_root_are_seen() {
    for engine in engines() {
        let site = Site::new();
        site.file("dir/file", "below").file("one", "below");
        fs::write(site.beside("other"), "mounted").unwrap();
        fs::create_dir(site.beside("others")).unwrap();
        fs::write(site.beside("others/file"), "mounted").unwrap();
        let server = Server::start(&site, &["--disk", engine, "--revalidate=1h", "--recheck=0"]);
        let mut client = server.connect();
        for path in [
            "/dir/file",
            "/one",
            "/dir/file",
            "/one",
            "/dir/file",
            "/one",
        ] {
            assert_eq!(client.get(path, &[]).body, b"below");
        }
        let (others, other) = (site.beside("others"), site.beside("other"));
        let bind = |from: &Path, to: &str| {
            Mounted::new(&["--bind", from.to_str().unwrap()], &site.path(to))
        };
        // A mount beside the root has no effect.
        let beside = Mounted::new(&["-t", "tmpfs", "none"], &site.beside("others"));
        drop(beside);
        let Some(directory) = bind(&others, "dir") else {
            return;
        };
        becomes(&mut client, "/dir/file", "mounted");
        assert_eq!(server.numbers()["freshness"]["mount_changes"], 1);
        let Some(file) = bind(&other, "one") else {
            return;
        };
        becomes(&mut client, "/one", "mounted");
        server.signal(Signal::HUP);
        for (mount, path) in [(directory, "/dir/file"), (file, "/one")] {
            wait_until("it can be unmounted", || mount.unmount());
            becomes(&mut client, path, "below");
        }
    }
}

/// The root is unmounted and mounted again with the same directory, so with the same device and inode; a
/// mount below it exists only in the new mount.
#[test]
fn a_root_that_was_mounted_anew_is_another_though_its_inode_is_the_same() {
    for engine in engines() {
        let site = Site::new();
        fs::create_dir_all(site.beside("data/below")).unwrap();
        fs::write(site.beside("data/below/file"), "data").unwrap();
        fs::create_dir(site.beside("others")).unwrap();
        fs::write(site.beside("others/file"), "mounted below").unwrap();
        let bind = |from: &str, to: &Path| {
            Mounted::new(&["--bind", site.beside(from).to_str().unwrap()], to)
        };
        let Some(first) = bind("data", &site.root()) else {
            return;
        };
        let server = Server::start(&site, &["--disk", engine, "--revalidate=1h", "--recheck=0"]);
        let mut client = server.connect();
        for _ in 0..3 {
            assert_eq!(client.get("/below/file", &[]).body, b"data");
        }
        drop(first);
        let Some(_second) = bind("data", &site.root()) else {
            return;
        };
        let Some(_below) = bind("others", &site.root().join("below")) else {
            return;
        };
        becomes(&mut client, "/below/file", "mounted below");
    }
}

/// The path of the root has two links; a mount covers the directory that only the first one leads to.
#[test]
fn a_mount_over_a_link_between_the_given_and_the_real_root_is_seen() {
    for engine in engines() {
        let site = Site::new();
        fs::create_dir_all(site.beside("between")).unwrap();
        for (name, text) in [("old", "before"), ("new", "after")] {
            fs::create_dir(site.beside(name)).unwrap();
            fs::write(site.beside(name).join("file"), text).unwrap();
        }
        symlink(site.beside("old"), site.beside("between/current")).unwrap();
        fs::create_dir(site.beside("hiding")).unwrap();
        symlink(site.beside("new"), site.beside("hiding/current")).unwrap();
        fs::remove_dir(site.root()).unwrap();
        symlink(site.beside("between/current"), site.root()).unwrap();
        let server = Server::start(&site, &["--disk", engine, "--revalidate=1h", "--recheck=0"]);
        let mut client = server.connect();
        for _ in 0..3 {
            assert_eq!(client.get("/file", &[]).body, b"before");
        }
        let hiding = site.beside("hiding");
        let words = ["--bind", hiding.to_str().unwrap()];
        let Some(mount) = Mounted::new(&words, &site.beside("between")) else {
            return;
        };
        becomes(&mut client, "/file", "after");
        drop(mount);
        becomes(&mut client, "/file", "before");
    }
}

/// Cached open and mapped files keep a file system busy; after SIGHUP none does.
#[test]
fn after_a_hangup_a_file_system_below_the_root_can_be_unmounted() {
    for engine in engines() {
        let site = Site::new();
        fs::create_dir(site.path("dir")).unwrap();
        let Some(mounted) = Mounted::new(&["-t", "tmpfs", "none"], &site.path("dir")) else {
            return;
        };
        // One copied, one mapped, one kept open.
        for (name, length) in [("copied", 1_000), ("mapped", 10_000), ("open", 100_000)] {
            site.file(&format!("dir/{name}"), vec![b'x'; length]);
        }
        let server = Server::start(&site, &["--disk", engine]);
        let mut client = server.connect();
        wait_until("all are held", || {
            for name in ["copied", "mapped", "open"] {
                assert_eq!(client.get(&format!("/dir/{name}"), &[]).status, 200);
            }
            server.numbers()["caches"][1]["entries"] == 2
        });
        assert!(!mounted.unmount(), "no test of what it says");
        server.signal(Signal::HUP);
        wait_until("it can be unmounted", || mounted.unmount());
        wait_until("its files are gone", || {
            client.get("/dir/open", &[]).status == 404
        });
    }
}
