//! Range requests: which bytes of a representation a Range field asks for.
//!
//! RFC 9110 §14. Whether the field may be obeyed at all (GET, If-Range) is decided before.

/// A run of bytes, zero-based and inclusive at both ends, as on the wire. `first <= last`.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct ByteRange {
    /// The offset of its first byte.
    pub first: u64,
    /// The offset of its last byte.
    pub last: u64,
}

impl ByteRange {
    /// How many bytes it has; at least 1. (All 2^64 bytes that offsets can name saturate.)
    pub fn length(&self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

/// What a Range field selects.
#[derive(Clone, Eq, PartialEq, Debug)]
pub enum Selection {
    /// Everything: 200, as if there were no Range.
    Whole,
    /// Nothing that is there: 416 with `Content-Range: bytes */{complete_length}`.
    Unsatisfiable,
    /// One range: 206 with Content-Range.
    Single(ByteRange),
    /// At least two ranges that neither overlap nor touch: 206 with `multipart/byteranges`.
    Several(Vec<ByteRange>),
}

/// Longest value of a Content-Range field: three numbers of 64 bits.
const CONTENT_RANGE_LENGTH_MAX: usize = "bytes -/".len() + 3 * 20;

/// The value of a Content-Range field, RFC 9110 §14.4. Allocates nothing.
#[derive(Copy, Clone, Debug)]
pub(crate) struct ContentRange {
    text: [u8; CONTENT_RANGE_LENGTH_MAX],
    length: usize,
}

impl ContentRange {
    /// These bytes of so many.
    pub(crate) fn of(range: ByteRange, complete_length: u64) -> ContentRange {
        let mut value = ContentRange::begun();
        value.push_number(range.first);
        value.push(b"-");
        value.push_number(range.last);
        value.push(b"/");
        value.push_number(complete_length);
        value
    }

    /// None of so many: of a 416.
    pub(crate) fn unsatisfied(complete_length: u64) -> ContentRange {
        let mut value = ContentRange::begun();
        value.push(b"*/");
        value.push_number(complete_length);
        value
    }

    /// The value.
    pub(crate) fn value(&self) -> &[u8] {
        &self.text[..self.length]
    }

    fn begun() -> ContentRange {
        let mut value = ContentRange {
            text: [0; CONTENT_RANGE_LENGTH_MAX],
            length: 0,
        };
        value.push(b"bytes ");
        value
    }

    fn push_number(&mut self, number: u64) {
        self.push(itoa::Buffer::new().format(number).as_bytes());
    }

    fn push(&mut self, part: &[u8]) {
        self.text[self.length..][..part.len()].copy_from_slice(part);
        self.length += part.len();
    }
}

/// What a client may ask for in one request.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct RangeLimits {
    /// Most ranges of an answer, counted once they are joined; 0: none are given. Part heads are made in memory,
    /// which this bounds. How many a client may list is bounded by the length of its head.
    pub count_max: usize,
}

/// Part heads of up to this many bytes together are sent whatever is asked for: they fit into two packets. It is 16
/// parts or so, more than players and readers of PDF files ask for.
const OVERHEAD_FREE: u64 = 2_048;

/// Selects the bytes of a representation that a Range field asks for.
///
/// `complete_length` is in bytes, counted after content coding: the length of `app.js.br`, not of
/// `app.js`. Every range in the answer lies below it. `part_overhead` is what a part of several costs beside its
/// bytes.
///
/// [`Selection::Whole`] is the answer to a field that is malformed anywhere (an inverted range
/// included), counts in another unit, or selects more ranges than `limits` allow: §14.2 lets a server
/// ignore Range. It is also the answer for every well-formed range of an empty representation. The
/// letter of §14.1.2 makes `0-` unsatisfiable there and `-5` satisfiable, by a 206 that cannot be
/// written, as Content-Range has no way to say "no bytes". Clients that send `bytes=0-` with every
/// request would get an error for an empty file, so nginx and Go answer 200, and so do we.
///
/// Numbers past 2^64 saturate. Members that select nothing are dropped if others select something.
/// Ranges that overlap or touch become one, in the place of the first of them, so the rest keeps
/// the order of the field (§15.3.7.2).
///
/// Where part heads would cost more than they save, ranges become one as well if what lies between them is shorter
/// than a part head: it is sent along. That is so if the part heads are longer together than 2 KiB and than the bytes
/// asked for, if the answer would be longer than the whole, or if there are more than `limits` allow. Then each part
/// but one saves at least what it costs, so that no answer is longer than the whole by more than 2 KiB
/// (CVE-2011-3192). Else the ranges are those asked for, to the byte: zchunk writes what comes without looking
/// at Content-Range, and breaks if there is more.
///
/// Costs `O(field.len())` for up to one satisfiable range, without allocation, and `O(n log n)` for
/// `n` of them. Never panics, whatever the bytes.
///
/// # Errors
/// None. A well-formed range that selects no bytes is an answer, [`Selection::Unsatisfiable`].
///
/// # Source
/// RFC 9110 §14.1.2 (grammar, suffix ranges), §14.2 (leave to ignore), §15.3.7.2, §15.5.17 (416).
pub fn select(
    field: &[u8],
    complete_length: u64,
    part_overhead: impl FnOnce() -> u64,
    limits: RangeLimits,
) -> Selection {
    let Some(set) = range_set(field).filter(|_| limits.count_max > 0) else {
        return Selection::Whole;
    };
    let mut count = 0;
    let mut satisfiable_count = 0;
    let mut first_satisfiable = None;
    for member in members(set) {
        count += 1;
        let Some(spec) = Spec::parse(member) else {
            return Selection::Whole;
        };
        if let Some(range) = spec.within(complete_length) {
            satisfiable_count += 1;
            first_satisfiable = first_satisfiable.or(Some(range));
        }
    }
    if count == 0 || complete_length == 0 {
        return Selection::Whole;
    }
    match first_satisfiable {
        None => Selection::Unsatisfiable,
        Some(range) if satisfiable_count == 1 => Selection::Single(range),
        Some(_) => several(set, complete_length, part_overhead(), limits),
    }
}

/// Selects several ranges. Apart from [`select`], which mostly selects one.
#[cold]
fn several(set: &[u8], complete_length: u64, part_overhead: u64, limits: RangeLimits) -> Selection {
    let specs = members(set).filter_map(Spec::parse);
    let ranges = specs.filter_map(|spec| spec.within(complete_length));
    let mut ranges = coalesce(ranges.collect(), 1);
    if ranges.len() > limits.count_max || are_wasteful(&ranges, complete_length, part_overhead) {
        ranges = coalesce(ranges, part_overhead.max(1));
    }
    match ranges[..] {
        [range] => Selection::Single(range),
        _ if ranges.len() > limits.count_max => Selection::Whole,
        _ => Selection::Several(ranges),
    }
}

/// What follows `bytes=`.
fn range_set(field: &[u8]) -> Option<&[u8]> {
    let (unit, set) = field.split_at_checked(b"bytes=".len())?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(set)
}

/// The members of the list that are not empty, without the whitespace around them.
fn members(set: &[u8]) -> impl Iterator<Item = &[u8]> {
    set.split(|byte| *byte == b',')
        .map(trimmed)
        .filter(|member| !member.is_empty())
}

/// Without the optional whitespace around it (RFC 9110 §5.6.3).
fn trimmed(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// One well-formed member.
#[derive(Copy, Clone)]
enum Spec {
    /// `first-last`, and `first-` with the highest number as its last.
    Between { first: u64, last: u64 },
    /// `-length`: that many bytes at the end.
    Suffix { length: u64 },
}

impl Spec {
    fn parse(member: &[u8]) -> Option<Spec> {
        let dash = member.iter().position(|byte| *byte == b'-')?;
        match (&member[..dash], &member[dash + 1..]) {
            (b"", length) => Some(Spec::Suffix {
                length: number(length)?,
            }),
            (first, b"") => Some(Spec::Between {
                first: number(first)?,
                last: u64::MAX,
            }),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Spec::Between { first, last })
            }
        }
    }

