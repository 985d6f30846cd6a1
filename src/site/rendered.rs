//! The heads of representations, rendered once for each protocol.
//!
//! `representation` selects the fields; this module renders the bytes that every answer copies.

use std::sync::atomic::{AtomicU64, Ordering};

use super::fields::{FileFields, OriginsId};
use super::representation::Representation;
use crate::clock::Now;
use crate::http::head::{HeadStart, HeadWriter, LastFields};
use crate::sys::allocator::block_length;

/// The first field of each head.
const CONTENT_TYPE: &str = "Content-Type";

/// Total length of all rendered heads.
static HEAD_BYTES: AtomicU64 = AtomicU64::new(0);

/// Current total length of all rendered heads.
pub(crate) fn head_bytes() -> u64 {
    HEAD_BYTES.load(Ordering::Relaxed)
}

/// Bytes of a head, counted in [`HEAD_BYTES`] while they exist.
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

/// The fields of a representation as each protocol writes them, rendered once. So far that is HTTP/1.1: the lines of a
/// 200, of which those of a 304 are a part. The rendering of another protocol is a field beside them, made by
/// `RenderedHead::of` from the same calls.
#[derive(Clone, Debug, Default)]
pub struct RenderedHead {
    /// All lines of a 200 after those that every response has, and the empty one.
    bytes: HeadBytes,
    /// Start of the fields that do not depend on the selected range.
    content_fields_offset: u16,
    /// End of the fields of a 304, which come first among them.
    not_modified_end: u16,
    /// The origins that one more field depends on.
    pub(crate) origins: OriginsId,
}

impl RenderedHead {
    /// Renders the heads of a representation.
    pub(super) fn of(representation: &Representation, fields: &FileFields<'_>) -> RenderedHead {
        let mut bytes = Vec::with_capacity(384);
        let mut head = HeadWriter::continuing(&mut bytes);
        head.field(CONTENT_TYPE, fields.media_type.as_bytes());
        head.number("Content-Length", representation.version.length);
        let content_fields_offset = head.length();
        // In a 304 too: caches update what they have with it.
        head.lines(&fields.lines);
        let own_end = head.length();
        representation.add_not_modified_fields(&mut head);
        let not_modified_end = head.length();
        head.truncate(own_end);
        representation.add_content_fields(&mut head);
        head.finish(LastFields::default());
        // `FIELDS_LENGTH_MAX` and a few hundred bytes.
        let offset = |at| u16::try_from(at).unwrap_or_default();
        RenderedHead {
            content_fields_offset: offset(content_fields_offset),
            not_modified_end: offset(not_modified_end),
            origins: fields.origins,
            // A copy: a shrunk vector would keep its block, which is half as long again.
            bytes: HeadBytes::from(&*bytes),
        }
    }

    /// The value of the Content-Type field, which comes first.
    pub(crate) fn media_type(&self) -> &[u8] {
        let value = self.bytes.0.get(CONTENT_TYPE.len() + b": ".len()..);
        let value = value.unwrap_or_default();
        &value[..memchr::memchr(b'\r', value).unwrap_or_default()]
    }

    /// The lines of [`Representation::add_content_fields`].
    fn content_fields(&self) -> &[u8] {
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
    pub(crate) fn append_not_modified_to(
        &self,
        buffer: &mut Vec<u8>,
        now: &Now,
        last: LastFields<'_>,
    ) {
        append_start(buffer, HeadStart::NOT_MODIFIED, now);
        let lines = self.content_fields_offset.into()..self.not_modified_end.into();
        buffer.extend_from_slice(&self.bytes.0[lines]);
        last.append_to(buffer);
    }
}

fn append_start(buffer: &mut Vec<u8>, start: HeadStart, now: &Now) {
    let date = buffer.len() + start.date_offset;
    buffer.extend_from_slice(start.bytes);
    buffer[date..date + now.rendered.len()].copy_from_slice(&now.rendered);
}

/// Takes the fields of a head one by one and writes them as its protocol does.
pub(crate) trait FieldWriter {
    /// Adds a field. The value must not contain CR, LF or NUL.
    fn field(&mut self, name: &str, value: &[u8]);

    /// Adds a field with a decimal number.
    fn number(&mut self, name: &str, value: u64) {
        self.field(name, itoa::Buffer::new().format(value).as_bytes());
    }

    /// Adds the fields of [`Representation::add_content_fields`] as they were rendered for the protocol.
    fn content_fields(&mut self, head: &RenderedHead);
}

impl FieldWriter for HeadWriter<'_> {
    fn field(&mut self, name: &str, value: &[u8]) {
        HeadWriter::field(self, name, value);
    }

    fn content_fields(&mut self, head: &RenderedHead) {
        self.lines(head.content_fields());
    }
}
