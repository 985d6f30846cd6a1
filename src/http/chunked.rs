//! The chunked transfer coding, decoded strictly and thrown away. RFC 9112 §7.1.
//!
//! A static server has no use for the bodies it is sent, but it must know to the byte where they
//! end. Every deviation from the grammar is refused: bare CR or LF, a size that is not pure
//! hexadecimal, an extension without a name, a trailer line without one.

use super::framing::is_token_byte;
use super::status::Refusal;

/// Most bytes that one chunk's extensions may take: nobody uses them.
const EXTENSION_LENGTH_MAX: u32 = 4_096;
/// Most bytes that all trailer fields together may take.
const TRAILER_LENGTH_MAX: u32 = 8_192;
/// Bytes of the extensions of all chunks together, and of the trailers after them: extensions are no part of the
/// body's length, so its limit does not bound them (RFC 9112 §7.1.1).
const EXTENSIONS_LENGTH_MAX: u32 = 16_384;
/// Digits of a chunk's size: as many as any size needs, and its line end.
const SIZE_LENGTH_MAX: u32 = 18;

/// Where in the grammar the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GrammarState {
    SizeFirst,
    Size,
    BeforeSemicolon,
    NameFirst,
    Name,
    AfterName,
    ValueFirst,
    Value,
    Quoted,
    QuotedEscape,
    ValueEnd,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    TrailerFirst,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    LastLineFeed,
    Complete,
}

/// A decoder between two reads; holds no bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkedBody {
    place: GrammarState,
    /// The chunk's size while it is read, then what is left of its data.
    remaining: u64,
    /// Bytes of data in all chunks so far.
    total: u64,
    /// Bytes of this chunk's extensions, or of all trailers.
    overhead: u32,
    /// Bytes of the extensions of the chunks before.
    overhead_before: u32,
}

impl ChunkedBody {
    /// A body of which nothing has been read.
    pub(crate) fn new() -> ChunkedBody {
        ChunkedBody {
            place: GrammarState::SizeFirst,
            remaining: 0,
            total: 0,
            overhead: 0,
            overhead_before: 0,
        }
    }

    /// Whether the last byte of the body has been read.
    pub(crate) fn is_complete(&self) -> bool {
        self.place == GrammarState::Complete
    }

