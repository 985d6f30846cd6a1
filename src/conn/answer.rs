//! Writing one answer into an outbox: the decision of `site::response` becomes bytes.

use std::fmt::Write;
use std::rc::Rc;

use percent_encoding::percent_encode;

use super::outbox::{Outbox, Source};
use crate::clock::Now;
use crate::http::facts::Facts;
use crate::http::head::{HeadWriter, LastFields};
use crate::http::range::ByteRange;
use crate::http::request::{Head, Persistence, Version};
use crate::http::status::{Refusal, Status};
use crate::http::target::NOT_IN_QUERY;
use crate::site::fixed::{self, Allow, Page};
use crate::site::representation::{Representation, Vary};
use crate::site::response::{BOUNDARY_LENGTH, Content, Fixed, Selected};
use crate::sys::memory::{Copied, Memory};

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
        head: &Head,
        request: &Facts<'_>,
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
            content: Content::of(request.method()),
            last: LastFields {
                connection,
                server_timing,
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
            },
        }
    }
}

/// A document made in memory: the status page, a list of a directory. All who are sent it share its bytes.
#[derive(Clone, Debug)]
pub struct Document {
    media_type: &'static str,
    bytes: Rc<Memory>,
    length: usize,
    content_security_policy: Option<&'static str>,
    choice: Choice,
}

/// Whether a document was chosen by what its client accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// There is no other.
    None,
    /// By Accept: its answers say so (RFC 9110 §12.5.5).
    Accept,
}

impl Document {
    /// A document with its Content-Type, and the value of Content-Security-Policy for HTML. It is chosen by Accept.
    pub fn new(
        media_type: &'static str,
        bytes: Vec<u8>,
        content_security_policy: Option<&'static str>,
    ) -> Document {
        let bytes = Rc::new(Memory::Copied(Copied::page(bytes.into())));
        Document {
            choice: Choice::Accept,
            ..Document::shared(media_type, bytes, content_security_policy)
        }
    }

    /// A document of bytes that others have as well. There is no other for its path.
    pub fn shared(
        media_type: &'static str,
        bytes: Rc<Memory>,
        content_security_policy: Option<&'static str>,
    ) -> Document {
        Document {
            media_type,
            length: bytes.addresses().len(),
            bytes,
            content_security_policy,
            choice: Choice::None,
        }
    }
}

/// Puts an answer with a representation in and gives the bytes of its content. `source` must hold
/// its version wherever [`Selected::first_byte`] gives one.
pub(super) fn put_selected(
    outbox: &mut Outbox,
    exchange: Exchange<'_>,
    representation: &Representation,
    selected: &Selected,
    source: Option<&Source>,
) -> u64 {
    let Exchange { now, last, .. } = exchange;
    match selected {
        Selected::Whole => {
            outbox.render(|buffer| representation.head.append_to(buffer, now, last));
            put_content(
                outbox,
                exchange,
                representation,
                source,
                whole(representation),
            )
        }
        Selected::NotModified => {
            outbox.render(|buffer| {
                representation
                    .head
                    .append_not_modified_to(buffer, now, last);
            });
            0
        }
        Selected::Part(range) => {
            outbox.render(|buffer| part_head(buffer, exchange, representation, *range));
            put_content(outbox, exchange, representation, source, Some(*range))
        }
        Selected::Parts(ranges) => put_parts(outbox, exchange, representation, ranges, source),
        Selected::PreconditionFailed => {
            put_page(outbox, exchange, Status::PreconditionFailed, "", |head| {
                representation.add_common_fields(head);
            })
        }
        Selected::Unsatisfiable => {
            put_page(outbox, exchange, Status::RangeNotSatisfiable, "", |head| {
                head.field("Content-Range", unsatisfied(representation).as_bytes());
                if representation.vary == Vary::AcceptEncoding {
                    head.field("Vary", b"Accept-Encoding");
                }
            })
        }
    }
}

