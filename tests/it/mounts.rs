//! What is mounted below the root is seen, and can be unmounted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;

use super::harness::{Client, Server, Site, engines, is_root, skip, wait_until};

/// A mount of a test; over when dropped.
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

    /// Whether it could be unmounted now.
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

/// A directory that is mounted over, a single file, and both unmounted again: nothing but the mounts tells of it.
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
        // One beside the root concerns nobody.
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

/// Files that are kept open or mapped hold a file system; after SIGHUP none does.
#[test]
fn after_a_hangup_a_file_system_below_the_root_can_be_unmounted() {
    for engine in engines() {
        let site = Site::new();
        fs::create_dir(site.path("dir")).unwrap();
        let Some(mounted) = Mounted::new(&["-t", "tmpfs", "none"], &site.path("dir")) else {
            return;
        };
        // One that is copied, one that is mapped, one that is kept open.
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
