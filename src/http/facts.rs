//! The facts of a request that its answer depends on, independent of the protocol.
//!
//! A request is kept as text: a line of method, target and version, then one line for each field. An HTTP/1.1 head is
//! such a text where it was received, and is not copied. A protocol that decodes its fields one by one (HPACK) has to
//! put them somewhere; it writes them in the same form. A [`FactIndex`] says where in the text each fact is, so
//! reading one costs no search and no allocation.
//!
//! Knows no framing, no version and no connection: those stay with the protocol.

#[cfg(test)]
pub(crate) mod list;

use super::target::{Form, MethodShape, Target};

/// The methods that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// OPTIONS.
    Options,
    /// A registered method that files do not support: POST, PUT, DELETE, PATCH, TRACE, CONNECT.
    Unsupported,
    /// Any other token.
    Unknown,
}

impl Method {
    pub(super) fn of(token: &[u8]) -> Method {
        match token {
            b"GET" => Method::Get,
            b"HEAD" => Method::Head,
            b"OPTIONS" => Method::Options,
            b"POST" | b"PUT" | b"DELETE" | b"PATCH" | b"TRACE" | b"CONNECT" => Method::Unsupported,
            _ => Method::Unknown,
        }
    }
}

/// A range of bytes in the text of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Span {
    /// The span of `part`, which must be a slice of `whole`.
    pub(super) fn of(part: &[u8], whole: &[u8]) -> Span {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        debug_assert!(start + part.len() <= whole.len());
        Span {
            start: short(start),
            end: short(start + part.len()),
        }
    }

    /// The span of a part of the target. A target without a path (`http://host`, `*`) has the path `/`, which is
    /// not in the text of the target; the first slash of the text serves.
    pub(super) fn of_target(part: &[u8], text: &[u8]) -> Span {
        let outside = part.as_ptr().addr().wrapping_sub(text.as_ptr().addr());
        if outside < text.len() {
            return Span::of(part, text);
        }
        let slash = memchr::memchr(b'/', text).unwrap_or_default();
        Span {
            start: short(slash),
            end: short(slash + part.len()),
        }
    }

    fn within(self, text: &[u8]) -> &[u8] {
        &text[self.start as usize..self.end as usize]
    }
}

/// A length within a head; heads are bounded far below 4 GiB.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn short(length: usize) -> u32 {
    length as u32
}

/// How often a field occurs, in eight bytes, since a head has ten of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Occurrence(Span);

impl Occurrence {
    /// Not at all.
    pub(super) const ABSENT: Occurrence = Occurrence(Span { start: 0, end: 0 });
    /// More than once: readers walk the lines again.
    const REPEATED: Occurrence = Occurrence(Span {
        start: u32::MAX,
        end: u32::MAX,
    });

    /// Counts another one, with this value.
    pub(super) fn note(&mut self, value: Span) {
        *self = match self.is_absent() {
            true => Occurrence(value),
            false => Occurrence::REPEATED,
        };
    }

    /// No value ends where the text begins.
    fn is_absent(self) -> bool {
        self.0.end == 0
    }

    fn is_repeated(self) -> bool {
        self.0.start == u32::MAX
    }

    /// Its value, if it occurs once.
    fn once(self) -> Option<Span> {
        (!self.is_absent() && !self.is_repeated()).then_some(self.0)
    }
}

/// The fields that answers and log lines depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Field {
    /// RFC 9110 §12.5.1.
    Accept,
    /// RFC 9110 §12.5.3.
    AcceptEncoding,
    /// RFC 9110 §13.1.1.
    IfMatch,
    /// RFC 9110 §13.1.2.
    IfNoneMatch,
    /// RFC 9110 §13.1.3.
    IfModifiedSince,
    /// RFC 9110 §13.1.4.
    IfUnmodifiedSince,
    /// RFC 9110 §13.1.5.
    IfRange,
    /// RFC 9110 §14.2.
    Range,
    /// RFC 9110 §10.1.3; for the access log.
    Referer,
    /// RFC 9110 §10.1.5; for the access log.
    UserAgent,
}

/// The names of [`Field`], in its order.
pub(super) const FIELD_NAMES: [&str; 10] = [
    "accept",
    "accept-encoding",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "if-range",
    "range",
    "referer",
    "user-agent",
];

/// Where the facts of one request are in its text. Small and without lifetimes, so that it can wait beside the
/// buffer that holds the text.
#[derive(Clone, Copy, Debug)]
pub struct FactIndex {
    pub(super) method: Method,
    pub(super) form: Form,
    /// The first line, without its end.
    pub(super) line: Span,
    /// Where the lines end.
    pub(super) end: u32,
    pub(super) host: Span,
    pub(super) path: Span,
    pub(super) query: Option<Span>,
    pub(super) fields: [Occurrence; FIELD_NAMES.len()],
}

/// A request, as far as its answer depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    text: &'a [u8],
    index: &'a FactIndex,
}

impl<'a> Facts<'a> {
    /// Puts an index beside the text that it was made of.
    pub(super) fn new(text: &'a [u8], index: &'a FactIndex) -> Facts<'a> {
        Facts { text, index }
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.index.method
    }

    /// The form of the target.
    pub fn form(&self) -> Form {
        self.index.form
    }

    /// The path as it was sent: still percent-encoded, without the query.
    pub fn path(&self) -> &'a [u8] {
        self.index.path.within(self.text)
    }

    /// The host that it asks for as it was sent: of the target, else of the Host field, else empty.
    pub fn host(&self) -> &'a [u8] {
        self.index.host.within(self.text)
    }

    /// The query as it was sent, without its `?`.
    pub fn query(&self) -> Option<&'a [u8]> {
        self.index.query.map(|span| span.within(self.text))
    }

    /// The line of method, target and version as it was sent, without its end.
    pub fn line(&self) -> &'a [u8] {
        self.index.line.within(self.text)
    }

    /// Host and port of a target in the absolute form. O(line).
    pub fn authority(&self) -> Option<&'a [u8]> {
        let target = self.line().split(|byte| *byte == b' ').nth(1)?;
        Target::parse(target, MethodShape::Other).ok()?.authority
    }

    /// Names and values of all field lines, in order. O(text).
    pub fn all_lines(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let first = self.index.line.end as usize;
        field_lines(&self.text[first..self.index.end as usize])
    }

    /// Whether a field is there at all.
    pub fn has(&self, field: Field) -> bool {
        !self.index.fields[field as usize].is_absent()
    }

    /// The value of a field that may stand only once; a repeated one counts as absent.
    pub fn single(&self, field: Field) -> Option<&'a [u8]> {
        let once = self.index.fields[field as usize].once();
        once.map(|span| span.within(self.text))
    }

    /// The lines of a field that is a list, in order. O(text) when it is repeated, else O(1).
    pub fn lines(&self, field: Field) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let once = self.single(field);
        let is_repeated = self.index.fields[field as usize].is_repeated();
        let repeated = is_repeated.then(|| self.all_lines());
        let name = FIELD_NAMES[field as usize].as_bytes();
        let again = repeated.into_iter().flatten();
        once.into_iter().chain(
            again
                .filter(move |(other, _)| other.eq_ignore_ascii_case(name))
                .map(|(_, value)| value),
        )
    }
}

/// Splits lines that were found valid into names and values.
fn field_lines(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    })
}
