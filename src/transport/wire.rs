//! A transport for tests without a kernel: two buffers in memory, of a length that the test chooses. What moves, and
//! when, follows from the calls alone, so a run with it can be repeated.
//!
//! Bytes of mappings and files are copied by the kernel all the same, through a file in memory: a page of a mapping
//! whose file was cut is EFAULT here as it is with a socket.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use mio::{Registry, Token};
use rustix::fs::MemfdFlags;

use super::{Flow, Noted, Received, Transport};
use crate::sys::file::OpenFile;
use crate::sys::sock_diag::{SocketOwners, UserId};
use crate::sys::socket::{self, More, Piece};

/// Longest part of a file that one call sends.
const PART_LENGTH_MAX: u64 = 64 << 10;

/// What is on its way between the ends.
#[derive(Debug)]
struct Buffers {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    /// Bytes that either holds.
    length_max: usize,
    /// The client has closed its end.
    is_left: bool,
    /// The server sends no more.
    is_finished: bool,
}

/// The server's end.
#[derive(Debug)]
pub(crate) struct Wire {
    buffers: Rc<RefCell<Buffers>>,
    /// What the kernel copies through.
    staging: Rc<File>,
    input: Flow,
    output: Flow,
    is_hung_up: bool,
}

/// The client's end.
#[derive(Debug)]
pub(crate) struct WireClient(Rc<RefCell<Buffers>>);

/// Makes wires. They share what the kernel copies through.
#[derive(Debug)]
pub(crate) struct WireMaker(Rc<File>);

impl WireMaker {
    /// One that has made none.
    pub(crate) fn new() -> WireMaker {
        let staging = rustix::fs::memfd_create("wire", MemfdFlags::CLOEXEC);
        WireMaker(Rc::new(File::from(staging.expect("a memfd"))))
    }

    /// Both ends of a new one, which holds so many bytes in each direction.
    pub(crate) fn make(&self, length_max: usize) -> (Transport, WireClient) {
        let buffers = Rc::new(RefCell::new(Buffers {
            to_server: Vec::new(),
            to_client: Vec::new(),
            length_max,
            is_left: false,
            is_finished: false,
        }));
        let client = WireClient(Rc::clone(&buffers));
        let wire = Wire {
            buffers,
            staging: Rc::clone(&self.0),
            input: Flow::Ready,
            output: Flow::Ready,
            is_hung_up: false,
        };
        (Transport::Wire(wire), client)
    }
}

impl WireClient {
    /// Sends as much as there is room for; gives how many bytes.
    pub(crate) fn send(&self, bytes: &[u8]) -> usize {
        let mut buffers = self.0.borrow_mut();
        let count = bytes
            .len()
            .min(buffers.length_max - buffers.to_server.len());
        buffers.to_server.extend_from_slice(&bytes[..count]);
        count
    }

    /// Receives at most so many bytes; gives whether the server sends no more, and all is received.
    pub(crate) fn receive(&self, count_max: usize, into: &mut Vec<u8>) -> bool {
        let mut buffers = self.0.borrow_mut();
        let count = count_max.min(buffers.to_client.len());
        into.extend_from_slice(&buffers.to_client[..count]);
        buffers.to_client.drain(..count);
        buffers.to_client.is_empty() && buffers.is_finished
    }

    /// What an event would say to the server now.
    pub(crate) fn events(&self) -> Noted {
        let buffers = self.0.borrow();
        Noted {
            readable: !buffers.to_server.is_empty() || buffers.is_left,
            writable: buffers.to_client.len() < buffers.length_max || buffers.is_left,
            ended: buffers.is_left,
            hung_up: buffers.is_left,
        }
    }
}

impl Drop for WireClient {
    fn drop(&mut self) {
        self.0.borrow_mut().is_left = true;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.finish();
    }
}

