//! A client for HEAD. wrk has none, since it waits for content that never comes. The output is in the format
//! of wrk.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::epoll;

/// A connection, and the time of its last request.
struct Asking {
    stream: TcpStream,
    since: Instant,
    received: Vec<u8>,
}

/// Sends requests on a number of connections for some seconds.
///
/// # Errors
/// Those of the kernel, and `UnexpectedEof` when the server closes.
pub(crate) fn run(port: u16, path: &str, connections: usize, seconds: u64) -> io::Result<()> {
    let request = format!("HEAD {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut asking = Vec::new();
    for place in 0..connections {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        let token = epoll::EventData::new_u64(place as u64);
        epoll::add(&poll, &stream, token, flags)?;
        asking.push(Asking {
            stream,
            since: Instant::now(),
            received: Vec::new(),
        });
    }
    let began = Instant::now();
    let over = began + Duration::from_secs(seconds);
    for one in &mut asking {
        one.since = Instant::now();
        one.stream.write_all(request.as_bytes())?;
    }
    let mut waits = Vec::new();
    let mut events = Vec::with_capacity(1_024);
    let mut buffer = vec![0; 16 * 1_024];
    while Instant::now() < over {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let one = &mut asking[usize::try_from(event.data.u64()).unwrap_or_default()];
            match one.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => one.received.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error),
            }
            if one.received.ends_with(b"\r\n\r\n") {
                let now = Instant::now();
                waits.push(now - one.since);
                one.received.clear();
                one.since = now;
                one.stream.write_all(request.as_bytes())?;
            }
        }
    }
    let lasted = began.elapsed().as_secs_f64();
    waits.sort_unstable();
    let p99 = waits
        .get(waits.len() * 99 / 100)
        .copied()
        .unwrap_or_default();
    println!("     99% {:.3}ms", p99.as_secs_f64() * 1e3);
    println!("  {} requests in {lasted:.2}s", waits.len());
    println!("Requests/sec: {:.2}", waits.len() as f64 / lasted);
    Ok(())
}
