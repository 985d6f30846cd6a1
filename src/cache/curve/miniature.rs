//! One size of a cache, in miniature: the policy of the real one over a sample of the keys.
//!
//! Holds no values. Like the path cache it has a main part and entries that stand apart, in order of use,
//! bounded by a share of their own and taking room from the others.

use super::{CurvePart, Key, Space, Tally};
use crate::cache::ranked::{Ranked, Room};
use crate::cache::recency::{Member, Recency};
use crate::cache::stats::MissReason;

/// At the start one key in `2^4` is sampled at most,
const SHIFT_START: u32 = 4;
/// and more than that, up to one in `2^2`, where there is room for what a full cache would hold of them.
pub(super) const SHIFT_MIN: u32 = 2;
/// Entries that a miniature may come to hold. More, and it samples half as many keys.
pub(super) const COUNT_MAX: usize = 512;

/// An entry that stands apart, by its hash.
#[derive(Debug)]
struct Apart(u64);

impl Member for Apart {
    fn hash(&self) -> u64 {
        self.0
    }
}

/// One size, in miniature.
#[derive(Debug)]
pub(super) struct Miniature {
    main: Ranked<u64, ()>,
    apart: Recency<u64, Apart>,
    /// Of the cache that it is a miniature of.
    space: Space,
    shift: u32,
    /// What it missed, times what it stands for.
    pub(super) missed: Tally,
    /// Misses of the cache itself for the keys that are sampled here.
    pub(super) missed_really: Tally,
}

impl Miniature {
    /// Of a cache with this room, which would hold about so many entries.
    pub(super) fn new(space: Space, entries: u64) -> Miniature {
        let has_room = |shift: &u32| entries >> shift <= COUNT_MAX as u64;
        let shift = (SHIFT_MIN..SHIFT_START).find(has_room);
        let shift = shift.unwrap_or(SHIFT_START);
        Miniature {
            main: Ranked::new(scaled(space.room, shift), 2 * COUNT_MAX),
            apart: Recency::default(),
            space,
            shift,
            missed: Tally::default(),
            missed_really: Tally::default(),
        }
    }

    /// Whether it is shown keys with this hash.
    pub(super) fn samples(&self, hash: u64) -> bool {
        hash.leading_zeros() >= self.shift
    }

    /// Counts what the cache itself missed, if it is shown such keys.
    pub(super) fn note_missed_really(&mut self, key: &Key) {
        if self.samples(key.hash) {
            self.missed_really.add(1 << self.shift, key.bytes);
        }
    }

    /// Shows it a sampled key, after so many look-ups of the cache.
    pub(super) fn show(&mut self, key: &Key, may_enter: bool, look_ups: u64) {
        self.main.advance_to(look_ups >> self.shift);
        let is_held = match key.place {
            CurvePart::Main => self.main.look_up_or_note(&key.hash, key.hash).is_ok(),
            CurvePart::Apart => self.apart.look_up(&key.hash, key.hash).is_some(),
        };
        if is_held {
            return;
        }
        self.missed.add(1 << self.shift, key.bytes);
        match key.place {
            CurvePart::Main if may_enter => self.insert(key),
            CurvePart::Main => {}
            CurvePart::Apart => self.insert_apart(key),
        }
        while self.main.len() + self.apart.len() > COUNT_MAX {
            self.sample_fewer();
        }
    }

    /// As the caches do it: `ContentCache::insert`, `PathCache::insert_file`.
    fn insert(&mut self, key: &Key) {
        let mut room = scaled(self.space.room, self.shift);
        if key.weight > room.weight_max || room.count_max == 0 {
            return;
        }
        self.apart.remove(&key.hash, key.hash);
        room.count_max -= self.apart.len().min(room.count_max);
        self.main.set_room(room);
        self.main
            .insert(key.hash, key.hash, key.weight, (), 0, &mut |_, _, _| {});
    }

    /// As `PathCache::insert_negative` does it.
    fn insert_apart(&mut self, key: &Key) {
        self.main.note_miss(key.hash);
        self.main.remove(&key.hash, key.hash, MissReason::Changed);
        self.apart.insert(key.hash, Apart(key.hash));
        while self.apart.len() > self.apart_count_max() {
            if let Some((hash, _)) = self.apart.remove_oldest(0) {
                self.main.note_departure(hash, MissReason::Evicted);
            }
        }
        let room = scaled(self.space.room, self.shift);
        while self.main.len() + self.apart.len() > room.count_max {
            if self.main.evict().is_none() {
                break;
            }
        }
    }

    /// Rounded: of the smallest caches next to nothing is left.
    fn apart_count_max(&self) -> usize {
        (self.space.apart_count_max + (1 << self.shift >> 1)) >> self.shift
    }

    fn sample_fewer(&mut self) {
        self.shift += 1;
        let (shift, room) = (self.shift, scaled(self.space.room, self.shift));
        let is_sampled = |hash: &u64| hash.leading_zeros() >= shift;
        self.main.retain(room, is_sampled);
        self.main.restart_clock();
        self.apart.retain(|hash, _| is_sampled(hash));
    }

    /// Lets what was counted so far count for half.
    pub(super) fn halve(&mut self) {
        self.missed.halve();
        self.missed_really.halve();
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        let (entries, ghosts) = self.main.bytes();
        entries + ghosts + self.apart.bytes()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.main.len() + self.apart.len()
    }
}

fn scaled(room: Room, shift: u32) -> Room {
    Room {
        weight_max: room.weight_max >> shift,
        count_max: room.count_max >> shift,
    }
}
