//! Writing response heads of HTTP/1.1. RFC 9112 §4 and §5.

use super::status::Status;

/// The value of the Server field.
pub(crate) const SERVER: &str = concat!("spede/", env!("CARGO_PKG_VERSION"));

/// The start of every head with one status, before the fields of its representation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeadStart {
    /// All of it, with a date to be overwritten.
    pub bytes: &'static [u8],
    /// Where the date begins, which is 29 bytes long.
    pub date_offset: usize,
}

macro_rules! start {
    ($line:literal) => {
        HeadStart {
            bytes: concat!(
                $line,
                "\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nServer: spede/",
                env!("CARGO_PKG_VERSION"),
                "\r\nX-Content-Type-Options: nosniff\r\n"
            )
            .as_bytes(),
            date_offset: $line.len() + "\r\nDate: ".len(),
        }
    };
}

impl HeadStart {
    /// For 200.
    pub(crate) const OK: HeadStart = start!("HTTP/1.1 200 OK");
    /// For 304.
    pub(crate) const NOT_MODIFIED: HeadStart = start!("HTTP/1.1 304 Not Modified");
}

/// The fields at the end of a head that do not belong to its representation.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastFields<'a> {
    /// The Connection option, where the versions of RFC 9112 §9.3 need one.
    pub connection: Option<&'static str>,
    /// The value of Server-Timing, if it is shown.
    pub server_timing: Option<&'a str>,
    /// Whole lines that the site adds to this answer.
    pub lines: &'a [u8],
}

impl LastFields<'_> {
    /// Whether there are none.
    pub fn are_none(&self) -> bool {
        self.connection.is_none() && self.server_timing.is_none() && self.lines.is_empty()
    }

    /// Appends their lines, and the empty one.
    pub fn append_to(&self, buffer: &mut Vec<u8>) {
        let mut head = HeadWriter { buffer };
        if !self.lines.is_empty() {
            head.lines(self.lines);
        }
        if let Some(timing) = self.server_timing {
            head.field("Server-Timing", timing.as_bytes());
        }
        if let Some(option) = self.connection {
            head.field("Connection", option.as_bytes());
        }
        buffer.extend_from_slice(b"\r\n");
    }
}

/// Appends the lines of one head to a buffer.
///
/// The status line and the fields that every response has (Date, Server,
/// X-Content-Type-Options) are written at the start; the rest follows in the order of the calls.
#[derive(Debug)]
pub(crate) struct HeadWriter<'a> {
    buffer: &'a mut Vec<u8>,
}

impl<'a> HeadWriter<'a> {
    /// Starts a head. `date` is a rendered HTTP-date.
    pub(crate) fn start(
        buffer: &'a mut Vec<u8>,
        status: Status,
        date: &[u8; 29],
    ) -> HeadWriter<'a> {
        buffer.extend_from_slice(b"HTTP/1.1 ");
        buffer.extend_from_slice(status.text().as_bytes());
        buffer.extend_from_slice(b"\r\nDate: ");
        buffer.extend_from_slice(date);
        buffer.extend_from_slice(b"\r\nServer: ");
        buffer.extend_from_slice(SERVER.as_bytes());
        buffer.extend_from_slice(b"\r\nX-Content-Type-Options: nosniff\r\n");
        HeadWriter { buffer }
    }

    /// Goes on with a head whose start is written elsewhere.
    pub(crate) fn continuing(buffer: &'a mut Vec<u8>) -> HeadWriter<'a> {
        HeadWriter { buffer }
    }

    /// Truncates the buffer to this length.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.buffer.truncate(length);
    }

    /// Adds a field line. The value must not contain CR, LF or NUL.
    pub(crate) fn field(&mut self, name: &str, value: &[u8]) -> &mut Self {
        debug_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(b": ");
        self.buffer.extend_from_slice(value);
        self.buffer.extend_from_slice(b"\r\n");
        self
    }

    /// Adds whole lines that were written by another of these.
    pub(crate) fn lines(&mut self, lines: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(lines);
        self
    }

    /// Bytes in the buffer so far.
    pub(crate) fn length(&self) -> usize {
        self.buffer.len()
    }

    /// Adds a field line with a decimal number.
    pub(crate) fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.field(name, itoa::Buffer::new().format(value).as_bytes())
    }

    /// Ends the head.
    pub(crate) fn finish(&mut self, last: LastFields<'_>) {
        last.append_to(self.buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_is_kept_is_the_one_that_is_written() {
        let date = b"Mon, 23 Nov 2026 16:00:00 GMT";
        for (status, start) in [
            (Status::Ok, HeadStart::OK),
            (Status::NotModified, HeadStart::NOT_MODIFIED),
        ] {
            let mut written = Vec::new();
            HeadWriter::start(&mut written, status, date);
            let mut kept = start.bytes.to_vec();
            kept[start.date_offset..start.date_offset + date.len()].copy_from_slice(date);
            assert_eq!(written, kept);
        }
    }
}
