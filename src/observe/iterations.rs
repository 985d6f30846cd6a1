//! Durations of loop iterations, what they were spent on, and blocking calls in them.
//!
//! The loop may sleep in its wait and nowhere else. A sleep is a voluntary context switch, which the kernel
//! counts per thread: every switch beyond one per wait was a sleep outside the wait, and is shown as a
//! defect. Reading that count is a system call, so it is read only after the thread was switched out within
//! an iteration, which [`SwitchMark`] detects without a call: while nothing is slow, nothing is read. A
//! switch may also be a preemption, so a wait with a switch always counts as a sleep, and the figure is a
//! lower bound.
//!
//! Without such a mark the count is read at intervals, and a wait counts as a sleep unless it was too short
//! for one.

use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::sys::switched::SwitchMark;
use crate::sys::usage::ThreadUsage;

/// Without a mark: a wait shorter than this found events at once and did not sleep.
const INSTANT_MAX: Duration = Duration::from_micros(2);
/// Without a mark: additional time that a wait may take per event found, in nanoseconds.
const EVENT_NS: u64 = 100;
/// After an iteration of this duration with a possible switch the count is read at once, to find out whether
/// it was a sleep.
const LONG_ITERATION_MIN: Duration = Duration::from_millis(1);
/// After a shorter one it is read at this interval at most: a busy machine preempts the loop all the time.
const ASK_INTERVAL: Duration = Duration::from_millis(250);
/// Without a mark it is read after a wait, at this interval at most.
const BLIND_ASK_INTERVAL: Duration = Duration::from_millis(20);

/// Activities within an iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// File change events.
    Changes,
    /// Signals.
    Signals,
    /// Accepting connections.
    Accepting,
    /// Requests and responses.
    Connections,
    /// Results of disk jobs.
    Results,
    /// Prefetching into caches.
    Warming,
    /// Deadlines of connections.
    Deadlines,
    /// Evictions because of memory pressure.
    Evicting,
    /// Handing over log lines and jobs.
    Submitting,
}

impl Work {
    /// The name shown to people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Work::Changes => "changes of files",
            Work::Signals => "signals",
            Work::Accepting => "accepting connections",
            Work::Connections => "requests and responses",
            Work::Results => "results of disk jobs",
            Work::Warming => "warming the caches",
            Work::Deadlines => "deadlines",
            Work::Evicting => "giving memory back",
            Work::Submitting => "handing jobs to the disk",
        }
    }
}

/// The longest iteration so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Longest {
    /// Its duration.
    pub lasted: Duration,
    /// The activity that took most of it.
    pub cause: Work,
    /// When it ended.
    pub at: Instant,
}

/// The latest known sleep outside the wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastSleep {
    /// The main activity of the longest iteration in which it may have happened.
    pub cause: Work,
    /// When it was noticed.
    pub at: Instant,
}

/// How the loop polls between two iterations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Without waiting, since there is work anyway: not a sleep.
    Immediate,
    /// Until an event or a deadline.
    ForEvents,
}

/// Whether the thread lost its processor during a wait or an iteration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switched {
    /// It did not.
    No,
    /// It slept or was preempted.
    Yes,
    /// There is no mark.
    Unknown,
}

/// Sleeps outside the wait.
#[derive(Debug, Default)]
struct Sleeps {
    /// The switch count when it was last read.
    known: u64,
    /// Waits since then that may have been sleeps.
    waits: u64,
    outside: u64,
}

impl Sleeps {
    /// Counts a wait that found this many events.
    fn after_wait(
        &mut self,
        wait: Wait,
        switched: Switched,
        waited: impl FnOnce() -> Duration,
        event_count: usize,
    ) {
        let instant = || INSTANT_MAX + Duration::from_nanos(EVENT_NS * event_count as u64);
        let may_have_slept = match switched {
            Switched::No => false,
            Switched::Yes => true,
            Switched::Unknown => waited() >= instant(),
        };
        self.waits += u64::from(wait == Wait::ForEvents && may_have_slept);
    }

    /// Compares the kernel's switch count with the waits so far. Returns the number of newly found sleeps
    /// outside the wait.
    fn settle(&mut self, switches: u64) -> u64 {
        let new = switches.saturating_sub(self.known);
        let outside = new.saturating_sub(self.waits);
        self.outside += outside;
        self.known = switches;
        self.waits = 0;
        outside
    }
}

