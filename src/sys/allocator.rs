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
//! pieces of address space are set aside and never touched: at a refusal they are given back, one after the
//! other until the allocation succeeds, and the loop is told ([`failures`]), which lets its caches give way
//! and sets the reserve aside anew ([`set_reserve_aside`]). Threads that may wait do so for that first.

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

/// Pieces of address space set aside. Untouched, so they take no memory.
const RESERVE_COUNT: usize = 16;
/// Bytes of each: much more than the loop needs until it has seen that memory is short.
const RESERVE_LENGTH: usize = 1 << 20;

/// Places to count in. The first belongs to the first thread, which is that of the loop.
const SHARD_COUNT: usize = 16;
/// How long a thread that may wait does so between two tries, and how often: a second in all.
const RETRY_DELAY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};
const RETRY_COUNT_MAX: usize = 100;

/// Address space that mimalloc takes at a time, in KiB. Its own 1 GiB is more than a limit may leave.
const ARENA_LENGTH_KIB: std::ffi::c_long = 64 << 10;
/// Milliseconds until free memory goes back to the kernel in an allocation, on whichever thread makes it: never,
/// because the loop is such a thread. A helper does it ([`give_back`]).
const PURGE_DELAY_MS: std::ffi::c_long = 1 << 40;

/// `mi_option_purge_delay` and `mi_option_arena_reserve` of this version of mimalloc.
const OPTION_PURGE_DELAY: mi::mi_option_t = 15;
const OPTION_ARENA_RESERVE: mi::mi_option_t = 23;

/// What mimalloc is told before the first allocation.
const OPTIONS: [(mi::mi_option_t, std::ffi::c_long); 2] = [
    (OPTION_ARENA_RESERVE, ARENA_LENGTH_KIB),
    (OPTION_PURGE_DELAY, PURGE_DELAY_MS),
];

/// Whether memory may be resident in pages of 2 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugePages {
    /// Fewer misses of the processor's address translation.
    Allowed,
    /// Less resident memory: a heap of many size classes uses a fraction of each such page.
    Refused,
}

/// Whether huge pages are allowed now.
static HAS_HUGE_PAGES: AtomicBool = AtomicBool::new(true);

/// Bytes allocated less bytes freed, by the threads that count here. Alone in its line of the cache.
#[repr(align(128))]
struct Shard(AtomicIsize);

static SHARDS: [Shard; SHARD_COUNT] = [const { Shard(AtomicIsize::new(0)) }; SHARD_COUNT];
/// Threads that have allocated so far.
static THREADS: AtomicUsize = AtomicUsize::new(0);
static RESERVE: [AtomicPtr<c_void>; RESERVE_COUNT] =
    [const { AtomicPtr::new(ptr::null_mut()) }; RESERVE_COUNT];
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

/// Gives memory that is free back to the kernel: all that no thread keeps for itself, and what the calling thread
/// does. O(pages of the calling thread and pages that are free).
///
/// # Blocking
/// `madvise(2)` takes about 0.1 ms for each MiB that goes back.
pub fn give_back() {
    // SAFETY: may be called at any time from any thread.
    unsafe { mi::mi_collect(true) };
}

/// Allows huge pages or refuses them, for memory that is touched from now on. mimalloc asks for them, so this holds
/// whether the kernel gives them to all or to those who ask.
///
/// # Blocking
/// Waits for other changes of the address space, if the setting changes.
pub fn set_huge_pages(wanted: HugePages) {
    let is_allowed = wanted == HugePages::Allowed;
    if HAS_HUGE_PAGES.swap(is_allowed, Ordering::Relaxed) == is_allowed {
        return;
    }
    let is_refused = libc::c_ulong::from(!is_allowed);
    // Where the kernel knows no huge pages, the call fails and nothing is to be done.
    // SAFETY: a setting of the process; the unused arguments are 0, as prctl(2) demands.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, is_refused, 0, 0, 0) };
}

/// How often the system has refused memory since the start.
pub fn failures() -> u64 {
    FAILURES.load(Ordering::Relaxed)
}

