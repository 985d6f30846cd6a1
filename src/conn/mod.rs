//! One HTTP/1.1 connection, without any I/O: it is told what happened ([`Connection::handle`]),
//! and says what it wants ([`Connection::want`]).
//!
//! Bytes go in through the inbox and segments come out through the outbox, so that a transport
//! other than a plain socket can stand at that edge.

#![forbid(unsafe_code)]

mod answer;
mod explanation;
mod inbox;
mod interface;
mod journal;
pub mod ledger;
mod line;
pub mod outbox;
mod state;

pub use answer::Document;
pub use explanation::{Explanation, LookUp, ServerTiming};
pub use interface::{
    CloseReason, Context, Found, HoldUp, Input, Peer, Policy, Stage, Standing, Timeouts, Unread,
    Want,
};
pub use state::Connection;

#[cfg(test)]
mod tests;
