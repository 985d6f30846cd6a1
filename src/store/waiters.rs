//! The requests that wait for one job. There may be thousands, and each may leave at any time: joining and leaving
//! take O(1).

use std::collections::HashMap;

use foldhash::fast::RandomState;

use crate::conn::RequestId;

/// Waiting requests, each with a value.
#[derive(Debug)]
pub(crate) struct Waiters<T> {
    by_id: HashMap<RequestId, (u64, T), RandomState>,
    next: u64,
}

impl<T> Default for Waiters<T> {
    fn default() -> Waiters<T> {
        Waiters {
            by_id: HashMap::default(),
            next: 0,
        }
    }
}

impl<T> Waiters<T> {
    /// One waiting request.
    pub(crate) fn of(id: RequestId, what: T) -> Waiters<T> {
        let mut waiters = Waiters::default();
        waiters.join(id, what);
        waiters
    }

    /// Adds a request. A request that already waits keeps its position.
    pub(crate) fn join(&mut self, id: RequestId, what: T) {
        self.by_id.entry(id).or_insert((self.next, what));
        self.next += 1;
    }

    /// Removes a request.
    pub(crate) fn leave(&mut self, id: RequestId) {
        self.by_id.remove(&id);
    }

    /// Whether no request waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The waiting requests, in the order of joining.
    pub(crate) fn ids(self) -> impl Iterator<Item = RequestId> {
        self.in_order().into_iter().map(|(id, _)| id)
    }

    /// The waiting requests with their values, in the order of joining.
    pub(crate) fn in_order(self) -> Vec<(RequestId, T)> {
        let mut waiters: Vec<_> = self.by_id.into_iter().collect();
        waiters.sort_unstable_by_key(|(_, (place, _))| *place);
        waiters
            .into_iter()
            .map(|(id, (_, what))| (id, what))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conn::ConnectionId;

    fn id(index: u32) -> RequestId {
        RequestId::http1(ConnectionId {
            index,
            generation: 1,
        })
    }

    #[test]
    fn order_is_that_of_joining_whoever_leaves() {
        let mut waiters = Waiters::of(id(7), 'a');
        for (index, what) in [(3, 'b'), (9, 'c'), (7, 'd'), (1, 'e')] {
            waiters.join(id(index), what);
        }
        waiters.leave(id(9));
        waiters.leave(id(9));
        waiters.join(id(9), 'f');
        assert!(!waiters.is_empty());
        let expected = [(id(7), 'a'), (id(3), 'b'), (id(1), 'e'), (id(9), 'f')];
        assert_eq!(waiters.in_order(), expected);
    }
}
