//! The files that most bytes and most waiting go to: short lists kept up to date in little memory.
//!
//! Bytes are counted in the entries of the path cache, which costs a hit one addition and one
//! comparison; the list holds the entries that had most when they were last compared. To enter it an
//! entry must have an eighth more than the last of the list, so that entries that are asked for
//! equally often do not take each other's places all the time. A count lives as long as its path is
//! remembered, or is in the list.
//!
//! Waiting is counted by Space-Saving (Metwally, Agrawal, El Abbadi, "Efficient computation of frequent
//! and top-k elements in data streams", ICDT 2005): a path that has no counter takes over the lowest,
//! with its count, which is then the most by which the new count may be too high.

use std::rc::Rc;

use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};

use super::entry::Entry;
use super::key::{PathKey, PathKeyBuf};
use crate::memory::table_bytes;
use crate::sys::allocator::block_length;

/// Paths in a list.
pub(crate) const TOP_COUNT: usize = 16;
/// Counters of waiting, of which the list is the top.
const COUNTER_COUNT: usize = 1_024;

/// A path and the bytes of content that it was answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heavy {
    /// As it was asked for.
    pub(crate) key: PathKeyBuf,
    /// Bytes of content.
    pub(crate) bytes: u64,
}

/// A path and how many requests for it had to wait for a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missed {
    /// As it was asked for.
    pub(crate) key: PathKeyBuf,
    /// Requests that waited, or a few more.
    pub(crate) count: u64,
    /// How many more at most.
    pub(crate) excess_max: u64,
}

/// What counts for a path that is listed.
#[derive(Debug)]
enum Listed {
    /// Its entry in the path cache.
    Entry(Rc<Entry>),
    /// So many bytes, since it is not remembered. An entry is not kept for a list: it would go on being
    /// watched.
    Left(u64),
}

impl Listed {
    fn of(entry: &Rc<Entry>) -> Listed {
        entry.enlist();
        Listed::Entry(Rc::clone(entry))
    }

    /// Puts another in its place.
    fn replace(&mut self, by: Listed) {
        if let Listed::Entry(entry) = std::mem::replace(self, by) {
            entry.strike();
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Listed::Entry(entry) => entry.byte_count(),
            Listed::Left(bytes) => *bytes,
        }
    }
}

/// Both lists.
#[derive(Debug, Default)]
pub(crate) struct Top {
    heavy: Vec<(PathKeyBuf, Listed)>,
    /// Bytes from which on an entry is compared with the list.
    bytes_min: u64,
    missed: Vec<Missed>,
    places: HashMap<PathKeyBuf, usize, RandomState>,
}

impl Top {
    /// Bytes that are allocated. O(paths that are counted).
    pub(crate) fn memory_bytes(&self) -> u64 {
        let heavy = self.heavy.iter().map(|(key, _)| key.length());
        // A path that is counted is its own key as well.
        let missed = self.missed.iter().map(|missed| missed.key.length());
        let paths: u64 = heavy
            .chain(missed.clone())
            .chain(missed)
            .map(block_length)
            .sum();
        paths
            + block_length(self.heavy.capacity() * size_of::<(PathKeyBuf, Listed)>())
            + block_length(self.missed.capacity() * size_of::<Missed>())
            + table_bytes(self.places.capacity(), size_of::<(PathKeyBuf, usize)>())
    }

    /// Counts bytes of content that a path was answered with.
    pub(crate) fn answered(&mut self, key: PathKey<'_>, entry: &Rc<Entry>, bytes: u64) {
        let total = entry.count_bytes(bytes);
        if total >= self.bytes_min && bytes > 0 && !entry.is_listed() {
            self.compare(key, entry, total);
        }
    }

