//! Deadlines of all connections, in a wheel of slots: arming and firing are O(1), and a connection
//! whose deadline only moves away costs nothing at all.
//!
//! The wheel is lazy. A connection has at most one valid entry, in a slot at or before its deadline. When the slot
//! comes up, the loop compares the real deadline and, if that is later, adds the connection again. So a request on a
//! busy connection touches no timer.
//!
//! An entry becomes stale when its connection is closed, or gets another entry for an earlier deadline. Stale entries
//! are removed, a few with each connection that is closed, while there are more of them than valid ones.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::conn::ConnectionId;
use crate::sys::allocator::block_length;

/// Resolution of the wheel. Deadlines fire up to this much late, never early.
const TICK_MS: u64 = 32;
/// Slots: 2,048 of 32 ms are 65 s. A later deadline is looked at once a turn of the wheel.
const SLOT_COUNT: u64 = 2_048;

/// Number of entries examined with each connection that is closed. A sweep of all ends before as many connections are
/// closed as an eighth of the entries.
const SWEEP_COUNT: usize = 8;
/// Maximum number of slots in one sweep.
const SWEEP_SLOT_COUNT_MAX: usize = 64;
/// Capacity that an empty slot keeps, in entries: 2,048 slots with 16 of them take 512 KiB.
const KEPT_CAPACITY_MAX: usize = 16;

/// The slot of a connection, which distinguishes its valid entry from older ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Armed(u64);

/// The wheel.
#[derive(Debug)]
pub(super) struct Deadlines {
    slots: Vec<Vec<(ConnectionId, Armed)>>,
    start: Instant,
    /// The first tick that was not yet examined.
    current: u64,
    /// All slots before this tick are empty; `None`: all are.
    earliest: Option<u64>,
    /// Entries in all slots.
    count: usize,
    /// Stale entries, in slots or due.
    stale_count: usize,
    /// Where the next sweep begins: a slot and an index in it.
    sweep: (usize, usize),
    /// The deadline that was last asked for, and its tick.
    last_tick: (Instant, u64),
}

impl Deadlines {
    /// An empty wheel.
    pub(super) fn new(start: Instant) -> Deadlines {
        let slots = (0..SLOT_COUNT).map(|_| Vec::new()).collect();
        Deadlines {
            slots,
            start,
            current: 0,
            earliest: None,
            count: 0,
            stale_count: 0,
            sweep: (0, 0),
            last_tick: (start, 0),
        }
    }

