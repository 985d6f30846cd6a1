//! What a peer has sent and nobody has interpreted yet, in one buffer of fixed length.
//!
//! The buffer is lent only while something happens on the connection. What is left in it then, as a part of
//! a head, is kept in a buffer of its own that is as long as that; an idle connection holds none.

use super::outbox::Pool;
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
    /// Lends a buffer of full length to receive into, if there is none.
    pub(super) fn lend(&mut self, pool: &mut Pool) {
        if self.buffer.is_empty() {
            self.buffer = pool.inbox();
        } else if self.buffer.len() < pool.inbox_length() {
            self.move_to(pool.inbox());
        }
    }

    /// Takes the buffer back, and keeps what is in it in one that is as short as may be.
    pub(super) fn reclaim(&mut self, pool: &mut Pool) {
        if self.is_empty() && !self.buffer.is_empty() {
            (self.start, self.cursor, self.end) = (0, 0, 0);
            pool.give_inbox(std::mem::take(&mut self.buffer));
        } else if self.buffer.len() >= pool.inbox_length() {
            let held = vec![0; self.end - self.start];
            pool.give_inbox(self.move_to(held));
        }
    }

    /// Moves what it holds to another buffer, and gives the one that it was in.
    #[cold]
    fn move_to(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        let previous = std::mem::replace(&mut self.buffer, buffer);
        let held = &previous[self.start..self.end];
        self.buffer[..held.len()].copy_from_slice(held);
        self.end = held.len();
        self.cursor -= self.start;
        self.start = 0;
        previous
    }

    /// Where the next bytes go. Empty when the buffer is full, which one that was lent is not.
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
        let (mut pool, mut inbox) = (Pool::new(16), Inbox::default());
        inbox.lend(&mut pool);
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
        inbox.read(2);
        inbox.next_request();
        inbox.reclaim(&mut pool);
        assert_eq!((inbox.memory_bytes(), pool.spare_count()), (0, 1));
    }

    #[test]
    fn what_is_left_is_kept_in_a_buffer_as_short_as_that() {
        let (mut pool, mut inbox) = (Pool::new(16 << 10), Inbox::default());
        inbox.lend(&mut pool);
        put(&mut inbox, b"0123456789");
        inbox.read(4);
        inbox.next_request();
        inbox.read(2);
        for more in [&b""[..], b"a", b"bc"] {
            inbox.reclaim(&mut pool);
            assert_eq!(pool.spare_count(), 1, "the long one is back");
            assert!(inbox.memory_bytes() <= 16, "{}", inbox.memory_bytes());
            inbox.lend(&mut pool);
            assert_eq!(pool.spare_count(), 0);
            put(&mut inbox, more);
        }
        assert_eq!(inbox.bytes(), b"456789abc");
        assert_eq!(inbox.unread(), b"6789abc");
    }
}
