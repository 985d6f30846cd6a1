//! Stale responses: the last known version is served while the storage does not respond.
//!
//! A polled entry is trusted for `--revalidate`. A request in the second half of that time starts a revalidation in
//! the background, so an entry in frequent use is confirmed before it expires, and no request waits. If it has
//! expired:
//!
//! ```text
//!   known to have changed ───────────────────────────────► waits for the check, as for a miss
//!   checked since before its time was over ──┐
//!   its check has taken longer than patience ┤
//!   its last check failed a moment ago ──────┼─ younger than --stale ► the last version
//!   other checks on its device take so long ─┘  older ───────────────► waits; 504
//!   else: waits for its check, for the patience
//! ```

use std::collections::{HashSet, VecDeque};
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use super::inquiry::{Inquiry, KnownPath};
use super::jobs::{Jobs, Purpose};
use super::lookups::{Aim, LookUp};
use super::{Asked, Store};
use crate::cache::entry::Entry;
use crate::cache::key::PathKey;
use crate::clock::Now;
use crate::http::status::Status;
use crate::job::JobId;
use crate::job::Outcome;
use crate::settings::Settings;
use crate::site::resolve::LookupPlan;
use crate::site::response::Fixed;
use crate::site::sites::Site;

/// How long a request waits for the revalidation of an entry that may be served stale. Longer than a healthy disk or
/// network takes; shorter than a reader notices.
pub(super) const PATIENCE: Duration = Duration::from_millis(250);
/// The same for the path of the root. An event has reported its change, so most likely there is another root.
pub(super) const ROOT_PATIENCE: Duration = Duration::from_secs(1);
/// Pause after a failed revalidation.
const FAILED_PAUSE: Duration = Duration::from_secs(1);
/// Revalidations in the background use at most one in so many slots of the engine. On storage that does not respond
/// they never complete.
const CHECK_SHARE: usize = 4;
/// Maximum number of tracked entries that are served stale: enough to report the age of the oldest.
const FOLLOWED_COUNT_MAX: usize = 4_096;
/// Interval at which they are checked.
const FOLLOWED_PAUSE: Duration = Duration::from_millis(250);
/// How much older than `--revalidate` a response is before a line reports it: slow storage alone is not reported.
const SAID_AFTER: Duration = Duration::from_secs(1);

/// The decision about a request for an expired entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StaleDecision {
    /// It is answered from the entry, which has this age.
    Stale(Duration),
    /// It waits for a revalidation.
    Check,
    /// The revalidation has taken longer than any request waits.
    GivenUp,
}

/// Whether a line has reported stale responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NoticeState {
    No,
    /// It has, at this time, after this number of stale responses.
    Since(Instant, u64),
}

/// Statistics of stale responses.
#[derive(Clone, Copy, Debug)]
pub(super) struct StaleNumbers {
    /// Maximum age of stale responses in milliseconds.
    pub limit_ms: u64,
    /// Revalidations in the background since the start.
    pub checks_ahead: u64,
    /// Stale responses since the start.
    pub answers: u64,
    /// Entries that are served stale now.
    pub entries: usize,
    /// Age of the oldest of them in milliseconds.
    pub oldest_ms: u64,
}

/// The state of revalidations and stale responses.
#[derive(Debug)]
pub(super) struct Staleness {
    /// Maximum age of a stale response.
    limit: Duration,
    patience: Duration,
    /// The longest that a request waits.
    disk_timeout: Duration,
    /// Revalidations in flight.
    check_count: usize,
    /// Maximum number of revalidations in the background.
    check_count_max: usize,
    /// Revalidations that have not exceeded the patience, the oldest first.
    young: VecDeque<(Instant, JobId)>,
    /// Devices with a revalidation that has exceeded the patience, and none that has completed since.
    late: HashSet<Option<u64>, RandomState>,
    /// Entries that are served stale.
    followed: Vec<Weak<Entry>>,
    followed_at: Option<Instant>,
    checks_ahead: u64,
    answers: u64,
    said: NoticeState,
}

impl Staleness {
    pub(super) fn new(settings: &Settings) -> Staleness {
        let cache = &settings.cache;
        Staleness {
            // With a revalidation for each request, stale responses are not wanted.
            limit: match cache.revalidate {
                Duration::ZERO => Duration::ZERO,
                _ => settings.stale,
            },
            patience: PATIENCE.min(cache.revalidate),
            disk_timeout: settings.timeouts.disk,
            check_count: 0,
            check_count_max: (settings.disk_depth / CHECK_SHARE).max(1),
            young: VecDeque::new(),
            late: HashSet::default(),
            followed: Vec::new(),
            followed_at: None,
            checks_ahead: 0,
            answers: 0,
            said: NoticeState::No,
        }
    }

    /// Whether another revalidation may begin in the background.
    fn has_room(&self) -> bool {
        self.check_count < self.check_count_max
    }

    /// Notes that a revalidation was submitted.
    pub(super) fn check_began(&mut self, job: JobId, now: &Now) {
        self.check_count += 1;
        self.young.push_back((now.monotonic, job));
    }

