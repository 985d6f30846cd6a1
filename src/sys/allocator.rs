//! The allocator of the program: mimalloc, with a count of what is allocated and a reserve for the moment
//! when the system gives no more.
//!
//! The loop and helper threads free what the other has allocated. The allocator of the C library takes a
//! lock for that, and the loop would sleep for it now and then; mimalloc takes none.
//!
//! What is counted are whole blocks, the rounding to size classes included. Each thread counts in a place
//! of its own, or shares it with few others, so that counting costs one uncontended addition.
//!
//! When the system refuses memory (`RLIMIT_AS`, `RLIMIT_DATA`, strict overcommit), Rust ends the process. So
//! a piece of address space is set aside: on the first refusal it is given back, the allocation is tried
//! again, and the loop is told ([`has_failed`]), which lets its caches give way and sets the reserve aside
//! anew ([`set_reserve_aside`]).

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicPtr, AtomicU64, AtomicUsize, Ordering};

use libmimalloc_sys as mi;
use rustix::event::Timespec;

/// The allocator; for `#[global_allocator]`.
#[derive(Debug)]
pub struct Counting;

/// Address space set aside. Untouched, so it takes no memory; as much as the loop may need until it has seen
/// that memory is short.
pub const RESERVE_LENGTH: usize = 8 << 20;

/// Places to count in. The first belongs to the first thread, which is that of the loop.
const SHARD_COUNT: usize = 16;
/// How long a thread that may wait does so between two tries, and how often: five seconds in all.
const RETRY_DELAY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};
const RETRY_COUNT_MAX: usize = 500;

/// Address space that mimalloc takes at a time, in KiB. Its own 1 GiB is more than a limit may leave.
const ARENA_LENGTH_KIB: std::ffi::c_long = 64 << 10;
/// `mi_option_arena_reserve` of mimalloc 3.
const OPTION_ARENA_RESERVE: mi::mi_option_t = 23;

/// Bytes allocated less bytes freed, by the threads that count here. Alone in its line of the cache.
#[repr(align(128))]
struct Shard(AtomicIsize);

static SHARDS: [Shard; SHARD_COUNT] = [const { Shard(AtomicIsize::new(0)) }; SHARD_COUNT];
/// Threads that have allocated so far.
static THREADS: AtomicUsize = AtomicUsize::new(0);
static RESERVE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
static FAILED: AtomicBool = AtomicBool::new(false);
static FAILURES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Where this thread counts; `usize::MAX` before it has allocated.
    static OWN: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Bytes that are allocated now. Zero where [`Counting`] is not the allocator of the program.
pub fn allocated() -> u64 {
    let sum: isize = SHARDS
        .iter()
        .map(|shard| shard.0.load(Ordering::Relaxed))
        .sum();
    u64::try_from(sum).unwrap_or(0)
}

/// Bytes that a block of `length` bytes takes. O(1), asks nobody.
pub fn block_length(length: usize) -> u64 {
    if length == 0 {
        return 0;
    }
    // SAFETY: pure arithmetic on the length.
    (unsafe { mi::mi_good_size(length) }) as u64
}

/// Gives free memory of the calling thread back to the kernel. O(its pages).
pub fn give_back() {
    // SAFETY: may be called at any time from any thread.
    unsafe { mi::mi_collect(true) };
}

/// Whether the system has refused memory since the reserve was last set aside.
pub fn has_failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}

/// How often the system has refused memory since the start.
pub fn failures() -> u64 {
    FAILURES.load(Ordering::Relaxed)
}

/// Sets the reserve aside, if it is not there, and gives whether it is now.
pub fn set_reserve_aside() -> bool {
    if RESERVE.load(Ordering::Acquire).is_null() {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new anonymous mapping, wherever the kernel puts it.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), RESERVE_LENGTH, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return false;
        }
        let other = RESERVE.swap(start, Ordering::AcqRel);
        unmap_reserve(other);
    }
    FAILED.store(false, Ordering::Relaxed);
    true
}

/// Gives the reserve back to the system, if it is there.
fn release_reserve() {
    unmap_reserve(RESERVE.swap(ptr::null_mut(), Ordering::AcqRel));
}

fn unmap_reserve(start: *mut c_void) {
    if !start.is_null() {
        // SAFETY: it came out of `RESERVE`, so it is a mapping of this length that nobody else has or uses.
        unsafe { libc::munmap(start, RESERVE_LENGTH) };
    }
}

/// Where the calling thread counts.
fn shard() -> usize {
    match OWN.get() {
        usize::MAX => begin_thread(),
        own => own,
    }
}

