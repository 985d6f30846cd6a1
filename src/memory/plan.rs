//! How large the budget is, and who gives way when it is used up.

use super::limits::{Limit, LimitSource};
use crate::text::{bytes, exact_bytes};

/// The share of the smallest limit that is the budget, unless told otherwise: one part in so many. The rest
/// is for what the kernel counts as this process': pages of files, buffers of sockets, inodes, page tables;
/// and for the allocator's own slack.
const BUDGET_SHARE: u64 = 2;
/// The most of the budget that is left to slack of the allocator (free memory that it keeps): one part in so
/// many. More than that is taken for memory that is about to go back.
const SLACK_SHARE: u64 = 4;
/// What of a limit may be taken by what the kernel cannot take back: so many parts of eight.
const UNRECLAIMABLE_EIGHTHS: u64 = 7;
/// What is kept of what is allocated when memory is short: so many parts of eight.
const KEPT_EIGHTHS: u64 = 7;
/// The ceiling is never lowered below one part of the budget in so many; where the system refuses memory, whatever
/// its limit says, below one in so many more.
const FLOOR_SHARE: u64 = 8;
const FLOOR_SHARE_REFUSED: u64 = 64;
/// Pressure is taken for shortness of memory where the kernel cannot take back more than so many parts of eight
/// of the limit, or where less than one part of the machine's memory in so many is available. Elsewhere it comes
/// of reads of cold files, which smaller caches would only make more of.
const SCARCE_EIGHTHS: u64 = 6;
const AVAILABLE_SHARE: u64 = 8;
/// The same where nobody tells of pressure.
const AVAILABLE_SHARE_UNTOLD: u64 = 16;
/// A ceiling that was lowered is raised by one part of the budget in so many at each measurement, of which there
/// is one a second at most.
const RAISE_SHARE: u64 = 64;
/// Measurements without shortness after which it is raised.
const CALM_COUNT_MIN: u32 = 10;

/// Bytes of the kernel that go with what the server holds, about; measured on ext4 (Linux 6.18). A watch keeps
/// an inode in memory; an open file a name and a file besides; a connection its socket.
const WATCH_BYTES: u64 = 1_300;
const OPEN_FILE_BYTES: u64 = 1_700;
const CONNECTION_BYTES: u64 = 5_000;
/// Bytes of a connection in the table of the server.
const CONNECTION_TABLE_BYTES: u64 = 1_200;
/// The share of the limit that connections may take by default: one part in so many.
const CONNECTION_SHARE: u64 = 4;
/// The share of the budget that the table of connections may take however many are asked for: one part in so
/// many. It is copied when it grows, so for a moment it takes twice as much.
const CONNECTION_TABLE_SHARE: u64 = 8;
/// The share of what may be used now that bytes received and to be sent may take: one part in so many. What a
/// connection holds is bounded (some 40 KiB), but not how many do.
const BUFFER_SHARE: u64 = 4;

/// Bytes that a remembered path takes at least.
const PATH_BYTES_MIN: u64 = 150;

/// The budget in bytes: that of `--memory`, else a share of the limit.
pub(crate) fn budget(asked: Option<u64>, limit: Limit) -> u64 {
    asked.unwrap_or(limit.bytes / BUDGET_SHARE)
}

/// Connections for which there is room below a limit and within the budget.
pub(crate) fn connection_count_max(limit: Limit, budget: u64) -> usize {
    let each = CONNECTION_BYTES + CONNECTION_TABLE_BYTES;
    let below = usize::try_from(limit.bytes / CONNECTION_SHARE / each).unwrap_or(usize::MAX);
    below.min(connection_count_fitting(budget))
}

/// Connections whose places in the table are within the budget, however many are asked for.
pub(crate) fn connection_count_fitting(budget: u64) -> usize {
    let fitting = budget / CONNECTION_TABLE_SHARE / CONNECTION_TABLE_BYTES;
    usize::try_from(fitting).unwrap_or(usize::MAX).max(1)
}

/// Bytes that connections may hold in buffers and log lines, of so many that may be used.
pub(crate) fn buffer_bytes_max(target: u64) -> u64 {
    target / BUFFER_SHARE
}

/// What the kernel keeps for the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Watched files and directories.
    pub watches: usize,
    /// Open files.
    pub open_files: usize,
    /// Connections.
    pub connections: usize,
}

