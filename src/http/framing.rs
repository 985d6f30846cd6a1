//! How long the body of a request is: RFC 9112 §6. Stricter than the grammar wherever two readers
//! of one message could disagree, because that is how requests are smuggled.
//!
//! Refused although the RFC would let a recipient mend them: a Content-Length that is repeated with
//! equal values (§6.3 case 5), leading zeros, and Transfer-Encoding beside Content-Length.

use super::status::Refusal;
use super::version::Version;

/// How the body of a request is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// There is none.
    Empty,
    /// This many bytes follow the head; never 0.
    Length(u64),
    /// Chunks follow the head, RFC 9112 §7.1.
    Chunked,
}

/// What the Transfer-Encoding lines have said so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TransferCodings {
    #[default]
    Absent,
    /// A line was there and named nothing yet.
    Empty,
    /// Only codings that are not known here.
    Unknown,
    /// `chunked` once and last, nothing before it.
    Chunked,
    /// `chunked` once and last, other codings before it.
    UnknownThenChunked,
    /// `chunked` twice, not last, or with parameters; or not a list of tokens.
    Faulty,
}

impl TransferCodings {
    fn then(self, member: &[u8]) -> TransferCodings {
        use TransferCodings::{Absent, Chunked, Empty, Faulty, Unknown, UnknownThenChunked};
        let chunked = member.eq_ignore_ascii_case(b"chunked");
        let name = member
            .split(|byte| *byte == b';')
            .next()
            .unwrap_or_default();
        let name = name.trim_ascii();
        let parameters = name.len() != member.len();
        let token = !name.is_empty() && name.iter().all(|byte| is_token_byte(*byte));
        match self {
            _ if !token => Faulty,
            _ if parameters && name.eq_ignore_ascii_case(b"chunked") => Faulty,
            Absent | Empty if chunked => Chunked,
            Absent | Empty => Unknown,
            Unknown if chunked => UnknownThenChunked,
            Unknown => Unknown,
            Chunked | UnknownThenChunked | Faulty => Faulty,
        }
    }
}

/// Collects the framing fields of one head, line by line.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct FramingFields {
    content_length: Option<u64>,
    transfer_codings: TransferCodings,
}

impl FramingFields {
    /// Takes one Content-Length line.
    ///
    /// # Errors
    /// [`Refusal::Framing`] for a second line and for a value that is not a plain decimal number
    /// below 2^64 without leading zeros. RFC 9110 §8.6.
    pub(crate) fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        let length = parse_length(value).ok_or(Refusal::Framing)?;
        match self.content_length.replace(length) {
            None => Ok(()),
            Some(_) => Err(Refusal::Framing),
        }
    }

    /// Takes one Transfer-Encoding line; empty list members are ignored, RFC 9110 §5.6.1.2.
    // Few requests have it. Inlined into the parser it costs all others some 60 instructions.
    #[inline(never)]
    pub(crate) fn transfer_encoding(&mut self, value: &[u8]) {
        if self.transfer_codings == TransferCodings::Absent {
            self.transfer_codings = TransferCodings::Empty;
        }
        for member in value.split(|byte| *byte == b',') {
            let member = member.trim_ascii();
            if !member.is_empty() {
                self.transfer_codings = self.transfer_codings.then(member);
            }
        }
    }

    /// What the lines mean together.
    ///
    /// # Errors
    /// [`Refusal::Framing`] when they contradict each other, when `chunked` is not the last coding,
    /// and for Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1, §6.3);
    /// [`Refusal::TransferCoding`] for codings that are not known here.
    pub(crate) fn finish(self, version: Version) -> Result<BodyFraming, Refusal> {
        use TransferCodings::{Absent, Chunked, Empty, Faulty, Unknown, UnknownThenChunked};
        match (self.transfer_codings, self.content_length) {
            (Absent, None | Some(0)) => Ok(BodyFraming::Empty),
            (Absent, Some(length)) => Ok(BodyFraming::Length(length)),
            (_, Some(_)) | (Empty | Faulty, None) => Err(Refusal::Framing),
            (_, None) if version == Version::Http10 => Err(Refusal::Framing),
            (Chunked, None) => Ok(BodyFraming::Chunked),
            (Unknown | UnknownThenChunked, None) => Err(Refusal::TransferCoding),
        }
    }
}

fn parse_length(value: &[u8]) -> Option<u64> {
    match value {
        [] => None,
        [b'0', _, ..] => None,
        digits => digits.iter().try_fold(0_u64, |length, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            length.checked_mul(10)?.checked_add(digit)
        }),
    }
}

