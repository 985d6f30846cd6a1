//! Moves one connection as far as its socket and its share of a turn allow.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::net::Shutdown;

use super::connections::{Connected, EventSync, Flow};
use crate::cache::entry::Resolution;
use crate::clock::Now;
use crate::conn::outbox::{FileSegment, Next, Pool};
use crate::conn::response_stats::ResponseStats;
use crate::conn::{
    BlockedOn, CloseReason, Connection, ConnectionId, Context, Document, Explanation, Found, Input,
    Policy, RequestId, Stage, Unread, Want,
};
use crate::http::status::Status;
use crate::observe::status::{Access, Decision};
use crate::site::response::Fixed;
use crate::store::{Asked, CompletedJob, Ready, Requester, Store};
use crate::sys::socket::{self, More, Piece, Pieces};

/// Kernel calls that one connection may make in one turn before the others have theirs.
const CALL_COUNT_MAX: u32 = 16;
/// Bytes that one connection may send in one turn.
const TURN_LENGTH_MAX: u64 = 2 << 20;
/// Bytes that one `sendfile` call is asked for.
const SENDFILE_LENGTH_MAX: u64 = 1 << 20;

/// What a connection needs of its driver afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Driven {
    /// An event.
    Wait,
    /// Another turn: its share is used up.
    Again,
    /// The status page, by [`Driver::show`]: only the loop has all its numbers.
    Status,
    /// The end.
    Close(CloseReason),
}

/// What connections are driven with.
#[derive(Debug)]
pub(super) struct Driver {
    /// Counts the turns of the loop.
    pub turn: u64,
    /// The rules.
    pub policy: Policy,
    /// Who may see the status page.
    pub access: Access,
    /// Whether the server goes on.
    pub stage: Stage,
    /// What is reported.
    pub response_stats: ResponseStats,
    /// Buffers to lend.
    pub pool: Pool,
    /// Bytes sent from mappings and memory.
    pub gathered_bytes: u64,
    /// Bytes sent by `sendfile`.
    pub sendfile_bytes: u64,
}

/// What is left of a connection's share of a turn.
struct Quota {
    calls: u32,
    bytes: u64,
}

impl Driver {
    /// Gives a connection its turn.
    pub(super) fn drive(
        &mut self,
        connected: &mut Connected,
        id: ConnectionId,
        store: &mut Store,
        now: &Now,
    ) -> Driven {
        connected.connection.lend(&mut self.pool);
        let after = self.turn(connected, id, store, now);
        connected.connection.reclaim(&mut self.pool);
        after
    }

    fn turn(
        &mut self,
        connected: &mut Connected,
        id: ConnectionId,
        store: &mut Store,
        now: &Now,
    ) -> Driven {
        let mut share = Quota {
            calls: CALL_COUNT_MAX,
            bytes: TURN_LENGTH_MAX,
        };
        loop {
            match connected.connection.want() {
                Want::Read | Want::Discard => {
                    if connected.input == Flow::Blocked {
                        return Driven::Wait;
                    }
                    if share.calls == 0 {
                        return Driven::Again;
                    }
                    share.calls -= 1;
                    self.receive(connected, now);
                }
                Want::Resolve(_) => match self.find(connected, id, store, now) {
                    Some(answer) => self.answer(connected, &answer, now),
                    None => {
                        self.handle(&mut connected.connection, Input::Waiting, now);
                        return Driven::Status;
                    }
                },
                Want::Wait if connected.hung_up => {
                    let gone = Input::Broken(io::ErrorKind::ConnectionReset);
                    self.handle(&mut connected.connection, gone, now);
                }
                Want::Wait => return Driven::Wait,
                Want::Write => {
                    if connected.output == Flow::Blocked {
                        return Driven::Wait;
                    }
                    if share.calls == 0 || share.bytes == 0 {
                        return Driven::Again;
                    }
                    share.calls -= 1;
                    match self.send(connected, id, store, now) {
                        Some(sent) => share.bytes = share.bytes.saturating_sub(sent),
                        None => return Driven::Wait,
                    }
                }
                Want::CloseWrite => {
                    // ENOTCONN when the peer is gone: the next read says so.
                    let _ = rustix::net::shutdown(&connected.socket, Shutdown::Write);
                    self.handle(&mut connected.connection, Input::WriteClosed, now);
                }
                Want::Close(reason) => return Driven::Close(reason),
            }
        }
    }

