//! One HTTP/1.1 connection, without any I/O: it is told what happened ([`Connection::handle`]),
//! and says what it wants ([`Connection::want`]).
//!
//! Bytes go in through the inbox and segments come out through the outbox, so that a transport
//! other than a plain socket can stand at that edge.

#![forbid(unsafe_code)]

mod explanation;
mod http1;
mod id;
mod inbox;
mod interface;
mod line;
pub mod outbox;
mod pending_log;
pub(crate) mod response;
pub mod response_stats;
mod send_queue;
mod state;

pub use explanation::{CacheResult, Explanation, ServerTiming};
pub use id::{ConnectionId, RequestId, StreamId};
pub use interface::{
    Activity, BlockedOn, CloseReason, Context, Input, Peer, Policy, Stage, Timeouts, Unread, Want,
};
pub use line::{Colours, Logging};
pub use response::{Document, Response};
pub use state::Connection;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod wire_cases;
