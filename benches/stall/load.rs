//! Common parts of hot and cold clients: the phase, parsing of answers, and percentiles.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Maximum number of fields in an answer.
const FIELDS_MAX: usize = 64;

/// The time frame of one measurement; it can be cut short.
pub(crate) struct Phase<'a> {
    pub(crate) start: Instant,
    pub(crate) length: Duration,
    /// Set when the files run out.
    pub(crate) cut: &'a AtomicBool,
    /// Set when the user interrupts the bench.
    pub(crate) interrupted: &'a AtomicBool,
}

impl Phase<'_> {
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        now >= self.start + self.length
            || self.cut.load(Ordering::Relaxed)
            || self.interrupted.load(Ordering::Relaxed)
    }
}

pub(crate) fn request(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// The head of an answer.
pub(crate) struct Head {
    /// Length of the head in bytes.
    pub(crate) length: u64,
    pub(crate) body_length: u64,
    /// Whether the server will close the connection.
    pub(crate) closes: bool,
}

/// The head at the start of `received`; `None` while it is incomplete.
///
/// # Errors
/// When it is not HTTP, its status is not 200 or its Content-Length is wrong.
pub(crate) fn head(received: &[u8], body_length: u64) -> Result<Option<Head>, String> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    let length = match response
        .parse(received)
        .map_err(|error| error.to_string())?
    {
        httparse::Status::Partial => return Ok(None),
        httparse::Status::Complete(length) => length as u64,
    };
    let field = |name: &str| {
        let found = response.headers.iter();
        let found = found.filter(|field| field.name.eq_ignore_ascii_case(name));
        found.map(|field| field.value).next_back()
    };
    let told = field("content-length").and_then(|value| str::from_utf8(value).ok()?.parse().ok());
    if response.code != Some(200) || told != Some(body_length) {
        return Err(format!("status {:?}, length {told:?}", response.code));
    }
    let closes = field("connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
    Ok(Some(Head {
        length,
        body_length,
        closes,
    }))
}

pub(crate) fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// A quantile, in thousandths, of the sorted values; `None` if there are none.
pub(crate) fn quantile(sorted: &[Duration], thousandths: usize) -> Option<Duration> {
    let place = sorted.len() * thousandths / 1_000;
    sorted
        .get(place.min(sorted.len().saturating_sub(1)))
        .copied()
}
