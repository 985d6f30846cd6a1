//! What a peer has sent and nobody has interpreted yet, in one buffer of fixed length.
//!
//! The buffer is lent only while there is something in it: an idle connection holds none.

use crate::sys::allocator::block_length;

/// Received bytes, the head of the current request first.
///
/// ```text
///   0 … start        done with
///   start … cursor   the current request: its head, kept until it is answered
///   cursor … end     received, not interpreted
/// ```
#[derive(Debug, Default)]
pub(super) struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    cursor: usize,
    end: usize,
}

impl Inbox {
    /// Lends a buffer to receive into, if there is none.
    pub(super) fn lend(&mut self, buffer: impl FnOnce() -> Vec<u8>) {
        if self.buffer.is_empty() {
            self.buffer = buffer();
        }
    }

    /// Takes the buffer back, if nothing is in it.
    pub(super) fn reclaim(&mut self) -> Option<Vec<u8>> {
        if self.start < self.end || self.buffer.is_empty() {
            return None;
        }
        (self.start, self.cursor, self.end) = (0, 0, 0);
        Some(std::mem::take(&mut self.buffer))
    }

    /// Where the next bytes go. Empty when the buffer is full.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            if self.start < self.end {
                self.buffer.copy_within(self.start..self.end, 0);
            }
            self.end -= self.start;
            self.cursor -= self.start;
            self.start = 0;
        }
        &mut self.buffer[self.end..]
    }

    /// Counts bytes that were put at the start of [`space`](Inbox::space).
    pub(super) fn received(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.buffer.len());
    }

    /// The current request and all that follows it.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The bytes after the cursor.
    pub(super) fn unread(&self) -> &[u8] {
        &self.buffer[self.cursor..self.end]
    }

    /// Moves the cursor over bytes that were interpreted.
    pub(super) fn read(&mut self, count: usize) {
        self.cursor += count;
        debug_assert!(self.cursor <= self.end);
    }

    /// Drops everything before the cursor but the first `head_length` bytes: the body of
    /// a request passes through here, its head stays.
    pub(super) fn keep_head(&mut self, head_length: usize) {
        let kept = self.start + head_length;
        self.buffer.copy_within(self.cursor..self.end, kept);
        self.end -= self.cursor - kept;
        self.cursor = kept;
    }

    /// The current request is answered: what follows the cursor is the next.
    pub(super) fn next_request(&mut self) {
        self.start = self.cursor;
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        (self.start, self.cursor, self.end) = (0, 0, 0);
    }

    /// Bytes of its buffer.
    pub(super) fn memory_bytes(&self) -> u64 {
        block_length(self.buffer.capacity())
    }

    /// Whether nothing was received that is not done with.
    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(inbox: &mut Inbox, bytes: &[u8]) {
        inbox.space()[..bytes.len()].copy_from_slice(bytes);
        inbox.received(bytes.len());
    }

    #[test]
    fn a_head_stays_while_its_body_passes() {
        let mut inbox = Inbox::default();
        inbox.lend(|| vec![0; 16]);
        put(&mut inbox, b"HEADbody");
        inbox.read(4);
        for piece in [b"1234567", b"abcdefg"] {
            inbox.read(inbox.unread().len());
            inbox.keep_head(4);
            assert_eq!((inbox.bytes(), inbox.unread()), (&b"HEAD"[..], &b""[..]));
            put(&mut inbox, piece);
        }
        inbox.read(5);
        inbox.next_request();
        assert_eq!(inbox.bytes(), b"fg");
        assert_eq!(inbox.reclaim(), None);
        inbox.read(2);
        inbox.next_request();
        assert_eq!(inbox.reclaim().map(|buffer| buffer.len()), Some(16));
    }
}
