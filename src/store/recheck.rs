//! Compares entries in use with the disk once every `--recheck`, for writers that produce no events.
//!
//! A hit only notes that its entry is due. Jobs compare many entries each. One job at a time compares watched entries,
//! and another one polled entries, whose storage may not respond.

use std::num::{NonZeroU64, NonZeroUsize};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::RandomState;
use lru::LruCache;

use super::inquiry::{Inquiry, KnownPath};
use super::jobs::{Comparison, NewJob, Promise, Purpose};
use super::stale::PATIENCE;
use super::{Asked, Store};
use crate::cache::entry::{Entry, Resolution};
use crate::clock::Now;
use crate::job::{Compared, Job, OneShot, Recheck, Remembered};
use crate::memory::lru_bytes;
use crate::site::representation::Representation;
use crate::site::sites::Site;
use crate::sys::allocator::block_length;
use crate::sys::file::FileVersion;

/// Maximum number of entries of one job: preparing them takes the loop 0.1 ms.
const BATCH_COUNT_MAX: usize = 64;
/// Maximum number of versions whose content is known to have changed while their times did not.
const EDITED_COUNT_MAX: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// An entry that is due.
#[derive(Debug)]
struct DueEntry {
    site: Rc<Site>,
    raw_path: Box<[u8]>,
    entry: Rc<Entry>,
}

impl DueEntry {
    fn new(known: KnownPath<'_>) -> DueEntry {
        DueEntry {
            site: Rc::clone(known.site),
            raw_path: known.raw_path.into(),
            entry: Rc::clone(known.entry),
        }
    }

    fn known(&self) -> KnownPath<'_> {
        KnownPath {
            site: &self.site,
            raw_path: &self.raw_path,
            entry: &self.entry,
        }
    }
}

/// Entries that are compared by the jobs of one kind.
#[derive(Debug, Default)]
struct Lane {
    waiting: Vec<DueEntry>,
    /// Whether a job is in flight.
    is_busy: bool,
}

impl Lane {
    fn memory_bytes(&self) -> u64 {
        let paths = self.waiting.iter();
        let paths: u64 = paths.map(|due| block_length(due.raw_path.len())).sum();
        paths + block_length(self.waiting.capacity() * size_of::<DueEntry>())
    }
}

/// How changes of a path become known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeNotice {
    ByEvents,
    Never,
}

/// Statistics of the comparisons.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecheckNumbers {
    /// The interval in milliseconds; 0: never.
    pub every_ms: u64,
    /// Entries compared since the start.
    pub compared: u64,
    /// Changed entries among these.
    pub changed: u64,
}

/// The entries to compare, and their results.
#[derive(Debug)]
pub(super) struct Rechecks {
    every: Duration,
    watched: Lane,
    polled: Lane,
    /// The digests of versions whose content has changed while their times did not.
    edited: LruCache<FileVersion, NonZeroU64, RandomState>,
    compared: u64,
    changed: u64,
}

impl Rechecks {
    /// Memory in bytes. O(entries that are due).
    pub(super) fn memory_bytes(&self) -> u64 {
        let edited = size_of::<(FileVersion, NonZeroU64)>();
        self.watched.memory_bytes()
            + self.polled.memory_bytes()
            + lru_bytes(self.edited.len(), edited)
    }

    pub(super) fn new(every: Duration) -> Rechecks {
        Rechecks {
            every,
            watched: Lane::default(),
            polled: Lane::default(),
            edited: LruCache::with_hasher(EDITED_COUNT_MAX, RandomState::default()),
            compared: 0,
            changed: 0,
        }
    }

    /// The digest of the content of a version, if its times do not distinguish it from another one.
    pub(super) fn edited(&self, version: &FileVersion) -> Option<NonZeroU64> {
        match self.edited.is_empty() {
            true => None,
            false => self.edited.peek(version).copied(),
        }
    }

    /// Whether the content of a representation has changed since it was described, while its times did not.
    pub(super) fn is_outdated(&self, representation: &Representation) -> bool {
        let edited = self.edited(&representation.version);
        edited.is_some_and(|digest| representation.identity.is_outdated_by(digest))
    }

    /// Notes the digest of a version that was read again.
    pub(super) fn read(&mut self, version: &FileVersion, digest: Option<NonZeroU64>) {
        if let (Some(edited), Some(digest)) = (self.edited.peek_mut(version), digest) {
            *edited = digest;
        }
    }

    /// Has a watched entry of a file compared `--recheck` after it was confirmed. Names need no comparison: every
    /// change of a name produces an event.
    pub(super) fn plan(&self, entry: &Entry) {
        if self.every > Duration::ZERO && entry.variants().is_some() {
            entry.compare_every(self.every);
        }
    }

