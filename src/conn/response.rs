//! What a request is answered with, before a protocol gives it bytes.
//!
//! A [`Response`] is a status, a head and a content. The head is one that was rendered once with its representation, or
//! a list of fields, which [`Response::add_fields`] gives one by one to the writer of a protocol. The content is bytes
//! or a part of a file, the same in each protocol. A response borrows what it was decided from: the caches hold
//! that already, and a response that owned it would copy and count for nothing.
//!
//! Knows no protocol; `http1` gives a response the bytes of HTTP/1.1.

mod multipart;
#[cfg(test)]
mod tests;

use std::rc::Rc;

use self::multipart::Multipart;
use super::outbox::{Outbox, Source};
use crate::clock::Now;
use crate::http::range::{ByteRange, ContentRange};
use crate::http::status::{Refusal, Status};
use crate::site::fields::cors::PREFLIGHT;
use crate::site::fields::{Answer, SiteFields};
use crate::site::fixed::{self, Allow, Page};
use crate::site::redirect::Moved;
use crate::site::rendered::{FieldWriter, RenderedHead};
use crate::site::representation::Representation;
use crate::site::response::{Fixed, Selected};
use crate::sys::memory::{Copied, Memory};

/// A document made in memory: the status page, a list of a directory. All who are sent it share its bytes.
#[derive(Clone, Debug)]
pub struct Document {
    media_type: &'static str,
    bytes: Rc<Memory>,
    length: usize,
    content_security_policy: Option<&'static str>,
    choice: Choice,
}

/// The value of Retry-After, in seconds: room for disk jobs and descriptors comes back within one.
const RETRY_AFTER: &[u8] = b"1";

/// The same after too many wrong passwords: the time for which they count.
const RETRY_AFTER_FAILURES: &[u8] = b"60";

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

/// The answer to a request.
#[derive(Debug)]
pub struct Response<'a> {
    pub(super) status: Status,
    pub(super) head: Head<'a>,
    pub(super) content: Content<'a>,
    /// Whole lines that the site adds.
    pub(super) lines: &'a [u8],
}

