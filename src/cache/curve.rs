//! Estimated hit ratios at other sizes: a live miss-ratio curve.
//!
//! Miniature simulations (Waldspurger and others, *Cache Modeling and Optimization using Miniature Simulations*,
//! USENIX ATC 2017): each size has a small copy of the real cache, of that size times the sampling rate, which sees
//! only the keys whose hash is below the rate. It runs the code of the real cache (`ranked.rs`) without values, so it
//! is exact for any policy.
//!
//! Only misses are counted, and divided by all lookups (the adjustment of SHARDS, Waldspurger and others, FAST 2015).
//! So it matters little whether a hot key is sampled, since it hardly ever misses. For the same reason most requests
//! for a hot key need not be shown to the miniatures: a key that was requested a moment ago is in each of them. An
//! entry stores the next lookup that has to be shown, so a hit that is not shown costs one comparison.
//!
//! At the current size the real misses are known, also those of the sampled keys. So a point is the misses of the real
//! cache, plus the difference between the misses of its miniature and those of the miniature of the current size, for
//! the same keys. That removes most of the error of sampling, and misses that do not depend on the size: files that
//! could not be mapped, reclaimed pages.

mod miniature;

use miniature::{Miniature, SHIFT_MIN};

use super::ghost::{Ghost, Ghosts};
use super::ranked::Room;
use super::stats::MissReason;

/// Number of miniatures: the current size is in the middle, and each is twice the size of the previous one.
const LEVELS: usize = 9;
/// The miniature of the current size.
const TODAY: usize = LEVELS / 2;
/// Maximum number of keys with one request, in a cache that admits a key at its second request.
const SEEN_COUNT: usize = 1 << 14;
/// Entries of the smallest cache with a curve: smaller ones cannot be sampled.
const COUNT_MIN: u64 = 512;
/// The assumed mean length of files before any is known, in bytes.
const LENGTH_ASSUMED: u64 = 4_096;
/// Lookups before the first curve.
const LOOK_UPS_MIN: u64 = 4_096;
/// Lookups after which all counts are halved, so that the curve follows the workload.
const HALVE_EVERY: u64 = 1 << 20;
/// The next lookup to show of a key that is not sampled.
pub(super) const NEVER: u64 = u64::MAX;
/// A key is certainly in every miniature for this share of the entries of a full cache, counted in lookups.
const CERTAIN_SHARE: u64 = 64;
/// The same for negative entries, whose quota is an eighth of the room.
const CERTAIN_SHARE_APART: u64 = 8 * CERTAIN_SHARE;

/// What the capacity counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    /// Bytes of content.
    Bytes,
    /// Entries.
    Entries,
}

/// One size.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct CurvePoint {
    /// The size; one point has the current size.
    pub(crate) capacity: u64,
    /// Hit ratio.
    pub(crate) hit_ratio: f64,
    /// Byte hit ratio.
    pub(crate) hit_ratio_bytes: f64,
}

/// Hit ratios by size, from a sixteenth to sixteen times the current size.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Curve {
    /// From the smallest size to the largest.
    pub(crate) points: Vec<CurvePoint>,
    /// What the sizes count.
    pub(crate) unit: Unit,
}

/// At which request a cache admits a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenIn {
    /// At the first.
    First,
    /// At the second: a file with one request is not mapped.
    Second,
}

/// The part of the cache that holds an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CurvePart {
    /// The files, which may take all of the capacity.
    Main,
    /// The negative entries, which have a quota.
    Apart,
}

/// A requested key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// The hash by which it is sampled.
    pub(super) hash: u64,
    /// The part of its entry.
    pub(super) place: CurvePart,
    /// The weight of its entry.
    pub(super) weight: u64,
    /// The length of its content in bytes.
    pub(super) bytes: u64,
}

/// The capacity of a cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    /// The whole capacity.
    pub(super) room: Room,
    /// The quota of negative entries, which is a part of it.
    pub(super) apart_count_max: usize,
}

/// The content of a cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    /// Entries.
    pub(super) count: usize,
    /// The sum of their weights.
    pub(super) weight: u64,
}

/// Lookups or misses, and the bytes of their content.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    count: u64,
    bytes: u64,
}

impl Tally {
    fn add(&mut self, count: u64, bytes: u64) {
        self.count += count;
        self.bytes += count.saturating_mul(bytes);
    }

    fn halve(&mut self) {
        self.count /= 2;
        self.bytes /= 2;
    }
}

/// The miniatures and counts for the curve of a cache.
#[derive(Debug)]
pub(super) struct Sampler {
    miniatures: [Miniature; LEVELS],
    seen: Option<Ghosts>,
    unit: Unit,
    /// The current size.
    capacity: u64,
    all: Tally,
    missed: Tally,
    look_ups: u64,
}

