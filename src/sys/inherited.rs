//! Sockets that a service manager has opened for this process, `sd_listen_fds(3)`.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::FdFlags;
use rustix::net::SocketType;
use rustix::net::sockopt;

/// The first of them; 0, 1 and 2 are the standard streams.
const FIRST: RawFd = 3;

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes over the first `count` descriptors after the standard streams, which have to be listening stream sockets.
/// Has to be called before anything else is opened. Only the first call gets them.
///
/// # Errors
/// EBADF for one that is not open, `InvalidInput` for one that is something else.
pub(crate) fn take(count: usize) -> io::Result<Vec<OwnedFd>> {
    if count == 0 || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let last = RawFd::try_from(count).unwrap_or(RawFd::MAX - FIRST);
    (FIRST..FIRST + last).map(take_one).collect()
}

fn take_one(raw: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: it is borrowed for these calls only, and a number that is not open makes them fail with EBADF.
    let descriptor = unsafe { BorrowedFd::borrow_raw(raw) };
    rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC)?;
    let is_listener = sockopt::socket_type(descriptor)? == SocketType::STREAM
        && sockopt::socket_acceptconn(descriptor)?;
    if !is_listener {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a listening stream socket",
        ));
    }
    // SAFETY: it is open, as the calls above have shown, and whoever started this process gave it to it: nothing
    // else here has opened or owns it, and `TAKEN` lets it be taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}
