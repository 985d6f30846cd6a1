//! Tests of the data of paths, without a store.

use std::time::{Duration, Instant};

use super::*;
use crate::cache::entry::{Resolution, Seen};
use crate::clock::Now;
use crate::http::content_coding::Coding;
use crate::http::status::Status;
use crate::site::representation::{Representation, Variants, Vary};
use crate::site::validators::Sighting;
use crate::sys::file::{FileTime, FileVersion};

/// The version of a file: its number is its inode, and the second of its mtime.
fn version(number: u32) -> FileVersion {
    let time = FileTime {
        seconds: i64::from(number),
        nanoseconds: 0,
    };
    FileVersion {
        device: 1,
        inode: number.into(),
        length: 10,
        modified: time,
        changed: time,
    }
}

fn file(number: u32) -> Rc<Entry> {
    let now = Now::at(Instant::now(), version(1_000).modified);
    let sighting = Sighting::of(version(number));
    let variants = Variants {
        identity: Representation::new("a", sighting, Coding::Identity, Vary::Nothing, &now),
        coded: Box::default(),
    };
    Rc::new(Entry::new(Resolution::File {
        variants,
        seen: Seen::default(),
    }))
}

fn missing() -> Rc<Entry> {
    Rc::new(Entry::new(Resolution::Refused(Status::NotFound)))
}

fn paths(path_count_max: usize) -> Paths {
    Paths::new(&CacheBudget {
        map_bytes_max: 0,
        map_file_length_max: 0,
        map_count_max: 0,
        path_count_max,
        descriptor_count_max: None,
        watched_directory_count_max: 0,
        revalidate: Duration::ZERO,
    })
}

fn key(path: &[u8]) -> PathKey<'_> {
    PathKey::new(SiteId::FIRST, path)
}

/// The date that a new file at a path would have before it.
fn date_before(paths: &Paths, path: &[u8]) -> Option<i64> {
    let sighting = Sighting::of(version(999));
    paths.past.after(key(path), sighting).newest_before
}

/// What happens to a path with file 7, and whether the date of that file is remembered beside the path cache.
#[test]
fn a_date_is_kept_as_long_as_its_path_has_no_file() {
    type Change = fn(&mut Paths);
    #[rustfmt::skip]
    let cases: [(&str, Change, Option<i64>, usize); 6] = [
        // Change             entries and date afterwards
        ("none",              |_| {},                                                    None,    1),
        ("another version",   |paths| drop(paths.put(key(b"/a"), &file(8))),             None,    1),
        ("the file is gone",  |paths| drop(paths.put(key(b"/a"), &missing())),           Some(7), 1),
        ("the lookup failed", |paths| drop(paths.remove(key(b"/a"))),                    Some(7), 0),
        ("another root",      Paths::clear,                                              Some(7), 0),
        ("the site is gone",  |paths| drop(paths.clear_sites(&|id| id == SiteId::FIRST)), Some(7), 0),
    ];
    for (change, act, date, count) in cases {
        let mut paths = paths(100);
        assert!(paths.put(key(b"/a"), &file(7)).is_empty(), "{change}");
        act(&mut paths);
        assert_eq!(date_before(&paths, b"/a"), date, "{change}");
        assert_eq!(date_before(&paths, b"/b"), None, "{change}");
        assert_eq!(paths.cache.entry_count(), count, "{change}");
    }
}

#[test]
fn entries_that_leave_are_returned_with_the_reason() {
    let mut paths = paths(8);
    let first = file(1);
    paths.put(key(b"/0"), &first);
    let second = file(2);
    let gone = paths.put(key(b"/0"), &second);
    assert_eq!(gone.len(), 1);
    assert!(Rc::ptr_eq(&gone[0].0, &first));
    assert_eq!(gone[0].1, PathRemoval::Replaced);
    assert_eq!(second.request_count(), 1, "it counts on from the first one");
    let mut evicted = 0;
    for number in 1..20_u32 {
        let path = format!("/{number}").into_bytes();
        let gone = paths.put(key(&path), &file(number + 2));
        evicted += gone.len();
        let is_evicted = |(_, why): &(_, PathRemoval)| *why == PathRemoval::Forgotten;
        assert!(gone.iter().all(is_evicted));
    }
    assert_eq!(paths.cache.entry_count() + evicted, 20);
    assert!(paths.cache.entry_count() <= 8);
}

#[test]
fn an_entry_is_released_with_its_last_spelling() {
    let mut paths = paths(100);
    let entry = file(1);
    paths.put(key(b"/a"), &entry);
    paths.put(key(b"//a"), &entry);
    let (is_one, released) = paths.give_way();
    assert!(is_one);
    assert!(released.is_none(), "the other spelling leads to it");
    let (is_one, released) = paths.give_way();
    assert!(is_one);
    assert!(released.is_some_and(|released| Rc::ptr_eq(&released, &entry)));
    assert!(matches!(paths.give_way(), (false, None)));
}

#[test]
fn only_the_paths_of_a_site_go_with_it() {
    let mut paths = paths(100);
    let other = PathKey::new(SiteId::new(1), b"/a");
    paths.put(key(b"/a"), &file(1));
    paths.put(key(b"/b"), &missing());
    paths.put(other, &file(2));
    assert_eq!(paths.clear_sites(&|id| id == SiteId::FIRST).len(), 2);
    assert!(paths.cache.holds(other));
    assert_eq!(paths.cache.entry_count(), 1);
}
