//! Whoever changes the site while it is served.

use super::disk::COPIED_LENGTH_MAX;
use super::history::Target;
use super::random::Random;
use super::tree::{Moment, ROOT, Tree};
use crate::sys::file::FileKind;

/// Directories below the root.
const DIRECTORIES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Files in each.
const FILES: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
/// One directory that is not there.
const NOWHERE: [&str; 3] = ["/nowhere", "/nowhere/", "/nowhere/0"];

/// Fills a tree, and gives what is asked for in it, in an order that follows from the seed.
pub(super) fn fill(tree: &mut Tree, random: &mut Random) -> Vec<Target> {
    let mut paths: Vec<String> = NOWHERE.iter().map(|path| (*path).to_owned()).collect();
    for directory in DIRECTORIES {
        let node = tree.make_directory(ROOT, directory.as_bytes(), 0);
        paths.extend([format!("/{directory}"), format!("/{directory}/")]);
        for file in FILES.into_iter().chain(["index.html"]) {
            if file != "index.html" {
                paths.push(format!("/{directory}/{file}"));
            }
            if !random.is_one_in(5) {
                tree.publish(node, file.as_bytes(), length(random), 0);
            }
        }
    }
    let mut targets = Vec::new();
    while !paths.is_empty() {
        let path = paths.swap_remove(random.index(paths.len()));
        targets.push(Target::new(path));
    }
    for target in &mut targets {
        target.note(tree, 0);
    }
    targets
}

/// Most are copied, some are mapped, few are sent from their descriptor.
fn length(random: &mut Random) -> usize {
    let kilobyte = 1 << 10;
    let bytes = match random.below(20) {
        0 => 0,
        1..=13 => random.between(1, 3 * kilobyte),
        14..=17 => random.between(4 * kilobyte, 15 * kilobyte),
        _ => random.between(20 * kilobyte, 300 * kilobyte),
    };
    usize::try_from(bytes).expect("a small number")
}

/// Where files are written, and what is not finished.
#[derive(Debug)]
pub(super) struct Writer {
    random: Random,
    /// A file that was emptied, and how long it was: it will be written again.
    emptied: Option<(Vec<u8>, usize)>,
    /// A directory whose name was taken from it for a moment.
    moved: Option<&'static str>,
}

/// The name of that directory meanwhile, which is not served.
const AWAY: &[u8] = b".away";

impl Writer {
    /// One that has begun nothing.
    pub(super) fn new(random: Random) -> Writer {
        Writer {
            random,
            emptied: None,
            moved: None,
        }
    }

    /// Changes something, or finishes what was begun.
    pub(super) fn act(&mut self, tree: &mut Tree, targets: &mut [Target], now: Moment) {
        let path = targets[self.random.rank(targets.len())].below_root.clone();
        match self.random.below(60) {
            0 => self.move_directory(tree, now),
            1 => {
                let to = targets[self.random.rank(targets.len())].below_root.clone();
                rename_file(tree, &path, &to, now);
            }
            _ => {
                let path = match self.emptied.take() {
                    Some((path, length)) => {
                        self.fill_again(tree, &path, length, now);
                        path
                    }
                    None => {
                        self.change_file(tree, &path, now);
                        path
                    }
                };
                for target in targets.iter_mut().filter(|it| it.depends_on(&path)) {
                    target.note(tree, now);
                }
                return;
            }
        }
        for target in targets {
            target.note(tree, now);
        }
    }

    /// Exchanges two directories, takes the name from one, or gives it back.
    fn move_directory(&mut self, tree: &mut Tree, now: Moment) {
        if let Some(name) = self.moved.take() {
            return tree.rename((ROOT, AWAY), (ROOT, name.as_bytes()), now);
        }
        let [one, other] = [(), ()].map(|()| DIRECTORIES[self.random.index(DIRECTORIES.len())]);
        if self.random.is_one_in(2) {
            tree.rename((ROOT, one.as_bytes()), (ROOT, AWAY), now);
            self.moved = Some(one);
        } else if one != other {
            tree.exchange((ROOT, one.as_bytes()), (ROOT, other.as_bytes()), now);
        }
    }

    /// Writes what was emptied. Not more than it had: what is still being sent of it would look like a file that has
    /// grown.
    fn fill_again(&mut self, tree: &mut Tree, path: &[u8], length: usize, now: Moment) {
        let length = self.random.index(length + 1);
        if let Some(place) = split(tree, path) {
            tree.write(place, 0, length, now);
        }
    }

    fn change_file(&mut self, tree: &mut Tree, path: &[u8], now: Moment) {
        let compressed = [path, b".gz"].concat();
        let path = match self.random.is_one_in(6) {
            true => &compressed,
            false => path,
        };
        let Some(place) = split(tree, path) else {
            return;
        };
        let random = &mut self.random;
        let Some(node) = tree.child(place.0, place.1) else {
            return tree.publish(place.0, place.1, length(random), now);
        };
        if tree.node(node).description.kind != FileKind::Regular {
            return;
        }
        let before = tree.node(node).content.length();
        match random.below(20) {
            0..=3 => tree.remove(place.0, place.1, now),
            4..=8 if (1..=COPIED_LENGTH_MAX / 2).contains(&before) => {
                let count = 1 + random.index(COPIED_LENGTH_MAX / 2);
                tree.write(place, before, before + count, now);
            }
            9 | 10 => tree.write(place, 0, before, now),
            // The precompressed one is not filled again: its path is no target's.
            11 | 12 if path != compressed => {
                tree.write(place, 0, 0, now);
                self.emptied = Some((path.to_vec(), before));
            }
            _ => tree.publish(place.0, place.1, length(random), now),
        }
    }
}

/// A directory and a name in it. Names in the root do not change.
fn split<'a>(tree: &Tree, path: &'a [u8]) -> Option<(usize, &'a [u8])> {
    let slash = path.iter().position(|byte| *byte == b'/')?;
    let directory = tree.find(&path[..slash]).ok()?;
    Some((directory, &path[slash + 1..]))
}

/// Gives a file the name of another.
fn rename_file(tree: &mut Tree, from: &[u8], to: &[u8], now: Moment) {
    if let Some(from) = split(tree, from)
        && let Some(to) = split(tree, to)
        && from != to
    {
        tree.rename(from, to, now);
    }
}
