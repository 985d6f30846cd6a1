//! How many jobs of each kind an engine carries out at once.
//!
//! Under load there is always a request's job for every place. What is dropped has to be closed all
//! the same, or descriptors run out; the log has to be written; and where the path of the root has
//! changed, everybody waits until it was followed. So these have places of their own, and the other
//! way round, when they do not come back from a dead disk, they take no places from requests.

use super::JobId;
use super::job::{Done, Job};

/// What has places of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What requests wait for, and mappings for later ones.
    Asked,
    /// What the server itself needs: the path of the root, writing and opening the log, lines to
    /// standard error, the state at the end. At most one of each is under way.
    Own,
    /// Closing and unmapping, from the bin.
    Discard,
}

impl Kind {
    /// That of a job.
    pub(super) fn of(id: JobId, job: &Job) -> Kind {
        match id {
            JobId::OWN => Kind::Discard,
            _ if job.goes_first() => Kind::Own,
            _ => Kind::Asked,
        }
    }

    /// That of the job which this came of.
    pub(super) fn of_done(id: JobId, done: &Done) -> Kind {
        match done {
            _ if id == JobId::OWN => Kind::Discard,
            Done::Followed { .. } | Done::Appended { .. } => Kind::Own,
            Done::Reopened(_) | Done::Saved(_) | Done::Measured(_) => Kind::Own,
            _ => Kind::Asked,
        }
    }
}

/// Places, and how many are taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    depth_max: usize,
    asked: usize,
    own: usize,
    discards: usize,
}

impl Places {
    /// None taken of `depth_max` for what requests wait for, and of the others beside them.
    pub(super) fn new(depth_max: usize) -> Places {
        Places {
            depth_max,
            asked: 0,
            own: 0,
            discards: 0,
        }
    }

    /// With what others have taken as well.
    pub(super) fn with(&self, others: &Places) -> Places {
        Places {
            depth_max: self.depth_max,
            asked: self.asked + others.asked,
            own: self.own + others.own,
            discards: self.discards + others.discards,
        }
    }

    /// All places.
    pub(super) fn count(&self) -> usize {
        let kinds = [Kind::Asked, Kind::Own, Kind::Discard];
        kinds.iter().map(|kind| self.count_of(*kind)).sum()
    }

    fn count_of(&self, kind: Kind) -> usize {
        match kind {
            Kind::Asked => self.depth_max,
            Kind::Own => 6,
            Kind::Discard => (self.depth_max / 4).max(1),
        }
    }

    /// Whether one is free.
    pub(super) fn has_room(&self, kind: Kind) -> bool {
        let taken = match kind {
            Kind::Asked => self.asked,
            Kind::Own => self.own,
            Kind::Discard => self.discards,
        };
        taken < self.count_of(kind)
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
            Kind::Own => &mut self.own,
            Kind::Discard => &mut self.discards,
        }
    }

    /// Jobs under way that the server has submitted.
    pub(super) fn depth(&self) -> usize {
        self.asked + self.own
    }
}
