//! The head of a request: RFC 9112 §3 and §5, in one pass.
//!
//! httparse finds the lines. This file does what it leaves to its caller: line ends that are exactly CRLF, Host, the
//! framing of the body, persistence, limits. A lone LF is refused as a line end. RFC 9112 §2.2 lets a recipient accept
//! it, but two recipients that differ in this can be made to disagree about everything after it.
//!
//! A [`Head`] holds offsets instead of bytes, so that it can be kept beside its buffer.

mod fields;

use std::mem::MaybeUninit;

use fields::Fields;

use super::facts::{FactIndex, Facts, Method, Span, short};
use super::framing::BodyFraming;
use super::status::Refusal;
use super::target::{Form, MethodShape, Target, is_https};
use super::version::Version;

/// Maximum number of field lines of the parser; `HeadLimits::field_count_max` may be lower.
pub const FIELD_COUNT_MAX: usize = 256;
/// Maximum number of empty lines before a request line that are ignored (RFC 9112 §2.2 requires one at least).
const EMPTY_LINE_COUNT_MAX: usize = 4;

/// Whether the connection persists after the response. RFC 9112 §9.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Another request may follow.
    KeepAlive,
    /// The response is the last one.
    Close,
}

/// The expectation of a request. RFC 9110 §10.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    /// None, or HTTP/1.0, where the field is ignored.
    None,
    /// `100-continue`.
    Continue,
}

/// Limits of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Maximum length of the target in bytes; a longer one gets 414.
    pub target_length_max: usize,
    /// Maximum length of the head with its empty line, in bytes; a longer one gets 431.
    pub head_length_max: usize,
    /// Maximum number of field lines, at most [`FIELD_COUNT_MAX`]; more get 431.
    pub field_count_max: usize,
}

/// The relevant parts of a complete, valid head. Small and without lifetimes; the bytes stay in the receive buffer.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// The version.
    pub version: Version,
    /// Whether the peer wants a persistent connection.
    pub persistence: Persistence,
    /// How its body is delimited.
    pub body: BodyFraming,
    /// Whether the peer waits for 100 (Continue).
    pub expectation: Expectation,
    facts: FactIndex,
}

impl Head {
    /// Bytes up to and including the empty line, from the first byte given to [`parse`].
    pub fn length(&self) -> usize {
        self.facts.end as usize
    }

    /// The facts that decide about the response; `bytes` are those that the head was parsed from.
    pub fn facts<'a>(&'a self, bytes: &'a [u8]) -> Facts<'a> {
        Facts::new(bytes, &self.facts)
    }
}

/// Parses the head at the start of `bytes`. `None`: it is not complete yet.
///
/// Runs in `O(bytes)` at every call; never allocates and never panics.
///
/// # Errors
/// Why the message is not a valid request. The connection ends after the response.
pub fn parse(bytes: &[u8], limits: &HeadLimits) -> Result<Option<Head>, Refusal> {
    let skipped = empty_lines(bytes)?;
    let rest = &bytes[skipped..];
    let mut fields = [const { MaybeUninit::uninit() }; FIELD_COUNT_MAX];
    let room = limits.field_count_max.min(FIELD_COUNT_MAX);
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(rest, &mut fields[..room]);
    match parsed {
        Ok(httparse::Status::Complete(length)) => {
            let whole = Whole {
                bytes,
                skipped,
                length: skipped + length,
            };
            whole.read(&request, limits).map(Some)
        }
        Ok(httparse::Status::Partial) => still_fits(rest, limits).map(|()| None),
        Err(error) => refusal(error, rest, limits).map_or(Ok(None), Err),
    }
}

/// Counts the bytes of the empty lines before the request line.
fn empty_lines(bytes: &[u8]) -> Result<usize, Refusal> {
    let mut at = 0;
    while bytes[at..].starts_with(b"\r\n") {
        at += 2;
        if at > 2 * EMPTY_LINE_COUNT_MAX {
            return Err(Refusal::RequestLine);
        }
    }
    match &bytes[at..] {
        [b'\n', ..] | [b'\r', _, ..] => Err(Refusal::RequestLine),
        _ => Ok(at),
    }
}

/// Whether an incomplete head may still become one within the limits.
fn still_fits(rest: &[u8], limits: &HeadLimits) -> Result<(), Refusal> {
    let line_end = memchr::memchr(b'\n', rest);
    let line = &rest[..line_end.unwrap_or(rest.len())];
    target_fits(line, limits)?;
    if rest.len() < limits.head_length_max {
        return Ok(());
    }
    match line_end {
        Some(_) => Err(Refusal::HeadTooLarge),
        // One line fills the head. Its target is within its limit, so the method is too long.
        None => Err(Refusal::RequestLine),
    }
}

