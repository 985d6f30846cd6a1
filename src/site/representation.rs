//! A representation: one version of one file in one content coding, with its heads rendered.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::validators::{Identity, Predecessor, Sighting};
use crate::clock::Now;
use crate::http::content_coding::{Coding, CodingSet};
use crate::http::head::{HeadStart, HeadWriter, LastFields};
use crate::http::precondition::Validators;
use crate::sys::allocator::block_length;
use crate::sys::file::FileVersion;

/// The field that heads begin with.
const CONTENT_TYPE: &str = "Content-Type";

/// Bytes of all rendered heads, wherever they are.
static HEAD_BYTES: AtomicU64 = AtomicU64::new(0);

/// Bytes of all rendered heads that are held now.
pub fn head_bytes() -> u64 {
    HEAD_BYTES.load(Ordering::Relaxed)
}

/// Bytes of a head, counted as long as they are there.
#[derive(Debug, Default)]
struct HeadBytes(Box<[u8]>);

impl From<&[u8]> for HeadBytes {
    fn from(bytes: &[u8]) -> HeadBytes {
        HEAD_BYTES.fetch_add(block_length(bytes.len()), Ordering::Relaxed);
        HeadBytes(bytes.into())
    }
}

impl Clone for HeadBytes {
    fn clone(&self) -> HeadBytes {
        HeadBytes::from(&*self.0)
    }
}

impl Drop for HeadBytes {
    fn drop(&mut self) {
        HEAD_BYTES.fetch_sub(block_length(self.0.len()), Ordering::Relaxed);
    }
}

/// The lines that a representation adds to a response head. Those of a 304 are a part of those of a 200, so
/// they are kept once.
#[derive(Clone, Debug, Default)]
pub struct RenderedHead {
    /// All lines of a 200 after those that every response has, and the empty one.
    bytes: HeadBytes,
    /// Where the fields begin that do not depend on what of the content is sent.
    content_fields_offset: u16,
    /// Where those end that a 304 has too, which come first among them.
    not_modified_end: u16,
}

impl RenderedHead {
    /// The value of the Content-Type field, which comes first.
    pub fn media_type(&self) -> &[u8] {
        let value = self.bytes.0.get(CONTENT_TYPE.len() + b": ".len()..);
        let value = value.unwrap_or_default();
        &value[..memchr::memchr(b'\r', value).unwrap_or_default()]
    }

    /// The lines of [`Representation::add_content_fields`].
    pub fn content_fields(&self) -> &[u8] {
        &self.bytes.0[self.content_fields_offset.into()..self.bytes.0.len() - b"\r\n".len()]
    }

    /// Appends the head of a 200 to `buffer`, dated, with these fields at its end.
    pub fn append_to(&self, buffer: &mut Vec<u8>, now: &Now, last: LastFields<'_>) {
        append_start(buffer, HeadStart::OK, now);
        if last.are_none() {
            buffer.extend_from_slice(&self.bytes.0);
        } else {
            // Without its empty line.
            buffer.extend_from_slice(&self.bytes.0[..self.bytes.0.len() - 2]);
            last.append_to(buffer);
        }
    }

    /// The same for a 304.
    pub fn append_not_modified_to(&self, buffer: &mut Vec<u8>, now: &Now, last: LastFields<'_>) {
        append_start(buffer, HeadStart::NOT_MODIFIED, now);
        let lines = self.content_fields_offset.into()..self.not_modified_end.into();
        buffer.extend_from_slice(&self.bytes.0[lines]);
        last.append_to(buffer);
    }

    /// Bytes that are allocated for it.
    pub fn bytes(&self) -> usize {
        self.bytes.0.len()
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
    /// There are precompressed variants: every answer says `Vary: Accept-Encoding`.
    AcceptEncoding,
}

/// What is known of one version of one file in one coding.
#[derive(Clone, Debug)]
pub struct Representation {
    /// Which bytes; they may only be taken from a file or mapping of this version.
    pub version: FileVersion,
    /// What tells them from those of other versions.
    pub identity: Identity,
    /// The latest mtime in seconds of the other versions that the path is known to have led to; the least number
    /// there is if to none.
    pub newest_before: i64,
    /// The coding that the bytes are in.
    pub coding: Coding,
    /// What tells it from other versions, for preconditions. The Last-Modified is never later than the moment of
    /// rendering.
    pub validators: Validators,
    /// Whether answers carry Vary.
    pub vary: Vary,
    /// The lines of its heads.
    pub head: RenderedHead,
}

impl Representation {
    /// Describes a version of a file as seen at `now`. `media_type` is that of the file without
    /// its coding.
    pub fn new(
        media_type: &str,
        sighting: Sighting,
        coding: Coding,
        vary: Vary,
        now: &Now,
    ) -> Representation {
        let mut representation = Representation {
            version: sighting.version,
            identity: sighting.identity,
            newest_before: sighting.newest_before.unwrap_or(i64::MIN),
            coding,
            validators: sighting.validators(coding, now),
            vary,
            head: RenderedHead::default(),
        };
        representation.head = representation.render(media_type);
        representation
    }

