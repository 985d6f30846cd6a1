//! Whether the pages of a mapping are there, told truly also to those who may only read the file.
//!
//! `mincore(2)` calls every page of a file that one may not write resident, and `cachestat(2)`
//! refuses. What is in this process' own page tables is no secret: `PAGEMAP_SCAN` on
//! `/proc/self/pagemap` (Linux 6.7) finds the first page that is not present in half a microsecond, and
//! before that a read of the file gives a word a page, whose highest bit says the same (Linux 2.6.25;
//! Documentation/admin-guide/mm/pagemap.rst), at 0.6 µs for one page and 3 µs for 256.
//! Both sleep while another thread changes the address space; then nothing is asked.
//! A page that the kernel has taken away is gone from the tables too; a page that is cached but was
//! never sent from this mapping also counts as absent, which errs on the safe side.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;

use super::mapping::{Addresses, PAGE_LENGTH, hold_address_space};

/// In an entry of `/proc/self/pagemap`: the page is present.
const ENTRY_IS_PRESENT: u64 = 1 << 63;
/// Bytes of an entry.
const ENTRY_LENGTH: usize = 8;
/// Entries that are read at once: two megabytes of pages, in 4 KiB of stack.
const ENTRY_COUNT_MAX: usize = 512;

/// `PAGE_IS_PRESENT` of linux/fs.h.
const PAGE_IS_PRESENT: u64 = 1 << 3;
/// `PAGEMAP_SCAN`: `_IOWR('f', 16, struct pm_scan_arg)`.
const PAGEMAP_SCAN: libc::Ioctl =
    (3 << 30 | (size_of::<ScanArguments>() as libc::Ioctl) << 16) | (b'f' as libc::Ioctl) << 8 | 16;

/// `struct pm_scan_arg` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct ScanArguments {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

/// `struct page_region` of linux/fs.h.
#[repr(C)]
#[derive(Default)]
struct PageRegion {
    start: u64,
    end: u64,
    categories: u64,
}

/// Whether pages are in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// All of them are.
    Present,
    /// Some are not, or the kernel does not say.
    Absent,
    /// It cannot be asked now without waiting.
    Unknown,
}

/// How the page tables are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// `PAGEMAP_SCAN`.
    Scan,
    /// `pread`.
    Read,
}

/// The page tables of this process.
#[derive(Debug)]
pub(crate) struct Pagemap {
    file: File,
    way: Way,
}

impl Pagemap {
    /// Opens them, before privileges are dropped, and sees how they can be asked.
    ///
    /// # Errors
    /// EACCES without the right to see them.
    pub(crate) fn open() -> io::Result<Pagemap> {
        let pagemap = Pagemap {
            file: File::open("/proc/self/pagemap")?,
            way: Way::Scan,
        };
        // Any page of our own will do.
        let start = (&raw const pagemap).addr() & !(PAGE_LENGTH - 1);
        let page = start..start + PAGE_LENGTH;
        if pagemap.scan(&page).is_ok() {
            return Ok(pagemap);
        }
        let pagemap = Pagemap {
            way: Way::Read,
            ..pagemap
        };
        pagemap.read(&page)?;
        Ok(pagemap)
    }

    /// Whether all pages of some addresses are present. Never waits.
    pub(crate) fn presence(&self, addresses: &Addresses) -> Presence {
        let start = addresses.start & !(PAGE_LENGTH - 1);
        let pages = start..addresses.end.next_multiple_of(PAGE_LENGTH);
        let Some(_held) = hold_address_space() else {
            return Presence::Unknown;
        };
        let all_present = match self.way {
            Way::Scan => self.scan(&pages),
            Way::Read => self.read(&pages),
        };
        match all_present {
            Ok(true) => Presence::Present,
            Ok(false) | Err(_) => Presence::Absent,
        }
    }