fn target_fits(line: &[u8], limits: &HeadLimits) -> Result<(), Refusal> {
    let Some(space) = memchr::memchr(b' ', line) else {
        return Ok(());
    };
    let target = &line[space + 1..];
    let length = memchr::memchr(b' ', target).unwrap_or(target.len());
    if length > limits.target_length_max {
        Err(Refusal::TargetTooLong)
    } else {
        Ok(())
    }
}

/// The refusal for a parse error; `None` while the line that decides about it is not complete.
fn refusal(error: httparse::Error, rest: &[u8], limits: &HeadLimits) -> Option<Refusal> {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => Some(Refusal::HeadTooLarge),
        Error::HeaderName | Error::HeaderValue => Some(Refusal::FieldLine),
        Error::NewLine => Some(line_end_refusal(rest)),
        Error::Version => match memchr::memchr(b'\n', rest) {
            Some(end) => Some(version_refusal(&rest[..end])),
            None => still_fits(rest, limits).err(),
        },
        Error::Token | Error::Status => Some(Refusal::RequestLine),
    }
}

/// The refusal for a line with a wrong end: it is the request line, unless that is complete.
fn line_end_refusal(rest: &[u8]) -> Refusal {
    let whole = memchr::memchr(b'\n', rest).and_then(|end| version_word(&rest[..end]));
    match whole {
        Some(_) => Refusal::FieldLine,
        None => Refusal::RequestLine,
    }
}

/// Distinguishes an unsupported version from an invalid one.
fn version_refusal(line: &[u8]) -> Refusal {
    match version_word(line) {
        Some(_) => Refusal::Version,
        None => Refusal::RequestLine,
    }
}

/// The version of a line of three words, if it is one: RFC 9112 §2.3, each part is one digit.
fn version_word(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.split(|byte| *byte == b' ');
    let (_, _, version) = (words.next()?, words.next()?, words.next()?);
    match version {
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() && words.next().is_none() =>
        {
            Some(version)
        }
        _ => None,
    }
}

/// The bytes of a head that httparse found complete.
struct Whole<'a> {
    bytes: &'a [u8],
    skipped: usize,
    length: usize,
}

impl Whole<'_> {
    fn read(&self, request: &httparse::Request, limits: &HeadLimits) -> Result<Head, Refusal> {
        let (Some(method), Some(target), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(Refusal::RequestLine);
        };
        if target.len() > limits.target_length_max {
            return Err(Refusal::TargetTooLong);
        }
        if self.length > limits.head_length_max {
            return Err(Refusal::HeadTooLarge);
        }
        let version = if minor == 0 {
            Version::Http10
        } else {
            Version::Http11
        };
        let shape = match method {
            "OPTIONS" => MethodShape::Options,
            "CONNECT" => MethodShape::Connect,
            _ => MethodShape::Other,
        };
        let line_length = method.len() + target.len() + "  HTTP/1.1".len();
        let raw_target = target.as_bytes();
        let target = Target::parse(raw_target, shape).map_err(|_| Refusal::Target)?;
        if target.form == Form::Absolute && is_https(raw_target) {
            return Err(Refusal::Unsecured);
        }
        let mut fields = Fields::new();
        self.line_ends(request.headers)?;
        for field in request.headers.iter() {
            fields.take(field, self.bytes)?;
        }
        let host = fields.host_of(version, &target, self.bytes)?;
        Ok(Head {
            version,
            persistence: fields.persistence(version),
            body: fields.framing.finish(version)?,
            expectation: fields.expectation(version)?,
            facts: FactIndex {
                method: Method::of(method.as_bytes()),
                form: target.form,
                line: Span {
                    start: short(self.skipped),
                    end: short(self.skipped + line_length),
                },
                end: short(self.length),
                host,
                path: Span::of_target(target.path, self.bytes),
                query: target.query.map(|query| Span::of_target(query, self.bytes)),
                fields: fields.occurrences,
            },
        })
    }

    /// Every line must end in CRLF; httparse accepts a lone LF as well. The field names tell where lines start, so
    /// this check reads two bytes for each line.
    fn line_ends(&self, fields: &[httparse::Header]) -> Result<(), Refusal> {
        for (index, field) in fields.iter().enumerate() {
            let start = Span::of(field.name.as_bytes(), self.bytes).start as usize;
            if !self.bytes[..start].ends_with(b"\r\n") {
                return Err(match index {
                    0 => Refusal::RequestLine,
                    _ => Refusal::FieldLine,
                });
            }
        }
        match self.bytes[..self.length].ends_with(b"\r\n\r\n") {
            true => Ok(()),
            false => Err(Refusal::FieldLine),
        }
    }
}

#[cfg(test)]
mod tests;
