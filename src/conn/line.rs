//! A line of the access log: the combined format of Apache httpd, or a JSON object.
//!
//! Lines are appended to a buffer that is kept, so that writing one allocates nothing.

use std::io::Write as _;
use std::net::IpAddr;

use jiff::Timestamp;

use super::explanation::Explanation;
use super::response_stats::Logging;
use crate::http::status::Status;

/// Bytes of a request line or field that a log line keeps, before they are escaped.
pub(super) const LOGGED_LENGTH_MAX: usize = 1_024;
/// Texts of a line: the request line, Referer and User-Agent.
pub(super) const TEXT_COUNT: usize = 3;

/// What a line says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// Who asked; `None` over a Unix socket.
    pub(super) peer: Option<IpAddr>,
    /// When it was answered, since 1970.
    pub(super) seconds: i64,
    /// Milliseconds of that second.
    pub(super) milliseconds: u16,
    /// The status.
    pub(super) status: Status,
    /// Bytes of content that were sent.
    pub(super) length: u64,
    /// As they were received.
    pub(super) texts: [Option<&'a [u8]>; TEXT_COUNT],
    /// Where the answer came from.
    pub(super) explanation: &'a Explanation,
}

/// Writes lines, all in one format.
#[derive(Debug)]
pub(super) struct Lines {
    logging: Logging,
    /// The second that was written last, and how it is written.
    second: (i64, [u8; 26]),
}

impl Lines {
    /// In a format.
    pub(super) fn new(logging: Logging) -> Lines {
        Lines {
            logging,
            second: (0, common_log_time(0)),
        }
    }

    /// In which format.
    pub(super) fn logging(&self) -> Logging {
        self.logging
    }

    /// Appends a line, with its end.
    pub(super) fn write(&mut self, lines: &mut Vec<u8>, line: &Line<'_>) {
        match self.logging {
            Logging::Off => {}
            Logging::Combined => self.combined(lines, line),
            Logging::Json => json(lines, line),
        }
    }

    fn combined(&mut self, lines: &mut Vec<u8>, line: &Line<'_>) {
        if self.second.0 != line.seconds {
            self.second = (line.seconds, common_log_time(line.seconds));
        }
        let [request, referer, user_agent] = line.texts;
        match line.peer {
            Some(address) => write(lines, format_args!("{address}")),
            None => lines.push(b'-'),
        }
        lines.extend_from_slice(b" - - [");
        lines.extend_from_slice(&self.second.1);
        lines.extend_from_slice(b"] ");
        quote(lines, request);
        lines.push(b' ');
        number(lines, u64::from(line.status.code()));
        lines.push(b' ');
        number(lines, line.length);
        lines.push(b' ');
        quote(lines, referer);
        lines.push(b' ');
        quote(lines, user_agent);
        lines.push(b'\n');
    }
}

/// A JSON object. What is not there is left out; bytes that are not UTF-8 become U+FFFD.
fn json(lines: &mut Vec<u8>, line: &Line<'_>) {
    let text = |lines: &mut Vec<u8>, name: &str, bytes: Option<&[u8]>| {
        if let Some(bytes) = bytes {
            lines.extend_from_slice(b",\"");
            lines.extend_from_slice(name.as_bytes());
            lines.extend_from_slice(b"\":");
            json_string(lines, bytes);
        }
    };
    let [request, referer, user_agent] = line.texts;
    lines.extend_from_slice(b"{\"time\":");
    write(
        lines,
        format_args!("{}.{:03}", line.seconds, line.milliseconds),
    );
    if let Some(address) = line.peer {
        write(lines, format_args!(",\"remote\":\"{address}\""));
    }
    text(lines, "request", request);
    lines.extend_from_slice(b",\"status\":");
    number(lines, u64::from(line.status.code()));
    lines.extend_from_slice(b",\"bytes\":");
    number(lines, line.length);
    text(lines, "referer", referer);
    text(lines, "user_agent", user_agent);
    for (name, look_up) in line.explanation.look_ups() {
        let name_and_value = [
            b",\"",
            name.as_bytes(),
            b"\":\"",
            look_up.name().as_bytes(),
            b"\"",
        ];
        name_and_value
            .into_iter()
            .for_each(|part| lines.extend_from_slice(part));
    }
    if let Some(ms) = line.explanation.disk_ms() {
        write(lines, format_args!(",\"disk_ms\":{ms:.3}"));
    }
    if let Some(ms) = line.explanation.stale_ms() {
        write(lines, format_args!(",\"stale_ms\":{ms:.3}"));
    }
    lines.extend_from_slice(b"}\n");
}

fn write(lines: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to a Vec cannot fail.
    let _ = lines.write_fmt(text);
}

fn number(lines: &mut Vec<u8>, number: u64) {
    lines.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// `23/Nov/2026:16:00:00 +0000`. Does not allocate.
fn common_log_time(seconds: i64) -> [u8; 26] {
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let mut text = *b"01/Jan/1970:00:00:00 +0000";
    let written = write!(&mut text[..], "{}", time.strftime("%d/%b/%Y:%H:%M:%S %z"));
    debug_assert!(written.is_ok(), "years have four digits");
    text
}

const HEXADECIMAL: &[u8; 16] = b"0123456789abcdef";

/// Quotes bytes that a peer chose, so that they can neither end their quotes nor their line.
fn quote(lines: &mut Vec<u8>, bytes: Option<&[u8]>) {
    lines.push(b'"');
    for byte in bytes.unwrap_or(b"-") {
        match byte {
            b'"' | b'\\' => lines.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => lines.push(*byte),
            _ => {
                let digits = [byte >> 4, byte & 15].map(|digit| HEXADECIMAL[usize::from(digit)]);
                lines.extend_from_slice(&[b'\\', b'x', digits[0], digits[1]]);
            }
        }
    }
    lines.push(b'"');
}

/// The same as a string of JSON (RFC 8259 §7).
fn json_string(lines: &mut Vec<u8>, bytes: &[u8]) {
    lines.push(b'"');
    for chunk in bytes.utf8_chunks() {
        for byte in chunk.valid().bytes() {
            match byte {
                b'"' | b'\\' => lines.extend_from_slice(&[b'\\', byte]),
                0..0x20 => {
                    let digits =
                        [byte >> 4, byte & 15].map(|digit| HEXADECIMAL[usize::from(digit)]);
                    lines.extend_from_slice(&[b'\\', b'u', b'0', b'0', digits[0], digits[1]]);
                }
                _ => lines.push(byte),
            }
        }
        if !chunk.invalid().is_empty() {
            lines.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    lines.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_sends_stays_within_its_quotes() {
        let mut line = Vec::new();
        quote(&mut line, Some(b"GET /\"x\\ \n\xff HTTP/1.1"));
        assert_eq!(line, b"\"GET /\\\"x\\\\ \\x0a\\xff HTTP/1.1\"");
    }

    #[test]
    fn the_time_is_that_of_the_common_log_format() {
        // Mon, 23 Nov 2026 16:00:59 GMT
        let time = common_log_time(1_795_449_659);
        assert_eq!(&time, b"23/Nov/2026:16:00:59 +0000");
    }

    proptest::proptest! {
        #[test]
        fn a_json_string_reads_back(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            let mut line = Vec::new();
            json_string(&mut line, &bytes);
            let read: String = serde_json::from_slice(&line).expect("a string");
            proptest::prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }
    }
}