    /// Has an entry compared at its next use: there was an event, and the times of its file did not change.
    pub(super) fn plan_soon(&self, entry: &Entry) {
        if self.every > Duration::ZERO && entry.is_watched() {
            entry.compare_every(Duration::ZERO);
        }
    }

    /// Notes that the entry of a file is due.
    fn note_due(&mut self, known: KnownPath<'_>, told: ChangeNotice) {
        if self.every > Duration::ZERO && known.entry.variants().is_some() {
            self.lane(told).waiting.push(DueEntry::new(known));
        }
    }

    /// The next entries to compare, if no job of their lane is in flight.
    fn next_batch(&mut self, told: ChangeNotice) -> Option<Vec<DueEntry>> {
        let lane = self.lane(told);
        if lane.is_busy || lane.waiting.is_empty() {
            return None;
        }
        lane.is_busy = true;
        let left = lane.waiting.len().saturating_sub(BATCH_COUNT_MAX);
        Some(lane.waiting.split_off(left))
    }

    /// Processes the result for an entry.
    fn take_in(&mut self, entry: &Entry, compared: Compared) {
        self.compared += 1;
        match compared {
            Compared::Same => {}
            Compared::Differs => {
                self.changed += 1;
                entry.distrust();
            }
            Compared::Content(version, digest) => {
                self.changed += 1;
                self.edited.put(version, digest);
            }
        }
    }

    fn lane(&mut self, told: ChangeNotice) -> &mut Lane {
        match told {
            ChangeNotice::ByEvents => &mut self.watched,
            ChangeNotice::Never => &mut self.polled,
        }
    }

    /// Statistics of the comparisons.
    pub(super) fn numbers(&self) -> RecheckNumbers {
        RecheckNumbers {
            every_ms: u64::try_from(self.every.as_millis()).unwrap_or(u64::MAX),
            compared: self.compared,
            changed: self.changed,
        }
    }
}

impl Store {
    /// Has a watched entry compared that is due.
    pub(super) fn recheck(&mut self, known: KnownPath<'_>) {
        known.entry.begin_check();
        let rechecks = &mut self.freshness.rechecks;
        rechecks.note_due(known, ChangeNotice::ByEvents);
    }

    /// Has the content of a polled entry compared. Its times are compared more often.
    pub(super) fn recheck_content(&mut self, known: KnownPath<'_>, now: &Now) {
        let rechecks = &mut self.freshness.rechecks;
        let every = rechecks.every;
        if let Some(variants) = known.entry.variants()
            && every > Duration::ZERO
            && self.contents.begin_comparison(variants, every, now)
        {
            rechecks.note_due(known, ChangeNotice::Never);
        }
    }

    /// Has a request wait for the comparison of an entry that was not used for long. `None`: the request is answered
    /// from the entry.
    pub(super) fn wait_for_recheck(
        &mut self,
        known: KnownPath<'_>,
        inquiry: &Inquiry<'_>,
    ) -> Option<Asked> {
        let Inquiry { requester, now, .. } = *inquiry;
        let waiter = (requester.by.id, Promise::Again);
        if let Some((job, comparison)) = self.jobs.comparison(known.key()) {
            let taken = now.monotonic.saturating_duration_since(comparison.begun);
            if taken >= PATIENCE {
                return None;
            }
            self.jobs.join(job, waiter);
            return Some(Asked::Waiting(job));
        }
        let remembered = self.remembered(known)?;
        let recheck = Recheck::new(vec![remembered]);
        let comparison = Comparison {
            key: known.key().to_buf(),
            entry: Rc::clone(known.entry),
            begun: now.monotonic,
        };
        let submitted = self.jobs.submit(NewJob {
            job: Job::OneShot(OneShot::Recheck(recheck), None),
            owner: requester.by.owner,
            purpose: Purpose::Compare(comparison),
            waiter: Some(waiter),
        });
        let job = submitted.ok()?;
        self.freshness.staleness.await_began(job, now);
        Some(Asked::Waiting(job))
    }

    /// Submits jobs that compare the entries that are due.
    pub(crate) fn recheck_waiting(&mut self) {
        for told in [ChangeNotice::ByEvents, ChangeNotice::Never] {
            let Some(batch) = self.freshness.rechecks.next_batch(told) else {
                continue;
            };
            let (mut entries, mut remembered) = (Vec::new(), Vec::new());
            for due in batch {
                if let Some(one) = self.remembered(due.known()) {
                    remembered.push(one);
                    entries.push(due.entry);
                }
            }
            let job = Job::OneShot(OneShot::Recheck(Recheck::new(remembered)), None);
            self.jobs
                .submit_own(job, Purpose::CompareBatch(told, entries));
        }
    }

