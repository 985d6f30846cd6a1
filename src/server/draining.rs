//! What is done when while the server stops.
//!
//! Nothing that a client has asked for is lost, as far as the protocol allows. Each connection is told of the end
//! with its next answer. Those that stay idle are ended one after the other, the one that rested longest first, so
//! that all others have time to ask: a request that crosses the end of its idle connection cannot be answered.
//! Connections are taken until those are there that the kernel had completed before.

use std::time::{Duration, Instant};

/// The share of the grace time over which idle connections are ended; the rest is for answers.
const RETIRE_SHARE: u32 = 4;
/// Over this at most. Whoever stops containers gives them ten seconds, unless told otherwise.
const RETIRE_TIME_MAX: Duration = Duration::from_secs(8);
/// How often idle connections are looked at in that time.
const LOOK_COUNT: u32 = 64;
/// And not more often than this: a look goes through all connections.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// How long a connection has been idle before it is ended: this share of the time over which they are ended.
const REST_SHARE: u32 = 8;
/// How long connections are taken. The kernel keeps one without a byte for
/// [`ACCEPT_DEFERRED_SECONDS`](super::listeners::ACCEPT_DEFERRED_SECONDS), and resets it if the listener is closed.
const ACCEPT_TIME: Duration = Duration::from_millis(1_250);
/// The share of the grace time in which none is taken any more: it is for their answers.
const ANSWER_SHARE: u32 = 4;

/// The time from the signal to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Draining {
    began: Instant,
    grace: Duration,
    idle_count: usize,
    retired: usize,
    next_look: Instant,
}

/// How many idle connections are to be ended now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// So many, of those that rested longest.
    pub count: usize,
    /// Idle since this moment or before.
    pub idle_since: Instant,
}

impl Draining {
    /// Begins, with so many idle connections.
    pub(super) fn new(began: Instant, grace: Duration, idle_count: usize) -> Draining {
        Draining {
            began,
            grace,
            idle_count,
            retired: 0,
            next_look: began,
        }
    }

    fn retire_time(&self) -> Duration {
        (self.grace / RETIRE_SHARE).min(RETIRE_TIME_MAX)
    }

    /// When what is still open is closed.
    pub(super) fn until(&self) -> Instant {
        self.began + self.grace
    }

    /// Until when connections are taken from listeners that are closed for good then.
    pub(super) fn accepts_until(&self) -> Instant {
        self.began + ACCEPT_TIME.min(self.grace / 2)
    }

    /// Until when they are taken at all.
    pub(super) fn accepts_at_most_until(&self) -> Instant {
        self.until() - self.grace / ANSWER_SHARE
    }

    /// When there is something to do.
    pub(super) fn next_at(&self) -> Instant {
        self.next_look.min(self.until())
    }

    /// Which idle connections are to be ended; nothing if it is not yet time to look.
    pub(super) fn look(&mut self, now: Instant) -> Option<Due> {
        if now < self.next_look {
            return None;
        }
        let time = self.retire_time();
        self.next_look = now + (time / LOOK_COUNT).max(LOOK_INTERVAL_MIN);
        let elapsed = now.saturating_duration_since(self.began);
        let count = if elapsed >= time {
            usize::MAX
        } else {
            // One more than there are, so that the first is not ended at once and the last not at the end.
            let due = (self.idle_count as u128 + 1) * elapsed.as_nanos() / time.as_nanos();
            let due = usize::try_from(due).unwrap_or(usize::MAX);
            due.saturating_sub(self.retired)
        };
        let rest = time / REST_SHARE;
        Some(Due {
            count,
            idle_since: now.checked_sub(rest).unwrap_or(self.began),
        })
    }

    /// Notes that an idle connection was ended.
    pub(super) fn retired(&mut self) {
        self.retired += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The times at which idle connections are ended, in milliseconds after the signal.
    fn ends(grace: Duration, idle_count: usize) -> Vec<u128> {
        let began = Instant::now();
        let mut draining = Draining::new(began, grace, idle_count);
        let mut now = began;
        let mut ends = Vec::new();
        while ends.len() < idle_count {
            assert!(now < draining.until(), "{ends:?}");
            if let Some(due) = draining.look(now) {
                for _ in 0..due.count.min(idle_count - ends.len()) {
                    draining.retired();
                    ends.push((now - began).as_millis());
                }
            }
            now = draining.next_at().max(now + Duration::from_millis(1));
        }
        ends
    }

    #[test]
    fn idle_connections_are_ended_one_after_the_other() {
        let seconds = Duration::from_secs;
        #[rustfmt::skip]
        let cases = [
            // grace     idle   first        last           because
            (seconds(30),    1, 3_700..4_000, 3_700..4_000, "one has half of the time to ask"),
            (seconds(30), 1_000,    0..200,   7_300..7_600, "a quarter of the grace time"),
            (seconds(600), 100,     0..200,   7_800..8_200, "and not longer than containers are given"),
            (seconds(1),    10,    15..40,      200..260,   "a short grace is a short time"),
        ];
        for (grace, idle_count, first, last, because) in cases {
            let ends = ends(grace, idle_count);
            assert!(first.contains(&ends[0]), "{because}: {ends:?}");
            assert!(last.contains(&ends[idle_count - 1]), "{because}: {ends:?}");
            let most_at_once = ends
                .chunk_by(|one, other| one == other)
                .map(<[u128]>::len)
                .max();
            assert!(
                most_at_once <= Some(1 + idle_count / 20),
                "{because}: {ends:?}"
            );
        }
    }

    #[test]
    fn no_grace_is_no_time() {
        let began = Instant::now();
        let mut draining = Draining::new(began, Duration::ZERO, 3);
        assert_eq!(draining.until(), began);
        assert_eq!(draining.accepts_at_most_until(), began);
        assert_eq!(draining.look(began).map(|due| due.count), Some(usize::MAX));
    }
}