    /// What the request of a connection leads to; `None` where it is the status page.
    fn find(
        &mut self,
        connected: &mut Connected,
        id: ConnectionId,
        store: &mut Store,
        now: &Now,
    ) -> Option<Asked> {
        connected.event_sync = match connected.event_sync {
            EventSync::OneShot => EventSync::No,
            EventSync::No | EventSync::Yes => {
                if connected.event_sync == EventSync::No {
                    store.drop_changed();
                }
                EventSync::Yes
            }
        };
        let request = connected.connection.resolving()?;
        let peer = connected.connection.peer();
        let (role, socket) = (connected.role, &connected.socket);
        let user = &mut connected.peer_user;
        match self.access.decide(&request, role, peer, socket, user) {
            Decision::Site => {
                let requester = Requester::new(RequestId::http1(id), peer);
                Some(store.ask(&request, requester, &mut connected.request, now))
            }
            Decision::Missing => Some(Asked::Fixed(Fixed::Error(Status::NotFound))),
            Decision::Page => None,
        }
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
            Input::Resolved(Found::Document(document), Explanation::default()),
            now,
        );
    }

    fn answer(&mut self, connected: &mut Connected, answer: &Asked, now: &Now) {
        self.look_for_more(connected);
        let found = match answer {
            Asked::Waiting(_) => {
                return self.handle(&mut connected.connection, Input::Waiting, now);
            }
            Asked::Fixed(fixed) => Found::Fixed(fixed),
            Asked::Document(document) => Found::Document(document),
            Asked::Selected {
                entry,
                coding,
                selected,
                source,
            } => {
                let Resolution::File { variants, .. } = &entry.resolution else {
                    unreachable!("only files are selected from");
                };
                Found::Selected {
                    representation: variants.in_coding(*coding),
                    selected,
                    source: source.as_ref(),
                }
            }
        };
        let input = Input::Resolved(found, connected.request.explanation());
        self.handle(&mut connected.connection, input, now);
    }

    /// Gives a request that waited the result of a job, if it still waits for that one.
    pub(super) fn deliver(
        &mut self,
        connected: &mut Connected,
        id: RequestId,
        completed: &CompletedJob,
        store: &mut Store,
        now: &Now,
    ) {
        if connected.request.job() != Some(completed.job) {
            return;
        }
        let connection = &connected.connection;
        let Some(request) = connection.resolving() else {
            return;
        };
        let requester = Requester::new(id, connection.peer());
        let state = &mut connected.request;
        let answer = store.resume(completed, &request, requester, state, now);
        connected.connection.lend(&mut self.pool);
        self.answer(connected, &answer, now);
        connected.connection.reclaim(&mut self.pool);
    }

    /// Receives once. A read that fills less than the buffer has emptied the socket, so nobody
    /// asks again only to hear `WouldBlock`; the next bytes raise an event.
    ///
    /// Bytes that were there when the loop woke were sent before changes were taken in. Of others, and
    /// of all but the first request among them, that is not known: see [`EventSync`].
    fn receive(&mut self, connected: &mut Connected, now: &Now) {
        let is_first = connected.noted_in.take() == Some(self.turn);
        connected.event_sync = match is_first && connected.connection.is_idle() {
            true => EventSync::OneShot,
            false => EventSync::No,
        };
        let space = connected.connection.space();
        let room = space.len();
        let input = match socket::receive(connected.socket.as_fd(), space) {
            Ok(0) => Input::EndOfStream,
            Ok(count) => {
                if count < room && !connected.input_ended {
                    connected.input = Flow::Blocked;
                }
                Input::Received(count)
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    connected.input = Flow::Blocked;
                    return;
                }
                io::ErrorKind::Interrupted => return,
                kind => Input::Broken(kind),
            },
        };
        self.look_for_more(connected);
        self.handle(&mut connected.connection, input, now);
    }

    /// The time of a connection is over, unless its peer has acknowledged something meanwhile.
    pub(super) fn deadline_passed(&mut self, connected: &mut Connected, now: &Now) {
        let input = match connected.connection.awaits_acknowledgement() {
            None => Input::DeadlinePassed,
            Some(handed_over) => match socket::unacknowledged(connected.socket.as_fd()) {
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
            let unread = match socket::has_unread(connected.socket.as_fd()) {
                true => Unread::Some,
                false => Unread::None,
            };
            connected.connection.note_unread(unread);
        }
    }

    /// Sends once; gives the bytes that went, or nothing while a job makes them resident.
    fn send(
        &mut self,
        connected: &mut Connected,
        id: ConnectionId,
        store: &mut Store,
        now: &Now,
    ) -> Option<u64> {
        let Some(outcome) = self.hand_over(connected, id, store, now) else {
            let held = Input::Blocked(BlockedOn::Disk);
            self.handle(&mut connected.connection, held, now);
            return None;
        };
        let input = match outcome {
            Ok(count) => Input::Sent(count as u64),
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock => {
                    connected.output = Flow::Blocked;
                    connected.sending.held(now);
                    return Some(0);
                }
                io::ErrorKind::Interrupted => return Some(0),
                kind => Input::Broken(kind),
            },
        };
        self.handle(&mut connected.connection, input, now);
        match input {
            Input::Sent(count) => Some(count),
            _ => Some(0),
        }
    }

    /// Hands what goes out next to the socket; nothing while a job makes it resident, whatever else happens
    /// on the connection meanwhile.
    fn hand_over(
        &mut self,
        connected: &mut Connected,
        id: ConnectionId,
        store: &mut Store,
        now: &Now,
    ) -> Option<io::Result<usize>> {
        if connected.sending.job().is_some() {
            return None;
        }
        let requester = Requester::new(RequestId::http1(id), connected.connection.peer());
        let sending = &mut connected.sending;
        let mut pieces = Pieces::new();
        let descriptor = connected.socket.as_fd();
        match connected.connection.outbox().next(&mut pieces) {
            Next::Nothing => Some(Ok(0)),
            Next::Pieces(more) => {
                let mapped = connected.connection.outbox().mapped();
                if store.prepare_mapped(mapped, sending, requester, now) == Ready::Later {
                    return None;
                }
                let sent = socket::send(descriptor, &pieces, more);
                let sent = match sent {
                    Err(error) if is_fault(&error) => send_singly(descriptor, &pieces),
                    sent => sent,
                };
                Some(sent.inspect(|count| self.gathered_bytes += *count as u64))
            }
            Next::File(segment) => {
                let ready = match store.prepare(segment, sending, requester, now) {
                    Ready::Bytes(ready) => ready,
                    Ready::Later => return None,
                };
                let sent = send_file(descriptor, segment, ready);
                if let Ok(count) = sent {
                    store.note_sent(segment, count as u64, now);
                    self.sendfile_bytes += count as u64;
                }
                Some(sent)
            }
        }
    }
}

