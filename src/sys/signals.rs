//! Dispositions of signals and the mask of blocked ones, `signal(7)`, `sigaction(2)`, `sigprocmask(2)`.

#![allow(unsafe_code)]

use std::io;
use std::ptr;

/// Bytes of the kernel's set of signals: 64 of them, on every architecture but MIPS.
const SET_LENGTH: usize = 8;

/// Has the kernel drop a signal instead of delivering it.
///
/// Made without the C library, which refuses to touch the two real-time signals that it keeps for its
/// threads. It sets those itself when it needs them.
///
/// # Errors
/// EINVAL for SIGKILL, SIGSTOP and what is no signal.
pub(crate) fn ignore(signal: libc::c_int) -> io::Result<()> {
    // `struct sigaction` of the kernel: the handler stands first, and no flag, no restorer and an empty
    // mask are zeros in whatever order the others stand.
    let action = [libc::SIG_IGN, 0, 0, 0];
    let no_former = ptr::null_mut::<usize>();
    // SAFETY: the kernel reads no more of the action than is there (32 bytes on x86-64 and AArch64, 24 on
    // RISC-V) and writes nothing. A signal that is ignored runs no code of this process.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            action.as_ptr(),
            no_former,
            SET_LENGTH,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets all signals come to this thread and to those that it makes, whatever the parent of the process has
/// blocked.
pub(crate) fn unblock_all() {
    let none = 0_u64;
    let no_former = ptr::null_mut::<u64>();
    // SAFETY: the set lives for the call, is as long as the kernel is told, and nothing is written.
    unsafe {
        // It fails for a wrong pointer, length or verb only.
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            no_former,
            SET_LENGTH,
        )
    };
}
