//! What the field lines of a head say, gathered line by line.

use super::{Expectation, Persistence, Version};
use crate::http::facts::{FIELD_NAMES, Field, Occurrence, Span};
use crate::http::framing::FramingFields;
use crate::http::status::Refusal;
use crate::http::target::{Target, valid_host};

/// What the field lines say, gathered in one pass.
pub(super) struct Fields {
    pub(super) occurrences: [Occurrence; FIELD_NAMES.len()],
    pub(super) framing: FramingFields,
    host: Host,
    close: bool,
    keep_alive: bool,
    expectation: Option<Result<Expectation, Refusal>>,
}

/// What is known of the Host field.
enum Host {
    Absent,
    Valid(Span),
    Invalid,
}

impl Fields {
    pub(super) fn new() -> Fields {
        Fields {
            occurrences: [Occurrence::ABSENT; FIELD_NAMES.len()],
            framing: FramingFields::default(),
            host: Host::Absent,
            close: false,
            keep_alive: false,
            expectation: None,
        }
    }

    /// Takes one field line; the length of the name narrows what it can be.
    pub(super) fn take(&mut self, line: &httparse::Header, bytes: &[u8]) -> Result<(), Refusal> {
        let (name, value) = (line.name, line.value);
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            4 if is("host") => self.host(value, bytes),
            5 if is("range") => self.note(Field::Range, value, bytes),
            6 if is("accept") => self.note(Field::Accept, value, bytes),
            6 if is("expect") => self.expect(value),
            7 if is("referer") => self.note(Field::Referer, value, bytes),
            8 if is("if-match") => self.note(Field::IfMatch, value, bytes),
            8 if is("if-range") => self.note(Field::IfRange, value, bytes),
            10 if is("connection") => self.connection(value),
            10 if is("user-agent") => self.note(Field::UserAgent, value, bytes),
            13 if is("if-none-match") => self.note(Field::IfNoneMatch, value, bytes),
            14 if is("content-length") => self.framing.content_length(value)?,
            15 if is("accept-encoding") => self.note(Field::AcceptEncoding, value, bytes),
            17 if is("transfer-encoding") => self.framing.transfer_encoding(value),
            17 if is("if-modified-since") => self.note(Field::IfModifiedSince, value, bytes),
            19 if is("if-unmodified-since") => self.note(Field::IfUnmodifiedSince, value, bytes),
            _ => {}
        }
        Ok(())
    }

    fn note(&mut self, field: Field, value: &[u8], bytes: &[u8]) {
        self.occurrences[field as usize].note(Span::of(value, bytes));
    }

    fn host(&mut self, value: &[u8], bytes: &[u8]) {
        self.host = match self.host {
            Host::Absent if valid_host(value) => Host::Valid(Span::of(value, bytes)),
            _ => Host::Invalid,
        };
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            self.close |= option.eq_ignore_ascii_case(b"close");
            self.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    fn expect(&mut self, value: &[u8]) {
        let members = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        let mut members = members.filter(|member| !member.is_empty()).peekable();
        if members.peek().is_none() {
            return;
        }
        let all_continue = members.all(|member| member.eq_ignore_ascii_case(b"100-continue"));
        self.expectation = Some(match self.expectation {
            None | Some(Ok(_)) if all_continue => Ok(Expectation::Continue),
            _ => Err(Refusal::Expectation),
        });
    }

    pub(super) fn expectation(&self, version: Version) -> Result<Expectation, Refusal> {
        match version {
            Version::Http10 => Ok(Expectation::None),
            Version::Http11 => self.expectation.unwrap_or(Ok(Expectation::None)),
        }
    }

    pub(super) fn persistence(&self, version: Version) -> Persistence {
        match version {
            _ if self.close => Persistence::Close,
            Version::Http10 if !self.keep_alive => Persistence::Close,
            _ => Persistence::KeepAlive,
        }
    }

    /// The host that is asked for, empty where none is named: that of the target comes before the Host field,
    /// which has to be valid all the same. RFC 9112 §3.2: there is one Host in HTTP/1.1; in HTTP/1.0 it may be
    /// absent.
    pub(super) fn host_of(
        &self,
        version: Version,
        target: &Target,
        bytes: &[u8],
    ) -> Result<Span, Refusal> {
        let field = match (&self.host, version) {
            (Host::Valid(span), _) => *span,
            (Host::Absent, Version::Http10) => Span::default(),
            _ => return Err(Refusal::Host),
        };
        match target.authority {
            None => Ok(field),
            Some(authority) if valid_host(authority) => Ok(Span::of(authority, bytes)),
            Some(_) => Err(Refusal::Host),
        }
    }
}
