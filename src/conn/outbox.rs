//! Bytes to be sent: a bounded queue of segments, gathered into as few system calls as possible.

mod parking;

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use crate::sys::allocator::block_length;
use crate::sys::file::{FileVersion, OpenFile};
use crate::sys::mapping::Addresses;
use crate::sys::memory::Memory;
use crate::sys::socket::{More, PIECE_COUNT_MAX, Piece, Pieces};

/// Segments after which no further answer is put in before something is sent. An answer of
/// several ranges may take it further, by twice the number of its ranges and one.
const SEGMENT_COUNT_MAX: usize = PIECE_COUNT_MAX - 2;
/// Bytes of rendered heads and pages after which the same holds.
const RENDERED_LENGTH_MAX: usize = 12 * 1024;
/// Bytes of answers after which the same holds: enough to fill a socket buffer.
const QUEUED_LENGTH_MAX: u64 = 256 * 1024;
/// What is rendered is a head alone, if it is no longer than this.
const HEAD_LENGTH_MAX: usize = 1_024;
/// Room for what is rendered in a buffer that is lent: the last answer may take it further.
const RENDERED_CAPACITY: usize = RENDERED_LENGTH_MAX + 4 * 1024;

/// A run of bytes from one source.
#[derive(Clone, Debug)]
enum Segment {
    /// Part of the outbox' own rendered bytes.
    Rendered(Range<usize>),
    /// Part of the content of a file in memory.
    Mapped {
        memory: Rc<Memory>,
        bytes: Range<usize>,
    },
    /// Part of a file, sent by the kernel.
    File(FileSegment),
}

/// Part of an open file that is to be sent.
#[derive(Clone, Debug)]
pub struct FileSegment {
    /// The file.
    pub file: Arc<OpenFile>,
    /// The version that the head announced.
    pub version: FileVersion,
    /// What is left to send, in bytes from the start of the file.
    pub bytes: Range<u64>,
    /// Where it began.
    pub start: u64,
}

/// The location of the bytes of a representation.
#[derive(Clone, Debug)]
pub enum Source {
    /// In memory.
    Mapped(Rc<Memory>),
    /// In an open file.
    File(Arc<OpenFile>),
}

/// What the driver does next to empty an outbox.
#[derive(Debug)]
pub enum Next<'a> {
    /// Nothing is left.
    Nothing,
    /// The pieces that were put in go out in one call.
    Pieces(More),
    /// This part of a file goes out by `sendfile`.
    File(&'a FileSegment),
}

/// The buffers of an outbox: lent when an answer is put in, and as short as what is in them when it waits
/// for its peer.
#[derive(Debug, Default)]
pub struct OutboxBuffers {
    rendered: Vec<u8>,
    segments: VecDeque<Segment>,
}

impl OutboxBuffers {
    fn memory_bytes(&self) -> u64 {
        let segments = self.segments.capacity() * size_of::<Segment>();
        block_length(self.rendered.capacity()) + block_length(segments)
    }

    /// Whether an answer can be put in without an allocation.
    fn are_long(&self) -> bool {
        self.rendered.capacity() >= RENDERED_CAPACITY && self.segments.capacity() >= PIECE_COUNT_MAX
    }

    /// The same segments in buffers that are as short as may be.
    #[cold]
    fn shortened(&mut self) -> OutboxBuffers {
        let rendered = self.segments.iter().find_map(|segment| match segment {
            Segment::Rendered(range) => Some(range.start),
            Segment::Mapped { .. } | Segment::File(_) => None,
        });
        // What was sent of them is not needed.
        let start = rendered.unwrap_or(self.rendered.len());
        let mut segments = VecDeque::with_capacity(self.segments.len());
        for mut segment in self.segments.drain(..) {
            if let Segment::Rendered(range) = &mut segment {
                *range = range.start - start..range.end - start;
            }
            segments.push_back(segment);
        }
        let rendered = self.rendered[start..].to_vec();
        self.rendered.clear();
        OutboxBuffers { rendered, segments }
    }
}

/// A queue of segments. Order of sending is order of putting in.
#[derive(Debug, Default)]
pub struct Outbox {
    buffers: OutboxBuffers,
    queued: u64,
    /// Bytes put in since the connection began.
    total_in: u64,
    /// Bytes sent since the connection began.
    total_out: u64,
}

impl Outbox {
    /// Lends buffers, if nothing is in those that there are. Others grow if more is put in.
    pub fn lend(&mut self, pool: &mut Pool) {
        if self.is_empty() && self.buffers.segments.capacity() < PIECE_COUNT_MAX {
            self.buffers = pool.outbox();
        }
    }

    /// Takes the buffers back; what is in them stays in shorter ones.
    pub fn reclaim(&mut self, pool: &mut Pool) {
        if self.is_empty() {
            pool.give_outbox(std::mem::take(&mut self.buffers));
        } else if self.buffers.are_long() {
            let shortened = self.buffers.shortened();
            pool.give_outbox(std::mem::replace(&mut self.buffers, shortened));
        }
    }