/// Statistics of all iterations.
#[derive(Debug)]
pub(crate) struct Iterations {
    histogram: Histogram,
    longest: Option<Longest>,
    sleeps: Sleeps,
    last_sleep: Option<LastSleep>,
    /// Set at the start of each wait and of each iteration.
    mark: Option<SwitchMark>,
    /// The longest iteration since the count was last read that may contain a sleep.
    suspect: Option<(Duration, Work)>,
    /// When the count was last read.
    asked: Instant,
    /// When the last wait began.
    left: Instant,
    /// When the last wait ended.
    began: Instant,
    marked: Instant,
    /// The activity that took most of the iteration so far.
    most: (Duration, Work),
}

impl Iterations {
    /// Starts counting; to be called on the thread of the loop.
    pub(crate) fn new(now: Instant) -> Iterations {
        Iterations {
            histogram: Histogram::default(),
            longest: None,
            sleeps: Sleeps {
                known: ThreadUsage::now().voluntary_switches,
                ..Sleeps::default()
            },
            last_sleep: None,
            mark: SwitchMark::of_this_thread(),
            suspect: None,
            asked: now,
            left: now,
            began: now,
            marked: now,
            most: (Duration::ZERO, Work::Connections),
        }
    }

    /// A wait has ended with this many events.
    pub(crate) fn begin(&mut self, now: Instant, wait: Wait, event_count: usize) {
        let (left, switched) = (self.left, self.switched());
        let waited = || now.saturating_duration_since(left);
        self.sleeps.after_wait(wait, switched, waited, event_count);
        if self.mark.is_none() && now.saturating_duration_since(self.asked) >= BLIND_ASK_INTERVAL {
            self.ask(now);
        }
        self.began = now;
        self.marked = now;
        self.most = (Duration::ZERO, Work::Connections);
    }

    /// Whether the thread was switched out since the previous call.
    fn switched(&self) -> Switched {
        let Some(mark) = &self.mark else {
            return Switched::Unknown;
        };
        let is_gone = mark.is_gone();
        mark.set();
        match is_gone {
            true => Switched::Yes,
            false => Switched::No,
        }
    }

    fn ask(&mut self, now: Instant) {
        self.asked_at(now, ThreadUsage::now().voluntary_switches);
    }

    fn asked_at(&mut self, now: Instant, switches: u64) {
        if self.sleeps.settle(switches) > 0 {
            let cause = self.suspect.map_or(Work::Connections, |suspect| suspect.1);
            self.last_sleep = Some(LastSleep { cause, at: now });
        }
        self.suspect = None;
        self.asked = now;
    }

    /// Assigns the time since the previous mark to this activity. Reads the clock.
    pub(crate) fn mark(&mut self, cause: Work) {
        self.mark_at(Instant::now(), cause);
    }

    fn mark_at(&mut self, now: Instant, cause: Work) {
        let lasted = now.saturating_duration_since(self.marked);
        self.marked = now;
        if lasted > self.most.0 {
            self.most = (lasted, cause);
        }
    }

    /// The iteration has ended at `now`.
    pub(crate) fn end(&mut self, now: Instant) {
        let switched = self.switched();
        self.end_at(now, switched);
    }

    fn end_at(&mut self, now: Instant, switched: Switched) {
        let lasted = now.saturating_duration_since(self.began);
        match self.marked == self.began {
            // Nothing was marked in it.
            true => self.most.0 = lasted,
            false => self.mark_at(now, Work::Connections),
        }
        self.histogram.note(lasted);
        if switched != Switched::No && self.suspect.is_none_or(|longest| lasted > longest.0) {
            self.suspect = Some((lasted, self.most.1));
        }
        if self.longest.is_none_or(|longest| lasted > longest.lasted) {
            self.longest = Some(Longest {
                lasted,
                cause: self.most.1,
                at: now,
            });
        }
        let is_due = match switched {
            Switched::Yes => now.saturating_duration_since(self.asked) >= ASK_INTERVAL,
            Switched::No | Switched::Unknown => false,
        };
        if is_due || (switched != Switched::No && lasted >= LONG_ITERATION_MIN) {
            self.ask(now);
        }
        self.left = now;
    }

    /// Durations of iterations.
    pub(crate) fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    /// The longest iteration.
    pub(crate) fn longest(&self) -> Option<Longest> {
        self.longest
    }

    /// The latest sleep outside the wait.
    pub(crate) fn last_sleep(&self) -> Option<LastSleep> {
        self.last_sleep
    }

