//! Whether the changes are known that were made before a request was sent.
//!
//! Whoever has seen `rename()` return must get the new file with the next request. So the events that were queued
//! before its bytes came have to be taken in before it is answered. The loop does that once, when it wakes; for
//! bytes that came later it is done again, once for all requests among them.

/// What the bytes begin with that are received next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    /// A new request.
    BetweenRequests,
    /// The rest of one, or more than that.
    WithinRequest,
}

/// What is known of the changes that were made before the bytes of a connection were sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct EventSync {
    /// The iteration of the loop in which the kernel reported bytes, until they are received.
    reported_in: Option<u64>,
    taken_in: TakenIn,
}

/// Which of these changes were taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TakenIn {
    /// All of those before one whole request: it was there before events were taken in. Others among the same bytes
    /// may have come after that.
    BeforeOne,
    /// Perhaps not all.
    #[default]
    Unknown,
    /// All.
    All,
}

impl EventSync {
    /// The kernel reports in this iteration that there are bytes.
    pub(crate) fn reported(&mut self, iteration: u64) {
        self.reported_in = Some(iteration);
    }

    /// Bytes are received in this iteration. Those that the kernel reported in it were there when the loop woke, before
    /// events were taken in; that goes for the first that are received only.
    pub(crate) fn received(&mut self, iteration: u64, position: Position) {
        let was_there = self.reported_in.take() == Some(iteration);
        self.taken_in = match position {
            Position::BetweenRequests if was_there => TakenIn::BeforeOne,
            Position::BetweenRequests | Position::WithinRequest => TakenIn::Unknown,
        };
    }

    /// A request is to be answered: whether events have to be taken in before.
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
