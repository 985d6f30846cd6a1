//! A representation: one version of one file in one content coding, with its heads rendered.

use std::num::NonZeroU64;

use crate::clock::Now;
use crate::http::content_coding::{Coding, CodingSet};
use crate::http::date::HttpDate;
use crate::http::entity_tag::{EntityTag, Strength};
use crate::http::head::{HeadStart, HeadWriter, LastFields};
use crate::http::precondition::Validators;
use crate::sys::file::{FileTime, FileVersion};

/// How long after its mtime a file could be changed again without getting another mtime: the
/// kernel's clock for file times ticks every 1 to 10 ms.
const RACY_MS: i128 = 20;
/// The same where the file system keeps whole seconds.
const RACY_WHOLE_SECONDS_MS: i128 = 2_000;

/// The lines that a representation adds to a response head. Those of a 304 are a part of those of a 200, so
/// they are kept once.
#[derive(Clone, Debug, Default)]
pub struct RenderedHead {
    /// All lines of a 200 after those that every response has, and the empty one.
    bytes: Box<[u8]>,
    /// Where the fields begin that do not depend on what of the content is sent.
    content_fields_offset: u16,
    /// Where those end that a 304 has too, which come first among them.
    not_modified_end: u16,
}

impl RenderedHead {
    /// The lines of [`Representation::add_content_fields`].
    pub fn content_fields(&self) -> &[u8] {
        &self.bytes[self.content_fields_offset.into()..self.bytes.len() - b"\r\n".len()]
    }

    /// Appends the head of a 200 to `buffer`, dated, with these fields at its end.
    pub fn append_to(&self, buffer: &mut Vec<u8>, now: &Now, last: LastFields<'_>) {
        append_start(buffer, HeadStart::OK, now);
        if last.are_none() {
            buffer.extend_from_slice(&self.bytes);
        } else {
            // Without its empty line.
            buffer.extend_from_slice(&self.bytes[..self.bytes.len() - 2]);
            last.append_to(buffer);
        }
    }

    /// The same for a 304.
    pub fn append_not_modified_to(&self, buffer: &mut Vec<u8>, now: &Now, last: LastFields<'_>) {
        append_start(buffer, HeadStart::NOT_MODIFIED, now);
        let lines = self.content_fields_offset.into()..self.not_modified_end.into();
        buffer.extend_from_slice(&self.bytes[lines]);
        last.append_to(buffer);
    }

    /// Bytes that are allocated for it.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

fn append_start(buffer: &mut Vec<u8>, start: HeadStart, now: &Now) {
    let date = buffer.len() + start.date_offset;
    buffer.extend_from_slice(start.bytes);
    buffer[date..date + now.rendered.len()].copy_from_slice(&now.rendered);
}

/// Whether the choice of this representation depended on Accept-Encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vary {
    /// There is only one representation.
    Nothing,
    /// There are precompressed twins: every answer says `Vary: Accept-Encoding`.
    AcceptEncoding,
}

/// What is known of one version of one file in one coding.
#[derive(Clone, Debug)]
pub struct Representation {
    /// Which bytes; they may only be taken from a file or mapping of this version.
    pub version: FileVersion,
    /// The digest of its content, where the version does not tell it from others: it was written to, and its times
    /// did not change.
    pub content: Option<NonZeroU64>,
    /// The coding that the bytes are in.
    pub coding: Coding,
    /// The ETag.
    pub entity_tag: EntityTag,
    /// The Last-Modified, never later than the moment of rendering.
    pub last_modified: HttpDate,
    /// The Content-Type.
    pub media_type: &'static str,
    /// Whether answers carry Vary.
    pub vary: Vary,
    /// The lines of its heads.
    pub head: RenderedHead,
}

impl Representation {
    /// Describes a version of a file as seen at `now`. `media_type` is that of the file without
    /// its coding.
    pub fn new(
        media_type: &'static str,
        version: FileVersion,
        coding: Coding,
        vary: Vary,
        now: &Now,
    ) -> Representation {
        let strength = match settles_in_ms(version.modified, now.wall) {
            Some(_) => Strength::Weak,
            None => Strength::Strong,
        };
        let modified = version.modified;
        let entity_tag = EntityTag::of_version(
            modified.seconds,
            modified.nanoseconds,
            version.length,
            strength,
        );
        // RFC 9110 §8.8.2.1: a Last-Modified later than the Date must not be sent.
        let last_modified = HttpDate::from_unix_seconds(modified.seconds).min(now.date);
        let mut representation = Representation {
            version,
            content: None,
            coding,
            entity_tag,
            last_modified,
            media_type,
            vary,
            head: RenderedHead::default(),
        };
        representation.head = representation.render();
        representation
    }

    /// The same, with a tag that is made of this digest of its content.
    #[must_use]
    pub fn with_content(mut self, digest: NonZeroU64) -> Representation {
        self.content = Some(digest);
        let length = self.version.length;
        let strength = self.entity_tag.strength();
        self.entity_tag = EntityTag::of_version(digest.get().cast_signed(), 0, length, strength);
        self.head = self.render();
        self
    }