    #[cold]
    fn compare(&mut self, key: PathKey<'_>, entry: &Rc<Entry>, total: u64) {
        if let Some(listed) = self.listed(key) {
            // Another entry that still counts stands for the path: this one belongs to an answer that was
            // under way when it was replaced.
            if let Listed::Left(before) = *listed {
                entry.take_bytes(before.saturating_add(total));
                listed.replace(Listed::of(entry));
            }
            return;
        }
        if self.heavy.len() < TOP_COUNT {
            self.heavy.push((key.to_buf(), Listed::of(entry)));
            return;
        }
        let counted = self.heavy.iter_mut().map(|one| (one.1.bytes(), one));
        let Some((least, last)) = counted.min_by_key(|(bytes, _)| *bytes) else {
            return;
        };
        self.bytes_min = least.saturating_add(least / 8).saturating_add(1);
        if total >= self.bytes_min {
            last.0 = key.to_buf();
            last.1.replace(Listed::of(entry));
        }
    }

    /// Another entry stands for a path from now on: it goes on counting where the listed one was.
    pub(crate) fn replaced(&mut self, key: PathKey<'_>, entry: &Rc<Entry>) {
        if let Some(listed) = self.listed(key)
            && !matches!(listed, Listed::Entry(one) if Rc::ptr_eq(one, entry))
        {
            entry.take_bytes(listed.bytes());
            listed.replace(Listed::of(entry));
        }
    }

    fn listed(&mut self, key: PathKey<'_>) -> Option<&mut Listed> {
        let mut all = self.heavy.iter_mut();
        let (_, listed) = all.find(|(kept, _)| key.equivalent(kept))?;
        Some(listed)
    }

    /// An entry is no longer in the path cache.
    pub(crate) fn left(&mut self, entry: &Rc<Entry>) {
        for (_, listed) in &mut self.heavy {
            if matches!(listed, Listed::Entry(one) if Rc::ptr_eq(one, entry)) {
                listed.replace(Listed::Left(entry.byte_count()));
            }
        }
    }

    /// None of them is.
    pub(crate) fn all_left(&mut self) {
        for (_, listed) in &mut self.heavy {
            listed.replace(Listed::Left(listed.bytes()));
        }
    }

    /// Counts requests for a path that waited for a look-up.
    pub(crate) fn waited(&mut self, key: PathKey<'_>, requests: u64) {
        if requests == 0 {
            return;
        }
        if let Some(place) = self.places.get(&key) {
            self.missed[*place].count += requests;
            return;
        }
        let key = key.to_buf();
        let place = self.missed.len();
        if place < COUNTER_COUNT {
            self.places.insert(key.clone(), place);
            self.missed.push(Missed {
                key,
                count: requests,
                excess_max: 0,
            });
            return;
        }
        let counters = self.missed.iter_mut().enumerate();
        if let Some((place, lowest)) = counters.min_by_key(|(_, counter)| counter.count) {
            self.places.remove(&lowest.key);
            self.places.insert(key.clone(), place);
            *lowest = Missed {
                key,
                count: lowest.count + requests,
                excess_max: lowest.count,
            };
        }
    }

