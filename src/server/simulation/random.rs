//! Numbers that follow from a seed.

/// A generator of 64-bit numbers (SplitMix64).
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// A sequence of its own for one part of a run.
    pub(super) fn fork(&mut self) -> Random {
        Random(self.next())
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// An index below `end`.
    pub(super) fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).expect("it is below an index")
    }

    /// A number from `start` to `end`, without `end`.
    pub(super) fn between(&mut self, start: u64, end: u64) -> u64 {
        start + self.below(end - start)
    }

    /// True once in so many times.
    pub(super) fn is_one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// An index below `end`, small ones more often: about as Zipf's law has it.
    pub(super) fn rank(&mut self, end: usize) -> usize {
        let limit = self.index(end) + 1;
        self.index(limit)
    }
}
