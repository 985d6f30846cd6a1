//! What the calling thread has cost so far, `getrusage(2)` with `RUSAGE_THREAD`. About 0.2 µs.

use nix::sys::resource::{UsageWho, getrusage};

/// Counters of one thread since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ThreadUsage {
    /// Times that it gave the processor up to wait for something.
    pub voluntary_switches: u64,
    /// Times that the processor was taken from it.
    pub involuntary_switches: u64,
    /// Pages that it touched and had to wait for.
    pub major_faults: u64,
}

impl ThreadUsage {
    /// Of the calling thread, now. Zeroes where the kernel does not say.
    pub(crate) fn now() -> ThreadUsage {
        let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else {
            return ThreadUsage::default();
        };
        let count = |value: i64| u64::try_from(value).unwrap_or_default();
        ThreadUsage {
            voluntary_switches: count(usage.voluntary_context_switches()),
            involuntary_switches: count(usage.involuntary_context_switches()),
            major_faults: count(usage.major_page_faults()),
        }
    }
}
