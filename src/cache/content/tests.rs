//! What is held within the budget, and what is counted.

use super::*;
use crate::sys::file::FileTime;

fn version(inode: u64, length: u64) -> FileVersion {
    let time = FileTime {
        seconds: 1,
        nanoseconds: 2,
    };
    FileVersion {
        device: 1,
        inode,
        length,
        modified: time,
        changed: time,
    }
}

/// Whatever is done to it, by what it says has gone.
#[test]
fn bytes_and_count_stay_within_the_budget() {
    let budget = Budget {
        bytes_max: 100,
        count_max: 6,
    };
    let mut cache = ContentCache::new(budget);
    let mut held = std::collections::HashMap::new();
    let mut random = crate::cache::workload::Random(7);
    for _ in 0..20_000 {
        let drawn = random.next();
        let inode = drawn % 12;
        let asked = version(
            inode,
            if drawn.is_multiple_of(50) {
                drawn >> 32 & 63
            } else {
                inode * 5
            },
        );
        let key = (inode, asked.length);
        match (drawn >> 40) % 20 {
            0 => assert_eq!(cache.remove(&asked).is_some(), held.remove(&key).is_some()),
            1 => {
                let count = cache.shed(1, |()| true);
                assert_eq!(count, 1.min(held.len()));
                held.retain(|(inode, length), ()| cache.holds(&version(*inode, *length)));
            }
            2 => {
                cache.release(&asked);
                held.remove(&key);
            }
            3 => {
                cache.push_out(&asked, EvictionCause::Memory);
                held.remove(&key);
            }
            _ => {
                assert_eq!(cache.look_up(&asked).is_some(), held.contains_key(&key));
                if held.insert(key, ()).is_none() {
                    for (gone, ()) in cache.insert(asked, ()) {
                        assert!(held.remove(&(gone.inode, gone.length)).is_some());
                    }
                }
            }
        }
        let bytes: u64 = held.keys().map(|key| key.1).sum();
        assert_eq!((cache.bytes(), cache.entry_count()), (bytes, held.len()));
        assert!(bytes <= budget.bytes_max && held.len() <= budget.count_max);
    }
    every_outcome_was_counted(&cache.stats(), held.len());
}

fn every_outcome_was_counted(stats: &CacheStats, held_count: usize) {
    let by = stats.evictions_by;
    assert!(by.bytes > 100 && by.count > 0 && by.shed > 100, "{stats:?}");
    assert!(by.memory > 100 && stats.released > 100, "{stats:?}");
    assert!(stats.rejected > 100 && stats.hits > 100, "{stats:?}");
    assert_eq!(
        by.bytes + by.count + by.shed + by.memory + by.budget,
        stats.evictions
    );
    let missed = stats.misses_by;
    assert_eq!(missed.cold + missed.changed + missed.evicted, stats.misses);
    let gone = stats.evictions + stats.rejected + stats.changed + stats.released;
    assert_eq!(stats.insertions, gone + held_count as u64);
}

#[test]
fn what_was_not_looked_up_for_so_many_times_is_idle() {
    let mut cache = ContentCache::new(Budget {
        bytes_max: 100,
        count_max: 10,
    });
    cache.insert(version(1, 1), ());
    cache.insert(version(2, 1), ());
    for times in 1..=6 {
        let idle = cache.idle_for(4);
        let expected = if times > 4 {
            vec![version(2, 1)]
        } else {
            vec![]
        };
        assert_eq!(idle, expected, "after {times} times");
        assert!(cache.look_up(&version(1, 1)).is_some());
    }
}

#[test]
fn a_miss_says_why() {
    let mut cache = ContentCache::new(Budget {
        bytes_max: 10,
        count_max: 1,
    });
    let by = |cache: &mut ContentCache<()>, inode, length| {
        let before = cache.stats().misses_by;
        assert!(cache.look_up(&version(inode, length)).is_none());
        let now = cache.stats().misses_by;
        let kinds = [
            (now.cold - before.cold, "cold"),
            (now.changed - before.changed, "changed"),
            (now.evicted - before.evicted, "evicted"),
        ];
        kinds
            .into_iter()
            .find(|kind| kind.0 == 1)
            .map(|kind| kind.1)
    };
    assert_eq!(by(&mut cache, 1, 10), Some("cold"));
    assert_eq!(by(&mut cache, 1, 10), Some("cold"), "asked for, never held");
    cache.insert(version(1, 10), ());
    cache.remove(&version(1, 10));
    assert_eq!(by(&mut cache, 1, 9), Some("changed"), "written to in place");
    cache.insert(version(1, 9), ());
    for _ in 0..3 {
        assert!(cache.look_up(&version(2, 9)).is_none());
    }
    cache.insert(version(2, 9), ());
    assert_eq!(cache.entry_count(), 1);
    let gone = if cache.holds(&version(1, 9)) { 2 } else { 1 };
    assert_eq!(
        by(&mut cache, gone, 9),
        Some("evicted"),
        "there was no room for both"
    );
}

#[test]
fn what_takes_the_place_of_a_file_is_as_popular() {
    let mut cache = ContentCache::new(Budget {
        bytes_max: 100,
        count_max: 2,
    });
    let (old, new) = (version(1, 10), version(2, 10));
    cache.insert(old, ());
    for _ in 0..20 {
        assert!(cache.look_up(&old).is_some());
    }
    cache.succeed(&old, &new);
    assert!(!cache.holds(&old));
    assert!(cache.look_up(&new).is_none());
    let stats = cache.stats();
    assert_eq!((stats.changed, stats.misses_by.changed), (1, 1));
    cache.insert(new, ());
    for inode in 4..30 {
        assert!(cache.look_up(&version(inode, 10)).is_none());
        cache.insert(version(inode, 10), ());
    }
    assert!(cache.holds(&new), "it was asked for more often than those");
}

#[test]
fn what_is_larger_than_the_budget_is_not_taken_in() {
    let mut cache = ContentCache::new(Budget {
        bytes_max: 10,
        count_max: 4,
    });
    cache.insert(version(1, 10), ());
    assert!(cache.insert(version(2, 11), ()).is_empty());
    assert!(cache.holds(&version(1, 10)) && !cache.holds(&version(2, 11)));
}
