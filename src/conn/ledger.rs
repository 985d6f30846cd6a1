//! What connections report: statuses, bytes, and the lines of the access log.
//!
//! Lines are in the combined format of Apache httpd or JSON objects. They are written when the last byte of an
//! answer has gone, or when the connection ends, so that the length is what was really sent.

use std::collections::VecDeque;
use std::io::Write;
use std::net::IpAddr;

use super::explanation::Explanation;
use crate::clock::Now;
use crate::http::request::{Field, Request};
use crate::http::status::Status;
use crate::sys::allocator::block_length;

/// Whether requests are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logging {
    /// They are only counted.
    Off,
    /// Each becomes a line in the combined format.
    Combined,
    /// Each becomes a JSON object on a line of its own.
    Json,
}

/// Statuses from 100 to 599.
const STATUS_COUNT: usize = 500;

/// Bytes of a request line or field that a log line keeps.
const LOGGED_LENGTH_MAX: usize = 1_024;

/// Counters and log lines of all connections. The driver writes the lines to the log.
#[derive(Debug)]
pub struct Ledger {
    /// Answers by first digit of their status: index 1 to 5.
    pub by_class: [u64; 6],
    /// Answers by their status, from 100 on.
    by_status: Box<[u64; STATUS_COUNT]>,
    /// Requests that were on their way when their idle connections were ended, and got no answer.
    pub crossed: u64,
    /// Finished log lines.
    pub lines: Vec<u8>,
    logging: Logging,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(logging: Logging) -> Ledger {
        Ledger {
            by_class: [0; 6],
            by_status: Box::new([0; STATUS_COUNT]),
            crossed: 0,
            lines: Vec::new(),
            logging,
        }
    }

    /// Statuses that were sent, and how often.
    pub fn by_status(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = (100..).zip(self.by_status.iter());
        counts
            .filter(|(_, count)| **count > 0)
            .map(|(status, count)| (status, *count))
    }

    /// Bytes of the finished lines.
    pub fn memory_bytes(&self) -> u64 {
        block_length(self.lines.capacity())
    }

    /// Answers in all.
    pub fn total(&self) -> u64 {
        self.by_class.iter().sum()
    }
}

/// An answer that is on its way.
#[derive(Debug)]
struct Record {
    /// The line up to the status.
    before: Vec<u8>,
    status: Status,
    /// What stands between status and length.
    between: &'static str,
    /// The line after the length.
    after: Vec<u8>,
    /// Where its content ends in the stream of the connection, and how long it is.
    end: u64,
    content_length: u64,
}

/// The answers of one connection that are not completely sent; empty when nothing is logged.
#[derive(Debug, Default)]
pub struct Journal {
    records: VecDeque<Record>,
}

/// What [`Journal::answered`] is told.
#[derive(Clone, Copy, Debug)]
pub struct Answered {
    /// The status sent.
    pub status: Status,
    /// Bytes of content.
    pub content_length: u64,
    /// Where the answer ends in the stream of the connection.
    pub end: u64,
    /// Where it comes from.
    pub explanation: Explanation,
}

impl Journal {
    /// Takes note of an answer that was put into the outbox.
    pub fn answered(
        &mut self,
        ledger: &mut Ledger,
        peer: Option<IpAddr>,
        request: Option<Request<'_>>,
        answered: Answered,
        now: &Now,
    ) {
        ledger.by_class[answered.status.class()] += 1;
        let place = usize::from(answered.status.code() - 100);
        ledger.by_status[place] += 1;
        let (before, after) = match ledger.logging {
            Logging::Off => return,
            Logging::Combined => combined(peer, request, now),
            Logging::Json => json(peer, request, &answered.explanation, now),
        };
        self.records.push_back(Record {
            before,
            status: answered.status,
            after,
            end: answered.end,
            content_length: answered.content_length,
            between: match ledger.logging {
                Logging::Json => ",\"bytes\":",
                _ => " ",
            },
        });
    }

    /// Bytes of the lines that are not written yet.
    pub fn memory_bytes(&self) -> u64 {
        let records = block_length(self.records.capacity() * size_of::<Record>());
        let texts = self.records.iter().map(|record| {
            block_length(record.before.capacity()) + block_length(record.after.capacity())
        });
        records + texts.sum::<u64>()
    }

    /// Writes the lines of all answers that end at or before `total_sent` bytes.
    pub fn sent(&mut self, ledger: &mut Ledger, total_sent: u64) {
        while self
            .records
            .front()
            .is_some_and(|record| record.end <= total_sent)
        {
            if let Some(record) = self.records.pop_front() {
                record.write(ledger, total_sent);
            }
        }
    }

