//! Log records of the answers of one stream that are not completely sent.
//!
//! A line states how many bytes of its answer were sent, so it is written at the end of the answer. Until then a
//! record of fixed size holds its numbers, and a buffer the parts of the request that it quotes, as received. The
//! request has left its own buffer by then.
//!
//! A peer that sends requests and reads nothing must not fill the memory with records. Above
//! [`RECORDS_LENGTH_MAX`] bytes the connection answers no further request until some answers were sent: see
//! [`PendingLogLines::has_room`].

use std::collections::VecDeque;
use std::net::IpAddr;

use super::explanation::Explanation;
use super::line::Logging;
use super::line::{LOGGED_LENGTH_MAX, Line, TEXT_COUNT};
use super::response_stats::ResponseStats;
use crate::clock::Now;
use crate::http::facts::{Facts, Field};
use crate::http::status::Status;
use crate::sys::allocator::block_length;

/// Bytes of records after which no further request is answered before some are sent: as many requests as
/// are answered in one go, where they are as long as those of browsers. One more may take it further, by three
/// texts.
const RECORDS_LENGTH_MAX: usize = 4 * 1_024;

/// The numbers of a line whose answer is not completely sent.
#[derive(Clone, Copy, Debug)]
struct Record {
    status: Status,
    /// Offset of the end of its content in the stream, and its length.
    end: u64,
    content_length: u64,
    /// When it was answered.
    seconds: i64,
    milliseconds: u16,
    explanation: Explanation,
    /// Lengths of its texts; `None` for one that was not there.
    lengths: [Option<u16>; TEXT_COUNT],
}

/// Records and their texts in the order of the answers.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    records: VecDeque<Record>,
    texts: Vec<u8>,
    /// Bytes of texts whose lines were written.
    done: usize,
}

impl Buffers {
    fn length(&self) -> usize {
        self.records.len() * size_of::<Record>() + self.texts.len() - self.done
    }

    /// Appends a text, as much of it as is kept, and gives how long that is.
    fn push_text(&mut self, text: Option<&[u8]>) -> Option<u16> {
        let text = text?;
        let kept = &text[..text.len().min(LOGGED_LENGTH_MAX)];
        if self.done > 0 && self.texts.len() + kept.len() > self.texts.capacity() {
            self.texts.drain(..self.done);
            self.done = 0;
        }
        self.texts.extend_from_slice(kept);
        u16::try_from(kept.len()).ok()
    }

    /// Writes the line of the oldest record.
    fn pop(&mut self, response_stats: &mut ResponseStats, peer: Option<IpAddr>, total_sent: u64) {
        let Some(record) = self.records.pop_front() else {
            return;
        };
        let unsent = record.end.saturating_sub(total_sent);
        let mut at = self.done;
        let texts = record.lengths.map(|length| {
            let from = at;
            at += usize::from(length?);
            Some(&self.texts[from..at])
        });
        let line = Line {
            peer,
            seconds: record.seconds,
            milliseconds: record.milliseconds,
            status: record.status,
            length: record.content_length.saturating_sub(unsent),
            texts,
            explanation: &record.explanation,
        };
        response_stats
            .format
            .write(&mut response_stats.lines, &line);
        self.done = at;
        if self.records.is_empty() {
            self.texts.clear();
            self.done = 0;
        }
    }

    /// Bytes that it takes.
    pub(super) fn memory_bytes(&self) -> u64 {
        block_length(size_of::<Buffers>())
            + block_length(self.records.capacity() * size_of::<Record>())
            + block_length(self.texts.capacity())
    }
}

/// The records of one stream. Holds no buffer if there are none, or if nothing is logged.
#[derive(Debug, Default)]
pub(super) struct PendingLogLines {
    buffers: Option<Box<Buffers>>,
}

