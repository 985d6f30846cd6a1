//! Moves the bytes of one connection, as far as its transport and its share of an iteration allow.
//!
//! It knows neither what is cached nor who may see what: [`Answers`] does.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use super::answers::{Answers, Reply};
use super::connections::Connected;
use super::ready::{SendBudget, call_length_max};
use crate::clock::Now;
use crate::conn::outbox::{FileSegment, Next, Pool};
use crate::conn::response_stats::ResponseStats;
use crate::conn::{
    BlockedOn, CloseReason, Connection, ConnectionId, Context, Document, Explanation, Input,
    Policy, RequestId, Response, Stage, Unread, Want,
};
use crate::site::fields::SiteFields;
use crate::site::sites::Site;
use crate::store::event_sync::Position;
use crate::store::request::SendState;
use crate::store::{Asked, CompletedJob, Ready, RequestOwner};
use crate::sys::socket::Pieces;
use crate::transport::{Flow, Received, Transport};

/// Maximum number of kernel calls of one connection in one iteration.
const CALL_COUNT_MAX: u32 = 16;

/// What a connection needs after it was driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driven {
    /// An event.
    Wait,
    /// Another iteration: its share is used up.
    Again,
    /// The status page, by [`Driver::show`]: only the loop has its numbers.
    Status,
    /// The end.
    Close(CloseReason),
}

/// The state that all connections share while they are driven.
#[derive(Debug)]
pub(super) struct Driver {
    /// The number of the current iteration of the loop.
    pub iteration: u64,
    /// The rules.
    pub policy: Policy,
    /// Whether the server is stopping.
    pub stage: Stage,
    /// Counts and log lines.
    pub response_stats: ResponseStats,
    /// Buffers to lend.
    pub pool: Pool,
    /// Bytes sent from mappings and memory.
    pub gathered_bytes: u64,
    /// Bytes sent by `sendfile`.
    pub sendfile_bytes: u64,
    /// The bytes that may be sent in this iteration.
    pub budget: SendBudget,
}

/// The rest of a connection's share of an iteration.
struct Quota {
    calls: u32,
    bytes: u64,
}

/// The result of an attempt to send.
enum Sent {
    /// This number of bytes was sent.
    Bytes(u64),
    /// None was sent; the next call may succeed.
    Nothing,
    /// None was sent; an event will come.
    Blocked,
    /// The next bytes wait for a job.
    Later,
    /// The transport or the file failed.
    Broken(io::ErrorKind),
}

impl From<io::Result<usize>> for Sent {
    fn from(result: io::Result<usize>) -> Sent {
        match result {
            Ok(count) => Sent::Bytes(count as u64),
            Err(error) => Sent::failed(&error),
        }
    }
}

impl Sent {
    #[cold]
    fn failed(error: &io::Error) -> Sent {
        match error.kind() {
            io::ErrorKind::WouldBlock => Sent::Blocked,
            io::ErrorKind::Interrupted => Sent::Nothing,
            kind => Sent::Broken(kind),
        }
    }
}

/// Why nothing more can be received; nothing if it can.
#[cold]
fn receive_error(error: &io::Error) -> Option<io::ErrorKind> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => None,
        kind => Some(kind),
    }
}

impl Driver {
    /// Drives a connection, and lends it buffers for that time.
    pub(super) fn drive(
        &mut self,
        connected: &mut Connected,
        id: ConnectionId,
        answers: &mut impl Answers,
        now: &Now,
    ) -> Driven {
        connected.connection.lend(&mut self.pool);
        let after = self.advance(connected, RequestId::http1(id), answers, now);
        connected.connection.reclaim(&mut self.pool);
        after
    }