    /// Notes that a comparison was submitted for a request.
    pub(super) fn await_began(&mut self, job: JobId, now: &Now) {
        self.young.push_back((now.monotonic, job));
    }

    /// Notes that a revalidation is completed. Its result applies to the storage of the device.
    pub(super) fn check_ended(&mut self, entry: Option<&Rc<Entry>>, outcome: &Outcome) {
        self.check_count -= 1;
        if let Some(entry) = entry
            && !matches!(outcome, Outcome::Failed(_))
        {
            self.late.remove(&entry.device());
        }
    }

    /// Counts a stale response, from an entry if there is one. Returns a line for standard error.
    fn note_answer(
        &mut self,
        entry: Option<&Rc<Entry>>,
        age: Duration,
        revalidate: Duration,
        now: &Now,
    ) -> Option<String> {
        self.answers += 1;
        if let Some(entry) = entry
            && entry.note_stale()
            && self.followed.len() < FOLLOWED_COUNT_MAX
        {
            self.followed.push(Rc::downgrade(entry));
        }
        if self.said != NoticeState::No || age <= revalidate + SAID_AFTER {
            return None;
        }
        self.said = NoticeState::Since(now.monotonic, self.answers - 1);
        let limit = self.limit.as_secs_f64();
        Some(format!(
            "the storage of the root does not answer; cached content is served as last confirmed, for up to {limit} s \
             (--stale)"
        ))
    }

    /// Whether requests get a stale response after a failed revalidation. The entry is revalidated later.
    pub(super) fn goes_on_without(&self, look_up: &LookUp, generation: u32, now: &Now) -> bool {
        let Some(entry) = &look_up.entry else {
            return false;
        };
        let age = entry.age(now, generation);
        let goes_on = look_up.aim == Aim::Check && age.is_some_and(|age| age < self.limit);
        if goes_on {
            entry.postpone_check(FAILED_PAUSE, now);
        }
        goes_on
    }

    /// The next revalidation that has exceeded the patience, if there is one. `is_under_way` tells which jobs are not
    /// completed.
    fn next_late(&mut self, is_under_way: impl Fn(JobId) -> bool, now: Instant) -> Option<JobId> {
        let (begun, job) = self.young.front().copied()?;
        if is_under_way(job) && begun + self.patience > now {
            return None;
        }
        self.young.pop_front();
        Some(job)
    }

    /// Notes that a revalidation has exceeded the patience. Returns whether its requests get a stale response.
    fn is_late(&mut self, entry: &Entry, generation: u32, now: &Now) -> bool {
        self.late.insert(entry.device());
        let age = entry.age(now, generation);
        age.is_some_and(|age| age < self.limit)
    }

    /// Removes entries that are no longer served stale. Returns a line for standard error when none is left.
    fn look_through(&mut self, generation: u32, now: &Now) -> Option<String> {
        let is_too_soon = |at: Instant| now.monotonic < at + FOLLOWED_PAUSE;
        if self.followed.is_empty() || self.followed_at.is_some_and(is_too_soon) {
            return None;
        }
        self.followed_at = Some(now.monotonic);
        let limit = self.limit;
        self.followed.retain(|entry| {
            let entry = entry.upgrade().filter(|entry| entry.was_stale());
            let age = entry.and_then(|entry| entry.age(now, generation));
            age.is_some_and(|age| age < limit)
        });
        let NoticeState::Since(begun, before) = self.said else {
            return None;
        };
        if !self.followed.is_empty() {
            return None;
        }
        self.said = NoticeState::No;
        let lasted = now.monotonic.saturating_duration_since(begun).as_secs_f64();
        let count = self.answers - before;
        Some(format!(
            "answers are fresh again; {count} were older than --revalidate in the last {lasted:.1} s"
        ))
    }

    /// Statistics of stale responses.
    pub(super) fn numbers(&self, generation: u32, now: &Now) -> StaleNumbers {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (entries, oldest) = self.oldest(now, generation);
        StaleNumbers {
            limit_ms: ms(self.limit),
            checks_ahead: self.checks_ahead,
            answers: self.answers,
            entries,
            oldest_ms: ms(oldest),
        }
    }

    /// Maximum age of a stale response.
    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// Number of entries that are served stale now, and the age of the oldest.
    fn oldest(&self, now: &Now, generation: u32) -> (usize, Duration) {
        let followed = self.followed.iter().filter_map(Weak::upgrade);
        let ages = followed.filter_map(|entry| {
            let age = entry.age(now, generation)?;
            (entry.was_stale() && age < self.limit).then_some(age)
        });
        ages.fold((0, Duration::ZERO), |(count, oldest), age| {
            (count + 1, oldest.max(age))
        })
    }
}

