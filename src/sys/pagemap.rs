//! Whether the pages of a mapping are there, told truly also to those who may only read the file.
//!
//! `mincore(2)` calls every page of a file that one may not write resident, and `cachestat(2)`
//! refuses. What is in this process' own page tables is no secret: `PAGEMAP_SCAN` on
//! `/proc/self/pagemap` (Linux 6.7) finds the first page that is not present in half a microsecond.
//! A page that the kernel has taken away is gone from the tables too; a page that is cached but was
//! never sent from this mapping also counts as absent, which errs on the safe side.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::mapping::{Addresses, PAGE_LENGTH};

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

/// The page tables of this process.
#[derive(Debug)]
pub struct Pagemap {
    file: File,
}

impl Pagemap {
    /// Opens them, before privileges are dropped, and sees whether they can be asked.
    ///
    /// # Errors
    /// EACCES without the right to see them, ENOTTY before Linux 6.7.
    pub fn open() -> io::Result<Pagemap> {
        let pagemap = Pagemap {
            file: File::open("/proc/self/pagemap")?,
        };
        // Any page of our own will do.
        let start = (&raw const pagemap).addr() as u64 & !4_095;
        pagemap.first_absent(start, start + 4_096)?;
        Ok(pagemap)
    }

    /// Whether all pages of some addresses are present. What cannot be told is not.
    pub fn is_resident(&self, addresses: &Addresses) -> bool {
        let start = addresses.start & !(PAGE_LENGTH - 1);
        let end = addresses.end.next_multiple_of(PAGE_LENGTH);
        matches!(self.first_absent(start as u64, end as u64), Ok(None))
    }

    /// The address of the first page from `start` to `end` that is not present.
    fn first_absent(&self, start: u64, end: u64) -> io::Result<Option<u64>> {
        let mut region = PageRegion::default();
        let mut arguments = ScanArguments {
            size: size_of::<ScanArguments>() as u64,
            start,
            end,
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
            0 => Ok(None),
            1.. => Ok(Some(region.start)),
            _ => Err(io::Error::last_os_error()),
        }
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
        let Ok(pagemap) = Pagemap::open() else {
            println!("skipped: /proc/self/pagemap cannot be scanned here");
            return;
        };
        let directory = tempfile::tempdir().expect("a directory");
        let mut file = File::create(directory.path().join("file")).expect("a file");
        file.write_all(&[7; 5 * 4_096 + 1]).expect("bytes");
        let root = Root::open(directory.path(), crate::sys::bin::Bin::default()).expect("a root");
        let name = CString::new("file").expect("a name");
        let open = root
            .open_file(&name, super::super::beneath::Links::Followed)
            .expect("it opens");
        let mapping = Mapping::of(&open, 5 * 4_096 + 1).expect("it maps");
        let mapped = mapping.addresses();
        assert!(!pagemap.is_resident(&mapped), "nothing was touched yet");
        // The kernel touches all pages when it is to write them somewhere.
        let (mine, other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let piece = super::super::socket::Piece::of_mapping(&mapping, 0..mapping.length());
        let more = super::super::socket::More::Nothing;
        let sent = super::super::socket::send(std::os::fd::AsFd::as_fd(&mine), &[piece], more);
        assert_eq!(sent.expect("it is sent"), mapping.length());
        assert!(pagemap.is_resident(&mapped));
        drop(other);
        file.set_len(4_096).expect("it is cut");
        assert!(!pagemap.is_resident(&mapped), "pages are gone");
        let gone = populate(&mapped).expect_err("they cannot come back");
        assert_eq!(gone.raw_os_error(), Some(libc::EFAULT));
        let again = Mapping::of(&open, 4_096).expect("it maps");
        let part = again.addresses().start + 10..again.addresses().start + 20;
        assert!(!pagemap.is_resident(&part));
        populate(&part).expect("the page is there");
        assert!(pagemap.is_resident(&again.addresses()));
    }
}
