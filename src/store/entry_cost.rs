//! Tests of the memory that the server allocates for an entry of the path cache, with everything that belongs to it.

#![cfg(test)]

use std::num::NonZeroUsize;
use std::rc::Rc;
use std::time::Duration;

use allocation_counter::measure;
use inotify::EventMask;

use crate::cache::dependents::Key;
use crate::cache::entry::{Entry, Resolution, Seen, Trust};
use crate::cache::key::PathKey;
use crate::cache::path::{Known, PathCache, PathRemoval};
use crate::clock::{Now, sample_now as now};
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::site::media_type::MediaTypes;
use crate::site::representation::{Representation, Variants, Vary};
use crate::site::sites::SiteId;
use crate::site::validators::Sighting;
use crate::store::watch::directories::Directories;
use crate::sys::file::{FileTime, FileVersion};

const COUNT: usize = 8_000;

fn key_of(path: &[u8]) -> PathKey<'_> {
    PathKey::new(SiteId::new(7), path)
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

/// The entry of a file.
pub(super) fn file_entry(inode: u64) -> Entry {
    Entry::new(file(b"/a", inode))
}

/// A path cache with this number of entries and their dependents, and the bytes that were allocated for both.
fn filled(
    count: usize,
    path: impl Fn(usize) -> String,
    found: impl Fn(&[u8]) -> Resolution,
) -> (PathCache, Directories, u64) {
    let (now, mut held) = (now(), None);
    let measured = measure(|| {
        let mut paths = PathCache::new(NonZeroUsize::new(131_072).expect("a size")).without_curve();
        let mut directories = Directories::new(None, 8_192);
        let mut forget = |_, _: PathRemoval| {};
        for index in 0..count {
            let path = path(index);
            let entry = paths.share(key_of(path.as_bytes()), found(path.as_bytes()));
            paths.insert(key_of(path.as_bytes()), Rc::clone(&entry), &mut forget);
            let name = path.rsplit('/').next().expect("a name");
            let name = directories.hash(name.as_bytes());
            let key = |directory, name| Key { directory, name };
            let keys = vec![key(1, 1), key(2, 2), key(3, name)];
            let trust = Trust {
                lifetime: Duration::from_secs(3_600),
                generation: 0,
            };
            entry.trust(trust, directories.hold(&entry, keys), &now);
            if let Some((link, number)) = paths.rest(key_of(path.as_bytes()), &entry) {
                directories.rest(link, number);
            }
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
fn an_entry_for_a_missing_path_takes_at_most_150_bytes() {
    let path = |index| format!("/assets/img/none-{index:05}.png");
    let missing = |_: &[u8]| Resolution::Refused(Status::NotFound);
    let bytes = bytes_each(path, missing);
    assert!(bytes <= 150, "{bytes} bytes each");
    let (mut paths, mut directories, _) = filled(COUNT, path, missing);
    // A hit allocates nothing, and the entry knows the reported changes.
    let asked = path(77);
    let now = now();
    let measured = measure(|| {
        for _ in 0..100 {
            assert!(matches!(
                paths.look_up(key_of(asked.as_bytes()), &now),
                Known::Fresh(_)
            ));
        }
    });
    assert_eq!(measured.count_total, 0);
    directories.happened(3, EventMask::CREATE, Some(b"none-00077.png"));
    for number in directories.take_missing() {
        paths.distrust(number);
    }
    assert!(matches!(
        paths.look_up(key_of(asked.as_bytes()), &now),
        Known::Expired(_)
    ));
    assert!(matches!(
        paths.look_up(key_of(path(78).as_bytes()), &now),
        Known::Fresh(_)
    ));
}

#[test]
fn a_missing_path_keeps_its_check_and_its_place_though_little_is_kept_of_it() {
    let (now, path) = (now(), key_of(b"/none.png"));
    let after = |seconds| {
        let wall = FileTime {
            seconds: 1_800_000_000,
            nanoseconds: 0,
        };
        Now::at(now.monotonic + Duration::from_secs(seconds), wall)
    };
    let mut paths = PathCache::new(NonZeroUsize::new(64).expect("a size"));
    let mut directories = Directories::new(None, 8_192);
    let name = directories.hash(b"none.png");
    let key = Key { directory: 3, name };
    for status in [Status::NotFound, Status::Forbidden] {
        let entry = paths.share(path, Resolution::Refused(status));
        paths.insert(path, Rc::clone(&entry), &mut |_, _| {});
        let trust = Trust {
            lifetime: Duration::from_secs(100),
            generation: 0,
        };
        let ticket = directories.poll(&entry, key_of(b"/"), vec![key]);
        entry.trust(trust, Some(ticket), &now);
        entry.postpone_check(Duration::from_secs(20), &now);
        let (link, number) = paths.rest(path, &entry).expect("it is remembered");
        directories.rest(link, number);
        drop(entry);
        directories.collect();
        assert_eq!(directories.polled(), (1, 1));
        assert!(matches!(paths.look_up(path, &after(19)), Known::Fresh(_)));
        let Known::Due(entry) = paths.look_up(path, &after(21)) else {
            panic!("it is due when it was to be");
        };
        assert!(matches!(entry.resolution, Resolution::Refused(one) if one == status));
        // The result of a check is known to later requests.
        entry.begin_check();
        assert!(matches!(
            paths.look_up_again(path, &after(21)),
            Known::Fresh(_)
        ));
        assert!(matches!(
            paths.look_up(path, &after(101)),
            Known::Expired(_)
        ));
        assert!(matches!(paths.look_up(path, &after(21)), Known::Fresh(_)));
        // Changes are reported to it under the same number.
        directories.happened(3, EventMask::CREATE, Some(b"none.png"));
        assert_eq!(directories.take_missing(), [number]);
        paths.distrust(number);
        assert_eq!(entry.age(&now, 0), None);
        assert!(matches!(paths.look_up(path, &now), Known::Expired(_)));
    }
}

/// When the entry is replaced or removed, its registration for changes is removed too.
#[test]
fn a_missing_path_that_is_forgotten_is_polled_no_more() {
    let (now, path) = (now(), key_of(b"/none.png"));
    let mut paths = PathCache::new(NonZeroUsize::new(64).expect("a size"));
    let mut directories = Directories::new(None, 8_192);
    let name = directories.hash(b"none.png");
    let key = Key { directory: 3, name };
    let entry = paths.share(path, Resolution::Refused(Status::NotFound));
    paths.insert(path, Rc::clone(&entry), &mut |_, _| {});
    let ticket = directories.poll(&entry, key_of(b"/"), vec![key]);
    let trust = Trust {
        lifetime: Duration::from_secs(100),
        generation: 0,
    };
    entry.trust(trust, Some(ticket), &now);
    assert!(paths.rest(path, &entry).is_some());
    drop(entry);
    directories.collect();
    assert_eq!(directories.polled(), (1, 1));
    let mut gone = 0;
    while paths.give_way(&mut |_, _| gone += 1) {}
    directories.collect();
    assert_eq!((gone, directories.polled()), (1, (0, 0)));
}

#[test]
fn spellings_of_one_path_share_what_is_known_of_the_file() {
    const SPELLINGS: usize = 65_536;
    // Each bit decides whether a letter is escaped.
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
    let mut look_up = |path: &str| match paths.look_up(key_of(path.as_bytes()), &now()) {
        Known::Fresh(entry) => entry,
        other => panic!("{path}: {other:?}"),
    };
    let first = look_up(&path(0));
    assert!(Rc::ptr_eq(&first, &look_up(&path(SPELLINGS - 1))));
    // A change that one spelling reports is known to all.
    first.distrust();
    let known = paths.look_up(key_of(path(12_345).as_bytes()), &now());
    assert!(matches!(known, Known::Expired(_)));
}