    /// Writes the lines of all answers, cut short where the connection ended.
    pub fn ended(&mut self, ledger: &mut Ledger, total_sent: u64) {
        for record in self.records.drain(..) {
            record.write(ledger, total_sent);
        }
    }
}

impl Record {
    fn write(&self, ledger: &mut Ledger, total_sent: u64) {
        let unsent = self.end.saturating_sub(total_sent);
        let length = self.content_length.saturating_sub(unsent);
        let lines = &mut ledger.lines;
        lines.extend_from_slice(&self.before);
        let _ = write!(lines, "{}{}{length}", self.status.code(), self.between);
        lines.extend_from_slice(&self.after);
    }
}

/// A line of the combined format: up to the status, and from after the length.
fn combined(peer: Option<IpAddr>, request: Option<Request<'_>>, now: &Now) -> (Vec<u8>, Vec<u8>) {
    let mut before = Vec::with_capacity(128);
    // Writing to a Vec cannot fail.
    let _ = match peer {
        Some(address) => write!(before, "{address}"),
        None => write!(before, "-"),
    };
    before.extend_from_slice(b" - - [");
    before.extend_from_slice(&common_log_time(&now.rendered));
    before.extend_from_slice(b"] ");
    quote(&mut before, request.map(|request| request.line()));
    before.push(b' ');
    let mut after = Vec::new();
    for field in [Field::Referer, Field::UserAgent] {
        after.push(b' ');
        quote(
            &mut after,
            request.and_then(|request| request.single(field)),
        );
    }
    after.push(b'\n');
    (before, after)
}

/// The same as a JSON object. What is not there is left out; bytes that are not UTF-8 become U+FFFD.
fn json(
    peer: Option<IpAddr>,
    request: Option<Request<'_>>,
    explanation: &Explanation,
    now: &Now,
) -> (Vec<u8>, Vec<u8>) {
    let mut before = Vec::with_capacity(192);
    let _ = write!(
        before,
        "{{\"time\":{}.{:03}",
        { now.wall.seconds },
        now.wall.nanoseconds / 1_000_000
    );
    if let Some(address) = peer {
        let _ = write!(before, ",\"remote\":\"{address}\"");
    }
    let text = |line: &mut Vec<u8>, name: &str, bytes: Option<&[u8]>| {
        if let Some(bytes) = bytes {
            let kept = &bytes[..bytes.len().min(LOGGED_LENGTH_MAX)];
            let _ = write!(line, ",\"{name}\":");
            let _ = serde_json::to_writer(line, &String::from_utf8_lossy(kept));
        }
    };
    text(
        &mut before,
        "request",
        request.map(|request| request.line()),
    );
    before.extend_from_slice(b",\"status\":");
    let mut after = Vec::new();
    let single = |field| request.and_then(|request| request.single(field));
    text(&mut after, "referer", single(Field::Referer));
    text(&mut after, "user_agent", single(Field::UserAgent));
    for (name, look_up) in explanation.look_ups() {
        let _ = write!(after, ",\"{name}\":\"{}\"", look_up.name());
    }
    if let Some(ms) = explanation.disk_ms() {
        let _ = write!(after, ",\"disk_ms\":{ms:.3}");
    }
    if let Some(ms) = explanation.stale_ms() {
        let _ = write!(after, ",\"stale_ms\":{ms:.3}");
    }
    after.extend_from_slice(b"}\n");
    (before, after)
}

/// `Mon, 23 Nov 2026 16:00:00 GMT` as `23/Nov/2026:16:00:00 +0000`.
fn common_log_time(date: &[u8; 29]) -> [u8; 26] {
    let mut time = *b"DD/Mon/YYYY:hh:mm:ss +0000";
    time[0..2].copy_from_slice(&date[5..7]);
    time[3..6].copy_from_slice(&date[8..11]);
    time[7..11].copy_from_slice(&date[12..16]);
    time[12..20].copy_from_slice(&date[17..25]);
    time
}

/// Quotes bytes that a peer chose, so that they can neither end their quotes nor their line.
fn quote(line: &mut Vec<u8>, bytes: Option<&[u8]>) {
    let bytes = bytes.unwrap_or(b"-");
    line.push(b'"');
    for byte in &bytes[..bytes.len().min(LOGGED_LENGTH_MAX)] {
        match byte {
            b'"' | b'\\' => line.extend_from_slice(&[b'\\', *byte]),
            b' '..=b'~' => line.push(*byte),
            _ => {
                let _ = write!(line, "\\x{byte:02x}");
            }
        }
    }
    line.push(b'"');
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
        let time = common_log_time(b"Mon, 23 Nov 2026 16:00:59 GMT");
        assert_eq!(&time, b"23/Nov/2026:16:00:59 +0000");
    }
}
