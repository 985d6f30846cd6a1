//! Concurrency limits of an engine, by kind of job.
//!
//! Under load requests fill every slot. But deferred drops must still be closed, or descriptors run out; the
//! log must be written; and after a change of the root's path all requests wait for the new root. So these
//! have slots of their own. Conversely, when they hang on a dead disk, they take no slots from requests.

use super::JobId;
use crate::job::{Done, InternalJob, Job};

/// Kinds of jobs with separate slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Jobs that requests wait for, and mappings for later requests.
    Request,
    /// Internal jobs. Each kind has slots of its own, [`InternalJob::count_max`]: lines to a pipe without a reader must
    /// not keep a root from being followed.
    InternalJob(InternalJob),
    /// Closing and unmapping of deferred drops.
    Discard,
}

impl Kind {
    /// The kind of a job.
    pub(super) fn of(id: JobId, job: &Job) -> Kind {
        Kind::by(id, job.internal_job())
    }

    /// The kind of the job with this result.
    pub(super) fn of_done(id: JobId, done: &Done) -> Kind {
        Kind::by(id, done.internal_job())
    }

    fn by(id: JobId, internal_job: Option<InternalJob>) -> Kind {
        match id {
            JobId::OWN => Kind::Discard,
            _ => internal_job.map_or(Kind::Request, Kind::InternalJob),
        }
    }
}

/// Slots, and how many are in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    depth_max: usize,
    requests: usize,
    internal_jobs: [usize; InternalJob::COUNT],
    discards: usize,
}

impl Slots {
    /// Free slots: `depth_max` for requests, and those for other kinds.
    pub(super) fn new(depth_max: usize) -> Slots {
        Slots {
            depth_max,
            requests: 0,
            internal_jobs: [0; InternalJob::COUNT],
            discards: 0,
        }
    }

    /// With the slots in use by `others` added.
    pub(super) fn with(&self, others: &Slots) -> Slots {
        let mut both = *self;
        both.requests += others.requests;
        both.discards += others.discards;
        for (taken, other) in both.internal_jobs.iter_mut().zip(others.internal_jobs) {
            *taken += other;
        }
        both
    }

    /// Number of slots.
    pub(super) fn count(&self) -> usize {
        let internal = InternalJob::ALL.map(InternalJob::count_max);
        self.depth_max + internal.iter().sum::<usize>() + self.discards_max()
    }

    fn discards_max(&self) -> usize {
        (self.depth_max / 4).max(1)
    }

    /// Whether one is free.
    pub(super) fn has_room(&self, kind: Kind) -> bool {
        match kind {
            Kind::Request => self.requests < self.depth_max,
            Kind::InternalJob(internal_job) => {
                self.internal_jobs[internal_job as usize] < internal_job.count_max()
            }
            Kind::Discard => self.discards < self.discards_max(),
        }
    }

    /// Takes a slot.
    pub(super) fn take(&mut self, kind: Kind) {
        *self.taken(kind) += 1;
    }

    /// Frees a slot.
    pub(super) fn give_back(&mut self, kind: Kind) {
        *self.taken(kind) -= 1;
    }

    fn taken(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Request => &mut self.requests,
            Kind::InternalJob(internal_job) => &mut self.internal_jobs[internal_job as usize],
            Kind::Discard => &mut self.discards,
        }
    }

    /// Slots for jobs of requests.
    pub(super) fn depth_max(&self) -> usize {
        self.depth_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An internal job that hangs blocks none of the others.
    #[test]
    fn each_internal_job_has_a_slot_of_its_own() {
        use InternalJob::{Follow, Log};
        for (index, internal_job) in InternalJob::ALL.into_iter().enumerate() {
            assert_eq!(internal_job as usize, index);
        }
        let mut slots = Slots::new(1);
        slots.take(Kind::Request);
        for internal_job in InternalJob::ALL {
            let kind = Kind::InternalJob(internal_job);
            for count in 0..internal_job.count_max() {
                assert!(
                    slots.has_room(kind),
                    "{internal_job:?} after {count} others"
                );
                slots.take(kind);
            }
            assert!(!slots.has_room(kind), "one more {internal_job:?}");
        }
        assert!(slots.has_room(Kind::Discard) && !slots.has_room(Kind::Request));
        slots.give_back(Kind::InternalJob(Follow));
        assert!(
            slots.has_room(Kind::InternalJob(Follow)) && !slots.has_room(Kind::InternalJob(Log))
        );
    }
}
