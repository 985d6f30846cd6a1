//! Cached files: mappings, copies and open descriptors, by the version of the file.
//!
//! Knows which of them are still usable. Does not know what they are used for, nor which events invalidate them.

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

/// A file is closed after so many sweeps without use, which is a minute: long enough for files that are requested now
/// and then, short enough for an operator who waits to unmount their file system.
const IDLE_SWEEP_COUNT: u8 = 4;
/// Interval between two sweeps for unused files.
const IDLE_SWEEP: Duration = Duration::from_secs(15);

/// A mapping, and the time of its last use: the kernel may reclaim its pages after a while.
#[derive(Debug)]
pub(crate) struct CachedFile {
    memory: Rc<Memory>,
    used: Cell<Instant>,
    /// The last generation in which it was watched without a gap.
    generation: Cell<u32>,
    /// The digest of its content, if `--recheck` compares it.
    pub(super) digest: Option<NonZeroU64>,
    /// The time of the last comparison.
    compared: Cell<Instant>,
}

impl CachedFile {
    /// A file that was mapped in this generation of entries.
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

/// What decides whether a cached file is usable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions<'a> {
    pub(super) probe: &'a dyn Probe,
    pub(super) policy: ResidencyPolicy,
    /// The current generation of entries.
    pub(super) generation: u32,
    pub(super) now: &'a Now,
}

/// The state of the mapping of a version.
#[derive(Debug)]
pub(super) enum MappingState {
    /// Its pages are resident.
    Usable(Rc<Memory>),
    /// There is no mapping, or it is unknown whether its pages are resident.
    Missing,
    /// It was dropped, because lost events may have concerned it.
    Outdated,
    /// It was dropped, because the kernel had reclaimed its pages.
    Reclaimed,
}

/// The state of the descriptor of a version.
#[derive(Debug)]
pub(super) enum DescriptorState {
    /// It was cached, and the file still has that version.
    Kept(Arc<OpenFile>),
    /// The lookup has just opened it.
    Opened(Arc<OpenFile>),
    /// There is no descriptor of that version.
    Missing,
}

/// The cached files.
#[derive(Debug)]
pub(super) struct Contents {
    /// The file cache and the open-file cache.
    pub(super) held: Holdings<CachedFile, Arc<OpenFile>>,
    /// Whether mappings are locked in memory.
    pub(super) locking: Locking,
    /// Number of mappings that were dropped because the kernel had reclaimed their pages.
    pub(super) mappings_gone: u64,
    /// Time of the next sweep for unused files.
    idle_sweep_at: Option<Instant>,
}

impl Contents {
    /// Empty caches with at most `descriptor_count_max` open files.
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

    /// Advances the clocks of the caches.
    pub(super) fn tick(&mut self, now: Instant) {
        self.held.maps.tick(now);
        self.held.descriptors.tick(now);
    }

    /// The mapping of a version. If the kernel has reclaimed its pages, the file is treated as a cold one: its mapping
    /// is dropped, the file is read, and mapped again.
    ///
    /// After a loss of events, a mapping is usable again once its version was compared, which an entry of this
    /// generation proves.
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
        // Almost every hit: its pages cannot go.
        if held.memory.is_kept() || conditions.policy == ResidencyPolicy::Any {
            return MappingState::Usable(Rc::clone(&held.memory));
        }
        let idle = now.saturating_duration_since(used);
        if idle <= TRUST_MAPPED {
            return MappingState::Usable(Rc::clone(&held.memory));
        }
        let presence = match conditions.probe.presence(&held.memory.addresses()) {
            Some(presence) => presence,
            None if idle <= TRUST => Presence::Present,
            None => Presence::Absent,
        };
        match presence {
            Presence::Present => return MappingState::Usable(Rc::clone(&held.memory)),
            // Opening the file may take longer than its pages stay resident, and storage may not respond.
            Presence::Unknown if idle <= TRUST && !self.held.descriptors.holds(version) => {
                return MappingState::Usable(Rc::clone(&held.memory));
            }
            // This response is sent from the descriptor.
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

    /// A descriptor of a version: one that was just opened, or a cached one whose file still has that version.
    pub(super) fn descriptor(
        &mut self,
        version: &FileVersion,
        opened: &[Opened],
        look: Look,
        probe: &dyn Probe,
    ) -> DescriptorState {
        if let Some(fresh) = opened.iter().find(|opened| opened.version == *version) {
            self.held.descriptor(version, WasOpened::Yes, look);
            // It may have been opened long ago: the request waited for other jobs, or for its bytes.
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

    /// Whether a cached file still has its version. If not, it is removed from the cache.
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

    /// Whether an open file of this version is cached whose version has changed.
    pub(super) fn is_replaced(&mut self, version: &FileVersion, probe: &dyn Probe) -> bool {
        let kept = self.held.descriptors.get(version).map(Arc::clone);
        kept.is_some_and(|file| !self.is_still(&file, version, probe))
    }

    /// Caches the descriptors of files that were opened.
    pub(super) fn keep_open(&mut self, opened: &[Opened], demand: Demand) {
        for Opened { file, version, .. } in opened {
            self.held.keep_open(*version, Arc::clone(file), demand);
        }
    }

    /// Whether a prefetched file can be mapped without an eviction.
    pub(super) fn has_room_ahead(&self, version: &FileVersion) -> bool {
        let budget = self.held.maps.budget();
        version.length > 0
            && self.held.is_mappable(version)
            && self.held.maps.bytes() + version.length <= budget.bytes_max
            && self.held.maps.entry_count() < budget.count_max
            && !self.held.maps.holds(version)
    }

    /// Whether the mapping of a file or of one of its variants was not compared for this time. Then all of them count
    /// as compared now.
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

    /// When the next sweep for unused files is due.
    pub(super) fn idle_sweep_at(&self) -> Option<Instant> {
        let is_any = self.held.descriptors.entry_count() + self.held.maps.entry_count() > 0;
        self.idle_sweep_at.filter(|_| is_any)
    }

    /// Closes files that were not requested for a while, and unmaps those on other devices than that of the root,
    /// which cannot be unmounted while it is served. Returns the versions that were unmapped.
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

/// Whether the content of a file was overwritten since it was opened. A file that cannot be described counts as
/// overwritten.
pub(super) fn was_written_to(opened: &Opened, probe: &dyn Probe) -> bool {
    let now = probe.describe(&opened.file);
    now.map_or(true, |now| opened.version.was_rewritten(&now.version))
}

#[cfg(test)]
mod tests;
