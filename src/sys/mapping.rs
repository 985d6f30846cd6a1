//! Mappings of files that are only ever handed to the kernel.
//!
//! A mapping never becomes a `&[u8]`: another process may cut the file at any moment, and a page
//! that no longer exists kills whoever touches it with SIGBUS. A kernel call that is given such
//! a page answers EFAULT instead (`mmap(2)`, measured on Linux 6.18), which is an error value like
//! any other. So the bytes go to [`super::socket::send`] and nowhere else.

#![allow(unsafe_code)]

use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use memmap2::{MmapOptions, MmapRaw};

use super::deferred_drops::{DeferredDrops, Discarded, Unmapping};
use super::file::OpenFile;

/// The smallest page; on systems with larger ones a range may cover less than a page.
pub(super) const PAGE_LENGTH: usize = 4_096;

/// Bytes of this process' memory, mapped or not, by their addresses.
pub(crate) type Addresses = Range<usize>;

/// Held while a thread changes the address space: maps, unmaps, locks pages, starts a thread.
///
/// The kernel has a lock of its own for that (`mmap_lock`), and a thread that only asks for the page
/// tables sleeps on it for as long as another one changes something, or is preempted while it does. So
/// helpers take this lock first, and the loop asks only where it gets it without waiting. 117 of 220,000
/// requests with many mappings made and dropped slept before.
static CHANGING: Mutex<()> = Mutex::new(());

/// Right to change the address space; waits for others that have it. For threads that may wait.
pub(crate) fn change_address_space() -> MutexGuard<'static, ()> {
    CHANGING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same, where nobody has it now. While it is held, page tables can be asked without waiting.
pub(super) fn hold_address_space() -> Option<MutexGuard<'static, ()>> {
    match CHANGING.try_lock() {
        Ok(held) => Some(held),
        Err(TryLockError::Poisoned(held)) => Some(held.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Brings the pages of some addresses into memory and into the page tables
/// (`madvise(MADV_POPULATE_READ)`, Linux 5.14; before that by having the kernel read a byte of each). The bytes
/// are not touched by this process itself, and what is not mapped any more does no harm.
///
/// # Errors
/// Those of `madvise(2)` and `process_vm_readv(2)`: EFAULT where a file was cut, ENOMEM or EFAULT where nothing
/// is mapped.
///
/// # Blocking
/// Waits for the disk.
pub(crate) fn populate(addresses: &Addresses) -> io::Result<()> {
    let start = addresses.start & !(PAGE_LENGTH - 1);
    let length = addresses.end - start;
    let advice = libc::MADV_POPULATE_READ;
    // SAFETY: this advice changes no byte and no mapping, whatever is or is not at the addresses.
    let advised = unsafe { libc::madvise(std::ptr::without_provenance_mut(start), length, advice) };
    match advised {
        0 => return Ok(()),
        _ => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::EINVAL) => {}
            error => return Err(error),
        },
    }
    let pages: Vec<usize> = (start..addresses.end).step_by(PAGE_LENGTH).collect();
    pages.chunks(PAGE_COUNT_MAX).try_for_each(read_bytes)
}

/// Pages of which one call reads a byte each; the kernel takes up to 1,024 pieces.
const PAGE_COUNT_MAX: usize = 512;

