//! Files that are held: mappings and copies, and open descriptors, by the version of the file.
//!
//! Knows which of them may still be used; not what is done with them, and which events drop them.

use std::cell::Cell;
use std::collections::HashSet;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::holdings::{Demand, Holdings, Look, Opened as WasOpened};
use super::probe::Probe;
use super::residency::{TRUST, TRUST_MAPPED};
use crate::cache::curve::TakenIn;
use crate::cache::entry::Entry;
use crate::cache::stats::{EvictionCause, MissReason};
use crate::clock::Now;
use crate::job::{Locking, Opened, ResidencyPolicy};
use crate::settings::{CacheBudget, MapLock};
use crate::site::representation::Variants;
use crate::sys::file::{FileVersion, OpenFile};
use crate::sys::memory::Memory;
use crate::sys::pagemap::Presence;

/// After so many looks without use, a minute, a file is closed: long enough to serve what is asked for now and then
/// from it, short enough for who waits to unmount what it is on.
const IDLE_SWEEP_COUNT: u8 = 4;
/// How often what nobody uses is looked for.
const IDLE_SWEEP: Duration = Duration::from_secs(15);

/// A mapping, and when it was last sent: after a while its pages may have gone.
#[derive(Debug)]
pub(crate) struct CachedFile {
    memory: Rc<Memory>,
    used: Cell<Instant>,
    /// The generation in which it was last known to be watched without a gap.
    generation: Cell<u32>,
    /// The digest of its content, where that is compared.
    pub(super) digest: Option<NonZeroU64>,
    /// When it was last compared.
    compared: Cell<Instant>,
}

impl CachedFile {
    /// A file that was mapped in this generation.
    pub(super) fn new(
        memory: Memory,
        digest: Option<NonZeroU64>,
        generation: u32,
        now: &Now,
    ) -> CachedFile {
        CachedFile {
            memory: Rc::new(memory),
            used: Cell::new(now.monotonic),
            generation: Cell::new(generation),
            digest,
            compared: Cell::new(now.monotonic),
        }
    }
}

/// What it depends on whether a file that is held may be used.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions<'a> {
    pub(super) probe: &'a dyn Probe,
    pub(super) policy: ResidencyPolicy,
    /// The generation of entries.
    pub(super) generation: u32,
    pub(super) now: &'a Now,
}

/// What is known of the mapping of a version.
#[derive(Debug)]
pub(super) enum MappingState {
    /// Its pages are there.
    Usable(Rc<Memory>),
    /// There is none, or it cannot be told whether its pages are there.
    Missing,
    /// Events were lost that may have been about it, so it was dropped.
    Outdated,
    /// Its pages had been taken away, so it was dropped.
    Reclaimed,
}

/// What is known of the descriptor of a version.
#[derive(Debug)]
pub(super) enum DescriptorState {
    /// It was kept, and the file is still of that version.
    Kept(Arc<OpenFile>),
    /// The look-up has just opened it.
    Opened(Arc<OpenFile>),
    /// There is none of that version.
    Missing,
}

/// The files that are held.
#[derive(Debug)]
pub(super) struct Contents {
    /// Their caches.
    pub(super) held: Holdings<CachedFile, Arc<OpenFile>>,
    /// Whether mappings are kept in memory.
    pub(super) locking: Locking,
    /// Mappings dropped because their pages had been taken away.
    pub(super) mappings_gone: u64,
    /// When what nobody uses is let go of next.
    idle_sweep_at: Option<Instant>,
}

impl Contents {
    /// Nothing is held, and at most `descriptor_count_max` files are kept open.
    pub(super) fn new(cache: &CacheBudget, lock: MapLock, descriptor_count_max: usize) -> Contents {
        let mut held = Holdings::new(cache, descriptor_count_max);
        held.maps = held.maps.with_curve(TakenIn::Second);
        Contents {
            held,
            locking: match lock {
                MapLock::On => Locking::Locked,
                MapLock::Off => Locking::Unlocked,
            },
            mappings_gone: 0,
            idle_sweep_at: None,
        }
    }

    /// Tells the caches that time has passed.
    pub(super) fn tick(&mut self, now: Instant) {
        self.held.maps.tick(now);
        self.held.descriptors.tick(now);
    }

    /// The mapping of a version. One whose pages were taken away goes the way of a cold file: it is dropped, read
    /// again, and mapped again.
    ///
    /// After events were lost, a mapping is used again once its version was compared anew, as it was for an entry of
    /// this generation.
    pub(super) fn mapping(
        &mut self,
        version: &FileVersion,
        entry: &Entry,
        look: Look,
        conditions: Conditions<'_>,
    ) -> MappingState {
        let Some(held) = look.at(&mut self.held.maps, version) else {
            return MappingState::Missing;
        };
        if held.generation.get() != conditions.generation {
            if !entry.is_of(conditions.generation) {
                if look == Look::First {
                    self.held.maps.take_back_hit(version, MissReason::Changed);
                }
                self.held.maps.remove(version);
                return MappingState::Outdated;
            }
            held.generation.set(conditions.generation);
        }
        let now = conditions.now.monotonic;
        let used = held.used.replace(now);
        let idle = now.saturating_duration_since(used);
        if idle <= TRUST_MAPPED
            || held.memory.is_kept()
            || conditions.policy == ResidencyPolicy::Any
        {
            return MappingState::Usable(Rc::clone(&held.memory));
        }
        let presence = match conditions.probe.presence(&held.memory.addresses()) {
            Some(presence) => presence,
            None if idle <= TRUST => Presence::Present,
            None => Presence::Absent,
        };
        match presence {
            Presence::Present => return MappingState::Usable(Rc::clone(&held.memory)),
            // Opening the file again may take longer than its pages stay, and storage may not answer.
            Presence::Unknown if idle <= TRUST && !self.held.descriptors.holds(version) => {
                return MappingState::Usable(Rc::clone(&held.memory));
            }
            // The file is sent like one that is not mapped, this once.
            Presence::Unknown => {
                held.used.set(used);
                return MappingState::Missing;
            }
            Presence::Absent => {}
        }
        if look == Look::First {
            self.held.maps.take_back_hit(version, MissReason::Evicted);
        }
        self.held.maps.push_out(version, EvictionCause::Memory);
        self.mappings_gone += 1;
        MappingState::Reclaimed
    }

