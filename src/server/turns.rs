//! How long the loop is away from its wait, why, and whether it slept there.
//!
//! The loop may sleep in its wait and nowhere else. A sleep is a voluntary context switch, and the
//! kernel counts those of a thread: what it counts beyond one a wait was a sleep outside, a broken
//! promise that is shown as such. Asking the kernel is a system call, so it is asked now and then,
//! and after a turn that was long. Where a wait was so short that it may have been a sleep or not, it
//! counts as one, so the figure is never too high.

use std::time::{Duration, Instant};

use super::histogram::Histogram;
use crate::sys::usage::ThreadUsage;

/// A wait shorter than this found events at once and did not sleep.
const INSTANT_MAX: Duration = Duration::from_micros(2);
/// What a wait may take longer for each event that it finds, in nanoseconds.
const EVENT_NS: u64 = 100;
/// After a turn of this length the kernel is asked at once whether it held a sleep.
const LONG_TURN_MIN: Duration = Duration::from_millis(1);
/// Otherwise it is asked after a wait, this often.
const ASK_INTERVAL: Duration = Duration::from_millis(20);

/// What a turn was busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Changes of files.
    Changes,
    /// Signals.
    Signals,
    /// Taking connections.
    Accepting,
    /// Requests and responses.
    Connections,
    /// Results of disk jobs.
    Results,
    /// Filling caches before anybody asks.
    Warming,
    /// Deadlines of connections.
    Deadlines,
    /// Handing over log lines and jobs.
    HandingOver,
}

impl Cause {
    /// In words.
    pub(super) fn name(self) -> &'static str {
        match self {
            Cause::Changes => "changes of files",
            Cause::Signals => "signals",
            Cause::Accepting => "accepting connections",
            Cause::Connections => "requests and responses",
            Cause::Results => "results of disk jobs",
            Cause::Warming => "warming the caches",
            Cause::Deadlines => "deadlines",
            Cause::HandingOver => "handing jobs to the disk",
        }
    }
}

/// The longest turn so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Longest {
    /// How long it was.
    pub lasted: Duration,
    /// What took most of it.
    pub cause: Cause,
    /// When it ended.
    pub at: Instant,
}

/// The latest sleep outside the wait, as far as is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastSleep {
    /// What took most of the longest turn that it may have been in.
    pub cause: Cause,
    /// When the kernel told of it.
    pub at: Instant,
}

/// What the loop goes to the kernel for between two turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// What is there by now: there is something to do in any case, so this is no sleep.
    NotAtAll,
    /// Events, for as long as it takes them or a deadline to come.
    ForEvents,
}

/// Sleeps outside the wait.
#[derive(Debug, Default)]
struct Sleeps {
    /// Switches at the last time of asking.
    known: u64,
    /// Waits since then that were sleeps or may have been.
    waits: u64,
    outside: u64,
}

impl Sleeps {
    /// A wait is over that found so many events.
    fn after_wait(&mut self, wait: Wait, waited: Duration, event_count: usize) {
        let instant = INSTANT_MAX + Duration::from_nanos(EVENT_NS * event_count as u64);
        self.waits += u64::from(wait == Wait::ForEvents && waited >= instant);
    }

    /// The kernel has counted so many switches, and all waits so far are known. Gives how many sleeps
    /// outside that tells of.
    fn settle(&mut self, switches: u64) -> u64 {
        let new = switches.saturating_sub(self.known);
        let outside = new.saturating_sub(self.waits);
        self.outside += outside;
        self.known = switches;
        self.waits = 0;
        outside
    }
}

/// What is known of all turns.
#[derive(Debug)]
pub(super) struct Turns {
    histogram: Histogram,
    longest: Option<Longest>,
    sleeps: Sleeps,
    last_sleep: Option<LastSleep>,
    /// The longest turn since the kernel was asked last.
    longest_since: (Duration, Cause),
    /// When the kernel was asked last.
    asked: Instant,
    /// When the loop went to wait.
    left: Instant,
    /// When it came back.
    began: Instant,
    marked: Instant,
    /// What took most of the turn so far.
    most: (Duration, Cause),
}

impl Turns {
    /// Counts from now on; to be made on the thread of the loop.
    pub(super) fn new(now: Instant) -> Turns {
        Turns {
            histogram: Histogram::default(),
            longest: None,
            sleeps: Sleeps {
                known: ThreadUsage::now().voluntary_switches,
                ..Sleeps::default()
            },
            last_sleep: None,
            longest_since: (Duration::ZERO, Cause::Connections),
            asked: now,
            left: now,
            began: now,
            marked: now,
            most: (Duration::ZERO, Cause::Connections),
        }
    }

    /// The wait is over and has found so many events.
    pub(super) fn begin(&mut self, now: Instant, wait: Wait, event_count: usize) {
        let waited = now.saturating_duration_since(self.left);
        self.sleeps.after_wait(wait, waited, event_count);
        if now.saturating_duration_since(self.asked) >= ASK_INTERVAL {
            self.ask(now);
        }
        self.began = now;
        self.marked = now;
        self.most = (Duration::ZERO, Cause::Connections);
    }

    fn ask(&mut self, now: Instant) {
        self.asked_at(now, ThreadUsage::now().voluntary_switches);
    }

