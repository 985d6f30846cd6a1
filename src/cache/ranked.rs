//! The policy of every cache: who stays when there is not room for all.
//!
//! Newcomers stand in a *window*, a tenth of what is held, in order of use. Who leaves it at its far end
//! goes to the *main part*, which takes all other room, in order of use as well. Where there is no
//! room left, the newcomer stays only if it was asked for more often than each of those that would
//! have to go for it, the least recently used first. If it loses, it goes, and the one that it lost
//! to moves to the front, so that the next newcomer has another opponent.
//!
//! So what is asked for once cannot push out what is asked for often, and what is asked for several
//! times within a short while is found in the window. How often a key is asked for is counted in its
//! entry, and while it is not held among the [ghosts](super::ghost); counts are halved once an epoch,
//! ten look-ups for each entry held. A hit moves nothing between lists and allocates nothing.
//!
//! docs/design.md has this compared with others.

use hashbrown::Equivalent;

use super::ghost::{Ghost, Ghosts, aged};
use super::recency::{Member, Recency};
use super::stats::{EvictionCause, MissReason};

/// The share of the window: one part in so many.
const WINDOW_SHARE: u32 = 10;
/// Look-ups in an epoch for each entry held.
const EPOCH_LOOK_UPS: u64 = 10;
/// Entries held at least, for the length of an epoch.
const EPOCH_ENTRIES_MIN: u64 = 16;
/// Entries that a newcomer is compared with at most; it is judged by those.
const OPPONENT_COUNT_MAX: usize = 64;

/// How much may be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// The sum of all weights.
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
    /// By which it is found, and remembered when it has gone.
    pub(super) hash: u64,
    /// The look-up from which on it is to be shown to the sampler.
    pub(super) due: u64,
    /// Time of its insertion, in seconds of the cache.
    pub(super) since_s: u32,
    count: u8,
    epoch: u8,
    part: u8,
    /// That of the time in which it was last looked up.
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

/// Why an entry left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EvictionOutcome {
    /// To make room.
    Evicted(EvictionCause),
    /// It left the window, and the main part had no room for it.
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
    /// Counts times between two looks for what is not used, and begins anew after the last.
    mark: u8,
}

impl<K: Eq, V> Ranked<K, V> {
    /// Nothing yet, and `ghost_count` keys to be remembered when they have gone.
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

    /// The same; a key that is not held is counted as asked for.
    ///
    /// # Errors
    /// When it is not held: what is known of it.
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

    /// Moves the count of look-ups on; epochs follow it.
    pub(super) fn advance_to(&mut self, look_ups: u64) {
        self.look_ups = look_ups;
        if look_ups >= self.epoch_ends {
            self.epoch = self.epoch.wrapping_add(1);
            let entries = (self.len() as u64).max(EPOCH_ENTRIES_MIN);
            self.epoch_ends = look_ups + EPOCH_LOOK_UPS * entries;
        }
    }

    /// Lets the present epoch begin again, because look-ups are counted otherwise from now on.
    pub(super) fn restart_clock(&mut self) {
        self.epoch_ends = 0;
    }

