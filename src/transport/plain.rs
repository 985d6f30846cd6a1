//! Bytes as they are, over a socket: what is sent goes from memory, mappings and files to the kernel without a
//! copy.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::slice;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::net::Shutdown;

use super::{Flow, Noted, Received};
use crate::sys::file::OpenFile;
use crate::sys::sock_diag::{SocketOwners, UserId, unix_peer};
use crate::sys::socket::{self, More, Piece};

/// Bytes that one `sendfile` call is asked for: no more than a share of an iteration where nothing is known of what is
/// resident.
const SENDFILE_LENGTH_MAX: u64 = 1 << 20;

/// How far the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PeerEnd {
    Open,
    /// It has finished sending; bytes may still be there before the end.
    Finished,
    /// Both directions are over.
    Gone,
}

/// A socket, and what is known of it.
#[derive(Debug)]
pub(crate) struct Plain {
    socket: OwnedFd,
    input: Flow,
    output: Flow,
    peer: PeerEnd,
}

impl Plain {
    pub(super) fn new(socket: OwnedFd) -> Plain {
        Plain {
            socket,
            input: Flow::Ready,
            output: Flow::Ready,
            peer: PeerEnd::Open,
        }
    }

    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        let descriptor: RawFd = self.socket.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut SourceFd(&descriptor), token, interest)
    }

    pub(super) fn note(&mut self, noted: Noted) {
        if noted.readable {
            self.input = Flow::Ready;
        }
        if noted.writable {
            self.output = Flow::Ready;
        }
        let peer = match (noted.hung_up, noted.ended) {
            (true, _) => PeerEnd::Gone,
            (false, true) => PeerEnd::Finished,
            (false, false) => PeerEnd::Open,
        };
        self.peer = self.peer.max(peer);
    }

    pub(super) fn input(&self) -> Flow {
        self.input
    }

    pub(super) fn output(&self) -> Flow {
        self.output
    }

    pub(super) fn is_hung_up(&self) -> bool {
        self.peer == PeerEnd::Gone
    }

    /// A call that fills less than the buffer has emptied the socket, so nobody asks again only to hear
    /// `WouldBlock`; the next bytes raise an event. The end raises none if its event has come already.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        match socket::receive(self.socket.as_fd(), buffer) {
            Ok(0) => Ok(Received::End),
            Ok(count) => {
                if count < buffer.len() && self.peer == PeerEnd::Open {
                    self.input = Flow::Blocked;
                }
                Ok(Received::Bytes(count))
            }
            Err(error) => {
                note_blocked(&mut self.input, &error);
                Err(error)
            }
        }
    }

    pub(super) fn send(&mut self, pieces: &[Piece<'_>], more: More) -> io::Result<usize> {
        let socket = self.socket.as_fd();
        let sent = match socket::send(socket, pieces, more) {
            Err(error) if is_fault(&error) => send_singly(socket, pieces),
            sent => sent,
        };
        sent.inspect_err(|error| note_blocked(&mut self.output, error))
    }

    pub(super) fn send_file(&mut self, file: &OpenFile, bytes: Range<u64>) -> io::Result<usize> {
        let count = (bytes.end - bytes.start).min(SENDFILE_LENGTH_MAX);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        match file.send_to(self.socket.as_fd(), bytes.start, count) {
            // The file ends before the length that was announced: it was cut.
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            sent => sent.inspect_err(|error| note_blocked(&mut self.output, error)),
        }
    }

    pub(super) fn finish(&mut self) {
        // ENOTCONN when the peer is gone: the next read says so.
        let _ = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    pub(super) fn unacknowledged(&self) -> io::Result<u64> {
        socket::unacknowledged(self.socket.as_fd())
    }

    pub(super) fn has_unread(&self) -> bool {
        socket::has_unread(self.socket.as_fd())
    }

    pub(super) fn peer_user(&self, owners: Option<&mut SocketOwners>) -> Option<UserId> {
        let socket = self.socket.as_fd();
        match owners {
            None => unix_peer(socket).ok(),
            Some(owners) => owners.peer(socket).ok().flatten(),
        }
    }

    /// A direction moves no more until an event comes.
    #[cfg(test)]
    pub(super) fn block(&mut self, direction: super::scripted::Direction) {
        match direction {
            super::scripted::Direction::Input => self.input = Flow::Blocked,
            super::scripted::Direction::Output => self.output = Flow::Blocked,
        }
    }
}

fn note_blocked(flow: &mut Flow, error: &io::Error) {
    if error.kind() == io::ErrorKind::WouldBlock {
        *flow = Flow::Blocked;
    }
}

/// A page of a mapping is gone. The kernel then sends nothing of a gathered call, not even the
/// answers before it; piece by piece they go out, and the error comes where it belongs.
fn send_singly(socket: BorrowedFd<'_>, pieces: &[Piece<'_>]) -> io::Result<usize> {
    let mut total = 0;
    for piece in pieces {
        match socket::send(socket, slice::from_ref(piece), More::Follows) {
            Ok(count) if count == piece.length() => total += count,
            Ok(count) => return Ok(total + count),
            Err(_) if total > 0 => return Ok(total),
            Err(error) => return Err(error),
        }
    }
    Ok(total)
}

/// Whether a send failed with EFAULT, the only way in which a cut mapping shows.
fn is_fault(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EFAULT)
}
