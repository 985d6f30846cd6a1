//! What the store remembers of one request, from its head to the last byte of its answer.
//!
//! Whoever carries requests keeps one [`RequestState`] and one [`SendState`] for each that is under way:
//! HTTP/1.1 has one of each on a connection. A request may have to be asked for several times before it is
//! answered; each cache counts it once, and the explanation of its answer covers all of them.

use std::mem;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::holdings::Look;
use super::inquiry::Inquiry;
use super::source_path::SourcePath;
use super::{Asked, CacheReport, CompletedJob, Counted, LookupResult, Requester, Store};
use crate::clock::Now;
use crate::conn::outbox::Source;
use crate::conn::{CacheResult, Explanation};
use crate::http::facts::Facts;
use crate::job::JobId;
use crate::site::response::{Fixed, Selected};
use crate::store::event_sync::EventSync;
use crate::store::residency::TRUST_MAPPED;

/// A request for which an answer is looked for.
#[derive(Debug, Default)]
pub(crate) struct RequestState {
    /// The job whose completion leads to its answer. The completion of any other comes too late.
    waits_for: Option<JobId>,
    /// When it began to wait for the disk.
    waits_since: Option<Instant>,
    /// The path that it is answered from.
    pub(super) path: SourcePath,
    /// Which caches were asked, and what they said.
    explanation: Explanation,
}

impl RequestState {
    /// The job whose completion leads to its answer.
    pub(crate) fn job(&self) -> Option<JobId> {
        self.waits_for
    }

    /// When it has waited for the disk for so long.
    pub(crate) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        self.waits_since?.checked_add(timeout)
    }

    /// Where its answer comes from.
    pub(crate) fn explanation(&self) -> Explanation {
        self.explanation
    }

    /// The caches that have counted it.
    fn counted(&self) -> Counted {
        let look = |said: Option<CacheResult>| match said {
            Some(_) => Look::Again,
            None => Look::First,
        };
        Counted {
            path: look(self.explanation.path),
            mapping: look(self.explanation.map),
            descriptor: look(self.explanation.descriptor),
        }
    }

    /// Takes in what the caches said. A mapping that was looked for and did not answer was missed. Of paths the first
    /// counts, which is the one that was asked for; of its two look-ups the later, if the caches were asked again.
    pub(super) fn note(&mut self, report: CacheReport) {
        let explanation = &mut self.explanation;
        if self.path == SourcePath::Requested {
            explanation.path = report.path.or(explanation.path);
            explanation.stale = report.stale;
        } else {
            explanation.stale = report.stale.or(explanation.stale);
        }
        if report.mapping {
            explanation.map = Some(CacheResult::Miss);
        }
        explanation.descriptor = report.descriptor.or(explanation.descriptor);
    }

    /// Takes in what it has led to.
    fn settle(&mut self, asked: &Asked, now: &Now) {
        if let Asked::Waiting(job) = asked {
            self.waits_for = Some(*job);
            self.waits_since.get_or_insert(now.monotonic);
            return;
        }
        self.waits_for = None;
        let waited = |since| now.monotonic.saturating_duration_since(since);
        let explanation = &mut self.explanation;
        explanation.disk = self.waits_since.take().map(waited);
        if let Asked::Selected {
            selected, source, ..
        } = asked
        {
            explanation.head = match selected {
                Selected::Whole | Selected::NotModified => explanation.path,
                _ => Some(CacheResult::Miss),
            };
            match source {
                Some(Source::Mapped(_)) => {
                    explanation.map = Some(CacheResult::Hit);
                    explanation.descriptor = None;
                }
                Some(Source::File(_)) => {}
                None => (explanation.map, explanation.descriptor) = (None, None),
            }
        }
    }
}

/// An answer that is being sent.
#[derive(Debug, Default)]
pub(crate) struct SendState {
    /// The job that makes resident what goes out next, and when that began.
    waits_for: Option<(JobId, Instant)>,
    /// When what goes out next was last seen to be resident, once it had to wait.
    held_since: Option<Instant>,
}

impl SendState {
    /// The job that makes resident what goes out next.
    pub(crate) fn job(&self) -> Option<JobId> {
        self.waits_for.map(|(job, _)| job)
    }

    /// When it has waited for the disk for so long.
    pub(crate) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        self.waits_for?.1.checked_add(timeout)
    }

    /// A job is done. Gives whether it was the one that is waited for.
    pub(crate) fn completed(&mut self, job: JobId) -> bool {
        let is_awaited = self.job() == Some(job);
        if is_awaited {
            self.waits_for = None;
        }
        is_awaited
    }

    /// What goes out next waits for its peer.
    pub(crate) fn held(&mut self, now: &Now) {
        self.held_since.get_or_insert(now.monotonic);
    }

    /// What goes out next waits for a job.
    pub(super) fn waits_for(&mut self, job: JobId, now: &Now) {
        self.waits_for = Some((job, now.monotonic));
    }

    /// Whether what goes out next has waited so long that its pages may have gone. They are looked at now,
    /// and the next time after as long again.
    pub(super) fn was_held_long(&mut self, now: &Now) -> bool {
        let Some(since) = &mut self.held_since else {
            return false;
        };
        let is_long = now.monotonic.saturating_duration_since(*since) > TRUST_MAPPED;
        if is_long {
            *since = now.monotonic;
        }
        is_long
    }
}

