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
    /// Internal jobs. There is never more than one of each, and each has a slot: lines to a pipe without a
    /// reader must not keep the root from being followed.
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
        self.depth_max + InternalJob::COUNT + self.discards_max()
    }

    fn discards_max(&self) -> usize {
        (self.depth_max / 4).max(1)
    }

    /// Whether one is free.
    pub(super) fn has_room(&self, kind: Kind) -> bool {
        match kind {
            Kind::Request => self.requests < self.depth_max,
            Kind::InternalJob(internal_job) => self.internal_jobs[internal_job as usize] == 0,
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
        use InternalJob::{Follow, Log, Measure, Mounts, Notices, Reopen, Save};
        let all = [Follow, Log, Reopen, Notices, Save, Measure, Mounts];
        assert_eq!(all.len(), InternalJob::COUNT);
        let mut slots = Slots::new(1);
        slots.take(Kind::Request);
        for (count, internal_job) in all.into_iter().enumerate() {
            let kind = Kind::InternalJob(internal_job);
            assert!(
                slots.has_room(kind),
                "{internal_job:?} after {count} others"
            );
            slots.take(kind);
            assert!(!slots.has_room(kind), "a second {internal_job:?}");
        }
        assert!(slots.has_room(Kind::Discard) && !slots.has_room(Kind::Request));
        slots.give_back(Kind::InternalJob(Follow));
        assert!(
            slots.has_room(Kind::InternalJob(Follow)) && !slots.has_room(Kind::InternalJob(Log))
        );
    }
}
