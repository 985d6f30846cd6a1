//! What is remembered of keys that are not held: how often they were asked for, and why they are
//! not there.
//!
//! A table of fixed size, keyed by hash: eight slots to a set, one set to a line of the processor's
//! cache. Where a set is full, the key that was asked for least gives way, so a scan of names that
//! nobody wants twice does not wipe it. Two keys of one hash are taken for one: a count is then too
//! high by a little, and nothing else goes wrong.

use super::stats::MissReason;

/// Slots in a set.
const WAYS: usize = 8;
/// Most slots in a table: half a mebibyte.
const SLOT_COUNT_MAX: usize = 1 << 16;

/// One key. `tag` 0: none.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    tag: u32,
    count: u8,
    epoch: u8,
    fate: u8,
}

/// A key that is not held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ghost {
    /// Why it is not there.
    pub(super) fate: MissReason,
    /// Requests for it, halved once an epoch.
    pub(super) count: u8,
}

/// Keys that are not held.
#[derive(Debug)]
pub(super) struct Ghosts {
    sets: Box<[[Slot; WAYS]]>,
}

/// A count as it stands `epochs` later: halved once an epoch.
pub(super) fn aged(count: u8, since: u8, epoch: u8) -> u8 {
    count
        .checked_shr(u32::from(epoch.wrapping_sub(since)))
        .unwrap_or(0)
}

impl Ghosts {
    /// Room for about `count` keys, within the bound. Untouched memory is not resident.
    pub(super) fn new(count: usize) -> Ghosts {
        let slots = count.clamp(WAYS, SLOT_COUNT_MAX).next_power_of_two();
        Ghosts {
            sets: vec![[Slot::default(); WAYS]; slots / WAYS].into_boxed_slice(),
        }
    }

    /// Bytes of the table.
    pub(super) fn bytes(&self) -> usize {
        size_of_val(&*self.sets)
    }

    /// The set of a hash, and what stands for it there, never 0. The leading bits are left out:
    /// sampling goes by those.
    fn set(&mut self, hash: u64) -> (&mut [Slot; WAYS], u32) {
        let mask = self.sets.len() - 1;
        #[allow(clippy::cast_possible_truncation)]
        let (index, tag) = (hash as usize & mask, (hash >> 20) as u32 | 1);
        (&mut self.sets[index], tag)
    }

    /// What is remembered of a key.
    pub(super) fn recall(&mut self, hash: u64, epoch: u8) -> Option<Ghost> {
        let (set, tag) = self.set(hash);
        let slot = set.iter().find(|slot| slot.tag == tag)?;
        let fate = match slot.fate {
            0 => MissReason::Unknown,
            1 => MissReason::Evicted,
            _ => MissReason::Changed,
        };
        let count = aged(slot.count, slot.epoch, epoch);
        Some(Ghost { fate, count })
    }

    /// Remembers a key, in place of its earlier record.
    pub(super) fn note(&mut self, hash: u64, ghost: Ghost, epoch: u8) {
        let (set, tag) = self.set(hash);
        let worth = |slot: &Slot| match slot.tag {
            0 => 0,
            own if own == tag => -1,
            _ => 1 + i32::from(aged(slot.count, slot.epoch, epoch)),
        };
        if let Some(slot) = set.iter_mut().min_by_key(|slot| worth(slot)) {
            *slot = Slot {
                tag,
                count: ghost.count,
                epoch,
                fate: ghost.fate as u8,
            };
        }
    }

    /// Forgets a key: it is held now.
    pub(super) fn forget(&mut self, hash: u64) {
        let (set, tag) = self.set(hash);
        if let Some(slot) = set.iter_mut().find(|slot| slot.tag == tag) {
            *slot = Slot::default();
        }
    }
}