    /// The bytes that it selects; `None` if there are none.
    fn within(self, complete_length: u64) -> Option<ByteRange> {
        let end = complete_length.checked_sub(1)?;
        match self {
            Spec::Between { first, .. } if first > end => None,
            Spec::Between { first, last } => Some(ByteRange {
                first,
                last: last.min(end),
            }),
            Spec::Suffix { length: 0 } => None,
            Spec::Suffix { length } => Some(ByteRange {
                first: complete_length.saturating_sub(length),
                last: end,
            }),
        }
    }
}

/// Digits, at least one; past 2^64 they saturate.
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(digits.iter().fold(0_u64, |value, digit| {
        value
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

/// Whether parts cost more than they save.
fn are_wasteful(ranges: &[ByteRange], complete_length: u64, part_overhead: u64) -> bool {
    let count = u64::try_from(ranges.len()).unwrap_or(u64::MAX);
    let overhead = part_overhead.saturating_mul(count);
    let asked_for: u64 = ranges.iter().map(ByteRange::length).sum();
    overhead > OVERHEAD_FREE
        && (overhead > asked_for || overhead.saturating_add(asked_for) > complete_length)
}

/// Makes ranges into one that overlap, or of which one begins at most `distance` bytes behind the end of the other;
/// 1: right behind it. It stands where the first of them stood.
fn coalesce(ranges: Vec<ByteRange>, distance: u64) -> Vec<ByteRange> {
    let mut by_offset: Vec<(usize, ByteRange)> = ranges.into_iter().enumerate().collect();
    by_offset.sort_unstable_by_key(|(place, range)| (range.first, *place));
    by_offset.dedup_by(|(place, range), (place_before, before)| {
        let joins = range.first <= before.last.saturating_add(distance);
        if joins {
            before.last = before.last.max(range.last);
            *place_before = (*place_before).min(*place);
        }
        joins
    });
    by_offset.sort_unstable_by_key(|(place, _)| *place);
    by_offset.into_iter().map(|(_, range)| range).collect()
}

#[cfg(test)]
mod tests;
