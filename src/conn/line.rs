//! A line of the access log: the combined format of Apache httpd, or a JSON object.
//!
//! Lines are appended to a reused buffer, so that writing one allocates nothing.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::explanation::Explanation;
use crate::http::status::Status;

/// Maximum number of bytes of a request line or field in a log line, before they are escaped.
pub(super) const LOGGED_LENGTH_MAX: usize = 1_024;
/// Number of texts in a line: the request line, Referer and User-Agent.
pub(super) const TEXT_COUNT: usize = 3;

/// The content of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// The address of the peer; `None` over a Unix socket.
    pub(super) peer: Option<IpAddr>,
    /// The time of the response, in seconds since 1970.
    pub(super) seconds: i64,
    /// Milliseconds of that second.
    pub(super) milliseconds: u16,
    /// The status.
    pub(super) status: Status,
    /// Number of bytes of content that were sent.
    pub(super) length: u64,
    /// The request line, Referer and User-Agent as received.
    pub(super) texts: [Option<&'a [u8]>; TEXT_COUNT],
    /// The results of the caches.
    pub(super) explanation: &'a Explanation,
}

/// The format of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logging {
    /// Requests are only counted.
    Off,
    /// Each becomes a line in the combined format.
    Combined,
    /// Each becomes a JSON object on a line of its own.
    Json,
    /// Each becomes a short line for a terminal.
    Terminal(Colours),
}

/// Whether lines for a terminal have colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// The status is coloured by its class.
    On,
    /// Plain text.
    Off,
}

/// Writes lines, all in one format.
#[derive(Debug)]
pub(super) struct Lines {
    logging: Logging,
    /// The last second, and its text.
    second: (i64, [u8; 26]),
}

impl Lines {
    /// A writer of this format.
    pub(super) fn new(logging: Logging) -> Lines {
        Lines {
            logging,
            second: (0, common_log_time(0)),
        }
    }

    /// The format.
    pub(super) fn logging(&self) -> Logging {
        self.logging
    }

    /// Appends a line, with its end.
    pub(super) fn write(&mut self, lines: &mut Vec<u8>, line: &Line<'_>) {
        match self.logging {
            Logging::Off => {}
            Logging::Combined => self.combined(lines, line),
            Logging::Json => json(lines, line),
            Logging::Terminal(colours) => terminal(lines, line, colours),
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

/// `200 GET /index.html 12345 192.0.2.17`.
fn terminal(lines: &mut Vec<u8>, line: &Line<'_>, colours: Colours) {
    let request = line.texts[0].unwrap_or(b"-");
    // The version is omitted.
    let end = memchr::memrchr(b' ', request).filter(|end| request[*end..].starts_with(b" HTTP/"));
    if colours == Colours::On {
        lines.extend_from_slice(match line.status.class() {
            2 => b"\x1b[32m",
            3 => b"\x1b[36m",
            4 => b"\x1b[33m",
            _ => b"\x1b[31m",
        });
    }
    number(lines, u64::from(line.status.code()));
    if colours == Colours::On {
        lines.extend_from_slice(b"\x1b[0m");
    }
    lines.push(b' ');
    escape(lines, &request[..end.unwrap_or(request.len())]);
    lines.push(b' ');
    number(lines, line.length);
    if let Some(address) = line.peer {
        write(lines, format_args!(" {address}"));
    }
    lines.push(b'\n');
}

/// A JSON object. Writing to a Vec cannot fail, and nothing in a line can.
fn json(lines: &mut Vec<u8>, line: &Line<'_>) {
    let _ = serde_json::to_writer(&mut *lines, line);
    lines.push(b'\n');
}

/// The members of a JSON object. Missing values are omitted; bytes that are not UTF-8 become U+FFFD.
impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [request, referer, user_agent] = self.texts.map(|bytes| bytes.map(Text));
        let mut object = serializer.serialize_map(None)?;
        // Milliseconds since 1970 stay far below 2^53, where f64 is exact.
        #[allow(clippy::cast_precision_loss)]
        let time_ms = (self.seconds * 1_000 + i64::from(self.milliseconds)) as f64;
        object.serialize_entry("time", &(time_ms / 1e3))?;
        if let Some(address) = &self.peer {
            object.serialize_entry("remote", address)?;
        }
        if let Some(text) = &request {
            object.serialize_entry("request", text)?;
        }
        object.serialize_entry("status", &self.status.code())?;
        object.serialize_entry("bytes", &self.length)?;
        for (name, text) in [("referer", &referer), ("user_agent", &user_agent)] {
            if let Some(text) = text {
                object.serialize_entry(name, text)?;
            }
        }
        for (name, look_up) in self.explanation.look_ups() {
            object.serialize_entry(name, look_up.name())?;
        }
        let times = [
            ("disk_ms", self.explanation.disk_ms()),
            ("stale_ms", self.explanation.stale_ms()),
        ];
        for (name, ms) in times {
            if let Some(ms) = ms {
                // To a microsecond.
                object.serialize_entry(name, &((ms * 1e3).round() / 1e3))?;
            }
        }
        object.end()
    }
}

/// Untrusted bytes as text.
struct Text<'a>(&'a [u8]);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.collect_str(self),
        }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(chunk.valid())?;
            if !chunk.invalid().is_empty() {
                f.write_char(char::REPLACEMENT_CHARACTER)?;
            }
        }
        Ok(())
    }
}

