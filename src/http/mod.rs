//! HTTP/1.1 as types and functions: RFC 9110 (semantics) and RFC 9112 (message syntax).
//!
//! Knows nothing of files, sockets, caches or the time. What a peer gets wrong is a value
//! ([`status::Refusal`]), never a panic.

pub(crate) mod chunked;
pub mod content_coding;
pub(crate) mod date;
pub(crate) mod entity_tag;
pub mod facts;
pub(crate) mod forwarding;
pub(crate) mod framing;
pub(crate) mod head;
pub(crate) mod precondition;
pub mod range;
pub mod request;
pub mod status;
pub(crate) mod target;
pub(crate) mod version;