/// `tchar`, RFC 9110 §5.6.2.
pub(crate) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_one_length_or_is_refused() {
        use BodyFraming::{Chunked, Empty, Length};
        use Refusal::{Framing, TransferCoding};
        #[rustfmt::skip]
        #[allow(clippy::type_complexity)]
        let cases: &[(&[&str], &[&str], Result<BodyFraming, Refusal>, &str)] = &[
            // Content-Length        Transfer-Encoding      means                 because
            (&[],                    &[],                   Ok(Empty),            "no framing field: no body"),
            (&["0"],                 &[],                   Ok(Empty),            "an explicit nothing"),
            (&["5"],                 &[],                   Ok(Length(5)),        "plain"),
            (&["18446744073709551615"], &[],                Ok(Length(u64::MAX)), "the largest"),
            (&["18446744073709551616"], &[],                Err(Framing),         "one more than the largest"),
            (&["05"],                &[],                   Err(Framing),         "octal to somebody"),
            (&["00"],                &[],                   Err(Framing),         "leading zero"),
            (&["+5"],                &[],                   Err(Framing),         "sign"),
            (&["-0"],                &[],                   Err(Framing),         "sign"),
            (&["0x5"],               &[],                   Err(Framing),         "hexadecimal"),
            (&["5 5"],               &[],                   Err(Framing),         "space inside"),
            (&["5, 5"],              &[],                   Err(Framing),         "list of equals"),
            (&[""],                  &[],                   Err(Framing),         "1*DIGIT"),
            (&["5", "5"],            &[],                   Err(Framing),         "repeated"),
            (&["5", "6"],            &[],                   Err(Framing),         "contradicting"),
            (&[],                    &["chunked"],          Ok(Chunked),          "plain"),
            (&[],                    &["Chunked"],          Ok(Chunked),          "case does not matter"),
            (&[],                    &[", chunked ,"],      Ok(Chunked),          "empty members are ignored"),
            (&["5"],                 &["chunked"],          Err(Framing),         "both"),
            (&["0"],                 &["chunked"],          Err(Framing),         "both"),
            (&["5"],                 &["identity"],         Err(Framing),         "both"),
            (&[],                    &["chunked, chunked"], Err(Framing),         "twice"),
            (&[],                    &["chunked", "chunked"], Err(Framing),       "twice"),
            (&[],                    &["chunked, gzip"],    Err(Framing),         "not last"),
            (&[],                    &["chunked;a=b"],      Err(Framing),         "takes no parameters"),
            (&[],                    &[""],                 Err(Framing),         "names nothing"),
            (&[],                    &["chun ked"],         Err(Framing),         "not a token"),
            (&[],                    &["gzip, chunked"],    Err(TransferCoding),  "gzip is not undone here"),
            (&[],                    &["identity"],         Err(TransferCoding),  "no longer registered"),
            (&[],                    &["xchunked"],         Err(TransferCoding),  "unknown"),
        ];
        for (lengths, codings, want, because) in cases {
            let mut fields = FramingFields::default();
            let mut got = Ok(());
            for value in *lengths {
                got = got.and_then(|()| fields.content_length(value.as_bytes()));
            }
            codings
                .iter()
                .for_each(|value| fields.transfer_encoding(value.as_bytes()));
            let got = got.and_then(|()| fields.finish(Version::Http11));
            assert_eq!(got, *want, "CL {lengths:?}, TE {codings:?}: {because}");
        }
    }

    #[test]
    fn transfer_encoding_in_http_1_0_is_faulty_framing() {
        let mut fields = FramingFields::default();
        fields.transfer_encoding(b"chunked");
        assert_eq!(fields.finish(Version::Http10), Err(Refusal::Framing));
    }

    proptest::proptest! {
        /// Whatever the lines: a length is one plain number and nothing else, chunks are chunks alone.
        #[test]
        fn what_is_accepted_can_be_read_in_one_way_only(
            lengths in proptest::collection::vec("[0-9+x, -]{0,4}", 0..3),
            codings in proptest::collection::vec("(chunked|gzip|x|,|;| ){0,3}", 0..3),
        ) {
            let mut fields = FramingFields::default();
            let lengths_hold =
                lengths.iter().all(|value| fields.content_length(value.as_bytes()).is_ok());
            codings.iter().for_each(|value| fields.transfer_encoding(value.as_bytes()));
            let framing = fields.finish(Version::Http11);
            if !lengths_hold || framing.is_err() {
                return Ok(());
            }
            match framing {
                Ok(BodyFraming::Chunked) => {
                    proptest::prop_assert!(lengths.is_empty());
                    let joined = codings.join(",");
                    let mut named = joined.split(',').map(str::trim).filter(|one| !one.is_empty());
                    proptest::prop_assert_eq!(named.next(), Some("chunked"));
                    proptest::prop_assert_eq!(named.next(), None);
                }
                Ok(BodyFraming::Length(length)) => {
                    proptest::prop_assert_eq!(&lengths, &[length.to_string()]);
                    proptest::prop_assert!(codings.is_empty());
                }
                _ => proptest::prop_assert!(codings.is_empty() && lengths.len() <= 1),
            }
        }
    }
}
