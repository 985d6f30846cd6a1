//! What others may ask of a connection, and the buffers that they lend it.

use std::sync::Arc;
use std::time::Instant;

use super::{Connection, State};
use crate::conn::interface::{Activity, Peer};
use crate::conn::outbox::{Outbox, Pool};
use crate::sys::file::{FileVersion, OpenFile};

impl Connection {
    /// Who is at the other end.
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Lends buffers for the time that something happens on the connection.
    pub fn lend(&mut self, pool: &mut Pool) {
        self.inbox.lend(pool);
        self.answers.lend(pool);
    }

    /// Gives the buffers back; what they hold is kept in shorter ones.
    pub fn reclaim(&mut self, pool: &mut Pool) {
        self.inbox.reclaim(pool);
        self.answers.reclaim(pool);
    }

    /// Bytes of the buffers that it holds.
    pub fn buffer_bytes(&self) -> u64 {
        self.inbox.memory_bytes() + self.answers.buffer_bytes()
    }

    /// All of these.
    pub fn held_bytes(&self) -> u64 {
        self.buffer_bytes() + self.log_bytes()
    }

    /// When what is waited for began, in whatever state; see [`Timeouts`](crate::conn::Timeouts).
    pub fn since(&self) -> Instant {
        self.since
    }

    /// Bytes of log lines of answers that are not completely sent.
    pub fn log_bytes(&self) -> u64 {
        self.answers.log_bytes()
    }

    /// Where received bytes go, after [`lend`](Connection::lend). Never empty while
    /// [`want`](Connection::want) is `Read` or `Discard`.
    pub fn space(&mut self) -> &mut [u8] {
        self.inbox.space()
    }

    /// What is to be sent.
    pub fn outbox(&self) -> &Outbox {
        self.answers.outbox()
    }

    /// Gives the open files of its answers up: see [`Outbox::park`].
    pub(crate) fn park(&mut self) -> Vec<FileVersion> {
        self.answers.outbox_mut().park()
    }

    /// Goes on with a file that was opened again: see [`Outbox::resume`].
    pub(crate) fn resume(&mut self, version: &FileVersion, file: &Arc<OpenFile>) {
        self.answers.outbox_mut().resume(version, file);
    }

    /// Whether no request is under way and nothing is being sent.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::ReadingHead) && self.is_at_rest()
    }

    /// Since when it is idle; nothing if it is not.
    pub fn idle_since(&self) -> Option<Instant> {
        self.is_idle().then_some(self.since)
    }

    /// What it is doing.
    pub fn activity(&self) -> Activity {
        match self.state {
            _ if self.is_idle() => Activity::Idle,
            _ if !self.answers.is_empty() => Activity::Sending,
            State::Resolving { .. } => Activity::Waiting,
            State::ReadingHead | State::Discarding { .. } => Activity::Receiving,
            State::Flushing(_) | State::Lingering(_) | State::Closed(_) => Activity::Lingering,
        }
    }

    /// Since when it holds its place without a need: it is idle, or its last answer was sent.
    pub fn rests_since(&self) -> Option<Instant> {
        match self.state {
            State::Lingering(_) => Some(self.since),
            _ => self.idle_since(),
        }
    }

    /// Whether a request has begun whose answer was not sent to its end.
    pub fn is_under_way(&self) -> bool {
        match self.state {
            State::Lingering(_) | State::Closed(_) => false,
            State::ReadingHead => !self.is_at_rest(),
            State::Flushing(_) => !self.answers.is_empty(),
            State::Discarding { .. } | State::Resolving { .. } => true,
        }
    }
}