impl Kept {
    /// About how many bytes that takes.
    pub(crate) fn bytes(self) -> u64 {
        self.watches as u64 * WATCH_BYTES
            + self.open_files as u64 * OPEN_FILE_BYTES
            + self.connections as u64 * CONNECTION_BYTES
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measurement {
    /// The smallest limit.
    pub limit: Limit,
    /// Resident memory of this process alone.
    pub resident_own: u64,
    /// What counts against the limit and cannot be taken back, if that is known.
    pub unreclaimable: Option<u64>,
    /// Memory of the machine, and what of it is available, if that is known.
    pub machine: Option<(u64, u64)>,
    /// Whether the kernel has told of pressure since the last measurement.
    pub pressure: Pressure,
}

/// Whether tasks have waited for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pressure {
    /// Not so that the kernel would have told of it, as far as it does.
    Untold,
    /// It has.
    Told,
}

/// How much may be used now.
///
/// The budget less the slack of the allocator, or the ceiling if that is lower. The ceiling is lowered when
/// memory turns out to be short, and raised slowly afterwards.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    asked: Option<u64>,
    budget: u64,
    slack: u64,
    ceiling: u64,
    calm_count: u32,
}

impl Plan {
    /// A plan before anything was measured.
    pub(crate) fn new(asked: Option<u64>, limit: Limit) -> Plan {
        let budget = budget(asked, limit);
        Plan {
            asked,
            budget,
            slack: 0,
            ceiling: budget,
            calm_count: 0,
        }
    }

    /// The budget in bytes.
    pub(crate) fn budget(&self) -> u64 {
        self.budget
    }

    /// Bytes that may be used now, at most the budget.
    pub(crate) fn target(&self) -> u64 {
        self.ceiling.min(self.budget - self.slack)
    }

    /// Takes a measurement in, made when so many bytes were allocated and used.
    pub(crate) fn measured(&mut self, measurement: Measurement, allocated: u64, used: u64) {
        let Measurement {
            limit,
            resident_own,
            unreclaimable,
            machine,
            pressure,
        } = measurement;
        self.calm_count = self.calm_count.saturating_add(1);
        if self.calm_count >= CALM_COUNT_MIN {
            self.ceiling = self.ceiling.saturating_add(self.budget / RAISE_SHARE);
        }
        // A budget that was asked for does not lead past a limit that has shrunk.
        let share = budget(None, limit);
        let most = limit.bytes / 8 * UNRECLAIMABLE_EIGHTHS;
        self.budget = self.asked.map_or(share, |asked| asked.min(most));
        self.ceiling = self.ceiling.min(self.budget);
        self.slack = resident_own
            .saturating_sub(allocated)
            .min(self.budget / SLACK_SHARE);
        let over = unreclaimable.map_or(0, |bytes| bytes.saturating_sub(most));
        if over > 0 {
            self.lower(used.saturating_sub(over));
        }
        let scarce = limit.bytes / 8 * SCARCE_EIGHTHS;
        let is_full = unreclaimable.is_some_and(|bytes| bytes > scarce);
        let has_less_than = |share| machine.is_some_and(|(all, free)| free < all / share);
        let is_scarce = match pressure {
            Pressure::Told => is_full || has_less_than(AVAILABLE_SHARE),
            Pressure::Untold => has_less_than(AVAILABLE_SHARE_UNTOLD),
        };
        if is_scarce {
            self.lower(used / 8 * KEPT_EIGHTHS);
        }
    }

    /// The system has refused memory.
    ///
    /// Half has to go: blocks are only of use to others when whole pages of the allocator are free.
    pub(crate) fn refused(&mut self, used: u64) {
        self.lower_to((used / 2).max(self.budget / FLOOR_SHARE_REFUSED));
    }

    /// Memory that was returned because of a shortage is not available again: the target must not rise now.
    pub(crate) fn has_no_reserve(&mut self) {
        self.calm_count = 0;
    }

    fn lower(&mut self, to: u64) {
        self.lower_to(to.max(self.budget / FLOOR_SHARE));
    }

    fn lower_to(&mut self, to: u64) {
        self.calm_count = 0;
        self.ceiling = self.ceiling.min(to);
    }
}

/// The caches, and what their entries take in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holdings {
    /// Cached files.
    pub files: u64,
    /// Open files.
    pub open_files: u64,
    /// Remembered paths.
    pub paths: u64,
}

/// Which cache gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Victim {
    /// That of files.
    Files,
    /// That of open files.
    OpenFiles,
    /// That of paths.
    Paths,
}

impl Holdings {
    /// The cache that takes most; `None`: there is nothing to give.
    pub(crate) fn victim(self) -> Option<Victim> {
        let all = [
            (self.files, Victim::Files),
            (self.open_files, Victim::OpenFiles),
            (self.paths, Victim::Paths),
        ];
        let largest = all.into_iter().max_by_key(|(bytes, _)| *bytes)?;
        (largest.0 > 0).then_some(largest.1)
    }
}

/// Sizes that may be too large for the memory there is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    /// The smallest limit.
    pub limit: Limit,
    /// `--memory`, if it was given.
    pub memory: Option<u64>,
    /// `--map-cache`, if it was given.
    pub map_bytes_max: Option<u64>,
    /// `--path-cache`, if it was given.
    pub path_count_max: Option<usize>,
    /// `--connections`, if it was given.
    pub connection_count_max: Option<usize>,
}