/// What an answer is for: a request, or bytes that are not one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Received<'a> {
    /// A request.
    Request(Facts<'a>),
    /// Bytes that are not a request, or an incomplete one.
    Bytes(&'a [u8]),
}

impl<'a> Received<'a> {
    /// What stands in a line: the request line, Referer and User-Agent.
    fn texts(self) -> [Option<&'a [u8]>; TEXT_COUNT] {
        match self {
            Received::Request(request) => [
                Some(request.line()),
                request.single(Field::Referer),
                request.single(Field::UserAgent),
            ],
            Received::Bytes(bytes) => [first_line(bytes), None, None],
        }
    }
}

/// The first line that is not empty, without its end; all that there is, where it has none.
fn first_line(bytes: &[u8]) -> Option<&[u8]> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let without_end = |line: &'_ [u8]| line.strip_suffix(b"\r").unwrap_or(line).len();
    lines
        .find(|line| without_end(line) > 0)
        .map(|line| &line[..without_end(line)])
}

/// What [`PendingLogLines::answered`] is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// The status sent.
    pub(super) status: Status,
    /// Bytes of content.
    pub(super) content_length: u64,
    /// Where the answer ends in the stream of the connection.
    pub(super) end: u64,
    /// Where it comes from.
    pub(super) explanation: Explanation,
}

impl PendingLogLines {
    /// Whether another answer may be noted before some are sent. Always when all are.
    pub(super) fn has_room(&self) -> bool {
        let buffers = self.buffers.as_ref();
        buffers.is_none_or(|buffers| buffers.length() < RECORDS_LENGTH_MAX)
    }

    /// Takes note of an answer that was put into the outbox.
    pub(super) fn answered(
        &mut self,
        response_stats: &mut ResponseStats,
        received: Received<'_>,
        answered: Answered,
        now: &Now,
    ) {
        response_stats.count(answered.status);
        if response_stats.format.logging() == Logging::Off {
            return;
        }
        let buffers = self.buffers.get_or_insert_with(|| response_stats.buffers());
        let lengths = received.texts().map(|text| buffers.push_text(text));
        let milliseconds = now.wall.nanoseconds / 1_000_000;
        buffers.records.push_back(Record {
            status: answered.status,
            end: answered.end,
            content_length: answered.content_length,
            seconds: now.wall.seconds,
            milliseconds: u16::try_from(milliseconds).unwrap_or(999),
            explanation: answered.explanation,
            lengths,
        });
    }

    /// Writes the lines of all answers that end at or before `total_sent` bytes.
    pub(super) fn sent(
        &mut self,
        response_stats: &mut ResponseStats,
        peer: Option<IpAddr>,
        total_sent: u64,
    ) {
        self.write_while(response_stats, peer, total_sent, |record| {
            record.end <= total_sent
        });
    }

    /// Writes the lines of all answers, cut short where the connection ended.
    pub(super) fn ended(
        &mut self,
        response_stats: &mut ResponseStats,
        peer: Option<IpAddr>,
        total_sent: u64,
    ) {
        self.write_while(response_stats, peer, total_sent, |_| true);
    }

    fn write_while(
        &mut self,
        response_stats: &mut ResponseStats,
        peer: Option<IpAddr>,
        total_sent: u64,
        is_over: impl Fn(&Record) -> bool,
    ) {
        let Some(mut buffers) = self.buffers.take() else {
            return;
        };
        while buffers.records.front().is_some_and(&is_over) {
            buffers.pop(response_stats, peer, total_sent);
        }
        match buffers.records.is_empty() {
            true => response_stats.give_back(buffers),
            false => self.buffers = Some(buffers),
        }
    }

