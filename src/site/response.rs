//! The decision table: from a request, and the file found for it, to the answer.

use percent_encoding::percent_encode;

use super::fields::FieldRules;
use super::fixed::Allow;
use super::redirect::Moved;
use super::representation::Representation;
use crate::clock::Now;
use crate::http::content_coding::Coding;
use crate::http::facts::{Facts, Field, Method};
use crate::http::precondition::{self, Preconditions, Verdict};
use crate::http::range::{self, ByteRange, RangeLimits, Selection};
use crate::http::status::{Refusal, Status};
use crate::http::target::{Form, NOT_IN_QUERY};

/// Length of the boundary between parts.
pub(crate) const BOUNDARY_LENGTH: usize = "spede-".len() + 32;

/// Whether the content goes with the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// As for GET.
    Sent,
    /// As for HEAD: the same head, no content (RFC 9110 §9.3.2).
    Omitted,
}

impl Content {
    /// The content for a method.
    pub fn of(method: Method) -> Content {
        if method == Method::Head {
            Content::Omitted
        } else {
            Content::Sent
        }
    }
}

/// An answer with a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selected {
    /// 200 with everything.
    Whole,
    /// 206 with one range.
    Part(ByteRange),
    /// 206 with several ranges as `multipart/byteranges`.
    Parts(Vec<ByteRange>),
    /// 304.
    NotModified,
    /// 412.
    PreconditionFailed,
    /// 416.
    Unsatisfiable,
    /// Everything, as the page of an error with this status.
    ErrorPage(Status),
}

impl Selected {
    /// Its status.
    pub(crate) fn status(&self) -> Status {
        match self {
            Selected::Whole => Status::Ok,
            Selected::Part(_) | Selected::Parts(_) => Status::PartialContent,
            Selected::NotModified => Status::NotModified,
            Selected::PreconditionFailed => Status::PreconditionFailed,
            Selected::Unsatisfiable => Status::RangeNotSatisfiable,
            Selected::ErrorPage(status) => *status,
        }
    }

    /// The first byte of the file that is sent, if any; `length` is the complete length.
    pub fn first_byte(&self, content: Content, length: u64) -> Option<u64> {
        if content == Content::Omitted || length == 0 {
            return None;
        }
        match self {
            Selected::Whole | Selected::ErrorPage(_) => Some(0),
            Selected::Part(range) => Some(range.first),
            Selected::Parts(ranges) => ranges.first().map(|range| range.first),
            Selected::NotModified | Selected::PreconditionFailed | Selected::Unsatisfiable => None,
        }
    }

    /// Number of bytes of the file that are sent; `length` is the complete length.
    pub(crate) fn length(&self, content: Content, length: u64) -> u64 {
        match self {
            _ if content == Content::Omitted => 0,
            Selected::Whole | Selected::ErrorPage(_) => length,
            Selected::Part(range) => range.length(),
            Selected::Parts(ranges) => ranges.iter().map(ByteRange::length).sum(),
            Selected::NotModified | Selected::PreconditionFailed | Selected::Unsatisfiable => 0,
        }
    }
}

/// An answer without a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fixed {
    /// 200 without content, with Allow: the answer to OPTIONS.
    Options,
    /// 204: a script of another site may make the request that this one asks about.
    Preflight,
    /// 405 with Allow.
    MethodNotAllowed(Allow),
    /// Elsewhere: see `location`.
    Moved(Moved),
    /// 401 that asks for a name and a password of this realm.
    Unauthorized(String),
    /// An error with a small page; the connection goes on.
    Error(Status),
}

impl Fixed {
    /// Its status.
    pub(crate) fn status(&self) -> Status {
        match self {
            Fixed::Options => Status::Ok,
            Fixed::Preflight => Status::NoContent,
            Fixed::MethodNotAllowed(_) => Status::MethodNotAllowed,
            Fixed::Moved(moved) => moved.status,
            Fixed::Unauthorized(_) => Status::Unauthorized,
            Fixed::Error(status) => *status,
        }
    }
}

/// The answer of a request that depends on no site; `None`: find its site.
///
/// # Errors
/// When the target is not valid for this method.
pub(crate) fn without_lookup(request: &Facts<'_>) -> Result<Option<Fixed>, Refusal> {
    match request.method() {
        Method::Get | Method::Head if request.form() == Form::Asterisk => Err(Refusal::Target),
        Method::Get | Method::Head => Ok(None),
        Method::Options if request.form() == Form::Asterisk => Ok(Some(Fixed::Options)),
        Method::Options => Ok(None),
        Method::Unsupported => Ok(Some(Fixed::MethodNotAllowed(Allow::Files))),
        Method::Unknown => Ok(Some(Fixed::Error(Status::NotImplemented))),
    }
}

