//! How large the budget is, and who gives way when it is used up.

use super::limits::{Limit, Source};

/// The share of the smallest limit that is the budget, unless told otherwise: one part in so many. The rest
/// is for what the kernel counts as this process': pages of files, buffers of sockets, inodes, page tables;
/// and for the allocator's own slack.
const BUDGET_SHARE: u64 = 2;
/// Bytes that a remembered path takes at least.
const PATH_BYTES_MIN: u64 = 150;

/// The budget in bytes: what was asked for, else a share of the limit.
pub fn budget(asked: Option<u64>, limit: Limit) -> u64 {
    asked.unwrap_or(limit.bytes / BUDGET_SHARE)
}

/// Sizes that may be too large for the memory there is.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// The smallest limit.
    pub limit: Limit,
    /// `--memory`, if it was given.
    pub memory: Option<u64>,
    /// `--map-cache`, if it was given.
    pub map_bytes_max: Option<u64>,
    /// `--path-cache`, if it was given.
    pub path_count_max: Option<usize>,
}

/// What an operator should know of sizes that were asked for: one line each.
pub fn warnings(sizes: &Sizes) -> Vec<String> {
    let limit = sizes.limit;
    let budget = budget(sizes.memory, limit);
    let of_limit = match limit.source {
        Source::Machine => format!("this machine has {}", mebibytes(limit.bytes)),
        source => format!("{} allows {}", source.name(), mebibytes(limit.bytes)),
    };
    let mut lines = Vec::new();
    if let Some(asked) = sizes.memory.filter(|asked| *asked > limit.bytes) {
        lines.push(format!(
            "--memory: {of_limit}, less than the {} asked for; caches cannot give way before the kernel \
             does: choose at most {}",
            mebibytes(asked),
            mebibytes(limit.bytes / BUDGET_SHARE),
        ));
    }
    if let Some(asked) = sizes.map_bytes_max.filter(|asked| *asked > limit.bytes) {
        lines.push(format!(
            "--map-cache: {of_limit}, less than the {} asked for; the kernel will take pages away that are \
             to be kept: choose at most {}",
            mebibytes(asked),
            mebibytes(limit.bytes / BUDGET_SHARE),
        ));
    }
    let path_bytes = |count: usize| (count as u64).saturating_mul(PATH_BYTES_MIN);
    if let Some(asked) = sizes
        .path_count_max
        .filter(|count| path_bytes(*count) > budget)
    {
        lines.push(format!(
            "--path-cache: {asked} paths take at least {}, more than the budget of {}; fewer will be \
             remembered: raise --memory or choose at most {}",
            mebibytes(path_bytes(asked)),
            mebibytes(budget),
            budget / PATH_BYTES_MIN,
        ));
    }
    lines
}

/// Rounded down to MiB where there is one.
fn mebibytes(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{bytes} bytes"),
        mib => format!("{mib} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(bytes: u64) -> Limit {
        Limit {
            bytes,
            source: Source::ControlGroup,
        }
    }

    #[test]
    fn the_budget_is_half_of_the_limit_unless_asked_for() {
        assert_eq!(budget(None, limit(128 << 20)), 64 << 20);
        assert_eq!(budget(Some(5), limit(128 << 20)), 5);
    }

    #[test]
    fn sizes_that_cannot_be_kept_are_said() {
        let fits = Sizes {
            limit: limit(128 << 20),
            memory: None,
            map_bytes_max: None,
            path_count_max: None,
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
            ..fits
        };
        let want = [
            "--memory: cgroup allows 128 MiB, less than the 129 MiB",
            "--map-cache: cgroup allows 128 MiB, less than the 512000 MiB",
            "--path-cache: 16777216 paths take at least 2400 MiB, more than the budget of 129 MiB",
        ];
        check(over, &want, "each has a line");
    }
}
