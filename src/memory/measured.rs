//! How much memory there is and how much of it is taken, as it was last measured.

use super::limits::{Groups, Limit, Resident};

/// Where limits and use are read: the control groups of this process, if it is in any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MemoryFiles {
    pub(crate) groups: Option<Groups>,
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Measured {
    /// The smallest of all limits.
    pub limit: Limit,
    /// The memory of the machine and what of it is available, where that is known.
    pub machine: Option<(u64, u64)>,
    /// Resident memory of this process.
    pub resident: Resident,
    /// What counts against the limit and cannot be taken back by the kernel; of a control group it may be
    /// that of other processes as well. `None` where nobody says.
    pub unreclaimable: Option<u64>,
}
