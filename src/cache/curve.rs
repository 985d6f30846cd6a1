//! What another size would give: a miss-ratio curve, kept live.
//!
//! Miniature simulations (Waldspurger and others, *Cache Modeling and Optimization using Miniature
//! Simulations*, USENIX ATC 2017): for each size a small copy of the real cache, of that size times
//! the sampling rate, that is shown only the keys whose hash is below the rate. It runs the code of
//! the real one (`ranked.rs`) with nothing in it, so it holds for any policy.
//!
//! Only misses are counted, and set against all look-ups (the adjustment of SHARDS, Waldspurger and
//! others, FAST 2015): whether a hot key happens to be sampled then matters little, since it hardly
//! ever misses. For the same reason most requests for a hot key need not be shown to the
//! miniatures: a key that was asked for a moment ago is in each of them. An entry carries the look-up
//! from which on it is to be shown again, so a hit that is not shown costs one comparison.
//!
//! At the size that the cache has, the truth is known, also for the keys that a miniature samples. So
//! a point is not what its miniature missed, but what the cache missed, and how much further its
//! miniature is from the cache, for the same keys, than the miniature of today's size is. That takes out
//! most of what hangs on which keys were drawn, and what the cache misses at any size: files that could not
//! be mapped, pages that the kernel took.

mod miniature;

use miniature::{Miniature, SHIFT_MIN};

use super::ghost::{Ghost, Ghosts};
use super::ranked::Room;
use super::stats::MissReason;

/// Miniatures: today's size in the middle, each twice the size of the one before.
const LEVELS: usize = 9;
/// The one of today's size.
const TODAY: usize = LEVELS / 2;
/// Keys remembered as asked for once, where the second request counts.
const SEEN_COUNT: usize = 1 << 14;
/// Entries of the smallest cache that is worth a curve: smaller ones leave no room to sample.
const COUNT_MIN: u64 = 512;
/// The mean length that is assumed of files before any is known, in bytes.
const LENGTH_ASSUMED: u64 = 4_096;
/// Look-ups before there is a curve.
const LOOK_UPS_MIN: u64 = 4_096;
/// Look-ups after which all that was counted is halved, so that the curve follows the workload.
const HALVE_EVERY: u64 = 1 << 20;
/// When a key is shown again that is not sampled.
pub(super) const NEVER: u64 = u64::MAX;
/// A key is in every miniature for certain for this part of the entries that a full cache holds, in look-ups.
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
    /// The size; one point has that of the cache as it is.
    pub(crate) capacity: u64,
    /// Hits in all look-ups.
    pub(crate) hit_ratio: f64,
    /// The same in bytes of content.
    pub(crate) hit_ratio_bytes: f64,
}

/// Hit ratios by size, from a sixteenth to sixteen times the size of the cache as it is.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Curve {
    /// From the smallest size to the largest.
    pub(crate) points: Vec<CurvePoint>,
    /// What the sizes count.
    pub(crate) unit: Unit,
}

/// From which request on a cache takes a key in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenIn {
    /// At once.
    First,
    /// A file that is asked for once is not mapped.
    Second,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CurvePart {
    /// Among the files, which may take all of the room.
    Main,
    /// Among negative entries, which have a quota.
    Apart,
}

/// A key that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// By which it is sampled.
    pub(super) hash: u64,
    /// Where its entry stands.
    pub(super) place: CurvePart,
    /// The weight of its entry.
    pub(super) weight: u64,
    /// The bytes that it is about.
    pub(super) bytes: u64,
}

/// How much a cache may hold in all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    /// All of it.
    pub(super) room: Room,
    /// Entries that may stand apart, which take room from the others.
    pub(super) apart_count_max: usize,
}

/// What a cache holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding {
    /// Entries.
    pub(super) count: usize,
    /// The sum of their weights.
    pub(super) weight: u64,
}

/// Look-ups or misses, and the bytes that they were about.
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

/// What is kept beside a cache to draw its curve.
#[derive(Debug)]
pub(super) struct Sampler {
    miniatures: [Miniature; LEVELS],
    seen: Option<Ghosts>,
    unit: Unit,
    /// Today's size in it.
    capacity: u64,
    all: Tally,
    missed: Tally,
    look_ups: u64,
}

impl Sampler {
    /// For a cache of entries, or of files up to so many bytes and so many of them. `None`: it is too
    /// small.
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

    /// Counts a miss. Its bytes may be known later only: see
    /// [`show_missed`](Sampler::show_missed).
    pub(super) fn count_miss(&mut self) {
        self.all.add(1, 0);
        self.missed.add(1, 0);
        self.look_ups += 1;
    }

    /// Shows a key whose look-up was counted as a miss. Gives the look-up from which on it is to be shown
    /// again.
    pub(super) fn show_missed(&mut self, key: Key, holding: Holding) -> u64 {
        self.all.bytes += key.bytes;
        self.missed.bytes += key.bytes;
        for miniature in &mut self.miniatures {
            miniature.note_missed_really(&key);
        }
        self.show(key, holding)
    }

    /// Shows a key to the miniatures that sample it. Gives the look-up from which on it is to be
    /// shown again.
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

    /// Entries that the cache would hold if it were full of such as it holds.
    fn count_when_full(&self, holding: Holding) -> u64 {
        match self.unit {
            Unit::Entries => self.capacity,
            Unit::Bytes => {
                let count = (holding.count as u64).max(1);
                self.capacity.saturating_mul(count) / holding.weight.max(1)
            }
        }
    }

    /// Look-ups so far: what [`Slot::due`](super::ranked::Slot::due) is compared with.
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

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        let miniatures: usize = self.miniatures.iter().map(Miniature::bytes).sum();
        size_of::<Sampler>() + miniatures + self.seen.as_ref().map_or(0, Ghosts::bytes)
    }

    /// The curve; `None` until enough was seen.
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
