//! What jobs have found out, on its way to those who waited.
//!
//! Ten thousand may wait for one cold file. They are told a few in each turn, so that hits that came
//! meanwhile go first.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::CompletedJob;
use super::waiters::Waiters;
use crate::conn::RequestId;
use crate::job::{JobError, JobId};
use crate::sys::file::{FileVersion, OpenFile};

/// Requests that are told in one turn.
pub(crate) const DELIVERY_COUNT_MAX: usize = 64;

/// What one request is told.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// What it leads to.
    Answer(RequestId, Rc<CompletedJob>),
    /// More of the content of its answer is there, or will never be.
    More(RequestId, JobId, Result<(), JobError>),
    /// The file that its answer goes on with is open again, in this version, or it is not to be had.
    Reopened(
        RequestId,
        JobId,
        FileVersion,
        Result<Arc<OpenFile>, JobError>,
    ),
}

impl Delivery {
    /// Who is told.
    pub(crate) fn id(&self) -> RequestId {
        match self {
            Delivery::Answer(id, _) | Delivery::More(id, ..) | Delivery::Reopened(id, ..) => *id,
        }
    }
}

/// Those that were not yet told, in the order in which their jobs were done.
#[derive(Debug, Default)]
pub(crate) struct Deliveries {
    queue: VecDeque<Delivery>,
}

impl Deliveries {
    /// A job is done, and these waited for it.
    pub(crate) fn answer(
        &mut self,
        completed: CompletedJob,
        waiters: impl IntoIterator<Item = RequestId>,
    ) {
        let completed = Rc::new(completed);
        let one = |id| Delivery::Answer(id, Rc::clone(&completed));
        self.queue.extend(waiters.into_iter().map(one));
    }

    /// A job is done, or takes too long: those who waited for it ask once more.
    pub(crate) fn again<T>(&mut self, job: JobId, waiters: Waiters<T>) {
        self.answer(CompletedJob::again(job), waiters.ids());
    }

    /// A job is done, and one waited for it who is being answered already.
    pub(crate) fn more(&mut self, id: RequestId, job: JobId, result: Result<(), JobError>) {
        self.queue.push_back(Delivery::More(id, job, result));
    }

    /// A file was opened again for one who is being answered, or was not.
    pub(crate) fn reopened(
        &mut self,
        id: RequestId,
        job: JobId,
        version: FileVersion,
        opened: Result<Arc<OpenFile>, JobError>,
    ) {
        let delivery = Delivery::Reopened(id, job, version, opened);
        self.queue.push_back(delivery);
    }

    /// The next.
    pub(crate) fn pop(&mut self) -> Option<Delivery> {
        self.queue.pop_front()
    }

    /// How many were not yet told.
    pub(crate) fn count(&self) -> usize {
        self.queue.len()
    }
}
