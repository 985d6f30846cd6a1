//! The numbers of one cache: counters, the last minute, and the hit ratio that another size would give.
//!
//! A cache tells what happened; this knows neither its keys nor its entries.

use std::time::Instant;

use super::curve::{Curve, Holding, Key, Sampler};
use super::ranked::EvictionOutcome;
use super::stats::{CacheStats, EvictionCause, Minute, MinuteStats, MissReason};

/// Counts what happens to the entries of one cache.
#[derive(Debug, Default)]
pub(super) struct Meter {
    stats: CacheStats,
    minute: Minute,
    /// `None`: no curve is wanted, or the cache is too small for one.
    sampler: Option<Box<Sampler>>,
}

impl Meter {
    /// Draws a curve with this sampler.
    pub(super) fn set_sampler(&mut self, sampler: Option<Sampler>) {
        self.sampler = sampler.map(Box::new);
    }

    /// Notes that time has passed; once an iteration of the loop is enough.
    pub(super) fn tick(&mut self, now: Instant) {
        self.minute.tick(&self.stats, now);
    }

    /// Seconds since the first tick: the time that entries are inserted at.
    pub(super) fn now_s(&self) -> u32 {
        self.minute.age_s()
    }

    /// Counts a look-up of a held entry for the curve. Gives the sampler that the key may have to be shown to.
    #[inline]
    pub(super) fn sampler_at_hit(&mut self, bytes: u64) -> Option<&mut Sampler> {
        let sampler = self.sampler.as_deref_mut()?;
        sampler.count_hit(bytes);
        Some(sampler)
    }

    /// The same, and shows the key if `due`, the look-up from which on it is to be shown again, is reached.
    #[inline]
    pub(super) fn sample_hit(
        &mut self,
        bytes: u64,
        due: &mut u64,
        holding: Holding,
        key: impl FnOnce() -> Key,
    ) {
        if let Some(sampler) = self.sampler_at_hit(bytes)
            && sampler.look_ups() >= *due
        {
            *due = sampler.show(key(), holding);
        }
    }

    /// Counts a look-up that was answered with so many bytes.
    #[inline]
    pub(super) fn note_hit(&mut self, bytes: u64) {
        self.stats.hits += 1;
        self.stats.hit_bytes = self.stats.hit_bytes.saturating_add(bytes);
    }

    /// The last hit turned out to be a miss.
    pub(super) fn take_back_hit(&mut self, bytes: u64, reason: MissReason) {
        self.stats.hits = self.stats.hits.saturating_sub(1);
        self.stats.hit_bytes = self.stats.hit_bytes.saturating_sub(bytes);
        self.stats.note_miss(reason);
        self.stats.note_missed_bytes(bytes);
    }

    /// Counts a look-up whose entry must be checked before it is used.
    pub(super) fn note_expired(&mut self, bytes: u64) {
        self.stats.expired += 1;
        self.stats.misses_by.expired += 1;
        self.stats.note_missed_bytes(bytes);
    }

    /// Counts a look-up that found nothing. How many bytes it was about may be known later.
    pub(super) fn note_miss(&mut self, reason: MissReason) {
        self.stats.note_miss(reason);
        if let Some(sampler) = &mut self.sampler {
            sampler.count_miss();
        }
    }

    /// Counts a miss without a look-up: the file was opened while its path was looked up.
    pub(super) fn note_opened(&mut self, bytes: u64) {
        self.stats.misses += 1;
        self.stats.misses_by.path += 1;
        self.stats.note_missed_bytes(bytes);
    }

    /// Counts the bytes that misses were about.
    pub(super) fn note_missed_bytes(&mut self, bytes: u64) {
        self.stats.note_missed_bytes(bytes);
    }

    /// Shows a key whose miss was counted to the sampler. Gives the look-up from which on it is to be shown again.
    pub(super) fn sample_missed(&mut self, key: Key, holding: Holding) -> u64 {
        let sampler = self.sampler.as_mut();
        sampler.map_or(0, |sampler| sampler.show_missed(key, holding))
    }

    /// Counts an insertion.
    pub(super) fn note_insertion(&mut self) {
        self.stats.insertions += 1;
    }

    /// Counts an insertion in the place of an entry that has led elsewhere.
    pub(super) fn note_change(&mut self) {
        self.stats.note_change();
    }

    /// Counts entries that were dropped because their files have changed.
    pub(super) fn note_dropped(&mut self, count: usize) {
        self.stats.changed += count as u64;
    }

    /// Counts an entry that was given up because nobody will ask for it.
    pub(super) fn note_release(&mut self) {
        self.stats.released += 1;
    }