impl Sampler {
    /// For a cache with this capacity. `None`: it is too small.
    pub(super) fn new(unit: Unit, space: Space, taken_in: TakenIn) -> Option<Sampler> {
        let Space {
            room,
            apart_count_max,
        } = space;
        let (capacity, entries) = match unit {
            Unit::Entries => (room.count_max as u64, room.count_max as u64),
            Unit::Bytes => (room.weight_max, room.weight_max / LENGTH_ASSUMED),
        };
        if entries < COUNT_MIN {
            return None;
        }
        let miniatures = std::array::from_fn(|level| {
            let by_level = |size: u64| (size << level) >> TODAY;
            let count = |count: usize| {
                let count = match unit {
                    Unit::Entries => by_level(count as u64),
                    Unit::Bytes => count as u64,
                };
                usize::try_from(count).unwrap_or(usize::MAX)
            };
            let space = Space {
                room: Room {
                    weight_max: by_level(room.weight_max),
                    count_max: count(room.count_max),
                },
                apart_count_max: count(apart_count_max),
            };
            Miniature::new(space, by_level(entries))
        });
        Some(Sampler {
            miniatures,
            seen: (taken_in == TakenIn::Second).then(|| Ghosts::new(SEEN_COUNT)),
            unit,
            capacity,
            all: Tally::default(),
            missed: Tally::default(),
            look_ups: 0,
        })
    }

    /// Counts a hit.
    pub(super) fn count_hit(&mut self, bytes: u64) {
        self.all.add(1, bytes);
        self.look_ups += 1;
    }

    /// Counts a miss. Its bytes may be unknown until later: see [`show_missed`](Sampler::show_missed).
    pub(super) fn count_miss(&mut self) {
        self.all.add(1, 0);
        self.missed.add(1, 0);
        self.look_ups += 1;
    }

    /// Shows a key whose lookup was counted as a miss. Returns the next lookup that is to be shown.
    pub(super) fn show_missed(&mut self, key: Key, holding: Holding) -> u64 {
        self.all.bytes += key.bytes;
        self.missed.bytes += key.bytes;
        for miniature in &mut self.miniatures {
            miniature.note_missed_really(&key);
        }
        self.show(key, holding)
    }

    /// Shows a key to the miniatures that sample it. Returns the next lookup that is to be shown.
    pub(super) fn show(&mut self, key: Key, holding: Holding) -> u64 {
        if self.all.count >= HALVE_EVERY {
            self.halve();
        }
        if key.hash.leading_zeros() < SHIFT_MIN {
            return NEVER;
        }
        let may_enter = match &mut self.seen {
            None => true,
            Some(seen) => {
                let known = seen.recall(key.hash, 0).is_some();
                if !known {
                    let (fate, count) = (MissReason::Unknown, 1);
                    seen.note(key.hash, Ghost { fate, count }, 0);
                }
                known
            }
        };
        let mut is_sampled = false;
        for miniature in &mut self.miniatures {
            if miniature.samples(key.hash) {
                is_sampled = true;
                miniature.show(&key, may_enter, self.look_ups);
            }
        }
        let share = match key.place {
            CurvePart::Main => CERTAIN_SHARE,
            CurvePart::Apart => CERTAIN_SHARE_APART,
        };
        match is_sampled {
            true => self.look_ups + self.count_when_full(holding) / share,
            false => NEVER,
        }
    }

    /// Number of entries of a full cache, with the current mean weight.
    fn count_when_full(&self, holding: Holding) -> u64 {
        match self.unit {
            Unit::Entries => self.capacity,
            Unit::Bytes => {
                let count = (holding.count as u64).max(1);
                self.capacity.saturating_mul(count) / holding.weight.max(1)
            }
        }
    }

    /// Lookups so far, for the comparison with [`Slot::due`](super::ranked::Slot::due).
    pub(super) fn look_ups(&self) -> u64 {
        self.look_ups
    }

    fn halve(&mut self) {
        self.all.halve();
        self.missed.halve();
        for miniature in &mut self.miniatures {
            miniature.halve();
        }
    }

    /// Its memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        let miniatures: usize = self.miniatures.iter().map(Miniature::bytes).sum();
        size_of::<Sampler>() + miniatures + self.seen.as_ref().map_or(0, Ghosts::bytes)
    }

    /// The curve; `None` until there were enough lookups.
    pub(super) fn curve(&self) -> Option<Curve> {
        if self.all.count < LOOK_UPS_MIN {
            return None;
        }
        let (all, missed) = (self.all, self.missed);
        let today = &self.miniatures[TODAY];
        let point = |(level, miniature): (usize, &Miniature)| {
            let ratio = |of: fn(Tally) -> u64| {
                let off = |one: &Miniature| signed(of(one.missed)) - signed(of(one.missed_really));
                let missed = signed(of(missed)) + off(miniature) - off(today);
                (1.0 - missed / signed(of(all).max(1))).clamp(0.0, 1.0)
            };
            CurvePoint {
                capacity: (self.capacity << level) >> TODAY,
                hit_ratio: ratio(|tally| tally.count),
                hit_ratio_bytes: ratio(|tally| tally.bytes),
            }
        };
        Some(Curve {
            points: self.miniatures.iter().enumerate().map(point).collect(),
            unit: self.unit,
        })
    }
}

/// Counts stay far below 2^52, where f64 is exact; bytes may be rounded.
#[allow(clippy::cast_precision_loss)]
fn signed(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
pub(super) mod tests;