/// Puts an answer without a representation in and gives the bytes of its content.
pub(super) fn put_fixed(
    outbox: &mut Outbox,
    exchange: Exchange<'_>,
    request: &Facts<'_>,
    fixed: &Fixed,
) -> u64 {
    match fixed {
        Fixed::Options => {
            outbox.render(|buffer| {
                let mut head = HeadWriter::start(buffer, Status::Ok, &exchange.now.rendered);
                head.field("Allow", Allow::Files.field());
                head.number("Content-Length", 0).finish(exchange.last);
            });
            0
        }
        Fixed::MethodNotAllowed(allow) => {
            put_page(outbox, exchange, Status::MethodNotAllowed, "", |head| {
                head.field("Allow", allow.field());
            })
        }
        Fixed::Moved(path) => put_page(outbox, exchange, Status::MovedPermanently, "", |head| {
            let mut location = path.as_bytes().to_vec();
            if let Some(query) = request.query() {
                location.push(b'?');
                put_query(&mut location, query);
            }
            head.field("Location", &location);
        }),
        Fixed::Error(status) => put_page(outbox, exchange, *status, "", |head| {
            if *status == Status::ServiceUnavailable {
                head.field("Retry-After", b"1");
            }
        }),
        Fixed::Refused(refusal) => put_refusal(outbox, exchange, *refusal),
    }
}

