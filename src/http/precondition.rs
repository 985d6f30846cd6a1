//! Preconditions: whether a request is carried out, by the validators of the selected representation.
//!
//! RFC 9110 §13. Knows neither ranges nor methods beyond what the conditions ask of them.

use super::date::HttpDate;
use super::entity_tag::{Comparison, EntityTag, list_names};

/// What tells the versions of a representation apart.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Validators {
    /// Its ETag; `None` while nothing tells it from other versions.
    pub(crate) entity_tag: Option<EntityTag>,
    /// Its Last-Modified.
    pub(crate) last_modified: HttpDate,
    /// What that is worth.
    pub(crate) dating: Dating,
}

/// What the date of a representation says of which version it is.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Dating {
    /// Nothing: another version has the same date, or a later one, or may have.
    Ambiguous,
    /// Whoever has its Last-Modified has this version, and so has whoever was given something on or after
    /// `since`: nothing but this version was there from then on.
    Known {
        /// Not before its Last-Modified.
        since: HttpDate,
        /// Whether parts may be joined by the date.
        origin: Origin,
    },
}

/// Who has set the time that a date is made of.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Origin {
    /// The write that made the version, so that another version has another one.
    Write,
    /// Somebody, afterwards: it was kept by a copy, taken from an archive, or made up.
    Hand,
}

impl Validators {
    /// Whether a client that names a date has this version. One that comes after the Last-Modified proves less
    /// than it seems to: where an older file has been put in the place of a newer one, the newer one's date does
    /// too.
    fn is_unchanged_since(&self, date: HttpDate) -> bool {
        match self.dating {
            Dating::Ambiguous => false,
            Dating::Known { since, .. } => date == self.last_modified || date >= since,
        }
    }
}

/// The conditional fields of a request, but for If-Range.
///
/// If-Match and If-None-Match are lists, so they come as their lines; `None` if the field is
/// absent. The two dates are no lists: give `None` for a field that stands there more than once,
/// for RFC 9110 §13.1.3 and §13.1.4 want it ignored then.
#[derive(Clone, Debug)]
pub(crate) struct Preconditions<'a, M, N>
where
    M: Iterator<Item = &'a [u8]>,
    N: Iterator<Item = &'a [u8]>,
{
    /// The lines of If-Match.
    pub(crate) if_match: Option<M>,
    /// The lines of If-None-Match.
    pub(crate) if_none_match: Option<N>,
    /// The value of If-Modified-Since.
    pub(crate) if_modified_since: Option<&'a [u8]>,
    /// The value of If-Unmodified-Since.
    pub(crate) if_unmodified_since: Option<&'a [u8]>,
}

/// What the preconditions say.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Verdict {
    /// As if there were none. Range is looked at next.
    Proceed,
    /// 304: the client has this version.
    NotModified,
    /// 412: the client meant another version.
    Failed,
}

/// Evaluates the preconditions of a GET or HEAD request for an existing representation; no other method
/// leads to one.
///
/// The steps are those of §13.2.2, in its order:
///
/// 1. If-Match (strong comparison): 412 unless it names the tag.
/// 2. If-Unmodified-Since, only without If-Match: 412 unless the date is known to mean this version.
/// 3. If-None-Match (weak comparison): if it names the tag, 304.
/// 4. If-Modified-Since, only without If-None-Match: 304 if the date is known to
///    mean this version.
///
/// The RFC would have both dates compared with Last-Modified and no more. That holds where every version
/// is younger than the one before it, which is not so where files are put in the place of others
/// ([`Dating`]). Where it is not known to be so, the answer is the one that no wrong bytes come of.
///
/// Field 1 hides field 2, and 3 hides 4, by being there, also when they are malformed or empty;
/// malformed lists match nothing (see [`list_names`]). A date that is not valid is
/// ignored. A date in the future is a date like any other: RFC 9110 §13.1.3 compares it as it
/// stands (RFC 2616 §14.25 wanted it ignored; that is gone), so it gives a 304.
///
/// Costs `O(length of the fields)`; does not allocate and never panics.
///
/// # Source
/// RFC 9110 §13.1.1 to §13.1.4, §13.2.2.
pub(crate) fn evaluate<'a, M, N>(
    preconditions: Preconditions<'a, M, N>,
    validators: &Validators,
) -> Verdict
where
    M: Iterator<Item = &'a [u8]>,
    N: Iterator<Item = &'a [u8]>,
{
    let tag = validators.entity_tag.as_ref();
    let unmodified_since =
        |field| HttpDate::parse(field).map(|date| validators.is_unchanged_since(date));
    let stands = match preconditions.if_match {
        Some(lines) => list_names(tag, lines, Comparison::Strong),
        None => preconditions
            .if_unmodified_since
            .and_then(unmodified_since)
            .unwrap_or(true),
    };
    if !stands {
        return Verdict::Failed;
    }
    let is_held = match preconditions.if_none_match {
        Some(lines) => list_names(tag, lines, Comparison::Weak),
        None => preconditions
            .if_modified_since
            .and_then(unmodified_since)
            .unwrap_or(false),
    };
    match is_held {
        true => Verdict::NotModified,
        false => Verdict::Proceed,
    }
}

/// Whether an If-Range field names the current version for certain, so that Range may be obeyed.
/// If not, Range must be ignored and the whole sent (RFC 9110 §13.1.5, §14.2).
///
/// A tag must be the same, and the client's strong. A date must be exactly the Last-Modified (an earlier or
/// a later one does not do), and that must be a strong validator: at least one second before
/// `date`, the Date of the answer. Two versions made in one second share a Last-Modified, and only
/// when the second is over can nobody be given the first of them any more. A client must have
/// checked the same for the Date of the part it holds (§8.8.2.2), which cannot be seen from here.
///
/// Beyond the RFC, the date must have been set by the write that made the version ([`Origin::Write`]): one
/// that was set by hand may be that of other bytes as well.
///
/// Anything else, a list or a malformed value included, is false: the whole is never wrong.
///
/// # Source
/// RFC 9110 §13.1.5, §8.8.2.2, §8.8.3.2.
pub(crate) fn if_range_holds(field: &[u8], validators: &Validators, date: HttpDate) -> bool {
    if field.iter().take(3).any(|byte| *byte == b'"') {
        let tag = validators.entity_tag.as_ref();
        return tag.is_some_and(|tag| tag.matches_exactly(field, Comparison::Strong));
    }
    let last_modified = validators.last_modified;
    let is_strong = matches!(
        validators.dating,
        Dating::Known {
            origin: Origin::Write,
            ..
        }
    );
    is_strong && last_modified < date && HttpDate::parse(field) == Some(last_modified)
}

#[cfg(test)]
mod tests;