    /// Counts an entry, inserted at `since_s`, that did not get or keep its room.
    pub(super) fn note_outcome(&mut self, outcome: EvictionOutcome, since_s: u32) {
        match outcome {
            EvictionOutcome::Evicted(cause) => self.note_eviction(cause, since_s),
            EvictionOutcome::Rejected => self.stats.rejected += 1,
        }
    }

    /// Counts an eviction of an entry that was inserted at `since_s`.
    pub(super) fn note_eviction(&mut self, cause: EvictionCause, since_s: u32) {
        let age_s = self.now_s() - since_s;
        self.stats.note_eviction(cause, age_s);
    }

    /// The counters.
    pub(super) fn stats(&self) -> CacheStats {
        self.stats
    }

    /// The last minute.
    pub(super) fn minute(&self) -> MinuteStats {
        self.minute.stats(&self.stats)
    }

    /// Hit ratios at other sizes; `None` without a sampler, or before enough was seen.
    pub(super) fn curve(&self) -> Option<Curve> {
        self.sampler.as_ref()?.curve()
    }

    /// Bytes that are allocated for the curve.
    pub(super) fn curve_bytes(&self) -> u64 {
        let sampler = self.sampler.as_ref();
        sampler.map_or(0, |sampler| sampler.bytes() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cache::curve::{CurvePart, Space, TakenIn, Unit};
    use crate::cache::ranked::Room;

    const HOLDING: Holding = Holding {
        count: 1_000,
        weight: 1_000,
    };

    fn key(hash: u64) -> Key {
        Key {
            hash,
            place: CurvePart::Main,
            weight: 1,
            bytes: 10,
        }
    }

    fn sampled() -> Meter {
        let room = Room {
            weight_max: u64::MAX,
            count_max: 1_000,
        };
        let space = Space {
            room,
            apart_count_max: 0,
        };
        let mut meter = Meter::default();
        meter.set_sampler(Sampler::new(Unit::Entries, space, TakenIn::First));
        meter
    }

    #[test]
    fn each_look_up_is_counted_once() {
        let mut meter = Meter::default();
        meter.note_hit(5);
        meter.note_hit(7);
        meter.take_back_hit(7, MissReason::Evicted);
        meter.note_expired(11);
        meter.note_miss(MissReason::Unknown);
        meter.note_missed_bytes(13);
        meter.note_opened(17);
        let stats = meter.stats();
        let look_ups = (stats.hits, stats.misses, stats.expired);
        assert_eq!(look_ups, (1, 3, 1));
        assert_eq!((stats.hit_bytes, stats.miss_bytes), (5, 7 + 11 + 13 + 17));
        let by = stats.misses_by;
        let reasons = [by.cold, by.evicted, by.expired, by.path, by.changed];
        assert_eq!(reasons, [1, 1, 1, 1, 0]);
    }

    #[test]
    fn the_age_of_an_evicted_entry_is_counted_from_its_insertion() {
        let start = Instant::now();
        let mut meter = Meter::default();
        meter.tick(start);
        let since_s = meter.now_s();
        meter.tick(start + Duration::from_secs(9));
        meter.note_outcome(EvictionOutcome::Evicted(EvictionCause::Bytes), since_s);
        meter.note_eviction(EvictionCause::Shed, meter.now_s());
        meter.note_outcome(EvictionOutcome::Rejected, since_s);
        let stats = meter.stats();
        assert_eq!((stats.evictions, stats.rejected), (2, 1));
        assert_eq!((stats.evictions_by.bytes, stats.evictions_by.shed), (1, 1));
        let buckets = [0, 4].map(|bucket| stats.age_at_eviction_s[bucket]);
        assert_eq!(buckets, [1, 1], "below 1 s and below 16 s");
    }

    #[test]
    fn a_key_is_shown_again_when_it_is_due() {
        let mut meter = sampled();
        // A hash of zeros is in the sample of every size.
        let mut due = 0;
        meter.sample_hit(10, &mut due, HOLDING, || key(0));
        assert!(due > 1, "{due}");
        let first = due;
        for _ in 1..first - 1 {
            meter.sample_hit(10, &mut due, HOLDING, || unreachable!("it is not due"));
        }
        assert_eq!(due, first);
        meter.sample_hit(10, &mut due, HOLDING, || key(0));
        assert!(due > first, "{due}");
    }

    #[test]
    fn there_is_a_curve_where_a_sampler_is() {
        let (mut with, mut without) = (sampled(), Meter::default());
        for meter in [&mut with, &mut without] {
            for _ in 0..10_000 {
                meter.note_miss(MissReason::Unknown);
            }
        }
        assert!(with.curve().is_some() && with.curve_bytes() > 0);
        assert!(without.curve().is_none() && without.curve_bytes() == 0);
        let mut due = 7;
        without.sample_hit(1, &mut due, HOLDING, || unreachable!("nobody samples"));
        assert_eq!((due, without.sample_missed(key(0), HOLDING)), (7, 0));
    }
}
