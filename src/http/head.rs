//! Writing response heads. RFC 9112 §4 and §5.

use super::status::Status;

/// The value of the Server field.
pub const SERVER: &str = concat!("spede/", env!("CARGO_PKG_VERSION"));

/// The fields at the end of a head that are not those of what it describes.
#[derive(Clone, Copy, Debug, Default)]
pub struct LastFields<'a> {
    /// The Connection option, where the versions of RFC 9112 §9.3 need one.
    pub connection: Option<&'static str>,
    /// The value of Server-Timing, if it is shown.
    pub server_timing: Option<&'a str>,
}

impl LastFields<'_> {
    /// Whether there are none.
    pub fn are_none(&self) -> bool {
        self.connection.is_none() && self.server_timing.is_none()
    }

    /// Appends their lines, and the empty one.
    pub fn append_to(&self, buffer: &mut Vec<u8>) {
        let mut head = HeadWriter { buffer };
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
pub struct HeadWriter<'a> {
    buffer: &'a mut Vec<u8>,
}

impl<'a> HeadWriter<'a> {
    /// Starts a head. `date` is a rendered HTTP-date.
    pub fn start(buffer: &'a mut Vec<u8>, status: Status, date: &[u8; 29]) -> HeadWriter<'a> {
        buffer.extend_from_slice(b"HTTP/1.1 ");
        buffer.extend_from_slice(itoa::Buffer::new().format(status.code()).as_bytes());
        buffer.push(b' ');
        buffer.extend_from_slice(status.reason().as_bytes());
        buffer.extend_from_slice(b"\r\nDate: ");
        buffer.extend_from_slice(date);
        buffer.extend_from_slice(b"\r\nServer: ");
        buffer.extend_from_slice(SERVER.as_bytes());
        buffer.extend_from_slice(b"\r\nX-Content-Type-Options: nosniff\r\n");
        HeadWriter { buffer }
    }

    /// Where the Date of a head for `status` starts, in bytes from the head's first.
    pub fn date_offset(status: Status) -> usize {
        "HTTP/1.1 200 ".len() + status.reason().len() + "\r\nDate: ".len()
    }

    /// Adds a field line. The value must not contain CR, LF or NUL.
    pub fn field(&mut self, name: &str, value: &[u8]) -> &mut Self {
        debug_assert!(!value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
        self.buffer.extend_from_slice(name.as_bytes());
        self.buffer.extend_from_slice(b": ");
        self.buffer.extend_from_slice(value);
        self.buffer.extend_from_slice(b"\r\n");
        self
    }

    /// Adds a Content-Range line, RFC 9110 §14.4: from byte `first` to byte `last` of `length`.
    pub fn content_range(&mut self, first: u64, last: u64, length: u64) -> &mut Self {
        let mut digits = itoa::Buffer::new();
        self.buffer.extend_from_slice(b"Content-Range: bytes ");
        self.buffer
            .extend_from_slice(digits.format(first).as_bytes());
        self.buffer.push(b'-');
        self.buffer
            .extend_from_slice(digits.format(last).as_bytes());
        self.buffer.push(b'/');
        self.buffer
            .extend_from_slice(digits.format(length).as_bytes());
        self.buffer.extend_from_slice(b"\r\n");
        self
    }

    /// Adds whole lines that were written by another of these.
    pub fn lines(&mut self, lines: &[u8]) -> &mut Self {
        self.buffer.extend_from_slice(lines);
        self
    }

    /// Bytes in the buffer so far.
    pub fn length(&self) -> usize {
        self.buffer.len()
    }

    /// Adds a field line with a decimal number.
    pub fn number(&mut self, name: &str, value: u64) -> &mut Self {
        self.field(name, itoa::Buffer::new().format(value).as_bytes())
    }

    /// Ends the head.
    pub fn finish(&mut self, last: LastFields<'_>) {
        last.append_to(self.buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_stands_where_it_is_said_to_stand() {
        let date = b"Mon, 23 Nov 2026 16:00:00 GMT";
        for status in [Status::Ok, Status::NotModified, Status::NotFound] {
            let mut buffer = Vec::new();
            HeadWriter::start(&mut buffer, status, date)
                .number("Content-Length", 5)
                .finish(LastFields::default());
            let at = HeadWriter::date_offset(status);
            assert_eq!(&buffer[at..at + 29], date, "{status:?}");
            assert!(buffer.ends_with(b"\r\nContent-Length: 5\r\n\r\n"));
        }
    }
}
