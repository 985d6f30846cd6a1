//! HTTP/1.1 as types and functions: RFC 9110 (semantics) and RFC 9112 (message syntax).
//!
//! Knows nothing of files, sockets, caches or the time. What a peer gets wrong is a value
//! ([`status::Refusal`]), never a panic.

pub mod chunked;
pub mod content_coding;
pub mod date;
pub mod entity_tag;
pub mod forwarding;
pub mod framing;
pub mod head;
pub mod precondition;
pub mod range;
pub mod request;
pub mod status;
pub mod target;
