//! The admission and eviction policy of all caches.
//!
//! New entries are in the *window*, a tenth of the cache, in order of use. An entry that leaves the window at its end
//! goes to the *main part*, which has the other nine tenths, in order of use as well. If the cache is full, the entry
//! is admitted only if it was requested more often than each of the entries that would be evicted for it, the least
//! recently used first. If it loses, it is evicted, and the entry that it lost to moves to the front, so that the next
//! candidate is compared with another one.
//!
//! So entries with one request cannot evict entries with many, and entries with several requests within a short time
//! are found in the window. The requests of a key are counted in its entry, and while it is not cached among the
//! [ghosts](super::ghost). Counts are halved once an epoch, which is ten lookups for each cached entry. A hit moves
//! nothing between lists and allocates nothing.
//!
//! docs/design.md compares this with other policies.

use hashbrown::Equivalent;

use super::ghost::{Ghost, Ghosts, aged};
use super::recency::{Member, Recency};
use super::stats::{EvictionCause, MissReason};

/// The window is one part in so many of the cache.
const WINDOW_SHARE: u32 = 10;
/// Lookups in an epoch for each cached entry.
const EPOCH_LOOK_UPS: u64 = 10;
/// Minimum number of entries for the length of an epoch.
const EPOCH_ENTRIES_MIN: u64 = 16;
/// Maximum number of entries with which a candidate is compared.
const OPPONENT_COUNT_MAX: usize = 64;

/// Capacity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Maximum sum of all weights.
    pub(super) weight_max: u64,
    /// Entries.
    pub(super) count_max: usize,
}

/// One entry.
#[derive(Debug)]
pub(super) struct Slot<V> {
    /// The cached value.
    pub(super) value: V,
    /// Its share of the capacity.
    pub(super) weight: u64,
    /// The hash of its key, which is kept after its eviction.
    pub(super) hash: u64,
    /// The next lookup that is shown to the sampler.
    pub(super) due: u64,
    /// Time of its insertion, in seconds of the cache.
    pub(super) since_s: u32,
    count: u8,
    epoch: u8,
    part: u8,
    /// The interval in which it was last looked up.
    mark: u8,
}

impl<V> Member for Slot<V> {
    fn hash(&self) -> u64 {
        self.hash
    }

    fn list(&self) -> u8 {
        self.part
    }
}

/// The lists of the two parts.
const MAIN: u8 = 0;
const WINDOW: u8 = 1;

/// Why an entry was evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EvictionOutcome {
    /// For other entries.
    Evicted(EvictionCause),
    /// It left the window and was not admitted to the main part.
    Rejected,
}

/// Entries in two parts, bounded in weight and count.
#[derive(Debug)]
pub(super) struct Ranked<K, V> {
    parts: Recency<K, Slot<V>, 2>,
    weight: u64,
    window_weight: u64,
    room: Room,
    ghosts: Ghosts,
    look_ups: u64,
    epoch: u8,
    epoch_ends: u64,
    /// The number of the current interval of [`idle_for`](Ranked::idle_for), modulo 256.
    mark: u8,
}

impl<K: Eq, V> Ranked<K, V> {
    /// An empty cache that counts the requests of `ghost_count` evicted keys.
    pub(super) fn new(room: Room, ghost_count: usize) -> Ranked<K, V> {
        Ranked {
            parts: Recency::default(),
            weight: 0,
            window_weight: 0,
            room,
            ghosts: Ghosts::new(ghost_count),
            look_ups: 0,
            epoch: 0,
            epoch_ends: EPOCH_LOOK_UPS * EPOCH_ENTRIES_MIN,
            mark: 0,
        }
    }

    /// The entry of a key with this hash, marked as used.
    pub(super) fn look_up<Q>(&mut self, key: &Q, hash: u64) -> Option<&mut Slot<V>>
    where
        Q: Equivalent<K> + ?Sized,
    {
        self.advance_to(self.look_ups + 1);
        let epoch = self.epoch;
        let slot = self.parts.look_up(key, hash)?;
        slot.count = aged(slot.count, slot.epoch, epoch).saturating_add(1);
        slot.epoch = epoch;
        Some(slot)
    }

