//! Methods to prepare the bytes of a file for sending.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;

use memmap2::{Advice, MmapOptions};
use rustix::pipe::SpliceFlags;

use super::slow_tree;

/// Bytes prepared at a time: as in `src/store/residency.rs`.
const WINDOW_LENGTH: usize = 512 << 10;
/// Bytes per call of plain `sendfile`.
const CALL_LENGTH: usize = 1 << 20;
/// Length of the small buffer, which stays in the processor's cache.
pub(crate) const SMALL_LENGTH: usize = 64 << 10;
/// Capacity of a pipe in bytes: the default limit of an unprivileged process.
const PIPE_LENGTH: usize = 1 << 20;

/// A method to send a file.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    Sendfile,
    Advise,
    ReadLarge,
    ReadSmall,
    Discard,
    Populate,
    Pipe,
    Buffer,
    AdviseAndDiscard,
}

#[rustfmt::skip]
pub(crate) const WAYS: &[(Way, &str)] = &[
    (Way::Sendfile,         "a. sendfile by the loop"),
    (Way::Advise,           "b. WILLNEED and sendfile by the loop"),
    (Way::ReadLarge,        "c. read into 512 KiB, sendfile"),
    (Way::ReadSmall,        "d. read into 64 KiB, sendfile"),
    (Way::Discard,          "e. sendfile to /dev/null, sendfile"),
    (Way::Populate,         "f. populate a mapping, sendfile"),
    (Way::Pipe,             "g. splice to a pipe, splice"),
    (Way::Buffer,           "h. read into a buffer, send"),
    (Way::AdviseAndDiscard, "i. WILLNEED in pieces, then as e"),
];

impl Way {
    /// Bytes prepared at a time.
    pub(crate) fn window_length(self) -> usize {
        match self {
            Way::Sendfile => CALL_LENGTH,
            _ => WINDOW_LENGTH,
        }
    }

    /// A slot for a prepared window.
    pub(crate) fn slot(self) -> io::Result<Slot> {
        Ok(match self {
            Way::Pipe => {
                let (source, sink) = rustix::pipe::pipe()?;
                rustix::pipe::fcntl_setpipe_size(&sink, PIPE_LENGTH)?;
                Slot::Pipe { source, sink }
            }
            Way::Buffer => Slot::Buffer(vec![0; WINDOW_LENGTH]),
            _ => Slot::Cached,
        })
    }
}

/// The bytes of a prepared window. It has one owner at a time, so the loop never waits for the lock of a pipe
/// that is being filled.
pub(crate) enum Slot {
    Cached,
    Pipe { source: OwnedFd, sink: OwnedFd },
    Buffer(Vec<u8>),
}

/// A window of a file.
pub(crate) struct Window {
    pub(crate) slot: Slot,
    /// Its start in the file, in bytes.
    pub(crate) start: u64,
    pub(crate) length: usize,
    /// Bytes of it accepted by the socket.
    pub(crate) sent: usize,
}

/// Makes the calls that may block on the disk.
pub(crate) struct Disk {
    way: Way,
    file: File,
    scratch: Vec<u8>,
    null: File,
}

impl Disk {
    /// For this file and this method only.
    pub(crate) fn new(way: Way, file: &File) -> io::Result<Disk> {
        let scratch_length = match way {
            Way::ReadLarge => WINDOW_LENGTH,
            Way::ReadSmall => SMALL_LENGTH,
            _ => 0,
        };
        Ok(Disk {
            way,
            file: file.try_clone()?,
            scratch: vec![0; scratch_length],
            null: File::options().write(true).open("/dev/null")?,
        })
    }

    /// Prepares a window for sending by the loop.
    pub(crate) fn prepare(&mut self, window: &mut Window) -> io::Result<()> {
        let (start, length) = (window.start, window.length);
        match self.way {
            Way::Sendfile => Ok(()),
            Way::Advise => self.advise(start, length),
            Way::ReadLarge | Way::ReadSmall => self.read(start, length),
            Way::Discard => self.discard(start, length),
            Way::Populate => MmapOptions::new()
                .offset(start)
                .len(length)
                .map_raw_read_only(&self.file)?
                .advise(Advice::PopulateRead),
            Way::AdviseAndDiscard => {
                let piece_length =
                    usize::try_from(slow_tree::READ_LENGTH_MAX).expect("a length in memory");
                for piece in (0..length).step_by(piece_length) {
                    self.advise(start + offset(piece), piece_length)?;
                }
                self.discard(start, length)
            }
            Way::Pipe | Way::Buffer => self.fill(window),
        }
    }

    fn advise(&self, start: u64, length: usize) -> io::Result<()> {
        let length = NonZeroU64::new(offset(length));
        let advice = rustix::fs::Advice::WillNeed;
        Ok(rustix::fs::fadvise(&self.file, start, length, advice)?)
    }

    fn read(&mut self, start: u64, length: usize) -> io::Result<()> {
        for piece in (0..length).step_by(self.scratch.len()) {
            let (file, at) = (&self.file, start + offset(piece));
            file.read_exact_at(&mut self.scratch, at)?;
        }
        Ok(())
    }

    fn discard(&self, start: u64, length: usize) -> io::Result<()> {
        let (mut at, end) = (start, start + offset(length));
        while at < end {
            let left = usize::try_from(end - at).expect("within a window");
            let count = rustix::fs::sendfile(&self.null, &self.file, Some(&mut at), left)?;
            assert!(count > 0, "the file is as long as it was");
        }
        Ok(())
    }

    fn fill(&self, window: &mut Window) -> io::Result<()> {
        match &mut window.slot {
            Slot::Cached => Ok(()),
            Slot::Buffer(buffer) => self.file.read_exact_at(buffer, window.start),
            Slot::Pipe { sink, .. } => {
                let (mut at, mut left) = (window.start, window.length);
                while left > 0 {
                    let flags = SpliceFlags::MOVE;
                    let count =
                        rustix::pipe::splice(&self.file, Some(&mut at), &*sink, None, left, flags)?;
                    assert!(count > 0, "the file is as long as it was");
                    left -= count;
                }
                Ok(())
            }
        }
    }
}

/// A length or memory offset as a file offset.
pub(crate) fn offset(length: usize) -> u64 {
    u64::try_from(length).expect("64 bits hold it")
}
