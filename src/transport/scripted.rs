//! A transport for tests: over a pair of sockets, it delivers and accepts as many bytes at a time as a script says,
//! and fails where the script does.

use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use mio::{Registry, Token};

use super::plain::Plain;
use super::{Flow, Noted, Received, Transport};
use crate::sys::file::OpenFile;
use crate::sys::sock_diag::{SocketOwners, UserId};
use crate::sys::socket::{More, Piece};

/// A direction, as seen by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the peer.
    Input,
    /// To the peer.
    Output,
}

/// What one call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// At most so many bytes move.
    Bytes(usize),
    /// None do, and an event will come.
    Blocked,
    /// A signal came first.
    Interrupted,
    /// The transport breaks.
    Fails(io::ErrorKind),
}

/// The steps of one direction, again and again.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    steps: Vec<Step>,
    at: usize,
}

impl Script {
    /// These, again and again.
    pub(crate) fn of(steps: &[Step]) -> Script {
        assert!(!steps.is_empty());
        Script {
            steps: steps.to_vec(),
            at: 0,
        }
    }

    fn next(&mut self) -> Step {
        let step = self.steps[self.at % self.steps.len()];
        self.at += 1;
        step
    }
}

/// The server's end.
#[derive(Debug)]
pub(crate) struct Scripted {
    plain: Plain,
    input: Script,
    output: Script,
}

/// The peer's end.
#[derive(Debug)]
pub(crate) struct Peer {
    socket: UnixStream,
    /// What the server has sent.
    pub received: Vec<u8>,
    /// Whether nothing more comes.
    pub is_ended: bool,
}

impl Transport {
    /// Both ends of a transport that goes by scripts.
    pub(crate) fn scripted(input: Script, output: Script) -> (Transport, Peer) {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        ours.set_nonblocking(true).expect("it does not block");
        theirs.set_nonblocking(true).expect("it does not block");
        let transport = Transport::Scripted(Scripted {
            plain: Plain::new(OwnedFd::from(ours)),
            input,
            output,
        });
        let peer = Peer {
            socket: theirs,
            received: Vec::new(),
            is_ended: false,
        };
        (transport, peer)
    }
}

impl Peer {
    /// Sends as much as the sockets hold; gives how many bytes.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> usize {
        self.socket.write(bytes).unwrap_or(0)
    }

    /// Takes what is there; gives whether something was, or the end.
    pub(crate) fn receive(&mut self) -> bool {
        let before = (self.received.len(), self.is_ended);
        match self.socket.read_to_end(&mut self.received) {
            Ok(_) => self.is_ended = true,
            // What the server had not read is lost; what it has sent is not.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => self.is_ended = true,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        before != (self.received.len(), self.is_ended)
    }
}

impl Scripted {
    /// How many bytes may move in the next call.
    fn step(&mut self, direction: Direction) -> io::Result<usize> {
        let script = match direction {
            Direction::Input => &mut self.input,
            Direction::Output => &mut self.output,
        };
        match script.next() {
            Step::Bytes(count) => Ok(count),
            Step::Blocked => {
                self.plain.block(direction);
                Err(io::ErrorKind::WouldBlock.into())
            }
            Step::Interrupted => Err(io::ErrorKind::Interrupted.into()),
            Step::Fails(kind) => Err(kind.into()),
        }
    }

    pub(super) fn register(&self, registry: &Registry, token: Token) -> io::Result<()> {
        self.plain.register(registry, token)
    }

    pub(super) fn note(&mut self, noted: Noted) {
        self.plain.note(noted);
    }

    pub(super) fn input(&self) -> Flow {
        self.plain.input()
    }

    pub(super) fn output(&self) -> Flow {
        self.plain.output()
    }

    pub(super) fn is_hung_up(&self) -> bool {
        self.plain.is_hung_up()
    }

    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let count = self.step(Direction::Input)?.min(buffer.len());
        self.plain.receive(&mut buffer[..count])
    }

    pub(super) fn send(&mut self, pieces: &[Piece<'_>], more: More) -> io::Result<usize> {
        let mut left = self.step(Direction::Output)?;
        let mut accepted = Vec::new();
        for piece in pieces {
            let first = piece.first(left);
            left -= first.length();
            accepted.push(first);
            if left == 0 {
                break;
            }
        }
        self.plain.send(&accepted, more)
    }

    pub(super) fn send_file(&mut self, file: &OpenFile, bytes: Range<u64>) -> io::Result<usize> {
        let count = self.step(Direction::Output)? as u64;
        let end = bytes.end.min(bytes.start.saturating_add(count));
        self.plain.send_file(file, bytes.start..end)
    }

    pub(super) fn finish(&mut self) {
        self.plain.finish();
    }

    pub(super) fn unacknowledged(&self) -> io::Result<u64> {
        self.plain.unacknowledged()
    }

    pub(super) fn has_unread(&self) -> bool {
        self.plain.has_unread()
    }

    pub(super) fn peer_user(&self, owners: Option<&mut SocketOwners>) -> Option<UserId> {
        self.plain.peer_user(owners)
    }
}