/// Appends a query as a URI-reference can have it: as it was sent, but for what no query may hold and percent
/// signs that begin no escape. RFC 9110 §10.2.2.
fn put_query(location: &mut Vec<u8>, query: &[u8]) {
    for (index, part) in query.split(|byte| *byte == b'%').enumerate() {
        let is_escape =
            matches!(part, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
        match (index, is_escape) {
            (0, _) => {}
            (_, true) => location.push(b'%'),
            (_, false) => location.extend_from_slice(b"%25"),
        }
        for piece in percent_encode(part, NOT_IN_QUERY) {
            location.extend_from_slice(piece.as_bytes());
        }
    }
}

/// Puts the answer to what is no request in and gives the bytes of its content.
pub(super) fn put_refusal(outbox: &mut Outbox, exchange: Exchange<'_>, refusal: Refusal) -> u64 {
    let detail = format!("This request cannot be answered: {refusal}.");
    put_page(outbox, exchange, refusal.status(), &detail, |_| {})
}

/// Puts a document in that nobody may store and gives the bytes of its content.
pub(super) fn put_document(
    outbox: &mut Outbox,
    exchange: Exchange<'_>,
    document: &Document,
) -> u64 {
    outbox.render(|buffer| {
        let mut head = HeadWriter::start(buffer, Status::Ok, &exchange.now.rendered);
        head.field("Content-Type", document.media_type.as_bytes());
        head.number("Content-Length", document.length as u64);
        head.field("Cache-Control", b"no-store");
        if let Some(policy) = document.content_security_policy {
            head.field("Content-Security-Policy", policy.as_bytes());
        }
        if document.choice == Choice::Accept {
            head.field("Vary", b"Accept");
        }
        head.finish(exchange.last);
    });
    if exchange.content == Content::Sent {
        outbox.memory(&document.bytes, 0..document.length);
    }
    sent_length(exchange, document.length)
}

fn sent_length(exchange: Exchange<'_>, length: usize) -> u64 {
    match exchange.content {
        Content::Sent => length as u64,
        Content::Omitted => 0,
    }
}

/// Puts the interim answer in that lets a client send its body. RFC 9110 §15.2.1.
pub(super) fn put_continue(outbox: &mut Outbox) {
    outbox.render(|buffer| buffer.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"));
}

fn put_page(
    outbox: &mut Outbox,
    exchange: Exchange<'_>,
    status: Status,
    detail: &str,
    fields: impl FnOnce(&mut HeadWriter<'_>),
) -> u64 {
    let mut code = itoa::Buffer::new();
    let page = Page::new(status, code.format(status.code()), detail);
    outbox.render(|buffer| {
        let mut head = HeadWriter::start(buffer, status, &exchange.now.rendered);
        head.field("Content-Type", fixed::PAGE_TYPE);
        head.number("Content-Length", page.length() as u64);
        fields(&mut head);
        head.finish(exchange.last);
        if exchange.content == Content::Sent {
            page.append_to(buffer);
        }
    });
    sent_length(exchange, page.length())
}

fn whole(representation: &Representation) -> Option<ByteRange> {
    let last = representation.version.length.checked_sub(1)?;
    Some(ByteRange { first: 0, last })
}

fn put_content(
    outbox: &mut Outbox,
    exchange: Exchange<'_>,
    representation: &Representation,
    source: Option<&Source>,
    range: Option<ByteRange>,
) -> u64 {
    match (exchange.content, source, range) {
        (Content::Sent, Some(source), Some(range)) => {
            outbox.content(source, representation.version, range.first..range.last + 1);
            range.length()
        }
        _ => 0,
    }
}

fn part_head(
    buffer: &mut Vec<u8>,
    exchange: Exchange<'_>,
    representation: &Representation,
    range: ByteRange,
) {
    let mut head = HeadWriter::start(buffer, Status::PartialContent, &exchange.now.rendered);
    head.field("Content-Type", representation.head.media_type());
    head.number("Content-Length", range.length());
    head.content_range(range.first, range.last, representation.version.length);
    head.lines(representation.head.content_fields());
    head.finish(exchange.last);
}

fn content_range(representation: &Representation, range: ByteRange) -> String {
    format!(
        "bytes {}-{}/{}",
        range.first, range.last, representation.version.length
    )
}

fn unsatisfied(representation: &Representation) -> String {
    format!("bytes */{}", representation.version.length)
}

/// Several ranges as `multipart/byteranges`, RFC 9110 §14.6.
fn put_parts(
    outbox: &mut Outbox,
    exchange: Exchange<'_>,
    representation: &Representation,
    ranges: &[ByteRange],
    source: Option<&Source>,
) -> u64 {
    let boundary = boundary(representation, exchange.now);
    let part_heads: Vec<String> = ranges
        .iter()
        .map(|range| {
            // The line end before a delimiter belongs to it. RFC 2046 §5.1.1 lets the first go without, but
            // zsync looks for it there, and nginx sends it.
            let media_type = String::from_utf8_lossy(representation.head.media_type());
            let content_range = content_range(representation, *range);
            format!(
                "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {content_range}\r\n\r\n"
            )
        })
        .collect();
    let end = format!("\r\n--{boundary}--\r\n");
    let content_length = part_heads.iter().map(|head| head.len() as u64).sum::<u64>()
        + ranges.iter().map(ByteRange::length).sum::<u64>()
        + end.len() as u64;
    outbox.render(|buffer| {
        let mut head = HeadWriter::start(buffer, Status::PartialContent, &exchange.now.rendered);
        let media_type = format!("multipart/byteranges; boundary={boundary}");
        head.field("Content-Type", media_type.as_bytes());
        head.number("Content-Length", content_length);
        representation.add_content_fields(&mut head);
        head.finish(exchange.last);
    });
    if exchange.content == Content::Omitted {
        return 0;
    }
    for (part_head, range) in part_heads.iter().zip(ranges) {
        outbox.render(|buffer| buffer.extend_from_slice(part_head.as_bytes()));
        put_content(outbox, exchange, representation, source, Some(*range));
    }
    outbox.render(|buffer| buffer.extend_from_slice(end.as_bytes()));
    content_length
}

/// A delimiter that the file does not contain by accident: 32 hexadecimal digits that depend on
/// the moment, so that nobody can put it into a file beforehand.
fn boundary(representation: &Representation, now: &Now) -> String {
    let mut boundary = String::with_capacity(BOUNDARY_LENGTH);
    let moment = u64::from(now.wall.nanoseconds) | now.date.unix_seconds() << 30;
    let mixed = foldhash::quality::FixedState::with_seed(moment);
    let word = std::hash::BuildHasher::hash_one(&mixed, representation.version);
    // Writing to a String cannot fail.
    let _ = write!(boundary, "spede-{moment:016x}{word:016x}");
    debug_assert_eq!(boundary.len(), BOUNDARY_LENGTH);
    boundary
}