/// The fields of a response.
#[derive(Clone, Copy, Debug)]
pub(super) enum Head<'a> {
    /// Those of a representation, or the part of them that a 304 has: rendered once.
    Rendered(&'a RenderedHead),
    /// Those of the content, and these.
    Fields(Fields<'a>),
}

/// The fields of a response that are not those of its content.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fields<'a> {
    /// None.
    None,
    /// 206: those of the representation that do not depend on what of it is sent.
    Representation(&'a Representation),
    /// 412: those that tell its version.
    Version(&'a Representation),
    /// 416: how long it is.
    Unsatisfied(&'a Representation),
    /// An error whose page it is.
    ErrorPage(Status, &'a Representation),
    /// 200 for OPTIONS, and 405.
    Allow(Allow),
    /// 204 for OPTIONS.
    Preflight,
    /// 301, 302, 307 and 308.
    Location(&'a str),
    /// 401: a name and a password of this realm are needed.
    Challenge(&'a str),
    /// 429.
    RetryAfterFailures,
    /// 503.
    RetryLater,
    /// Those of a document, which nobody may store.
    Document(&'a Document),
}

/// The content of a response.
#[derive(Debug)]
pub(super) enum Content<'a> {
    /// None, and none is possible.
    Impossible,
    /// None.
    None,
    /// A page about the status.
    Page(Page<'a>),
    /// A document.
    Document(&'a Document),
    /// All of a file, with a status of an error.
    ErrorPage(Part<'a>),
    /// A range of a file.
    Part(Part<'a>),
    /// Several ranges of a file.
    Parts(Box<Multipart<'a>>),
}

/// A range of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part<'a> {
    representation: &'a Representation,
    range: ByteRange,
    /// The bytes of the file; `None` where the content is not sent.
    source: Option<&'a Source>,
}

impl Part<'_> {
    /// Puts its bytes into an outbox and gives how many.
    fn put_into(&self, outbox: &mut Outbox) -> u64 {
        let Some(source) = self.source else {
            return 0;
        };
        let bytes = self.range.first..self.range.last + 1;
        outbox.content(source, self.representation.version, bytes);
        self.range.length()
    }
}

impl<'a> Response<'a> {
    /// An answer with what was selected of a representation. `source` must hold its version wherever
    /// [`Selected::first_byte`] gives a byte.
    pub fn selected(
        representation: &'a Representation,
        selected: &'a Selected,
        source: Option<&'a Source>,
        now: &Now,
    ) -> Response<'a> {
        let part = |range| Part {
            representation,
            range,
            source,
        };
        let whole = || {
            let last = representation.version.length.checked_sub(1)?;
            Some(part(ByteRange { first: 0, last }))
        };
        let status = selected.status();
        let page = Content::Page(Page::new(status, ""));
        let rendered = Head::Rendered(&representation.head);
        let (head, content) = match selected {
            Selected::Whole => (rendered, whole().map_or(Content::None, Content::Part)),
            Selected::ErrorPage(status) => {
                let fields = Fields::ErrorPage(*status, representation);
                (
                    Head::Fields(fields),
                    whole().map_or(Content::None, Content::ErrorPage),
                )
            }
            Selected::NotModified => (rendered, Content::None),
            Selected::Part(range) => (
                Head::Fields(Fields::Representation(representation)),
                Content::Part(part(*range)),
            ),
            Selected::Parts(ranges) => {
                let parts = Multipart::new(representation, ranges, source, now);
                let fields = Fields::Representation(representation);
                (Head::Fields(fields), Content::Parts(Box::new(parts)))
            }
            Selected::PreconditionFailed => (Head::Fields(Fields::Version(representation)), page),
            Selected::Unsatisfiable => (Head::Fields(Fields::Unsatisfied(representation)), page),
        };
        Response {
            status,
            head,
            content,
            lines: b"",
        }
    }

    /// An answer without a representation.
    pub fn fixed(fixed: &'a Fixed) -> Response<'a> {
        let status = fixed.status();
        let page = Content::Page(Page::new(status, ""));
        let (fields, content) = match fixed {
            Fixed::Options => (Fields::Allow(Allow::Files), Content::None),
            Fixed::Preflight => (Fields::Preflight, Content::Impossible),
            Fixed::MethodNotAllowed(allow) => (Fields::Allow(*allow), page),
            Fixed::Moved(moved) => return Response::moved(moved),
            Fixed::Unauthorized(realm) => (Fields::Challenge(realm), page),
            Fixed::Error(Status::TooManyRequests) => (Fields::RetryAfterFailures, page),
            Fixed::Error(Status::ServiceUnavailable) => (Fields::RetryLater, page),
            Fixed::Error(_) => (Fields::None, page),
        };
        Response {
            status,
            head: Head::Fields(fields),
            content,
            lines: b"",
        }
    }

    /// An answer that sends the client elsewhere.
    pub fn moved(moved: &'a Moved) -> Response<'a> {
        Response {
            status: moved.status,
            head: Head::Fields(Fields::Location(&moved.location)),
            content: Content::Page(Page::new(moved.status, "")),
            lines: b"",
        }
    }

    /// An answer with a document.
    pub fn document(document: &'a Document) -> Response<'a> {
        Response {
            status: Status::Ok,
            head: Head::Fields(Fields::Document(document)),
            content: Content::Document(document),
            lines: b"",
        }
    }

    /// What its site adds to it.
    pub(crate) fn site_fields(&self) -> SiteFields {
        match self.head {
            Head::Rendered(head) => SiteFields::Rendered(head.origins),
            Head::Fields(Fields::Representation(representation)) => {
                SiteFields::Rendered(representation.head.origins)
            }
            Head::Fields(Fields::Document(_)) => SiteFields::OfAnswer(Answer::Document),
            Head::Fields(Fields::ErrorPage(..)) => SiteFields::OfAnswer(Answer::ErrorPage),
            Head::Fields(_) => SiteFields::OfAnswer(Answer::Plain(self.status)),
        }
    }

    /// Puts these lines of its site at the end of its head.
    pub(crate) fn set_lines(&mut self, lines: &'a [u8]) {
        self.lines = lines;
    }

    /// An answer to what cannot be answered as a request; `detail` is a sentence that says why.
    pub(super) fn refused(refusal: Refusal, detail: &'a str) -> Response<'a> {
        let status = refusal.status();
        Response {
            status,
            head: Head::Fields(Fields::None),
            content: Content::Page(Page::new(status, detail)),
            lines: b"",
        }
    }

    /// Gives the fields of a head that was not rendered before to the writer of a protocol, except those that
    /// every response has. This is the one list of them; those of representations are in `site::representation`.
    pub(super) fn add_fields(&self, fields: Fields<'_>, head: &mut impl FieldWriter) {
        self.content.add_fields(head);
        match fields {
            Fields::None => {}
            Fields::Representation(representation) => head.content_fields(&representation.head),
            Fields::Version(representation) => representation.add_common_fields(head),
            Fields::Unsatisfied(representation) => {
                let length = ContentRange::unsatisfied(representation.version.length);
                head.field("Content-Range", length.value());
                representation.add_vary(head);
            }
            Fields::ErrorPage(status, representation) => {
                representation.add_error_page_fields(head);
                if status == Status::ServiceUnavailable {
                    head.field("Retry-After", RETRY_AFTER);
                }
            }
            Fields::Allow(allow) => head.field("Allow", allow.field()),
            Fields::Preflight => {
                for (name, value) in PREFLIGHT {
                    head.field(name, value.as_bytes());
                }
            }
            Fields::Location(location) => head.field("Location", location.as_bytes()),
            Fields::Challenge(realm) => {
                // RFC 7617 §2.1: names and passwords are UTF-8.
                let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
                head.field("WWW-Authenticate", challenge.as_bytes());
                head.field("Cache-Control", b"no-store");
            }
            Fields::RetryAfterFailures => head.field("Retry-After", RETRY_AFTER_FAILURES),
            Fields::RetryLater => head.field("Retry-After", RETRY_AFTER),
            Fields::Document(document) => {
                head.field("Cache-Control", b"no-store");
                if let Some(policy) = document.content_security_policy {
                    head.field("Content-Security-Policy", policy.as_bytes());
                }
                if document.choice == Choice::Accept {
                    head.field("Vary", b"Accept");
                }
            }
        }
    }
}

impl Content<'_> {
    /// Gives the fields that describe it, as opposed to the representation that it is of.
    fn add_fields(&self, head: &mut impl FieldWriter) {
        match self {
            // RFC 9110 §8.6.
            Content::Impossible => {}
            Content::None => head.number("Content-Length", 0),
            Content::Page(page) => {
                head.field("Content-Type", fixed::PAGE_TYPE);
                head.number("Content-Length", page.length() as u64);
            }
            Content::Document(document) => {
                head.field("Content-Type", document.media_type.as_bytes());
                head.number("Content-Length", document.length as u64);
            }
            Content::ErrorPage(page) => {
                head.field("Content-Type", page.representation.head.media_type());
                head.number("Content-Length", page.range.length());
            }
            Content::Part(part) => {
                let complete_length = part.representation.version.length;
                head.field("Content-Type", part.representation.head.media_type());
                head.number("Content-Length", part.range.length());
                let range = ContentRange::of(part.range, complete_length);
                head.field("Content-Range", range.value());
            }
            Content::Parts(parts) => {
                head.field("Content-Type", parts.media_type().as_bytes());
                head.number("Content-Length", parts.length());
            }
        }
    }

    /// Puts it into an outbox and gives how many bytes it has.
    pub(super) fn put_into(&self, outbox: &mut Outbox) -> u64 {
        match self {
            Content::Impossible | Content::None => 0,
            Content::Page(page) => {
                outbox.render(|buffer| page.append_to(buffer));
                page.length() as u64
            }
            Content::Document(document) => {
                outbox.memory(&document.bytes, 0..document.length);
                document.length as u64
            }
            Content::Part(part) | Content::ErrorPage(part) => part.put_into(outbox),
            Content::Parts(parts) => parts.put_into(outbox),
        }
    }
}