impl Store {
    /// What a new request leads to. With [`Asked::Waiting`] it is among those that wait.
    pub(crate) fn ask(
        &mut self,
        request: &Facts<'_>,
        requester: Requester<'_>,
        event_sync: &mut EventSync,
        state: &mut RequestState,
        now: &Now,
    ) -> Asked {
        if event_sync.is_drain_due() {
            self.drop_changed();
        }
        *state = RequestState::default();
        let inquiry = Inquiry::new(request, requester, now);
        let asked = self.find(&inquiry);
        state.note(mem::take(&mut self.cache_report));
        let asked = match asked {
            Asked::Fallback | Asked::Fixed(_) => self.go_on(asked, &inquiry, state),
            asked => asked,
        };
        state.settle(&asked, now);
        asked
    }

    /// What a request leads to whose job is done; nothing if it does not wait for that job.
    pub(crate) fn resume(
        &mut self,
        completed: &CompletedJob,
        request: &Facts<'_>,
        requester: Requester<'_>,
        state: &mut RequestState,
        now: &Now,
    ) -> Option<Asked> {
        if state.job() != Some(completed.job) {
            return None;
        }
        let requester = Requester {
            looked: state.counted(),
            ..requester
        };
        let inquiry = &state.path.inquiry(request, requester, now);
        let asked = match &completed.result {
            LookupResult::Failed(status) => Asked::Fixed(Fixed::Error(*status)),
            LookupResult::Document(document) => Asked::Document(Rc::clone(document)),
            LookupResult::Again => self.find(inquiry),
            LookupResult::Entry(entry) => self.answer_from(entry, &completed.opened, inquiry),
        };
        state.note(mem::take(&mut self.cache_report));
        let asked = self.go_on(asked, inquiry, state);
        state.settle(&asked, now);
        Some(asked)
    }

    /// Answers a request with 504 that has waited for the disk for longer than `timeout`; nothing if it has not. With
    /// the error that it has led to before, if the page of that is what it has waited for.
    pub(crate) fn expire(
        &mut self,
        request: &Facts<'_>,
        requester: Requester<'_>,
        state: &mut RequestState,
        timeout: Duration,
        now: &Now,
    ) -> Option<Asked> {
        let deadline = state.deadline(timeout)?;
        if deadline > now.monotonic {
            return None;
        }
        if let Some(job) = state.job() {
            self.leave(job, requester.by.id);
        }
        let asked = self.give_up(&Inquiry::new(request, requester, now), state);
        state.settle(&asked, now);
        Some(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::sample_now as now;
    use crate::http::status::Status;

    #[test]
    fn a_request_explains_all_that_was_asked_for_it_and_is_counted_once() {
        let (mut now, mut state) = (now(), RequestState::default());
        state.note(CacheReport {
            path: Some(CacheResult::Miss),
            ..CacheReport::default()
        });
        state.settle(&Asked::Waiting(JobId(1)), &now);
        assert_eq!(state.job(), Some(JobId(1)));
        let timeout = Duration::from_secs(2);
        let deadline = now.monotonic + timeout;
        now.monotonic += Duration::from_millis(20);
        state.note(CacheReport {
            mapping: true,
            descriptor: Some(CacheResult::Hit),
            ..CacheReport::default()
        });
        state.settle(&Asked::Waiting(JobId(2)), &now);
        let all = Counted {
            path: Look::Again,
            mapping: Look::Again,
            descriptor: Look::Again,
        };
        assert_eq!(state.counted(), all);
        let since_the_first = state.deadline(timeout);
        assert_eq!(
            since_the_first,
            Some(deadline),
            "it has one time for all jobs"
        );
        now.monotonic += Duration::from_millis(10);
        state.note(CacheReport::default());
        state.settle(&Asked::Fixed(Fixed::Error(Status::NotFound)), &now);
        assert_eq!((state.job(), state.deadline(timeout)), (None, None));
        let expected = Explanation {
            path: Some(CacheResult::Miss),
            map: Some(CacheResult::Miss),
            descriptor: Some(CacheResult::Hit),
            disk: Some(Duration::from_millis(30)),
            ..Explanation::default()
        };
        assert_eq!(state.explanation(), expected);
    }

    #[test]
    fn an_answer_that_had_to_wait_is_looked_at_once_a_while() {
        let (mut now, mut sending) = (now(), SendState::default());
        now.monotonic += 2 * TRUST_MAPPED;
        assert!(!sending.was_held_long(&now), "it never had to wait");
        sending.held(&now);
        #[rustfmt::skip]
        let cases = [
            (TRUST_MAPPED,               false),
            (Duration::from_nanos(1),    true),
            (TRUST_MAPPED,               false),
            (Duration::from_nanos(1),    true),
        ];
        for (passed, want) in cases {
            now.monotonic += passed;
            assert_eq!(sending.was_held_long(&now), want, "{passed:?}");
        }
    }

    #[test]
    fn only_the_job_that_is_waited_for_lets_an_answer_go_on() {
        let (mut now, mut sending) = (now(), SendState::default());
        let timeout = Duration::from_secs(2);
        assert_eq!(sending.deadline(timeout), None);
        sending.waits_for(JobId(7), &now);
        assert!(!sending.completed(JobId(6)));
        assert_eq!(sending.job(), Some(JobId(7)));
        assert_eq!(sending.deadline(timeout), Some(now.monotonic + timeout));
        assert!(sending.completed(JobId(7)));
        assert!(!sending.completed(JobId(7)));
        assert_eq!(sending.deadline(timeout), None);
        now.monotonic += Duration::from_secs(1);
        sending.waits_for(JobId(8), &now);
        let deadline = now.monotonic + timeout;
        assert_eq!(
            sending.deadline(timeout),
            Some(deadline),
            "each job has its time"
        );
    }
}
