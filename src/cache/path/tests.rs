//! Paths that lead to files, and those that do not.

use std::time::Duration;

use super::*;
use crate::cache::curve::tests::{entries, missing, now};
use crate::site::sites::SiteId;

fn cache(entry_count_max: usize) -> PathCache {
    PathCache::new(NonZeroUsize::new(entry_count_max).expect("a size"))
}

fn key(path: &[u8]) -> PathKey<'_> {
    PathKey::new(SiteId::FIRST, path)
}

fn is_fresh(cache: &mut PathCache, path: &str, now: &Now) -> bool {
    matches!(cache.look_up(key(path.as_bytes()), now), Known::Fresh(_))
}

#[test]
fn a_scan_of_names_leaves_seven_eighths_of_the_files() {
    let now = now();
    let (file, missing) = (Rc::clone(&entries(&now)[10]), missing(&now));
    let mut cache = cache(800);
    let paths: Vec<String> = (0..800).map(|index| format!("/file/{index}")).collect();
    for path in &paths {
        assert!(!is_fresh(&mut cache, path, &now));
        cache.insert(key(path.as_bytes()), Rc::clone(&file), &mut |_, _| {});
    }
    for index in 0..100_000 {
        let path = format!("/random/{index}");
        assert!(!is_fresh(&mut cache, &path, &now));
        cache.insert(key(path.as_bytes()), Rc::clone(&missing), &mut |_, _| {});
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
            cache.insert(key(path.as_bytes()), Rc::clone(&file), &mut |_, _| {});
        }
    }
    for index in 0..4_000 {
        let path = format!("/once/{index}");
        assert!(!is_fresh(&mut cache, &path, &now));
        cache.insert(key(path.as_bytes()), Rc::clone(&file), &mut |_, _| {});
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
    cache.insert(key(b"/a"), Rc::clone(&file), &mut |_, _| {});
    cache.insert(key(b"/a"), Rc::clone(&missing), &mut |_, _| {});
    assert_eq!((cache.entry_count(), cache.negative_count()), (1, 1));
    cache.insert(key(b"/a"), Rc::clone(&file), &mut |_, _| {});
    assert_eq!((cache.entry_count(), cache.negative_count()), (1, 0));
    assert_eq!((cache.stats().insertions, cache.stats().changed), (3, 2));
    cache.remove(key(b"/a"));
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
                key(format!("/{index}").as_bytes()),
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
            0 => drop(cache.remove(key(&path))),
            1..8 => {
                cache.fill(key(&path), Rc::clone(&files[3]));
            }
            8 if drawn >> 40 & 63 == 0 => cache.clear(),
            kind => {
                let _ = cache.look_up(key(&path), &now);
                // Some are put in again though they are there: their file had to be opened once more.
                let entry = match kind % 3 {
                    0 => &missing,
                    _ => &files[usize::try_from(kind % 4).expect("a few")],
                };
                cache.insert(key(&path), Rc::clone(entry), &mut |_, _| {});
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
        cache.insert(key(b"/a"), Rc::clone(entry), &mut |_, _| {});
        changes.push(cache.stats().changed);
    }
    assert_eq!(changes, [0, 0, 1, 1, 2, 3]);
    assert_eq!(cache.stats().insertions, 4);
}

/// An entry of its own for each site and path.
fn own_entry(now: &Now) -> Rc<Entry> {
    let resolution = entries(now)[10].resolution.clone();
    let lifetime = Duration::from_secs(3_600);
    Rc::new(Entry::trusted(resolution, now, lifetime))
}

#[test]
fn a_thousand_sites_with_the_same_paths_share_nothing() {
    const SITE_COUNT: u32 = 1_000;
    let (now, paths) = (now(), [&b"/"[..], b"/index.html"]);
    let keys = || {
        let sites = (0..SITE_COUNT).map(SiteId::new);
        sites.flat_map(|site| paths.map(|path| PathKey::new(site, path)))
    };
    let mut cache = cache(8_000);
    let held: Vec<Rc<Entry>> = keys()
        .map(|key| {
            assert!(matches!(cache.look_up(key, &now), Known::Unknown));
            let entry = own_entry(&now);
            cache.insert(key, Rc::clone(&entry), &mut |_, _| {
                unreachable!("there is room")
            });
            entry
        })
        .collect();
    let leads_to = |cache: &mut PathCache, key| match cache.look_up(key, &now) {
        Known::Fresh(entry) => Some(entry),
        _ => None,
    };
    let measured = allocation_counter::measure(|| {
        for (key, entry) in keys().zip(&held) {
            let found = leads_to(&mut cache, key);
            assert!(found.is_some_and(|found| Rc::ptr_eq(&found, entry)));
        }
    });
    assert_eq!(measured.count_total, 0, "a hit allocates nothing");
    // What is known of a path of one site is dropped, or leads to no file by now.
    let changed = SiteId::new(500);
    cache.remove(PathKey::new(changed, paths[0]));
    let key = PathKey::new(changed, paths[1]);
    cache.insert(key, missing(&now), &mut |_, _| {});
    for (key, entry) in keys().zip(&held) {
        let found = leads_to(&mut cache, key);
        let is_own = found.is_some_and(|found| Rc::ptr_eq(&found, entry));
        assert_eq!(is_own, key.site != changed, "{key:?}");
    }
    assert_eq!(cache.entry_count(), held.len() - 1);
}

/// Each kind of path of each site that is asked for often stays, whatever one site is asked for once.
#[test]
fn a_scan_of_one_site_leaves_what_others_are_asked_for_often() {
    let now = now();
    let (file, missing) = (Rc::clone(&entries(&now)[10]), missing(&now));
    let mut cache = cache(800);
    let often: Vec<(SiteId, String)> = (0..400)
        .map(|index| (SiteId::new(index % 100), format!("/{}", index / 100)))
        .collect();
    let key_of = |one: &(SiteId, String)| PathKey::new(one.0, one.1.as_bytes()).to_buf();
    for one in often.iter().cycle().take(1_600) {
        let key = key_of(one);
        if !matches!(cache.look_up(key.as_key(), &now), Known::Fresh(_)) {
            cache.insert(key.as_key(), Rc::clone(&file), &mut |_, _| {});
        }
    }
    for index in 0..4_000 {
        let key = (SiteId::new(100), format!("/once/{index}"));
        let entry = if index % 2 == 0 { &file } else { &missing };
        let key = key_of(&key);
        assert!(matches!(cache.look_up(key.as_key(), &now), Known::Unknown));
        cache.insert(key.as_key(), Rc::clone(entry), &mut |_, _| {});
        assert!(cache.entry_count() <= 800);
    }
    let is_left = |one: &&(SiteId, String)| cache.holds(key_of(one).as_key());
    assert_eq!(often.iter().filter(is_left).count(), 400);
}

#[test]
fn spellings_are_shared_within_a_site_only() {
    let now = now();
    let mut cache = cache(64);
    let [one, other] = [1, 2].map(SiteId::new);
    let resolution = || entries(&now)[10].resolution.clone();
    let mut share = |site, path: &'static [u8]| {
        let key = PathKey::new(site, path);
        let entry = cache.share(key, resolution());
        cache.insert(key, Rc::clone(&entry), &mut |_, _| {});
        entry
    };
    let first = share(one, b"/a%62");
    assert!(Rc::ptr_eq(&first, &share(one, b"//ab")));
    let second = share(other, b"//ab");
    assert!(!Rc::ptr_eq(&first, &second));
    assert!(Rc::ptr_eq(&second, &share(other, b"/ab")));
    assert!(Rc::ptr_eq(&first, &share(one, b"/ab")));
}
