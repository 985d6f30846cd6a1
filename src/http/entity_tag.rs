//! Entity tags: how they are written, and how they are compared with those of a request.
//!
//! RFC 9110 §8.8.3 (grammar, comparison), §13.1.1 and §13.1.2 (lists of tags). Does not know what a
//! tag is made of, which is for `site::validators` to say, nor what a match means for the answer: that
//! is [`super::precondition`].

use std::fmt;
use std::io::Write;
use std::num::NonZeroU8;

use super::content_coding::Coding;

/// Room for two quotes, 8 hex digits of a time, `-`, 14 of a length, and `-gzip`. What does not fit is not written.
const LENGTH_MAX: usize = 31;

/// How two tags are compared. RFC 9110 §8.8.3.2.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) enum Comparison {
    /// Both are strong and the same: for If-Match and If-Range.
    Strong,
    /// The same but for `W/`: for If-None-Match.
    Weak,
}

/// The entity tag of a representation, as it stands in the ETag field. Held inline.
///
/// Always strong: equal tags promise equal bytes (RFC 9110 §8.8.1). A representation of which that cannot
/// be promised has none.
#[derive(Copy, Clone, Eq, PartialEq)]
pub(crate) struct EntityTag {
    /// The field from its first byte, zeros after it.
    bytes: [u8; LENGTH_MAX],
    /// At most `LENGTH_MAX`; never none, so that no tag takes no more room than one.
    length: NonZeroU8,
}

impl EntityTag {
    /// `"<hash>"` in 16 hexadecimal digits, and for a coding `"<hash>-<coding>"`: two codings never share
    /// a tag, whatever is hashed.
    pub(crate) fn of_hash(hash: u64, coding: Coding) -> EntityTag {
        EntityTag::written(format_args!("{hash:016x}{}", Suffix(coding)))
    }

    /// `"<time>-<length>"` in hexadecimal, as nginx writes it, and for a coding
    /// `"<time>-<length>-<coding>"`. `seconds` are those of the mtime since 1970; `None` before 1970 or after
    /// 2106, and for lengths from 2^56 up.
    pub(crate) fn of_time_and_length(
        seconds: i64,
        length: u64,
        coding: Coding,
    ) -> Option<EntityTag> {
        let seconds = u32::try_from(seconds).ok()?;
        (length < 1 << 56)
            .then(|| EntityTag::written(format_args!("{seconds:x}-{length:x}{}", Suffix(coding))))
    }

    /// The tag with this between its quotes.
    fn written(opaque: fmt::Arguments<'_>) -> EntityTag {
        let mut bytes = [0; LENGTH_MAX];
        let mut free = &mut bytes[..];
        let written = write!(free, "\"{opaque}\"");
        debug_assert!(written.is_ok(), "the longest tag fits");
        let used = LENGTH_MAX - free.len();
        EntityTag {
            bytes,
            length: u8::try_from(used)
                .ok()
                .and_then(NonZeroU8::new)
                .unwrap_or(NonZeroU8::MAX),
        }
    }

    /// The tag as a field value: `"..."`.
    pub(crate) fn field(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length.get()))
            .unwrap_or_default()
    }

    /// Whether a field value that is one tag, as in If-Range, names this tag. A list, `*` or
    /// anything malformed does not.
    pub(crate) fn matches_exactly(&self, field: &[u8], comparison: Comparison) -> bool {
        match split_tag(field) {
            Some((held, b"")) => self.matches(held, comparison),
            _ => false,
        }
    }

    fn matches(&self, held: Held<'_>, comparison: Comparison) -> bool {
        (comparison == Comparison::Weak || held.is_strong) && held.opaque == self.field()
    }
}

/// Whether the lines of an If-Match or If-None-Match field name the tag of a representation, which may have
/// none.
///
/// All lines are one list. `*` matches if it is all there is: it is about any representation, with a tag
/// or without. A list is read up to its first
/// malformed member: what stands before it counts, what stands after it, in this line or the
/// next, does not, for nobody can say where the next member begins. So malformed bytes only
/// ever take matches away. That is the safe side for both fields: an If-None-Match never makes
/// a 304 by accident (the client gets the content), an If-Match never passes by accident (412).
///
/// Costs `O(length of all lines)`; does not allocate.
///
/// # Source
/// RFC 9110 §5.6.1.2 (empty members), §8.8.3, §13.1.1, §13.1.2.
pub(crate) fn list_names<'a>(
    tag: Option<&EntityTag>,
    lines: impl IntoIterator<Item = &'a [u8]>,
    comparison: Comparison,
) -> bool {
    let mut lines = lines
        .into_iter()
        .map(trimmed)
        .filter(|line| !line.is_empty())
        .peekable();
    if lines.next_if_eq(&b"*".as_slice()).is_some() {
        return lines.next().is_none();
    }
    for mut rest in lines {
        while let Some(member) = next_member(&mut rest) {
            match member {
                Some(held) if tag.is_some_and(|tag| tag.matches(held, comparison)) => return true,
                Some(_) => {}
                None => return false,
            }
        }
    }
    false
}

/// What follows for a coding.
struct Suffix(Coding);

impl fmt::Display for Suffix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Coding::Identity => Ok(()),
            coding => write!(formatter, "-{}", coding.token()),
        }
    }
}

impl fmt::Debug for EntityTag {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "EntityTag({})", self.field().escape_ascii())
    }
}

/// A tag that a client sent.
#[derive(Copy, Clone)]
struct Held<'a> {
    /// Without `W/` before it.
    is_strong: bool,
    /// With its quotes.
    opaque: &'a [u8],
}

/// Takes the next member of a list: `None` at the end, `Some(None)` if it is malformed.
fn next_member<'a>(rest: &mut &'a [u8]) -> Option<Option<Held<'a>>> {
    let start = rest
        .iter()
        .position(|byte| !matches!(byte, b',' | b' ' | b'\t'))?;
    let Some((held, after)) = split_tag(rest.get(start..)?) else {
        return Some(None);
    };
    let after = trimmed(after);
    if !matches!(after.first(), None | Some(b',')) {
        return Some(None);
    }
    *rest = after;
    Some(Some(held))
}

/// Splits a tag off the front. A comma between its quotes belongs to it, and so does any byte from
/// 0x80 up (obs-text); spaces and controls do not.
fn split_tag(bytes: &[u8]) -> Option<(Held<'_>, &[u8])> {
    let (is_strong, bytes) = match bytes.strip_prefix(b"W/") {
        Some(bytes) => (false, bytes),
        None => (true, bytes),
    };
    let inner = bytes.strip_prefix(b"\"")?;
    let end = inner
        .iter()
        .position(|byte| !matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))?;
    if inner.get(end) != Some(&b'"') {
        return None;
    }
    let (opaque, after) = bytes.split_at_checked(end + 2)?;
    Some((Held { is_strong, opaque }, after))
}

/// Without the optional whitespace around it (RFC 9110 §5.6.3).
fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

#[cfg(test)]
mod tests;
