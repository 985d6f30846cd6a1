//! A peer and a driver in one: it gives a connection bytes, and does what the connection wants.

#![cfg(test)]

use std::time::{Duration, Instant};

use crate::clock::Now;
use crate::conn::Logging;
use crate::conn::outbox::{Next, Pool};
use crate::conn::response_stats::ResponseStats;
use crate::conn::{
    CloseReason, Connection, Context, Explanation, Input, Peer, Policy, Response, ServerTiming,
    Stage, Timeouts, Want,
};
use crate::http::request::HeadLimits;
use crate::http::status::Status;
use crate::site::response::Fixed;
use crate::sys::file::FileTime;
use crate::sys::socket::Pieces;

const POLICY: Policy = Policy {
    head: HeadLimits {
        target_length_max: 1_000,
        head_length_max: 4_000,
        field_count_max: 50,
    },
    body_length_max: 1_000,
    timeouts: Timeouts {
        head: Duration::from_secs(10),
        body: Duration::from_secs(30),
        idle: Duration::from_secs(60),
        disk: Duration::from_secs(40),
        send: Duration::from_secs(20),
        linger: Duration::from_secs(2),
        linger_total: Duration::from_secs(10),
    },
    send_rate_min: 0,
    server_timing: ServerTiming::Hidden,
};

/// A driver that answers every look-up with 404, except paths that start with `/later`, which wait.
pub(super) struct Peerless {
    pub(super) connection: Connection,
    pub(super) pool: Pool,
    pub(super) response_stats: ResponseStats,
    pub(super) now: Now,
    pub(super) stage: Stage,
    pub(super) acknowledged: u64,
    pub(super) sent_length: u64,
    pub(super) end: Option<CloseReason>,
    pub(super) half_closed: bool,
}

impl Peerless {
    pub(super) fn new() -> Peerless {
        let now = Now::at(
            Instant::now(),
            FileTime {
                seconds: 1_800_000_000,
                nanoseconds: 0,
            },
        );
        Peerless {
            connection: Connection::new(Peer::Local, &now),
            pool: Pool::new(5_000),
            response_stats: ResponseStats::new(Logging::Combined),
            now,
            stage: Stage::Serving,
            acknowledged: 0,
            sent_length: 0,
            end: None,
            half_closed: false,
        }
    }

    pub(super) fn tell(&mut self, input: Input<'_>) {
        let Peerless {
            connection,
            response_stats,
            now,
            stage,
            ..
        } = self;
        connection.handle(
            input,
            &mut Context {
                now,
                policy: &POLICY,
                stage: *stage,
                response_stats,
            },
        );
    }

    /// Does what the connection wants until it wants bytes, or to wait.
    pub(super) fn settle(&mut self) {
        loop {
            self.connection.lend(&mut self.pool);
            let later = Input::Waiting;
            let missing = Fixed::Error(Status::NotFound);
            match self.connection.want() {
                Want::Read | Want::Wait | Want::Discard => break,
                Want::Resolve(request) if request.path().starts_with(b"/later") => self.tell(later),
                Want::Resolve(_) => self.tell(Input::Resolved(
                    &Response::fixed(&missing),
                    Explanation::default(),
                )),
                Want::Write => {
                    let mut pieces = Pieces::new();
                    let length = match self.connection.outbox().next(u64::MAX, &mut pieces) {
                        Next::Pieces(_) => pieces.iter().map(|piece| piece.length() as u64).sum(),
                        next => panic!("only memory is sent here: {next:?}"),
                    };
                    drop(pieces);
                    self.sent_length += length;
                    self.tell(Input::Sent(length));
                }
                Want::CloseWrite => {
                    self.half_closed = true;
                    self.tell(Input::WriteClosed);
                }
                Want::Close(reason) => {
                    self.end = Some(reason);
                    break;
                }
            }
        }
        self.connection.reclaim(&mut self.pool);
    }

    /// Gives the connection bytes in pieces of at most `step`.
    pub(super) fn receive(&mut self, bytes: &[u8], step: usize) {
        self.settle();
        let mut rest = bytes;
        while !rest.is_empty() && matches!(self.connection.want(), Want::Read | Want::Discard) {
            self.connection.lend(&mut self.pool);
            let space = self.connection.space();
            let count = rest.len().min(step).min(space.len());
            assert!(count > 0, "room is never empty while bytes are wanted");
            space[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            self.tell(Input::Received(count));
            self.settle();
        }
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        let due = self.connection.deadline(&POLICY.timeouts);
        if due.is_some_and(|due| due <= self.now.monotonic) {
            if self.connection.awaits_acknowledgement().is_some() {
                self.tell(Input::Acknowledged(self.acknowledged));
            } else {
                self.tell(Input::DeadlinePassed);
                self.settle();
            }
        }
    }

    /// An answer that is to be sent, and nobody takes.
    pub(super) fn answer_untaken(&mut self) {
        self.receive(b"GET /later HTTP/1.1\r\nHost: a\r\n\r\n", 5_000);
        self.connection.lend(&mut self.pool);
        let missing = Fixed::Error(Status::NotFound);
        self.tell(Input::Resolved(
            &Response::fixed(&missing),
            Explanation::default(),
        ));
    }

    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        match self.connection.want() {
            Want::Close(reason) => Some(reason),
            _ => None,
        }
    }

    /// The statuses answered so far, from the log.
    pub(super) fn statuses(&self) -> Vec<u16> {
        let lines = String::from_utf8_lossy(&self.response_stats.lines);
        let status = |line: &str| line.split("\" ").nth(1)?.split(' ').next()?.parse().ok();
        lines.lines().filter_map(status).collect()
    }
}
