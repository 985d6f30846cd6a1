//! The bytes of HTTP/1.1 for a response: RFC 9112 §4 and §5. Nothing else in `conn` or below it puts a response head
//! together; what its fields are is said in `response`.

use super::outbox::Outbox;
use super::response::{Head, Response};
use crate::clock::Now;
use crate::http::head::{HeadWriter, LastFields};
use crate::http::request::{self, Persistence};
use crate::http::status::Status;
use crate::http::version::Version;
use crate::site::response::Content;

/// What is known of the request while it is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange<'a> {
    /// The moment of the answer.
    pub now: &'a Now,
    /// Whether content goes with the head.
    pub content: Content,
    /// What ends the head.
    pub last: LastFields<'a>,
}

impl<'a> Exchange<'a> {
    /// The answer to a request, on a connection that goes on or not.
    pub(super) fn new(
        head: &request::Head,
        content: Content,
        persistence: Persistence,
        server_timing: Option<&'a str>,
        now: &'a Now,
    ) -> Exchange<'a> {
        let connection = match (persistence, head.version) {
            (Persistence::Close, _) => Some("close"),
            (Persistence::KeepAlive, Version::Http10) => Some("keep-alive"),
            (Persistence::KeepAlive, Version::Http11) => None,
        };
        Exchange {
            now,
            content,
            last: LastFields {
                connection,
                server_timing,
                lines: b"",
            },
        }
    }

    /// The last answer on a connection whose request could not be understood.
    pub(super) fn last(content: Content, now: &'a Now) -> Exchange<'a> {
        Exchange {
            now,
            content,
            last: LastFields {
                connection: Some("close"),
                server_timing: None,
                lines: b"",
            },
        }
    }
}

/// Puts a response in and gives the bytes of content that are sent with it.
pub(super) fn put(outbox: &mut Outbox, exchange: Exchange<'_>, response: &Response<'_>) -> u64 {
    let Exchange { now, content, last } = exchange;
    let last = LastFields {
        lines: response.lines,
        ..last
    };
    outbox.render(|buffer| match response.head {
        Head::Rendered(head) if response.status == Status::NotModified => {
            head.append_not_modified_to(buffer, now, last);
        }
        Head::Rendered(head) => head.append_to(buffer, now, last),
        Head::Fields(fields) => {
            let mut head = HeadWriter::start(buffer, response.status, &now.rendered);
            response.add_fields(fields, &mut head);
            head.finish(last);
        }
    });
    match content {
        Content::Sent => response.content.put_into(outbox),
        Content::Omitted => 0,
    }
}

/// Puts the interim answer in that lets a client send its body. RFC 9110 §15.2.1.
pub(super) fn put_continue(outbox: &mut Outbox) {
    outbox.render(|buffer| buffer.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"));
}