    /// The same; counts the request of a key that is not cached.
    ///
    /// # Errors
    /// The key is not cached: the reason of the miss.
    pub(super) fn look_up_or_note(
        &mut self,
        key: &K,
        hash: u64,
    ) -> Result<&mut Slot<V>, MissReason> {
        self.advance_to(self.look_ups + 1);
        let epoch = self.epoch;
        match self.parts.look_up(key, hash) {
            Some(slot) => {
                slot.count = aged(slot.count, slot.epoch, epoch).saturating_add(1);
                slot.epoch = epoch;
                slot.mark = self.mark;
                Ok(slot)
            }
            None => Err(note_miss(&mut self.ghosts, hash, epoch)),
        }
    }

    /// Counts a lookup; epochs follow this count.
    pub(super) fn advance_to(&mut self, look_ups: u64) {
        self.look_ups = look_ups;
        if look_ups >= self.epoch_ends {
            self.epoch = self.epoch.wrapping_add(1);
            let entries = (self.len() as u64).max(EPOCH_ENTRIES_MIN);
            self.epoch_ends = look_ups + EPOCH_LOOK_UPS * entries;
        }
    }

    /// Restarts the current epoch, because lookups are counted differently from now on.
    pub(super) fn restart_clock(&mut self) {
        self.epoch_ends = 0;
    }

    /// Counts a request for a key that is not cached. Returns the reason of the miss.
    pub(super) fn note_miss(&mut self, hash: u64) -> MissReason {
        note_miss(&mut self.ghosts, hash, self.epoch)
    }

    /// Inserts an entry; its key must not be cached. Evicted entries, perhaps the new one, are
    /// passed to `gone`.
    pub(super) fn insert(
        &mut self,
        key: K,
        hash: u64,
        weight: u64,
        value: V,
        since_s: u32,
        gone: &mut impl FnMut(K, Slot<V>, EvictionOutcome),
    ) {
        let ghost = self.ghosts.recall(hash, self.epoch);
        self.ghosts.forget(hash);
        let slot = Slot {
            value,
            weight,
            hash,
            due: 0,
            since_s,
            mark: self.mark,
            count: ghost.map_or(1, |ghost| ghost.count.max(1)),
            epoch: self.epoch,
            part: WINDOW,
        };
        self.weight += weight;
        if weight > self.window_room().weight_max {
            self.contend(key, slot, gone);
        } else {
            self.window_weight += weight;
            self.parts.insert(key, slot);
        }
        while lacks(self.window_weight, self.window_count(), self.window_room()).is_some() {
            let Some((key, slot)) = self.parts.remove_oldest(WINDOW) else {
                break;
            };
            self.window_weight -= slot.weight;
            self.contend(key, slot, gone);
        }
        // The main part may occupy capacity that the window needs now.
        while let Some(cause) = lacks(self.weight, self.len(), self.room) {
            match self.evict() {
                Some((key, slot)) => gone(key, slot, EvictionOutcome::Evicted(cause)),
                None => break,
            }
        }
    }

    /// Inserts a prefetched entry if that needs no eviction: at the end of the main part. Its key must not be cached.
    ///
    /// # Errors
    /// There is no room; the value is returned.
    pub(super) fn fill(
        &mut self,
        key: K,
        hash: u64,
        weight: u64,
        value: V,
        since_s: u32,
    ) -> Result<(), V> {
        let main = self.weight - self.window_weight + weight;
        if lacks(main, self.main_count() + 1, self.main_room(weight)).is_some() {
            return Err(value);
        }
        let slot = Slot {
            value,
            weight,
            hash,
            due: 0,
            since_s,
            mark: self.mark,
            count: 1,
            epoch: self.epoch,
            part: MAIN,
        };
        self.weight += weight;
        self.parts.insert_oldest(key, slot);
        Ok(())
    }

    /// All keys in descending order of requests; among equals the most recently used first, and the main part before
    /// the window.
    pub(super) fn hottest(&self) -> Vec<&K> {
        let main = self.parts.newest_first(MAIN);
        let entries = main.chain(self.parts.newest_first(WINDOW));
        let mut counted: Vec<(u8, &K)> = entries
            .map(|(key, slot)| (aged(slot.count, slot.epoch, self.epoch), key))
            .collect();
        counted.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        counted.into_iter().map(|(_, key)| key).collect()
    }