/// The answer to OPTIONS for a path.
pub(crate) fn options(request: &Facts<'_>, rules: &FieldRules) -> Fixed {
    match rules.allows_preflight(request) {
        true => Fixed::Preflight,
        false => Fixed::Options,
    }
}

/// The Location of a redirect: that of the rule or directory, with the query of the request before its fragment and
/// behind its own query. The query stays as sent, except for bytes that are invalid in a query and percent signs that
/// begin no escape. RFC 9110 §10.2.2.
pub(crate) fn location(target: &str, query: &[u8]) -> String {
    let (target, fragment) = match target.split_once('#') {
        Some((target, fragment)) => (target, Some(fragment)),
        None => (target, None),
    };
    let mut location = target.to_owned();
    match target.contains('?') {
        true if query.is_empty() => {}
        true => location.push('&'),
        false => location.push('?'),
    }
    for (index, part) in query.split(|byte| *byte == b'%').enumerate() {
        let is_escape =
            matches!(part, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit());
        match (index, is_escape) {
            (0, _) => {}
            (_, true) => location.push('%'),
            (_, false) => location.push_str("%25"),
        }
        location.extend(percent_encode(part, NOT_IN_QUERY));
    }
    if let Some(fragment) = fragment {
        location.push('#');
        location.push_str(fragment);
    }
    location
}

/// Selects the answer from a representation: preconditions in the order of RFC 9110 §13.2.2, then Range
/// (§14.2), for GET only.
pub fn select(
    request: &Facts<'_>,
    representation: &Representation,
    limits: RangeLimits,
    now: &Now,
) -> Selected {
    let conditional = [
        Field::IfMatch,
        Field::IfNoneMatch,
        Field::IfModifiedSince,
        Field::IfUnmodifiedSince,
    ]
    .iter()
    .any(|field| request.has(*field));
    if conditional {
        let verdict = precondition::evaluate(preconditions(request), &representation.validators);
        match verdict {
            Verdict::Proceed => {}
            Verdict::NotModified => return Selected::NotModified,
            Verdict::Failed => return Selected::PreconditionFailed,
        }
    }
    if request.method() == Method::Get && request.has(Field::Range) {
        return select_range(request, representation, limits, now);
    }
    Selected::Whole
}

fn preconditions<'a>(
    request: &Facts<'a>,
) -> Preconditions<
    'a,
    impl Iterator<Item = &'a [u8]> + use<'a>,
    impl Iterator<Item = &'a [u8]> + use<'a>,
> {
    Preconditions {
        if_match: request
            .has(Field::IfMatch)
            .then(|| request.lines(Field::IfMatch)),
        if_none_match: request
            .has(Field::IfNoneMatch)
            .then(|| request.lines(Field::IfNoneMatch)),
        if_modified_since: request.single(Field::IfModifiedSince),
        if_unmodified_since: request.single(Field::IfUnmodifiedSince),
    }
}

fn select_range(
    request: &Facts<'_>,
    representation: &Representation,
    limits: RangeLimits,
    now: &Now,
) -> Selected {
    let holds = match request.single(Field::IfRange) {
        Some(field) => precondition::if_range_holds(field, &representation.validators, now.date),
        None => !request.has(Field::IfRange),
    };
    let Some(field) = request.single(Field::Range).filter(|_| holds) else {
        return Selected::Whole;
    };
    let length = representation.version.length;
    match range::select(field, length, || part_overhead(representation), limits) {
        Selection::Whole => Selected::Whole,
        Selection::Single(range) => Selected::Part(range),
        // The coding would be that of the parts, but no field declares it for all of them: clients would
        // decode the multipart body. RFC 9110 §8.4, §14.2.
        Selection::Several(_) if representation.coding != Coding::Identity => Selected::Whole,
        Selection::Several(ranges) => Selected::Parts(ranges),
        Selection::Unsatisfiable => Selected::Unsatisfiable,
    }
}

/// Maximum length of a part head of several ranges: the text that `conn::response` writes before each.
fn part_overhead(representation: &Representation) -> u64 {
    const AROUND: usize = "\r\n--\r\nContent-Type: \r\nContent-Range: bytes -/\r\n\r\n".len();
    let digits = representation.version.length.checked_ilog10().unwrap_or(0) + 1;
    let fixed = AROUND + BOUNDARY_LENGTH + representation.head.media_type().len();
    u64::try_from(fixed).unwrap_or(u64::MAX) + 3 * u64::from(digits)
}

#[cfg(test)]
mod tests;
