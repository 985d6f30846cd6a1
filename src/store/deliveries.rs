//! Results of jobs on their way to the waiting requests.
//!
//! Ten thousand requests may wait for one cold file. A few of them are informed in each iteration, so that hits that
//! arrive meanwhile are answered first. Responses that begin have a queue of their own: otherwise one cold file would
//! wait until each of some thousand long responses had sent its next part.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::CompletedJob;
use super::waiters::Waiters;
use crate::conn::RequestId;
use crate::job::{JobError, JobId};
use crate::sys::file::{FileVersion, OpenFile};

/// Maximum number of requests of one kind that are informed in one iteration.
pub(crate) const DELIVERY_COUNT_MAX: usize = 64;

/// What a request does with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeliveryKind {
    /// It begins its response, or asks again.
    Beginning,
    /// It continues its response.
    Continuation,
}

/// The result for one request.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// Its response, or another attempt.
    Answer(RequestId, Rc<CompletedJob>),
    /// More of the content of its response is resident, or has failed.
    More(RequestId, JobId, Result<(), JobError>),
    /// The file of its response was reopened in this version, or that has failed.
    Reopened(
        RequestId,
        JobId,
        FileVersion,
        Result<Arc<OpenFile>, JobError>,
    ),
}

impl Delivery {
    /// The request.
    pub(crate) fn id(&self) -> RequestId {
        match self {
            Delivery::Answer(id, _) | Delivery::More(id, ..) | Delivery::Reopened(id, ..) => *id,
        }
    }
}

/// The pending results, of each kind in the order in which their jobs were completed. A request waits for one job at a
/// time, so each kind is served in turn.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    beginnings: VecDeque<Delivery>,
    continuations: VecDeque<Delivery>,
}

impl Deliveries {
    /// Adds the result of a job for these requests.
    pub(crate) fn answer(
        &mut self,
        completed: CompletedJob,
        waiters: impl IntoIterator<Item = RequestId>,
    ) {
        let completed = Rc::new(completed);
        let one = |id| Delivery::Answer(id, Rc::clone(&completed));
        self.beginnings.extend(waiters.into_iter().map(one));
    }

    /// Has requests ask again: their job is completed, or takes too long.
    pub(crate) fn again<T>(&mut self, job: JobId, waiters: Waiters<T>) {
        self.answer(CompletedJob::again(job), waiters.ids());
    }

    /// Adds the result of a job for a response that has begun.
    pub(crate) fn more(&mut self, id: RequestId, job: JobId, result: Result<(), JobError>) {
        self.continuations
            .push_back(Delivery::More(id, job, result));
    }

    /// Adds the result of reopening a file for a response that has begun.
    pub(crate) fn reopened(
        &mut self,
        id: RequestId,
        job: JobId,
        version: FileVersion,
        opened: Result<Arc<OpenFile>, JobError>,
    ) {
        let delivery = Delivery::Reopened(id, job, version, opened);
        self.continuations.push_back(delivery);
    }

    fn queue(&mut self, kind: DeliveryKind) -> &mut VecDeque<Delivery> {
        match kind {
            DeliveryKind::Beginning => &mut self.beginnings,
            DeliveryKind::Continuation => &mut self.continuations,
        }
    }

    /// The next result of this kind.
    pub(crate) fn pop(&mut self, kind: DeliveryKind) -> Option<Delivery> {
        self.queue(kind).pop_front()
    }

    /// Number of pending results of this kind.
    pub(crate) fn count(&mut self, kind: DeliveryKind) -> usize {
        self.queue(kind).len()
    }

    /// Whether no result is pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.beginnings.is_empty() && self.continuations.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::ConnectionId;

    fn request(index: u32) -> RequestId {
        let generation = 1;
        RequestId::http1(ConnectionId { index, generation })
    }

    /// Who is told, of this kind.
    fn told(deliveries: &mut Deliveries, kind: DeliveryKind) -> Vec<RequestId> {
        let next = std::iter::from_fn(|| deliveries.pop(kind));
        next.map(|delivery| delivery.id()).collect()
    }

    #[test]
    fn an_answer_that_begins_does_not_wait_for_those_that_go_on() {
        let mut deliveries = Deliveries::default();
        let reading: Vec<RequestId> = (0..2_000).map(request).collect();
        for (id, job) in reading.iter().zip(1..) {
            deliveries.more(*id, JobId(job), Ok(()));
        }
        let cold = [request(3_000), request(3_001)];
        deliveries.answer(CompletedJob::again(JobId(5_000)), cold);
        assert_eq!(deliveries.count(DeliveryKind::Beginning), cold.len());
        assert_eq!(told(&mut deliveries, DeliveryKind::Beginning), cold);
        assert!(!deliveries.is_empty());
        assert_eq!(told(&mut deliveries, DeliveryKind::Continuation), reading);
        assert!(deliveries.is_empty());
    }
}
