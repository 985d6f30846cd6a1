//! Which pages of a file are in the page cache, as far as one may know: `cachestat(2)`, Linux 6.5.
//!
//! The kernel tells those who own the file or may write it, since others could learn from it what
//! their neighbours read. A page that is being read counts as well; so this tells whether what was
//! read before is there still, and not whether it was read.

#![allow(unsafe_code)]

use std::ops::Range;
use std::os::fd::AsRawFd;

use super::file::OpenFile;

/// The number of the call, the same on all architectures (include/uapi/asm-generic/unistd.h).
const CACHESTAT: libc::c_long = 451;

/// `struct cachestat_range` of linux/mman.h.
#[repr(C)]
struct CachestatRange {
    offset: u64,
    length: u64,
}

/// `struct cachestat` of linux/mman.h: numbers of pages.
#[repr(C)]
#[derive(Default)]
struct Cachestat {
    cached: u64,
    dirty: u64,
    under_writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Whether all pages of these bytes of a file are in the page cache; `None` where one may not ask.
/// O(pages): a microsecond for half a megabyte. Never waits.
pub(crate) fn is_cached(file: &OpenFile, bytes: &Range<u64>) -> Option<bool> {
    if bytes.is_empty() {
        return Some(true);
    }
    let range = CachestatRange {
        offset: bytes.start,
        length: bytes.end - bytes.start,
    };
    let mut found = Cachestat::default();
    // SAFETY: both structures live for as long as the call and have the layout that the kernel
    // expects; it writes to the second and to nothing else.
    let result = unsafe {
        libc::syscall(
            CACHESTAT,
            file.descriptor().as_raw_fd(),
            &raw const range,
            &raw mut found,
            0,
        )
    };
    let page = rustix::param::page_size() as u64;
    let count = bytes.end.div_ceil(page) - bytes.start / page;
    (result == 0).then_some(found.cached >= count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::beneath::Root;
    use crate::sys::deferred_drops::DeferredDrops;

    #[test]
    fn what_was_just_written_is_cached_and_what_was_dropped_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a");
        std::fs::write(&path, vec![b'x'; 100_000]).expect("a file");
        let root = Root::open(directory.path(), DeferredDrops::default()).expect("a root");
        let file = root.open_file(c"a").expect("a file");
        let Some(cached) = is_cached(&file, &(5_000..100_000)) else {
            return;
        };
        assert!(cached);
        assert_eq!(is_cached(&file, &(7..7)), Some(true));
        // tmpfs has nowhere to drop pages to.
        let on_disk = std::fs::File::open(&path).expect("a file");
        on_disk.sync_all().expect("written");
        let advice = rustix::fs::Advice::DontNeed;
        rustix::fs::fadvise(&on_disk, 0, None, advice).expect("dropped");
        let rest = is_cached(&file, &(0..100_000));
        let is_tmpfs = rustix::fs::fstatfs(&on_disk).expect("facts").f_type == 0x0102_1994;
        assert_eq!(rest, Some(is_tmpfs));
    }
}
