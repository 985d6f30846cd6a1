//! What a cache counts. One loop owns it, so these are plain numbers.

use std::time::{Duration, Instant};

/// Bounds of the histogram of ages: bucket `i` holds ages below `2^i` seconds that are not below an
/// earlier bound. The last one, 97 days, also holds what is older.
pub(crate) const AGE_BUCKETS: usize = 24;

/// Counters of one cache since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CacheStats {
    // One counter a member of /status.
    /// Look-ups that were answered from the cache.
    pub hits: u64,
    /// Bytes of content that the hits were about.
    pub(crate) hit_bytes: u64,
    /// Look-ups that found nothing.
    pub misses: u64,
    /// Why; what had expired is counted here and in `expired`, not in `misses`.
    pub(crate) misses_by: MissesBy,
    /// Bytes of content that the misses, and what had expired, were about.
    pub(crate) miss_bytes: u64,
    /// Look-ups that found an entry too old to trust, which was then checked.
    pub(crate) expired: u64,
    /// Insertions.
    pub(crate) insertions: u64,
    /// Entries that the main part did not admit, because its own are requested more often.
    pub rejected: u64,
    /// Evictions.
    pub evictions: u64,
    /// Evictions by the limit that caused them.
    pub(crate) evictions_by: EvictionsBy,
    /// How long those had been held: bucket `i` counts ages below `2^i` seconds that are not below
    /// an earlier bound.
    pub(crate) age_at_eviction_s: [u64; AGE_BUCKETS],
    /// Entries dropped because the file had changed.
    pub(crate) changed: u64,
    /// Entries released because no request will need them: a descriptor whose file was mapped or whose path is no
    /// longer cached, or a holder replaced by another of the same version.
    /// Each inserted entry is cached, or was evicted, rejected, changed or released.
    pub(crate) released: u64,
}

/// Why look-ups were not answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct MissesBy {
    /// Never cached, as far as is known.
    pub(crate) cold: u64,
    /// Cached, but expired: revalidated first.
    pub(crate) expired: u64,
    /// Cached until the file changed.
    pub(crate) changed: u64,
    /// Evicted or rejected earlier: a larger cache would have had it.
    pub(crate) evicted: u64,
    /// A descriptor that its path's look-up has opened: the path was not known, or led to another version.
    pub(crate) path: u64,
}

/// Evictions by the limit that caused them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub(crate) struct EvictionsBy {
    /// Bytes.
    pub(crate) bytes: u64,
    /// Entries, mappings or descriptors.
    pub(crate) count: u64,
    /// Paths that lead to nothing, which have a share of their own.
    pub(crate) share: u64,
    /// Descriptors given up so that connections can be taken.
    pub(crate) shed: u64,
    /// Memory: the kernel had taken the pages of a mapping.
    pub(crate) memory: u64,
    /// The budget of all memory.
    pub(crate) budget: u64,
}

/// Which limit evicted an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EvictionCause {
    /// Bytes.
    Bytes,
    /// Entries.
    Count,
    /// The share of paths that lead to nothing.
    Share,
    /// Descriptors for connections.
    Shed,
    /// Memory, which the kernel took.
    Memory,
    /// Memory within the budget.
    Budget,
}

/// Why a key is not cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MissReason {
    /// It never was, as far as is known.
    Unknown,
    /// It was evicted or rejected.
    Evicted,
    /// Its file changed.
    Changed,
}

impl CacheStats {
    /// Counts a look-up that found nothing.
    pub(crate) fn note_miss(&mut self, fate: MissReason) {
        self.misses += 1;
        let by = &mut self.misses_by;
        match fate {
            MissReason::Unknown => by.cold += 1,
            MissReason::Evicted => by.evicted += 1,
            MissReason::Changed => by.changed += 1,
        }
    }

    /// Counts what look-ups that were not answered were about.
    pub(crate) fn note_missed_bytes(&mut self, bytes: u64) {
        self.miss_bytes = self.miss_bytes.saturating_add(bytes);
    }

    /// Counts an eviction, `age_s` seconds after the insertion.
    pub(crate) fn note_eviction(&mut self, cause: EvictionCause, age_s: u32) {
        self.evictions += 1;
        let by = &mut self.evictions_by;
        match cause {
            EvictionCause::Bytes => by.bytes += 1,
            EvictionCause::Count => by.count += 1,
            EvictionCause::Share => by.share += 1,
            EvictionCause::Shed => by.shed += 1,
            EvictionCause::Memory => by.memory += 1,
            EvictionCause::Budget => by.budget += 1,
        }
        let bucket = (u32::BITS - age_s.leading_zeros()) as usize;
        self.age_at_eviction_s[bucket.min(AGE_BUCKETS - 1)] += 1;
    }

    /// Counts an entry that took the place of one for the same key that has led elsewhere.
    pub(crate) fn note_change(&mut self) {
        self.insertions += 1;
        self.changed += 1;
    }

    /// Hits in all look-ups; `None` before the first.
    pub(crate) fn hit_ratio(&self) -> Option<f64> {
        ratio(self.hits, self.hits + self.misses + self.expired)
    }

    /// Bytes of hits in bytes of all look-ups; `None` before the first.
    pub(crate) fn hit_ratio_bytes(&self) -> Option<f64> {
        ratio(self.hit_bytes, self.hit_bytes + self.miss_bytes)
    }
}

