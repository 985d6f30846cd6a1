//! Following what is mounted: where that may make paths below the root lead elsewhere, they are looked up again.

use std::sync::Arc;

use super::Store;
use super::freshness::Freshness;
use super::jobs::{Jobs, Purpose};
use crate::job::{Job, OneShot};
use crate::site::mounts::Table;

/// Whether the table is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    No,
    UnderWay,
    /// It has changed since the reading began, so it is read once more.
    Outdated,
}

/// What is known of mounts.
#[derive(Debug)]
pub(super) struct Mounts {
    /// As it was last read. `None`: it could not be read, so any change may concern the site.
    table: Option<Table>,
    reading: Reading,
    changes: u64,
}

impl Mounts {
    /// With the table as it was read at the start.
    pub(super) fn new(table: Option<Table>) -> Mounts {
        Mounts {
            table,
            reading: Reading::No,
            changes: 0,
        }
    }
}

impl Freshness {
    /// Has a job find out what is mounted where.
    fn read_mounts(&mut self, jobs: &mut Jobs) {
        let mounts = &mut self.roots.mounts;
        if mounts.reading != Reading::No {
            mounts.reading = Reading::Outdated;
            return;
        }
        mounts.reading = Reading::UnderWay;
        let roots = self.roots.iter().map(|root| Arc::clone(&root.root));
        let once = OneShot::Mounts(roots.collect());
        jobs.submit_own(Job::OneShot(once, None), Purpose::ReadMounts);
    }

    /// Times that mounts at, below or above a root have changed.
    pub(super) fn mount_changes(&self) -> u64 {
        self.roots.mounts.changes
    }
}

impl Store {
    /// Something was mounted, moved or unmounted somewhere: a job finds out where.
    pub(crate) fn mounts_changed(&mut self) {
        self.freshness.read_mounts(&mut self.jobs);
    }

    /// Takes the table in. Changes that concern the site are rare, so everything is looked up again then.
    pub(super) fn mounts_seen(&mut self, table: Option<Table>) {
        let mounts = &mut self.freshness.roots.mounts;
        let has_changed = match (&table, &mounts.table) {
            (Some(table), Some(earlier)) => table.has_changed_near_root(earlier),
            _ => true,
        };
        mounts.table = table;
        let reading = std::mem::replace(&mut mounts.reading, Reading::No);
        mounts.changes += u64::from(has_changed);
        if has_changed {
            self.distrust_all();
        }
        if reading == Reading::Outdated {
            self.mounts_changed();
        }
    }
}
