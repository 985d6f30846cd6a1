//! A line of an access log in the common or the combined format, or one that `json` took from an object.
//!
//! Accepts the default formats of Apache httpd, nginx, lighttpd, H2O and this server, leniently: a virtual host
//! before the address or after it, fields after the length, unescaped quotes. `trace` decides the meaning of a request for the caches.

use std::borrow::Cow;
use std::net::IpAddr;

use memchr::{memchr, memchr_iter, memmem, memrchr};

use super::time::{self, COMMON_LENGTH};

/// The fields of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Time in milliseconds since 1970.
    pub time_ms: i64,
    /// The virtual host, in lower case and without a port; empty if the line does not contain it.
    pub host: Cow<'a, [u8]>,
    /// The request line as received: method, target, perhaps a version, perhaps garbage.
    pub request: Cow<'a, [u8]>,
    /// The status that was sent.
    pub status: u16,
    /// Bytes of content that were sent.
    pub bytes: u64,
}

/// Why a line is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    /// No `[10/Oct/2000:13:55:36 -0700]`.
    #[error("no time such as [10/Oct/2000:13:55:36 +0000]")]
    NoTime,
    /// No request in quotes after the time.
    #[error("no request in quotes after the time")]
    NoRequest,
    /// No three digits after the request.
    #[error("no status after the request")]
    NoStatus,
    /// Neither digits nor `-` after the status.
    #[error("no length after the status")]
    NoLength,
    /// Starts like an object but is not valid JSON.
    #[error("not a JSON object: {0}")]
    NotJson(String),
    /// An object without a required member.
    #[error("no usable member {0}")]
    NoMember(&'static str),
    /// The rest of the file cannot be decompressed.
    #[error(
        "the rest of this compressed file cannot be decompressed ({0}); the part before it is used"
    )]
    NotUnpacked(String),
    /// Too long.
    #[error("longer than {max} bytes")]
    TooLong {
        /// The maximum length.
        max: usize,
    },
}

/// Method and target of a request line. Without a version, as in HTTP/0.9, the target extends to the end;
/// blanks within a target are kept. `None` without two words.
pub(super) fn split_request(request: &[u8]) -> Option<(&[u8], &[u8])> {
    let (method, rest) = request.split_at(memchr(b' ', request)?);
    let rest = rest.trim_ascii();
    let target = match memmem::rfind(rest, b" HTTP/") {
        Some(end) => rest[..end].trim_ascii_end(),
        None => rest,
    };
    (!method.is_empty() && !target.is_empty()).then_some((method, target))
}

/// Parses a line in the common or combined format.
///
/// # Errors
/// The missing part.
pub(super) fn common(line: &[u8]) -> Result<Line<'_>, LineError> {
    let (before, (time_ms, rest)) = memchr_iter(b'[', line)
        .find_map(|at| Some((&line[..at], stamp(&line[at + 1..])?)))
        .ok_or(LineError::NoTime)?;
    let rest = rest.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"").ok_or(LineError::NoRequest)?;
    let (request, rest) = quoted(rest)?;
    let (status, rest) = word(rest);
    let (length, _) = word(rest);
    Ok(Line {
        time_ms,
        host: host_before(before),
        request,
        status: status_of(status).ok_or(LineError::NoStatus)?,
        bytes: length_of(length).ok_or(LineError::NoLength)?,
    })
}

/// The virtual host among the words before the time. Apache's `vhost_combined` and the usual nginx format put it
/// before the address, as one word more than the address, the identity and the user. lighttpd puts it in place
/// of the identity, which is `-` elsewhere. A user name may contain blanks, so the number of words alone
/// does not decide.
fn host_before(words: &[u8]) -> Cow<'_, [u8]> {
    let mut words = words
        .split(|byte| *byte == b' ')
        .filter(|word| !word.is_empty());
    let first = words.next().unwrap_or_default();
    let second = words.next().unwrap_or_default();
    let has_four = words.nth(1).is_some();
    if has_four && (is_address(second) || (!is_address(first) && port_start(first).is_some())) {
        return host_of(first);
    }
    host_of(second)
}

fn is_address(word: &[u8]) -> bool {
    str::from_utf8(word).is_ok_and(|word| word.parse::<IpAddr>().is_ok())
}

/// The index of the colon before a port. The colons of an IPv6 address without brackets are none.
fn port_start(host: &[u8]) -> Option<usize> {
    let colon = memrchr(b':', host)?;
    let (name, port) = (&host[..colon], &host[colon + 1..]);
    let is_name = memchr(b':', name).is_none() || name.ends_with(b"]");
    (is_name && port.iter().all(u8::is_ascii_digit)).then_some(colon)
}

/// A host in lower case and without its port: a site is the same on each port. Empty for `-`.
pub(super) fn host_of(word: &[u8]) -> Cow<'_, [u8]> {
    let host = &word[..port_start(word).unwrap_or(word.len())];
    if host == b"-" {
        Cow::Borrowed(b"")
    } else if host.iter().any(u8::is_ascii_uppercase) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// The time at the start of `bytes`, and the rest after its bracket.
fn stamp(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let (stamp, rest) = bytes.split_at_checked(COMMON_LENGTH)?;
    let rest = rest.strip_prefix(b"]")?;
    Some((time::parse_common(stamp)?, rest))
}

/// The text up to the closing quote, unescaped, and the rest. Some servers do not escape quotes, so a quote
/// closes only where a status or `-` can follow; if none does, the first one closes.
fn quoted(bytes: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), LineError> {
    let mut first = None;
    let mut is_escaped = false;
    let mut at = 0;
    while let Some(next) = memchr::memchr2(b'"', b'\\', &bytes[at..]) {
        at += next;
        if bytes[at] == b'\\' {
            is_escaped = true;
            at = (at + 2).min(bytes.len());
            continue;
        }
        first.get_or_insert(at);
        if matches!(bytes[at + 1..], [b' ', b'0'..=b'9' | b'-', ..]) {
            first = Some(at);
            break;
        }
        at += 1;
    }
    let end = first.ok_or(LineError::NoRequest)?;
    let request = &bytes[..end];
    let request = match is_escaped {
        true => Cow::Owned(unescape(request)),
        false => Cow::Borrowed(request),
    };
    Ok((request, &bytes[end + 1..]))
}

/// Decodes `\"`, `\\` and `\xff`; other escapes are kept.
fn unescape(text: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return out,
            [b'\\', byte @ (b'"' | b'\\'), tail @ ..] => {
                out.push(*byte);
                tail
            }
            [b'\\', b'x', high, low, tail @ ..] => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    tail
                }
                _ => {
                    out.extend_from_slice(b"\\x");
                    &rest[2..]
                }
            },
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        };
    }
}

/// The next word between blanks, and the rest.
fn word(bytes: &[u8]) -> (&[u8], &[u8]) {
    let bytes = bytes.trim_ascii_start();
    bytes.split_at(memchr(b' ', bytes).unwrap_or(bytes.len()))
}

/// Three digits; 0 for `-`, a connection without a response.
pub(super) fn status_of(word: &[u8]) -> Option<u16> {
    match word {
        b"-" => Some(0),
        [_, _, _] => length_of(word).and_then(|status| u16::try_from(status).ok()),
        _ => None,
    }
}

/// Digits; 0 for `-`.
pub(super) fn length_of(word: &[u8]) -> Option<u64> {
    if word == b"-" {
        return Some(0);
    }
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}