    fn advance(
        &mut self,
        connected: &mut Connected,
        id: RequestId,
        answers: &mut impl Answers,
        now: &Now,
    ) -> Driven {
        let mut share = Quota {
            calls: CALL_COUNT_MAX,
            bytes: self.budget.share(),
        };
        loop {
            match connected.connection.want() {
                Want::Read | Want::Discard => {
                    if connected.transport.input() == Flow::Blocked {
                        return Driven::Wait;
                    }
                    if share.calls == 0 {
                        return Driven::Again;
                    }
                    share.calls -= 1;
                    self.receive(connected, now);
                }
                // By reference: to move what was asked out of the reply would copy it.
                Want::Resolve(_) => match &answers.ask(connected, id, now) {
                    Some(Reply::Asked(asked)) => self.answer(connected, asked, now),
                    Some(Reply::Status) | None => {
                        self.handle(&mut connected.connection, Input::Waiting, now);
                        return Driven::Status;
                    }
                },
                Want::Wait if connected.transport.is_hung_up() => {
                    let gone = Input::Broken(io::ErrorKind::ConnectionReset);
                    self.handle(&mut connected.connection, gone, now);
                }
                Want::Wait => return Driven::Wait,
                Want::Write => {
                    if connected.transport.output() == Flow::Blocked {
                        return Driven::Wait;
                    }
                    if share.calls == 0 || share.bytes == 0 {
                        return Driven::Again;
                    }
                    share.calls -= 1;
                    let limit = call_length_max(share.bytes);
                    match self.send(connected, id, limit, answers, now) {
                        Some(sent) => {
                            share.bytes = share.bytes.saturating_sub(sent);
                            self.budget.spend(sent);
                        }
                        None => return Driven::Wait,
                    }
                }
                Want::CloseWrite => {
                    connected.transport.finish();
                    self.handle(&mut connected.connection, Input::WriteClosed, now);
                }
                Want::Close(reason) => return Driven::Close(reason),
            }
        }
    }

    /// Ends an iteration of the loop.
    pub(super) fn end_iteration(&mut self) {
        let sent = self.gathered_bytes + self.sendfile_bytes;
        self.budget.end_iteration(sent);
    }

    /// Tells a connection what happened.
    pub(super) fn handle(&mut self, connection: &mut Connection, input: Input<'_>, now: &Now) {
        let Driver {
            policy,
            stage,
            response_stats,
            ..
        } = self;
        connection.handle(
            input,
            &mut Context {
                now,
                policy,
                stage: *stage,
                response_stats,
            },
        );
    }

    /// Answers a connection that wanted the status page.
    pub(super) fn show(&mut self, connection: &mut Connection, document: &Document, now: &Now) {
        connection.lend(&mut self.pool);
        self.handle(
            connection,
            Input::Resolved(&Response::document(document), Explanation::default()),
            now,
        );
    }

    fn answer(&mut self, connected: &mut Connected, asked: &Asked, now: &Now) {
        self.look_for_more(connected);
        let lines: Cow<'_, [u8]>;
        let mut response = asked.response(now);
        if let Some(response) = &mut response {
            let site = connected.client.last_site.site();
            lines = site_lines(site, &connected.connection, response.site_fields());
            response.set_lines(&lines);
        }
        let input = match &response {
            None => Input::Waiting,
            Some(response) => Input::Resolved(response, connected.request.explanation()),
        };
        self.handle(&mut connected.connection, input, now);
    }

    /// Gives a request that waited the result of a job, if it still waits for that one.
    pub(super) fn deliver(
        &mut self,
        connected: &mut Connected,
        id: RequestId,
        completed: &CompletedJob,
        answers: &mut impl Answers,
        now: &Now,
    ) {
        if let Some(asked) = answers.resume(connected, id, completed, now) {
            connected.connection.lend(&mut self.pool);
            self.answer(connected, &asked, now);
            connected.connection.reclaim(&mut self.pool);
        }
    }

    /// Receives once.
    fn receive(&mut self, connected: &mut Connected, now: &Now) {
        let position = match connected.connection.is_idle() {
            true => Position::BetweenRequests,
            false => Position::WithinRequest,
        };
        connected
            .client
            .event_sync
            .received(self.iteration, position);
        let space = connected.connection.space();
        let input = match connected.transport.receive(space) {
            Ok(Received::End) => Input::EndOfStream,
            Ok(Received::Bytes(count)) => Input::Received(count),
            Err(error) => match receive_error(&error) {
                None => return,
                Some(kind) => Input::Broken(kind),
            },
        };
        self.look_for_more(connected);
        self.handle(&mut connected.connection, input, now);
    }

    /// Ends what has taken too long: a request that waits for the disk, an answer that does, or what else the
    /// connection waits for.
    pub(super) fn look_at_deadlines(
        &mut self,
        connected: &mut Connected,
        id: RequestId,
        answers: &mut impl Answers,
        now: &Now,
    ) {
        let timeouts = self.policy.timeouts;
        connected.connection.lend(&mut self.pool);
        if let Some(asked) = answers.expire(connected, id, timeouts.disk, now) {
            self.answer(connected, &asked, now);
        }
        let is_over = |deadline: Option<Instant>| deadline.is_some_and(|it| it <= now.monotonic);
        if is_over(connected.sending.deadline(timeouts.disk)) {
            self.handle(&mut connected.connection, Input::DiskStalled, now);
        }
        if is_over(connected.connection.deadline(&timeouts)) {
            self.deadline_passed(connected, now);
        }
    }

