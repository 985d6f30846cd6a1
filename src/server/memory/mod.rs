//! The budget of all memory that is allocated: what it is, and what is used of it.
//!
//! Use as a whole is what the allocator counts ([`allocator::allocated`]). The parts are summed up when
//! somebody asks ([`gather`]): whoever holds memory that peers can make grow says how much in a
//! `memory_bytes` of its own and has a line there.

mod parts;

use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::job::{Job, OneShot};
use crate::memory::limits::Limit;
use crate::memory::measured::{Measured, MemoryFiles};
use crate::memory::plan::{self, Kept, Measurement, Plan};
use crate::memory::slack::{self, FreeMemory, Slack};
use crate::memory::{Part, Parts};
use crate::server::warning::warn;
use crate::settings::Settings;
use crate::sys::allocator;
use crate::sys::pressure::Pressure;

pub(super) use parts::{Holders, gather};

/// How often limits and residence are looked at while the loop has something to do.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// And while it has not: nothing grows then, but a limit may shrink.
const MEASURE_IDLE_EVERY: Duration = Duration::from_secs(5);

/// Caches that have given way grow again while this part of the target is free: one in so many.
const ROOM_SHARE: u64 = 16;

/// The budget, and what is known of the memory there is.
#[derive(Debug)]
pub(super) struct MemoryControl {
    // Limits as measured, the budget they lead to, and counters for /status.
    /// Where limits are read.
    places: Arc<MemoryFiles>,
    /// Tells of memory pressure.
    pressure: Option<Pressure>,
    /// How much may be used now.
    plan: Plan,
    /// The last look at limits and residence.
    measured: Measured,
    /// When a look was last asked for, and whether it is under way.
    measured_at: Option<Instant>,
    is_measuring: bool,
    /// Times that the kernel told of memory pressure.
    pressures: u64,
    /// Whether it has since the last measurement.
    is_pressed: bool,
    /// Times that the system had refused memory when it was last looked at.
    failures: u64,
    /// Entries of caches that gave way.
    given_way: u64,
    /// Whether more are to give way in the next iteration.
    is_giving_way: bool,
    /// Entries that have given way since the last look at limits and residence.
    newly_given_way: usize,
    /// Free memory that is resident.
    slack: Slack,
    /// What the next look does about it.
    free_memory: FreeMemory,
    /// What was allocated when the loop began, without what is counted as another part.
    program_bytes: u64,
}

/// The sizes that were asked for, beside what there is.
pub(super) fn sizes(settings: &Settings, limit: Limit) -> plan::Sizes {
    plan::Sizes {
        limit,
        memory: settings.asked.memory_bytes_max,
        map_bytes_max: settings.asked.map_bytes_max,
        path_count_max: settings.asked.path_count_max,
        connection_count_max: settings.limits.connections_max,
    }
}

impl MemoryControl {
    /// Looks at the limits.
    pub(super) fn new(settings: &Settings) -> MemoryControl {
        let places = MemoryFiles::find();
        let measured = places.measure();
        allocator::set_huge_pages(slack::huge_pages(measured.limit));
        let files = places.pressure_files();
        MemoryControl {
            pressure: files.iter().find_map(|file| Pressure::watch(file).ok()),
            places: Arc::new(places),
            plan: Plan::new(settings.asked.memory_bytes_max, measured.limit),
            measured,
            measured_at: None,
            is_measuring: false,
            pressures: 0,
            is_pressed: false,
            failures: 0,
            given_way: 0,
            is_giving_way: false,
            newly_given_way: 0,
            slack: Slack::default(),
            free_memory: FreeMemory::Kept,
            program_bytes: 0,
        }
    }

    /// Says which sizes cannot be kept here.
    pub(super) fn warn_of_sizes(&self, settings: &Settings) {
        for line in plan::warnings(&sizes(settings, self.measured.limit)) {
            warn(&line);
        }
    }

    /// The job that measures, if it is time for it.
    pub(super) fn measure(&mut self, now: Instant) -> Option<Job> {
        let is_due = self.measured_at.is_none_or(|at| now >= at + MEASURE_EVERY);
        if self.is_measuring || !is_due {
            return None;
        }
        self.measured_at = Some(now);
        self.is_measuring = true;
        Some(Job::OneShot(
            OneShot::Measure(Arc::clone(&self.places), self.free_memory),
            None,
        ))
    }

    /// When an idle loop measures at the latest.
    pub(super) fn measures_at(&self) -> Option<Instant> {
        let at = self.measured_at.filter(|_| !self.is_measuring)?;
        Some(at + MEASURE_IDLE_EVERY)
    }