    /// Bytes of its buffers.
    pub fn memory_bytes(&self) -> u64 {
        self.buffers.memory_bytes()
    }

    /// Whether everything was sent.
    pub fn is_empty(&self) -> bool {
        self.buffers.segments.is_empty()
    }

    /// Whether another answer may be put in before anything is sent.
    pub fn has_room(&self) -> bool {
        self.buffers.segments.len() < SEGMENT_COUNT_MAX
            && self.buffers.rendered.len() < RENDERED_LENGTH_MAX
            && self.queued < QUEUED_LENGTH_MAX
    }

    /// Puts bytes in that `write` appends to a buffer; it must not change what is there.
    pub fn render(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let rendered = &mut self.buffers.rendered;
        let start = rendered.len();
        write(rendered);
        let end = rendered.len();
        self.count_in((end - start) as u64);
        match self.buffers.segments.back_mut() {
            Some(Segment::Rendered(range)) if range.end == start => range.end = end,
            _ => self
                .buffers
                .segments
                .push_back(Segment::Rendered(start..end)),
        }
    }

    /// Puts part of a file in, from wherever its bytes are.
    pub fn content(&mut self, source: &Source, version: FileVersion, bytes: Range<u64>) {
        if bytes.is_empty() {
            return;
        }
        self.count_in(bytes.end - bytes.start);
        let segment = match source {
            Source::Mapped(memory) => {
                let place = |at: u64| usize::try_from(at).map_or(usize::MAX, |at| at);
                let bytes = place(bytes.start)..place(bytes.end);
                if self.copy(memory, &bytes) {
                    return;
                }
                Segment::Mapped {
                    memory: Rc::clone(memory),
                    bytes,
                }
            }
            Source::File(file) => Segment::File(FileSegment {
                file: Arc::clone(file),
                version,
                start: bytes.start,
                bytes,
            }),
        };
        self.buffers.segments.push_back(segment);
    }

    /// Puts bytes in that others may be sent as well: they are not copied.
    pub fn memory(&mut self, memory: &Rc<Memory>, bytes: Range<usize>) {
        if bytes.is_empty() {
            return;
        }
        self.count_in(bytes.len() as u64);
        let memory = Rc::clone(memory);
        self.buffers
            .segments
            .push_back(Segment::Mapped { memory, bytes });
    }

    /// Puts a copy of a copy behind the head that is the only thing to be sent so far, so that both are one
    /// piece. Where more is sent at once it is cheaper to let the kernel gather it.
    fn copy(&mut self, memory: &Memory, bytes: &Range<usize>) -> bool {
        let OutboxBuffers { rendered, segments } = &mut self.buffers;
        let (Memory::Copied(all), 1, Some(Segment::Rendered(range))) =
            (memory, segments.len(), segments.back_mut())
        else {
            return false;
        };
        let is_alone = range.end == rendered.len() && range.end <= HEAD_LENGTH_MAX;
        if !is_alone || range.start > 0 {
            return false;
        }
        rendered.extend_from_slice(&all[bytes.clone()]);
        range.end = rendered.len();
        true
    }

    /// What goes out next. Pieces are put into `pieces`, which must be empty, `limit` bytes of them at most; parts
    /// of files are not cut.
    pub fn next<'a>(&'a self, limit: u64, pieces: &mut Pieces<'a>) -> Next<'a> {
        let next = self.gather(pieces);
        match next {
            Next::Pieces(_) if self.queued > limit => cut(pieces, limit, next),
            next => next,
        }
    }

    fn gather<'a>(&'a self, pieces: &mut Pieces<'a>) -> Next<'a> {
        for segment in self.buffers.segments.iter().take(PIECE_COUNT_MAX) {
            pieces.push(match segment {
                Segment::Rendered(range) => Piece::of_memory(&self.buffers.rendered[range.clone()]),
                Segment::Mapped { memory, bytes } => memory.piece(bytes.clone()),
                Segment::File(file) if pieces.is_empty() => return Next::File(file),
                Segment::File(_) => return Next::Pieces(More::Follows),
            });
        }
        match pieces.is_empty() {
            true => Next::Nothing,
            false => Next::Pieces(More::Nothing),
        }
    }

    /// Where those pieces of mappings lie that go out next and may have left memory.
    pub fn mapped(&self) -> impl Iterator<Item = Addresses> {
        let segments = self.buffers.segments.iter().take(PIECE_COUNT_MAX);
        let sent_together = segments.take_while(|segment| !matches!(segment, Segment::File(_)));
        sent_together.filter_map(|segment| match segment {
            Segment::Mapped { memory, bytes } if !memory.is_kept() => {
                Some(memory.piece(bytes.clone()).addresses())
            }
            _ => None,
        })
    }

    /// Takes `count` bytes that were sent out of the queue.
    pub fn advance(&mut self, count: u64) {
        debug_assert!(count <= self.queued);
        self.queued -= count;
        self.total_out += count;
        let mut left = count;
        while let Some(segment) = self.buffers.segments.front_mut() {
            let length = segment.length();
            if left < length {
                segment.skip(left);
                return;
            }
            left -= length;
            self.buffers.segments.pop_front();
        }
        self.buffers.rendered.clear();
    }

