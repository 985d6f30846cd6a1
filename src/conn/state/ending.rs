//! The end of a connection: after its last response, by a timeout, or because the server stops.

use super::{Connection, Ending, Last, Lingering, PeerStream, State};
use crate::clock::Now;
use crate::conn::interface::{BlockedOn, CloseReason, Context, Stage, Unread};
use crate::http::request::{Head, Persistence};
use crate::http::status::Refusal;

/// Maximum number of bytes that are received and dropped after the last response. A client that sends all of a file
/// before it reads gets its response; timeouts bound the rest.
const LINGER_LENGTH_MAX: u64 = 1 << 30;

/// Maximum length of content after which a connection is closed at once, if the peer has asked for the end: one call
/// sends it.
const SHORT_ANSWER_LENGTH_MAX: u64 = 64 << 10;

impl Connection {
    /// Notes whether the socket holds bytes that were not received. While the server stops, the driver reports that
    /// before each response.
    pub fn note_unread(&mut self, unread: Unread) {
        self.unread = unread;
    }

    /// Whether the connection persists after the response to `head`. While the server stops, the last received request
    /// gets the announcement of the end: requests after it would get no response.
    pub(super) fn persistence(&self, head: &Head, stage: Stage) -> Persistence {
        let has_more = self.unread == Unread::Some || !self.inbox.unread().is_empty();
        match stage {
            Stage::Draining if !has_more => Persistence::Close,
            Stage::Serving | Stage::Draining => head.persistence,
        }
    }

    /// Ends our direction of the connection.
    pub(super) fn linger(&mut self, ending: Ending, context: &Context<'_>) -> State {
        let now = context.now.monotonic;
        self.since = now;
        let total = context.policy.timeouts.linger_total;
        match (ending, self.peer_stream) {
            (Ending::Linger(last), PeerStream::Open) => State::Lingering(Lingering {
                left: LINGER_LENGTH_MAX,
                until: now.checked_add(total).unwrap_or(now),
                last,
            }),
            (Ending::Linger(_), PeerStream::Finished) | (Ending::Close, _) => {
                State::Closed(CloseReason::Answered)
            }
        }
    }

    /// Drops bytes that arrive after the end of our direction. Each of them restarts the idle timeout.
    pub(super) fn discard_rest(
        &mut self,
        lingering: Lingering,
        count: usize,
        context: &mut Context<'_>,
    ) -> State {
        self.inbox.clear();
        self.since = context.now.monotonic;
        if lingering.last == Last::Rest {
            context.response_stats.crossed += 1;
        }
        match lingering.left.checked_sub(count as u64) {
            Some(left) => State::Lingering(Lingering {
                left,
                last: Last::Answer,
                ..lingering
            }),
            None => State::Closed(CloseReason::Lingered),
        }
    }

    /// How to end the connection after the last response. If a socket is closed while its peer still sends, it is
    /// reset, and bytes that the peer has not received by then are lost. A peer that asked for the end must not send
    /// more (RFC 9112 §9.6). The server relies on that after a short response, if the peer has not sent anything else
    /// already: it saves two calls and an event for each short connection.
    pub(super) fn ending(&self, asked: Persistence, content_length: u64) -> Ending {
        let is_silent = asked == Persistence::Close
            && content_length <= SHORT_ANSWER_LENGTH_MAX
            && self.inbox.bytes().is_empty();
        match self.peer_stream {
            PeerStream::Open if !is_silent => Ending::Linger(Last::Answer),
            PeerStream::Open | PeerStream::Finished => Ending::Close,
        }
    }

    pub(super) fn deadline_passed(&mut self, state: State, context: &mut Context<'_>) -> State {
        match state {
            State::Lingering(_) => State::Closed(CloseReason::Lingered),
            _ if !self.answers.is_empty() => State::Closed(CloseReason::SendStalled),
            State::ReadingHead if self.nothing_begun() => State::Closed(CloseReason::Idle),
            State::ReadingHead => self.refuse(Refusal::TimedOut, None, context),
            State::Discarding { head, .. } => self.refuse(Refusal::TimedOut, Some(&head), context),
            state => state,
        }
    }

    /// Notes how many bytes the peer has acknowledged in all.
    pub(super) fn acknowledged(
        &mut self,
        state: State,
        count: u64,
        context: &mut Context<'_>,
    ) -> State {
        let (now, policy) = (context.now.monotonic, context.policy);
        if self.answers.is_empty() || self.hold_up != BlockedOn::Peer {
            return state;
        }
        if self.uptake.note(count, now) {
            self.since = now;
        }
        let silent = now.saturating_duration_since(self.since);
        match silent >= policy.timeouts.send
            || self
                .uptake
                .is_below(policy.send_rate_min, policy.timeouts.send, now)
        {
            true => State::Closed(CloseReason::SendStalled),
            false => state,
        }
    }

    /// Whether its deadline asks for the number of acknowledged bytes, which the driver passes as
    /// [`Input::Acknowledged`](crate::conn::Input::Acknowledged). Returns the number of bytes that were passed to the
    /// socket.
    pub fn awaits_acknowledgement(&self) -> Option<u64> {
        let is_peer = !self.answers.is_empty() && self.hold_up == BlockedOn::Peer;
        is_peer.then(|| self.answers.outbox().total_out())
    }

    /// The disk and the peer have separate timeouts.
    pub(super) fn held_up(&mut self, state: State, by: BlockedOn, now: &Now) -> State {
        if self.hold_up != by {
            self.hold_up = by;
            self.since = now.monotonic;
            // The time that the disk needs does not count against the peer.
            self.uptake.rate_from = None;
        }
        state
    }
}
