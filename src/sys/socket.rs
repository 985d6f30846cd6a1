//! Receiving into a buffer, and sending gathered pieces of memory and mappings in one call.

#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use arrayvec::ArrayVec;
use rustix::net::RecvFlags;

use super::mapping::{Addresses, Mapping};

/// Most pieces that one call takes; the kernel's own limit (`IOV_MAX`) is 1,024.
pub const PIECE_COUNT_MAX: usize = 64;

/// The pieces of one call. Unused capacity is not initialised, so it costs nothing.
pub type Pieces<'a> = ArrayVec<Piece<'a>, PIECE_COUNT_MAX>;

/// One run of bytes for [`send`]: borrowed memory, or part of a mapping.
///
/// A `struct iovec` that cannot outlive what it points to.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct Piece<'a> {
    raw: libc::iovec,
    source: PhantomData<&'a [u8]>,
}

impl<'a> Piece<'a> {
    /// Bytes of this process.
    pub fn of_memory(bytes: &'a [u8]) -> Piece<'a> {
        let raw = libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        Piece {
            raw,
            source: PhantomData,
        }
    }

    /// Where the bytes lie.
    pub fn addresses(&self) -> Addresses {
        let start = self.raw.iov_base.addr();
        start..start + self.raw.iov_len
    }

    /// Bytes of a mapping, zero-based.
    ///
    /// # Panics
    /// If the range does not lie within the mapping.
    pub fn of_mapping(mapping: &'a Mapping, range: Range<usize>) -> Piece<'a> {
        assert!(range.start <= range.end && range.end <= mapping.length());
        let start = mapping.start().wrapping_add(range.start);
        let raw = libc::iovec {
            iov_base: start.cast_mut().cast(),
            iov_len: range.len(),
        };
        Piece {
            raw,
            source: PhantomData,
        }
    }

    /// The first bytes of it, at most `count`.
    pub fn first(&self, count: usize) -> Piece<'a> {
        let mut raw = self.raw;
        raw.iov_len = raw.iov_len.min(count);
        Piece {
            raw,
            source: PhantomData,
        }
    }

    /// Bytes in this piece.
    pub fn length(&self) -> usize {
        self.raw.iov_len
    }
}

/// Whether more follows at once, so that the kernel need not send a short packet now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// The bytes are the end of what is to be said for now.
    Nothing,
    /// A `sendfile` or another part of a long piece follows (`MSG_MORE`).
    Follows,
}

/// Receives available bytes, up to the length of `buffer`. 0 is the end of the stream.
///
/// # Errors
/// Those of `recv(2)`: `WouldBlock` when there is nothing.
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    let (count, _) = rustix::net::recv(socket, buffer, RecvFlags::empty())?;
    Ok(count)
}

/// Sends the pieces in order as far as the socket takes them; gives the number of bytes taken.
///
/// `writev` where nothing has to be said beside the bytes: it takes 3 % less processor time a request
/// than `sendmsg`, whose message the kernel has to fetch first. `sendto` where there is one piece: a profile has
/// 1 % of a request in that call outside TCP, and 4 % with `writev`. All are made without the C library, which would prepare for the cancellation of threads
/// around each.
///
/// # Errors
/// Those of `sendmsg(2)`, `sendto(2)` and `writev(2)`: `WouldBlock` when the socket takes nothing; `BrokenPipe` when
/// the peer is gone (SIGPIPE is ignored in programs of Rust's standard library); EFAULT when a mapped
/// page no longer exists because the file was cut, and then nothing was sent.
pub fn send(socket: BorrowedFd<'_>, pieces: &[Piece<'_>], more: More) -> io::Result<usize> {
    let socket = socket.as_raw_fd();
    let iovecs: *const libc::iovec = pieces.as_ptr().cast();
    let flags = libc::MSG_NOSIGNAL;
    let count = match more {
        More::Nothing if pieces.len() == 1 => {
            let libc::iovec { iov_base, iov_len } = pieces[0].raw;
            let (no_address, no_length) = (std::ptr::null::<libc::sockaddr>(), 0);
            // SAFETY: the bytes are as below, and no address is given.
            unsafe {
                libc::syscall(
                    libc::SYS_sendto,
                    socket,
                    iov_base,
                    iov_len,
                    flags,
                    no_address,
                    no_length,
                )
            }
        }
        // SAFETY: the array of iovecs lives for the call, and `Piece` is a transparent iovec that the
        // kernel only reads. What a piece points to is either memory borrowed for the lifetime in its
        // type or part of a live mapping, checked in `of_mapping`; a mapped page that is gone makes
        // the kernel answer EFAULT.
        More::Nothing => unsafe { libc::syscall(libc::SYS_writev, socket, iovecs, pieces.len()) },
        More::Follows => {
            let message = libc::msghdr {
                msg_name: std::ptr::null_mut(),
                msg_namelen: 0,
                msg_iov: iovecs.cast_mut(),
                msg_iovlen: pieces.len(),
                msg_control: std::ptr::null_mut(),
                msg_controllen: 0,
                msg_flags: 0,
            };
            let flags = flags | libc::MSG_MORE;
            // SAFETY: as above, and `message` lives for the call.
            unsafe { libc::syscall(libc::SYS_sendmsg, socket, &raw const message, flags) }
        }
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Copies the pieces to the start of a file, in order, as [`send`] copies them to a socket; gives how many bytes.
///
/// # Errors
/// Those of `pwritev(2)`: EFAULT when the first mapped page no longer exists because the file was cut.
#[cfg(test)]
pub(crate) fn write_to_start(file: BorrowedFd<'_>, pieces: &[Piece<'_>]) -> io::Result<usize> {
    let count = libc::c_int::try_from(pieces.len()).map_err(io::Error::other)?;
    // SAFETY: the pieces are as in `send`, and the kernel only reads them.
    let count = unsafe { libc::pwritev(file.as_raw_fd(), pieces.as_ptr().cast(), count, 0) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// Bytes that the peer has not acknowledged, sent or not (`SIOCOUTQ`, tcp(7); of a Unix socket those that it has
/// not read).
///
/// # Errors
/// Those of `ioctl(2)`.
pub fn unacknowledged(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut count: libc::c_int = 0;
    // SAFETY: the call writes one int, which lives for the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    match result {
        0 => Ok(u64::try_from(count).unwrap_or_default()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether bytes were received that nobody has taken. An error counts as none: the next call has it.
pub fn has_unread(socket: BorrowedFd<'_>) -> bool {
    rustix::io::ioctl_fionread(socket).is_ok_and(|count| count > 0)
}

/// Has a listener give connections out when their first bytes are there, or after about this many
/// seconds without any (`TCP_DEFER_ACCEPT`, tcp(7)).
///
/// # Errors
/// Those of `setsockopt(2)`.
pub fn defer_accept(listener: BorrowedFd<'_>, seconds: libc::c_int) -> io::Result<()> {
    set_tcp_option(listener, libc::TCP_DEFER_ACCEPT, seconds)
}

/// Has the sockets that a listener will give take no more bytes than about these that cannot go out at once
/// (`TCP_NOTSENT_LOWAT`, tcp(7)). What is on its way to the peer is not limited by it.
///
/// # Errors
/// Those of `setsockopt(2)`.
pub fn limit_unsent(listener: BorrowedFd<'_>, bytes: libc::c_int) -> io::Result<()> {
    set_tcp_option(listener, libc::TCP_NOTSENT_LOWAT, bytes)
}

fn set_tcp_option(
    socket: BorrowedFd<'_>,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    // SAFETY: both options take an int, which lives for the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            length,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
