//! What an entry of the path cache makes the server allocate, all that goes with it included.

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::{Duration, Instant};

use allocation_counter::measure;

use super::watch::directories::Directories;
use crate::cache::dependents::Key;
use crate::cache::entry::{Resolution, Seen, Trust};
use crate::cache::path::{Departure, Known, PathCache};
use crate::clock::Now;
use crate::http::content_coding::Coding;
use crate::site::media_type::MediaTypes;
use crate::site::representation::{Representation, Variants, Vary};
use crate::site::validators::Sighting;
use crate::sys::file::{FileTime, FileVersion};

const COUNT: usize = 8_000;

fn now() -> Now {
    let wall = FileTime {
        seconds: 1_800_000_000,
        nanoseconds: 0,
    };
    Now::at(Instant::now(), wall)
}

fn version(inode: u64) -> FileVersion {
    let time = FileTime {
        seconds: 1_790_000_000,
        nanoseconds: 123_456_789,
    };
    FileVersion {
        device: 0x800_0001,
        inode,
        length: 12_345,
        modified: time,
        changed: time,
    }
}

fn file(path: &[u8], inode: u64) -> Resolution {
    let media_type = MediaTypes::default().of(path).to_string();
    let (coding, vary) = (Coding::Identity, Vary::Nothing);
    Resolution::File {
        variants: Variants {
            identity: Representation::new(
                &media_type,
                Sighting::of(version(inode)),
                coding,
                vary,
                &now(),
            ),
            coded: Box::default(),
        },
        seen: Seen::default(),
    }
}

/// A path cache and those who are told of changes, with entries for so many paths; and the bytes that were
/// allocated for it.
fn filled(
    count: usize,
    path: impl Fn(usize) -> String,
    found: impl Fn(&[u8]) -> Resolution,
) -> (PathCache, Directories, u64) {
    let (now, mut held) = (now(), None);
    let measured = measure(|| {
        let mut paths = PathCache::new(NonZeroUsize::new(131_072).expect("a size")).without_curve();
        let mut directories = Directories::new(None, 8_192);
        let mut forget = |_, _: Departure| {};
        for index in 0..count {
            let path = path(index);
            let entry = paths.share(path.as_bytes(), found(path.as_bytes()));
            paths.insert(path.as_bytes(), Rc::clone(&entry), &mut forget);
            let name = u32::try_from(index).expect("few");
            let key = |directory, name| Key { directory, name };
            let keys = vec![key(1, 1), key(2, 2), key(3, name)];
            let trust = Trust {
                lifetime: Duration::from_secs(3_600),
                generation: 0,
            };
            entry.trust(trust, directories.hold(&entry, keys), &now);
            directories.collect();
        }
        held = Some((paths, directories));
    });
    let (paths, directories) = held.expect("it was filled");
    let bytes = u64::try_from(measured.bytes_current).expect("some");
    let ghosts = paths.table_bytes().ghosts;
    (paths, directories, bytes - ghosts)
}

fn bytes_each(path: impl Fn(usize) -> String, found: impl Fn(&[u8]) -> Resolution) -> u64 {
    filled(COUNT, path, found).2 / COUNT as u64
}

#[test]
fn an_entry_for_a_file_takes_at_most_600_bytes() {
    let path = |index| format!("/assets/js/chunk-{index:05}.min.js");
    let bytes = bytes_each(path, |path| file(path, 7));
    assert!(bytes <= 600, "{bytes} bytes each");
}

#[test]
fn spellings_of_one_path_share_what_is_known_of_the_file() {
    const SPELLINGS: usize = 65_536;
    // Each bit is a letter that is escaped or not.
    let path = |index: usize| {
        let letters = b"abcdefghijklmnop".iter().enumerate();
        let letters = letters.map(|(bit, letter)| match index >> bit & 1 {
            0 => char::from(*letter).to_string(),
            _ => format!("%{letter:02x}"),
        });
        letters.fold("/".to_owned(), |path, letter| path + &letter) + ".html"
    };
    let key_bytes: usize = (0..SPELLINGS).map(|index| path(index).len()).sum();
    let (mut paths, _directories, bytes) = filled(SPELLINGS, path, |path| file(path, 7));
    let bytes = (bytes - key_bytes as u64) / SPELLINGS as u64;
    assert!(bytes <= 80, "{bytes} bytes each beside the path itself");
    let mut look_up = |path: &str| match paths.look_up(path.as_bytes(), &now()) {
        Known::Fresh(entry) => entry,
        other => panic!("{path}: {other:?}"),
    };
    let first = look_up(&path(0));
    assert!(Rc::ptr_eq(&first, &look_up(&path(SPELLINGS - 1))));
    // What one of them learns all of them know.
    first.distrust();
    let known = paths.look_up(path(12_345).as_bytes(), &now());
    assert!(matches!(known, Known::Expired(_)));
}
