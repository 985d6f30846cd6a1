//! When memory that is free goes back to the kernel.
//!
//! The allocator keeps what is freed, for the next who needs it. That is resident, and counts against the limit,
//! though nobody uses it. Giving it back costs a call and, when it is needed again, a page fault for each page: so it
//! happens when it is worth it, on a helper thread.

use super::limits::Limit;
use crate::sys::allocator::HugePages;

/// Less than this stays: what a thread keeps at hand, and pages of the allocator that are in use in part.
const KEPT_BYTES_MIN: u64 = 4 << 20;
/// More stays where the limit is large: one part of it in so many. Where caches have given way, memory is short
/// whatever the limit, and no more than the least stays.
const KEPT_SHARE: u64 = 64;

/// Below such a limit huge pages are refused: an idle server has 10 MiB more resident with them, and what is free of a
/// huge page that is used in part goes back only when the kernel is short of memory.
const HUGE_PAGES_LIMIT_MIN: u64 = 2 << 30;

/// Whether huge pages are for a server under such a limit.
pub(crate) fn huge_pages(limit: Limit) -> HugePages {
    match limit.bytes >= HUGE_PAGES_LIMIT_MIN {
        true => HugePages::Allowed,
        false => HugePages::Refused,
    }
}

/// What is done about free memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FreeMemory {
    /// It stays.
    Kept,
    /// It goes back to the kernel.
    GivenBack,
}

/// The free memory that is resident.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Slack {
    bytes: u64,
    /// Slack after the last return: that much is fragmented, and another return would free nothing.
    left: u64,
    has_tried: bool,
    count: u64,
}

impl Slack {
    /// Resident memory that is not allocated, as last measured.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Times that memory was given back.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Takes in how much is resident and allocated, and whether caches have given way since the last time. Gives what
    /// to do now; after [`FreeMemory::GivenBack`] the next measurement is to come once it is done.
    pub(crate) fn measured(
        &mut self,
        limit: Limit,
        resident: u64,
        allocated: u64,
        entries_given_way: usize,
    ) -> FreeMemory {
        self.bytes = resident.saturating_sub(allocated);
        self.left = match std::mem::take(&mut self.has_tried) {
            true => self.bytes,
            false => self.left.min(self.bytes),
        };
        let share = match entries_given_way {
            0 => limit.bytes / KEPT_SHARE,
            _ => 0,
        };
        if self.bytes - self.left < share.max(KEPT_BYTES_MIN) {
            return FreeMemory::Kept;
        }
        self.has_tried = true;
        self.count += 1;
        FreeMemory::GivenBack
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::limits::LimitSource;

    const MIB: u64 = 1 << 20;

    fn limit(mib: u64) -> Limit {
        Limit {
            bytes: mib * MIB,
            source: LimitSource::ControlGroup,
        }
    }

    #[test]
    fn huge_pages_are_for_large_limits() {
        assert_eq!(huge_pages(limit(2_047)), HugePages::Refused);
        assert_eq!(huge_pages(limit(2_048)), HugePages::Allowed);
    }

    #[test]
    fn memory_goes_back_when_it_is_worth_it_and_not_again_for_what_stays() {
        use FreeMemory::{GivenBack, Kept};
        #[rustfmt::skip]
        let cases = [
            // limit in MiB, resident, allocated, gave way, so, because
            (64,     13, 10, 0, Kept,      "little"),
            (64,     14, 10, 0, GivenBack, "4 MiB of 64"),
            (64,     11, 10, 0, Kept,      "done"),
            (64,     14, 10, 0, Kept,      "1 MiB was left then"),
            (64,     15, 10, 0, GivenBack, "4 more"),
            (64,     15, 10, 0, Kept,      "that did nothing"),
            (64,     18, 10, 0, Kept,      "3 more"),
            (64,     13, 10, 0, Kept,      "less by itself"),
            (64,     17, 10, 0, GivenBack, "and 4 more than that"),
            (64,     10, 10, 0, Kept,      "done"),
            (64,     10, 12, 0, Kept,      "nothing of it is resident"),
            (24_576, 300, 0, 0, Kept,      "a small share of a large limit"),
            (24_576, 384, 0, 0, GivenBack, "a 64th of it"),
            (24_576, 0,   0, 0, Kept,      "done"),
            (24_576, 5,   0, 1, GivenBack, "caches have given way, so memory is short"),
        ];
        let mut slack = Slack::default();
        for (mib, resident, allocated, given_way, want, because) in cases {
            let got = slack.measured(limit(mib), resident * MIB, allocated * MIB, given_way);
            assert_eq!(got, want, "{because}");
        }
        assert_eq!((slack.bytes(), slack.count()), (5 * MIB, 5));
    }
}
