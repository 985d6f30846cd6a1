//! The floor: the least that any server on epoll can do. It receives whatever comes and sends one
//! fixed response for each request head in it.

use std::io::{self, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use rustix::event::epoll;

/// Serves until it is killed.
///
/// # Errors
/// Those of the kernel.
pub(crate) fn run(port: u16) -> io::Result<()> {
    let mut response = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n\
        Content-Length: 1024\r\n\r\n"
        .to_vec();
    response.extend_from_slice(&[b'a'; 1_024]);
    let burst = response.repeat(64);
    let listener = TcpListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let token = |descriptor: i32| epoll::EventData::new_u64(descriptor.unsigned_abs().into());
    let flags = epoll::EventFlags::IN;
    epoll::add(&poll, &listener, token(listener.as_raw_fd()), flags)?;
    let mut open: Vec<Option<TcpStream>> = Vec::new();
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
                    open[place] = Some(stream);
                }
                continue;
            }
            let Some(stream) = open.get_mut(descriptor).and_then(Option::as_mut) else {
                continue;
            };
            let none = rustix::net::RecvFlags::empty();
            match rustix::net::recv(&*stream, &mut buffer[..], none) {
                Ok((0, _)) | Err(_) => open[descriptor] = None,
                Ok((count, _)) => {
                    let heads = memchr::memmem::find_iter(&buffer[..count], b"\r\n\r\n").count();
                    let length = response.len() * heads.clamp(1, 64);
                    // A burst that fills the socket is cut, which no workload here comes near.
                    let _ = stream.write(&burst[..length])?;
                }
            }
        }
    }
}
