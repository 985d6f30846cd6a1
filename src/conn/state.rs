//! The states of a connection and their transitions.

mod ending;
mod inquiry;
mod uptake;

use std::mem;
use std::time::Instant;

use self::uptake::Uptake;
use super::explanation::{Explanation, ServerTiming};
use super::http1::Exchange;
use super::inbox::Inbox;
use super::interface::{BlockedOn, CloseReason, Context, Input, Peer, Timeouts, Unread, Want};
use super::pending_log::Received;
use super::response::Response;
use super::send_queue::SendQueue;
use crate::clock::Now;
use crate::http::chunked::ChunkedBody;
use crate::http::facts::Facts;
use crate::http::framing::BodyFraming;
use crate::http::request::{self, Expectation, Head, Persistence};
use crate::http::status::Refusal;
use crate::site::response::{self, Content};

/// Whether the peer may still send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PeerStream {
    Open,
    Finished,
}

/// Whether the driver was told what to look up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    No,
    Yes,
}

/// What comes after all answers were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// Nothing unread can be under way.
    Close,
    /// The peer may be sending still.
    Linger(Last),
}

/// What was the last thing on a connection before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// An answer; the peer knows that no further one comes.
    Answer,
    /// Nothing: it was idle. A request that crosses the end is not answered.
    Rest,
}

/// Taking what still comes after the end of our direction.
#[derive(Clone, Copy, Debug)]
struct Lingering {
    /// Bytes that are still taken.
    left: u64,
    /// When no more are.
    until: Instant,
    last: Last,
}

/// The body of a request, on its way to nowhere.
#[derive(Clone, Copy, Debug)]
enum Body {
    Length(u64),
    Chunked(ChunkedBody),
}

/// ```text
///               head complete               resolved
///   ReadingHead ─────────────► Resolving ───────────► (answer to be sent)  
///    ▲  │  │ │                  ▲                         │            │
///    │  │  │ └──► Discarding ───┘ body complete           │            │
///    │  │  └─ refused ──┴─────────────────────────► Flushing ───► Lingering
///    └──┼──────────────────────────── keep-alive ─────────┘            │
///       │ end of stream                                  end of stream │
///       └──────────────────────────────► Closed ◄──────────────────────┘
///                       from every state: deadline passed, socket broken
/// ```
///
/// The answers stand beside the state: while it still has room, the next request of a burst is
/// already parsed and answered into it, so that one call sends many answers.
#[derive(Debug)]
enum State {
    /// Between requests, or within a head.
    ReadingHead,
    /// A head is complete, its body is not.
    Discarding { head: Head, body: Body },
    /// A request is complete and its file not yet known.
    Resolving { head: Head, asked: Asked },
    /// The last answer is being sent.
    Flushing(Ending),
    /// The last answer is sent; what still comes is dropped.
    Lingering(Lingering),
    /// Over.
    Closed(CloseReason),
}

/// Moves a state without the 200 bytes that a head takes where it has none: most are `ReadingHead`, and each request
/// moves three.
impl State {
    /// Leaves `ReadingHead`.
    #[inline]
    fn take(&mut self) -> State {
        match self {
            State::ReadingHead => State::ReadingHead,
            other => mem::replace(other, State::ReadingHead),
        }
    }

