//! The answers of one stream that are not completely sent: their bytes, and what the access log will say of them.
//!
//! HTTP/1.1 has one stream, which carries one answer after the other; a protocol with several has one queue for each. A
//! log line belongs to a request and says how much of its answer was sent, so it is written when its last byte has gone
//! or the stream has ended.

use std::net::IpAddr;

use super::explanation::Explanation;
use super::http1::{self, Exchange};
use super::outbox::{Outbox, Pool};
use super::pending_log::{Answered, PendingLogLines, Received};
use super::response::Response;
use super::response_stats::ResponseStats;

/// Answers in the order in which they are sent.
#[derive(Debug, Default)]
pub(super) struct SendQueue {
    outbox: Outbox,
    pending_log: PendingLogLines,
}

impl SendQueue {
    /// What is to be sent.
    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The same, to give files up and take them back.
    pub(super) fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Whether everything was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Whether another answer may be put in before something is sent. Always when everything was sent.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.has_room() && self.pending_log.has_room()
    }

    /// Puts an answer in to what was received and gives the bytes of its content.
    pub(super) fn put(
        &mut self,
        response: &Response<'_>,
        exchange: Exchange<'_>,
        received: Received<'_>,
        explanation: Explanation,
        response_stats: &mut ResponseStats,
    ) -> u64 {
        let content_length = http1::put(&mut self.outbox, exchange, response);
        let answered = Answered {
            status: response.status,
            content_length,
            end: self.outbox.total_in(),
            explanation,
        };
        self.pending_log
            .answered(response_stats, received, answered, exchange.now);
        content_length
    }

    /// Puts an interim answer in, which no log line tells of.
    pub(super) fn put_continue(&mut self) {
        http1::put_continue(&mut self.outbox);
    }

    /// Takes out what was sent to `peer`, and writes the lines of answers that have gone.
    pub(super) fn sent(
        &mut self,
        count: u64,
        peer: Option<IpAddr>,
        response_stats: &mut ResponseStats,
    ) {
        self.outbox.advance(count);
        self.pending_log
            .sent(response_stats, peer, self.outbox.total_out());
    }

    /// Drops what was not sent, and writes the lines of all answers.
    pub(super) fn end(&mut self, peer: Option<IpAddr>, response_stats: &mut ResponseStats) {
        self.pending_log
            .ended(response_stats, peer, self.outbox.total_out());
        self.outbox.clear();
    }

    /// Lends buffers.
    pub(super) fn lend(&mut self, pool: &mut Pool) {
        self.outbox.lend(pool);
    }

    /// Gives the buffers back; what they hold is kept in shorter ones.
    pub(super) fn reclaim(&mut self, pool: &mut Pool) {
        self.outbox.reclaim(pool);
    }

    /// Bytes of the buffers of what is to be sent.
    pub(super) fn buffer_bytes(&self) -> u64 {
        self.outbox.memory_bytes()
    }

    /// Bytes of what lines will say.
    pub(super) fn log_bytes(&self) -> u64 {
        self.pending_log.memory_bytes()
    }
}
