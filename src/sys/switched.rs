//! Whether the calling thread was switched out since it last asked, without a system call.
//!
//! A thread that is registered for restartable sequences (`rseq(2)`; glibc 2.35 registers every thread)
//! shares a structure with the kernel. Its field `rseq_cs` may point to the description of a critical
//! section. When the thread comes back from having been switched out, migrated or interrupted by a
//! signal, and is not within that section, the kernel sets the field to null. The section here holds no
//! code at all, so the field stays set for exactly as long as the thread keeps its processor.
//!
//! It does not tell a thread that slept from one that was preempted: [`super::usage::ThreadUsage`] does,
//! by a system call. The mark says when that call would be wasted.

#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// The field `rseq_cs` within `struct rseq` of linux/rseq.h.
const SECTION_OFFSET: isize = 8;
/// The first version of `struct rseq`, which has the field.
const AREA_LENGTH_MIN: u32 = 20;

/// The word that glibc has registered, which stands before each abort address (`RSEQ_SIG`).
#[cfg(target_arch = "x86_64")]
const SIGNATURE: u32 = 0x5305_3053;
#[cfg(target_arch = "aarch64")]
const SIGNATURE: u32 = 0xd428_bc00;

/// `struct rseq_cs` of linux/rseq.h, with what its addresses point to: nothing that is ever run.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[repr(C, align(32))]
struct Section {
    version: u32,
    flags: u32,
    start: u64,
    length: u64,
    abort: u64,
    /// What the kernel reads before the abort address, and the word at it.
    signature: [u32; 2],
    /// The section itself.
    code: [u8; 8],
}

/// A mark on the calling thread that the kernel takes away when the thread is switched out.
///
/// It stays on its thread: the pointer makes it neither `Send` nor `Sync`.
#[derive(Debug)]
pub(crate) struct SwitchMark {
    field: &'static AtomicU64,
    section: u64,
    thread: PhantomData<*const ()>,
}

impl SwitchMark {
    /// That of the calling thread, not yet set. `None` where the C library has not registered the
    /// thread (older than glibc 2.35, musl, a kernel without `rseq`).
    ///
    /// Leaks 64 bytes: the kernel may read them until the thread ends.
    pub(crate) fn of_this_thread() -> Option<SwitchMark> {
        let field = section_field()?;
        if field.load(Ordering::Relaxed) != 0 {
            // Somebody else uses sequences on this thread.
            return None;
        }
        Some(SwitchMark {
            field,
            section: section(),
            thread: PhantomData,
        })
    }

    /// Sets the mark.
    pub(crate) fn set(&self) {
        self.field.store(self.section, Ordering::Relaxed);
    }

    /// Whether the thread was switched out since the mark was set.
    pub(crate) fn is_gone(&self) -> bool {
        self.field.load(Ordering::Relaxed) != self.section
    }
}

impl Drop for SwitchMark {
    fn drop(&mut self) {
        self.field.store(0, Ordering::Relaxed);
    }
}

/// The address of a section without code.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn section() -> u64 {
    let section = Box::leak(Box::new(Section {
        version: 0,
        flags: 0,
        start: 0,
        length: 1,
        abort: 0,
        signature: [SIGNATURE, 0],
        code: [0; 8],
    }));
    section.start = (&raw const section.code).expose_provenance() as u64;
    section.abort = (&raw const section.signature[1]).expose_provenance() as u64;
    std::ptr::from_ref(section).expose_provenance() as u64
}

/// The field of the calling thread.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn section_field() -> Option<&'static AtomicU64> {
    let length = symbol::<u32>(c"__rseq_size")?;
    let offset = symbol::<isize>(c"__rseq_offset")?;
    // SAFETY: glibc defines this variable with this type and writes it before `main` only.
    let length = unsafe { length.read() };
    if length < AREA_LENGTH_MIN {
        return None;
    }
    // SAFETY: as above.
    let offset = unsafe { offset.read() };
    let field = thread_pointer()
        .checked_add_signed(offset)?
        .checked_add_signed(SECTION_OFFSET)?;
    let field = std::ptr::with_exposed_provenance::<AtomicU64>(field);
    // SAFETY: glibc keeps the structure at this offset from the thread pointer for as long as the
    // thread lives; the field is aligned to eight bytes, and kernel and thread access it as a whole
    // word. The mark that holds the reference never leaves the thread.
    Some(unsafe { &*field })
}

/// A variable of the C library, if it has it.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn symbol<T>(name: &std::ffi::CStr) -> Option<NonNull<T>> {
    // SAFETY: the name ends with a NUL.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    NonNull::new(address.cast())
}

#[cfg(target_arch = "x86_64")]
fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: the ABI keeps the thread pointer itself at the address that it points to.
    unsafe {
        std::arch::asm!("mov {}, fs:0", out(reg) pointer, options(nostack, readonly, preserves_flags));
    }
    pointer
}

#[cfg(target_arch = "aarch64")]
fn thread_pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register that user space may read.
    unsafe {
        std::arch::asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nostack, nomem, preserves_flags));
    }
    pointer
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn section() -> u64 {
    0
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn section_field() -> Option<&'static AtomicU64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::usage::ThreadUsage;

    #[test]
    fn the_mark_is_gone_after_a_sleep_and_stays_without_a_switch() {
        let Some(mark) = SwitchMark::of_this_thread() else {
            println!("skipped: this thread is not registered for restartable sequences");
            return;
        };
        let mut stayed = 0;
        for _ in 0..1_000 {
            let before = ThreadUsage::now();
            mark.set();
            let is_gone = mark.is_gone();
            let after = ThreadUsage::now();
            if before == after {
                assert!(!is_gone, "nothing has switched this thread out");
                stayed += 1;
            }
        }
        assert!(
            stayed > 0,
            "in a thousand tries the thread keeps its processor once"
        );
        for _ in 0..10 {
            mark.set();
            std::thread::park_timeout(std::time::Duration::from_millis(1));
            assert!(mark.is_gone());
        }
    }
}
