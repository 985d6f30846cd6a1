//! Entity tags: made from the version of a file, and compared with those that a client holds.
//!
//! RFC 9110 §8.8.3 (grammar, comparison), §13.1.1 and §13.1.2 (lists of tags). Does not know what a
//! match means for the answer: that is [`super::precondition`].

use std::fmt;
use std::io::Write;

/// Room for the longest tag: `W/`, quotes, a sign, 24 hex digits of nanoseconds (an `i64` of
/// seconds has 94 bits of them), `-`, 16 hex digits of length: 46 bytes.
const LENGTH_MAX: usize = 48;

/// Whether equal tags promise equal bytes. RFC 9110 §8.8.1.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Strength {
    /// They do.
    Strong,
    /// They promise the same meaning only: `W/"..."`.
    Weak,
}

/// How two tags are compared. RFC 9110 §8.8.3.2.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Comparison {
    /// Both are strong and the same: for If-Match and If-Range.
    Strong,
    /// The same but for `W/`: for If-None-Match.
    Weak,
}

/// The entity tag of a representation, as it stands in the ETag field. Held inline.
#[derive(Copy, Clone, Eq, PartialEq)]
pub struct EntityTag {
    /// The field from its first byte, zeros after it.
    bytes: [u8; LENGTH_MAX],
    /// At most `LENGTH_MAX`.
    length: u8,
    strength: Strength,
}

impl EntityTag {
    /// The tag of one version of a file: the mtime in nanoseconds since 1970 and the length in
    /// bytes, both in hexadecimal, as in `"1834a5f2c3b9e000-1f4"`.
    ///
    /// Made of these two alone (no inode, no host), so that mirrors which keep mtimes agree, and a
    /// client may resume from another of them. An mtime before 1970 has a minus sign. Whether the
    /// tag may be strong is for the caller to say, who knows how old the mtime is.
    pub fn of_version(
        mtime_seconds: i64,
        mtime_nanoseconds: u32,
        length: u64,
        strength: Strength,
    ) -> EntityTag {
        let mtime = i128::from(mtime_seconds) * 1_000_000_000 + i128::from(mtime_nanoseconds);
        let sign = if mtime < 0 { "-" } else { "" };
        let prefix = match strength {
            Strength::Strong => "",
            Strength::Weak => "W/",
        };
        let mut bytes = [0; LENGTH_MAX];
        let mut free = &mut bytes[..];
        let written = write!(
            free,
            "{prefix}\"{sign}{:x}-{length:x}\"",
            mtime.unsigned_abs()
        );
        debug_assert!(written.is_ok(), "the longest tag fits");
        let used = LENGTH_MAX - free.len();
        EntityTag {
            bytes,
            length: u8::try_from(used).unwrap_or(u8::MAX),
            strength,
        }
    }

    /// The tag as a field value: `"..."` or `W/"..."`.
    pub fn field(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }

    /// Whether equal tags promise equal bytes.
    pub fn strength(&self) -> Strength {
        self.strength
    }

    /// Whether the lines of an If-Match or If-None-Match field name this tag.
    ///
    /// All lines are one list. `*` matches if it is all there is. A list is read up to its first
    /// malformed member: what stands before it counts, what stands after it, in this line or the
    /// next, does not, for nobody can say where the next member begins. So malformed bytes only
    /// ever take matches away. That is the safe side for both fields: an If-None-Match never makes
    /// a 304 by accident (the client gets the content), an If-Match never passes by accident (412).
    ///
    /// Costs `O(length of all lines)`; does not allocate.
    ///
    /// # Source
    /// RFC 9110 §5.6.1.2 (empty members), §8.8.3, §13.1.1, §13.1.2.
    pub fn matches_list<'a>(
        &self,
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
                    Some(held) if self.matches(held, comparison) => return true,
                    Some(_) => {}
                    None => return false,
                }
            }
        }
        false
    }

    /// Whether a field value that is one tag, as in If-Range, names this tag. A list, `*` or
    /// anything malformed does not.
    pub fn matches_exactly(&self, field: &[u8], comparison: Comparison) -> bool {
        match split_tag(field) {
            Some((held, b"")) => self.matches(held, comparison),
            _ => false,
        }
    }

    fn matches(&self, held: Held<'_>, comparison: Comparison) -> bool {
        let strong = self.strength == Strength::Strong && held.strength == Strength::Strong;
        let opaque = self.field();
        let opaque = opaque.strip_prefix(b"W/").unwrap_or(opaque);
        (comparison == Comparison::Weak || strong) && held.opaque == opaque
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
    strength: Strength,
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
    let (strength, bytes) = match bytes.strip_prefix(b"W/") {
        Some(bytes) => (Strength::Weak, bytes),
        None => (Strength::Strong, bytes),
    };
    let inner = bytes.strip_prefix(b"\"")?;
    let end = inner
        .iter()
        .position(|byte| !matches!(byte, 0x21 | 0x23..=0x7e | 0x80..))?;
    if inner.get(end) != Some(&b'"') {
        return None;
    }
    let (opaque, after) = bytes.split_at_checked(end + 2)?;
    Some((Held { strength, opaque }, after))
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
