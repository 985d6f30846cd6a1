//! The next request sees any change of the tree: random changes, compared with the file system itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::harness::{Server, Site, engines};

const NAMES: [&str; 3] = ["a", "b", "c"];
const ROUND_COUNT: usize = 2_000;

/// xorshift64*: the seed determines the run.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap() % count
    }

    /// A random path of one to three names.
    fn path(&mut self) -> String {
        let names: Vec<&str> = (0..=self.below(3)).map(|_| NAMES[self.below(3)]).collect();
        names.join("/")
    }
}

/// Makes a random change. Many fail, which is no change.
fn change(root: &Path, random: &mut Random, round: usize) -> String {
    let (one, other) = (random.path(), random.path());
    let (from, to): (PathBuf, PathBuf) = (root.join(&one), root.join(&other));
    let new = root.join("new~");
    // Left over if the last rename failed.
    let _ = fs::remove_file(&new);
    match random.below(9) {
        0 => {
            let _ = fs::create_dir_all(&from);
            format!("mkdir {one}")
        }
        1 | 2 => {
            let _ = fs::write(&from, format!("{round} in place"));
            format!("write {one}")
        }
        3 | 4 => {
            fs::write(&new, format!("{round} published")).unwrap();
            let _ = fs::rename(&new, &from);
            format!("publish {one}")
        }
        5 | 6 => {
            let _ = fs::rename(&from, &to);
            format!("mv {one} {other}")
        }
        7 => {
            let _ = fs::remove_file(&from);
            let _ = fs::remove_dir(&from);
            format!("rm {one}")
        }
        _ => {
            symlink(&other, &new).unwrap();
            let _ = fs::rename(&new, &from);
            format!("ln {other} {one}")
        }
    }
}

#[test]
fn any_change_of_a_tree_is_seen_by_the_next_request() {
    for (seed, engine) in engines().iter().enumerate() {
        let site = Site::new();
        let words = ["--disk", engine, "--revalidate", "1h"];
        let server = Server::start(&site, &words);
        let mut client = server.connect();
        let mut random = Random(0x9E37_79B9_7F4A_7C15 ^ seed as u64);
        let mut found = 0;
        let mut done = Vec::new();
        for round in 0..ROUND_COUNT {
            done.push(change(&site.root(), &mut random, round));
            for _ in 0..3 {
                let path = random.path();
                let there = site.root().join(&path);
                let want = match fs::read(&there) {
                    Ok(bytes) => (200, Some(bytes)),
                    Err(_) if there.is_dir() => (301, None),
                    Err(_) => (404, None),
                };
                let response = client.get(&format!("/{path}"), &[]);
                let body = want.1.is_some().then_some(response.body);
                let last = &done[done.len().saturating_sub(30)..];
                let place = format!("{engine}, seed {seed}, round {round}: /{path} after {last:?}");
                assert_eq!((response.status, body), want, "{place}");
                found += usize::from(response.status == 200);
            }
        }
        assert!(found > ROUND_COUNT / 10, "{engine}: {found} were files");
        let hits = server.numbers()["caches"][0]["hits"].as_u64().unwrap();
        assert!(hits > ROUND_COUNT as u64 / 10, "{engine}: {hits} hits");
        assert_eq!(server.numbers()["freshness"]["worst_staleness_ms"], 0);
    }
}