    /// What is to be known of it where another version may take its place.
    pub fn as_predecessor(&self) -> Predecessor {
        Predecessor {
            version: self.version,
            identity: self.identity,
            entity_tag: self.validators.entity_tag,
            newest_before: Some(self.newest_before).filter(|newest| *newest > i64::MIN),
        }
    }

    /// Adds the fields that 200, 206 and 304 share (RFC 9110 §15.4.5).
    pub fn add_common_fields(&self, head: &mut HeadWriter<'_>) {
        if let Some(tag) = &self.validators.entity_tag {
            head.field("ETag", tag.field());
        }
        if self.vary == Vary::AcceptEncoding {
            head.field("Vary", b"Accept-Encoding");
        }
    }

    /// Adds the fields that describe the content: those of 200 and 206, except its type and length.
    pub fn add_content_fields(&self, head: &mut HeadWriter<'_>) {
        self.add_common_fields(head);
        self.add_last_modified(head);
        head.field("Accept-Ranges", b"bytes");
        if self.coding != Coding::Identity {
            head.field("Content-Encoding", self.coding.token().as_bytes());
        }
    }

    fn add_last_modified(&self, head: &mut HeadWriter<'_>) {
        head.field("Last-Modified", &self.validators.last_modified.render());
    }

    fn render(&self, media_type: &str) -> RenderedHead {
        let mut bytes = Vec::with_capacity(384);
        let mut head = HeadWriter::continuing(&mut bytes);
        head.field(CONTENT_TYPE, media_type.as_bytes());
        head.number("Content-Length", self.version.length);
        let content_fields_offset = head.length();
        self.add_common_fields(&mut head);
        // RFC 9110 §15.4.5: where it is all that tells versions apart.
        if self.validators.entity_tag.is_none() {
            self.add_last_modified(&mut head);
        }
        let not_modified_end = head.length();
        head.truncate(content_fields_offset);
        self.add_content_fields(&mut head);
        head.finish(LastFields::default());
        // A few hundred bytes: only the media type and the numbers differ.
        let offset = |at| u16::try_from(at).unwrap_or_default();
        RenderedHead {
            content_fields_offset: offset(content_fields_offset),
            not_modified_end: offset(not_modified_end),
            // A copy: a vector that is cut to its length keeps its block, which is half as long again.
            bytes: HeadBytes::from(&*bytes),
        }
    }
}

/// All representations of one file.
#[derive(Clone, Debug)]
pub struct Variants {
    /// The file itself.
    pub identity: Representation,
    /// Its precompressed variants, at most one a coding.
    pub coded: Box<[Representation]>,
}

impl Variants {
    /// The file and its precompressed variants.
    pub fn all(&self) -> impl Iterator<Item = &Representation> {
        std::iter::once(&self.identity).chain(&self.coded)
    }

    /// Bytes that are allocated for them.
    pub fn bytes(&self) -> usize {
        let heads: usize = self.all().map(|one| one.head.bytes()).sum();
        heads + self.coded.len() * size_of::<Representation>()
    }

    /// The versions of the file and of its precompressed variants.
    pub fn versions(&self) -> impl Iterator<Item = FileVersion> {
        self.all().map(|representation| representation.version)
    }

    /// The codings of the precompressed variants.
    pub fn codings(&self) -> CodingSet {
        let mut set = CodingSet::default();
        for representation in &self.coded {
            set.insert(representation.coding);
        }
        set
    }

    /// The representation in a coding; the file itself if there is no such precompressed variant.
    pub fn in_coding(&self, coding: Coding) -> &Representation {
        let variant = self
            .coded
            .iter()
            .find(|representation| representation.coding == coding);
        variant.unwrap_or(&self.identity)
    }

    /// Whether all stay what they are as long as the metadata of the files does.
    pub fn is_settled(&self) -> bool {
        self.all()
            .all(|representation| representation.identity.is_settled())
    }

    /// For how long answers may be given without another look at the files; `None`: as long as their
    /// metadata stays.
    pub fn lifetime(&self, now: &Now) -> Option<Duration> {
        self.all()
            .filter_map(|representation| representation.identity.lifetime(now))
            .min()
    }
}