/// Has the kernel copy the byte at each address, and forgets it: that brings its page in.
fn read_bytes(addresses: &[usize]) -> io::Result<()> {
    let mut bytes = [0_u8; PAGE_COUNT_MAX];
    let local = libc::iovec {
        iov_base: bytes.as_mut_ptr().cast(),
        iov_len: addresses.len(),
    };
    let byte_at = |address: &usize| libc::iovec {
        iov_base: std::ptr::without_provenance_mut(*address),
        iov_len: 1,
    };
    let remote: Vec<libc::iovec> = addresses.iter().map(byte_at).collect();
    let own = rustix::process::getpid().as_raw_nonzero().get();
    // SAFETY: the kernel writes to `bytes` only, at most its length; what it reads from may be gone, which it
    // answers with EFAULT. Nothing refers to those bytes.
    let count = unsafe {
        libc::process_vm_readv(
            own,
            &raw const local,
            1,
            remote.as_ptr(),
            remote.len() as u64,
            0,
        )
    };
    match usize::try_from(count) {
        Ok(count) if count == addresses.len() => Ok(()),
        // What could be read comes before what could not.
        Ok(_) => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// The first `length` bytes of a file, shared with the page cache.
///
/// The mapping keeps the inode alive: it outlives the descriptor it was made from, an `unlink` and
/// a `rename` over the name. It shows later writes to the same inode.
#[derive(Debug)]
pub struct Mapping {
    raw: ManuallyDrop<MmapRaw>,
    deferred_drops: DeferredDrops,
    locked: bool,
}

impl Mapping {
    /// Maps `length` bytes of `file` from its start. Touches no page, so it reads nothing from the
    /// disk; it can wait for `mmap_lock` while another thread populates a mapping.
    ///
    /// # Errors
    /// Those of `mmap(2)`: ENOMEM past `vm.max_map_count`, ENODEV where the file system cannot map;
    /// EINVAL for a length of zero.
    pub fn of(file: &OpenFile, length: usize) -> io::Result<Mapping> {
        let descriptor = file.descriptor().as_raw_fd();
        let changing = change_address_space();
        let raw = MmapOptions::new()
            .len(length)
            .map_raw_read_only(descriptor)?;
        drop(changing);
        Ok(Mapping {
            raw: ManuallyDrop::new(raw),
            deferred_drops: file.deferred_drops().clone(),
            locked: false,
        })
    }

    /// Keeps the pages in memory until the mapping is dropped, from when they are there: brings none in.
    ///
    /// # Errors
    /// Those of `mlock2(2)` (Linux 4.4): ENOMEM and EPERM where `RLIMIT_MEMLOCK` forbids it.
    pub fn lock(&mut self) -> io::Result<()> {
        let changing = change_address_space();
        // SAFETY: the range is exactly that of a live mapping of our own.
        let locked =
            unsafe { libc::mlock2(self.start().cast(), self.length(), libc::MLOCK_ONFAULT) };
        drop(changing);
        if locked != 0 {
            return Err(io::Error::last_os_error());
        }
        self.locked = true;
        Ok(())
    }

    /// Whether the pages cannot leave memory.
    pub fn is_locked(&self) -> bool {
        self.locked
    }

    /// Bytes mapped.
    pub fn length(&self) -> usize {
        self.raw.len()
    }

    /// Where it lies.
    pub fn addresses(&self) -> Addresses {
        let start = self.start().addr();
        start..start + self.length()
    }

    /// Where the mapping starts. For kernel calls only: see the head of this file.
    pub(super) fn start(&self) -> *const u8 {
        self.raw.as_ptr()
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the only place that takes the mapping out, and it runs once.
        let raw = unsafe { ManuallyDrop::take(&mut self.raw) };
        self.deferred_drops
            .put(Discarded::Mapping(Unmapping::of(raw)));
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::sys::beneath::Root;

    #[test]
    fn reading_a_byte_of_each_page_is_told_where_the_file_was_cut() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut file = std::fs::File::create(directory.path().join("file")).expect("a file");
        let length = (PAGE_COUNT_MAX + 3) * PAGE_LENGTH;
        file.write_all(&vec![7; length]).expect("bytes");
        let root = Root::open(directory.path(), DeferredDrops::default()).expect("a root");
        let name = std::ffi::CString::new("file").expect("a name");
        let open = root.open_file(&name);
        let mapping = Mapping::of(&open.expect("it opens"), length).expect("it maps");
        let pages: Vec<usize> = mapping.addresses().step_by(PAGE_LENGTH).collect();
        let read = || pages.chunks(PAGE_COUNT_MAX).try_for_each(read_bytes);
        read().expect("all of them are there");
        file.set_len(2 * 4_096).expect("it is cut");
        let gone = read().expect_err("most of them are gone");
        assert_eq!(gone.raw_os_error(), Some(libc::EFAULT));
    }
}