    /// Whether all pages are present, by `PAGEMAP_SCAN`.
    fn scan(&self, pages: &Addresses) -> io::Result<bool> {
        let mut region = PageRegion::default();
        let mut arguments = ScanArguments {
            size: size_of::<ScanArguments>() as u64,
            start: pages.start as u64,
            end: pages.end as u64,
            vec: (&raw mut region).expose_provenance() as u64,
            vec_len: 1,
            max_pages: 1,
            category_inverted: PAGE_IS_PRESENT,
            category_mask: PAGE_IS_PRESENT,
            return_mask: PAGE_IS_PRESENT,
            ..ScanArguments::default()
        };
        let descriptor = self.file.as_raw_fd();
        // SAFETY: the arguments and the one region that they point to live for the call, and the
        // kernel writes to them only. The range is looked at and never touched.
        let count = unsafe { libc::ioctl(descriptor, PAGEMAP_SCAN, &raw mut arguments) };
        match count {
            0 => Ok(true),
            1.. => Ok(false),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// The same by reading the entries.
    fn read(&self, pages: &Addresses) -> io::Result<bool> {
        let mut entries = [0; ENTRY_COUNT_MAX * ENTRY_LENGTH];
        for start in pages.clone().step_by(ENTRY_COUNT_MAX * PAGE_LENGTH) {
            let count = ((pages.end - start) / PAGE_LENGTH).min(ENTRY_COUNT_MAX);
            let wanted = &mut entries[..count * ENTRY_LENGTH];
            let offset = start / PAGE_LENGTH * ENTRY_LENGTH;
            self.file.read_exact_at(wanted, offset as u64)?;
            let (words, _) = wanted.as_chunks::<ENTRY_LENGTH>();
            let is_present = |word: &[u8; 8]| u64::from_ne_bytes(*word) & ENTRY_IS_PRESENT != 0;
            if !words.iter().all(is_present) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::io::Write;

    use crate::sys::beneath::Root;
    use crate::sys::mapping::{Mapping, populate};

    /// Pages come into the tables when the kernel is given them, and leave when they are discarded.
    #[test]
    fn pages_are_told_from_holes() {
        let Ok(first) = Pagemap::open() else {
            println!("skipped: /proc/self/pagemap cannot be asked here");
            return;
        };
        for way in [first.way, Way::Read] {
            let pagemap = Pagemap {
                way,
                ..Pagemap::open().expect("as before")
            };
            tells_pages_from_holes(&pagemap);
        }
    }

    fn tells_pages_from_holes(pagemap: &Pagemap) {
        // Other tests change the address space meanwhile.
        let is_resident = |addresses: &Addresses| loop {
            match pagemap.presence(addresses) {
                Presence::Present => return true,
                Presence::Absent => return false,
                Presence::Unknown => std::thread::yield_now(),
            }
        };
        let directory = tempfile::tempdir().expect("a directory");
        let mut file = File::create(directory.path().join("file")).expect("a file");
        file.write_all(&[7; 5 * 4_096 + 1]).expect("bytes");
        let root = Root::open(
            directory.path(),
            crate::sys::deferred_drops::DeferredDrops::default(),
        )
        .expect("a root");
        let name = CString::new("file").expect("a name");
        let open = root.open_file(&name).expect("it opens");
        let mapping = Mapping::of(&open, 5 * 4_096 + 1).expect("it maps");
        let mapped = mapping.addresses();
        assert!(!is_resident(&mapped), "nothing was touched yet");
        // The kernel touches all pages when it is to write them somewhere.
        let (mine, other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let piece = super::super::socket::Piece::of_mapping(&mapping, 0..mapping.length());
        let more = super::super::socket::More::Nothing;
        let sent = super::super::socket::send(std::os::fd::AsFd::as_fd(&mine), &[piece], more);
        assert_eq!(sent.expect("it is sent"), mapping.length());
        assert!(is_resident(&mapped));
        drop(other);
        file.set_len(4_096).expect("it is cut");
        assert!(!is_resident(&mapped), "pages are gone");
        let gone = populate(&mapped).expect_err("they cannot come back");
        assert_eq!(gone.raw_os_error(), Some(libc::EFAULT));
        let again = Mapping::of(&open, 4_096).expect("it maps");
        let part = again.addresses().start + 10..again.addresses().start + 20;
        assert!(!is_resident(&part));
        populate(&part).expect("the page is there");
        assert!(is_resident(&again.addresses()));
    }

    #[test]
    fn nothing_is_asked_while_the_address_space_changes() {
        let Ok(pagemap) = Pagemap::open() else {
            println!("skipped: /proc/self/pagemap cannot be asked here");
            return;
        };
        let start = (&raw const pagemap).addr();
        let changing = super::super::mapping::change_address_space();
        assert_eq!(pagemap.presence(&(start..start + 1)), Presence::Unknown);
        drop(changing);
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while pagemap.presence(&(start..start + 1)) != Presence::Present {
            assert!(
                std::time::Instant::now() < deadline,
                "it can be asked again"
            );
        }
    }
}