    /// Reads on in `bytes` and gives how many of them belong to the body. Fewer than all only when
    /// the body is complete.
    ///
    /// # Errors
    /// [`Refusal::Chunk`] off the grammar, [`Refusal::BodyTooLarge`] when the chunks' data come to
    /// more than `length_max` bytes, as soon as a size says so.
    pub(crate) fn decode(&mut self, bytes: &[u8], length_max: u64) -> Result<usize, Refusal> {
        let mut at = 0;
        while at < bytes.len() && self.place != GrammarState::Complete {
            if self.place == GrammarState::Data {
                let there = (bytes.len() - at) as u64;
                let taken = there.min(self.remaining);
                self.remaining -= taken;
                at += usize::try_from(taken).map_err(|_| Refusal::BodyTooLarge)?;
                if self.remaining == 0 {
                    self.place = GrammarState::DataReturn;
                }
            } else {
                self.place = self.step(bytes[at], length_max)?;
                at += 1;
            }
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8, length_max: u64) -> Result<GrammarState, Refusal> {
        use GrammarState::*;
        let next = match (self.place, byte) {
            (SizeFirst | Size, _) if byte.is_ascii_hexdigit() => {
                return self.digit(byte, length_max);
            }
            (Size | BeforeSemicolon, b';') => NameFirst,
            (Size | BeforeSemicolon, b' ' | b'\t') => BeforeSemicolon,
            (Size, b'\r') => SizeLineFeed,
            (NameFirst, b' ' | b'\t') => NameFirst,
            (NameFirst | Name, _) if is_token_byte(byte) => Name,
            (Name | AfterName, b' ' | b'\t') => AfterName,
            (Name | AfterName, b'=') => ValueFirst,
            (Name | AfterName | Value | ValueEnd, b';') => NameFirst,
            (Name | Value | ValueEnd, b'\r') => SizeLineFeed,
            (ValueFirst, b' ' | b'\t') => ValueFirst,
            (ValueFirst, b'"') => Quoted,
            (ValueFirst | Value, _) if is_token_byte(byte) => Value,
            (Value | ValueEnd, b' ' | b'\t') => BeforeSemicolon,
            (Quoted, b'"') => ValueEnd,
            (Quoted, b'\\') => QuotedEscape,
            (Quoted | QuotedEscape, _) if is_text(byte) => Quoted,
            (SizeLineFeed, b'\n') => return Ok(self.begin_data()),
            (DataReturn, b'\r') => DataLineFeed,
            (DataLineFeed, b'\n') => SizeFirst,
            (TrailerFirst, b'\r') => LastLineFeed,
            (TrailerFirst | TrailerName, _) if is_token_byte(byte) => TrailerName,
            (TrailerName, b':') => TrailerValue,
            (TrailerValue, b'\r') => TrailerLineFeed,
            (TrailerValue, _) if is_text(byte) => TrailerValue,
            (TrailerLineFeed, b'\n') => TrailerFirst,
            (LastLineFeed, b'\n') => Complete,
            _ => return Err(Refusal::Chunk),
        };
        self.count_overhead(next)?;
        Ok(next)
    }

    fn digit(&mut self, byte: u8, length_max: u64) -> Result<GrammarState, Refusal> {
        let digit = char::from(byte).to_digit(16).map_or(0, u64::from);
        self.remaining = self.remaining.checked_mul(16).ok_or(Refusal::Chunk)? + digit;
        if self.total.saturating_add(self.remaining) > length_max {
            return Err(Refusal::BodyTooLarge);
        }
        // Leading zeros are in the grammar without end; 16 digits are enough for any size.
        self.overhead += 1;
        if self.overhead > 16 {
            Err(Refusal::Chunk)
        } else {
            Ok(GrammarState::Size)
        }
    }

    fn begin_data(&mut self) -> GrammarState {
        // What a size and its line end take is not counted: there has to be one for each chunk.
        self.overhead_before += self.overhead.saturating_sub(SIZE_LENGTH_MAX);
        self.overhead = 0;
        self.total += self.remaining;
        if self.remaining == 0 {
            GrammarState::TrailerFirst
        } else {
            GrammarState::Data
        }
    }

    fn count_overhead(&mut self, next: GrammarState) -> Result<(), Refusal> {
        let overhead_max = match next {
            GrammarState::SizeFirst => {
                self.overhead = 0;
                return Ok(());
            }
            GrammarState::TrailerFirst
            | GrammarState::TrailerName
            | GrammarState::TrailerValue
            | GrammarState::TrailerLineFeed
            | GrammarState::LastLineFeed
            | GrammarState::Complete => TRAILER_LENGTH_MAX,
            _ => EXTENSION_LENGTH_MAX + SIZE_LENGTH_MAX,
        };
        self.overhead += 1;
        let all = self.overhead_before + self.overhead;
        if self.overhead > overhead_max || all > EXTENSIONS_LENGTH_MAX {
            return Err(Refusal::Chunk);
        }
        Ok(())
    }
}

impl Default for ChunkedBody {
    fn default() -> ChunkedBody {
        ChunkedBody::new()
    }
}

/// What may stand in a field value or in quotes: HTAB, SP, VCHAR, obs-text.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &[u8], step: usize) -> Result<(usize, bool), Refusal> {
        let mut decoder = ChunkedBody::new();
        let mut taken = 0;
        for piece in body.chunks(step) {
            let count = decoder.decode(piece, 1_000)?;
            taken += count;
            if count < piece.len() {
                break;
            }
        }
        Ok((taken, decoder.is_complete()))
    }

    #[test]
    fn a_chunked_body_ends_where_the_grammar_says_or_is_refused() {
        let whole = |length| Ok((length, true));
        let open = |length| Ok((length, false));
        let refused = Err(Refusal::Chunk);
        #[rustfmt::skip]
        #[allow(clippy::type_complexity)]
        let cases: &[(&str, Result<(usize, bool), Refusal>, &str)] = &[
            ("0\r\n\r\n",                          whole(5),  "empty"),
            ("5\r\nhello\r\n0\r\n\r\n",            whole(15), "one chunk"),
            ("5\r\nhello\r\n0\r\n\r\nGET /",       whole(15), "what follows is the next request"),
            ("A\r\n0123456789\r\n0\r\n\r\n",       whole(20), "upper case"),
            ("005\r\nhello\r\n0\r\n\r\n",          whole(17), "leading zeros are in the grammar"),
            ("5;a=b\r\nhello\r\n0\r\n\r\n",        whole(19), "extension"),
            ("5;a=\"x;\\\"y\"\r\nhello\r\n0\r\n\r\n", whole(25), "quoted extension"),
            ("0\r\nA: b\r\nC:\r\n\r\n",            whole(15), "trailers"),
            ("5\r\nhello\r\n",                     open(10),  "no last chunk yet"),
            ("5;\r\nhello\r\n0\r\n\r\n",           refused,   "extension without a name"),
            ("5\nhello\r\n0\r\n\r\n",              refused,   "bare LF after the size"),
            ("5\rXhello\r\n",                      refused,   "bare CR after the size"),
            ("5;a\nhello\r\n",                     refused,   "bare LF in an extension"),
            ("5;a\r\rhello\r\n",                   refused,   "bare CR in an extension"),
            ("5;a\0\r\nhello\r\n",                 refused,   "NUL in an extension"),
            ("5 \r\nhello\r\n",                    refused,   "space that no extension follows"),
            (" 5\r\nhello\r\n",                    refused,   "leading space"),
            ("0x5\r\nhello\r\n",                   refused,   "prefix"),
            ("-5\r\nhello\r\n",                    refused,   "sign"),
            ("5_0\r\nhello\r\n",                   refused,   "underscore"),
            ("\r\nhello\r\n",                      refused,   "no size"),
            ("5\r\nhelloXX\r\n",                   refused,   "more data than the size"),
            ("5\r\nhello0\r\n\r\n",                refused,   "no CRLF after the data"),
            ("5\r\nhello\n0\r\n\r\n",              refused,   "bare LF after the data"),
            ("0\r\n: b\r\n\r\n",                   refused,   "trailer without a name"),
            ("0\r\nA b: c\r\n\r\n",                refused,   "space in a trailer's name"),
            ("0\r\n A: b\r\n\r\n",                 refused,   "folded trailer"),
            ("0\r\nA: b\n\r\n",                    refused,   "bare LF in the trailers"),
            ("3e9\r\n",                            Err(Refusal::BodyTooLarge), "1,001 bytes"),
            ("FFFFFFFFFFFFFFFFF\r\n",              Err(Refusal::BodyTooLarge), "past 2^64"),
            ("00000000000000005\r\n",              refused,   "17 digits"),
        ];
        for (body, want, because) in cases {
            for step in [1, 2, 3, 7, body.len()] {
                let got = decode(body.as_bytes(), step);
                assert_eq!(got, *want, "{body:?} in steps of {step}: {because}");
            }
        }
    }

    #[test]
    fn extensions_and_trailers_have_limits() {
        let long = |count: usize| "x".repeat(count);
        #[rustfmt::skip]
        let cases = [
            (format!("5;{}\r\nhello\r\n0\r\n\r\n", long(4_000)),  true),
            (format!("5;{}\r\nhello\r\n0\r\n\r\n", long(5_000)),  false),
            (format!("0\r\nA: {}\r\n\r\n", long(8_000)),          true),
            (format!("0\r\nA: {}\r\n\r\n", long(9_000)),          false),
            (format!("0\r\n{}\r\n", "A: b\r\n".repeat(2_000)),    false),
        ];
        for (body, fits) in cases {
            assert_eq!(
                decode(body.as_bytes(), 64).is_ok(),
                fits,
                "{} bytes",
                body.len()
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_splits_do_not_matter(
            body in proptest::collection::vec(proptest::sample::select(b"05aF;= \t\"\\\r\nx:".to_vec()), 0..64),
            step in 1_usize..8,
        ) {
            proptest::prop_assert_eq!(decode(&body, step), decode(&body, body.len().max(1)));
        }
    }

    #[test]
    fn extensions_of_many_chunks_are_counted_together() {
        let extended = |count: usize| {
            let chunk = format!("1;{}\r\na\r\n", "x".repeat(3_000));
            format!("{}0\r\n\r\n", chunk.repeat(count))
        };
        for (count, is_taken) in [(1, true), (5, true), (6, false), (900, false)] {
            let body = extended(count);
            for step in [1, 7, body.len()] {
                let decoded = decode(body.as_bytes(), step);
                assert_eq!(
                    decoded.is_ok(),
                    is_taken,
                    "{count} chunks, {step} at a time"
                );
            }
        }
    }
}