    /// Takes the place of `ReadingHead`.
    #[inline]
    fn put(&mut self, next: State) {
        match next {
            State::ReadingHead => {}
            next => *self = next,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    state: State,
    inbox: Inbox,
    answers: SendQueue,
    peer: Peer,
    peer_stream: PeerStream,
    /// Whether the socket held bytes when it was last asked; only asked while the server stops.
    unread: Unread,
    hold_up: BlockedOn,
    uptake: Uptake,
    /// Start of the current time limit; see [`Timeouts`].
    since: Instant,
}

impl Connection {
    /// A connection just accepted.
    pub fn new(peer: Peer, now: &Now) -> Connection {
        Connection {
            state: State::ReadingHead,
            inbox: Inbox::default(),
            answers: SendQueue::default(),
            peer,
            peer_stream: PeerStream::Open,
            unread: Unread::None,
            hold_up: BlockedOn::Peer,
            uptake: Uptake::new(now.monotonic),
            since: now.monotonic,
        }
    }

    /// What the connection wants now.
    pub fn want(&self) -> Want<'_> {
        match &self.state {
            State::Resolving {
                head,
                asked: Asked::No,
            } if self.has_room() => Want::Resolve(head.facts(self.inbox.bytes())),
            State::Closed(reason) => Want::Close(*reason),
            _ if !self.answers.is_empty() => Want::Write,
            State::Resolving { .. } => Want::Wait,
            State::ReadingHead | State::Discarding { .. } => Want::Read,
            State::Flushing(Ending::Close) => Want::Close(CloseReason::Answered),
            State::Flushing(Ending::Linger(_)) => Want::CloseWrite,
            State::Lingering(_) => Want::Discard,
        }
    }

    /// The request that is being looked up.
    pub fn resolving(&self) -> Option<Facts<'_>> {
        match &self.state {
            State::Resolving { head, .. } => Some(head.facts(self.inbox.bytes())),
            _ => None,
        }
    }