    /// Bytes of what is remembered.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.buffers
            .as_ref()
            .map_or(0, |buffers| buffers.memory_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::http::request::{self, HeadLimits};
    use crate::sys::file::FileTime;

    const LIMITS: HeadLimits = HeadLimits {
        target_length_max: 8_000,
        head_length_max: 16_000,
        field_count_max: 50,
    };

    fn now() -> Now {
        let wall = FileTime {
            seconds: 1_800_000_000,
            nanoseconds: 7_000_000,
        };
        Now::at(Instant::now(), wall)
    }

    /// Notes answers of 100 bytes each to a request until there is no room, and gives how many.
    fn fill(
        pending_log: &mut PendingLogLines,
        response_stats: &mut ResponseStats,
        text: &str,
    ) -> u64 {
        let head = request::parse(text.as_bytes(), &LIMITS)
            .expect("valid")
            .expect("complete");
        let received = Received::Request(head.facts(text.as_bytes()));
        let mut count = 0;
        while pending_log.has_room() {
            count += 1;
            let answered = Answered {
                status: Status::Ok,
                content_length: 60,
                end: 100 * count,
                explanation: Explanation::default(),
            };
            pending_log.answered(response_stats, received, answered, &now());
        }
        count
    }

    /// Nothing that a peer sends makes it larger than that, not by its length nor by what has to be escaped.
    #[test]
    fn records_of_a_peer_that_reads_nothing_are_bounded() {
        let long = "\"".repeat(5_000);
        let long = format!(
            "GET /{} HTTP/1.1\r\nHost: a\r\nReferer: {long}\r\nUser-Agent: {long}\r\n\r\n",
            "a".repeat(5_000)
        );
        let usual = "GET /a/b.html HTTP/1.1\r\nHost: a\r\nReferer: https://example.org/index.html\r\n\
                     User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\r\n";
        let short = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for logging in [Logging::Combined, Logging::Json] {
            for (text, count_min) in [(&long[..], 2), (usual, 15), (short, 30)] {
                let (mut pending_log, mut response_stats) =
                    (PendingLogLines::default(), ResponseStats::new(logging));
                let count = fill(&mut pending_log, &mut response_stats, text);
                assert!(count >= count_min, "{count} answers at once");
                let bytes = pending_log.memory_bytes();
                assert!(bytes <= 12 * 1_024, "{count} records take {bytes}");
                // Some are sent: there is room for as much as that.
                pending_log.sent(&mut response_stats, None, 100);
                let lines = |response_stats: &ResponseStats| {
                    memchr::memchr_iter(b'\n', &response_stats.lines).count()
                };
                assert!(pending_log.has_room() && lines(&response_stats) == 1);
                pending_log.sent(&mut response_stats, None, 100 * count);
                assert_eq!(lines(&response_stats) as u64, count);
                assert_eq!(pending_log.memory_bytes(), 0, "what is empty is given back");
            }
        }
    }

    #[test]
    fn a_line_says_what_was_sent_of_an_answer() {
        let (mut pending_log, mut response_stats) = (
            PendingLogLines::default(),
            ResponseStats::new(Logging::Combined),
        );
        fill(
            &mut pending_log,
            &mut response_stats,
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        );
        pending_log.sent(&mut response_stats, None, 199);
        pending_log.ended(&mut response_stats, None, 250);
        let text = String::from_utf8(response_stats.lines).expect("text");
        let lengths: Vec<&str> = text
            .lines()
            .map(|line| line.split(' ').nth(9).expect("a length"))
            .collect();
        assert_eq!(lengths[..5], ["60", "60", "10", "0", "0"], "{text}");
    }

    #[test]
    fn of_what_is_no_request_the_first_line_is_kept() {
        #[rustfmt::skip]
        let cases: [(&[u8], Option<&[u8]>); 8] = [
            (b"GET / HTTP/1.1\r\nHost",  Some(b"GET / HTTP/1.1")),
            (b"GET / HT",                Some(b"GET / HT")),
            (b"\r\n\r\nGET /\r\n",       Some(b"GET /")),
            (b"GET /\nHost: a",          Some(b"GET /")),
            (b"\x16\x03\x01\0\r",        Some(b"\x16\x03\x01\0")),
            (b"a\rb\r\n",                Some(b"a\rb")),
            (b"\r\n",                    None),
            (b"",                        None),
        ];
        for (bytes, want) in cases {
            assert_eq!(first_line(bytes), want, "{}", bytes.escape_ascii());
        }
    }
}