/// Sets the reserve aside, as far as it is not there, and gives whether all of it is.
pub fn set_reserve_aside() -> bool {
    RESERVE.iter().all(|place| {
        if !place.load(Ordering::Acquire).is_null() {
            return true;
        }
        let Some(piece) = map_piece() else {
            return false;
        };
        unmap_piece(place.swap(piece, Ordering::AcqRel));
        true
    })
}

fn map_piece() -> Option<*mut c_void> {
    // Writable, or `RLIMIT_DATA` would not count it.
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new anonymous mapping, wherever the kernel puts it.
    let start = unsafe { libc::mmap(ptr::null_mut(), RESERVE_LENGTH, protection, flags, -1, 0) };
    (start != libc::MAP_FAILED).then_some(start)
}

/// Gives a piece of the reserve back to the system, if there is one, and gives whether there was.
fn release_piece() -> bool {
    RESERVE
        .iter()
        .any(|place| unmap_piece(place.swap(ptr::null_mut(), Ordering::AcqRel)))
}

fn unmap_piece(start: *mut c_void) -> bool {
    if start.is_null() {
        return false;
    }
    // SAFETY: it came out of its place in `RESERVE`, so it is a mapping of this length that nobody else has.
    unsafe { libc::munmap(start, RESERVE_LENGTH) };
    true
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
            begin_process();
            0
        }
        number => 1 + number % (SHARD_COUNT - 1),
    };
    OWN.set(own);
    own
}

fn begin_process() {
    for (option, value) in OPTIONS {
        // SAFETY: sets a number; the option is known to mimalloc.
        unsafe { mi::mi_option_set(option, value) };
    }
    // Until it is known how much memory there is.
    set_huge_pages(HugePages::Refused);
}

fn count(change: isize) {
    SHARDS[shard()].0.fetch_add(change, Ordering::Relaxed);
}

/// Bytes of a live block, or none.
fn usable(block: *const c_void) -> isize {
    // SAFETY: every caller has the block from mimalloc and has not freed it; null is allowed.
    (unsafe { mi::mi_usable_size(block) }).cast_signed()
}

/// Tries again after the system has refused memory: with what is free in this thread given back; on a thread
/// that may wait, while the caches give way; then with the reserve, piece by piece.
#[cold]
fn retry(attempt: impl Fn() -> *mut c_void) -> *mut c_void {
    FAILURES.fetch_add(1, Ordering::Relaxed);
    give_back();
    let mut block = attempt();
    let may_wait = shard() != 0;
    for _ in 0..RETRY_COUNT_MAX {
        if !block.is_null() || !may_wait {
            break;
        }
        // An end of the wait for any other reason is as good.
        let _ = rustix::event::poll(&mut [], Some(&RETRY_DELAY));
        block = attempt();
    }
    while block.is_null() && release_piece() {
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
        // SAFETY: reads a number.
        let version = unsafe { mi::mi_version() };
        assert_eq!(
            version, 30_302,
            "another version may number its options otherwise"
        );
        shard();
        for (option, value) in OPTIONS {
            // SAFETY: reads a number.
            let set = unsafe { mi::mi_option_get(option) };
            assert_eq!(set, value, "option {option}");
        }
    }

    #[test]
    fn huge_pages_are_refused_until_they_are_allowed() {
        // SAFETY: reads a setting of the process.
        let refused = || unsafe { libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) };
        shard();
        assert_eq!(refused(), 1);
        set_huge_pages(HugePages::Allowed);
        assert_eq!(refused(), 0);
        set_huge_pages(HugePages::Refused);
        assert_eq!(refused(), 1);
    }

    #[test]
    fn the_reserve_comes_back_after_it_was_released() {
        let count = || {
            let is_there = |place: &&AtomicPtr<c_void>| !place.load(Ordering::Relaxed).is_null();
            RESERVE.iter().filter(is_there).count()
        };
        assert!(set_reserve_aside());
        assert_eq!(count(), RESERVE_COUNT);
        assert!(release_piece() && release_piece());
        assert_eq!(count(), RESERVE_COUNT - 2);
        assert!(set_reserve_aside());
        assert_eq!(count(), RESERVE_COUNT);
        while release_piece() {}
        assert_eq!(count(), 0);
    }
}