    /// The cached state of a file, for a comparison.
    fn remembered(&self, known: KnownPath<'_>) -> Option<Remembered> {
        let Resolution::File { variants, seen } = &known.entry.resolution else {
            return None;
        };
        let plan = known.site.policy.plan(known.raw_path).ok()?;
        let content =
            |version: FileVersion| Some((version, self.contents.held.maps.get(&version)?.digest?));
        Some(Remembered {
            root: Arc::clone(&self.freshness.roots.of(known.site.id).root),
            expectations: seen.expectations(&plan, variants),
            contents: variants.versions().filter_map(content).collect(),
        })
    }

    /// Processes the comparison of an entry for which requests wait.
    pub(super) fn compared(&mut self, comparison: &Comparison, compared: &[Compared], now: &Now) {
        let entry = &comparison.entry;
        if let Some(compared) = compared.first() {
            self.take_in(entry, *compared, now);
        }
        // If nothing was compared, no request waits for it again.
        entry.confirm(now, self.paths.cache.generation());
        self.freshness.rechecks.plan(entry);
    }

    /// Processes the comparison of a batch.
    pub(super) fn compared_batch(
        &mut self,
        told: ChangeNotice,
        entries: &[Rc<Entry>],
        compared: &[Compared],
        now: &Now,
    ) {
        self.freshness.rechecks.lane(told).is_busy = false;
        for (entry, compared) in entries.iter().zip(compared) {
            self.take_in(entry, *compared, now);
        }
    }

    fn take_in(&mut self, entry: &Entry, compared: Compared, now: &Now) {
        self.freshness.rechecks.take_in(entry, compared);
        if let Compared::Content(version, _) = compared {
            self.contents.held.maps.remove(&version);
            self.freshness.watch.remove(&version);
        }
        if entry.is_watched() && entry.confirm(now, self.paths.cache.generation()) {
            self.freshness.rechecks.plan(entry);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::status::Status;

    #[test]
    fn one_batch_of_a_lane_is_compared_at_a_time() {
        let mut rechecks = Rechecks::new(Duration::from_secs(60));
        let site = crate::store::jobs::tests::site();
        let entry = Rc::new(crate::store::entry_cost::file_entry(7));
        let missing = Rc::new(Entry::new(Resolution::Refused(Status::NotFound)));
        let known = |entry| KnownPath {
            site: &site,
            raw_path: b"/a",
            entry,
        };
        let told = ChangeNotice::ByEvents;
        rechecks.note_due(known(&missing), told);
        assert!(rechecks.next_batch(told).is_none(), "it leads to no file");
        for _ in 0..=BATCH_COUNT_MAX {
            rechecks.note_due(known(&entry), told);
        }
        assert!(rechecks.next_batch(ChangeNotice::Never).is_none());
        let batch = rechecks.next_batch(told).expect("a batch");
        assert_eq!(batch.len(), BATCH_COUNT_MAX);
        assert!(rechecks.next_batch(told).is_none(), "one is under way");
        rechecks.lane(told).is_busy = false;
        assert_eq!(rechecks.next_batch(told).map(|batch| batch.len()), Some(1));
    }

    #[test]
    fn nothing_is_compared_where_that_is_switched_off() {
        let mut rechecks = Rechecks::new(Duration::ZERO);
        let site = crate::store::jobs::tests::site();
        let entry = Rc::new(crate::store::entry_cost::file_entry(7));
        let known = KnownPath {
            site: &site,
            raw_path: b"/a",
            entry: &entry,
        };
        rechecks.note_due(known, ChangeNotice::ByEvents);
        assert!(rechecks.next_batch(ChangeNotice::ByEvents).is_none());
    }

    #[test]
    fn what_has_changed_without_an_event_is_known_by_its_digest() {
        let mut rechecks = Rechecks::new(Duration::from_secs(60));
        let entry = crate::store::entry_cost::file_entry(7);
        let version = entry.variants().expect("a file").identity.version;
        let digest = |number| NonZeroU64::new(number).expect("not zero");
        rechecks.take_in(&entry, Compared::Same);
        assert_eq!(rechecks.edited(&version), None);
        rechecks.read(&version, Some(digest(1)));
        assert_eq!(rechecks.edited(&version), None, "it was not edited");
        rechecks.take_in(&entry, Compared::Content(version, digest(2)));
        assert_eq!(rechecks.edited(&version), Some(digest(2)));
        rechecks.read(&version, Some(digest(3)));
        assert_eq!(rechecks.edited(&version), Some(digest(3)));
        let numbers = rechecks.numbers();
        assert_eq!((numbers.compared, numbers.changed), (2, 1));
    }
}