/// What an operator should know of sizes that were asked for: one line each.
pub(crate) fn warnings(sizes: &Sizes) -> Vec<String> {
    let limit = sizes.limit;
    let budget = budget(sizes.memory, limit);
    let of_limit = match limit.source {
        LimitSource::Machine => format!("this machine has {}", bytes(limit.bytes)),
        source => format!("{} allows {}", source.name(), bytes(limit.bytes)),
    };
    let mut lines = Vec::new();
    if let Some(asked) = sizes.memory.filter(|asked| *asked > limit.bytes) {
        lines.push(format!(
            "--memory: {of_limit}, less than the requested {}; the kernel kills before caches can \
             shrink: choose at most {}",
            bytes(asked),
            advice(limit.bytes / BUDGET_SHARE),
        ));
    }
    if let Some(asked) = sizes.map_bytes_max.filter(|asked| *asked > limit.bytes) {
        lines.push(format!(
            "--map-cache: {of_limit}, less than the requested {}; the kernel will reclaim pages of \
             cached files: choose at most {}",
            bytes(asked),
            advice(limit.bytes / BUDGET_SHARE),
        ));
    }
    let path_bytes = |count: usize| (count as u64).saturating_mul(PATH_BYTES_MIN);
    if let Some(asked) = sizes
        .path_count_max
        .filter(|count| path_bytes(*count) > budget)
    {
        lines.push(format!(
            "--path-cache: {asked} entries take at least {}, more than the budget of {}; fewer will be \
             cached: raise --memory or choose at most {}",
            bytes(path_bytes(asked)),
            bytes(budget),
            budget / PATH_BYTES_MIN,
        ));
    }
    let fitting = connection_count_fitting(budget);
    if let Some(asked) = sizes.connection_count_max.filter(|asked| *asked > fitting) {
        lines.push(format!(
            "--connections: the budget of {} has room for {fitting} of the {asked} requested; further ones \
             are not accepted: raise --memory",
            bytes(budget),
        ));
    }
    lines
}