/// Sends part of a file that is ready. The last part of a long answer goes only if the file was not
/// written over since the first: an answer made of two versions is not completed.
fn send_file(descriptor: BorrowedFd<'_>, segment: &FileSegment, ready: u64) -> io::Result<usize> {
    let asked = ready.min(SENDFILE_LENGTH_MAX);
    let bytes = &segment.bytes;
    if bytes.start > segment.start && bytes.start + asked == bytes.end {
        let now = segment.file.describe()?.version;
        if segment.version.was_rewritten(&now) {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let asked = usize::try_from(asked).unwrap_or(usize::MAX);
    match segment.file.send_to(descriptor, bytes.start, asked) {
        // The file ends before the length that was announced: it was cut.
        Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
        sent => sent,
    }
}

/// A page of a mapping is gone. The kernel then sends nothing of a gathered call, not even the
/// answers before it; piece by piece they go out, and the error comes where it belongs.
fn send_singly(descriptor: BorrowedFd<'_>, pieces: &[Piece<'_>]) -> io::Result<usize> {
    let mut total = 0;
    for piece in pieces {
        match socket::send(descriptor, std::slice::from_ref(piece), More::Follows) {
            Ok(count) if count == piece.length() => total += count,
            Ok(count) => return Ok(total + count),
            Err(_) if total > 0 => return Ok(total),
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

/// Whether a send failed with EFAULT, the only way in which a cut mapping shows.
fn is_fault(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EFAULT)
}
