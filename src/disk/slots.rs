//! How many jobs of each kind an engine carries out at once.
//!
//! Under load there is always a request's job for every place. What is dropped has to be closed all
//! the same, or descriptors run out; the log has to be written; and where the path of the root has
//! changed, everybody waits until it was followed. So these have places of their own, and the other
//! way round, when they do not come back from a dead disk, they take no places from requests.

use super::JobId;
use crate::job::{Done, InternalJob, Job};

/// What has places of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What requests wait for, and mappings for later ones.
    Asked,
    /// What the server itself needs. There is never more than one of each, and each has a place: lines to
    /// a pipe that nobody reads must not keep the root from being followed.
    InternalJob(InternalJob),
    /// Closing and unmapping, from the bin.
    Discard,
}

impl Kind {
    /// That of a job.
    pub(super) fn of(id: JobId, job: &Job) -> Kind {
        Kind::by(id, job.internal_job())
    }

    /// That of the job which this came of.
    pub(super) fn of_done(id: JobId, done: &Done) -> Kind {
        Kind::by(id, done.internal_job())
    }

    fn by(id: JobId, internal_job: Option<InternalJob>) -> Kind {
        match id {
            JobId::OWN => Kind::Discard,
            _ => internal_job.map_or(Kind::Asked, Kind::InternalJob),
        }
    }
}

/// Places, and how many are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slots {
    depth_max: usize,
    asked: usize,
    internal_jobs: [usize; InternalJob::COUNT],
    discards: usize,
}

impl Slots {
    /// None taken of `depth_max` for what requests wait for, and of the others beside them.
    pub(super) fn new(depth_max: usize) -> Slots {
        Slots {
            depth_max,
            asked: 0,
            internal_jobs: [0; InternalJob::COUNT],
            discards: 0,
        }
    }

    /// With what others have taken as well.
    pub(super) fn with(&self, others: &Slots) -> Slots {
        let mut both = *self;
        both.asked += others.asked;
        both.discards += others.discards;
        for (taken, other) in both.internal_jobs.iter_mut().zip(others.internal_jobs) {
            *taken += other;
        }
        both
    }

    /// All places.
    pub(super) fn count(&self) -> usize {
        self.depth_max + InternalJob::COUNT + self.discards_max()
    }

    fn discards_max(&self) -> usize {
        (self.depth_max / 4).max(1)
    }

    /// Whether one is free.
    pub(super) fn has_room(&self, kind: Kind) -> bool {
        match kind {
            Kind::Asked => self.asked < self.depth_max,
            Kind::InternalJob(internal_job) => self.internal_jobs[internal_job as usize] == 0,
            Kind::Discard => self.discards < self.discards_max(),
        }
    }

    /// Takes one.
    pub(super) fn take(&mut self, kind: Kind) {
        *self.taken(kind) += 1;
    }

    /// Gives one back.
    pub(super) fn give_back(&mut self, kind: Kind) {
        *self.taken(kind) -= 1;
    }

    fn taken(&mut self, kind: Kind) -> &mut usize {
        match kind {
            Kind::Asked => &mut self.asked,
            Kind::InternalJob(internal_job) => &mut self.internal_jobs[internal_job as usize],
            Kind::Discard => &mut self.discards,
        }
    }

    /// Places for what requests wait for.
    pub(super) fn depth_max(&self) -> usize {
        self.depth_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One that does not end keeps none of the others from beginning.
    #[test]
    fn each_errand_has_a_place_of_its_own() {
        use InternalJob::{Follow, Log, Measure, Mounts, Notices, Reopen, Save};
        let all = [Follow, Log, Reopen, Notices, Save, Measure, Mounts];
        assert_eq!(all.len(), InternalJob::COUNT);
        let mut places = Slots::new(1);
        places.take(Kind::Asked);
        for (count, internal_job) in all.into_iter().enumerate() {
            let kind = Kind::InternalJob(internal_job);
            assert!(
                places.has_room(kind),
                "{internal_job:?} after {count} others"
            );
            places.take(kind);
            assert!(!places.has_room(kind), "a second {internal_job:?}");
        }
        assert!(places.has_room(Kind::Discard) && !places.has_room(Kind::Asked));
        places.give_back(Kind::InternalJob(Follow));
        assert!(
            places.has_room(Kind::InternalJob(Follow)) && !places.has_room(Kind::InternalJob(Log))
        );
    }
}
