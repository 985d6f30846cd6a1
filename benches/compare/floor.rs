//! The floor: the minimum work of any server on epoll. It receives all available bytes and sends one fixed
//! response for each request head in them. The first request of a connection selects the response; later ones
//! are not parsed.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use rustix::event::epoll;

/// Maximum number of answers in one call.
const BURST_COUNT: usize = 64;
/// Longer answers are sent one at a time.
const BURST_LENGTH_MAX: usize = 128 << 10;

/// The fixed response of a connection.
struct Answer {
    /// The response, repeated as often as one call may send it.
    burst: Vec<u8>,
    length: usize,
    ends_connection: bool,
}

impl Answer {
    /// For connections with this first request.
    fn to(request: &str) -> Answer {
        let has = |word: &str| request.contains(word);
        let length_of = [("/16k.bin", 16 << 10), ("/64k.bin", 64 << 10)];
        let length_of = length_of.iter().find(|(path, _)| has(path));
        let (status, length) = match length_of {
            _ if has("/none") => ("404 Not Found", 10),
            _ if has("Range: ") => ("206 Partial Content", 1_000),
            _ if has("If-None-Match: ") => ("304 Not Modified", 0),
            Some((_, length)) => ("200 OK", *length),
            None => ("200 OK", 1_024),
        };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/octet-stream\r\nETag: \"1\"\r\n\
             Content-Length: {length}\r\n\r\n"
        )
        .into_bytes();
        if !request.starts_with("HEAD ") {
            answer.resize(answer.len() + length, b'a');
        }
        let count = (BURST_LENGTH_MAX / answer.len()).clamp(1, BURST_COUNT);
        Answer {
            length: answer.len(),
            burst: answer.repeat(count),
            ends_connection: has("Connection: close"),
        }
    }

    /// Answers this number of requests.
    fn send(&self, mut stream: &TcpStream, mut count: usize) -> io::Result<()> {
        while count > 0 {
            let now = count.min(self.burst.len() / self.length);
            let mut left = &self.burst[..now * self.length];
            while !left.is_empty() {
                match stream.write(left) {
                    Ok(sent) => left = &left[sent..],
                    // Only a few answers fill a socket; blocking others meanwhile is acceptable.
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        let flags = rustix::event::PollFlags::OUT;
                        let mut socket = [rustix::event::PollFd::new(&stream, flags)];
                        rustix::event::poll(&mut socket, None)?;
                    }
                    Err(error) => return Err(error),
                }
            }
            count -= now;
        }
        Ok(())
    }
}

/// Serves until it is killed.
///
/// # Errors
/// Those of the kernel.
pub(crate) fn run(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let token = |descriptor: i32| epoll::EventData::new_u64(descriptor.unsigned_abs().into());
    let flags = epoll::EventFlags::IN;
    epoll::add(&poll, &listener, token(listener.as_raw_fd()), flags)?;
    let mut answers: Vec<Answer> = Vec::new();
    let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
    // With the index of its response, once that is selected.
    let mut open: Vec<Option<(TcpStream, Option<usize>)>> = Vec::new();
    let mut events = Vec::with_capacity(1_024);
    let mut buffer = vec![0; 16 * 1_024];
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let descriptor = usize::try_from(event.data.u64()).unwrap_or_default();
            if descriptor == usize::try_from(listener.as_raw_fd()).unwrap_or_default() {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
                    epoll::add(&poll, &stream, token(stream.as_raw_fd()), flags)?;
                    let place = usize::try_from(stream.as_raw_fd()).unwrap_or_default();
                    open.resize_with(open.len().max(place + 1), || None);
                    open[place] = Some((stream, None));
                }
                continue;
            }
            let Some((stream, answer)) = open.get_mut(descriptor).and_then(Option::as_mut) else {
                continue;
            };
            let none = rustix::net::RecvFlags::empty();
            let count = match rustix::net::recv(&*stream, &mut buffer[..], none) {
                Ok((0, _)) | Err(_) => {
                    open[descriptor] = None;
                    continue;
                }
                Ok((count, _)) => count,
            };
            let received = &buffer[..count];
            let place = *answer.get_or_insert_with(|| {
                let end = memchr::memmem::find(received, b"\r\n\r\n").unwrap_or(count);
                let first = received[..end].to_vec();
                *known.entry(first).or_insert_with_key(|first| {
                    answers.push(Answer::to(&String::from_utf8_lossy(first)));
                    answers.len() - 1
                })
            });
            let answer = &answers[place];
            let heads = memchr::memmem::find_iter(received, b"\r\n\r\n").count();
            let sent = answer.send(stream, heads);
            if sent.is_err() || answer.ends_connection {
                open[descriptor] = None;
            }
        }
    }
}
