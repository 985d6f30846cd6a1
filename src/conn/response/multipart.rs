//! Several ranges of a file as `multipart/byteranges`, RFC 9110 §14.6.

use std::fmt::Write;

use super::Part;
use crate::clock::Now;
use crate::conn::outbox::{Outbox, Source};
use crate::http::range::{ByteRange, ContentRange};
use crate::site::representation::Representation;
use crate::site::response::BOUNDARY_LENGTH;

/// The content of an answer with several ranges.
#[derive(Debug)]
pub(in crate::conn) struct Multipart<'a> {
    representation: &'a Representation,
    ranges: &'a [ByteRange],
    source: Option<&'a Source>,
    boundary: String,
    /// What is before the bytes of each range.
    part_heads: Vec<String>,
    end: String,
}

impl<'a> Multipart<'a> {
    /// Ranges of a representation.
    pub(super) fn new(
        representation: &'a Representation,
        ranges: &'a [ByteRange],
        source: Option<&'a Source>,
        now: &Now,
    ) -> Multipart<'a> {
        let boundary = boundary(representation, now);
        let media_type = String::from_utf8_lossy(representation.head.media_type());
        let part_head = |range: &ByteRange| {
            let content_range = ContentRange::of(*range, representation.version.length);
            let content_range = String::from_utf8_lossy(content_range.value()).into_owned();
            // The line end before a delimiter belongs to it. RFC 2046 §5.1.1 lets the first go without, but
            // zsync looks for it there, and nginx sends it.
            format!(
                "\r\n--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {content_range}\r\n\r\n"
            )
        };
        Multipart {
            representation,
            ranges,
            source,
            part_heads: ranges.iter().map(part_head).collect(),
            end: format!("\r\n--{boundary}--\r\n"),
            boundary,
        }
    }

    /// The value of Content-Type.
    pub(super) fn media_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// Bytes that it takes.
    pub(super) fn length(&self) -> u64 {
        let part_heads = self.part_heads.iter().map(|head| head.len() as u64);
        let ranges = self.ranges.iter().map(ByteRange::length);
        part_heads.sum::<u64>() + ranges.sum::<u64>() + self.end.len() as u64
    }

    /// Puts it into an outbox and gives how many bytes it has.
    pub(super) fn put_into(&self, outbox: &mut Outbox) -> u64 {
        for (part_head, range) in self.part_heads.iter().zip(self.ranges) {
            outbox.render(|buffer| buffer.extend_from_slice(part_head.as_bytes()));
            let part = Part {
                representation: self.representation,
                range: *range,
                source: self.source,
            };
            part.put_into(outbox);
        }
        outbox.render(|buffer| buffer.extend_from_slice(self.end.as_bytes()));
        self.length()
    }
}

/// A delimiter that the file does not contain by accident: 32 hexadecimal digits that depend on
/// the moment, so that nobody can put it into a file beforehand.
fn boundary(representation: &Representation, now: &Now) -> String {
    let mut boundary = String::with_capacity(BOUNDARY_LENGTH);
    let moment = u64::from(now.wall.nanoseconds) | now.date.unix_seconds() << 30;
    let mixed = foldhash::quality::FixedState::with_seed(moment);
    let word = std::hash::BuildHasher::hash_one(&mixed, representation.version);
    // Writing to a String cannot fail.
    let _ = write!(boundary, "spede-{moment:016x}{word:016x}");
    debug_assert_eq!(boundary.len(), BOUNDARY_LENGTH);
    boundary
}