    /// All entries of the main part, then of the window, the most recently used of each first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let main = self.parts.newest_first(MAIN);
        let entries = main.chain(self.parts.newest_first(WINDOW));
        entries.map(|(key, slot)| (key, &slot.value))
    }

    /// All entries, the least valuable first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = (&K, &V)> {
        let main = self.parts.oldest_first(MAIN);
        let entries = main.chain(self.parts.oldest_first(WINDOW));
        entries.map(|(key, slot)| (key, &slot.value))
    }

    /// Begins another interval for [`idle_for`](Ranked::idle_for).
    pub(super) fn advance_mark(&mut self) {
        self.mark = self.mark.wrapping_add(1);
    }

    /// Keys without a lookup for this number of whole intervals. An unused entry seems used once in 256 intervals.
    pub(super) fn idle_for(&self, times: u8) -> impl Iterator<Item = &K> {
        let main = self.parts.newest_first(MAIN);
        let all = main.chain(self.parts.newest_first(WINDOW));
        let is_idle = move |slot: &Slot<V>| self.mark.wrapping_sub(slot.mark) > times;
        all.filter(move |(_, slot)| is_idle(slot))
            .map(|(key, _)| key)
    }

    /// Admits an entry that has left the window to the main part, or rejects it. It is counted in `weight` already,
    /// but in no part.
    fn contend(
        &mut self,
        key: K,
        mut slot: Slot<V>,
        gone: &mut impl FnMut(K, Slot<V>, EvictionOutcome),
    ) {
        let room = self.main_room(slot.weight);
        if !self.wins(&slot, room) {
            self.weight -= slot.weight;
            self.note_gone(&slot, MissReason::Evicted);
            self.parts.renew_oldest(MAIN);
            gone(key, slot, EvictionOutcome::Rejected);
            return;
        }
        while let Some(cause) = lacks(
            self.weight - self.window_weight,
            self.main_count() + 1,
            room,
        ) {
            let Some((key, victim)) = self.parts.remove_oldest(MAIN) else {
                break;
            };
            self.weight -= victim.weight;
            self.note_gone(&victim, MissReason::Evicted);
            gone(key, victim, EvictionOutcome::Evicted(cause));
        }
        slot.part = MAIN;
        self.parts.insert(key, slot);
    }

    /// Whether an entry was requested more often than each entry that would be evicted for it.
    fn wins(&self, slot: &Slot<V>, room: Room) -> bool {
        let count = aged(slot.count, slot.epoch, self.epoch);
        let mut weight = self.weight - self.window_weight;
        let mut entries = self.main_count() + 1;
        for (_, opponent) in self.parts.oldest_first(MAIN).take(OPPONENT_COUNT_MAX) {
            if lacks(weight, entries, room).is_none() {
                break;
            }
            if aged(opponent.count, opponent.epoch, self.epoch) >= count {
                return false;
            }
            weight -= opponent.weight;
            entries -= 1;
        }
        true
    }

    /// A tenth of the entries: while the cache is not full, most hits are in the main part.
    fn window_room(&self) -> Room {
        Room {
            weight_max: self.weight / u64::from(WINDOW_SHARE),
            count_max: (self.len() / WINDOW_SHARE as usize).max(1),
        }
    }

    /// Capacity of the main part with another entry in it. The tenth of the window is reserved, even if it is not
    /// used, unless the entry is too long for the rest.
    fn main_room(&self, weight: u64) -> Room {
        let Room {
            weight_max,
            count_max,
        } = self.room;
        let main = weight_max - weight_max / u64::from(WINDOW_SHARE);
        Room {
            weight_max: match weight > main {
                true => weight_max.saturating_sub(self.window_weight),
                false => main.min(weight_max - self.window_weight.min(weight_max)),
            },
            count_max: count_max
                .saturating_sub((count_max / WINDOW_SHARE as usize).max(self.window_count())),
        }
    }

    /// Evicts an entry: of the main part, then of the window.
    pub(super) fn evict(&mut self) -> Option<(K, Slot<V>)> {
        let oldest = self.parts.remove_oldest(MAIN);
        let (key, slot) = oldest.or_else(|| self.parts.remove_oldest(WINDOW))?;
        if slot.list() == WINDOW {
            self.window_weight -= slot.weight;
        }
        self.weight -= slot.weight;
        self.note_gone(&slot, MissReason::Evicted);
        Some((key, slot))
    }

    /// Removes an entry and notes the reason.
    pub(super) fn remove<Q>(&mut self, key: &Q, hash: u64, fate: MissReason) -> Option<Slot<V>>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let (_, slot) = self.parts.remove(key, hash)?;
        if slot.list() == WINDOW {
            self.window_weight -= slot.weight;
        }
        self.weight -= slot.weight;
        self.note_gone(&slot, fate);
        Some(slot)
    }

    /// Moves the count of one evicted key to another key.
    pub(super) fn bequeath(&mut self, from: u64, to: u64) {
        if let Some(ghost) = self.ghosts.recall(from, self.epoch) {
            self.ghosts.forget(from);
            self.ghosts.note(to, ghost, self.epoch);
        }
    }

    /// Counts a key that another table held.
    pub(super) fn note_departure(&mut self, hash: u64, fate: MissReason) {
        self.ghosts.note(hash, Ghost { fate, count: 1 }, self.epoch);
    }

    fn note_gone(&mut self, slot: &Slot<V>, fate: MissReason) {
        let count = aged(slot.count, slot.epoch, self.epoch);
        self.ghosts
            .note(slot.hash, Ghost { fate, count }, self.epoch);
    }

    /// Replaces the value of an entry and keeps its rank. Returns the previous value.
    pub(super) fn replace<Q>(&mut self, key: &Q, hash: u64, value: V) -> Option<V>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let slot = self.parts.peek_mut(key, hash)?;
        Some(std::mem::replace(&mut slot.value, value))
    }

    /// Removes everything and notes the reason.
    pub(super) fn clear(&mut self, fate: MissReason) {
        while let Some((_, slot)) = self.evict() {
            self.note_gone(&slot, fate);
        }
    }

    /// Removes all entries that `keep` rejects, without counts.
    pub(super) fn retain(&mut self, room: Room, mut keep: impl FnMut(&K) -> bool) {
        self.parts.retain(|key, _| keep(key));
        let [main, window] = [MAIN, WINDOW].map(|part| {
            let slots = self.parts.newest_first(part);
            slots.map(|(_, slot)| slot.weight).sum::<u64>()
        });
        (self.weight, self.window_weight) = (main + window, window);
        self.set_room(room);
    }

    /// Sets the capacity, from the next insertion on.
    pub(super) fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    /// The value of a key; does not count as a use.
    pub(super) fn get<Q>(&self, key: &Q, hash: u64) -> Option<&V>
    where
        Q: Equivalent<K> + ?Sized,
    {
        Some(&self.parts.peek(key, hash)?.value)
    }

    /// Entries.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    fn main_count(&self) -> usize {
        self.parts.count(MAIN)
    }

    fn window_count(&self) -> usize {
        self.parts.count(WINDOW)
    }

    /// Memory of the table without keys and values, and memory of the counts of evicted keys, in bytes.
    pub(super) fn bytes(&self) -> (usize, usize) {
        (self.parts.bytes(), self.ghosts.bytes())
    }

    /// The sum of their weights.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }
}

/// What exceeds the capacity.
fn lacks(weight: u64, entries: usize, room: Room) -> Option<EvictionCause> {
    if weight > room.weight_max {
        Some(EvictionCause::Bytes)
    } else if entries > room.count_max {
        Some(EvictionCause::Count)
    } else {
        None
    }
}

/// Counts a request for a key that is not cached.
fn note_miss(ghosts: &mut Ghosts, hash: u64, epoch: u8) -> MissReason {
    let known = ghosts.recall(hash, epoch);
    let (fate, count) = known.map_or((MissReason::Unknown, 0), |ghost| (ghost.fate, ghost.count));
    let count = count.saturating_add(1);
    ghosts.note(hash, Ghost { fate, count }, epoch);
    fate
}

#[cfg(test)]
mod tests;
