//! What paths have led to that lead to no file now, or below another root: as far as their dates go.
//!
//! A client that has a file may send its date later on. Where another one with that date is there
//! by then, the answer depends on what is remembered here.

use std::hash::BuildHasher;
use std::num::NonZeroUsize;

use foldhash::fast::RandomState;
use lru::LruCache;

use super::key::PathKey;
use crate::memory::lru_bytes;
use crate::site::validators::{Predecessor, Sighting};
use crate::sys::file::FileVersion;

/// Paths that are remembered, at some 80 bytes each: after a switch of the root those that were asked for last.
const COUNT_MAX: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// Of a version that is no longer there.
#[derive(Clone, Copy, Debug)]
struct Past {
    version: u64,
    newest: Option<i64>,
    newest_before: Option<i64>,
}

/// The last versions of paths, by hash.
#[derive(Debug)]
pub(crate) struct PastDates {
    by_path: LruCache<u64, Past, RandomState>,
    hasher: RandomState,
}

impl Default for PastDates {
    fn default() -> PastDates {
        PastDates {
            by_path: LruCache::unbounded_with_hasher(RandomState::default()),
            hasher: RandomState::default(),
        }
    }
}

impl PastDates {
    /// Bytes that are allocated.
    pub(crate) fn memory_bytes(&self) -> u64 {
        lru_bytes(self.by_path.len(), size_of::<(u64, Past)>())
    }

    /// Whether there is room for another path without one being forgotten.
    pub(crate) fn has_room(&self) -> bool {
        self.by_path.len() < COUNT_MAX.get()
    }

    /// Remembers what a path has led to.
    pub(crate) fn note(&mut self, key: PathKey<'_>, led_to: &Predecessor) {
        if !self.has_room() {
            self.by_path.pop_lru();
        }
        let past = Past {
            version: self.hash(&led_to.version),
            newest: led_to.newest(),
            newest_before: led_to.newest_before,
        };
        self.by_path.put(self.hasher.hash_one(key), past);
    }

    /// What is found at a path, with what is remembered of it.
    pub(crate) fn after(&self, key: PathKey<'_>, sighting: Sighting) -> Sighting {
        let past = match self.by_path.is_empty() {
            true => None,
            false => self.by_path.peek(&self.hasher.hash_one(key)),
        };
        let Some(past) = past else {
            return sighting;
        };
        let newest_before = match past.version == self.hash(&sighting.version) {
            true => past.newest_before,
            false => past.newest,
        };
        Sighting {
            newest_before: newest_before.max(sighting.newest_before),
            ..sighting
        }
    }

    fn hash(&self, version: &FileVersion) -> u64 {
        let times =
            [version.modified, version.changed].map(|time| (time.seconds, time.nanoseconds));
        let place = (version.device, version.inode, version.length);
        self.hasher.hash_one((place, times))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::content_coding::Coding;
    use crate::site::sites::SiteId;
    use crate::site::validators::Identity;
    use crate::sys::file::FileTime;

    fn key(path: &[u8]) -> PathKey<'_> {
        PathKey::new(SiteId::FIRST, path)
    }

    fn sighting(inode: u64, seconds: i64) -> Sighting {
        let time = FileTime {
            seconds,
            nanoseconds: 0,
        };
        Sighting::of(FileVersion {
            device: 0,
            inode,
            length: 0,
            modified: time,
            changed: time,
        })
    }

    fn predecessor(of: Sighting) -> Predecessor {
        Predecessor {
            version: of.version,
            identity: Identity::Version,
            entity_tag: of.entity_tag(Coding::Identity),
            newest_before: of.newest_before,
        }
    }

    #[test]
    fn what_a_path_has_led_to_counts_for_that_path_until_others_need_the_room() {
        let mut past = PastDates::default();
        past.note(key(b"/a"), &predecessor(sighting(1, 100)));
        let before =
            |past: &PastDates, path: &[u8], found| past.after(key(path), found).newest_before;
        assert_eq!(before(&past, b"/a", sighting(2, 50)), Some(100));
        assert_eq!(before(&past, b"/a", sighting(1, 100)), None, "the same");
        assert_eq!(before(&past, b"/b", sighting(2, 50)), None, "another path");
        let other = PathKey::new(SiteId::new(1), b"/a");
        let found = past.after(other, sighting(2, 50));
        assert_eq!(found.newest_before, None, "another site");
        for number in 1..COUNT_MAX.get() {
            past.note(
                key(format!("/{number}").as_bytes()),
                &predecessor(sighting(3, 7)),
            );
        }
        assert_eq!(before(&past, b"/a", sighting(2, 50)), Some(100));
        past.note(key(b"/last"), &predecessor(sighting(3, 7)));
        assert_eq!(before(&past, b"/a", sighting(2, 50)), None);
        assert_eq!(past.by_path.len(), COUNT_MAX.get());
    }
}
