//! What stands between a connection and its socket. Bytes of answers go in, bytes of requests come out; nothing
//! above knows how they are carried.
//!
//! A transport is edge-triggered: it remembers for each direction whether the next call may succeed. An event is
//! noted with [`Transport::note`]; a call that finds nothing to do says `WouldBlock`, and then an event will come.

mod plain;
#[cfg(test)]
pub(crate) mod scripted;
#[cfg(test)]
pub(crate) mod wire;

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

use mio::{Registry, Token};

use self::plain::Plain;
#[cfg(test)]
use self::scripted::Scripted;
#[cfg(test)]
use self::wire::Wire;
use crate::sys::file::OpenFile;
use crate::sys::sock_diag::{SocketOwners, UserId};
use crate::sys::socket::{More, Piece};

/// Whether the last thing known of a direction is that it moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// A call may succeed.
    Ready,
    /// An event will come.
    Blocked,
}

/// What an event says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Noted {
    /// Bytes or the end may be there.
    pub readable: bool,
    /// Bytes may be taken. A socket that has failed counts as well: the next call says how.
    pub writable: bool,
    /// The peer has finished sending.
    pub ended: bool,
    /// Both directions are over.
    pub hung_up: bool,
}

impl Noted {
    /// Bytes may be there; nothing else is known.
    pub(crate) const INPUT: Noted = Noted {
        readable: true,
        writable: false,
        ended: false,
        hung_up: false,
    };
}

/// What was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    /// So many bytes, at least one.
    Bytes(usize),
    /// The peer sends no more.
    End,
}

/// A way to one peer; closed when it is dropped.
#[derive(Debug)]
pub(crate) enum Transport {
    /// The bytes as they are.
    Plain(Plain),
    /// The same, delivered and accepted by a script.
    #[cfg(test)]
    Scripted(Scripted),
    /// The same through buffers in memory.
    #[cfg(test)]
    Wire(Wire),
}

/// Calls the method of whichever kind a transport is.
macro_rules! each {
    ($transport:expr, $kind:ident => $call:expr) => {
        match $transport {
            Transport::Plain($kind) => $call,
            #[cfg(test)]
            Transport::Scripted($kind) => $call,
            #[cfg(test)]
            Transport::Wire($kind) => $call,
        }
    };
}

impl Transport {
    /// The bytes as they are, over a socket that does not block. There may be some already.
    pub(crate) fn plain(socket: OwnedFd) -> Transport {
        Transport::Plain(Plain::new(socket))
    }

    /// Has events come with `token`, for the whole life of the transport.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`: no memory, or too many watched already.
    pub(crate) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        each!(self, it => it.register(registry, token))
    }

    /// Takes in what an event says.
    pub(crate) fn note(&mut self, noted: Noted) {
        each!(self, it => it.note(noted));
    }

    /// Whether bytes may be received.
    pub(crate) fn input(&self) -> Flow {
        each!(self, it => it.input())
    }

    /// Whether bytes may be sent.
    pub(crate) fn output(&self) -> Flow {
        each!(self, it => it.output())
    }

    /// Whether the peer is gone in both directions: nobody would receive an answer.
    pub(crate) fn is_hung_up(&self) -> bool {
        each!(self, it => it.is_hung_up())
    }

    /// Receives once, up to the length of `buffer`.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; `Interrupted`; otherwise the transport is broken.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        each!(self, it => it.receive(buffer))
    }

    /// Sends the pieces in order as far as they are taken; gives the number of bytes taken.
    ///
    /// # Errors
    /// `WouldBlock` when none are; `Interrupted`; EFAULT when the first of them is of a mapped page that is no
    /// more; otherwise the transport is broken.
    pub(crate) fn send(&mut self, pieces: &[Piece<'_>], more: More) -> io::Result<usize> {
        each!(self, it => it.send(pieces, more))
    }

    /// Sends part of a file as far as it is taken, and gives how many bytes went. It must be resident: reading it
    /// may wait for the disk.
    ///
    /// # Errors
    /// As [`send`](Transport::send); `UnexpectedEof` when the file ends before these bytes.
    pub(crate) fn send_file(&mut self, file: &OpenFile, bytes: Range<u64>) -> io::Result<usize> {
        each!(self, it => it.send_file(file, bytes))
    }

    /// Says to the peer that no more is sent.
    pub(crate) fn finish(&mut self) {
        each!(self, it => it.finish());
    }

    /// Bytes that were sent and not acknowledged by the peer.
    ///
    /// # Errors
    /// Those of `ioctl(2)`.
    pub(crate) fn unacknowledged(&self) -> io::Result<u64> {
        each!(self, it => it.unacknowledged())
    }

    /// Whether bytes are there that were not received.
    pub(crate) fn has_unread(&self) -> bool {
        each!(self, it => it.has_unread())
    }

    /// The user at the other end, within this machine: by `owners` over TCP, by the socket itself where it has a
    /// path. `None` where the kernel does not say.
    pub(crate) fn peer_user(&self, owners: Option<&mut SocketOwners>) -> Option<UserId> {
        each!(self, it => it.peer_user(owners))
    }
}
