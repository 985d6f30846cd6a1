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

/// Changes something.
pub(super) fn change(tree: &mut Tree, targets: &mut [Target], random: &mut Random, now: Moment) {
    let path = targets[random.rank(targets.len())].below_root.clone();
    change_file(tree, &path, random, now);
    for target in targets.iter_mut().filter(|it| it.below_root == path) {
        target.note(tree, now);
    }
}

fn change_file(tree: &mut Tree, path: &[u8], random: &mut Random, now: Moment) {
    let Some(slash) = path.iter().position(|byte| *byte == b'/') else {
        return;
    };
    let Ok(parent) = tree.find(&path[..slash]) else {
        return;
    };
    let compressed = [&path[slash + 1..], b".gz"].concat();
    let name = match random.is_one_in(6) {
        true => &compressed[..],
        false => &path[slash + 1..],
    };
    let Some(node) = tree.child(parent, name) else {
        return tree.publish(parent, name, length(random), now);
    };
    if tree.node(node).description.kind != FileKind::Regular {
        return;
    }
    let content_length = tree.node(node).content.length();
    match random.below(10) {
        0 | 1 => tree.remove(parent, name, now),
        2..=4 if (1..=COPIED_LENGTH_MAX / 2).contains(&content_length) => {
            let count = 1 + random.index(COPIED_LENGTH_MAX / 2);
            tree.append(parent, name, count, now);
        }
        _ => tree.publish(parent, name, length(random), now),
    }
}