    /// A descriptor of a version: one just opened, or a kept one that is still of that version.
    pub(super) fn descriptor(
        &mut self,
        version: &FileVersion,
        opened: &[Opened],
        look: Look,
        probe: &dyn Probe,
    ) -> DescriptorState {
        if let Some(fresh) = opened.iter().find(|opened| opened.version == *version) {
            self.held.descriptor(version, WasOpened::Yes, look);
            // It may have been opened long ago: its job waited for others, and its bytes for the disk.
            return match was_written_to(fresh, probe) {
                true => DescriptorState::Missing,
                false => DescriptorState::Opened(Arc::clone(&fresh.file)),
            };
        }
        let kept = self.held.descriptor(version, WasOpened::No, look);
        let Some(file) = kept.map(Arc::clone) else {
            return DescriptorState::Missing;
        };
        if self.is_still(&file, version, probe) {
            return DescriptorState::Kept(file);
        }
        if look == Look::First {
            self.held
                .descriptors
                .take_back_hit(version, MissReason::Changed);
        }
        DescriptorState::Missing
    }

    /// Whether a kept file is still of its version; if it is known not to be, it is kept no longer.
    pub(super) fn is_still(
        &mut self,
        file: &OpenFile,
        version: &FileVersion,
        probe: &dyn Probe,
    ) -> bool {
        let Ok(now) = probe.describe(file) else {
            return false;
        };
        let is_still = now.version == *version;
        if !is_still {
            self.held.descriptors.remove(version);
        }
        is_still
    }

    /// Whether a file that is kept open is of another version by now.
    pub(super) fn is_replaced(&mut self, version: &FileVersion, probe: &dyn Probe) -> bool {
        let kept = self.held.descriptors.get(version).map(Arc::clone);
        kept.is_some_and(|file| !self.is_still(&file, version, probe))
    }

    /// Keeps descriptors of files that were opened.
    pub(super) fn keep_open(&mut self, opened: &[Opened], demand: Demand) {
        for Opened { file, version, .. } in opened {
            self.held.keep_open(*version, Arc::clone(file), demand);
        }
    }

    /// Whether there is room for the mapping of a file for which nobody has asked.
    pub(super) fn has_room_ahead(&self, version: &FileVersion) -> bool {
        let budget = self.held.maps.budget();
        version.length > 0
            && self.held.is_mappable(version)
            && self.held.maps.bytes() + version.length <= budget.bytes_max
            && self.held.maps.entry_count() < budget.count_max
            && !self.held.maps.holds(version)
    }

    /// Whether a file is mapped and was not compared for so long, or one of its variants. Then all of them count as
    /// compared now.
    pub(super) fn begin_comparison(&self, variants: &Variants, every: Duration, now: &Now) -> bool {
        let held = || {
            let versions = variants.versions();
            versions.filter_map(|version| self.held.maps.get(&version))
        };
        let is_due = held().any(|held| now.monotonic >= held.compared.get() + every);
        if is_due {
            held().for_each(|held| held.compared.set(now.monotonic));
        }
        is_due
    }

    /// When the next look for what nobody uses is due.
    pub(super) fn idle_timeout(&self, now: Instant) -> Option<Duration> {
        let is_any = self.held.descriptors.entry_count() + self.held.maps.entry_count() > 0;
        let at = self.idle_sweep_at.filter(|_| is_any)?;
        Some(at.saturating_duration_since(now))
    }

    /// Closes files that nobody has asked for in a while, and unmaps those of other devices than that of the root,
    /// which cannot be unmounted anyway while it is served. Gives the versions that are mapped no more.
    pub(super) fn drop_idle(
        &mut self,
        root_devices: impl FnOnce() -> HashSet<u64>,
        now: Instant,
    ) -> Vec<FileVersion> {
        let at = *self.idle_sweep_at.get_or_insert(now + IDLE_SWEEP);
        if now < at {
            return Vec::new();
        }
        self.idle_sweep_at = Some(now + IDLE_SWEEP);
        for version in self.held.descriptors.idle_for(IDLE_SWEEP_COUNT) {
            self.held.descriptors.release(&version);
        }
        let mut idle = self.held.maps.idle_for(IDLE_SWEEP_COUNT);
        if !idle.is_empty() {
            let root_devices = root_devices();
            idle.retain(|version| !root_devices.contains(&version.device));
        }
        for version in &idle {
            self.held.maps.release(version);
        }
        idle
    }
}

/// Whether the content of a file was written over since it was opened. What can no longer be described counts as
/// written over.
pub(super) fn was_written_to(opened: &Opened, probe: &dyn Probe) -> bool {
    let now = probe.describe(&opened.file);
    now.map_or(true, |now| opened.version.was_rewritten(&now.version))
}

#[cfg(test)]
mod tests;
