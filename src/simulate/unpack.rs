//! Decompresses a log, by its first bytes: gzip (RFC 1952) and Zstandard (RFC 8878), several members or frames
//! in a row included. Other data are passed through.

use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};
use std::mem;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// Size of the read buffers.
const BUFFER_LENGTH: usize = 256 << 10;
/// Length of the longest magic number.
const MAGIC_LENGTH: usize = 4;
/// The first bytes of gzip, RFC 1952 §2.3.1.
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// The first bytes of a Zstandard frame, RFC 8878 §3.1.1.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// The first bytes of a skippable frame, RFC 8878 §3.1.2, after one of 0x50 to 0x5f. Parallel compressors
/// write such a frame before each data frame.
const ZSTD_SKIPPABLE_MAGIC_END: [u8; 3] = [0x2a, 0x4d, 0x18];
/// A last block without content, RFC 8878 §3.1.1.2, and a checksum.
const ZSTD_LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// A reader of the decompressed data.
///
/// # Errors
/// Those of reading the first bytes.
pub(super) fn unpack<'a>(mut input: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut start = Vec::with_capacity(MAGIC_LENGTH);
    input
        .by_ref()
        .take(MAGIC_LENGTH as u64)
        .read_to_end(&mut start)?;
    let is_gzip = start.starts_with(&GZIP_MAGIC);
    let is_zstd = match start[..] {
        [0x50..=0x5f, ref end @ ..] => end == ZSTD_SKIPPABLE_MAGIC_END,
        _ => start == ZSTD_MAGIC,
    };
    let input = BufReader::with_capacity(BUFFER_LENGTH, Cursor::new(start).chain(input));
    Ok(if is_gzip {
        let unpacked = MultiGzDecoder::new(input);
        Box::new(BufReader::with_capacity(BUFFER_LENGTH, unpacked))
    } else if is_zstd {
        let unpacked = ZstdReader::new(input);
        Box::new(BufReader::with_capacity(BUFFER_LENGTH, unpacked))
    } else {
        Box::new(input)
    })
}

/// Whether an error means invalid compressed data rather than a failed read. Plain logs have no such errors.
pub(super) fn is_of_packing(error: &io::Error) -> bool {
    use ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// Decompresses all frames of a stream. Memory is bounded by the decoder's largest window, 128 MiB, which is
/// also the largest that `zstd -d` accepts unasked.
struct ZstdReader<R> {
    input: R,
    decoder: FrameDecoder,
    state: Position,
}

/// The position in a stream of frames.
enum Position {
    BetweenFrames,
    InFrame,
    /// In a frame that cannot be decompressed further.
    InBrokenFrame(io::Error),
}

impl<R: BufRead> ZstdReader<R> {
    fn new(input: R) -> ZstdReader<R> {
        ZstdReader {
            input,
            decoder: FrameDecoder::new(),
            state: Position::BetweenFrames,
        }
    }

    /// Reads the header of a frame, or passes over a skippable frame.
    fn begin_frame(&mut self) -> io::Result<()> {
        match self.decoder.reset(&mut self.input) {
            Ok(()) => self.state = Position::InFrame,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                length,
                ..
            })) => {
                let length = u64::from(length);
                let skipped = io::copy(&mut self.input.by_ref().take(length), &mut io::sink())?;
                if skipped < length {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
            }
            Err(error) => return Err(invalid(error)),
        }
        Ok(())
    }

    /// Decompresses a block. The decoder keeps the last window of an unfinished frame, up to some MiB, to refer to
    /// it. If there are no more blocks, an empty one ends the frame, so that this part is used as well.
    fn decode_block(&mut self) -> io::Result<()> {
        let one = BlockDecodingStrategy::UptoBlocks(1);
        if let Err(error) = self.decoder.decode_blocks(&mut self.input, one) {
            let one = BlockDecodingStrategy::UptoBlocks(1);
            self.decoder
                .decode_blocks(&ZSTD_LAST_BLOCK[..], one)
                .map_err(invalid)?;
            self.state = Position::InBrokenFrame(invalid(error));
        }
        Ok(())
    }

    /// Compares the checksum of a finished frame, if it has one.
    fn end_frame(&self) -> io::Result<()> {
        let written = self.decoder.get_checksum_from_data();
        if written.is_some() && written != self.decoder.get_calculated_checksum() {
            return Err(invalid("wrong checksum"));
        }
        Ok(())
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.decoder.can_collect() > 0 {
                return self.decoder.read(buffer);
            }
            match mem::replace(&mut self.state, Position::BetweenFrames) {
                Position::BetweenFrames if self.input.fill_buf()?.is_empty() => return Ok(0),
                Position::BetweenFrames => self.begin_frame()?,
                Position::InFrame if self.decoder.is_finished() => self.end_frame()?,
                Position::InFrame => {
                    self.state = Position::InFrame;
                    self.decode_block()?;
                }
                Position::InBrokenFrame(error) => return Err(error),
            }
        }
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}
