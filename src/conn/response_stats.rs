//! Counters and finished log lines of all connections.
//!
//! `line` formats lines; `pending_log` holds the records of answers that are not completely sent.

use super::line::{Lines, Logging};
use super::pending_log::Buffers;
use crate::http::status::Status;
use crate::sys::allocator::block_length;

/// Statuses from 100 to 599.
const STATUS_COUNT: usize = 500;

/// Longest buffer of lines that is kept when it is empty: what a burst took must not stay for ever.
const LINES_SPARE_LENGTH_MAX: usize = 256 * 1_024;
/// Spare buffers of records that are kept.
const SPARE_COUNT_MAX: usize = 64;

/// Counters and log lines of all connections. The driver writes the lines to the log.
#[derive(Debug)]
pub struct ResponseStats {
    /// Answers by first digit of their status: index 1 to 5.
    pub by_class: [u64; 6],
    /// Answers by their status, from 100 on.
    by_status: Box<[u64; STATUS_COUNT]>,
    /// Requests that were on their way when their idle connections were ended, and got no answer.
    pub crossed: u64,
    /// Finished log lines.
    pub lines: Vec<u8>,
    /// How they are written.
    pub(super) format: Lines,
    /// Unused buffers. Boxed as connections hold them: an idle one has a pointer.
    #[allow(clippy::vec_box)]
    spare: Vec<Box<Buffers>>,
}

impl ResponseStats {
    /// All counters at zero.
    pub fn new(logging: Logging) -> ResponseStats {
        ResponseStats {
            by_class: [0; 6],
            by_status: Box::new([0; STATUS_COUNT]),
            crossed: 0,
            lines: Vec::new(),
            format: Lines::new(logging),
            spare: Vec::new(),
        }
    }

    /// Counts an answer.
    pub(super) fn count(&mut self, status: Status) {
        self.by_class[status.class()] += 1;
        self.by_status[usize::from(status.code() - 100)] += 1;
    }

    /// Statuses that were sent, and how often.
    pub fn by_status(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = (100..).zip(self.by_status.iter());
        counts
            .filter(|(_, count)| **count > 0)
            .map(|(status, count)| (status, *count))
    }

    /// Buffers for the records of a stream.
    pub(super) fn buffers(&mut self) -> Box<Buffers> {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes buffers back that are empty.
    pub(super) fn give_back(&mut self, buffers: Box<Buffers>) {
        if self.spare.len() < SPARE_COUNT_MAX {
            self.spare.push(buffers);
        }
    }

    /// Lets the buffer of lines go that a burst has made long, once they were taken from it.
    pub fn trim(&mut self) {
        if self.lines.is_empty() && self.lines.capacity() > LINES_SPARE_LENGTH_MAX {
            self.lines = Vec::new();
        }
    }

    /// Bytes of the finished lines, and of spare buffers.
    pub fn memory_bytes(&self) -> u64 {
        let spare = self.spare.iter().map(|buffers| buffers.memory_bytes());
        block_length(self.lines.capacity())
            + block_length(self.spare.capacity() * size_of::<Box<Buffers>>())
            + spare.sum::<u64>()
    }

    /// Answers in all.
    pub fn total(&self) -> u64 {
        self.by_class.iter().sum()
    }
}
