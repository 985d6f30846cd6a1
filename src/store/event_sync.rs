//! Whether all changes that were made before a request was sent are known.
//!
//! After `rename()` returns, the next request must get the new file. So the events that were queued before the bytes
//! of a request arrived are read before it is answered. The loop reads them once in each iteration, when it wakes. For
//! bytes that arrived later they are read again, once for all requests in these bytes.

/// What the next received bytes begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// A new request.
    BetweenRequests,
    /// The rest of a request, and perhaps more.
    WithinRequest,
}

/// Which changes are known of those that were made before the bytes of a connection were sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EventSync {
    /// The iteration in which the kernel reported that bytes can be received, until they are.
    reported_in: Option<u64>,
    taken_in: TakenIn,
}

/// Which of these changes are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TakenIn {
    /// All that precede one complete request, which arrived before the events were read. Later requests in the same
    /// bytes may have arrived after that.
    BeforeOne,
    /// Perhaps not all.
    #[default]
    Unknown,
    /// All.
    All,
}

impl EventSync {
    /// Notes that the kernel reports received bytes in this iteration.
    pub(crate) fn reported(&mut self, iteration: u64) {
        self.reported_in = Some(iteration);
    }

    /// Notes that bytes are received in this iteration. If the kernel reported them in the same one, the first of them
    /// arrived before the loop read the events.
    pub(crate) fn received(&mut self, iteration: u64, position: Position) {
        let was_there = self.reported_in.take() == Some(iteration);
        self.taken_in = match position {
            Position::BetweenRequests if was_there => TakenIn::BeforeOne,
            Position::BetweenRequests | Position::WithinRequest => TakenIn::Unknown,
        };
    }

    /// Whether events have to be read before the next request is answered.
    pub(super) fn is_drain_due(&mut self) -> bool {
        let (next, is_due) = match self.taken_in {
            TakenIn::BeforeOne => (TakenIn::Unknown, false),
            TakenIn::Unknown => (TakenIn::All, true),
            TakenIn::All => (TakenIn::All, false),
        };
        self.taken_in = next;
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_in_once_for_all_requests_that_came_after_the_wake() {
        use Position::{BetweenRequests, WithinRequest};
        #[rustfmt::skip]
        let cases = [
            (None,                           [true, false, false], "a new connection: nothing is known"),
            (Some((Some(7), BetweenRequests)), [false, true, false], "the first was there, others may not have been"),
            (Some((None, BetweenRequests)),    [true, false, false], "once for all that were received together"),
            (Some((None, BetweenRequests)),    [true, false, false], "and again for those that came later"),
            (Some((Some(6), BetweenRequests)), [true, false, false], "reported long ago: more may have come since"),
            (Some((Some(7), WithinRequest)),   [true, false, false], "its end may have come later than its begin"),
        ];
        let mut sync = EventSync::default();
        for (received, due, because) in cases {
            if let Some((reported_in, position)) = received {
                if let Some(iteration) = reported_in {
                    sync.reported(iteration);
                }
                sync.received(7, position);
            }
            assert_eq!([(); 3].map(|()| sync.is_drain_due()), due, "{because}");
        }
    }
}
