//! Listening sockets: binding, and accepting connections.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::net::SocketFlags;
use socket2::{Domain, SockAddr, Socket, Type};

use super::addresses::{self, Families};
use super::unix_socket::{self, ListenError, OwnPath};
use super::warning::warn;
use crate::conn::Peer;
use crate::settings::Role;
use crate::settings::{ListenAddress, SocketAccess};
use crate::sys::socket::{defer_accept, limit_unsent};
use crate::transport::Flow;

/// Backlog: connections that the kernel completes while the loop is busy; `net.core.somaxconn` may be less.
const BACKLOG: i32 = 4_096;

/// Who opened a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This process: connections in its backlog are lost with it.
    Bound,
    /// A service manager, which may hold it open as well (`sd_listen_fds(3)`).
    Inherited,
}

/// A listening socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    /// The kind of its peers: those of a Unix socket have no address.
    family: Family,
    /// Who opened it.
    pub origin: Origin,
    /// Its index, which identifies it in events.
    pub index: usize,
    /// As it was configured; `None`: it was inherited.
    pub address: Option<ListenAddress>,
    /// Whether it is closed as soon as no connection waits there.
    pub is_leaving: bool,
    names: Vec<String>,
    /// The path of a Unix socket that was made here.
    own_path: Option<OwnPath>,
    /// What its connections may request.
    pub role: Role,
    /// Whether its backlog may have connections.
    pub input: Flow,
}

/// How long the kernel keeps a connection without a byte (`TCP_DEFER_ACCEPT`). Browsers connect in advance, and such
/// connections need no work. Connections with a request cause one event instead of two.
pub(super) const ACCEPT_DEFERRED_SECONDS: i32 = 1;

/// Maximum number of unsent bytes of a connection in the kernel. More would be out of the processor's caches when they
/// are sent: docs/design.md has the cost. With less, a response of 128 KiB would not be passed on at once.
const UNSENT_LENGTH_MAX: i32 = 64 * 1024;

/// The kind of peers of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Tcp,
    Unix,
}

impl Listener {
    /// Takes over a listening socket.
    ///
    /// # Errors
    /// Those of `fcntl(2)`, `setsockopt(2)` and `getsockname(2)`.
    pub(super) fn inherit(socket: OwnedFd) -> io::Result<Listener> {
        let socket = Socket::from(socket);
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        let (family, names) = match address.as_socket() {
            Some(address) => {
                socket.set_tcp_nodelay(true)?;
                limit_unsent(socket.as_fd(), UNSENT_LENGTH_MAX)?;
                defer_accept(socket.as_fd(), ACCEPT_DEFERRED_SECONDS)?;
                let families = families(&socket, address)?;
                (Family::Tcp, addresses::names(address, families))
            }
            None => {
                let path = address
                    .as_pathname()
                    .unwrap_or(Path::new("(without a name)"));
                (Family::Unix, vec![format!("unix:{}", path.display())])
            }
        };
        Ok(Listener {
            socket,
            family,
            origin: Origin::Inherited,
            index: 0,
            address: None,
            is_leaving: false,
            names,
            own_path: None,
            role: Role::Site,
            input: Flow::Ready,
        })
    }

    /// Binds an address and listens on it.
    ///
    /// # Errors
    /// Those of `bind(2)`: EADDRINUSE, EACCES below port 1024, EADDRNOTAVAIL; [`ListenError`].
    pub(super) fn bind(
        address: &ListenAddress,
        access: &SocketAccess,
        role: Role,
    ) -> Result<Listener, ListenError> {
        let mut listener = match address {
            ListenAddress::Tcp(address) => Listener::bind_tcp(*address, role)?,
            ListenAddress::Unix(path) => Listener::bind_unix(path, access, role)?,
        };
        listener.address = Some(address.clone());
        Ok(listener)
    }

    /// Without IPv6 on this machine, `[::]`, which accepts IPv4 too, accepts IPv4 alone.
    fn bind_tcp(address: SocketAddr, role: Role) -> io::Result<Listener> {
        let socket = match tcp_socket(address) {
            Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && is_without_ipv6(&error) => {
                let socket = tcp_socket(addresses::in_ipv4_only(address))?;
                warn(&format!(
                    "{address}: IPv4 only, this machine has no IPv6 ({error})"
                ));
                socket
            }
            socket => socket?,
        };
        socket.set_nonblocking(true)?;
        socket.listen(BACKLOG)?;
        let bound = socket.local_addr()?.as_socket().unwrap_or(address);
        let names = addresses::names(bound, families(&socket, bound)?);
        Ok(Listener {
            socket,
            family: Family::Tcp,
            origin: Origin::Bound,
            index: 0,
            address: None,
            is_leaving: false,
            names,
            own_path: None,
            role,
            input: Flow::Ready,
        })
    }

    fn bind_unix(path: &Path, access: &SocketAccess, role: Role) -> Result<Listener, ListenError> {
        let (socket, own_path) = unix_socket::bind(path, access)?;
        socket.set_nonblocking(true)?;
        socket.listen(BACKLOG)?;
        let names = vec![format!("unix:{}", path.display())];
        Ok(Listener {
            socket,
            family: Family::Unix,
            origin: Origin::Bound,
            index: 0,
            address: None,
            is_leaving: false,
            names,
            own_path: Some(own_path),
            role,
            input: Flow::Ready,
        })
    }

    /// Accepts one connection.
    ///
    /// # Errors
    /// Those of `accept(2)`: `WouldBlock` if the backlog is empty.
    pub(super) fn accept(&self) -> io::Result<(OwnedFd, Peer)> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        if self.family == Family::Unix {
            return Ok((rustix::net::accept_with(&self.socket, flags)?, Peer::Local));
        }
        let (socket, address) = rustix::net::acceptfrom_with(&self.socket, flags)?;
        let address = address.and_then(|address| SocketAddr::try_from(address).ok());
        let peer = address.map_or(Peer::Local, |address| Peer::Address(address.ip()));
        Ok((socket, peer))
    }

    /// Its names for people: URLs, or `unix:` and a path.
    pub(super) fn names(&self) -> &[String] {
        &self.names
    }

    /// Its descriptor, for the poll.
    pub(super) fn descriptor(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A socket with the options of a listener, bound to an address.
fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` accepts IPv4 too, whatever `net.ipv6.bindv6only` says.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // Accepted sockets inherit it: no call for it on each connection.
    socket.set_tcp_nodelay(true)?;
    limit_unsent(socket.as_fd(), UNSENT_LENGTH_MAX)?;
    defer_accept(socket.as_fd(), ACCEPT_DEFERRED_SECONDS)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Whether the kernel lacks IPv6, or it is disabled.
fn is_without_ipv6(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    number == Some(libc::EAFNOSUPPORT) || number == Some(libc::EADDRNOTAVAIL)
}

/// Which addresses a socket accepts that is bound to all of them.
fn families(socket: &Socket, bound: SocketAddr) -> io::Result<Families> {
    Ok(match bound {
        SocketAddr::V4(_) => Families::Ipv4,
        SocketAddr::V6(_) if socket.only_v6()? => Families::Ipv6,
        SocketAddr::V6(_) => Families::Both,
    })
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(own_path) = &self.own_path {
            own_path.unlink();
        }
    }
}
