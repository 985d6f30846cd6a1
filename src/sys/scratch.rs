//! Memory for bytes that nobody wants.
//!
//! A file is made resident by reading it, and the bytes are not needed. So all reads of that kind,
//! on all threads and rings, go to one small piece of memory again and again: it stays in the
//! processor's cache, and no buffer has to be kept until a read is done.

#![allow(unsafe_code)]

use std::cell::UnsafeCell;

/// Bytes of the void: a part of the processor's first cache.
const SCRATCH_LENGTH: usize = 16 * 1024;
/// Most bytes that one read takes.
pub(crate) const READ_LENGTH_MAX: usize = SCRATCH_LENGTH * PIECE_COUNT;
/// Pieces of one read, all of them the same memory.
const PIECE_COUNT: usize = 64;

/// Memory that only the kernel ever writes to and nobody reads.
#[repr(align(4096))]
struct Scratch(UnsafeCell<[u8; SCRATCH_LENGTH]>);

// SAFETY: no reference to the bytes is ever made and nothing in this process reads or writes them;
// only the kernel writes, and what it writes has no meaning.
unsafe impl Sync for Scratch {}

static SCRATCH: Scratch = Scratch(UnsafeCell::new([0; SCRATCH_LENGTH]));

/// The pieces, as the kernel takes them.
struct Pieces([libc::iovec; PIECE_COUNT]);

// SAFETY: the pointers lead to a static that is never referred to, and the array is never changed.
unsafe impl Sync for Pieces {}

static PIECES: Pieces = Pieces(
    [libc::iovec {
        iov_base: SCRATCH.0.get().cast(),
        iov_len: SCRATCH_LENGTH,
    }; PIECE_COUNT],
);

/// Where a read of about `length` bytes goes: rounded up to whole pieces, at most
/// [`READ_LENGTH_MAX`].
pub(super) fn pieces(length: u64) -> &'static [libc::iovec] {
    let count = length.div_ceil(SCRATCH_LENGTH as u64);
    let count = usize::try_from(count).map_or(PIECE_COUNT, |count| count.clamp(1, PIECE_COUNT));
    &PIECES.0[..count]
}
