//! How the descriptors of the process are shared out between connections and files, and how many are to be free.
//!
//! A file counts until it is closed: kept for the next request, held by an answer or by a job, or on its way to be
//! closed. Files may have what connections do not take, but for a reserve: with it connections are taken and files
//! are looked up, whatever the answers under way hold.

use super::memory::MemoryControl;
use crate::job::DESCRIPTOR_COUNT_MAX;
use crate::memory::plan::{connection_count_fitting, connection_count_max};
use crate::observe::status::ShareNumbers;
use crate::settings::Settings;
use crate::sys::limits::{descriptor_count, raise_descriptor_limit};

/// Descriptors for listeners, epoll, signals, the log, and what is opened for a moment to be read.
const APART: usize = 32;
/// Of these, what may be opened later: a log beside the former one, the tables of /proc.
const APART_LATER: usize = 16;
/// The share of all descriptors that files may keep, unless told otherwise.
const FILE_SHARE: usize = 4;
/// The share that files have at least, and the largest for jobs.
const OPENING_SHARE: usize = 8;
/// Descriptors that are for files and jobs even where there are very few.
const OPENING_MIN: usize = 2 * DESCRIPTOR_COUNT_MAX;
/// Descriptors in reserve for connections that are taken in one iteration of the loop.
const TAKING: usize = 64;
/// Descriptors that the kernel's table has room for from the start: it takes 8 bytes for each.
const RESERVED_MAX: usize = 1 << 16;

/// How the descriptors of the process are shared out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Descriptors {
    /// All.
    limit: usize,
    /// Those that are neither of files of the sites nor of connections; those of the roots are among them.
    apart: usize,
    /// Most files that are kept open.
    pub files: usize,
    /// Most connections.
    pub connections: usize,
    /// Free ones that there should be.
    reserve: usize,
}

impl Descriptors {
    /// Shares them out; raises the limit on them as far as that is allowed.
    pub(super) fn share(
        settings: &Settings,
        listener_count: usize,
        memory: &MemoryControl,
    ) -> Descriptors {
        let limit = usize::try_from(raise_descriptor_limit()).unwrap_or(usize::MAX);
        Descriptors::beside(APART + listener_count, limit, settings, memory)
    }

    /// Shares out what is left beside those that have another use.
    fn beside(
        apart: usize,
        limit: usize,
        settings: &Settings,
        memory: &MemoryControl,
    ) -> Descriptors {
        let free = limit.saturating_sub(apart);
        let files = settings
            .cache
            .descriptor_count_max
            .unwrap_or(limit / FILE_SHARE)
            .min(free / 2);
        let depth = settings.disk_depth;
        let for_files = files.max(free / OPENING_SHARE) + depth.min(free / OPENING_SHARE);
        let for_files = for_files.max(OPENING_MIN.min(free / 2));
        let left = free.saturating_sub(for_files).max(1);
        let budget = memory.budget();
        let connections = match settings.limits.connections_max {
            None => connection_count_max(memory.limit(), budget),
            Some(asked) => asked.min(connection_count_fitting(budget)),
        };
        let wanted = TAKING + depth.saturating_mul(DESCRIPTOR_COUNT_MAX);
        Descriptors {
            limit,
            apart,
            files,
            connections: connections.clamp(1, left),
            reserve: wanted.min(free.saturating_sub(left) / 2),
        }
    }

    /// Takes in how many there are already, those of the roots among them: the process may have been started with some
    /// besides.
    #[must_use]
    pub(super) fn counted(self, settings: &Settings, memory: &MemoryControl) -> Descriptors {
        let apart = descriptor_count().unwrap_or(0) + APART_LATER;
        Descriptors::beside(self.apart.max(apart), self.limit, settings, memory)
    }

    /// How many the kernel's table is to have room for from the start.
    pub(super) fn expected(&self) -> u64 {
        let count = self.files + self.connections + self.apart;
        count.min(RESERVED_MAX) as u64
    }

    /// How many are free.
    fn free(&self, connections: usize, files: usize) -> usize {
        self.limit.saturating_sub(self.apart + connections + files)
    }

    /// How many files are to be closed, so that the reserve is free.
    pub(super) fn excess(&self, connections: usize, files: usize) -> usize {
        self.reserve.saturating_sub(self.free(connections, files))
    }

    /// How many are free beside the reserve.
    pub(super) fn surplus(&self, connections: usize, files: usize) -> usize {
        self.free(connections, files).saturating_sub(self.reserve)
    }

    /// How many jobs that open files may be in flight; some descriptors are left for connections.
    pub(super) fn opening_count_max(&self, connections: usize, files: usize) -> usize {
        let taking = TAKING.min(self.reserve / 4);
        let free = self.free(connections, files).saturating_sub(taking);
        free / DESCRIPTOR_COUNT_MAX
    }

    /// Whether another connection may be taken while so many jobs are in flight or wait.
    pub(super) fn has_room(&self, connections: usize, files: usize, jobs: usize) -> bool {
        let promised = jobs.saturating_mul(DESCRIPTOR_COUNT_MAX);
        self.free(connections, files) > promised.min(self.reserve / 2)
    }

    /// The numbers for /status.
    pub(super) fn numbers(&self, connections: usize, files: usize) -> ShareNumbers {
        ShareNumbers {
            limit: self.limit,
            files,
            free: self.free(connections, files),
            reserve: self.reserve,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptors(limit: usize, connections: usize) -> Descriptors {
        Descriptors {
            limit,
            apart: 34,
            files: limit / 4,
            connections,
            reserve: 384,
        }
    }

    #[test]
    fn files_have_what_connections_leave_but_the_reserve() {
        let descriptors = descriptors(4_096, 2_972);
        #[rustfmt::skip]
        let cases = [
            // connections, files, to be closed, jobs
            (0,     1_024, 0,   594),
            (2_100, 1_578, 0,   64),
            (2_100, 1_579, 1,   63),
            (2_100, 1_900, 322, 0),
            (2_972, 1_090, 384, 0),
        ];
        for (connections, files, excess, jobs) in cases {
            let case = format!("{connections} connections and {files} files");
            assert_eq!(descriptors.excess(connections, files), excess, "{case}");
            let got = descriptors.opening_count_max(connections, files);
            assert_eq!(got, jobs, "{case}");
        }
    }

    #[test]
    fn connections_are_taken_while_jobs_have_what_they_may_need() {
        let descriptors = descriptors(4_096, 2_972);
        #[rustfmt::skip]
        let cases = [
            // files, jobs,  has room, because
            (2_061,   0,     true,     "one is free"),
            (2_062,   0,     false,    "none is"),
            (2_011,   10,    true,     "51 are free"),
            (2_012,   10,    false,    "jobs may need 50"),
            (1_869,   1_000, true,     "half the reserve is for connections"),
            (1_870,   1_000, false,    "the other half is for jobs"),
        ];
        for (files, jobs, want, because) in cases {
            let got = descriptors.has_room(2_000, files, jobs);
            assert_eq!(got, want, "{files} files: {because}");
        }
    }
}
