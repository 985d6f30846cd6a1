//! The state of one request in the store, from its head to the last byte of its response.
//!
//! The owner of a request keeps one [`RequestState`] and one [`SendState`] for it: an HTTP/1.1 connection has one of
//! each. A request may ask several times before it is answered. Each cache counts it once, and the explanation of its
//! response covers all attempts.

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

/// A request without a response.
#[derive(Debug, Default)]
pub(crate) struct RequestState {
    /// The job that it waits for. The result of any other job is ignored.
    waits_for: Option<JobId>,
    /// The start of its wait for the disk.
    waits_since: Option<Instant>,
    /// The path that answers it.
    pub(super) path: SourcePath,
    /// The results of the caches.
    explanation: Explanation,
}

impl RequestState {
    /// The job that it waits for.
    pub(crate) fn job(&self) -> Option<JobId> {
        self.waits_for
    }

    /// When it will have waited for the disk for `timeout`.
    pub(crate) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        self.waits_since?.checked_add(timeout)
    }

    /// The explanation of its response.
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

    /// Adds the results of the caches. The file cache reports a miss until a mapping answers. The first path counts,
    /// which is the requested one; of two lookups of it, the later one counts.
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

    #[cold]
    fn wait_for(&mut self, job: JobId, now: &Now) {
        self.waits_for = Some(job);
        self.waits_since.get_or_insert(now.monotonic);
    }

    #[cold]
    fn end_wait(&mut self, now: &Now) {
        self.waits_for = None;
        let waited = |since| now.monotonic.saturating_duration_since(since);
        self.explanation.disk = self.waits_since.take().map(waited);
    }

    /// Adds the result of the store.
    fn settle(&mut self, asked: &Asked, now: &Now) {
        if let Asked::Waiting(job) = asked {
            return self.wait_for(*job, now);
        }
        if self.waits_since.is_some() {
            self.end_wait(now);
        }
        let explanation = &mut self.explanation;
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

/// A response that is being sent.
#[derive(Debug, Default)]
pub(crate) struct SendState {
    /// The job that makes the next bytes resident, and the start of the wait.
    waits_for: Option<(JobId, Instant)>,
    /// When the next bytes were last known to be resident, once they had to wait for the peer.
    held_since: Option<Instant>,
}

impl SendState {
    /// The job that makes the next bytes resident.
    pub(crate) fn job(&self) -> Option<JobId> {
        self.waits_for.map(|(job, _)| job)
    }

    /// When it will have waited for the disk for `timeout`.
    pub(crate) fn deadline(&self, timeout: Duration) -> Option<Instant> {
        self.waits_for?.1.checked_add(timeout)
    }

    /// Notes that a job is completed. Returns whether the response waited for it.
    pub(crate) fn completed(&mut self, job: JobId) -> bool {
        let is_awaited = self.job() == Some(job);
        if is_awaited {
            self.waits_for = None;
        }
        is_awaited
    }

    /// The next bytes wait for the peer.
    pub(crate) fn held(&mut self, now: &Now) {
        self.held_since.get_or_insert(now.monotonic);
    }

    /// The next bytes wait for a job.
    pub(super) fn waits_for(&mut self, job: JobId, now: &Now) {
        self.waits_for = Some((job, now.monotonic));
    }

    /// Whether the next bytes have waited so long that the kernel may have reclaimed their pages. The caller checks
    /// them now, and the next time after the same interval.
    pub(crate) fn was_held_long(&mut self, now: &Now) -> bool {
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
    /// Answers a new request. With [`Asked::Waiting`] it has joined a job.
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

    /// Answers a request whose job is completed. `None`: it does not wait for that job.
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
