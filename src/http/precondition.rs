//! Preconditions: whether a request goes on, by the validators of what it would get.
//!
//! RFC 9110 §13. Knows neither ranges nor methods beyond what the conditions ask of them.

use super::date::HttpDate;
use super::entity_tag::{Comparison, EntityTag, Strength};

/// What tells the versions of a representation apart.
#[derive(Copy, Clone, Debug)]
pub struct Validators<'a> {
    /// Its ETag.
    pub entity_tag: &'a EntityTag,
    /// Its Last-Modified.
    pub last_modified: HttpDate,
}

/// The conditional fields of a request, but for If-Range.
///
/// If-Match and If-None-Match are lists, so they come as their lines; `None` if the field is
/// absent. The two dates are no lists: give `None` for a field that stands there more than once,
/// for RFC 9110 §13.1.3 and §13.1.4 want it ignored then.
#[derive(Clone, Debug)]
pub struct Preconditions<'a, M, N>
where
    M: Iterator<Item = &'a [u8]>,
    N: Iterator<Item = &'a [u8]>,
{
    /// The lines of If-Match.
    pub if_match: Option<M>,
    /// The lines of If-None-Match.
    pub if_none_match: Option<N>,
    /// The value of If-Modified-Since.
    pub if_modified_since: Option<&'a [u8]>,
    /// The value of If-Unmodified-Since.
    pub if_unmodified_since: Option<&'a [u8]>,
}

/// The methods that preconditions tell apart.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum MethodKind {
    /// GET or HEAD: what is not modified need not be sent.
    GetOrHead,
    /// Any other.
    Other,
}

/// What the preconditions say.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Verdict {
    /// As if there were none. Range is looked at next.
    Proceed,
    /// 304: the client has this version.
    NotModified,
    /// 412: the client meant another version.
    Failed,
}

/// Evaluates the preconditions of a request for an existing representation.
///
/// The steps are those of §13.2.2, in its order:
///
/// 1. If-Match (strong comparison): 412 unless it names the tag.
/// 2. If-Unmodified-Since, only without If-Match: 412 if the representation is younger.
/// 3. If-None-Match (weak comparison): if it names the tag, 304 for GET and HEAD, else 412.
/// 4. If-Modified-Since, only without If-None-Match and for GET and HEAD: 304 unless the
///    representation is younger.
///
/// Field 1 hides field 2, and 3 hides 4, by being there, also when they are malformed or empty;
/// malformed lists match nothing (see [`EntityTag::matches_list`]). A date that is not valid is
/// ignored. A date in the future is a date like any other: RFC 9110 §13.1.3 compares it as it
/// stands (RFC 2616 §14.25 wanted it ignored; that is gone), so it gives a 304.
///
/// Costs `O(length of the fields)`; does not allocate and never panics.
///
/// # Source
/// RFC 9110 §13.1.1 to §13.1.4, §13.2.2.
pub fn evaluate<'a, M, N>(
    preconditions: Preconditions<'a, M, N>,
    method: MethodKind,
    validators: &Validators<'_>,
) -> Verdict
where
    M: Iterator<Item = &'a [u8]>,
    N: Iterator<Item = &'a [u8]>,
{
    let Validators {
        entity_tag,
        last_modified,
    } = *validators;
    let unmodified_since = |field| HttpDate::parse(field).map(|date| last_modified <= date);
    let stands = match preconditions.if_match {
        Some(lines) => entity_tag.matches_list(lines, Comparison::Strong),
        None => preconditions
            .if_unmodified_since
            .and_then(unmodified_since)
            .unwrap_or(true),
    };
    if !stands {
        return Verdict::Failed;
    }
    let held = match (preconditions.if_none_match, method) {
        (Some(lines), _) => entity_tag.matches_list(lines, Comparison::Weak),
        (None, MethodKind::Other) => false,
        (None, MethodKind::GetOrHead) => preconditions
            .if_modified_since
            .and_then(unmodified_since)
            .unwrap_or(false),
    };
    match (held, method) {
        (false, _) => Verdict::Proceed,
        (true, MethodKind::GetOrHead) => Verdict::NotModified,
        (true, MethodKind::Other) => Verdict::Failed,
    }
}

/// Whether an If-Range field names the current version for certain, so that Range may be obeyed.
/// If not, Range must be ignored and the whole sent (RFC 9110 §13.1.5, §14.2).
///
/// A tag must be the same and both strong. A date must be exactly the Last-Modified (an earlier or
/// a later one does not do), and that must be a strong validator: at least one second before
/// `date`, the Date of the answer. Two versions made in one second share a Last-Modified, and only
/// when the second is over can nobody be given the first of them any more. A client must have
/// checked the same for the Date of the part it holds (§8.8.2.2), which cannot be seen from here.
///
/// Beyond the RFC, a date holds only while the entity tag is strong: a weak one says that the file
/// could be changed again without another mtime, and then the seconds of that mtime prove less
/// still (coarse file systems, an mtime in the future whose Last-Modified was cut to a Date).
///
/// Anything else, a list or a malformed value included, is false: the whole is never wrong.
///
/// # Source
/// RFC 9110 §13.1.5, §8.8.2.2, §8.8.3.2.
pub fn if_range_holds(field: &[u8], validators: &Validators<'_>, date: HttpDate) -> bool {
    let Validators {
        entity_tag,
        last_modified,
    } = *validators;
    if field.iter().take(3).any(|byte| *byte == b'"') {
        return entity_tag.matches_exactly(field, Comparison::Strong);
    }
    HttpDate::parse(field) == Some(last_modified)
        && last_modified < date
        && entity_tag.strength() == Strength::Strong
}

#[cfg(test)]
mod tests;