    /// Its validators, for preconditions.
    pub fn validators(&self) -> Validators<'_> {
        Validators {
            entity_tag: &self.entity_tag,
            last_modified: self.last_modified,
        }
    }

    /// Adds the fields that 200, 206 and 304 share (RFC 9110 §15.4.5).
    pub fn add_common_fields(&self, head: &mut HeadWriter<'_>) {
        head.field("ETag", self.entity_tag.field());
        if self.vary == Vary::AcceptEncoding {
            head.field("Vary", b"Accept-Encoding");
        }
    }

    /// Adds the fields that describe the content: those of 200 and 206, except its type and length.
    pub fn add_content_fields(&self, head: &mut HeadWriter<'_>) {
        self.add_common_fields(head);
        head.field("Last-Modified", &self.last_modified.render());
        head.field("Accept-Ranges", b"bytes");
        if self.coding != Coding::Identity {
            head.field("Content-Encoding", self.coding.token().as_bytes());
        }
    }

    fn render(&self) -> RenderedHead {
        let mut bytes = Vec::with_capacity(384);
        let mut head = HeadWriter::continuing(&mut bytes);
        head.field("Content-Type", self.media_type.as_bytes());
        head.number("Content-Length", self.version.length);
        let content_fields_offset = head.length();
        self.add_common_fields(&mut head);
        let not_modified_end = head.length();
        head.truncate(content_fields_offset);
        self.add_content_fields(&mut head);
        head.finish(LastFields::default());
        // A few hundred bytes: only the media type and the numbers differ.
        let offset = |at| u16::try_from(at).unwrap_or_default();
        RenderedHead {
            content_fields_offset: offset(content_fields_offset),
            not_modified_end: offset(not_modified_end),
            bytes: bytes.into(),
        }
    }
}

/// All representations of one file.
#[derive(Clone, Debug)]
pub struct Variants {
    /// The file itself.
    pub identity: Representation,
    /// Its twins, at most one a coding.
    pub coded: Box<[Representation]>,
}

impl Variants {
    /// The same, described again at a later moment, when entity tags may have become strong;
    /// `None` if they all were.
    pub fn settled(&self, now: &Now) -> Option<Variants> {
        let weak = |one: &Representation| one.entity_tag.strength() == Strength::Weak;
        if !weak(&self.identity) && !self.coded.iter().any(weak) {
            return None;
        }
        let again = |one: &Representation| {
            Representation::new(one.media_type, one.version, one.coding, one.vary, now)
        };
        Some(Variants {
            identity: again(&self.identity),
            coded: self.coded.iter().map(again).collect(),
        })
    }

    /// The file and its twins.
    pub fn all(&self) -> impl Iterator<Item = &Representation> {
        std::iter::once(&self.identity).chain(&self.coded)
    }

    /// Bytes that are allocated for them.
    pub fn bytes(&self) -> usize {
        let heads: usize = self.all().map(|one| one.head.bytes()).sum();
        heads + self.coded.len() * size_of::<Representation>()
    }

    /// The versions of the file and of its twins.
    pub fn versions(&self) -> impl Iterator<Item = FileVersion> {
        self.all().map(|representation| representation.version)
    }

    /// The codings of the twins.
    pub fn codings(&self) -> CodingSet {
        let mut set = CodingSet::default();
        for representation in &self.coded {
            set.insert(representation.coding);
        }
        set
    }

    /// The representation in a coding; the file itself if there is no such twin.
    pub fn in_coding(&self, coding: Coding) -> &Representation {
        let twin = self
            .coded
            .iter()
            .find(|representation| representation.coding == coding);
        twin.unwrap_or(&self.identity)
    }

    /// How long until every entity tag may be strong; `None` if they are.
    pub fn settles_in_ms(&self, now: &Now) -> Option<u64> {
        std::iter::once(&self.identity)
            .chain(&self.coded)
            .filter_map(|representation| settles_in_ms(representation.version.modified, now.wall))
            .max()
    }
}

/// Milliseconds until a change would surely get another mtime; `None` if it would already.
///
/// While it is `Some`, mtime and length do not tell this version from the next, so an entity tag
/// made of them is weak (RFC 9110 §8.8.1). A time in the future stays racy until it has come.
fn settles_in_ms(modified: FileTime, now: FileTime) -> Option<u64> {
    let nanoseconds =
        |time: FileTime| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
    let racy_ms = if modified.nanoseconds == 0 {
        RACY_WHOLE_SECONDS_MS
    } else {
        RACY_MS
    };
    let left = nanoseconds(modified) + racy_ms * 1_000_000 - nanoseconds(now);
    if left <= 0 {
        return None;
    }
    Some(u64::try_from(left.div_euclid(1_000_000) + 1).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_weak_only_while_the_mtime_could_be_given_again() {
        let at = |seconds, nanoseconds| FileTime {
            seconds,
            nanoseconds,
        };
        #[rustfmt::skip]
        let cases = [
            // modified        now                     settles in, because
            (at(100, 1_000_000), at(100, 1_000_000),  Some(21),    "just now"),
            (at(100, 1_000_000), at(100, 20_999_999), Some(1),     "19.999999 ms old"),
            (at(100, 1_000_000), at(100, 21_000_000), None,        "20 ms old"),
            (at(100, 0),         at(100, 21_000_000), Some(1_980), "whole seconds: two of them"),
            (at(100, 0),         at(102, 0),          None,        "two seconds old"),
            (at(200, 5),         at(100, 0),          Some(100_021), "from the future"),
        ];
        for (modified, now, want, because) in cases {
            assert_eq!(settles_in_ms(modified, now), want, "{because}");
        }
    }
}