    /// The paths with most bytes, the first with most of all.
    pub(crate) fn by_bytes(&self) -> Vec<Heavy> {
        let heavy = self.heavy.iter().map(|(key, entry)| Heavy {
            key: key.clone(),
            bytes: entry.bytes(),
        });
        let mut all: Vec<Heavy> = heavy.collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.bytes));
        all
    }

    /// The paths with most requests that waited, the first with most of all. What may be there by
    /// excess alone is left out.
    pub(crate) fn by_misses(&self) -> Vec<Missed> {
        let mut all: Vec<Missed> = self.missed.clone();
        all.retain(|one| one.count > 2 * one.excess_max);
        all.sort_by_key(|one| std::cmp::Reverse(one.count));
        all.truncate(TOP_COUNT);
        all
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cache::curve::tests::now;
    use crate::cache::entry::Resolution;
    use crate::cache::workload::Random;
    use crate::http::status::Status;
    use crate::site::sites::SiteId;

    fn key(path: &[u8]) -> PathKey<'_> {
        PathKey::new(SiteId::FIRST, path)
    }

    fn entry() -> Rc<Entry> {
        let any = Resolution::Refused(Status::NotFound);
        Rc::new(Entry::trusted(any, &now(), Duration::ZERO))
    }

    /// Every path that has a quarter more than the last of the true list is listed.
    #[test]
    fn what_has_most_bytes_is_listed() {
        let entries: Vec<Rc<Entry>> = (0..500).map(|_| entry()).collect();
        let (mut top, mut random) = (Top::default(), Random(5));
        let mut truth = vec![0; entries.len()];
        let mut entered = 0;
        for _ in 0..200_000 {
            // Low numbers are asked for more often, and all of them for a while equally often.
            let index = (random.next() % 500).min(random.next() % 500) as usize;
            let bytes = random.next() % 100;
            let before = top.by_bytes();
            top.answered(key(index.to_string().as_bytes()), &entries[index], bytes);
            let is_same = before.len() == top.heavy.len()
                && before
                    .iter()
                    .all(|one| top.heavy.iter().any(|(path, _)| *path == one.key));
            entered += usize::from(!is_same);
            truth[index] += bytes;
        }
        let listed = top.by_bytes();
        assert_eq!(listed.len(), TOP_COUNT);
        for one in &listed {
            let index: usize = String::from_utf8_lossy(one.key.path())
                .parse()
                .expect("a number");
            assert_eq!(one.bytes, truth[index]);
        }
        let mut sorted = truth.clone();
        sorted.sort_unstable_by(|one, other| other.cmp(one));
        let last = sorted[TOP_COUNT - 1];
        for (index, bytes) in truth
            .iter()
            .enumerate()
            .filter(|one| *one.1 > last + last / 4)
        {
            let path = index.to_string();
            assert!(
                listed.iter().any(|one| one.key.path() == path.as_bytes()),
                "{path}: {bytes}"
            );
        }
        assert!(entered < 1_000, "{entered} times somebody took a place");
    }

    #[test]
    fn a_path_goes_on_counting_when_its_entry_is_replaced() {
        let (first, second) = (entry(), entry());
        let mut top = Top::default();
        top.answered(key(b"/a"), &first, 100);
        top.replaced(key(b"/a"), &second);
        top.answered(key(b"/a"), &second, 10);
        top.replaced(key(b"/b"), &entry());
        let expected = Heavy {
            key: key(b"/a").to_buf(),
            bytes: 110,
        };
        assert_eq!(top.by_bytes(), [expected]);
    }

    #[test]
    fn a_path_is_listed_once_and_its_entry_kept_only_while_it_is_remembered() {
        let (first, second, third) = (entry(), entry(), entry());
        let mut top = Top::default();
        top.answered(key(b"/a"), &first, 100);
        top.replaced(key(b"/a"), &second);
        // An answer that was under way.
        top.answered(key(b"/a"), &first, 5);
        top.answered(key(b"/a"), &second, 10);
        let bytes = |top: &Top| {
            top.by_bytes()
                .iter()
                .map(|one| one.bytes)
                .collect::<Vec<_>>()
        };
        assert_eq!(bytes(&top), [110]);
        top.left(&second);
        assert_eq!(Rc::strong_count(&second), 1);
        assert_eq!(bytes(&top), [110]);
        top.answered(key(b"/a"), &third, 1);
        assert_eq!(bytes(&top), [111]);
        top.all_left();
        assert_eq!((bytes(&top), Rc::strong_count(&third)), (vec![111], 1));
    }

    #[test]
    fn what_waits_most_is_listed_with_its_error() {
        let (mut top, mut random) = (Top::default(), Random(11));
        let mut truth: std::collections::HashMap<String, u64> =
            std::collections::HashMap::default();
        for round in 0..100_000 {
            let path = match random.next() % 4 {
                0 => format!("/often{}", random.next() % 8),
                _ => format!("/once{round}"),
            };
            *truth.entry(path.clone()).or_default() += 1;
            top.waited(key(path.as_bytes()), 1);
        }
        let listed = top.by_misses();
        assert_eq!(listed.len(), 8, "{listed:?}");
        for one in &listed {
            let path = std::str::from_utf8(one.key.path()).expect("ASCII");
            assert!(path.starts_with("/often"));
            let exact = truth[path];
            assert!(
                (one.count - one.excess_max..=one.count).contains(&exact),
                "{one:?} {exact}"
            );
        }
    }
}
