//! Whether the changes are known that were made before a request was sent.
//!
//! Whoever has seen `rename()` return must get the new file with the next request. So the events that were queued
//! before its bytes came have to be taken in before it is answered. The loop does that once, when it wakes; for
//! bytes that came later it is done again, once for all requests among them.

/// When bytes came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// They were there when the loop woke, and events were taken in after that. They begin with a new request.
    BeforeEvents,
    /// That is not known.
    Unknown,
}

/// What is known of the changes that were made before the bytes of a connection were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum EventSync {
    /// One whole request may be answered: it was there before events were taken in. Others among the same bytes
    /// may have come after that.
    OneShot,
    /// They may not all have been taken in.
    #[default]
    No,
    /// They have been taken in.
    Yes,
}

impl EventSync {
    /// Bytes came.
    pub(crate) fn received(&mut self, arrival: Arrival) {
        *self = match arrival {
            Arrival::BeforeEvents => EventSync::OneShot,
            Arrival::Unknown => EventSync::No,
        };
    }

    /// A request is to be answered: whether events have to be taken in before.
    pub(super) fn is_drain_due(&mut self) -> bool {
        let (next, is_due) = match self {
            EventSync::OneShot => (EventSync::No, false),
            EventSync::No => (EventSync::Yes, true),
            EventSync::Yes => (EventSync::Yes, false),
        };
        *self = next;
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_taken_in_once_for_all_requests_that_came_after_the_wake() {
        let mut sync = EventSync::default();
        #[rustfmt::skip]
        let cases: [(Option<Arrival>, [bool; 3], &str); 4] = [
            (None,                        [true, false, false],  "a new connection: nothing is known"),
            (Some(Arrival::BeforeEvents), [false, true, false],  "the first was there, others may not have been"),
            (Some(Arrival::Unknown),      [true, false, false],  "once for all that were received together"),
            (Some(Arrival::Unknown),      [true, false, false],  "and again for those that came later"),
        ];
        for (arrival, due, because) in cases {
            if let Some(arrival) = arrival {
                sync.received(arrival);
            }
            assert_eq!([(); 3].map(|()| sync.is_drain_due()), due, "{because}");
        }
    }
}
