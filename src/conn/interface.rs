//! The interface between a connection and its driver: inputs, requests for action, policy.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use super::explanation::{Explanation, ServerTiming};
use super::response::Response;
use super::response_stats::ResponseStats;
use crate::clock::Now;
use crate::http::facts::Facts;
use crate::http::request::HeadLimits;

/// Time limits. Each begins with what it names; `send` begins again with each byte that the peer accepts or
/// acknowledges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first byte of a head to its last.
    pub head: Duration,
    /// From the end of a head to the end of its body.
    pub body: Duration,
    /// Without any request.
    pub idle: Duration,
    /// For a request that waits for the disk; then 504. The same for further content of an answer that has begun,
    /// which is then not completed. Kept for each request (`store::request`), not for its connection.
    pub disk: Duration,
    /// Without the peer acknowledging a byte of what is sent.
    pub send: Duration,
    /// After the last answer, without the peer sending anything and without its end.
    pub linger: Duration,
    /// From the last answer to the end of what the peer still sends.
    pub linger_total: Duration,
}

/// What all connections of a server have in common.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Limits on heads.
    pub head: HeadLimits,
    /// Longest body that is read and dropped, in bytes.
    pub body_length_max: u64,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// Least bytes in a second that a peer has to acknowledge, on average over `send`; 0: any will do.
    pub send_rate_min: u64,
    /// Whether responses say where they come from.
    pub server_timing: ServerTiming,
}

/// Whether the server goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Connections are kept.
    Serving,
    /// It is stopping: each connection is told so with its next answer.
    Draining,
}

/// Whether a socket holds bytes that were not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// None when it was asked.
    None,
    /// There are some.
    Some,
}

/// What a connection is given beside each input.
#[derive(Debug)]
pub struct Context<'a> {
    /// The moment.
    pub now: &'a Now,
    /// The rules.
    pub policy: &'a Policy,
    /// Whether the server goes on.
    pub stage: Stage,
    /// Where it reports to.
    pub response_stats: &'a mut ResponseStats,
}

/// What the next bytes to be sent wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockedOn {
    /// The peer, which has to accept earlier bytes.
    Peer,
    /// The disk, which has to read them.
    Disk,
}

/// What happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// So many bytes were put at the start of [`space`](super::Connection::space).
    Received(usize),
    /// The peer will send no more.
    EndOfStream,
    /// The look-up that was wanted goes on elsewhere; its answer comes as `Resolved`.
    Waiting,
    /// The look-up that was wanted is done.
    Resolved(&'a Response<'a>, Explanation),
    /// So many bytes of the outbox went out.
    Sent(u64),
    /// So many bytes were acknowledged by the peer since the connection began; said when
    /// [`deadline`](super::Connection::deadline) has come and the peer is waited for.
    Acknowledged(u64),
    /// The next bytes to be sent wait for this now.
    Blocked(BlockedOn),
    /// The disk did not read the next bytes to be sent in time.
    DiskStalled,
    /// Our direction of the stream was shut down.
    WriteClosed,
    /// The moment that [`deadline`](super::Connection::deadline) gave has come.
    DeadlinePassed,
    /// The connection is to end if it is idle.
    Retire,
    /// The socket failed, or the bytes of an answer are no longer there.
    Broken(io::ErrorKind),
}

/// What a connection wants of its driver. Asking twice is harmless.
#[derive(Debug)]
pub enum Want<'a> {
    /// More bytes from the peer.
    Read,
    /// What this request leads to.
    Resolve(Facts<'a>),
    /// Nothing until a look-up is done.
    Wait,
    /// The outbox emptied.
    Write,
    /// Our direction shut down, because the peer may not have read our answer yet while we no
    /// longer read what it sends: closing now would destroy the answer (RFC 9112 §9.6).
    CloseWrite,
    /// Bytes from the peer, to be dropped.
    Discard,
    /// The socket closed.
    Close(CloseReason),
}

/// The activity of a connection, for statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// Nothing: it is between requests.
    Idle,
    /// Receiving a head or a body.
    Receiving,
    /// Waiting for what a request leads to.
    Waiting,
    /// Sending.
    Sending,
    /// Taking what still comes after the last answer.
    Lingering,
}

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer had no more to ask.
    PeerFinished,
    /// The last answer was sent.
    Answered,
    /// No request came in time.
    Idle,
    /// The peer acknowledged no byte in time, or too few.
    SendStalled,
    /// The disk gave no further content in time.
    DiskStalled,
    /// What was received after the last answer did not end in time, or was too much.
    Lingered,
    /// The socket or the file failed.
    Broken(io::ErrorKind),
}

/// The peer of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A peer over TCP.
    Address(IpAddr),
    /// A peer over a Unix socket.
    Local,
}

impl Peer {
    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            Peer::Address(address) => Some(address),
            Peer::Local => None,
        }
    }
}