    fn asked_at(&mut self, now: Instant, switches: u64) {
        if self.sleeps.settle(switches) > 0 {
            self.last_sleep = Some(LastSleep {
                cause: self.longest_since.1,
                at: now,
            });
        }
        self.longest_since = (Duration::ZERO, Cause::Connections);
        self.asked = now;
    }

    /// What was done since the last mark was this. Reads the clock.
    pub(super) fn mark(&mut self, cause: Cause) {
        self.mark_at(Instant::now(), cause);
    }

    fn mark_at(&mut self, now: Instant, cause: Cause) {
        let lasted = now.saturating_duration_since(self.marked);
        self.marked = now;
        if lasted > self.most.0 {
            self.most = (lasted, cause);
        }
    }

    /// The turn is over at `now`.
    pub(super) fn end(&mut self, now: Instant) {
        self.mark_at(now, Cause::Connections);
        let lasted = now.saturating_duration_since(self.began);
        self.histogram.note(lasted);
        if lasted > self.longest_since.0 {
            self.longest_since = (lasted, self.most.1);
        }
        if self.longest.is_none_or(|longest| lasted > longest.lasted) {
            self.longest = Some(Longest {
                lasted,
                cause: self.most.1,
                at: now,
            });
        }
        if lasted >= LONG_TURN_MIN {
            self.ask(now);
        }
        self.left = now;
    }

    /// Turns by length.
    pub(super) fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    /// The longest turn.
    pub(super) fn longest(&self) -> Option<Longest> {
        self.longest
    }

    /// The latest sleep outside the wait.
    pub(super) fn last_sleep(&self) -> Option<LastSleep> {
        self.last_sleep
    }

    /// Sleeps outside the wait.
    pub(super) fn sleeps_outside(&self) -> u64 {
        self.sleeps.outside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a wait was, what the kernel has counted after it and the turn that followed, and the
    /// sleeps outside known then.
    #[test]
    fn a_switch_that_no_wait_explains_was_a_sleep_outside() {
        use Wait::{ForEvents, NotAtAll};
        #[rustfmt::skip]
        let steps = [
            (ForEvents, 1_000_000,  1, Some(1), 0, "a wait is one sleep"),
            (ForEvents,       300,  1, Some(1), 0, "events were there"),
            (ForEvents,     5_000, 64, Some(1), 0, "many events were there"),
            (ForEvents,    10_000,  1, Some(2), 0, "perhaps a sleep: it was one"),
            (ForEvents,    10_000,  1, Some(2), 0, "perhaps a sleep: it was none"),
            (ForEvents, 1_000_000,  1, Some(5), 2, "two sleeps within a turn"),
            (ForEvents, 1_000_000,  1, None,    2, "nobody asks"),
            (ForEvents, 1_000_000,  1, Some(8), 3, "one sleep in the two turns"),
            (NotAtAll,     10_000,  1, Some(9), 4, "a look that took its time is no wait"),
        ];
        let mut sleeps = Sleeps::default();
        for (wait, waited_ns, event_count, switches, outside, because) in steps {
            sleeps.after_wait(wait, Duration::from_nanos(waited_ns), event_count);
            if let Some(switches) = switches {
                sleeps.settle(switches);
            }
            assert_eq!(sleeps.outside, outside, "{because}");
        }
    }

    #[test]
    fn the_longest_turn_is_known_by_what_took_most_of_it() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut turns = Turns::new(start);
        turns.begin(at(1), Wait::ForEvents, 1);
        turns.mark_at(at(2), Cause::Accepting);
        turns.mark_at(at(7), Cause::Results);
        turns.end(at(8));
        turns.begin(at(20), Wait::ForEvents, 1);
        turns.end(at(21));
        let longest = turns.longest().expect("two turns");
        assert_eq!(
            (longest.lasted, longest.cause),
            (Duration::from_millis(7), Cause::Results)
        );
        assert_eq!(turns.histogram().buckets()[13], 1, "4,096 to 8,191 µs");
        assert_eq!(turns.histogram().buckets()[10], 1, "512 to 1,023 µs");
    }

    #[test]
    fn a_sleep_is_put_down_to_the_longest_turn_that_may_have_held_it() {
        let start = Instant::now();
        let at = |us| start + Duration::from_micros(us);
        let mut turns = Turns::new(start);
        let turn = |turns: &mut Turns, from, cause, to| {
            turns.begin(at(from), Wait::ForEvents, 1);
            turns.mark_at(at(to - 1), cause);
            turns.end(at(to));
        };
        turn(&mut turns, 100, Cause::Results, 800);
        turn(&mut turns, 900, Cause::Accepting, 1_000);
        let switches = turns.sleeps.known + 2;
        turns.asked_at(at(1_000), switches + 1);
        let sleep = turns.last_sleep().expect("a sleep");
        assert_eq!((sleep.cause, sleep.at), (Cause::Results, at(1_000)));
        turn(&mut turns, 1_100, Cause::Deadlines, 1_200);
        turns.asked_at(at(1_200), switches + 2);
        let same = turns.last_sleep().expect("the same");
        assert_eq!((same.cause, same.at), (Cause::Results, at(1_000)));
    }
}