impl Store {
    /// Answers a request for an expired entry. With the plan of its directory the entry stands for a page.
    pub(super) fn answer_expired(
        &mut self,
        known: KnownPath<'_>,
        plan: Option<LookupPlan>,
        inquiry: &Inquiry<'_>,
    ) -> Asked {
        let (entry, now) = (known.entry, inquiry.now);
        let generation = self.paths.cache.generation();
        if entry.is_watched() && entry.age(now, generation).is_some() {
            let waiting = self.wait_for_recheck(known, inquiry);
            return waiting.unwrap_or_else(|| self.answer_known(known, plan, inquiry));
        }
        let age = match self.verdict(known.key(), entry, now) {
            StaleDecision::Stale(age) => age,
            StaleDecision::Check => return self.fetch(known.to_check(), plan, inquiry),
            StaleDecision::GivenUp => return Asked::Fixed(Fixed::Error(Status::GatewayTimeout)),
        };
        if !entry.is_check_postponed(now, generation) {
            self.check_ahead(known, now);
        }
        let answer = self.answer_known(known, plan, inquiry);
        if !matches!(answer, Asked::Waiting(_)) {
            self.note_stale(Some(entry), age, known.site, now);
        }
        answer
    }

    fn answer_known(
        &mut self,
        known: KnownPath<'_>,
        plan: Option<LookupPlan>,
        inquiry: &Inquiry<'_>,
    ) -> Asked {
        match plan {
            Some(plan) => self.answer_listed(known.raw_path, plan, inquiry),
            None => self.answer_from(known.entry, &[], inquiry),
        }
    }

    /// Decides about a request for an expired entry.
    fn verdict(&mut self, key: PathKey<'_>, entry: &Entry, now: &Now) -> StaleDecision {
        let generation = self.paths.cache.generation();
        let staleness = &self.freshness.staleness;
        let Some(age) = entry
            .age(now, generation)
            .filter(|_| staleness.limit > Duration::ZERO)
        else {
            return StaleDecision::Check;
        };
        let since = self.since(key.site);
        let pending = self
            .jobs
            .look_up(key)
            .filter(|look_up| look_up.is_as_of(since));
        let taken = pending.map(|look_up| now.monotonic.saturating_duration_since(look_up.begun));
        if age >= staleness.limit {
            return match taken {
                Some(taken) if taken >= staleness.disk_timeout => StaleDecision::GivenUp,
                _ => StaleDecision::Check,
            };
        }
        let is_answered = match taken {
            // It began in time, or has exceeded the patience.
            Some(taken) => {
                taken >= staleness.patience || entry.is_trusted_at(age.saturating_sub(taken))
            }
            None if entry.is_check_postponed(now, generation) => true,
            None if staleness.late.contains(&entry.device()) => true,
            None => false,
        };
        match is_answered {
            true => StaleDecision::Stale(age),
            false => StaleDecision::Check,
        }
    }

    /// Counts a stale response.
    pub(super) fn note_stale(
        &mut self,
        entry: Option<&Rc<Entry>>,
        age: Duration,
        site: &Site,
        now: &Now,
    ) {
        self.cache_report.stale = Some(age);
        let revalidate = site.policy.revalidate;
        let notice = self
            .freshness
            .staleness
            .note_answer(entry, age, revalidate, now);
        self.notices.extend(notice);
    }

    /// Starts a revalidation in the background, unless a lookup of the path is in flight, or too many are.
    pub(super) fn check_ahead(&mut self, known: KnownPath<'_>, now: &Now) {
        let KnownPath {
            site,
            raw_path,
            entry,
        } = known;
        if entry.is_watched() {
            return self.recheck(known);
        }
        if !self.freshness.staleness.has_room() || self.jobs.is_looked_up(known.key()) {
            return;
        }
        let Ok(plan) = site.policy.plan(raw_path) else {
            return;
        };
        let (job, look_up) = self.new_look_up(known.to_check(), plan, Aim::Check, site, now);
        entry.begin_check();
        self.recheck_content(known, now);
        let job = self.jobs.submit_own(job, Purpose::LookUp(look_up));
        self.freshness.staleness.checks_ahead += 1;
        self.freshness.staleness.check_began(job, now);
    }

    /// When the patience of the next request ends.
    pub(crate) fn patience_ends(&self, now: Instant) -> Option<Instant> {
        let oldest = self.freshness.staleness.young.front();
        let check = oldest.map(|(begun, _)| *begun + self.freshness.staleness.patience);
        let root = self.root_patience_ends(now).map(|(ends, _)| ends);
        check.into_iter().chain(root).min()
    }

    /// Has requests ask again whose patience has ended.
    pub(crate) fn expire_patience(&mut self, now: &Now) {
        let generation = self.paths.cache.generation();
        let Store {
            freshness,
            jobs,
            deliveries,
            notices,
            ..
        } = self;
        let staleness = &mut freshness.staleness;
        let is_under_way = |jobs: &Jobs, job| jobs.purpose(job).is_some();
        while let Some(job) = staleness.next_late(|job| is_under_way(jobs, job), now.monotonic) {
            let goes_on = match jobs.purpose(job) {
                Some(Purpose::LookUp(LookUp {
                    entry: Some(entry), ..
                })) => staleness.is_late(entry, generation, now),
                Some(Purpose::Compare(_)) => true,
                _ => false,
            };
            if goes_on {
                deliveries.again(job, jobs.take_waiters(job));
            }
        }
        notices.extend(staleness.look_through(generation, now));
        self.expire_root_patience(now);
    }
}

#[cfg(test)]
mod tests;