    /// When the connection has waited too long; `None` while it waits for us.
    pub fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        let allowed = match self.state {
            State::Closed(_) => return None,
            _ if !self.answers.is_empty() => match self.hold_up {
                BlockedOn::Peer => return self.uptake.deadline(self.since, timeouts.send),
                // Each answer that waits for the disk has its own time.
                BlockedOn::Disk => return None,
            },
            State::ReadingHead if self.nothing_begun() => timeouts.idle,
            State::ReadingHead => timeouts.head,
            State::Discarding { .. } => timeouts.body,
            State::Resolving { .. } | State::Flushing(_) => return None,
            State::Lingering(Lingering { until, .. }) => {
                return self
                    .since
                    .checked_add(timeouts.linger)
                    .map(|silent| silent.min(until));
            }
        };
        self.since.checked_add(allowed)
    }

    /// Takes in one thing that happened. Does no I/O and reads no clock: the driver does.
    pub fn handle(&mut self, input: Input<'_>, context: &mut Context<'_>) {
        use State::{Closed, Discarding, Flushing, Lingering, ReadingHead, Resolving};
        let next = match (self.state.take(), input) {
            (Closed(reason), _) => Closed(reason),
            (_, Input::Broken(kind)) => Closed(CloseReason::Broken(kind)),
            (ReadingHead, Input::Received(count)) => self.received(count, context),
            (Discarding { head, body }, Input::Received(count)) => {
                self.inbox.received(count);
                self.discard(head, body, context)
            }
            (Lingering(lingering), Input::Received(count)) => {
                self.discard_rest(lingering, count, context)
            }
            (ReadingHead, Input::EndOfStream) => {
                self.peer_stream = PeerStream::Finished;
                self.inbox.clear();
                if self.answers.is_empty() {
                    Closed(CloseReason::PeerFinished)
                } else {
                    Flushing(Ending::Close)
                }
            }
            // RFC 9112 §8: the message is incomplete and is not answered as if it were whole.
            (Discarding { .. }, Input::EndOfStream) => Closed(CloseReason::PeerFinished),
            (Lingering(_), Input::EndOfStream) => Closed(CloseReason::Answered),
            (state, Input::EndOfStream) => {
                self.peer_stream = PeerStream::Finished;
                state
            }
            (Resolving { head, asked }, Input::Waiting) => {
                // Looked up once more it has waited since the first time.
                if asked == Asked::No && self.answers.is_empty() {
                    self.since = context.now.monotonic;
                }
                Resolving {
                    head,
                    asked: Asked::Yes,
                }
            }
            (Resolving { head, .. }, Input::Resolved(response, explanation)) => {
                self.resolved(&head, response, explanation, context)
            }
            (state, Input::Sent(count)) => self.sent(state, count, context),
            (state, Input::Acknowledged(count)) => self.acknowledged(state, count, context),
            (state, Input::Blocked(by)) => self.held_up(state, by, context.now),
            (_, Input::DiskStalled) => Closed(CloseReason::DiskStalled),
            (Flushing(ending), Input::WriteClosed) => self.linger(ending, context),
            (state, Input::DeadlinePassed) => self.deadline_passed(state, context),
            (ReadingHead, Input::Retire) if self.is_at_rest() => {
                Flushing(Ending::Linger(Last::Rest))
            }
            (state, Input::Retire) => state,
            (state, input) => unreachable!("the driver gave {input:?} to {state:?}"),
        };
        self.state.put(next);
        if let Closed(_) = self.state {
            self.answers
                .end(self.peer.address(), context.response_stats);
            self.inbox.clear();
        }
    }

    /// Bytes of a head came in. A head that is not complete is parsed again only when a line was
    /// completed or its length decides something, so that single bytes cost little.
    fn received(&mut self, count: usize, context: &mut Context<'_>) -> State {
        let begun = self.inbox.bytes().len();
        self.inbox.received(count);
        if begun == 0 {
            self.since = context.now.monotonic;
        } else {
            let bytes = self.inbox.bytes();
            let line_complete = memchr::memchr(b'\n', &bytes[begun..]).is_some();
            if !line_complete && bytes.len() < context.policy.head.target_length_max {
                return State::ReadingHead;
            }
        }
        self.next_request(context)
    }

    /// Goes on with what was received: answers what needs no look-up, stops at the first request
    /// that does.
    fn next_request(&mut self, context: &mut Context<'_>) -> State {
        loop {
            if self.inbox.is_empty() || !self.has_room() {
                break;
            }
            match request::parse(self.inbox.bytes(), &context.policy.head) {
                Err(refusal) => return self.refuse(refusal, None, context),
                Ok(None) => break,
                Ok(Some(head)) => match self.begin(head, context) {
                    State::ReadingHead => {}
                    state => return state,
                },
            }
        }
        match (self.peer_stream, self.has_room()) {
            (PeerStream::Finished, true) => {
                self.inbox.clear();
                State::Flushing(Ending::Close)
            }
            _ => State::ReadingHead,
        }
    }

    /// A head is complete; its body comes first.
    fn begin(&mut self, head: Head, context: &mut Context<'_>) -> State {
        self.inbox.read(head.length());
        let body = match head.body {
            BodyFraming::Empty => return self.look_up(head, context),
            BodyFraming::Length(length) if length > context.policy.body_length_max => {
                return self.refuse(Refusal::BodyTooLarge, Some(&head), context);
            }
            BodyFraming::Length(length) => Body::Length(length),
            BodyFraming::Chunked => Body::Chunked(ChunkedBody::new()),
        };
        self.since = context.now.monotonic;
        // RFC 9110 §10.1.1: no 100 when the content is already coming.
        if head.expectation == Expectation::Continue && self.inbox.unread().is_empty() {
            self.answers.put_continue();
        }
        self.discard(head, body, context)
    }

    /// Reads on in a body.
    fn discard(&mut self, head: Head, mut body: Body, context: &mut Context<'_>) -> State {
        let unread = self.inbox.unread();
        let (count, complete) = match &mut body {
            Body::Length(left) => {
                let count = unread
                    .len()
                    .min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= count as u64;
                (count, *left == 0)
            }
            Body::Chunked(chunks) => match chunks.decode(unread, context.policy.body_length_max) {
                Ok(count) => (count, chunks.is_complete()),
                Err(refusal) => return self.refuse(refusal, Some(&head), context),
            },
        };
        self.inbox.read(count);
        self.inbox.keep_head(head.length());
        if complete {
            self.look_up(head, context)
        } else {
            State::Discarding { head, body }
        }
    }

    /// Inlined, since the head would be copied once more.
    #[inline(always)]
    fn look_up(&mut self, head: Head, context: &mut Context<'_>) -> State {
        match response::without_lookup(&head.facts(self.inbox.bytes())) {
            Err(refusal) => self.refuse(refusal, Some(&head), context),
            Ok(None) => State::Resolving {
                head,
                asked: Asked::No,
            },
            Ok(Some(fixed)) => {
                let nothing = Explanation::default();
                self.answer(&head, &Response::fixed(&fixed), nothing, context)
            }
        }
    }

    fn resolved(
        &mut self,
        head: &Head,
        response: &Response<'_>,
        explanation: Explanation,
        context: &mut Context<'_>,
    ) -> State {
        match self.answer(head, response, explanation, context) {
            State::ReadingHead => self.next_request(context),
            state => state,
        }
    }

    /// Puts an answer in.
    fn answer(
        &mut self,
        head: &Head,
        response: &Response<'_>,
        explanation: Explanation,
        context: &mut Context<'_>,
    ) -> State {
        let persistence = self.persistence(head, context.stage);
        let request = head.facts(self.inbox.bytes());
        let timing = match context.policy.server_timing {
            ServerTiming::Hidden => None,
            ServerTiming::Shown => Some(explanation.server_timing()),
        };
        let timing = timing.as_deref().filter(|timing| !timing.is_empty());
        let content = Content::of(request.method());
        let exchange = Exchange::new(head, content, persistence, timing, context.now);
        let content_length = self.answers.put(
            response,
            exchange,
            Received::Request(request),
            explanation,
            context.response_stats,
        );
        self.since = context.now.monotonic;
        self.inbox.next_request();
        match persistence {
            Persistence::KeepAlive => State::ReadingHead,
            Persistence::Close => State::Flushing(self.ending(head.persistence, content_length)),
        }
    }

    /// Answers what is not a request, or one whose head was read but not more, and ends.
    fn refuse(
        &mut self,
        refusal: Refusal,
        head: Option<&Head>,
        context: &mut Context<'_>,
    ) -> State {
        let content = head.map_or_else(
            || self.content_of_head(),
            |head| Content::of(head.facts(self.inbox.bytes()).method()),
        );
        let bytes = self.inbox.bytes();
        let received = match head {
            Some(head) => Received::Request(head.facts(bytes)),
            None => Received::Bytes(bytes),
        };
        let exchange = Exchange::last(content, context.now);
        let detail = format!("This request cannot be answered: {refusal}.");
        let response = Response::refused(refusal, &detail);
        let (nothing, stats) = (Explanation::default(), &mut *context.response_stats);
        self.answers
            .put(&response, exchange, received, nothing, stats);
        self.since = context.now.monotonic;
        self.inbox.clear();
        State::Flushing(Ending::Linger(Last::Answer))
    }

    /// Whether nothing has begun and nothing is left to be sent.
    fn is_at_rest(&self) -> bool {
        self.nothing_begun() && self.answers.is_empty()
    }

    /// Whether a further request may be answered before something is sent. Always when everything was sent.
    fn has_room(&self) -> bool {
        self.answers.has_room()
    }

    /// Whether no request has begun: empty lines before one are nothing (RFC 9112 §2.2).
    fn nothing_begun(&self) -> bool {
        let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        self.inbox.bytes().iter().all(is_line_end)
    }

    /// Whether an answer to a head that could not be read may have content: not if it was HEAD.
    fn content_of_head(&self) -> Content {
        let begun = self.inbox.bytes().trim_ascii_start();
        match begun.starts_with(b"HEAD ") {
            true => Content::Omitted,
            false => Content::Sent,
        }
    }

    fn sent(&mut self, state: State, count: u64, context: &mut Context<'_>) -> State {
        self.answers
            .sent(count, self.peer.address(), context.response_stats);
        self.since = context.now.monotonic;
        if self.answers.is_empty() {
            self.uptake.rate_from = None;
        }
        match state {
            State::ReadingHead if self.answers.is_empty() => self.next_request(context),
            state => state,
        }
    }
}
