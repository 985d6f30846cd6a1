//! The connections with something to do, and the bytes that they may send in one iteration of the loop.
//!
//! Queues and arithmetic: no socket, no clock, no bytes. An iteration has a few lanes, each with its own budget, so
//! that none starves another. Within a lane connections are served in order of arrival, and each sends one share
//! before the next. Connections that begin a response have a lane before those that continue one, like new flows in
//! FQ-CoDel (RFC 8290 §3.2): a short response does not wait for a round of all the long ones.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use crate::conn::ConnectionId;
use crate::store::deliveries::DeliveryKind;

/// Bytes that the connections of one lane may send in one iteration: about half a millisecond over loopback, and so
/// much that waiting for events in between costs nothing beside it.
pub(super) const LANE_LENGTH_MAX: u64 = 1 << 20;
/// What a connection that goes on sending may send at least when it is its turn, however many others wait: a window
/// of a file. A share of 64 KiB takes twice the processor time a byte, since each wakes the reader.
const SENDING_SHARE_MIN: u64 = 512 * 1024;
/// The same of one that begins an answer. It is smaller, since other requests wait behind this one.
pub(super) const INPUT_SHARE_MIN: u64 = 128 * 1024;
/// Calls for memory are made for a multiple of this: the most that TCP hands to the network in one piece. The last
/// call of a share may exceed it by as much.
const CALL_LENGTH_UNIT: u64 = 64 * 1024;
/// Lanes of an iteration: connections just accepted, those with input, those that go on sending, and of those that
/// waited for the disk the same two.
const LANE_COUNT: u64 = 5;
/// Bytes that can be sent in one iteration: a lane is exceeded by what its last connection sends, and that is less
/// than a share and a call of `sendfile`, which is as long as a lane.
const ITERATION_LENGTH_MAX: u64 = LANE_COUNT * (2 * LANE_LENGTH_MAX + SENDING_SHARE_MIN);

/// The task of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// Receive, and begin a response.
    Input,
    /// Continue a response.
    Sending,
}

impl Task {
    /// Minimum share of a connection with this task.
    pub(super) fn share_min(self) -> u64 {
        match self {
            Task::Input => INPUT_SHARE_MIN,
            Task::Sending => SENDING_SHARE_MIN,
        }
    }

    /// The results of the disk that lead to this task.
    pub(super) fn delivery(self) -> DeliveryKind {
        match self {
            Task::Input => DeliveryKind::Beginning,
            Task::Sending => DeliveryKind::Continuation,
        }
    }
}

/// Connections with something to do, each at most once.
#[derive(Debug, Default)]
pub(super) struct ReadyConnections {
    input: VecDeque<ConnectionId>,
    sending: VecDeque<ConnectionId>,
}

impl ReadyConnections {
    fn lane(&mut self, task: Task) -> &mut VecDeque<ConnectionId> {
        match task {
            Task::Input => &mut self.input,
            Task::Sending => &mut self.sending,
        }
    }

    /// Adds a connection to the queue of its task. It must not be in any queue.
    pub(super) fn push(&mut self, id: ConnectionId, task: Task) {
        self.lane(task).push_back(id);
    }

    /// The next connection with this task.
    pub(super) fn pop(&mut self, task: Task) -> Option<ConnectionId> {
        self.lane(task).pop_front()
    }

    /// Number of connections with this task; some may be closed by now.
    pub(super) fn count(&mut self, task: Task) -> usize {
        self.lane(task).len()
    }

    /// Whether no connection has anything to do.
    pub(super) fn is_empty(&self) -> bool {
        self.input.is_empty() && self.sending.is_empty()
    }
}

/// The bytes that may still be sent in this iteration.
#[derive(Debug, Default)]
pub(super) struct SendBudget {
    /// By the connections of this lane.
    left: u64,
    /// By each of them.
    share: u64,
    /// How many connections may still be served.
    waiting: usize,
    /// Maximum number of bytes sent in one iteration so far.
    most: u64,
    /// Total number of bytes sent at the end of the last iteration.
    total_before: u64,
}

impl SendBudget {
    /// Begins a lane with this number of connections, each of which may send at least `share_min`.
    pub(super) fn open(&mut self, count: usize, share_min: u64) {
        let share = LANE_LENGTH_MAX / (count as u64).max(1);
        self.left = LANE_LENGTH_MAX;
        self.share = share.max(share_min);
        self.waiting = count;
    }

    /// Whether another connection is served now. Connections that join the lane after its start are served in the next
    /// iteration: none is served twice in one.
    pub(super) fn admits_next(&mut self) -> bool {
        if self.is_used_up() || self.waiting == 0 {
            return false;
        }
        self.waiting -= 1;
        true
    }

    /// Whether the lane has ended for this iteration.
    pub(super) fn is_used_up(&self) -> bool {
        self.left == 0
    }

    /// The share of the next connection. With a share of zero it may do anything but send.
    pub(super) fn share(&self) -> u64 {
        match self.is_used_up() {
            true => 0,
            // The last of a lane has no less than the others: it might be the same one in each round.
            false => self.share,
        }
    }

    /// Counts the bytes that a connection has sent.
    pub(super) fn spend(&mut self, count: u64) {
        self.left = self.left.saturating_sub(count);
    }

    /// Ends an iteration; so many bytes have been sent in all.
    pub(super) fn end_iteration(&mut self, total: u64) {
        let sent = total - self.total_before;
        debug_assert!(
            sent <= ITERATION_LENGTH_MAX,
            "{sent} bytes in one iteration"
        );
        self.most = self.most.max(sent);
        self.total_before = total;
    }

    /// Maximum number of bytes sent in one iteration so far.
    pub(super) fn most(&self) -> u64 {
        self.most
    }
}

/// What one call may send of memory at most for a connection that may still send so much. Calls for less than a unit
/// would cost more than they move. A window of a file is sent whole: parts of it would each be looked up in the page
/// cache.
pub(super) fn call_length_max(left: u64) -> u64 {
    left.next_multiple_of(CALL_LENGTH_UNIT)
}