    /// Drops what was not sent.
    pub fn clear(&mut self) {
        self.buffers.segments.clear();
        self.buffers.rendered.clear();
        self.queued = 0;
        self.total_in = self.total_out;
    }

    /// Bytes put in since the connection began.
    pub fn total_in(&self) -> u64 {
        self.total_in
    }

    /// Bytes sent since the connection began.
    pub fn total_out(&self) -> u64 {
        self.total_out
    }

    /// Copies of all bytes that are to be sent, none of which are those of files.
    #[cfg(test)]
    pub(super) fn copied(&self) -> Vec<u8> {
        let bytes = self.buffers.segments.iter().map(|segment| match segment {
            Segment::Rendered(range) => &self.buffers.rendered[range.clone()],
            Segment::Mapped { memory, bytes } => match &**memory {
                Memory::Copied(all) => &all[bytes.clone()],
                Memory::Mapped(mapping) => panic!("{mapping:?} is never read"),
            },
            Segment::File(file) => panic!("{file:?} is never read"),
        });
        bytes.flatten().copied().collect()
    }

    fn count_in(&mut self, count: u64) {
        self.queued += count;
        self.total_in += count;
    }
}

/// Leaves the first `limit` bytes of pieces, if there are more.
#[cold]
fn cut<'a>(pieces: &mut Pieces<'a>, limit: u64, whole: Next<'a>) -> Next<'a> {
    let mut left = usize::try_from(limit).unwrap_or(usize::MAX);
    for at in 0..pieces.len() {
        let length = pieces[at].length();
        if length > left {
            pieces.truncate(at + usize::from(left > 0));
            if left > 0 {
                pieces[at] = pieces[at].first(left);
            }
            return Next::Pieces(More::Follows);
        }
        left -= length;
    }
    whole
}

impl Segment {
    fn length(&self) -> u64 {
        match self {
            Segment::Rendered(bytes) | Segment::Mapped { bytes, .. } => bytes.len() as u64,
            Segment::File(file) => file.bytes.end - file.bytes.start,
        }
    }

    fn skip(&mut self, count: u64) {
        match self {
            Segment::Rendered(bytes) | Segment::Mapped { bytes, .. } => {
                bytes.start += usize::try_from(count).map_or(bytes.len(), |count| count);
            }
            Segment::File(file) => file.bytes.start += count,
        }
    }
}

/// Buffers that connections are lent, so that a request allocates nothing.
#[derive(Debug)]
pub struct Pool {
    inbox_length: usize,
    inboxes: Vec<Vec<u8>>,
    outboxes: Vec<OutboxBuffers>,
}

/// Spare buffers kept; more than this were only needed by a burst of half-received requests.
const SPARE_COUNT_MAX: usize = 64;
/// Longest rendered buffer that is kept: a long status page must not stay for ever.
const SPARE_RENDERED_LENGTH_MAX: usize = 64 * 1024;

impl Pool {
    /// A pool of inboxes of `inbox_length` bytes.
    pub fn new(inbox_length: usize) -> Pool {
        Pool {
            inbox_length,
            inboxes: Vec::new(),
            outboxes: Vec::new(),
        }
    }

    /// Bytes of the spare buffers.
    pub fn memory_bytes(&self) -> u64 {
        let inboxes = self.inboxes.iter();
        let inboxes: u64 = inboxes.map(|buffer| block_length(buffer.capacity())).sum();
        let outboxes: u64 = self.outboxes.iter().map(OutboxBuffers::memory_bytes).sum();
        inboxes + outboxes
    }

    /// Buffers that nobody has now.
    #[cfg(test)]
    pub(super) fn spare_count(&self) -> usize {
        self.inboxes.len() + self.outboxes.len()
    }

    /// Bytes of each buffer to receive into.
    pub(super) fn inbox_length(&self) -> usize {
        self.inbox_length
    }

    /// A buffer to receive into.
    pub fn inbox(&mut self) -> Vec<u8> {
        self.inboxes
            .pop()
            .unwrap_or_else(|| vec![0; self.inbox_length])
    }

    /// Buffers to answer from.
    pub fn outbox(&mut self) -> OutboxBuffers {
        self.outboxes.pop().unwrap_or_else(|| OutboxBuffers {
            rendered: Vec::with_capacity(RENDERED_CAPACITY),
            segments: VecDeque::with_capacity(PIECE_COUNT_MAX),
        })
    }

    /// Gives a buffer back.
    pub fn give_inbox(&mut self, buffer: Vec<u8>) {
        if buffer.len() >= self.inbox_length && self.inboxes.len() < SPARE_COUNT_MAX {
            self.inboxes.push(buffer);
        }
    }

    /// Gives buffers back.
    pub fn give_outbox(&mut self, buffers: OutboxBuffers) {
        let is_usual = buffers.rendered.capacity() <= SPARE_RENDERED_LENGTH_MAX;
        if is_usual && buffers.are_long() && self.outboxes.len() < SPARE_COUNT_MAX {
            self.outboxes.push(buffers);
        }
    }
}