/// The most that may be chosen, in whole MiB where there is one: never more than that, as a rounded figure may be.
fn advice(bytes_max: u64) -> String {
    let whole = bytes_max & !((1 << 20) - 1);
    exact_bytes(if whole > 0 { whole } else { bytes_max })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(bytes: u64) -> Limit {
        Limit {
            bytes,
            source: LimitSource::ControlGroup,
        }
    }

    #[test]
    fn the_budget_is_half_of_the_limit_unless_asked_for() {
        assert_eq!(budget(None, limit(128 << 20)), 64 << 20);
        assert_eq!(budget(Some(5), limit(128 << 20)), 5);
    }

    fn measurement(limit_bytes: u64, resident_own: u64, unreclaimable: u64) -> Measurement {
        Measurement {
            limit: limit(limit_bytes),
            resident_own,
            unreclaimable: Some(unreclaimable),
            machine: Some((1 << 40, 1 << 39)),
            pressure: Pressure::Untold,
        }
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_target_is_the_budget_less_the_slack_of_the_allocator() {
        let mut plan = Plan::new(None, limit(128 * MIB));
        assert_eq!((plan.budget(), plan.target()), (64 * MIB, 64 * MIB));
        plan.measured(
            measurement(128 * MIB, 45 * MIB, 50 * MIB),
            40 * MIB,
            42 * MIB,
        );
        assert_eq!(plan.target(), 59 * MIB);
        plan.measured(
            measurement(128 * MIB, 90 * MIB, 50 * MIB),
            40 * MIB,
            42 * MIB,
        );
        assert_eq!(plan.target(), 48 * MIB, "a quarter at most");
    }

    #[test]
    fn a_limit_that_shrinks_takes_the_budget_with_it() {
        let mut plan = Plan::new(None, limit(128 * MIB));
        plan.measured(measurement(32 * MIB, 0, 10 * MIB), 10 * MIB, 10 * MIB);
        assert_eq!(plan.target(), 16 * MIB);
        let mut asked = Plan::new(Some(100 * MIB), limit(128 * MIB));
        assert_eq!(asked.target(), 100 * MIB);
        asked.measured(measurement(64 * MIB, 0, 10 * MIB), 10 * MIB, 10 * MIB);
        assert_eq!(asked.target(), 56 * MIB, "what was asked for would not fit");
        asked.measured(measurement(128 * MIB, 0, 10 * MIB), 10 * MIB, 10 * MIB);
        assert_eq!(asked.budget(), 100 * MIB);
    }

    #[test]
    fn what_others_take_of_the_limit_is_given_way_to_and_taken_again_slowly() {
        let mut plan = Plan::new(None, limit(128 * MIB));
        // 7/8 are 112 MiB, so 20 are too many, and we have 40.
        plan.measured(measurement(128 * MIB, 0, 132 * MIB), 40 * MIB, 40 * MIB);
        assert_eq!(plan.target(), 20 * MIB);
        plan.measured(measurement(128 * MIB, 0, 200 * MIB), 20 * MIB, 20 * MIB);
        assert_eq!(plan.target(), 8 * MIB, "not below an eighth of the budget");
        let mut raised = Vec::new();
        for _ in 0..80 {
            plan.measured(measurement(128 * MIB, 0, 50 * MIB), 8 * MIB, 8 * MIB);
            raised.push(plan.target() / MIB);
        }
        assert_eq!(
            (raised[8], raised[9], raised[10]),
            (8, 9, 10),
            "after ten calm seconds"
        );
        assert_eq!(raised[79], 64, "and not past the budget");
    }

    #[test]
    fn pressure_counts_where_memory_is_scarce() {
        use Pressure::{Told, Untold};
        #[rustfmt::skip]
        let cases = [
            // pressure, MiB not reclaimable of 128, available of 1,024, MiB left of 40 used, because
            (Told,   97,  512, 35, "the group is full of what cannot be taken back"),
            (Told,   96,  512, 64, "reads of cold files make pressure too"),
            (Told,   50,  127, 35, "the machine is full"),
            (Untold, 97,  127, 64, "nobody waits"),
            (Untold, 50,   63, 35, "where the kernel does not tell, less than a sixteenth does"),
        ];
        for (pressure, unreclaimable, available, want, because) in cases {
            let mut plan = Plan::new(None, limit(128 * MIB));
            let measurement = Measurement {
                machine: Some((1_024 * MIB, available * MIB)),
                pressure,
                ..measurement(128 * MIB, 0, unreclaimable * MIB)
            };
            plan.measured(measurement, 40 * MIB, 40 * MIB);
            assert_eq!(plan.target(), want * MIB, "{because}");
        }
    }

    #[test]
    fn refused_memory_halves_what_is_used() {
        let mut plan = Plan::new(None, limit(128 * MIB));
        plan.refused(64 * MIB);
        assert_eq!(plan.target(), 32 * MIB);
        (0..20).for_each(|_| plan.refused(plan.target()));
        assert_eq!(plan.target(), MIB, "not below a part of the budget");
    }

    #[test]
    fn the_cache_that_takes_most_gives_way() {
        let holdings = |files, open_files, paths| Holdings {
            files,
            open_files,
            paths,
        };
        assert_eq!(holdings(3, 2, 1).victim(), Some(Victim::Files));
        assert_eq!(holdings(1, 3, 2).victim(), Some(Victim::OpenFiles));
        assert_eq!(holdings(1, 2, 3).victim(), Some(Victim::Paths));
        assert_eq!(holdings(0, 0, 0).victim(), None);
    }

    #[test]
    fn connections_have_a_quarter_of_the_limit() {
        assert_eq!(connection_count_max(limit(64 * MIB), 32 * MIB), 2_706);
        assert_eq!(connection_count_max(limit(64 * MIB), 8 * MIB), 873);
        assert_eq!(connection_count_max(limit(64 * MIB), 1), 1);
        let kept = Kept {
            watches: 1_000,
            open_files: 10,
            connections: 2,
        };
        assert_eq!(kept.bytes(), 1_300_000 + 17_000 + 10_000);
    }

    #[test]
    fn sizes_that_cannot_be_kept_are_said() {
        let fits = Sizes {
            limit: limit(128 << 20),
            memory: None,
            map_bytes_max: None,
            path_count_max: None,
            connection_count_max: None,
        };
        let check = |sizes: Sizes, want: &[&str], because: &str| {
            let lines = warnings(&sizes);
            assert_eq!(lines.len(), want.len(), "{because}: {lines:?}");
            for (line, want) in lines.iter().zip(want) {
                assert!(line.contains(want), "{because}: {line}");
            }
        };
        check(fits, &[], "defaults are no wish");
        let at_limit = Sizes {
            memory: Some(128 << 20),
            map_bytes_max: Some(128 << 20),
            ..fits
        };
        check(at_limit, &[], "just what there is");
        let over = Sizes {
            memory: Some(129 << 20),
            map_bytes_max: Some(500 << 30),
            path_count_max: Some(1 << 24),
            connection_count_max: Some(14_091),
            ..fits
        };
        let want = [
            "--memory: cgroup allows 128 MiB, less than the requested 129 MiB",
            "--map-cache: cgroup allows 128 MiB, less than the requested 500 GiB",
            "--path-cache: 16777216 entries take at least 2.3 GiB, more than the budget of 129 MiB",
            "--connections: the budget of 129 MiB has room for 14090 of the 14091 requested",
        ];
        check(over, &want, "each has a line");
    }
}
