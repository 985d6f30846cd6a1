//! How a connection ends: after its last answer, when its time is over, or because the server stops.

use super::{Connection, Ending, Last, Lingering, PeerStream, State};
use crate::clock::Now;
use crate::conn::interface::{BlockedOn, CloseReason, Context, Stage, Unread};
use crate::http::request::{Head, Persistence};
use crate::http::status::Refusal;

/// Bytes that are read and dropped after the last answer, before the connection is closed anyway. A client that
/// sends all of a file before it reads gets its answer; the times bound the rest.
const LINGER_LENGTH_MAX: u64 = 1 << 30;

/// Content after which nothing is waited for where the peer has asked for the end: it is under way in one call.
const SHORT_ANSWER_LENGTH_MAX: u64 = 64 << 10;

impl Connection {
    /// Notes whether the socket holds bytes that were not received. Whoever drives the connection says so
    /// before each answer while the server stops.
    pub fn note_unread(&mut self, unread: Unread) {
        self.unread = unread;
    }

    /// Whether the connection goes on after the answer to `head`. While the server stops, the last of the
    /// requests that are there is told of the end: those behind it would get no answer.
    pub(super) fn persistence(&self, head: &Head, stage: Stage) -> Persistence {
        let has_more = self.unread == Unread::Some || !self.inbox.unread().is_empty();
        match stage {
            Stage::Draining if !has_more => Persistence::Close,
            Stage::Serving | Stage::Draining => head.persistence,
        }
    }

    /// Our direction is over.
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

    /// Drops what came after the end of our direction. Each byte starts the time of silence again.
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

    /// How to end after the last answer. A socket that is closed while its peer still sends is
    /// reset, and what the peer has not received by then is lost. A peer that asked for the end itself
    /// must not send more (RFC 9112 §9.6). Where it has not done so already, and a short answer leaves
    /// it no time to, that is relied on: it saves two calls and a wake-up of each short connection.
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

    /// The peer that is waited for has acknowledged so many bytes in all.
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

    /// Whether its deadline is a time to ask what the peer has acknowledged, to be told as
    /// [`Input::Acknowledged`](crate::conn::Input::Acknowledged). Gives the bytes handed over so far.
    pub fn awaits_acknowledgement(&self) -> Option<u64> {
        let is_peer = !self.answers.is_empty() && self.hold_up == BlockedOn::Peer;
        is_peer.then(|| self.answers.outbox().total_out())
    }

    /// Each of those who are waited for has his own time.
    pub(super) fn held_up(&mut self, state: State, by: BlockedOn, now: &Now) -> State {
        if self.hold_up != by {
            self.hold_up = by;
            self.since = now.monotonic;
            // What the disk takes is not the peer's fault.
            self.uptake.rate_from = None;
        }
        state
    }
}
