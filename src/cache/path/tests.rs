//! Paths that lead to files, and those that do not.

use super::*;
use crate::cache::curve::tests::{entries, missing, now};

fn cache(entry_count_max: usize) -> PathCache {
    PathCache::new(NonZeroUsize::new(entry_count_max).expect("a size"))
}

fn is_fresh(cache: &mut PathCache, path: &str, now: &Now) -> bool {
    matches!(cache.look_up(path.as_bytes(), now), Known::Fresh(_))
}

#[test]
fn a_scan_of_names_leaves_seven_eighths_of_the_files() {
    let now = now();
    let (file, missing) = (Rc::clone(&entries(&now)[10]), missing(&now));
    let mut cache = cache(800);
    let paths: Vec<String> = (0..800).map(|index| format!("/file/{index}")).collect();
    for path in &paths {
        assert!(!is_fresh(&mut cache, path, &now));
        cache.insert(path.as_bytes(), Rc::clone(&file), &mut |_, _| {});
    }
    for index in 0..100_000 {
        let path = format!("/random/{index}");
        assert!(!is_fresh(&mut cache, &path, &now));
        cache.insert(path.as_bytes(), Rc::clone(&missing), &mut |_, _| {});
        assert!(cache.entry_count() <= 800 && cache.negative_count() <= 100);
    }
    let left = paths
        .iter()
        .filter(|path| is_fresh(&mut cache, path, &now))
        .count();
    assert_eq!((left, cache.negative_count()), (700, 100));
    assert!(
        is_fresh(&mut cache, "/random/99999", &now),
        "the last ones are remembered"
    );
    let by = cache.stats().evictions_by;
    assert_eq!((by.count, by.share), (100, 99_900));
}

/// The same with names that are there: a crawler.
#[test]
fn files_asked_for_once_leave_those_asked_for_often() {
    let now = now();
    let file = Rc::clone(&entries(&now)[10]);
    let mut cache = cache(800);
    let paths: Vec<String> = (0..600).map(|index| format!("/file/{index}")).collect();
    for path in paths.iter().cycle().take(1_800) {
        if !is_fresh(&mut cache, path, &now) {
            cache.insert(path.as_bytes(), Rc::clone(&file), &mut |_, _| {});
        }
    }
    for index in 0..4_000 {
        let path = format!("/once/{index}");
        assert!(!is_fresh(&mut cache, &path, &now));
        cache.insert(path.as_bytes(), Rc::clone(&file), &mut |_, _| {});
        assert!(cache.entry_count() <= 800);
    }
    let left = paths
        .iter()
        .filter(|path| is_fresh(&mut cache, path, &now))
        .count();
    assert_eq!(left, 600);
}

#[test]
fn a_path_stands_where_its_latest_answer_belongs() {
    let now = now();
    let (file, missing) = (Rc::clone(&entries(&now)[10]), missing(&now));
    let mut cache = cache(16);
    cache.insert(b"/a", Rc::clone(&file), &mut |_, _| {});
    cache.insert(b"/a", Rc::clone(&missing), &mut |_, _| {});
    assert_eq!((cache.entry_count(), cache.negative_count()), (1, 1));
    cache.insert(b"/a", Rc::clone(&file), &mut |_, _| {});
    assert_eq!((cache.entry_count(), cache.negative_count()), (1, 0));
    assert_eq!((cache.stats().insertions, cache.stats().changed), (3, 2));
    cache.remove(b"/a");
    assert!(!is_fresh(&mut cache, "/a", &now));
    assert_eq!(cache.stats().misses_by.changed, 1);
}

#[test]
fn the_smallest_caches_hold_what_they_may() {
    let now = now();
    let (file, missing) = (Rc::clone(&entries(&now)[10]), missing(&now));
    for count_max in 1..12 {
        let mut cache = cache(count_max);
        for index in 0..100 {
            let entry = if index % 3 == 0 { &missing } else { &file };
            cache.insert(
                format!("/{index}").as_bytes(),
                Rc::clone(entry),
                &mut |_, _| {},
            );
            assert!((1..=count_max).contains(&cache.entry_count()) || index == 0);
        }
    }
}

/// Whatever is done to it: what was put in is there, or was counted when it went.
#[test]
fn what_was_put_in_is_held_or_was_counted_when_it_went() {
    let now = now();
    let (files, missing) = (entries(&now), missing(&now));
    let mut cache = cache(64);
    let mut random = crate::cache::workload::Random(11);
    for _ in 0..50_000 {
        let drawn = random.next();
        let path = (drawn % 150).to_le_bytes();
        match drawn >> 32 & 63 {
            0 => drop(cache.remove(&path)),
            1..8 => {
                cache.fill(&path, Rc::clone(&files[3]));
            }
            8 if drawn >> 40 & 63 == 0 => cache.clear(),
            kind => {
                let _ = cache.look_up(&path, &now);
                // Some are put in again though they are there: their file had to be opened once more.
                let entry = match kind % 3 {
                    0 => &missing,
                    _ => &files[usize::try_from(kind % 4).expect("a few")],
                };
                cache.insert(&path, Rc::clone(entry), &mut |_, _| {});
            }
        }
        let stats = cache.stats();
        let gone = stats.evictions + stats.rejected + stats.changed + stats.released;
        assert_eq!(stats.insertions, gone + cache.entry_count() as u64);
    }
    let stats = cache.stats();
    assert!(
        stats.evictions > 100 && stats.rejected > 100,
        "{stats:?}: nothing was pushed out"
    );
}

#[test]
fn what_leads_where_it_led_is_no_change() {
    let now = now();
    let (files, missing) = (entries(&now), missing(&now));
    let mut cache = cache(64);
    let mut changes = Vec::new();
    for entry in [
        &missing, &missing, &files[1], &files[1], &files[2], &missing,
    ] {
        cache.insert(b"/a", Rc::clone(entry), &mut |_, _| {});
        changes.push(cache.stats().changed);
    }
    assert_eq!(changes, [0, 0, 1, 1, 2, 3]);
    assert_eq!(cache.stats().insertions, 4);
}