fn write(lines: &mut Vec<u8>, text: fmt::Arguments<'_>) {
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

/// Quotes untrusted bytes, so that they end neither their quotes nor their line.
fn quote(lines: &mut Vec<u8>, bytes: Option<&[u8]>) {
    lines.push(b'"');
    escape(lines, bytes.unwrap_or(b"-"));
    lines.push(b'"');
}

/// Writes untrusted bytes as visible characters without quotes.
fn escape(lines: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        match byte {
            b'"' | b'\\' => lines.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => lines.push(*byte),
            _ => {
                let digits = [byte >> 4, byte & 15].map(|digit| HEXADECIMAL[usize::from(digit)]);
                lines.extend_from_slice(&[b'\\', b'x', digits[0], digits[1]]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::conn::explanation::CacheResult;

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

    fn line<'a>(text: &'a [u8], explanation: &'a Explanation) -> Line<'a> {
        Line {
            peer: Some([192, 0, 2, 17].into()),
            seconds: 1_795_449_659,
            milliseconds: 7,
            status: Status::Ok,
            length: 12_345,
            texts: [Some(text), None, Some(b"curl")],
            explanation,
        }
    }

    #[test]
    fn a_terminal_gets_a_short_line_with_the_status_in_colour() {
        let explanation = Explanation::default();
        let written = |text: &[u8], status, colours| {
            let mut lines = Vec::with_capacity(4_096);
            let line = Line {
                status,
                ..line(text, &explanation)
            };
            let measured = allocation_counter::measure(|| terminal(&mut lines, &line, colours));
            assert_eq!(measured.count_total, 0);
            String::from_utf8(lines).expect("visible bytes")
        };
        #[rustfmt::skip]
        let cases = [
            (&b"GET /a.html HTTP/1.1"[..], Status::Ok,             Colours::Off, "200 GET /a.html 12345 192.0.2.17\n"),
            (b"GET /a.html HTTP/1.1",      Status::Ok,             Colours::On,  "\x1b[32m200\x1b[0m GET /a.html 12345 192.0.2.17\n"),
            (b"GET /",                     Status::NotFound,       Colours::On,  "\x1b[33m404\x1b[0m GET / 12345 192.0.2.17\n"),
            (b"GET /\x1b[2J HTTP/1.1",     Status::NotFound,       Colours::Off, "404 GET /\\x1b[2J 12345 192.0.2.17\n"),
            (b" HTTP/1.1",                 Status::BadRequest,     Colours::Off, "400  12345 192.0.2.17\n"),
        ];
        for (text, status, colours, want) in cases {
            assert_eq!(written(text, status, colours), want);
        }
    }

    #[test]
    fn an_object_has_what_is_known_and_takes_no_allocation() {
        let explanation = Explanation {
            path: Some(CacheResult::Expired),
            map: Some(CacheResult::Miss),
            disk: Some(Duration::from_nanos(20_400_400)),
            ..Explanation::default()
        };
        let mut lines = Vec::with_capacity(4_096);
        let bytes = b"GET /\xff\"\x01 HTTP/1.1";
        let line = line(bytes, &explanation);
        let measured = allocation_counter::measure(|| json(&mut lines, &line));
        assert_eq!(measured.count_total, 0);
        let expected = concat!(
            r#"{"time":1795449659.007,"remote":"192.0.2.17","request":"GET /"#,
            "\u{fffd}",
            r#"\"\u0001 HTTP/1.1","status":200,"bytes":12345,"user_agent":"curl","#,
            r#""path":"expired","map":"miss","disk_ms":20.4}"#,
            "\n"
        );
        assert_eq!(String::from_utf8_lossy(&lines), expected);
    }

    proptest::proptest! {
        #[test]
        fn a_json_line_reads_back(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            let (mut lines, explanation) = (Vec::new(), Explanation::default());
            json(&mut lines, &line(&bytes, &explanation));
            proptest::prop_assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 1);
            let read: serde_json::Value = serde_json::from_slice(&lines).expect("an object");
            let text = String::from_utf8_lossy(&bytes);
            proptest::prop_assert_eq!(read["request"].as_str(), Some(&*text));
        }
    }
}