    /// Memory of the wheel in bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        let slots = self.slots.iter();
        let slots =
            slots.map(|slot| block_length(slot.capacity() * size_of::<(ConnectionId, Armed)>()));
        slots.sum::<u64>()
            + block_length(self.slots.capacity() * size_of::<Vec<(ConnectionId, Armed)>>())
    }

    /// Makes sure that a connection is examined when `deadline` has passed. Takes its current position and returns the
    /// new one.
    pub(super) fn arm(
        &mut self,
        id: ConnectionId,
        armed: Option<Armed>,
        deadline: Instant,
    ) -> Armed {
        let last = self.current + SLOT_COUNT - 1;
        // Requests that are answered in the same iteration of the loop have the same deadline.
        if self.last_tick.0 != deadline {
            self.last_tick = (deadline, self.tick(deadline));
        }
        let wanted = Armed((self.last_tick.1 + 1).clamp(self.current, last));
        match armed {
            Some(armed) if armed <= wanted => armed,
            _ => {
                self.stale_count += usize::from(armed.is_some());
                self.put(id, wanted);
                wanted
            }
        }
    }

    /// Not inlined: a busy connection has its place already.
    #[inline(never)]
    fn put(&mut self, id: ConnectionId, at: Armed) {
        self.count += 1;
        self.slot(at.0).push((id, at));
        self.earliest = Some(self.earliest.map_or(at.0, |tick| tick.min(at.0)));
    }

    /// Moves all entries of slots that have come up to `due`. The caller checks which of them are valid, and whether
    /// their deadlines have really passed.
    pub(super) fn expire(&mut self, now: Instant, due: &mut VecDeque<(ConnectionId, Armed)>) {
        let today = self.tick(now);
        let Some(earliest) = self.earliest else {
            self.current = self.current.max(today + 1);
            return;
        };
        if today < earliest {
            return;
        }
        let last = today.min(self.current + SLOT_COUNT - 1);
        for tick in earliest..=last {
            let slot = self.slot(tick);
            let count = slot.len();
            due.extend(slot.drain(..));
            slot.shrink_to(KEPT_CAPACITY_MAX);
            self.count -= count;
        }
        self.current = today + 1;
        self.earliest =
            (self.current..self.current + SLOT_COUNT).find(|tick| !self.slot(*tick).is_empty());
    }

    /// Counts a due entry that was stale.
    pub(super) fn passed_over(&mut self) {
        self.stale_count = self.stale_count.saturating_sub(1);
    }

    /// Counts the entry of a closed connection as stale, and continues the sweep if there are many stale entries;
    /// `is_valid` decides about an entry. O(1).
    pub(super) fn leave(&mut self, counts: impl FnMut(ConnectionId, Armed) -> bool) {
        self.stale_count += 1;
        if self.stale_count > self.count.saturating_sub(self.stale_count) {
            self.sweep(counts);
        }
    }

    fn sweep(&mut self, mut counts: impl FnMut(ConnectionId, Armed) -> bool) {
        let (mut entries, mut slots) = (0, 0);
        while entries < SWEEP_COUNT && slots < SWEEP_SLOT_COUNT_MAX {
            let (index, place) = self.sweep;
            let slot = &mut self.slots[index];
            match slot.get(place) {
                Some((id, armed)) if counts(*id, *armed) => self.sweep.1 += 1,
                Some(_) => {
                    slot.swap_remove(place);
                    self.count -= 1;
                    self.stale_count = self.stale_count.saturating_sub(1);
                }
                None => {
                    if slot.len() < slot.capacity() / 4 {
                        slot.shrink_to(KEPT_CAPACITY_MAX);
                    }
                    self.sweep = ((index + 1) % self.slots.len(), 0);
                    slots += 1;
                    continue;
                }
            }
            entries += 1;
        }
    }

    /// When [`expire`](Deadlines::expire) has something to do.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        // One more millisecond, because the wait is in whole ones.
        Some(self.start + Duration::from_millis(self.earliest? * TICK_MS + 1))
    }

    fn tick(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.start).as_millis();
        u64::try_from(since).unwrap_or(u64::MAX / 2) / TICK_MS
    }

    fn slot(&mut self, tick: u64) -> &mut Vec<(ConnectionId, Armed)> {
        let index = usize::try_from(tick % SLOT_COUNT).unwrap_or_default();
        &mut self.slots[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random deadlines against a plain list: none fires early, none is forgotten.
    #[test]
    fn a_deadline_is_looked_at_once_after_it_has_passed() {
        let start = Instant::now();
        let mut wheel = Deadlines::new(start);
        let mut open: Vec<(u32, Instant, Armed)> = Vec::new();
        let mut random = 7_u64;
        let mut at_ms = 0;
        for index in 0..3_000_u32 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let deadline = start + Duration::from_millis(at_ms + (random >> 33) % 90_000);
            let id = ConnectionId {
                index,
                generation: 0,
            };
            let armed = wheel.arm(id, None, deadline);
            open.push((index, deadline, armed));
            at_ms += (random >> 40) % 100;
            let now = start + Duration::from_millis(at_ms);
            let mut due = VecDeque::new();
            wheel.expire(now, &mut due);
            for (id, armed) in due {
                let at = open
                    .iter()
                    .position(|entry| entry.0 == id.index && entry.2 == armed);
                let (index, deadline, _) = open.swap_remove(at.expect("fires once"));
                if deadline > now {
                    open.push((index, deadline, wheel.arm(id, None, deadline)));
                }
            }
            let late = Duration::from_millis(3 * TICK_MS);
            assert!(
                open.iter().all(|(_, deadline, _)| *deadline + late > now),
                "at {at_ms} ms"
            );
        }
    }

    /// Connections come and go long before their deadlines, as with clients that ask once. One stays.
    #[test]
    fn entries_of_closed_connections_take_a_bounded_place() {
        let start = Instant::now();
        let mut wheel = Deadlines::new(start);
        let empty = wheel.memory_bytes();
        let far = start + Duration::from_secs(60);
        let id = |index| ConnectionId {
            index,
            generation: 0,
        };
        let first = id(0);
        let staying = wheel.arm(first, None, far);
        let mut open = VecDeque::new();
        let (mut open_count_max, mut count_max) = (0, 0);
        for index in 1..100_000 {
            let deadline = far - Duration::from_millis(u64::from(index % 1_000));
            open.push_back((id(index), wheel.arm(id(index), None, deadline)));
            if open.len() > 500 || index % 3 == 0 {
                open.pop_front();
                let counts =
                    |id, armed| (id, armed) == (first, staying) || open.contains(&(id, armed));
                wheel.leave(counts);
            }
            open_count_max = open_count_max.max(open.len());
            count_max = count_max.max(wheel.count);
        }
        assert_eq!(open_count_max, 500);
        assert!(count_max < 4 * 500, "{count_max}");
        let bytes = wheel.memory_bytes() - empty;
        assert!(bytes < 64 << 10, "{bytes}");
        let mut due = VecDeque::new();
        wheel.expire(far + Duration::from_secs(1), &mut due);
        let is_due = |entry| due.contains(entry);
        assert!(open.iter().all(is_due) && due.contains(&(first, staying)));
        assert_eq!(wheel.count, 0);
    }

    #[test]
    fn a_deadline_that_moves_away_is_not_armed_again() {
        let start = Instant::now();
        let mut wheel = Deadlines::new(start);
        let id = ConnectionId {
            index: 1,
            generation: 1,
        };
        let first = wheel.arm(id, None, start + Duration::from_secs(1));
        assert_eq!(
            wheel.arm(id, Some(first), start + Duration::from_secs(2)),
            first
        );
        assert!(wheel.arm(id, Some(first), start + Duration::from_millis(100)) < first);
    }

    #[test]
    fn an_empty_wheel_wakes_nobody() {
        assert_eq!(Deadlines::new(Instant::now()).expires_at(), None);
    }
}