fn room(buffers: &Buffers) -> io::Result<usize> {
    match buffers.length_max - buffers.to_client.len() {
        _ if buffers.is_left => Err(io::ErrorKind::BrokenPipe.into()),
        0 => Err(io::ErrorKind::WouldBlock.into()),
        room => Ok(room),
    }
}

impl Wire {
    pub(super) fn register(&self, _: &Registry, _: Token) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn note(&mut self, noted: Noted) {
        if noted.readable {
            self.input = Flow::Ready;
        }
        if noted.writable {
            self.output = Flow::Ready;
        }
        self.is_hung_up |= noted.hung_up;
    }

    pub(super) fn input(&self) -> Flow {
        self.input
    }

    pub(super) fn output(&self) -> Flow {
        self.output
    }

    pub(super) fn is_hung_up(&self) -> bool {
        self.is_hung_up
    }

    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Received> {
        let mut buffers = self.buffers.borrow_mut();
        let count = buffer.len().min(buffers.to_server.len());
        if count == 0 && buffers.is_left {
            return Ok(Received::End);
        }
        if count < buffer.len() && !buffers.is_left {
            self.input = Flow::Blocked;
        }
        buffer[..count].copy_from_slice(&buffers.to_server[..count]);
        buffers.to_server.drain(..count);
        match count {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            count => Ok(Received::Bytes(count)),
        }
    }

    pub(super) fn send(&mut self, pieces: &[Piece<'_>], _: More) -> io::Result<usize> {
        let sent = self.send_pieces(pieces);
        sent.inspect_err(|error| self.note_blocked(error))
    }

    fn send_pieces(&self, pieces: &[Piece<'_>]) -> io::Result<usize> {
        let mut left = room(&self.buffers.borrow())?;
        let mut accepted = Vec::new();
        for piece in pieces.iter().filter(|piece| piece.length() > 0) {
            let first = piece.first(left);
            left -= first.length();
            accepted.push(first);
            if left == 0 {
                break;
            }
        }
        let count = socket::write_to_start(self.staging.as_fd(), &accepted)?;
        self.take_staged(count)
    }

    /// Takes what was copied into the buffer.
    fn take_staged(&self, count: usize) -> io::Result<usize> {
        let mut bytes = vec![0; count];
        self.staging.read_exact_at(&mut bytes, 0)?;
        self.buffers
            .borrow_mut()
            .to_client
            .extend_from_slice(&bytes);
        Ok(count)
    }

    pub(super) fn send_file(&mut self, file: &OpenFile, bytes: Range<u64>) -> io::Result<usize> {
        let sent = self.send_part(file, &bytes);
        sent.inspect_err(|error| self.note_blocked(error))
    }

    fn send_part(&self, file: &OpenFile, bytes: &Range<u64>) -> io::Result<usize> {
        let count = (bytes.end - bytes.start).min(PART_LENGTH_MAX);
        let count = usize::try_from(count).map_err(io::Error::other)?;
        let mut part = vec![0; count.min(room(&self.buffers.borrow())?)];
        match rustix::io::pread(file.descriptor(), &mut part, bytes.start)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => {
                let mut buffers = self.buffers.borrow_mut();
                buffers.to_client.extend_from_slice(&part[..count]);
                Ok(count)
            }
        }
    }

    fn note_blocked(&mut self, error: &io::Error) {
        if error.kind() == io::ErrorKind::WouldBlock {
            self.output = Flow::Blocked;
        }
    }

    pub(super) fn finish(&mut self) {
        self.buffers.borrow_mut().is_finished = true;
    }

    pub(super) fn unacknowledged(&self) -> io::Result<u64> {
        Ok(self.buffers.borrow().to_client.len() as u64)
    }

    pub(super) fn has_unread(&self) -> bool {
        !self.buffers.borrow().to_server.is_empty()
    }

    pub(super) fn peer_user(&self, _: Option<&mut SocketOwners>) -> Option<UserId> {
        None
    }
}
