//! What a peer has acknowledged of what is sent to it. Only looked at when it seems to take nothing.

use std::time::{Duration, Instant};

/// Looks in one send time-out: a peer that has stopped is noticed this share of it late.
const LOOK_COUNT: u32 = 4;

/// What was seen when it was last looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Uptake {
    /// Bytes acknowledged since the connection began.
    acknowledged: u64,
    /// When that was seen.
    looked: Instant,
    /// From where the rate of the answers under way is measured; nothing before the first look at them.
    pub rate_from: Option<(Instant, u64)>,
}

impl Uptake {
    /// Of a connection that begins.
    pub(super) fn new(now: Instant) -> Uptake {
        Uptake {
            acknowledged: 0,
            looked: now,
            rate_from: None,
        }
    }

    /// When to look again at a peer that took its last byte at `since`.
    pub(super) fn deadline(&self, since: Instant, send_timeout: Duration) -> Option<Instant> {
        since
            .max(self.looked)
            .checked_add((send_timeout / LOOK_COUNT).max(Duration::from_millis(1)))
    }

    /// Takes in what is acknowledged by now; whether that is more than before.
    pub(super) fn note(&mut self, acknowledged: u64, now: Instant) -> bool {
        let is_more = acknowledged > self.acknowledged;
        self.acknowledged = acknowledged;
        self.looked = now;
        self.rate_from.get_or_insert((now, acknowledged));
        is_more
    }

    /// Whether fewer than `rate_min` bytes a second were acknowledged on average, over `time` at least.
    pub(super) fn is_below(&self, rate_min: u64, time: Duration, now: Instant) -> bool {
        let Some((from, before)) = self.rate_from else {
            return false;
        };
        let elapsed = now.saturating_duration_since(from);
        let taken = u128::from(self.acknowledged - before) * 1_000;
        elapsed >= time && taken < u128::from(rate_min) * elapsed.as_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_measured_over_the_whole_time() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let time = Duration::from_secs(60);
        let mut uptake = Uptake::new(start);
        assert!(
            !uptake.is_below(1_000, time, after(100)),
            "nothing was measured"
        );
        assert!(uptake.note(5_000, after(100)));
        assert!(!uptake.note(5_000, after(159)));
        assert!(
            !uptake.is_below(1_000, time, after(159)),
            "a pause is shorter than the time"
        );
        assert!(uptake.note(65_000, after(160)));
        assert!(
            !uptake.is_below(1_000, time, after(160)),
            "60,000 bytes in 60 s"
        );
        assert!(uptake.is_below(1_001, time, after(160)));
        assert!(uptake.is_below(1_000, time, after(161)));
        assert!(!uptake.is_below(0, time, after(10_000)), "no bound");
    }
}
