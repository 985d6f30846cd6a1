//! The calls that the server cannot do without, tried once at the start: filters (seccomp) refuse some of them in old
//! containers, and a server that listens and then answers nothing would be worse than none.
//!
//! A refusal is EPERM or ENOSYS. Any other error says that the call is there: most are tried with what they cannot do.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::resource::{Resource, getrlimit};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{
    AddressFamily, Ipv4Addr, Shutdown, SocketAddrV4, SocketFlags, SocketType, socketpair, sockopt,
};

use super::beneath::{Links, Root};
use super::deferred_drops::DeferredDrops;
use super::file::OpenFile;
use super::socket::{self, More, Piece};

/// A call that is refused, and there is no other way.
#[derive(Debug, thiserror::Error)]
#[error("{call} is refused: {cause}")]
pub struct Refused {
    /// Its name.
    pub call: &'static str,
    /// What the kernel said.
    pub cause: io::Error,
}

/// Tries them all.
///
/// # Errors
/// The first that is refused.
pub(crate) fn try_out() -> Result<(), Refused> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    check("prlimit64", limit.map_err(io::Error::from))?;
    let event = check(
        "eventfd2",
        eventfd(0, EventfdFlags::CLOEXEC).map_err(Into::into),
    )?;
    if let Some(event) = event {
        try_poll(event.as_fd())?;
        try_files(event)?;
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let pair = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None);
    match check("socketpair", pair.map_err(io::Error::from))? {
        Some((one, _other)) => {
            try_socket(&one)?;
            try_listening(&one)
        }
        None => Ok(()),
    }
}

/// Tries what lists of directories need.
///
/// # Errors
/// If it is refused.
pub(crate) fn try_listing(root: &Root) -> Result<(), Refused> {
    let directory = root.open_directory(c".", Links::Followed);
    if let Ok(directory) = directory {
        check("getdents64", directory.list(|_, _| ControlFlow::Break(())))?;
    }
    Ok(())
}

fn try_poll(event: BorrowedFd<'_>) -> Result<(), Refused> {
    let Some(mut poll) = check("epoll_create1", Poll::new())? else {
        return Ok(());
    };
    let mut source = SourceFd(&event.as_raw_fd());
    let registered = poll
        .registry()
        .register(&mut source, Token(0), Interest::READABLE);
    check("epoll_ctl", registered)?;
    let polled = poll.poll(&mut Events::with_capacity(1), Some(Duration::ZERO));
    check("epoll_wait", polled)?;
    Ok(())
}

/// With a descriptor that is no file.
fn try_files(event: OwnedFd) -> Result<(), Refused> {
    let event = OpenFile::new(event, DeferredDrops::default());
    check("preadv", event.read_through(&(0..1)))?;
    check("sendfile", event.send_to(event.descriptor(), 0, 1))?;
    Ok(())
}

fn try_socket(socket: &OwnedFd) -> Result<(), Refused> {
    let piece = Piece::of_memory(b"a");
    let send = |pieces: &[_], more| socket::send(socket.as_fd(), pieces, more);
    check("sendto", send(&[piece], More::Nothing))?;
    check("writev", send(&[piece, piece], More::Nothing))?;
    check("sendmsg", send(&[piece], More::Follows))?;
    check("recvfrom", socket::receive(socket.as_fd(), &mut [0; 1]))?;
    let accepted = rustix::net::accept_with(socket, SocketFlags::CLOEXEC);
    check("accept4", accepted.map_err(io::Error::from))?;
    Ok(())
}

/// With a socket that cannot be bound to such an address, and is connected.
fn try_listening(socket: &OwnedFd) -> Result<(), Refused> {
    let made = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    );
    check("socket", made.map_err(io::Error::from))?;
    let set = sockopt::set_socket_reuseaddr(socket, true);
    check("setsockopt", set.map_err(io::Error::from))?;
    let flags = rustix::fs::fcntl_getfl(socket);
    if let Some(flags) = check("fcntl", flags.map_err(io::Error::from))? {
        let set = rustix::fs::fcntl_setfl(socket, flags);
        check("fcntl", set.map_err(io::Error::from))?;
    }
    let bound = rustix::net::bind(socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    check("bind", bound.map_err(io::Error::from))?;
    let listening = rustix::net::listen(socket, 1);
    check("listen", listening.map_err(io::Error::from))?;
    let name = rustix::net::getsockname(socket);
    check("getsockname", name.map_err(io::Error::from))?;
    let ended = rustix::net::shutdown(socket, Shutdown::Both);
    check("shutdown", ended.map_err(io::Error::from))?;
    Ok(())
}

/// What a call gave, unless it is refused.
fn check<T>(call: &'static str, result: io::Result<T>) -> Result<Option<T>, Refused> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(cause) => match cause.raw_os_error() {
            Some(libc::EPERM | libc::ENOSYS) => Err(Refused { call, cause }),
            _ => Ok(None),
        },
    }
}