    /// Counts a request for a key that is not held, and gives what is known of it.
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
        // The main part may have grown into room that the window now needs.
        while let Some(cause) = lacks(self.weight, self.len(), self.room) {
            match self.evict() {
                Some((key, slot)) => gone(key, slot, EvictionOutcome::Evicted(cause)),
                None => break,
            }
        }
    }

    /// Takes an entry in that nobody has asked for, where it takes no room from others: in the main
    /// part, behind all that is there. Its key must not be held.
    ///
    /// # Errors
    /// Gives it back where there is none.
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

    /// All keys, the one asked for most first; of those asked for equally often the one
    /// used last, in the main part before the window.
    pub(super) fn hottest(&self) -> Vec<&K> {
        let main = self.parts.newest_first(MAIN);
        let entries = main.chain(self.parts.newest_first(WINDOW));
        let mut counted: Vec<(u8, &K)> = entries
            .map(|(key, slot)| (aged(slot.count, slot.epoch, self.epoch), key))
            .collect();
        counted.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
        counted.into_iter().map(|(_, key)| key).collect()
    }

    /// All that is held: of the main part, then of the window, the most recently used of each first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let main = self.parts.newest_first(MAIN);
        let entries = main.chain(self.parts.newest_first(WINDOW));
        entries.map(|(key, slot)| (key, &slot.value))
    }

    /// All that is held, what is worth least first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = (&K, &V)> {
        let main = self.parts.oldest_first(MAIN);
        let entries = main.chain(self.parts.oldest_first(WINDOW));
        entries.map(|(key, slot)| (key, &slot.value))
    }

    /// Begins another time for [`idle_for`](Ranked::idle_for).
    pub(super) fn advance_mark(&mut self) {
        self.mark = self.mark.wrapping_add(1);
    }

    /// Keys that were not looked up for so many whole times: those that stay though they are not used seem used
    /// once in 256 of them.
    pub(super) fn idle_for(&self, times: u8) -> impl Iterator<Item = &K> {
        let main = self.parts.newest_first(MAIN);
        let all = main.chain(self.parts.newest_first(WINDOW));
        let is_idle = move |slot: &Slot<V>| self.mark.wrapping_sub(slot.mark) > times;
        all.filter(move |(_, slot)| is_idle(slot))
            .map(|(key, _)| key)
    }

    /// Takes an entry that has left the window into the main part, or not. It is counted in
    /// `weight` already, but in no part.
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

    /// A tenth of what is held: while there is room for all, hits are found in the main part.
    fn window_room(&self) -> Room {
        Room {
            weight_max: self.weight / u64::from(WINDOW_SHARE),
            count_max: (self.len() / WINDOW_SHARE as usize).max(1),
        }
    }

    /// What the main part may take with another entry in it: the window's tenth is left alone, even
    /// where it is not used, unless the entry is too long for the rest.
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

    /// Takes an entry out to make room: of the main part, then of the window.
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

    /// Takes an entry out and remembers why.
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

    /// What is remembered of one key is remembered of another from now on.
    pub(super) fn bequeath(&mut self, from: u64, to: u64) {
        if let Some(ghost) = self.ghosts.recall(from, self.epoch) {
            self.ghosts.forget(from);
            self.ghosts.note(to, ghost, self.epoch);
        }
    }

    /// Remembers a key that was held elsewhere.
    pub(super) fn note_departure(&mut self, hash: u64, fate: MissReason) {
        self.ghosts.note(hash, Ghost { fate, count: 1 }, self.epoch);
    }

    fn note_gone(&mut self, slot: &Slot<V>, fate: MissReason) {
        let count = aged(slot.count, slot.epoch, self.epoch);
        self.ghosts
            .note(slot.hash, Ghost { fate, count }, self.epoch);
    }

    /// Gives an entry another value and keeps its rank. Gives the value that it had.
    pub(super) fn replace<Q>(&mut self, key: &Q, hash: u64, value: V) -> Option<V>
    where
        Q: Equivalent<K> + ?Sized,
    {
        let slot = self.parts.peek_mut(key, hash)?;
        Some(std::mem::replace(&mut slot.value, value))
    }

    /// Drops everything, and remembers why.
    pub(super) fn clear(&mut self, fate: MissReason) {
        while let Some((_, slot)) = self.evict() {
            self.note_gone(&slot, fate);
        }
    }

    /// Drops all that `keep` does not want, and remembers nothing of it.
    pub(super) fn retain(&mut self, room: Room, mut keep: impl FnMut(&K) -> bool) {
        self.parts.retain(|key, _| keep(key));
        let [main, window] = [MAIN, WINDOW].map(|part| {
            let slots = self.parts.newest_first(part);
            slots.map(|(_, slot)| slot.weight).sum::<u64>()
        });
        (self.weight, self.window_weight) = (main + window, window);
        self.set_room(room);
    }

    /// Another bound, from the next insertion on.
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

    /// Bytes that the table takes, without those of keys and values; and those of what is remembered of
    /// keys that are not held.
    pub(super) fn bytes(&self) -> (usize, usize) {
        (self.parts.bytes(), self.ghosts.bytes())
    }

    /// The sum of their weights.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }
}

/// What there is not room of.
fn lacks(weight: u64, entries: usize, room: Room) -> Option<EvictionCause> {
    if weight > room.weight_max {
        Some(EvictionCause::Bytes)
    } else if entries > room.count_max {
        Some(EvictionCause::Count)
    } else {
        None
    }
}

/// Counts a request for a key that is not held.
fn note_miss(ghosts: &mut Ghosts, hash: u64, epoch: u8) -> MissReason {
    let known = ghosts.recall(hash, epoch);
    let (fate, count) = known.map_or((MissReason::Unknown, 0), |ghost| (ghost.fate, ghost.count));
    let count = count.saturating_add(1);
    ghosts.note(hash, Ghost { fate, count }, epoch);
    fate
}

#[cfg(test)]
mod tests;