    /// Sleeps outside the wait.
    pub(crate) fn sleeps_outside(&self) -> u64 {
        self.sleeps.outside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Duration of a wait, the kernel's count after it and the following iteration, and the sleeps outside
    /// known then.
    #[test]
    fn switches_beyond_the_waits_are_blocking_calls() {
        use Switched::{No, Unknown, Yes};
        use Wait::{ForEvents, Immediate};
        #[rustfmt::skip]
        let steps = [
            (ForEvents, Unknown, 1_000_000,  1, Some(1),  0, "a wait is one sleep"),
            (ForEvents, Unknown,       300,  1, Some(1),  0, "events were there"),
            (ForEvents, Unknown,     5_000, 64, Some(1),  0, "many events were there"),
            (ForEvents, Unknown,    10_000,  1, Some(2),  0, "perhaps a sleep: it was one"),
            (ForEvents, Unknown,    10_000,  1, Some(2),  0, "perhaps a sleep: it was none"),
            (ForEvents, Unknown, 1_000_000,  1, Some(5),  2, "two sleeps in one iteration"),
            (ForEvents, Unknown, 1_000_000,  1, None,     2, "nobody asks"),
            (ForEvents, Unknown, 1_000_000,  1, Some(8),  3, "one sleep in two iterations"),
            (Immediate,  Unknown,    10_000,  1, Some(9),  4, "a look that took its time is no wait"),
            (ForEvents, Yes,           300,  1, Some(10), 4, "switched out in the wait: a sleep there"),
            (ForEvents, No,      1_000_000, 99, Some(11), 5, "not in the wait: a sleep outside"),
        ];
        let mut sleeps = Sleeps::default();
        for (wait, switched, waited_ns, event_count, switches, outside, because) in steps {
            let waited = Duration::from_nanos(waited_ns);
            sleeps.after_wait(wait, switched, || waited, event_count);
            if let Some(switches) = switches {
                sleeps.settle(switches);
            }
            assert_eq!(sleeps.outside, outside, "{because}");
        }
    }

    #[test]
    fn the_longest_iteration_is_reported_with_its_main_activity() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut iterations = Iterations::new(start);
        iterations.begin(at(1), Wait::ForEvents, 1);
        iterations.mark_at(at(2), Work::Accepting);
        iterations.mark_at(at(7), Work::Results);
        iterations.end(at(8));
        iterations.begin(at(20), Wait::ForEvents, 1);
        iterations.end(at(21));
        let longest = iterations.longest().expect("two iterations");
        assert_eq!(
            (longest.lasted, longest.cause),
            (Duration::from_millis(7), Work::Results)
        );
        assert_eq!(
            iterations.histogram().to_vec()[13].count,
            1,
            "4,096 to 8,191 µs"
        );
        assert_eq!(
            iterations.histogram().to_vec()[10].count,
            1,
            "512 to 1,023 µs"
        );
    }

    #[test]
    fn a_sleep_is_attributed_to_the_longest_iteration_that_may_contain_it() {
        let start = Instant::now();
        let at = |us| start + Duration::from_micros(us);
        let mut iterations = Iterations::new(start);
        let iteration = |iterations: &mut Iterations, from, cause, to, switched| {
            iterations.begin(at(from), Wait::ForEvents, 1);
            iterations.mark_at(at(to - 1), cause);
            iterations.end_at(at(to), switched);
        };
        iteration(&mut iterations, 100, Work::Results, 800, Switched::Yes);
        iteration(&mut iterations, 810, Work::Changes, 1_700, Switched::No);
        iteration(
            &mut iterations,
            1_800,
            Work::Accepting,
            1_900,
            Switched::Yes,
        );
        let switches = iterations.sleeps.known + iterations.sleeps.waits;
        iterations.asked_at(at(2_000), switches + 1);
        let sleep = iterations.last_sleep().expect("a sleep");
        assert_eq!((sleep.cause, sleep.at), (Work::Results, at(2_000)));
        iteration(
            &mut iterations,
            2_100,
            Work::Deadlines,
            2_200,
            Switched::Yes,
        );
        let switches = iterations.sleeps.known + iterations.sleeps.waits;
        iterations.asked_at(at(2_300), switches);
        let same = iterations.last_sleep().expect("the same");
        assert_eq!((same.cause, same.at), (Work::Results, at(2_000)));
    }
}
