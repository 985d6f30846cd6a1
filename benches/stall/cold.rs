//! The cold load: clients that fetch files never requested before, each the next one as soon as it has the
//! last.
//!
//! The measure is bytes of bodies received before the end, so that half of a file counts as half.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::files::Size;
use crate::load::{Phase, head, ms, quantile, request};

/// Interval at which a waiting client checks for the end of the phase.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Errors after which a client gives up: the server has probably exited.
const ERRORS_MAX: usize = 20;

/// The result.
pub(crate) struct Cold {
    pub(crate) files_per_second: f64,
    /// Median of the completed files; NaN if there are none.
    pub(crate) p50_ms: f64,
    pub(crate) errors: usize,
}

struct Shared<'a> {
    address: SocketAddr,
    size: Size,
    phase: &'a Phase<'a>,
    /// The next file to fetch.
    next: AtomicU64,
    /// When a client ran out of files.
    exhausted: Mutex<Option<Instant>>,
}

/// Results of one client.
#[derive(Default)]
struct Tally {
    bytes: u64,
    latencies: Vec<Duration>,
    errors: usize,
}

/// Result of a fetch.
enum Fetched {
    Whole {
        closes: bool,
    },
    /// The phase ended first.
    Unfinished,
}

/// Loads the server at `port` with this number of clients until the phase ends or the files run out.
pub(crate) fn run(port: u16, clients: usize, size: Size, phase: &Phase<'_>) -> Cold {
    let shared = Shared {
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        size,
        phase,
        next: AtomicU64::new(0),
        exhausted: Mutex::new(None),
    };
    thread::sleep(phase.start.saturating_duration_since(Instant::now()));
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| scope.spawn(|| shared.client()))
            .collect();
        let joined = clients.into_iter().map(thread::ScopedJoinHandle::join);
        joined.map(|tally| tally.expect("no panic")).collect()
    });
    let full = phase.start + phase.length;
    let end = shared
        .exhausted
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let seconds = (end.unwrap_or(full).min(full) - phase.start).as_secs_f64();
    let bytes: u64 = tallies.iter().map(|tally| tally.bytes).sum();
    let mut latencies: Vec<Duration> = Vec::new();
    latencies.extend(tallies.iter().flat_map(|tally| &tally.latencies));
    latencies.sort_unstable();
    Cold {
        files_per_second: bytes as f64 / size.length() as f64 / seconds,
        p50_ms: quantile(&latencies, 500).map_or(f64::NAN, ms),
        errors: tallies.iter().map(|tally| tally.errors).sum(),
    }
}

impl Shared<'_> {
    fn client(&self) -> Tally {
        let mut tally = Tally::default();
        let mut buffer = vec![0; 256 << 10];
        let mut connection = None;
        while !self.phase.is_over(Instant::now()) && tally.errors < ERRORS_MAX {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.size.count() {
                let mut exhausted = self.exhausted.lock().expect("no panic");
                exhausted.get_or_insert_with(Instant::now);
                self.phase.cut.store(true, Ordering::Relaxed);
                break;
            }
            let begin = Instant::now();
            match self.fetch(&mut connection, number, &mut buffer, &mut tally.bytes) {
                Ok(Fetched::Whole { closes }) => {
                    tally.latencies.push(begin.elapsed());
                    if closes {
                        connection = None;
                    }
                }
                Ok(Fetched::Unfinished) => break,
                Err(_) => {
                    tally.errors += 1;
                    connection = None;
                }
            }
        }
        tally
    }

    fn fetch(
        &self,
        connection: &mut Option<TcpStream>,
        number: u64,
        buffer: &mut [u8],
        bytes: &mut u64,
    ) -> io::Result<Fetched> {
        let stream = match connection {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect_timeout(&self.address, self.phase.length)?;
                stream.set_read_timeout(Some(LOOK_EVERY))?;
                connection.insert(stream)
            }
        };
        stream.write_all(&request(&self.size.path(number)))?;
        let mut received = 0;
        let (length, closes) = loop {
            let Some(count) = self.receive(stream, &mut buffer[received..])? else {
                return Ok(Fetched::Unfinished);
            };
            received += count;
            let told = head(&buffer[..received], self.size.length());
            if let Some(head) = told.map_err(io::Error::other)? {
                let body = received as u64 - head.length;
                *bytes += body;
                break (head.body_length - body, head.closes);
            }
        };
        let mut left = length;
        while left > 0 {
            let Some(count) = self.receive(stream, buffer)? else {
                return Ok(Fetched::Unfinished);
            };
            let count = count as u64;
            left = left.checked_sub(count).ok_or(io::ErrorKind::InvalidData)?;
            *bytes += count;
        }
        Ok(Fetched::Whole { closes })
    }

    /// Receives some bytes; `None` when the phase is over.
    fn receive(&self, stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let received = stream.read(buffer);
            if self.phase.is_over(Instant::now()) {
                return Ok(None);
            }
            match received {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
