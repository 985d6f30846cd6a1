//! Contents that can be told apart by any of their bytes.

use std::rc::Rc;

/// Bytes in which the number of the content stands once, at their start.
const LINE_LENGTH: usize = 64;
/// Bytes after which the lines begin again, but for the place at their start.
const BLOCK_LENGTH: usize = 4 << 10;

/// A content. Each line of it tells its number and its place.
#[derive(Clone)]
pub(super) struct Content {
    /// Tells it from all others.
    number: u32,
    /// The node that it was written to.
    node: usize,
    bytes: Rc<Vec<u8>>,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "#{} of {}", self.number(), self.length())
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Content) -> bool {
        self.number() == other.number()
    }
}

fn begin_line(line: &mut [u8], number: u32, place: usize) {
    let place = u32::try_from(place).expect("contents are short");
    let word = (u64::from(place) << 32 | u64::from(number)).to_le_bytes();
    let length = line.len().min(word.len());
    line[..length].copy_from_slice(&word[..length]);
}

impl Content {
    /// One of a node that begins with these bytes and is so long; the others are its own.
    pub(super) fn new(number: u32, node: usize, start: &[u8], length: usize) -> Content {
        let mut bytes = vec![b'.'; length];
        let first = start.len().min(length);
        bytes[..first].copy_from_slice(&start[..first]);
        let mut blocks = bytes[first..].chunks_mut(BLOCK_LENGTH);
        if let Some(block) = blocks.next() {
            for (place, line) in block.chunks_mut(LINE_LENGTH).enumerate() {
                begin_line(line, number, place);
            }
            let pattern = &*block;
            for (place, block) in blocks.enumerate() {
                block.copy_from_slice(&pattern[..block.len()]);
                begin_line(block, number, (place + 1) * BLOCK_LENGTH);
            }
        }
        Content {
            number,
            node,
            bytes: Rc::new(bytes),
        }
    }

    /// Its number.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// The node that it was written to.
    pub(super) fn node(&self) -> usize {
        self.node
    }

    /// Its length in bytes.
    pub(super) fn length(&self) -> usize {
        self.bytes.len()
    }

    /// All its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether these bytes are its own from byte `start` on.
    pub(super) fn has(&self, start: usize, bytes: &[u8]) -> bool {
        self.bytes().get(start..start + bytes.len()) == Some(bytes)
    }
}