#[cold]
fn begin_thread() -> usize {
    let own = match THREADS.fetch_add(1, Ordering::Relaxed) {
        0 => {
            // SAFETY: sets a number; the option is known to mimalloc.
            unsafe { mi::mi_option_set(OPTION_ARENA_RESERVE, ARENA_LENGTH_KIB) };
            0
        }
        number => 1 + number % (SHARD_COUNT - 1),
    };
    OWN.set(own);
    own
}

fn count(change: isize) {
    SHARDS[shard()].0.fetch_add(change, Ordering::Relaxed);
}

/// Bytes of a live block, or none.
fn usable(block: *const c_void) -> isize {
    // SAFETY: every caller has the block from mimalloc and has not freed it; null is allowed.
    (unsafe { mi::mi_usable_size(block) }).cast_signed()
}

/// Tries again after the system has refused memory: with the reserve given back, then with what is free in
/// this thread given back, then, on a thread that may wait, while the caches give way.
#[cold]
fn retry(attempt: impl Fn() -> *mut c_void) -> *mut c_void {
    FAILURES.fetch_add(1, Ordering::Relaxed);
    FAILED.store(true, Ordering::Relaxed);
    release_reserve();
    let mut block = attempt();
    if block.is_null() {
        give_back();
        block = attempt();
    }
    let may_wait = shard() != 0;
    for _ in 0..RETRY_COUNT_MAX {
        if !block.is_null() || !may_wait {
            break;
        }
        // An end of the wait for any other reason is as good.
        let _ = rustix::event::poll(&mut [], Some(&RETRY_DELAY));
        block = attempt();
    }
    block
}

/// A new block, or null where there is none to be had.
fn allocate(attempt: impl Fn() -> *mut c_void) -> *mut u8 {
    // Before the first call, so that the options are set.
    let shard = shard();
    let mut block = attempt();
    if block.is_null() {
        block = retry(attempt);
    }
    SHARDS[shard].0.fetch_add(usable(block), Ordering::Relaxed);
    block.cast()
}

// SAFETY: blocks are mimalloc's and handed on as they are; counting changes none of them and neither
// allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (length, align) = (layout.size(), layout.align());
        // SAFETY: the alignment of a layout is a power of two.
        allocate(|| unsafe { mi::mi_malloc_aligned(length, align) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let (length, align) = (layout.size(), layout.align());
        // SAFETY: the alignment of a layout is a power of two.
        allocate(|| unsafe { mi::mi_zalloc_aligned(length, align) })
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        count(-usable(block.cast()));
        // SAFETY: the caller has it from this allocator and gives it up.
        unsafe { mi::mi_free(block.cast()) };
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, length: usize) -> *mut u8 {
        let before = usable(block.cast());
        // SAFETY: the caller has it from this allocator, with this alignment, and gives it up unless null
        // comes back, in which case it is as it was.
        let attempt = || unsafe { mi::mi_realloc_aligned(block.cast(), length, layout.align()) };
        let mut moved = attempt();
        if moved.is_null() {
            moved = retry(attempt);
        }
        if !moved.is_null() {
            count(usable(moved) - before);
        }
        moved.cast()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What this thread has counted. Other tests count elsewhere, or in pairs here.
    #[test]
    fn whole_blocks_are_counted_until_they_are_freed() {
        let layout = |length| Layout::from_size_align(length, 8).expect("a layout");
        let before = allocated();
        // SAFETY: the length is not zero.
        let block = unsafe { Counting.alloc(layout(1_000)) };
        assert_eq!(allocated() - before, block_length(1_000));
        // SAFETY: the block and its layout are those from above.
        let longer = unsafe { Counting.realloc(block, layout(1_000), 5_000_000) };
        let counted = allocated() - before;
        assert!((5_000_000..5_600_000).contains(&counted), "{counted}");
        // SAFETY: the block and its layout are those from above.
        unsafe { Counting.dealloc(longer, layout(5_000_000)) };
        assert_eq!(allocated(), before);
    }

    #[test]
    fn the_options_are_those_that_are_meant() {
        shard();
        // SAFETY: reads a number.
        let kib = unsafe { mi::mi_option_get(OPTION_ARENA_RESERVE) };
        assert!(
            kib == ARENA_LENGTH_KIB || kib == 1 << 20,
            "1 GiB is the default of this option: {kib} KiB"
        );
    }

    #[test]
    fn the_reserve_comes_back_after_it_was_released() {
        assert!(set_reserve_aside());
        FAILED.store(true, Ordering::Relaxed);
        release_reserve();
        assert!(has_failed());
        assert!(set_reserve_aside() && !has_failed());
    }
}