    /// The time of a connection is over, unless its peer has acknowledged something meanwhile.
    fn deadline_passed(&mut self, connected: &mut Connected, now: &Now) {
        let input = match connected.connection.awaits_acknowledgement() {
            None => Input::DeadlinePassed,
            Some(handed_over) => match connected.transport.unacknowledged() {
                Ok(left) => Input::Acknowledged(handed_over.saturating_sub(left)),
                Err(error) => Input::Broken(error.kind()),
            },
        };
        self.handle(&mut connected.connection, input, now);
    }

    /// While the server stops, a connection is told whether more requests are there before it says which is its
    /// last.
    fn look_for_more(&self, connected: &mut Connected) {
        if self.stage == Stage::Draining {
            let unread = match connected.transport.has_unread() {
                true => Unread::Some,
                false => Unread::None,
            };
            connected.connection.note_unread(unread);
        }
    }

    /// Sends once, at most `limit` bytes of memory or one window of a file; gives the bytes that went, or nothing
    /// while a job makes them resident.
    fn send(
        &mut self,
        connected: &mut Connected,
        id: RequestId,
        limit: u64,
        answers: &mut impl Answers,
        now: &Now,
    ) -> Option<u64> {
        let (input, sent) = match self.hand_over(connected, id, limit, answers, now) {
            Sent::Bytes(count) => (Input::Sent(count), Some(count)),
            Sent::Nothing => return Some(0),
            Sent::Blocked => {
                connected.sending.held(now);
                return Some(0);
            }
            Sent::Later => (Input::Blocked(BlockedOn::Disk), None),
            Sent::Broken(kind) => (Input::Broken(kind), Some(0)),
        };
        self.handle(&mut connected.connection, input, now);
        sent
    }

    /// Hands what goes out next to the transport; nothing while a job makes it resident, whatever else happens
    /// on the connection meanwhile.
    fn hand_over(
        &mut self,
        connected: &mut Connected,
        id: RequestId,
        limit: u64,
        answers: &mut impl Answers,
        now: &Now,
    ) -> Sent {
        let Connected {
            connection,
            transport,
            sending,
            ..
        } = connected;
        if sending.job().is_some() {
            return Sent::Later;
        }
        let owner = || RequestOwner::new(id, connection.peer());
        let mut pieces = Pieces::new();
        match connection.outbox().next(limit, &mut pieces) {
            Next::Nothing => Sent::Bytes(0),
            Next::Pieces(more) => {
                if sending.was_held_long(now) {
                    let mapped = connection.outbox().mapped();
                    match answers.prepare_mapped(mapped, sending, owner(), now) {
                        Ready::Bytes(_) => {}
                        Ready::Later => return Sent::Later,
                        Ready::Never(kind) => return Sent::Broken(kind),
                    }
                }
                let sent = transport.send(&pieces, more);
                Sent::from(sent.inspect(|count| self.gathered_bytes += *count as u64))
            }
            Next::File(segment) => {
                let sent = send_file(segment, transport, sending, owner(), answers, now);
                if let Sent::Bytes(count) = sent {
                    self.sendfile_bytes += count;
                }
                sent
            }
        }
    }
}

/// Hands part of a file to the transport, as far as it is resident. It stands by itself since it is no part of a hit from
/// memory, whose code is to be short.
#[inline(never)]
fn send_file(
    segment: &FileSegment,
    transport: &mut Transport,
    sending: &mut SendState,
    owner: RequestOwner,
    answers: &mut impl Answers,
    now: &Now,
) -> Sent {
    let ready = match answers.prepare(segment, sending, owner, now) {
        Ready::Bytes(ready) => ready,
        Ready::Later => return Sent::Later,
        Ready::Never(kind) => return Sent::Broken(kind),
    };
    let start = segment.bytes.start;
    let sent = transport.send_file(&segment.file, start..start + ready);
    if let Ok(count) = sent {
        answers.note_sent(segment, count as u64, now);
    }
    Sent::from(sent)
}

/// The lines that the site of a request adds to its answer.
fn site_lines<'a>(
    site: Option<&'a Rc<Site>>,
    connection: &Connection,
    fields: SiteFields,
) -> Cow<'a, [u8]> {
    match fields {
        SiteFields::Rendered(origins) if origins.is_none() => Cow::Borrowed(b""),
        fields => {
            let asked = site.zip(connection.resolving());
            asked.map_or(Cow::Borrowed(b""), |(site, request)| {
                site.policy.fields.lines_of(&request, fields)
            })
        }
    }
}