/// `part` of `whole`; `None` of nothing. Counts stay far below 2^52, where f64 is exact.
#[allow(clippy::cast_precision_loss)]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A cache over the last minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub(crate) struct MinuteStats {
    /// Look-ups.
    pub(crate) look_ups: u64,
    /// Hits in them; `null` where there were none.
    pub(crate) hit_ratio: Option<f64>,
    /// The same in bytes of content.
    pub(crate) hit_ratio_bytes: Option<f64>,
}

/// Seconds between two samples of the counters.
const SAMPLE_EVERY_S: u32 = 5;
/// Samples in a minute.
const SAMPLE_COUNT: usize = 12;

/// The counters as they stood up to a minute ago.
#[derive(Clone, Copy, Debug)]
struct Sample {
    hits: u64,
    look_ups: u64,
    hit_bytes: u64,
    bytes: u64,
}

impl From<&CacheStats> for Sample {
    fn from(stats: &CacheStats) -> Sample {
        Sample {
            hits: stats.hits,
            look_ups: stats.hits + stats.misses + stats.expired,
            hit_bytes: stats.hit_bytes,
            bytes: stats.hit_bytes + stats.miss_bytes,
        }
    }
}

/// The age of a cache in seconds, and samples of its counters, one every five of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Minute {
    started: Option<Instant>,
    /// When the next second begins.
    next: Option<Instant>,
    age_s: u32,
    /// The age at which the next sample is due.
    sample_s: u32,
    /// From the oldest on.
    samples: Vec<Sample>,
}

impl Minute {
    /// Notes that time has passed. Costs a comparison until a second has.
    pub(crate) fn tick(&mut self, stats: &CacheStats, now: Instant) {
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        let started = *self.started.get_or_insert(now);
        let age_s = now.saturating_duration_since(started).as_secs();
        self.age_s = u32::try_from(age_s).unwrap_or(u32::MAX);
        self.next = Some(started + Duration::from_secs(age_s + 1));
        if self.age_s < self.sample_s {
            return;
        }
        // Nothing was counted while nobody ticked, so all that were missed are like this one.
        let due = (self.age_s - self.sample_s) / SAMPLE_EVERY_S + 1;
        for _ in 0..(due as usize).min(SAMPLE_COUNT) {
            if self.samples.len() == SAMPLE_COUNT {
                self.samples.remove(0);
            }
            self.samples.push(Sample::from(stats));
        }
        self.sample_s += due * SAMPLE_EVERY_S;
    }

    /// Seconds since the first tick.
    pub(crate) fn age_s(&self) -> u32 {
        self.age_s
    }

    /// From the oldest sample to now: between 55 and 60 seconds, or since the start.
    pub(crate) fn stats(&self, stats: &CacheStats) -> MinuteStats {
        let now = Sample::from(stats);
        let then = self.samples.first().copied().unwrap_or(now);
        let look_ups = now.look_ups - then.look_ups;
        MinuteStats {
            look_ups,
            hit_ratio: ratio(now.hits - then.hits, look_ups),
            hit_ratio_bytes: ratio(now.hit_bytes - then.hit_bytes, now.bytes - then.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_the_last_one_even_after_a_silence() {
        let start = Instant::now();
        let (mut minute, mut stats) = (Minute::default(), CacheStats::default());
        let at = |seconds| start + Duration::from_secs(seconds);
        minute.tick(&stats, at(0));
        assert_eq!(minute.stats(&stats), MinuteStats::default());
        for second in 0..120 {
            // The first minute misses, the second one hits three times in four.
            stats.hits += if second < 60 { 0 } else { 3 };
            stats.hit_bytes += if second < 60 { 0 } else { 10 };
            stats.miss_bytes += 10;
            stats.note_miss(MissReason::Unknown);
            minute.tick(&stats, at(second + 1));
            let seen = minute.stats(&stats);
            if second == 58 {
                assert_eq!((seen.look_ups, seen.hit_ratio), (59, Some(0.0)));
            }
        }
        let seen = minute.stats(&stats);
        assert!((220..=240).contains(&seen.look_ups), "{seen:?}");
        assert_eq!(
            (seen.hit_ratio, seen.hit_ratio_bytes),
            (Some(0.75), Some(0.5))
        );
        minute.tick(&stats, at(1_000));
        assert_eq!(minute.stats(&stats), MinuteStats::default());
    }

    #[test]
    fn ages_stand_below_the_first_power_of_two_above_them() {
        #[rustfmt::skip]
        let cases = [
            // age in s, bucket, because
            (0,          0,      "below a second"),
            (1,          1,      "not below one, below two"),
            (2,          2,      "below four"),
            (3,          2,      "below four"),
            (4_194_303,  22,     "the last second below a bound"),
            (u32::MAX,   23,     "older than all"),
        ];
        for (age_s, bucket, because) in cases {
            let mut stats = CacheStats::default();
            stats.note_eviction(EvictionCause::Bytes, age_s);
            assert_eq!(stats.age_at_eviction_s[bucket], 1, "{age_s}: {because}");
            assert_eq!((stats.evictions, stats.evictions_by.bytes), (1, 1));
        }
    }
}