    /// What becomes ready when the kernel tells of memory pressure, where it does.
    pub(super) fn pressure_descriptor(&self) -> Option<RawFd> {
        self.pressure.as_ref().map(Pressure::descriptor)
    }

    /// The smallest limit.
    pub(super) fn limit(&self) -> Limit {
        self.measured.limit
    }

    /// The last look at limits and residence.
    pub(super) fn measured(&self) -> &Measured {
        &self.measured
    }

    /// Bytes that may be allocated.
    pub(super) fn budget(&self) -> u64 {
        self.plan.budget()
    }

    /// Bytes that may be allocated now, with what the kernel keeps besides.
    pub(super) fn target(&self) -> u64 {
        self.plan.target()
    }

    /// Bytes that connections may hold now, of that.
    pub(super) fn buffer_bytes_max(&self) -> u64 {
        plan::buffer_bytes_max(self.plan.target())
    }

    /// Bytes by which use is above that, with what the kernel keeps for the server. About 20 ns.
    pub(super) fn excess(&self, kept: Kept) -> u64 {
        let used = self.used() + kept.bytes();
        used.saturating_sub(self.target())
    }

    /// Whether use is so far below the target that caches may grow again.
    pub(super) fn has_room(&self, kept: Kept) -> bool {
        let target = self.target();
        self.used() + kept.bytes() < target - target / ROOM_SHARE
    }

    /// The kernel tells of memory pressure.
    pub(super) fn pressed(&mut self) {
        self.pressures += 1;
        self.is_pressed = true;
        // What is measured next says whether it is for want of memory.
        self.measured_at = None;
    }

    /// The reserve of the allocator cannot be set aside anew.
    pub(super) fn has_no_reserve(&mut self) {
        self.plan.has_no_reserve();
    }

    /// Whether the system has refused memory since somebody asked.
    pub(super) fn was_refused(&mut self) -> bool {
        let failures = allocator::failures();
        std::mem::replace(&mut self.failures, failures) != failures
    }

    /// The system has refused memory.
    pub(super) fn refused(&mut self, kept: Kept) {
        self.plan.refused(self.used() + kept.bytes());
    }

    /// So many entries have given way; unless it is done, more are to.
    pub(super) fn has_given_way(&mut self, count: usize, is_done: bool) {
        self.given_way += count as u64;
        self.newly_given_way += count;
        self.is_giving_way = !is_done;
    }

    /// Whether more entries are to give way at once.
    pub(super) fn is_giving_way(&self) -> bool {
        self.is_giving_way
    }

    /// Entries that gave way since the start.
    pub(super) fn given_way(&self) -> u64 {
        self.given_way
    }

    /// Free memory that is resident.
    pub(super) fn slack(&self) -> &Slack {
        &self.slack
    }

    /// Times that the kernel told of memory pressure; `None` where it does not.
    pub(super) fn pressures(&self) -> Option<u64> {
        self.pressure.as_ref().map(|_| self.pressures)
    }

    /// Bytes that are allocated.
    pub(super) fn used(&self) -> u64 {
        allocator::allocated()
    }

    /// The loop begins: what was allocated until now, beside these parts, belongs to the program.
    pub(super) fn begin(&mut self, parts: &Parts) {
        self.program_bytes = self.used().saturating_sub(parts.sum());
        allocator::set_reserve_aside();
    }

    /// Takes a new look in.
    pub(super) fn take_in(&mut self, measured: Option<Measured>, kept: Kept) {
        self.is_measuring = false;
        let Some(measured) = measured else { return };
        self.measured = measured;
        let measurement = Measurement {
            limit: measured.limit,
            resident_own: measured.resident.own,
            unreclaimable: measured.unreclaimable,
            machine: measured.machine,
            pressure: match std::mem::take(&mut self.is_pressed) {
                true => plan::Pressure::Told,
                false => plan::Pressure::Untold,
            },
        };
        let allocated = self.used();
        let newly_given_way = std::mem::take(&mut self.newly_given_way);
        self.free_memory = self.slack.measured(
            measured.limit,
            measured.resident.own,
            allocated,
            newly_given_way,
        );
        if self.free_memory == FreeMemory::GivenBack {
            self.measured_at = None;
        }
        self.plan
            .measured(measurement, allocated, allocated + kept.bytes());
    }

    /// All parts, those that [`gather`] does not know as well.
    pub(super) fn complete(&self, mut parts: Parts) -> Parts {
        parts.add(Part::Program, self.program_bytes);
        parts
    }
}
