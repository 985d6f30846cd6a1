//! The budget of all memory that is allocated: what it is, and what is used of it.
//!
//! Use as a whole is what the allocator counts ([`allocator::allocated`]). The parts are summed up when
//! somebody asks ([`gather`]): whoever holds memory that peers can make grow says how much in a
//! `memory_bytes` of its own and has a line there.

mod parts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::disk::job::{Job, Once};
use crate::disk::measure::{Measured, Places};
use crate::memory::limits::Limit;
use crate::memory::{Part, Parts, plan};
use crate::server::settings::Settings;
use crate::server::start::warn;
use crate::sys::allocator;

pub(super) use parts::{Holders, gather};

/// How often limits and residence are looked at while the loop has something to do.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// And while it has not: nothing grows then, but a limit may shrink.
const MEASURE_IDLE_EVERY: Duration = Duration::from_secs(5);

/// The budget, and what is known of the memory there is.
#[derive(Debug)]
pub(super) struct MemoryControl {
    /// Where limits are read.
    places: Arc<Places>,
    /// `--memory`, if it was given.
    asked: Option<u64>,
    /// The last look at limits and residence.
    measured: Measured,
    /// When a look was last asked for, and whether it is under way.
    measured_at: Option<Instant>,
    is_measuring: bool,
    /// What was allocated when the loop began, without what is counted as another part.
    program_bytes: u64,
}

impl MemoryControl {
    /// Looks at the limits.
    pub(super) fn new(settings: &Settings) -> MemoryControl {
        let places = Places::find();
        let measured = places.measure();
        MemoryControl {
            places: Arc::new(places),
            asked: settings.asked.memory_bytes_max,
            measured,
            measured_at: None,
            is_measuring: false,
            program_bytes: 0,
        }
    }

    /// Says which sizes cannot be kept here.
    pub(super) fn warn_of_sizes(&self, settings: &Settings) {
        for line in plan::warnings(&plan::Sizes {
            limit: self.measured.limit,
            memory: self.asked,
            map_bytes_max: settings.asked.map_bytes_max,
            path_count_max: settings.asked.path_count_max,
        }) {
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
        Some(Job::Once(Once::Measure(Arc::clone(&self.places)), None))
    }

    /// How long an idle loop may wait until it measures.
    pub(super) fn timeout(&self, now: Instant) -> Option<Duration> {
        let at = self.measured_at.filter(|_| !self.is_measuring)?;
        Some((at + MEASURE_IDLE_EVERY).saturating_duration_since(now))
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
        plan::budget(self.asked, self.measured.limit)
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
    pub(super) fn take_in(&mut self, measured: Option<Measured>) {
        self.is_measuring = false;
        self.measured = measured.unwrap_or(self.measured);
    }

    /// All parts, those that [`gather`] does not know as well.
    pub(super) fn complete(&self, mut parts: Parts) -> Parts {
        parts.add(Part::Program, self.program_bytes);
        parts
    }
}
